"""Softmax, log loss, confusion matrix, macro F1 and calibration error."""

from __future__ import annotations

import numpy as np

from bear_classifier.stats.arrays import AnyFloats, Floats, Ints

LEAST_PROBABILITY = 1e-12  # of the own class: a photo costs at most 27.6 nats
ANY_PROBABILITY = 1e-300  # a floor for ranks: it only keeps the logarithm finite
MOST_LOSS = -float(np.log(1e-6))  # nats of one photo where trainings are compared: 13.8
IMBALANCE = 10  # times as many photos in the largest class as in the smallest: worth a warning
_BINS = 15  # of the calibration error, as in Guo et al., arXiv 1706.04599


def softmax(logits: AnyFloats, temperature: float = 1.0) -> Floats:
    """Probabilities of logits (..., classes) / temperature, over the last axis."""
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    exp = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return np.asarray(exp / exp.sum(axis=-1, keepdims=True))


def log_losses(probabilities: AnyFloats, targets: Ints, least: float = LEAST_PROBABILITY) -> Floats:
    """Minus the log of the probability of each photo's own class, (n,), in nats.

    probabilities: (n, classes); targets: (n,); least: floor of the probabilities."""
    own = np.asarray(probabilities)[np.arange(len(targets)), targets]
    return np.asarray(-np.log(np.maximum(own, least)), dtype=np.float64)


def log_loss(probabilities: AnyFloats, targets: Ints) -> float:
    """Mean negative log likelihood in nats."""
    return float(log_losses(probabilities, targets).mean())


def confusion_matrix(targets: Ints, predicted: Ints, classes: int) -> Ints:
    """Counts (classes, classes): rows are true classes, columns predicted ones."""
    table = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(table, (targets, predicted), 1)
    return table


def macro_f1(table: Ints) -> float | None:
    """Mean over the classes that occur of 2 hits / (true + predicted)."""
    true, predicted = table.sum(axis=1), table.sum(axis=0)
    occurs = true > 0
    if not occurs.any():
        return None
    return float((2 * table.diagonal()[occurs] / (true + predicted)[occurs]).mean())


def calibration_error(probabilities: Floats, targets: Ints) -> float | None:
    """Mean over equal-width bins of |confidence - share right|, weighted by photos."""
    if len(targets) == 0:
        return None
    confidence, predicted = probabilities.max(axis=1), probabilities.argmax(axis=1)
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    gap = confidence - (predicted == targets)
    sums = np.bincount(bins, weights=gap, minlength=_BINS)
    return float(np.abs(sums).sum() / len(targets))

"""Calibration: temperature scaling, reliability bins, and what chance alone explains."""

from __future__ import annotations

from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from bear_classifier.stats.arrays import AnyFloats, Bools, Floats, Ints
from bear_classifier.stats.intervals import Interval, clustered
from bear_classifier.stats.metrics import calibration_error, log_loss, softmax

COLDEST, HOTTEST = 0.25, 10.0  # bounds, so that few photos cannot saturate or flatten the softmax
LEAST_ERRORS = 10  # wrong photos; fewer are too few to estimate an error rate
_ROUNDS = 1000  # of answers drawn by chance

ReliabilityBin = TypedDict(
    "ReliabilityBin",
    {
        "from": float,
        "to": float,
        "n": int,
        "confidence": float,
        "right": float,
        "interval": Interval,
    },
)


def fit_temperature(logits: AnyFloats, targets: Ints) -> float:
    """The divisor of logits (n, classes) with the least log loss (Guo et al., arXiv 1706.04599).

    Not below 1, which makes a model surer, while fewer than `LEAST_ERRORS` photos are wrong:
    without a wrong one the least loss is that of certainty. 1 where there is no photo, or a logit
    that is not finite."""
    if len(targets) == 0 or not np.isfinite(logits).all():
        return 1.0
    from scipy.optimize import minimize_scalar

    wrong = int((np.asarray(logits).argmax(axis=1) != targets).sum())
    coldest = COLDEST if wrong >= LEAST_ERRORS else 1.0
    best = minimize_scalar(
        lambda log_t: log_loss(softmax(logits, float(np.exp(log_t))), targets),
        bounds=(float(np.log(coldest)), float(np.log(HOTTEST))),
        method="bounded",
    )
    return float(np.exp(best.x))


def reliability_bins(
    confidence: Floats, right: Bools, groups: NDArray[Any], bins: int = 10
) -> list[ReliabilityBin]:
    """How often answers of like confidence (n,) are right, by bins of equal width; empty ones are
    left out. groups: (n,) of near-copies."""
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    results: list[ReliabilityBin] = []
    for number in np.unique(place):
        rows = place == number
        results.append(
            {
                "from": number / bins,
                "to": (number + 1) / bins,
                "n": int(rows.sum()),
                "confidence": float(confidence[rows].mean()),
                "right": float(right[rows].mean()),
                "interval": clustered(right[rows], groups[rows]) or (0.0, 1.0),
            }
        )
    return results


def chance_gap(confidence: Floats, seed: int, rounds: int = _ROUNDS) -> float | None:
    """The calibration error below which 19 of 20 models stay whose confidences (n,) are exactly
    right: with few photos even these are seen to be off."""
    if not len(confidence):
        return None
    rng = np.random.default_rng(seed)
    drawn = [_gap(confidence, rng.random(len(confidence)) < confidence) for _ in range(rounds)]
    return float(np.quantile(drawn, 0.95))


def _gap(confidence: Floats, right: Bools) -> float:
    """calibration_error wants two columns and the true class; the second is never the highest."""
    columns = np.stack([confidence, np.zeros_like(confidence)], axis=1)
    return calibration_error(columns, np.where(right, 0, 1)) or 0.0

"""Linear probes on features: logistic regression, its penalty by grouped folds, out-of-fold
probabilities."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import LeaveOneGroupOut, StratifiedGroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from bear_classifier.errors import DataError
from bear_classifier.stats.arrays import Bools, Floats, Floats32, Ints, Strings
from bear_classifier.stats.metrics import log_losses

STRENGTHS = np.logspace(-4, 1, 6)  # C of scikit-learn: inverse strength of the L2 penalty
DOUBTFUL = 3.0  # odds for another class from which a label is not learned from
_DEALS = 50  # of groups to folds
Fold = tuple[Ints, Ints]


def model(strength: float) -> Pipeline:
    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000, tol=1e-3))


def fit_linear(strength: float, features: Floats32, labels: Ints) -> Pipeline:
    """A model of these. So few numbers are lost among several threads of BLAS, which then turn for
    a tenth of a second each time."""
    with threadpool_limits(1, "blas"):
        return model(strength).fit(features, labels)


def n_folds(labels: Ints, groups: Strings, folds: int) -> int:
    """As many folds as the class with the fewest groups can fill."""
    fewest = min(len(set(groups[labels == label])) for label in set(labels.tolist()))
    if fewest < 2:
        raise DataError(
            "TOO_FEW_PHOTOS",
            "a class has fewer than two different photos in the training split; add photos",
        )
    return min(folds, fewest)


def choose_strength(features: Floats32, labels: Ints, groups: Strings, folds: int) -> float:
    """The C of least log loss over grouped folds. features: (n, f); labels, groups: (n,).

    A fold counts where all classes are learned from: of others there is no probability to score.
    Where there is none such, each group is a fold. Raises DataError (NOT_FINITE)."""
    whole = [part for part in grouped_folds(labels, groups, folds) if _all_learned(labels, part)]
    parts = whole or [
        part
        for part in LeaveOneGroupOut().split(features, labels, groups)
        if _all_learned(labels, part)
    ]
    with threadpool_limits(1, "blas"):  # so few numbers are lost among several threads
        losses = np.array(
            [
                np.mean([_losses(strength, features, labels, *part).mean() for part in parts])
                for strength in STRENGTHS
            ]
        )
    if not np.isfinite(losses).any():
        raise DataError(
            "NOT_FINITE",
            "no penalty of the probe can be scored: its log loss is no finite number; check the"
            " weights (learn.weights) and that each class has photos of two groups or sources",
        )
    return float(STRENGTHS[np.where(np.isfinite(losses), losses, np.inf).argmin()])


def grouped_folds(labels: Ints, groups: Strings, folds: int) -> list[Fold]:
    """Rows to learn from and rows to ask for of each fold, such that no group is in both.

    By StratifiedGroupKFold; where it puts a class as a whole into one fold, as few large groups
    make it do, by the one of `_DEALS` random deals with the most folds that learn from all classes.
    (Its own shuffling hardly changes where large groups go.)"""
    best = list(StratifiedGroupKFold(folds).split(labels, labels, groups))
    most = sum(_all_learned(labels, part) for part in best)
    units, unit = np.unique(groups, return_inverse=True)
    for seed in range(_DEALS):
        if most == folds:
            break
        place = np.random.default_rng(seed).permutation(len(units))[unit] % folds
        rows = [(np.flatnonzero(place != n), np.flatnonzero(place == n)) for n in range(folds)]
        whole = sum(_all_learned(labels, part) for part in rows)
        if whole > most:
            best, most = rows, whole
    return best


def _all_learned(labels: Ints, part: Fold) -> bool:
    learning, asked = part
    return len(asked) > 0 and set(labels[learning].tolist()) == set(labels.tolist())


def _losses(
    strength: float, features: Floats32, labels: Ints, learning: Ints, asked: Ints
) -> Floats:
    """Log loss (m,) of the rows asked for, in nats, by a model of the others."""
    made = model(strength).fit(features[learning], labels[learning])
    found = made.predict_proba(features[asked])
    return log_losses(found, np.searchsorted(made.classes_, labels[asked]))


def out_of_fold(
    features: Floats32,
    labels: Ints,
    groups: Strings,
    folds: int,
    strength: float,
    learned: Bools | None = None,
) -> Floats:
    """Probabilities (n, classes), each from a model that saw neither the photo nor its group; none
    of a class that lies in one fold as a whole, for the photos of that fold.

    learned: (n,) which labels may be learned from; None: all."""
    usable = np.ones(len(labels), dtype=bool) if learned is None else learned
    found = np.zeros((len(labels), int(labels.max()) + 1))
    for learning, asked in grouped_folds(labels, groups, folds):
        rows = learning[usable[learning]]
        if len(set(labels[rows].tolist())) < found.shape[1]:  # a class is doubtful as a whole
            rows = learning
        classes = np.unique(labels[rows])
        if len(classes) == 1:
            found[asked, classes[0]] = 1.0
            continue
        with threadpool_limits(1, "blas"):
            made = model(strength).fit(features[rows], labels[rows])
            found[np.ix_(asked, classes)] = made.predict_proba(features[asked])
    return found


def trusted(probabilities: Floats, labels: Ints) -> Bools:
    """(n,) whether a label is credible enough to be learned from. probabilities: out of fold."""
    own = probabilities[np.arange(len(labels)), labels]
    return np.asarray(probabilities.max(axis=1) < DOUBTFUL * own)

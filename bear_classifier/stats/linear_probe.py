"""Linear probes: logistic regression, its penalty by grouped folds, out-of-fold probabilities."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import LeaveOneGroupOut, StratifiedGroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from bear_classifier.errors import DataError
from bear_classifier.stats.arrays import (
    BLOCK_ROWS,
    Bools,
    Floats,
    Floats32,
    Ints,
    Rows,
    SomeRows,
    Strings,
    in_blocks,
)
from bear_classifier.stats.metrics import log_losses

STRENGTHS = np.logspace(-4, 1, 6)  # C of scikit-learn: inverse strength of the L2 penalty
DOUBTFUL = 3.0  # odds for another class from which a label is not learned from
_SCALED_AT_ONCE = 50_000  # rows
_DRAWS = 50  # random assignments of groups to folds
Fold = tuple[Ints, Ints]


def model(strength: float) -> Pipeline:
    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000, tol=1e-3))


def fit_linear(strength: float, features: Rows, labels: Ints) -> Pipeline:
    """A fitted model. On so few numbers several threads of BLAS lose a tenth of a second."""
    with threadpool_limits(1, "blas"):
        return _fitted(strength, features, labels, np.arange(len(labels)))


def _fitted(strength: float, features: Rows, labels: Ints, rows: Ints) -> Pipeline:
    """A model of some rows (m,) of features (n, f) and labels (n,). Many are read, and scaled, in
    blocks: of them there is one copy in memory, which is what the model is fitted to."""
    made = model(strength)
    if len(rows) <= _SCALED_AT_ONCE:
        return made.fit(features[rows], labels[rows])
    scaler, regression = made[0], made[-1]
    for some in in_blocks(rows):
        scaler.partial_fit(features[some])
    scaled: Floats32 = np.empty((len(rows), features.shape[1]), dtype=np.float32)
    for start in range(0, len(rows), BLOCK_ROWS):
        some = rows[start : start + BLOCK_ROWS]
        scaled[start : start + len(some)] = scaler.transform(features[some])
    regression.fit(scaled, labels[rows])
    return made


def chosen_rows(features: Rows, rows: Bools) -> Rows:
    """Some rows of (n, f), in their files where all are. rows: (n,)."""
    if isinstance(features, np.ndarray):
        return features[rows]
    return SomeRows(features, np.flatnonzero(rows))


def n_folds(labels: Ints, groups: Strings | Ints, folds: int) -> int:
    """As many folds as the class with the fewest groups can fill."""
    fewest = min(len(set(groups[labels == label])) for label in set(labels.tolist()))
    if fewest < 2:
        raise DataError(
            "TOO_FEW_PHOTOS",
            "a class has fewer than two different photos in the training split; add photos",
        )
    return min(folds, fewest)


def learning_sample(labels: Ints, groups: Ints, known: Bools, most: int) -> Bools:
    """Which rows (n,) a model learns from: the known ones, or at most so many of them. Then whole
    groups are drawn evenly, so that no photo outside has a near-copy inside; first those of classes
    with less than a quarter of an even share. labels, groups: (n,)."""
    rows = np.flatnonzero(known)
    if len(rows) <= most:
        return np.array(known)
    counts = np.bincount(labels[rows])
    rare = counts[labels[rows]] < most / (4 * np.count_nonzero(counts))
    unit = np.unique(groups[rows], return_inverse=True)[1]
    sizes = np.bincount(unit)
    turn = np.random.default_rng(0).permutation(len(sizes)).astype(float)
    turn[np.unique(unit[rare])] -= len(sizes)
    order = np.argsort(turn)
    chosen = np.zeros(len(sizes), dtype=bool)
    chosen[order[np.cumsum(sizes[order]) <= most]] = True
    sample = np.zeros(len(known), dtype=bool)
    sample[rows[chosen[unit]]] = True
    return sample


def probabilities_of(made: Pipeline, features: Rows, rows: Ints) -> Floats:
    """Probabilities (m, classes) of some rows of (n, f)."""
    if 0 < len(rows) <= _SCALED_AT_ONCE:
        return np.asarray(made.predict_proba(features[rows]))
    parts = [made.predict_proba(features[some]) for some in in_blocks(rows)]
    return np.concatenate(parts) if parts else np.zeros((0, len(made.classes_)))


def choose_strength(features: Rows, labels: Ints, groups: Strings | Ints, folds: int) -> float:
    """The C of least log loss over grouped folds. features: (n, f); labels, groups: (n,).

    Only folds that learn from all classes count: a missing class has no probability to score. If
    there is none, each group is a fold. Raises DataError (NOT_FINITE)."""

    def complete(parts: Iterable[Fold]) -> list[Fold]:
        return [part for part in parts if _all_learned(labels, part)]

    one_out = LeaveOneGroupOut().split(features, labels, groups)
    parts = complete(grouped_folds(labels, groups, folds)) or complete(one_out)

    def loss(strength: float) -> float:
        return float(np.mean([_losses(strength, features, labels, part).mean() for part in parts]))

    with threadpool_limits(1, "blas"):
        losses = np.array([loss(strength) for strength in STRENGTHS])
    if not np.isfinite(losses).any():
        raise DataError(
            "NOT_FINITE",
            "no penalty of the probe can be scored: its log loss is no finite number; check the"
            " weights (learn.weights) and that each class has photos of two groups or sources",
        )
    return float(STRENGTHS[np.where(np.isfinite(losses), losses, np.inf).argmin()])


def grouped_folds(labels: Ints, groups: Strings | Ints, folds: int) -> list[Fold]:
    """Training rows and held-out rows of each fold; no group is in both.

    By StratifiedGroupKFold; where that puts a whole class into one fold, as it does with few large
    groups, by the one of `_DRAWS` random assignments with the most folds that learn from all
    classes. (Its own shuffling hardly moves large groups.)"""
    best = list(StratifiedGroupKFold(folds).split(labels, labels, groups))
    most = sum(_all_learned(labels, part) for part in best)
    units, unit = np.unique(groups, return_inverse=True)
    for seed in range(_DRAWS):
        if most == folds:
            break
        place = np.random.default_rng(seed).permutation(len(units))[unit] % folds
        rows = [(np.flatnonzero(place != n), np.flatnonzero(place == n)) for n in range(folds)]
        whole = sum(_all_learned(labels, part) for part in rows)
        if whole > most:
            best, most = rows, whole
    return best


def _all_learned(labels: Ints, part: Fold) -> bool:
    learning, held_out = part
    return len(held_out) > 0 and set(labels[learning].tolist()) == set(labels.tolist())


def _losses(strength: float, features: Rows, labels: Ints, part: Fold) -> Floats:
    """Log loss (m,) of the held-out rows, in nats, by a model of the others."""
    learning, held_out = part
    made = _fitted(strength, features, labels, learning)
    probabilities = probabilities_of(made, features, held_out)
    return log_losses(probabilities, np.searchsorted(made.classes_, labels[held_out]))


def out_of_fold(
    features: Rows,
    labels: Ints,
    groups: Strings | Ints,
    folds: int,
    strength: float,
    learned: Bools | None = None,
) -> Floats:
    """Probabilities (n, classes), each from a model that saw neither the photo nor its group; 0 of
    a class that lies in one fold as a whole, for the photos of that fold.

    learned: (n,) which labels may be learned from; None: all."""
    usable = np.ones(len(labels), dtype=bool) if learned is None else learned
    probabilities = np.zeros((len(labels), int(labels.max()) + 1))
    for learning, held_out in grouped_folds(labels, groups, folds):
        rows = learning[usable[learning]]
        if len(set(labels[rows].tolist())) < probabilities.shape[1]:  # a whole class is doubtful
            rows = learning
        classes = np.unique(labels[rows])
        if len(classes) == 1:
            probabilities[held_out, classes[0]] = 1.0
            continue
        with threadpool_limits(1, "blas"):
            made = _fitted(strength, features, labels, rows)
            found = probabilities_of(made, features, held_out)
            probabilities[np.ix_(held_out, classes)] = found
    return probabilities


def two_rounds(
    strength: float, features: Rows, labels: Ints, groups: Strings | Ints, known: Bools, folds: int
) -> tuple[Floats, Floats]:
    """Probabilities (n, classes), of two rounds: out of fold for known rows, for the others from a
    model of all known ones. The second round does not learn from the least credible labels of the
    first, unless a class would be left without any.

    features: (n, f); labels, groups, known: (n,); every class has known rows."""
    x, y = chosen_rows(features, known), labels[known]

    def round_of(learned: Bools) -> Floats:
        p = np.empty((len(labels), int(y.max()) + 1))
        p[known] = out_of_fold(x, y, groups[known], folds, strength, learned)
        if not known.all():
            made = fit_linear(strength, chosen_rows(x, learned), y[learned])
            p[~known] = probabilities_of(made, features, np.flatnonzero(~known))
        return p

    every = np.ones(len(y), dtype=bool)
    first = round_of(every)
    credible = trusted(first[known], y)
    whole = len(set(y[credible].tolist())) == first.shape[1]
    return first, round_of(credible if whole else every)


def logits_of(made: Pipeline, features: Rows) -> Floats:
    """(n, classes), read in blocks. Of two classes scikit-learn has one score: half of it speaks
    for the second, and half against the first."""
    parts = [made.decision_function(features[some]) for some in in_blocks(np.arange(len(features)))]
    scores = np.concatenate(parts)
    return np.asarray(scores if scores.ndim == 2 else np.stack([-scores, scores], axis=1) / 2)


def trusted(probabilities: Floats, labels: Ints) -> Bools:
    """(n,) whether a label is credible enough to be learned from. probabilities: out of fold."""
    own = probabilities[np.arange(len(labels)), labels]
    return np.asarray(probabilities.max(axis=1) < DOUBTFUL * own)

"""Which photos to label next: those that teach a linear model most.

At first the most typical photos of the largest clusters without a label (TypiClust: Hacohen, Dekel
and Weinshall, "Active Learning on a Budget: Opposite Strategies Suit High and Low Budgets", ICML
2022). Once every class has a few labels, photos of small margin, one of each of their clusters,
weighted by uncertainty (Zhdanov, "Diverse mini-batch Active Learning", 2019). Chosen by measurement
against entropy, margins alone, k-means++ and BADGE: docs/LOG.md.
"""

from __future__ import annotations

import numpy as np
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from bear_classifier.stats.arrays import Bools, Floats, Floats32, Ints

_NEAREST = 20  # neighbours by which a photo is typical, as in the paper
_CLUSTERS = 500  # at most, as in the paper
_SEEN = 4_000  # photos that clusters are made of; of more, a part
_AHEAD = 5  # photos of small margin for each one that is chosen


def directions(features: Floats32) -> Floats32:
    """Features (n, f), standardised, each row of length 1: distances are angles."""
    unit = (features - features.mean(0)) / (features.std(0) + 1e-6)
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-6)
    return np.asarray(unit, dtype=np.float32)


def margins(probabilities: Floats) -> Floats:
    """(n,) difference of the two largest of each row; 1 where there is one class only."""
    if probabilities.shape[1] < 2:
        return np.ones(len(probabilities))
    two = np.partition(probabilities, -2, axis=1)
    return np.asarray(two[:, -1] - two[:, -2])


def uncertain(unit: Floats32, doubt: Floats, n: int) -> Ints:
    """Rows (up to n) of large doubt, one of each of n clusters, which doubt weights; the most
    doubtful cluster first. unit: (m, f) of `directions`; doubt: (m,), 0 to 1."""
    first = np.argsort(-doubt, kind="stable")[: _AHEAD * n]
    if len(first) <= n:
        return first
    weights = doubt[first] + 1e-3
    with threadpool_limits(1, "blas"):
        model = KMeans(n, n_init=3, random_state=0).fit(unit[first], sample_weight=weights)
        apart = model.transform(unit[first])
    near = [first[np.flatnonzero(model.labels_ == c)[_argmin(apart[model.labels_ == c, c])]]
            for c in np.unique(model.labels_)]  # fmt: skip
    chosen = np.array(near)
    return chosen[np.argsort(-doubt[chosen], kind="stable")]


def typical(unit: Floats32, labelled: Bools, n: int) -> Ints:
    """Rows (up to n) without a label, each the most typical one of a cluster: the largest clusters
    without any label first. unit: (m, f) of `directions`; labelled: (m,)."""
    rows = np.arange(len(unit))
    if len(rows) > _SEEN:  # every so many: which ones does not depend on labels
        kept = np.zeros(len(rows), dtype=bool)
        kept[np.linspace(0, len(rows) - 1, _SEEN).astype(int)] = True
        rows = np.flatnonzero(kept | labelled)[: 2 * _SEEN]
    free = ~labelled[rows]
    if free.sum() <= n:
        return rows[free]
    many = min(int(labelled[rows].sum()) + n, _CLUSTERS, len(rows))
    with threadpool_limits(1, "blas"):
        of = KMeans(many, n_init=1, random_state=0).fit(unit[rows]).labels_
    covered = np.bincount(of[~free], minlength=many)
    sizes = np.bincount(of, minlength=many)
    chosen: list[int] = []
    for cluster in np.lexsort((np.arange(many), -sizes, covered)).tolist():
        inside = np.flatnonzero(of == cluster)
        open_ = inside[free[inside]]
        if len(open_):
            alike = np.sort(unit[rows[open_]] @ unit[rows[inside]].T, axis=1)[:, -_NEAREST:]
            chosen.append(int(rows[open_[_argmin(-alike.mean(1))]]))
        if len(chosen) == n:
            break
    return np.array(chosen, dtype=int)


def _argmin(values: Floats) -> int:
    return int(np.argmin(values))

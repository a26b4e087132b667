"""Which photos to label next: those that teach a linear model most.

At first photos that many others are like and none with a label is (MaxHerding: Bae, Noh and
Sutherland, "Generalized Coverage for More Robust Low-Budget Active Learning", ECCV 2024). Once
every class has a few labels, photos of small margin, one of each of their clusters, weighted by
uncertainty (Zhdanov, "Diverse mini-batch Active Learning", 2019). Chosen by measurement against
TypiClust, entropy, margins alone, k-means++ and BADGE: docs/LOG.md.
"""

from __future__ import annotations

import numpy as np
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from bear_classifier.stats.arrays import Bools, Floats, Floats32, Ints, evenly, in_blocks

_SHARPNESS = 4.0  # of the kernel: 1 for the same direction, 0.02 for none in common
_SEEN = 4_000  # photos that are to be covered; of more, a part
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


def covering(unit: Floats32, labelled: Bools, n: int) -> Ints:
    """Rows (up to n) without a label, one after the other: always the one that brings all rows
    nearest to some row with a label, by a Gaussian kernel. unit: (m, f) of `directions`; labelled:
    (m,). Of many rows a part is to be covered, and a part of those without a label is asked of."""
    rows = evenly(np.arange(len(unit)), _SEEN)
    open_ = evenly(np.flatnonzero(~labelled), _SEEN)
    covered = np.zeros(len(rows), dtype=np.float32)
    for some in in_blocks(np.flatnonzero(labelled)):
        covered = np.maximum(covered, _near(unit[rows], unit[some]).max(1))
    near = _near(unit[rows], unit[open_])
    chosen: list[int] = []
    for _ in range(min(n, len(open_))):
        gain = np.maximum(0, near - covered[:, None]).sum(0)
        gain[chosen] = -1
        chosen.append(int(gain.argmax()))
        covered = np.maximum(covered, near[:, chosen[-1]])
    return np.asarray(open_[np.array(chosen, dtype=int)])


def _near(one: Floats32, other: Floats32) -> Floats32:
    """(n, m): 1 for equal directions. one: (n, f); other: (m, f)."""
    return np.asarray(np.exp(_SHARPNESS * (one @ other.T - 1)))


def _argmin(values: Floats) -> int:
    return int(np.argmin(values))

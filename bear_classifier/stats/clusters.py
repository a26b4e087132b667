"""Groups of points that are alike among themselves and unlike the rest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.cluster.hierarchy import linkage
from sklearn.cluster import MiniBatchKMeans
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from bear_classifier.stats.arrays import AnyFloats, Floats, Ints

LEAST = 5  # points of a group
_MOST = 0.25  # of all points; a larger group is the rest
_TIGHT = 0.35  # least separation of a group
_SIZE = 0.15  # power of a group's size by which it outweighs separation; see docs/LOG.md
_COMPONENTS = 16
_POINTS = 3_000  # that are joined one by one: of n points Ward's method takes memory n²/2
_SEED = 7


@dataclass(frozen=True)
class Group:
    """rows: (m,) numbers of its points, rising; separation: 1 where its points are all the same, 0
    where they lie as far from each other as from the rest."""

    rows: Ints
    separation: float


def point_groups(points: AnyFloats) -> list[Group]:
    """Groups among (n, d) points, none with a point of another, the clearest first.

    Branches of the tree of Ward's method (Journal of the American Statistical Association 58, 1963)
    on the first principal components. Separation is 1 - w / b: w is the variance within a branch, b
    the mean squared distance of the other points from its centre. The same points give the same."""
    n = len(points)
    if n < 2 * LEAST:
        return []
    with threadpool_limits(1):  # sums in another order could join other points
        kept = min(_COMPONENTS, *points.shape)
        found = PCA(kept, svd_solver="randomized", random_state=_SEED).fit_transform(points)
        at = np.asarray(found, np.float64)
        part = _parts(at)
        branches = _Branches(at, part)
    value = branches.separation * branches.sizes**_SIZE
    fits = (branches.sizes >= LEAST) & (branches.sizes <= _MOST * n)
    order = np.argsort(-value, kind="stable")
    taken, chosen = np.zeros(branches.parts, dtype=bool), []
    for branch in order[(fits & (branches.separation >= _TIGHT))[order]].tolist():
        members = branches.members(branch)
        if not taken[members].any():
            taken[members] = True
            rows = np.flatnonzero(np.isin(part, members))
            chosen.append(Group(rows, float(branches.separation[branch])))
    return chosen


def _parts(at: Floats) -> Ints:
    """(n,) the part that each point is joined as: its own, or of many points one of k-means."""
    if len(at) <= _POINTS:
        return np.arange(len(at))
    means = MiniBatchKMeans(_POINTS, random_state=_SEED, n_init=1, batch_size=4096)
    return np.unique(means.fit_predict(at), return_inverse=True)[1]


class _Branches:
    """Every branch of the tree: the parts come first, then their joins. sizes: in points."""

    def __init__(self, at: Floats, part: Ints) -> None:
        self.parts = parts = int(part.max()) + 1
        counts = np.bincount(part, minlength=parts).astype(np.float64)
        sums = np.zeros((parts, at.shape[1]))
        np.add.at(sums, part, at)
        squares = np.bincount(part, (at**2).sum(1), minlength=parts)
        self._joins = linkage(sums / counts[:, None], "ward")[:, :2].astype(np.int64)
        every = 2 * parts - 1
        self.sizes = np.concatenate([counts, np.zeros(parts - 1)])
        sums = np.concatenate([sums, np.zeros((parts - 1, at.shape[1]))])
        squares = np.concatenate([squares, np.zeros(parts - 1)])
        for branch, (one, other) in enumerate(self._joins, parts):
            for column in (self.sizes, sums, squares):
                column[branch] = column[one] + column[other]
        centres = sums / self.sizes[:, None]
        within = squares - self.sizes * (centres**2).sum(1)
        within = np.maximum(within, 0) / np.maximum(self.sizes - 1, 1)
        rest = np.maximum(self.sizes[every - 1] - self.sizes, 1)
        outside = (squares[every - 1] - squares) / rest + (centres**2).sum(1)
        outside -= 2 * ((sums[every - 1] - sums) / rest[:, None] * centres).sum(1)
        apart = outside > 1e-9 * max(float((at**2).sum(1).max()), 1e-9)  # not all in one place
        self.separation: Floats = np.where(apart, 1 - within / np.where(apart, outside, 1), 0)

    def members(self, branch: int) -> Ints:
        """The parts in it."""
        found, ahead = [], [branch]
        while ahead:
            one = ahead.pop()
            if one < self.parts:
                found.append(one)
            else:
                ahead.extend(self._joins[one - self.parts].tolist())
        return np.array(found)

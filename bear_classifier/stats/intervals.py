"""Confidence intervals of rates, with a design effect for groups of near-copies.

An interval that takes ten frames of one scene for independent photos claims 95 % and covers 29 %.
So each rate has an effective sample size: photos / design effect (Kish, Survey Sampling, 1965).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bear_classifier.stats.arrays import Bools, Floats

_Z95 = 1.959963984540054  # standard normal quantile of a two-sided 95 % interval

Interval = tuple[float, float]


def proportion(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def wilson(part: float, whole: float) -> Interval | None:
    """95 % score interval of a rate of (effectively) so many independent photos (Wilson, JASA
    22:209, 1927); None of nothing."""
    if whole == 0:
        return None
    p, z2 = part / whole, _Z95**2
    middle = (p + z2 / (2 * whole)) / (1 + z2 / whole)
    half = _Z95 * np.sqrt(p * (1 - p) / whole + z2 / (4 * whole**2)) / (1 + z2 / whole)
    low = 0.0 if part == 0 else float(middle - half)
    high = 1.0 if part == whole else float(middle + half)
    return low, high


def clustered(hits: Bools, groups: NDArray[Any]) -> Interval | None:
    """95 % interval of the rate of hits (n,), where photos of one group (n,) may be alike: Wilson's
    with the effective number of photos.

    Groups of uneven size give the rate a longer tail: one group of thirty moves it far. The end
    towards 0.5 lies further off by as much as skewness moves the quantile (Cornish and Fisher, Rev.
    Inst. Int. Stat. 5:307, 1938)."""
    if not len(hits):
        return None
    rho = _correlation(hits, groups)
    effect = design_effect(rho, groups)
    p, n = float(hits.mean()), len(hits) / effect
    score = wilson(int(hits.sum()) / effect, n)
    skew = _unevenness(rho, groups) * (_Z95**2 - 1) / 6
    if score is None or skew < 1e-9:
        return score
    low, high = score
    return (_end(p, n, skew) if low > 0 else low), (1 - _end(1 - p, n, skew) if high < 1 else high)


def averaged(hits: Bools, kinds: NDArray[Any], groups: NDArray[Any]) -> Interval | None:
    """95 % interval of the mean over kinds (n,) of the rate of hits (n,): half-widths of the kinds'
    intervals combined in quadrature (Zou and Donner, Stat. Med. 27:1693, 2008). groups: (n,)."""
    names = np.unique(kinds)
    if not len(names):
        return None
    rates = np.array([hits[kinds == name].mean() for name in names])
    ends = np.array([clustered(hits[kinds == name], groups[kinds == name]) for name in names])
    low, high = ((np.abs(ends - rates[:, None]) ** 2).sum(0) ** 0.5 / len(names)).tolist()
    middle = float(rates.mean())
    return max(0.0, middle - low), min(1.0, middle + high)


def _end(p: float, n: float, skew: float) -> float:
    """The lower end of the score interval of a rate p of n photos with this skewness more."""
    low, high = 0.0, p
    for _ in range(50):
        middle = (low + high) / 2
        one = (middle * (1 - middle)) ** 0.5  # standard deviation of one photo
        z = _Z95 + max(0.0, skew * (1 - 2 * middle) / one)
        low, high = (middle, high) if p - middle > z * one / n**0.5 else (low, middle)
    return low


def design_effect(rho: float, groups: NDArray[Any]) -> float:
    """Variance of a rate over that of independent photos, with correlation rho in groups (n,)."""
    return 1 + rho * (copies_effect(groups) - 1)


def _unevenness(rho: float, groups: NDArray[Any]) -> float:
    """Skewness of the rate beyond that of photos of one size, for a photo of skewness 1."""
    size = np.unique(groups, return_counts=True)[1].astype(np.float64)
    weight = 1 + rho * (size - 1)  # of the independent parts of a group
    square, cube = float((size * weight).sum()), float((size * weight**2).sum())
    return float(cube / square**1.5 - square**0.5 / size.sum())


def _correlation(hits: Bools, groups: NDArray[Any]) -> float:
    """Of hits (n,) within groups (n,): 1 - pairs in groups that differ / pairs that would differ by
    chance. To the latter a typical group's size is added, so that copies count once where few pairs
    can tell, as with no hit at all (coverage by group size: tests/stats/test_intervals.py)."""
    number = np.unique(groups, return_inverse=True)[1]
    size = np.bincount(number).astype(np.float64)
    part = np.bincount(number, hits)
    p = part.sum() / size.sum()
    differ = float((part * (size - part)).sum())
    by_chance = float(p * (1 - p) * (size * (size - 1)).sum())
    typical = float((size**3).sum() / (size**2).sum())  # photos; size of a pair's group
    return max(0.0, 1 - differ / (by_chance + typical))


def copies_effect(groups: NDArray[Any]) -> float:
    """The design effect where the photos of a group (n,) are all right or all wrong: the mean over
    photos of the size of their group. 1 of nothing."""
    size = np.unique(groups, return_counts=True)[1].astype(np.float64)
    return float((size**2).sum() / size.sum()) if len(size) else 1.0


def cluster_weights(groups: NDArray[np.intp], rng: np.random.Generator) -> NDArray[np.intp]:
    """One draw of the cluster bootstrap: how often each photo (n,) is drawn, with its group.
    groups: (n,) numbers from 0 on."""
    many = int(groups.max()) + 1
    return np.bincount(rng.integers(many, size=many), minlength=many)[groups]


def percentile_interval(values: Floats) -> tuple[Floats, Floats]:
    """The ends of the middle 95 % of draws, along the first axis."""
    low, high = np.quantile(values, [0.025, 0.975], axis=0)
    return low, high


def bootstrap_mean(values: Floats, seed: int, draws: int = 2000) -> tuple[float, float, float]:
    """Mean of (n,), and the ends of its 95 % interval by the bootstrap over the n."""
    rng = np.random.default_rng(seed)
    means = values[rng.integers(0, len(values), (draws, len(values)))].mean(axis=1)
    low, high = percentile_interval(means)
    return float(values.mean()), float(low), float(high)

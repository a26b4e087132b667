"""Paired tests of two models on the same photos, with near-copies grouped.

Ten frames of one scene on which only one model is right are one piece of evidence: the unit of
every test is a group of near-copies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom
from scipy.stats import t as student

from bear_classifier.stats.arrays import Bools, Floats, Ints

SURE = 0.05  # chance that a difference is claimed where there is none
MOST_SEEDS = 20  # nobody trains more often to decide on a setting

Measure = Literal["loss", "error", "macro"]


def paired_comparison(before: Bools, after: Bools, groups: NDArray[Any]) -> dict[str, Any]:
    """Two models, each trained once, on the same photos: counts, the p of `sign_flip`, the verdict.

    before, after: (n,) which photos were wrong; groups: (n,) of near-copies."""
    fixed, broken = int((before & ~after).sum()), int((~before & after).sum())
    p = sign_flip(before.astype(np.int64) - after, groups)
    return {
        "n": len(before),
        "wrong_before": int(before.sum()),
        "wrong_after": int(after.sum()),
        "put_right": fixed,
        "newly_wrong": broken,
        "p": p,
        "verdict": "no difference" if p > SURE else "better" if fixed > broken else "worse",
    }


def sign_flip(apart: Ints, groups: NDArray[Any]) -> float:
    """Two-sided p of the sum of differences (n,) of -1, 0 or 1, with groups (n,), if two models are
    equal, so that each group's sum has either sign. Exact, by the distribution over all signs; with
    groups of one photo it is McNemar's exact test (Psychometrika 12:153, 1947)."""
    number = np.unique(groups, return_inverse=True)[1]
    sums = np.bincount(number, apart).astype(np.int64) if len(apart) else np.zeros(0, np.int64)
    sizes, times = np.unique(np.abs(sums[sums != 0]), return_counts=True)
    chance = np.ones(1)  # of each total, from -reach to reach
    for size, many in zip(sizes.tolist(), times.tolist(), strict=True):
        step = np.zeros(2 * size * many + 1)
        step[:: 2 * size] = binom.pmf(np.arange(many + 1), many, 0.5)
        chance = np.convolve(chance, step)
    totals = np.arange(len(chance)) - len(chance) // 2
    return min(1.0, float(chance[np.abs(totals) >= abs(int(sums.sum()))].sum()))


@dataclass(frozen=True)
class Difference:
    """Of two recipes, each trained with several seeds. mean: of other - one, negative if better;
    of_seeds, of_photos: standard errors over these (NaN: one seed); seeds, groups: how many."""

    mean: float
    of_seeds: float
    of_photos: float
    seeds: int
    groups: int

    def half(self, sure: float) -> float | None:
        """Half-width of the 1 - `sure` confidence interval; None: one seed or group."""
        if self.seeds < 2 or self.groups < 2:
            return None
        return float(self._halves(sure, np.array([self.seeds]))[0])

    def below(self, most: float = 0.0) -> bool:
        """Whether the whole of the 95 % interval lies below."""
        half = self.half(SURE)
        return half is not None and self.mean + half < most

    def span(self, measure: Measure) -> str:
        """The mean and its 95 % interval: nats of a loss, else points of a hundred."""
        half = self.half(SURE)
        half = float("nan") if half is None else half
        ends = (self.mean, self.mean - half, self.mean + half)
        mean, low, high = (signed(end, measure) for end in ends)
        return f"{mean}{'' if measure == 'loss' else ' points'} ({low} to {high})"

    def _halves(self, sure: float, seeds: Ints) -> Floats:
        """Half-widths if there had been so many seeds. seeds: (n,)."""
        seed = student.ppf(1 - sure / 2, seeds - 1) * self.of_seeds * (self.seeds / seeds) ** 0.5
        photo = student.ppf(1 - sure / 2, self.groups - 1) * self.of_photos
        return np.asarray(np.hypot(seed, photo))

    def seeds_needed(self, sure: float) -> int | None:
        """The number of seeds that would make this difference significant; None if none suffice."""
        more = np.arange(self.seeds + 1, MOST_SEEDS + 1)
        if self.seeds < 2 or not len(more):
            return None
        detected = self._halves(sure, more) < abs(self.mean)
        return int(more[detected.argmax()]) if detected.any() else None

    def times_photos(self, sure: float) -> float:
        """How many times as many photos would make it significant, but for the seeds."""
        photo = student.ppf(1 - sure / 2, max(self.groups - 1, 1)) * self.of_photos
        return float((photo / abs(self.mean)) ** 2) if self.mean else float("inf")


def amount(value: float, measure: Measure) -> str:
    """A difference in words: points of a hundred for errors, nats for the loss."""
    return f"{value:.3f}" if measure == "loss" else f"{100 * value:.1f}"


def signed(value: float, measure: Measure) -> str:
    return f"{'-' if value < 0 else '+'}{amount(abs(value), measure)}"


def shares(measure: Measure, targets: Ints) -> Floats:
    """Weight of each photo (photos,); sum 1. "macro": all classes that occur count alike."""
    if measure != "macro":
        return np.full(len(targets), 1 / len(targets))
    many = np.bincount(targets)
    return np.asarray(1 / (many[targets] * np.count_nonzero(many)))


def difference(
    one: Floats, other: Floats, targets: Ints, groups: NDArray[Any], measure: Measure
) -> Difference:
    """one, other: (seeds, photos), losses or errors of two alternatives, paired in both directions;
    targets, groups: (photos,).

    The variance over photos is that around no difference, as McNemar's: around the mean it is 0
    where all of three photos favour one side. For errors each class (for "error" all photos) counts
    one more photo on either side, as in Agresti and Min (2005): k of k photos then weigh
    k / sqrt(k + 2), close to the exact sign test. With groups, it is one more typical group."""
    share = shares(measure, targets)
    apart = other.astype(np.float64) - one
    seeds = apart @ share
    _, number = np.unique(groups, return_inverse=True)
    sums = np.bincount(number, share * apart.mean(0))
    variance = float((sums**2).sum()) * len(sums) / max(len(sums) - 1, 1)
    if measure != "loss":
        kinds = targets if measure == "macro" else np.zeros_like(targets)
        variance += 2 * sum(_one_more(share[kinds == k], number[kinds == k]) for k in set(kinds))
    spread = float(seeds.std(ddof=1) / len(seeds) ** 0.5) if len(seeds) > 1 else float("nan")
    return Difference(float(seeds.mean()), spread, variance**0.5, len(seeds), len(sums))


def _one_more(share: Floats, number: Ints) -> float:
    """Squared weight of a group, averaged over photos (n,) by share; number: of their groups."""
    weight = np.bincount(number, share)
    return float((weight**3).sum() / weight.sum())

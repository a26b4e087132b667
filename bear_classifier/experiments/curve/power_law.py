"""Power-law fits of learning curves, with bootstrap over groups.

Learning curves follow error(n) = a * n^-b + c with a, b, c >= 0 (Hestness et al., 2017, arXiv
1712.00409); c is what no number of such photos takes away. The law never predicts harm: where there
is nothing to gain, the interval begins at 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from bear_classifier.errors import ConfigError
from bear_classifier.stats.arrays import Bools, Floats, Ints
from bear_classifier.stats.intervals import clustered, percentile_interval

FARTHEST = 3.0  # times the present number; beyond it the law was never asked
LEAST_OF_CLASS = 5  # photos of a class in the smallest subset
_SMALLEST = 1 / 32  # of all photos; below, models guess and no law holds
_EXPONENTS = np.linspace(0.05, 1.5, 59)  # b; Hestness et al. met 0.07 to 0.5
_CLEAR = 0.001  # gain, share of photos: from here on it is one
_SMALL = 0.005  # gain, share of photos: below it hardly anybody would collect for it
Worth = Literal["helps", "hardly", "unknown"]


def splits(
    labels: Ints, groups: NDArray[np.str_], folds: int, seeds: Sequence[int]
) -> list[tuple[Ints, Ints]]:
    """Rows to train on and rows to test, one pair for each seed. `folds` seeds in a row share one
    cut of the photos into folds, so that together they test every photo once."""

    def split(seed: int) -> tuple[Ints, Ints]:
        cut = StratifiedGroupKFold(folds, shuffle=True, random_state=seed // folds)
        return list(cut.split(labels, labels, groups))[seed % folds]  # type: ignore[no-any-return]

    return [split(seed) for seed in seeds]


def fractions(fewest: int, points: int) -> Floats:
    """Shares of the photos to learn from, ascending: geometric up to one half, then all of them.
    fewest: photos of the smallest class."""
    least = min(max(_SMALLEST, LEAST_OF_CLASS / fewest), 0.25)
    return np.append(np.geomspace(least, 0.5, points - 1), 1.0)


def order_of_photos(
    labels: Ints, groups: NDArray[np.str_], rng: np.random.Generator
) -> tuple[Ints, Ints]:
    """(n,): how many photos of its class come before a photo's group, in a new order of the groups;
    and (n,): that class, of a group of several the one that most of it is of."""
    names, number = np.unique(groups, return_inverse=True)
    table = np.zeros((len(names), int(labels.max()) + 1), dtype=np.int64)
    np.add.at(table, (number, labels), 1)
    home, size = table.argmax(1), table.sum(1)
    before = np.empty(len(names), dtype=np.int64)
    order = rng.permutation(len(names))
    for label in range(table.shape[1]):
        mine = order[home[order] == label]
        before[mine] = np.cumsum(size[mine]) - size[mine]
    return before[number], home[number]


def subset(place: Ints, home: Ints, share: Floats) -> Bools:
    """(n,) which photos are learned from: about `share` (classes,) of each class, whole groups, at
    least one; a smaller share is part of a larger one. place, home: of `order_of_photos`."""
    wanted = share * np.bincount(home, minlength=len(share))
    return np.asarray(place < wanted[home] - 1e-9)


def weights(
    groups: NDArray[np.str_], seeds: int, rounds: int, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """How often each seed (rounds, seeds) and each photo (rounds, n) is drawn: seeds and groups of
    near-copies, both with replacement (pigeonhole bootstrap, Owen 2007: rather too wide)."""
    names, number = np.unique(groups, return_inverse=True)
    of_seed = rng.multinomial(seeds, np.full(seeds, 1 / seeds), rounds)
    of_group = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), rounds)
    return of_seed.astype(np.float64), of_group[:, number].astype(np.float64)


def errors(wrong: Bools, tested: Bools, of_seed: Floats, of_photo: Floats) -> Floats:
    """Share of wrong answers (rounds, sizes). wrong: (seeds, sizes, n); tested: (seeds, n);
    of_seed, of_photo: weights (rounds, seeds) and (rounds, n)."""
    many = tested.astype(np.float64) @ of_photo.T
    bad = (wrong & tested[:, None]).astype(np.float64) @ of_photo.T
    whole = np.einsum("rd,dr->r", of_seed, many)
    part = np.einsum("rd,dsr->rs", of_seed, bad)
    return np.asarray(part / np.maximum(whole, 1e-9)[:, None])


def chance(wrong: Bools, tested: Bools, groups: NDArray[np.str_]) -> Floats:
    """95 % intervals (sizes, 2) of the shares of wrong answers. A photo that several seeds test is
    a copy of itself. wrong: (seeds, sizes, n); tested: (seeds, n); groups: (n,)."""
    of = np.broadcast_to(groups, tested.shape)[tested]
    sizes = range(wrong.shape[1])
    return np.array([clustered(wrong[:, size][tested], of) or (0.0, 1.0) for size in sizes])


def unseen(high: Floats, error: float, limit: float) -> Floats:
    """Upper ends (n,) of intervals. Where nobody was wrong, the bootstrap shows no spread: then
    they are at least the upper limit of the error's own interval."""
    return high if error > 0 else np.maximum(high, limit)


def fit_power_law(sizes: Floats, error: Floats, spread: Floats) -> Floats:
    """a, b, c of each row, (rounds, 3), by weighted least squares: b by trying, a and c exactly.

    sizes: (s,); error: (rounds, s); spread: (s,) standard deviations. a is the part of the error at
    the largest size that more photos can take away, so a law is a * (n / sizes[-1])^-b + c."""
    weight = 1 / np.maximum(spread, 1e-4) ** 2
    weight /= weight.sum()
    best = np.full(len(error), np.inf)
    found = np.zeros((len(error), 3))
    middle = error @ weight
    for b in _EXPONENTS:
        x = (sizes / sizes[-1]) ** -b
        mean = x @ weight
        slope = (error - middle[:, None]) @ (weight * (x - mean)) / (weight @ (x - mean) ** 2)
        a = np.maximum(slope, 0)
        c = middle - a * mean
        through = np.maximum(error @ (weight * x) / (weight @ x**2), 0)  # with c = 0
        a, c = np.where(c < 0, through, a), np.maximum(c, 0)
        loss = (error - a[:, None] * x - c[:, None]) ** 2 @ weight
        better = loss < best - 1e-15
        best = np.where(better, loss, best)
        found[better] = np.stack([a, np.full_like(a, b), c], axis=1)[better]
    return found


def predicted(law: Floats, present: float, n: Floats) -> Floats:
    """Errors (rounds, m) at n photos. law: of `fit_power_law`; present: its largest size; n: (m,).

    Raises ConfigError (TOO_FAR) beyond three times the present number."""
    if n.max() > FARTHEST * present * (1 + 1e-9):
        raise ConfigError(
            "TOO_FAR",
            f"{n.max():.0f} photos are more than {FARTHEST:.0f} times the present {present:.0f};"
            f" predictions that far are not reliable; ask for at most {2 * present:.0f} more",
        )
    a, b, c = law.T[:, :, None]
    return np.asarray(a * (n / present) ** -b + c)


def gain(law: Floats, laws: Floats, present: float, more: float) -> tuple[float, float, float]:
    """By how much the error falls with `more` photos, and its interval. law: (3,), of what was
    measured; laws: (rounds, 3), of what might have been. Raises ConfigError (TOO_FAR)."""
    n = np.array([present, present + more])
    falls = [-np.diff(predicted(rows, present, n), axis=1)[:, 0] for rows in (law[None], laws)]
    fewer, (low, high) = float(falls[0][0]), percentile_interval(falls[1])
    return fewer, min(fewer, float(low)), max(fewer, float(high))


def capped(gains: Sequence[float], steps: Floats, times: float) -> tuple[float, ...]:
    """Gains, at most `times` what the last step may have brought.

    steps: (rounds,) by how much the error fell there. By every law a further step brings less; but
    where errors fall all at once and then stay, no law fits, and the best one falls on."""
    most = max(0.0, float(percentile_interval(steps)[1])) * times
    return tuple(min(gain, most) for gain in gains)


def worth(low: float, high: float) -> Worth:
    """The verdict on a gain from its interval."""
    if low >= _CLEAR:
        return "helps"
    return "hardly" if high < _SMALL else "unknown"


def round_number(n: float) -> int:
    """The largest of 1, 2, 5, 10, 20, 50 ... that is not above n."""
    ten = 10 ** int(np.floor(np.log10(n)))
    return int(max(step * ten for step in (1, 2, 5) if step * ten <= n))

"""Which recipe is better? Trainings of several alternatives, paired over photos and over seeds.

Every alternative is set against the first, which was named before anything was known; so there are
as many questions as other alternatives, and each interval is widened for all of them (Bonferroni):
that any difference is claimed where there is none happens in one comparison of twenty.

A bootstrap over seeds and photos (Owen 2007) was left: it takes it for proof that three seeds, or
the three wrong photos of a small class, agree, which they do by chance one time in four. Instead
both sources of chance have an interval of their own, added at right angles, so that none is ever
narrower than either: over seeds Student's; over photos one whose units are groups of near-copies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from bear_classifier.calibrate import fit_temperature

MOST_LOSS = -float(np.log(1e-6))  # of one photo; a few absurd answers would drown all others
SURE = 0.05  # chance that a difference is claimed anywhere where there is none
FEW = 10  # photos of a class on validation; of fewer each moves its recall by a tenth and more
_FAR = 20  # times as many validation photos; nobody has them
_MOST_SEEDS = 20  # nobody trains more often to decide on a setting

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Measure = Literal["loss", "error", "macro"]
MEASURES: tuple[Measure, ...] = ("loss", "error", "macro")


def judged(logits: Floats, targets: Ints) -> tuple[Floats, Bools]:
    """Log loss in nats, at most 13.8, and whether it was wrong, of each photo (..., photos).

    logits: (..., photos, classes); targets: (photos,) numbers of the true classes."""
    shifted = logits - logits.max(-1, keepdims=True)
    own = np.take_along_axis(shifted, _like(targets, logits), -1)[..., 0]
    losses = np.log(np.exp(shifted).sum(-1)) - own
    return np.minimum(losses, MOST_LOSS), logits.argmax(-1) != targets


def calibrated(logits: Floats, targets: Ints) -> Floats:
    """Logits (..., photos, classes), each training's at the temperature of its least loss: every
    model that is exported gets one, so being too sure is no fault of a recipe."""
    rows = logits.reshape(-1, *logits.shape[-2:])
    return np.stack([row / fit_temperature(row, targets) for row in rows]).reshape(logits.shape)


def _like(targets: Ints, logits: Floats) -> Ints:
    return np.broadcast_to(targets[:, None], (*logits.shape[:-1], 1))


def shares(measure: Measure, targets: Ints) -> Floats:
    """(photos,) what each photo counts for; sum 1. "macro": all classes that are there alike."""
    if measure != "macro":
        return np.full(len(targets), 1 / len(targets))
    many = np.bincount(targets)
    return np.asarray(1 / (many[targets] * np.count_nonzero(many)))


# -- one difference --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Difference:
    """mean: of other - one, so that less than 0 is better. of_seeds: standard error from seed to
    seed, of one seed NaN; of_photos: from photo to photo; seeds, groups: how many."""

    mean: float
    of_seeds: float
    of_photos: float
    seeds: int
    groups: int

    def half(self, sure: float) -> float | None:
        """Half of the interval that holds the truth but for a chance of `sure`; None: one seed."""
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
        mean, low, high = (_signed(end, measure) for end in ends)
        return f"{mean}{'' if measure == 'loss' else ' points'} ({low} to {high})"

    def _halves(self, sure: float, seeds: Ints) -> Floats:
        """The same if there had been so many seeds. seeds: (n,)."""
        seed = student.ppf(1 - sure / 2, seeds - 1) * self.of_seeds * (self.seeds / seeds) ** 0.5
        photo = student.ppf(1 - sure / 2, self.groups - 1) * self.of_photos
        return np.asarray(np.hypot(seed, photo))

    def seeds_needed(self, sure: float) -> int | None:
        """With how many seeds in all this difference would be told; None if none suffice."""
        more = np.arange(self.seeds + 1, _MOST_SEEDS + 1)
        if self.seeds < 2 or not len(more):
            return None
        told = self._halves(sure, more) < abs(self.mean)
        return int(more[told.argmax()]) if told.any() else None

    def times_photos(self, sure: float) -> float:
        """How many times as many validation photos would tell it, were it not for the seeds."""
        photo = student.ppf(1 - sure / 2, max(self.groups - 1, 1)) * self.of_photos
        return float((photo / abs(self.mean)) ** 2) if self.mean else float("inf")


def difference(
    one: Floats, other: Floats, targets: Ints, groups: NDArray[np.str_], measure: Measure
) -> Difference:
    """one, other: (seeds, photos), losses or wrongs of two alternatives, paired in both directions;
    targets, groups: (photos,).

    The chance of photos is that under no difference (not around the mean, as McNemar's), for where
    all of three photos speak for one side nothing varies around the mean. For wrongs each class
    (for "error" all photos) counts one photo more on either side, as Agresti and Min (2005) do: k
    of k photos then weigh k / sqrt(k + 2), close to the exact sign test."""
    share = shares(measure, targets)
    apart = other.astype(np.float64) - one
    seeds = apart @ share
    _, number = np.unique(groups, return_inverse=True)
    sums = np.bincount(number, share * apart.mean(0))
    variance = float((sums**2).sum()) * len(sums) / max(len(sums) - 1, 1)
    if measure == "error":
        variance += 2 * float(share[0]) ** 2
    elif measure == "macro":
        variance += 2 * float((share[np.unique(targets, return_index=True)[1]] ** 2).sum())
    spread = float(seeds.std(ddof=1) / len(seeds) ** 0.5) if len(seeds) > 1 else float("nan")
    return Difference(float(seeds.mean()), spread, variance**0.5, len(seeds), len(sums))


# -- all of them -----------------------------------------------------------------------------------


def compared(
    names: Sequence[str],
    logits: Floats,
    targets: Sequence[int],
    groups: Sequence[str],
    labels: Sequence[str],
    by: Measure,
) -> dict[str, Any]:
    """Each alternative's measures, recalls and difference to the first, as plain numbers.

    logits: (alternatives, seeds, photos, classes) on validation; targets, groups: (photos,);
    labels: of the classes; by: the measure that decides, chosen before the comparison. Losses are
    those of calibrated models."""
    true, group = np.asarray(targets), np.asarray(groups)
    losses, wrong = judged(calibrated(logits, true), true)
    sure = SURE / max(len(names) - 1, 1)
    rows = []
    for i, name in enumerate(names):
        row: dict[str, Any] = {"name": name}
        for measure in MEASURES:
            values = (losses if measure == "loss" else wrong).astype(np.float64)
            per_seed = values[i] @ shares(measure, true)
            row[measure] = {"mean": float(per_seed.mean()), "per_seed": per_seed.tolist()}
            if i:
                found = difference(values[0], values[i], true, group, measure)
                row[measure] |= _difference(found, sure, len(true))
        row["recall"] = {
            label: float(1 - wrong[i][:, true == k].mean()) if (true == k).any() else None
            for k, label in enumerate(labels)
        }
        row["verdict"] = row[by]["verdict"] if i else "first"
        rows.append(row)
    return {
        "by": by,
        "rows": rows,
        "seeds": logits.shape[1],
        "photos": len(true),
        "groups": len(np.unique(group)),
        "sure": sure,
        "of_class": {label: int((true == k).sum()) for k, label in enumerate(labels)},
    }


def _difference(found: Difference, sure: float, photos: int) -> dict[str, Any]:
    half = found.half(sure)
    low, high = (None, None) if half is None else (found.mean - half, found.mean + half)
    told = half is not None and half < abs(found.mean)
    enough = found.times_photos(sure)
    return {
        "difference": found.mean,
        "low": low,
        "high": high,
        "verdict": ("better" if found.mean < 0 else "worse") if told else "no difference",
        "seeds_needed": None if told else found.seeds_needed(sure),
        "photos_needed": None if told or not np.isfinite(enough) else int(np.ceil(enough * photos)),
    }


# -- words -----------------------------------------------------------------------------------------

NAMES: Mapping[Measure, str] = {
    "loss": "log loss",
    "error": "error",
    "macro": "macro error (mean of the classes' errors)",
}


def amount(value: float, measure: Measure) -> str:
    """A difference in words: points of a hundred for errors, nats for the loss."""
    return f"{value:.3f}" if measure == "loss" else f"{100 * value:.1f}"


def verdicts(found: Mapping[str, Any]) -> list[str]:
    """A sentence on every alternative but the first; nothing inside the noise is called better."""
    first, by = found["rows"][0]["name"], found["by"]
    return [_verdict(row, first, by, found) for row in found["rows"][1:]]


def _verdict(row: Mapping[str, Any], first: str, by: Measure, found: Mapping[str, Any]) -> str:
    name, said = row["name"], row[by]
    unit = "of log loss" if by == "loss" else "points"
    if said["verdict"] != "no difference":
        sign = -1 if said["verdict"] == "better" else 1
        near, far = sorted(sign * said[end] for end in ("low", "high"))
        return (
            f"{name} does {said['verdict']} than {first} by {amount(abs(said['difference']), by)}"
            f" {unit} ({amount(near, by)} to {amount(far, by)})"
        )
    text = f"no difference can be told between {name} and {first}: "
    if said["low"] is None:
        return text + "one seed cannot tell one from chance; give --seeds 3 or more"
    less = "less" if said["difference"] < 0 else "more"
    text += f"{name} has {amount(abs(said['difference']), by)} {unit} {less}"
    text += f" (from {_signed(said['low'], by)} to {_signed(said['high'], by)})"
    if said["seeds_needed"]:
        return f"{text}; to tell that much: about --seeds {said['seeds_needed']}"
    wanted = said["photos_needed"]
    if wanted is None or wanted > _FAR * found["photos"]:
        return f"{text}; so little can hardly be told at all"
    if wanted > found["photos"]:
        return (
            f"{text}; to tell that little: about {wanted} validation photos"
            f" instead of {found['photos']}, and more seeds"
        )
    return f"{text}; to tell that little takes more than {_MOST_SEEDS} seeds"


def _signed(value: float, by: Measure) -> str:
    return f"{'-' if value < 0 else '+'}{amount(abs(value), by)}"


def remarks(found: Mapping[str, Any]) -> list[str]:
    """What to know before relying on it."""
    said = [
        f'class "{label}" has {n} photo{"" if n == 1 else "s"} on validation, each counted once'
        " (validation is never oversampled): its recall, and the macro error, rest on little"
        for label, n in found["of_class"].items()
        if 0 < n < FEW
    ]
    said += [
        f'class "{label}" has no photo on validation: nothing is said of it'
        for label, n in found["of_class"].items()
        if n == 0
    ]
    return said

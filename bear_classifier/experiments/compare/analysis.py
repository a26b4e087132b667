"""Compare recipes: measures, paired differences over photos and seeds, verdicts.

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
from typing import Any

import numpy as np

from bear_classifier.runtime.terminal import count
from bear_classifier.stats.arrays import Bools, Floats, Ints
from bear_classifier.stats.calibration import fit_temperature
from bear_classifier.stats.metrics import MOST_LOSS
from bear_classifier.stats.paired import (
    MOST_SEEDS,
    SURE,
    Difference,
    Measure,
    amount,
    difference,
    shares,
    signed,
)

FEW_PHOTOS = (
    10  # photos of a class on validation; of fewer each moves its recall by a tenth and more
)
_FAR = 20  # times as many validation photos; nobody has them

MEASURES: tuple[Measure, ...] = ("loss", "error", "macro")


def losses_and_errors(logits: Floats, targets: Ints) -> tuple[Floats, Bools]:
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


# -- all of them -----------------------------------------------------------------------------------


def compare_alternatives(
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
    losses, wrong = losses_and_errors(calibrated(logits, true), true)
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
    significant = half is not None and half < abs(found.mean)
    enough = found.times_photos(sure)
    return {
        "difference": found.mean,
        "low": low,
        "high": high,
        "verdict": ("better" if found.mean < 0 else "worse") if significant else "no difference",
        "seeds_needed": None if significant else found.seeds_needed(sure),
        "photos_needed": (
            None if significant or not np.isfinite(enough) else int(np.ceil(enough * photos))
        ),
    }


# -- words -----------------------------------------------------------------------------------------

MEASURE_NAMES: Mapping[Measure, str] = {
    "loss": "log loss",
    "error": "error",
    "macro": "macro error (mean of the classes' errors)",
}


def alternative_verdicts(found: Mapping[str, Any]) -> list[str]:
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
    text = f"no difference is shown between {name} and {first}: "
    if said["low"] is None:
        return text + "one seed may differ by chance; give --seeds 3 or more"
    less = "less" if said["difference"] < 0 else "more"
    text += f"{name} has {amount(abs(said['difference']), by)} {unit} {less}"
    text += f" (from {signed(said['low'], by)} to {signed(said['high'], by)})"
    if said["seeds_needed"]:
        return f"{text}; to show such a difference: about --seeds {said['seeds_needed']}"
    wanted = said["photos_needed"]
    if wanted is None or wanted > _FAR * found["photos"]:
        return f"{text}; so small a difference can hardly be measured"
    if wanted > found["photos"]:
        return (
            f"{text}; to show so small a difference: about {wanted} validation photos"
            f" instead of {found['photos']}, and more seeds"
        )
    return f"{text}; to show so small a difference takes more than {MOST_SEEDS} seeds"


def remarks(found: Mapping[str, Any]) -> list[str]:
    """What to know before relying on it."""
    said = [
        f'class "{label}" has {count(n, "photo")} on validation, each counted once'
        " (validation is never oversampled): do not rely on its recall and the macro error"
        for label, n in found["of_class"].items()
        if 0 < n < FEW_PHOTOS
    ]
    said += [
        f'class "{label}" has no photo on validation: nothing is said of it'
        for label, n in found["of_class"].items()
        if n == 0
    ]
    return said

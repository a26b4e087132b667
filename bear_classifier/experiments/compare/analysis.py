"""Compare recipes: measures, paired differences over photos and seeds, verdicts.

Every alternative is set against the first, which was named before anything was known. Each interval
is widened for all alternatives (Bonferroni): one comparison of twenty claims a difference where
there is none.

Both sources of chance have an interval: over seeds Student's; over photos one whose units are
groups of near-copies. Their half-widths are combined in quadrature. A bootstrap over seeds and
photos (Owen 2007) takes it for proof that three seeds, or the three wrong photos of a small class,
agree, which they do by chance one time in four.
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

FEW_PHOTOS = 10  # of a class on validation; of fewer each moves its recall by a tenth and more
_FAR = 20  # times as many validation photos; nobody has them

MEASURES: tuple[Measure, ...] = ("loss", "error", "macro")


def losses_and_errors(logits: Floats, targets: Ints) -> tuple[Floats, Bools]:
    """Log loss in nats, at most 13.8, and whether it was wrong, of each photo (..., photos).

    logits: (..., photos, classes); targets: (photos,) numbers of the true classes."""
    shifted = logits - logits.max(-1, keepdims=True)
    losses = np.log(np.exp(shifted).sum(-1)) - shifted[..., np.arange(len(targets)), targets]
    return np.minimum(losses, MOST_LOSS), logits.argmax(-1) != targets


def calibrated(logits: Floats, targets: Ints) -> Floats:
    """Logits (..., photos, classes), each training's at the temperature of its least loss: every
    model that is exported gets one, so being too sure is no fault of a recipe."""
    rows = logits.reshape(-1, *logits.shape[-2:])
    return np.stack([row / fit_temperature(row, targets) for row in rows]).reshape(logits.shape)


def compare_alternatives(
    names: Sequence[str],
    logits: Floats,
    targets: Sequence[int],
    groups: Sequence[str],
    labels: Sequence[str],
    by: str,
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
                apart = difference(values[0], values[i], true, group, measure)
                row[measure] |= _difference(apart, sure, len(true))
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


def _difference(apart: Difference, sure: float, photos: int) -> dict[str, Any]:
    half, mean = apart.half(sure), apart.mean
    significant = half is not None and half < abs(mean)
    enough = np.ceil(apart.times_photos(sure) * photos)
    return {
        "difference": mean,
        "low": None if half is None else mean - half,
        "high": None if half is None else mean + half,
        "verdict": ("better" if mean < 0 else "worse") if significant else "no difference",
        "seeds_needed": None if significant else apart.seeds_needed(sure),
        "photos_needed": None if significant or not np.isfinite(enough) else int(enough),
    }


# -- words -----------------------------------------------------------------------------------------

MEASURE_NAMES: Mapping[Measure, str] = {
    "loss": "log loss",
    "error": "error",
    "macro": "macro error (mean of the classes' errors)",
}


def alternative_verdicts(result: Mapping[str, Any]) -> list[str]:
    """A sentence on every alternative but the first; nothing inside the noise is called better."""
    return [_verdict(row, result) for row in result["rows"][1:]]


def _verdict(row: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    name, first, by, photos = row["name"], result["rows"][0]["name"], result["by"], result["photos"]
    found, unit = row[by], "of log loss" if by == "loss" else "points"
    size = amount(abs(found["difference"]), by)
    if found["verdict"] != "no difference":
        sign = -1 if found["verdict"] == "better" else 1
        near, far = sorted(sign * found[end] for end in ("low", "high"))
        return (
            f"{name} does {found['verdict']} than {first} by {size} {unit}"
            f" ({amount(near, by)} to {amount(far, by)})"
        )
    text = f"no difference is shown between {name} and {first}: "
    if found["low"] is None:
        return text + "one seed may differ by chance; give --seeds 3 or more"
    less = "less" if found["difference"] < 0 else "more"
    text += f"{name} has {size} {unit} {less}"
    text += f" (from {signed(found['low'], by)} to {signed(found['high'], by)}); "
    if found["seeds_needed"]:
        return f"{text}to show such a difference: about --seeds {found['seeds_needed']}"
    needed = found["photos_needed"]
    if needed is None or needed > _FAR * photos:
        return f"{text}so small a difference can hardly be measured"
    text += "to show so small a difference"
    if needed > photos:
        return f"{text}: about {needed} validation photos instead of {photos}, and more seeds"
    return f"{text} takes more than {MOST_SEEDS} seeds"


def remarks(result: Mapping[str, Any]) -> list[str]:
    """What to know before relying on it."""
    few = [
        f'class "{label}" has {count(n, "photo")} on validation, each counted once'
        " (validation is never oversampled): do not rely on its recall and the macro error"
        for label, n in result["of_class"].items()
        if 0 < n < FEW_PHOTOS
    ]
    return few + [
        f'class "{label}" has no photo on validation: nothing is said of it'
        for label, n in result["of_class"].items()
        if n == 0
    ]

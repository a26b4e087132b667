"""Whole sources dealt to train, valid and test, so that the figures are about unseen ones."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from bear_classifier.errors import DataError
from bear_classifier.schema import Photo, Split
from bear_classifier.settings import SplitConfig
from bear_classifier.sites import tied

SIDES: tuple[Split, ...] = get_args(Split)

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def by_source(
    photos: Sequence[Photo], sources: Sequence[str], settings: SplitConfig
) -> list[Split]:
    """Sides (n,), the same for all photos of a source. Sources that share near-copies count as one,
    a photo of no known source is one of its own.

    What has a side keeps it, and draws the rest of its source there. Raises DataError
    (DEALT_BY_PHOTO, TOO_FEW_SOURCES)."""
    units = np.array(tied([photo.group or photo.sha256 for photo in photos], sources))
    if units.max(initial=-1) + 1 < len(SIDES):
        raise DataError(
            "TOO_FEW_SOURCES",
            f'split.by = "source" needs {len(SIDES)} or more sources that share no near-copies; '
            f"there are {units.max(initial=-1) + 1}. Add photos of others, name those of your own "
            'in split.sources, or set split.by = "photo"',
        )
    labels = sorted({photo.label for photo in photos})
    sizes = np.zeros((units.max() + 1, len(labels)))
    np.add.at(sizes, (units, np.array([labels.index(photo.label) for photo in photos])), 1)
    share = {"test": settings.test, "valid": settings.valid}
    share["train"] = 1 - settings.test - settings.valid
    place_of: dict[int, float] = {}
    for photo, unit in zip(photos, units.tolist(), strict=True):
        here = place(settings.seed, photo.group or photo.sha256)
        place_of[unit] = min(here, place_of.get(unit, 1.0))
    order = np.array([place_of[unit] for unit in range(len(sizes))])
    sides = dealt(sizes, _kept(photos, sources, units), [share[side] for side in SIDES], order)
    return [SIDES[sides[unit]] for unit in units]


def _kept(photos: Sequence[Photo], sources: Sequence[str], units: Ints) -> Ints:
    """(units,) the side that a unit has already, as a number; -1: none."""
    kept = np.full(units.max() + 1, -1, dtype=np.int64)
    for photo, source, unit in zip(photos, sources, units, strict=True):
        if photo.split:
            side = SIDES.index(photo.split)
            if kept[unit] not in (-1, side):
                raise DataError(
                    "DEALT_BY_PHOTO",
                    f"photos of {source or 'one near-copy'}, or tied to it, stand on the sides "
                    f"{SIDES[kept[unit]]} and {photo.split}: this dataset was dealt by photo, and "
                    'nobody moves. Begin a new one (--data), or set split.by = "photo"',
                )
            kept[unit] = side
    return kept


def dealt(sizes: Floats, kept: Ints, shares: Sequence[float], order: Floats) -> Ints:
    """(units,) the number of each unit's side. The largest first, each to where the counts of all
    classes come nearest to their shares (least chi square); no side stays empty.

    Sources are too few and too uneven for a hash, which decides between equals only. sizes:
    (units, classes) photos; kept: (units,) sides, -1 where free; shares: (sides,); order: (units,).
    """
    sides: Ints = kept.copy()
    number = np.arange(len(shares))
    wanted = np.asarray(shares)[:, None] * sizes.sum(0)
    held = np.stack([sizes[sides == side].sum(0) for side in number])
    free = np.flatnonzero(sides == -1)
    free = free[np.lexsort((order[free], -sizes[free].sum(1)))]
    for rank, unit in enumerate(free):
        empty = number[held.sum(1) == 0]
        choices = empty if len(free) - rank <= len(empty) else number
        after = held + (choices[:, None] == number)[..., None] * sizes[unit]
        off = ((after - wanted) ** 2 / wanted).sum((1, 2))
        sides[unit] = choices[off.argmin()]
        held[sides[unit]] += sizes[unit]
    return sides


def place(seed: int, group: str) -> float:
    """Where a hash puts a group, from 0 to 1."""
    digest = hashlib.sha256(f"{seed}:{group}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64

"""Split by source: all photos of a source in one split, so that it is judged on unseen sources."""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from bear_classifier.config.settings import SplitConfig
from bear_classifier.dataset.schema import SPLITS, Photo, Split
from bear_classifier.dataset.sources import homes
from bear_classifier.errors import DataError
from bear_classifier.stats.arrays import Floats, Ints


def by_source(
    photos: Sequence[Photo], sources: Sequence[str], settings: SplitConfig
) -> list[Split]:
    """Splits (n,), the same for all photos of a source. Near-copies that several sources show count
    to one of them (`homes`), a photo of no known source is one of its own.

    What has a split keeps it, and draws the rest of its source there. Raises DataError
    (DEALT_BY_PHOTO, TOO_FEW_SOURCES)."""
    groups = [photo.family for photo in photos]
    names, units = np.unique(homes(groups, sources), return_inverse=True)
    if len(names) < len(SPLITS):
        raise DataError(
            "TOO_FEW_SOURCES",
            f'split.by = "source" needs {len(SPLITS)} or more sources; there are {len(names)}. Add'
            " photos of others, name those of your own in split.sources, or set split.by ="
            ' "photo"',
        )
    labels = sorted({photo.label for photo in photos})
    sizes = np.zeros((len(names), len(labels)))
    rows = zip(units.tolist(), groups, (labels.index(photo.label) for photo in photos), strict=True)
    for (unit, _, label), n in Counter(rows).items():
        sizes[unit, label] += math.sqrt(n)  # between one picture and n: so near-copies count
    share = {"test": settings.test, "valid": settings.valid}
    share["train"] = 1 - settings.test - settings.valid
    order = np.array([place(settings.seed, name) for name in names])
    kept = _kept(photos, groups, sources, list(names), units)
    splits = assign_sources(sizes, kept, [share[split] for split in SPLITS], order)
    _refuse_empty(labels, sizes, splits)
    held = {g: photo.split for g, photo in zip(groups, photos, strict=True) if photo.split}
    return [
        photo.split or held.get(group) or SPLITS[splits[unit]]
        for photo, group, unit in zip(photos, groups, units, strict=True)
    ]


def _refuse_empty(labels: Sequence[str], sizes: Floats, splits: Ints) -> None:
    """Where every source is needed to learn from, nothing is left to judge with."""
    empty = [name for number, name in enumerate(SPLITS) if not (splits == number).any()]
    if empty:
        few = (sizes > 0).sum(0)
        label, n = labels[few.argmin()], few.min()
        raise DataError(
            "TOO_FEW_SOURCES",
            f'split.by = "source" leaves {" and ".join(empty)} empty: class "{label}" comes from'
            f" {n} source{'' if n == 1 else 's'}, and train needs photos of every class. Add photos"
            ' of others, or set split.by = "photo"',
        )


def _kept(
    photos: Sequence[Photo],
    groups: Sequence[str],
    sources: Sequence[str],
    names: Sequence[str],
    units: Ints,
) -> Ints:
    """(units,) the split that a source has already, as a number; -1: none. What several sources
    show says nothing of any of them."""
    shown: dict[str, set[str]] = defaultdict(set)
    for group, source in zip(groups, sources, strict=True):
        shown[group].add(source)
    kept = np.full(len(names), -1, dtype=np.int64)
    for photo, group, unit in zip(photos, groups, units, strict=True):
        if photo.split and len(shown[group]) == 1:
            split = SPLITS.index(photo.split)
            if kept[unit] not in (-1, split):
                raise DataError(
                    "DEALT_BY_PHOTO",
                    f"photos of {names[unit]} are in the splits {SPLITS[kept[unit]]} and"
                    f" {photo.split}: this dataset was split by photo, and no photo moves. Begin a"
                    ' new one (--data), or set split.by = "photo"',
                )
            kept[unit] = split
    return kept


def assign_sources(sizes: Floats, kept: Ints, shares: Sequence[float], order: Floats) -> Ints:
    """(units,) the number of each unit's split. The largest first, each to where the counts of all
    classes come nearest to their shares (least chi square). More important: the first split, train,
    gets photos of every class, no split stays empty, and no class is missing in a split.

    Sources are too few and too uneven for a hash, which decides between equals only. sizes:
    (units, classes) photos; kept: (units,) splits, -1 where free; shares: (splits,);
    order: (units,)."""
    splits: Ints = kept.copy()
    number = np.arange(len(shares))
    wanted = np.asarray(shares)[:, None] * sizes.sum(0)
    held = np.stack([sizes[splits == split].sum(0) for split in number])
    free = np.flatnonzero(splits == -1)
    free = free[np.lexsort((order[free], -sizes[free].sum(1)))]
    units = (sizes[free] > 0).sum(0)  # of each class, that have no split yet
    for rank, unit in enumerate(free, 1):
        after = held + (number[:, None] == number)[..., None] * sizes[unit]
        off = ((after - wanted) ** 2 / wanted).sum((1, 2))
        units = units - (sizes[unit] > 0)
        lacking = _lacking(after, units, len(free) - rank)
        splits[unit] = np.lexsort((off, *lacking))[0]
        held[splits[unit]] += sizes[unit]
    return splits


def _lacking(after: Floats, units: Ints, left: int) -> tuple[Ints, Ints, Ints]:
    """(choices,) each, the gravest last: places of a class that must stay empty, splits, and
    classes without photos to learn from. after: (choices, splits, classes); units: (classes,) those
    with photos of it that are still to come, of `left` in all."""
    holes = np.maximum((after == 0).sum(1) - units, 0).sum(1)
    empty = np.maximum((after.sum(2) == 0).sum(1) - left, 0)
    unlearned = ((after[:, 0] == 0) & (units == 0)).sum(1)
    return holes, empty, unlearned


def place(seed: int, group: str) -> float:
    """Where a hash puts a group, from 0 to 1."""
    digest = hashlib.sha256(f"{seed}:{group}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64

"""Deal groups of photos to train, valid and test, once for ever."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from bear_classifier.catalog import Catalog
from bear_classifier.collect.blocks import SIDES, by_source, place
from bear_classifier.errors import DataError
from bear_classifier.schema import Photo, Split
from bear_classifier.settings import Config, SplitConfig
from bear_classifier.sites import sites

_IMBALANCE = 10  # times as many photos in the largest class as in the smallest: worth a warning


_SLACK = 0.25  # of a side's share, before a class is held to it


def split(catalog: Catalog, config: Config) -> dict[str, Any]:
    """Give every usable photo a side; those that have one keep it."""
    with catalog.transaction():  # from the reading on: somebody may be deciding on photos
        photos = catalog.photos("ok")
        counts = Counter(photo.label for photo in photos)
        _refuse_strangers(photos, config.labels)
        _check(counts, config.labels, config.split.least)
        if config.split.by == "source":
            sides = by_source(photos, sites(catalog, photos, config.split.sources), config.split)
        else:
            sides = assign(photos, config.split)
        catalog.put_photos(
            dataclasses.replace(photo, split=side)
            for photo, side in zip(photos, sides, strict=True)
            if photo.split != side
        )
    per_side = {side: dict.fromkeys(config.labels, 0) for side in SIDES}
    for photo, side in zip(photos, sides, strict=True):
        per_side[side][photo.label] += 1
    return {"photos": per_side, "warnings": _warnings(per_side, counts)}


def assign(photos: Sequence[Photo], settings: SplitConfig) -> list[Split]:
    """Sides (n,) by a hash of seed and group, so that other photos do not matter.

    A group that has a side keeps it, for ever. A new one goes where its hash says, whatever else
    there is, as long as every class has its share on each side within a quarter: exact shares
    would move photos whenever others come or go, no bounds would leave small classes to luck."""
    label = {p.group: p.label for p in sorted(photos, key=lambda p: p.sha256, reverse=True)}
    sides: dict[str | None, Split] = {p.group: p.split for p in photos if p.split}
    for one in sorted(set(label.values())):
        groups = sorted(group for group in label if label[group] == one and group)
        held = Counter(sides[group] for group in groups if group in sides)
        free = sorted((place(settings.seed, g), g) for g in groups if g not in sides)
        n_test = _within(len(groups), settings.test, held["test"], free, settings.test)
        cut = settings.test + settings.valid
        n_valid = _within(len(groups), settings.valid, held["valid"], free[n_test:], cut)
        for rank, (_, group) in enumerate(free):
            in_valid = rank < n_test + n_valid
            sides[group] = "test" if rank < n_test else "valid" if in_valid else "train"
    return [photo.split or sides[photo.group] for photo in photos]


def _within(n: int, share: float, held: int, free: Sequence[tuple[float, str]], cut: float) -> int:
    """How many of the free groups, in the order of their places, a side of `share` takes.

    Those placed below `cut`, held to a quarter around n * share, and to one at the least."""
    low = max(1, math.ceil(n * share * (1 - _SLACK)))
    high = max(low, math.floor(n * share * (1 + _SLACK)))
    wanted = held + sum(place < cut for place, _ in free)
    return min(len(free), max(0, min(max(wanted, low), high) - held))


def _refuse_strangers(photos: Sequence[Photo], labels: Sequence[str]) -> None:
    """Photos that cannot be dealt: of a class that the project gave up, or new since `screen`."""
    strange = Counter(photo.label for photo in photos if photo.label not in labels)
    for label, n in sorted(strange.items()):
        raise DataError(
            "UNKNOWN_CLASS",
            f'the dataset holds {n} photos of "{label}", which is no class of this project; put it '
            "back into [classes], or name another folder with --data",
        )
    fresh = sum(photo.group is None for photo in photos)
    if fresh:
        raise DataError(
            "NOT_SCREENED",
            f"near-copies of {fresh} new photos are not known yet; run: bears screen",
        )


def _check(counts: Mapping[str, int], labels: Sequence[str], least: int) -> None:
    few = [label for label in labels if counts.get(label, 0) < least]
    if few:
        n = counts.get(few[0], 0)
        more = f" (also too small: {', '.join(few[1:])})" if len(few) > 1 else ""
        raise DataError(
            "TOO_FEW_PHOTOS",
            f'Class "{few[0]}" has {n} usable photo{"" if n == 1 else "s"}; at least {least} are '
            f"needed{more}. Add photos, or lower split.least",
        )


def _warnings(per_side: Mapping[Split, Mapping[str, int]], counts: Mapping[str, int]) -> list[str]:
    warnings = [
        f'Class "{label}" has no photo on the {side} side: nothing can be said about it there'
        for side in SIDES
        for label, n in per_side[side].items()
        if n == 0
    ]
    large, small = max(counts, key=lambda c: counts[c]), min(counts, key=lambda c: counts[c])
    if counts[large] >= _IMBALANCE * counts[small]:
        warnings.append(
            f'Class "{large}" has {counts[large]} photos, "{small}" {counts[small]}: '
            "more of the small class would help most"
        )
    return warnings

"""Splits that photos were published in, and the copies that stand in several of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TypedDict

from bear_classifier.dataset.schema import SPLITS, Photo, Split

_FIRST: tuple[Split, ...] = ("test", "valid", "train")  # who keeps a photo that is in several


class SplitLeak(TypedDict):
    """Photos of a split that also stand in another one, which keeps them. same_file: as the same
    file; near_copies: as another encoding, size or frame."""

    split: str
    also: str
    same_file: int
    near_copies: int


def by_photo(files: Iterable[tuple[str, str]]) -> dict[str, frozenset[str]]:
    """sha256 -> the splits that its files were published in. files: `Catalog.given_splits`."""
    given: dict[str, frozenset[str]] = {}
    kinds: dict[frozenset[str], frozenset[str]] = {}  # one object each, for a million photos
    for sha256, split in files:
        splits = given.get(sha256, frozenset()) | {split}
        given[sha256] = kinds.setdefault(splits, splits)
    return given


def resolved(given: Mapping[str, Collection[str]]) -> dict[str, Split]:
    """sha256 -> its split: of several test before valid before train, so that what is judged with
    stays whole. given: sha256 -> the splits that its files were published in."""
    return {sha256: min(splits, key=_FIRST.index) for sha256, splits in given.items()}  # type: ignore[arg-type]


def of_groups(photos: Sequence[Photo], given: Mapping[str, Split]) -> dict[str, Split]:
    """sha256 -> split of every photo in whose group one was published in a split."""
    best: dict[str, Split] = {}
    for photo in photos:
        if split := given.get(photo.sha256):
            best[photo.family] = min(best.get(photo.family, split), split, key=_FIRST.index)
    return {photo.sha256: best[photo.family] for photo in photos if photo.family in best}


def missing(given: Mapping[str, Split]) -> list[Split]:
    """The splits that are still to be cut from train."""
    return [split for split in _FIRST[:2] if split not in given.values()]


def leaks(photos: Sequence[Photo], given: Mapping[str, Collection[str]]) -> list[SplitLeak]:
    """What stands in several of the given splits. photos: all, copies set aside included."""
    of, counts = resolved(given), Counter[tuple[str, str, str]]()
    for photo in photos:
        splits = given.get(photo.sha256, ())
        if photo.status == "ok":
            kept = of.get(photo.sha256)
            counts.update(("same_file", split, str(kept)) for split in splits if split != kept)
        elif photo.status == "duplicate" and (
            other := re.search(r"\b[0-9a-f]{64}\b", photo.reason)
        ):
            kept = of.get(other[0])
            counts.update(
                ("near_copies", split, kept) for split in splits if kept not in (None, split)
            )
    pairs = sorted(
        {(split, also) for _, split, also in counts}, key=lambda p: [*map(SPLITS.index, p)]
    )
    return [
        SplitLeak(
            split=split,
            also=also,
            same_file=counts["same_file", split, also],
            near_copies=counts["near_copies", split, also],
        )
        for split, also in pairs
    ]

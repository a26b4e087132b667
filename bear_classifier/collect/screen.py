"""Screening: set aside unusable photos, and group near-copies."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bear_classifier.collect.chains import NO_OWNER, bounded_groups
from bear_classifier.collect.given_splits import by_photo, resolved
from bear_classifier.collect.pair_rows import EMPTY_ROW, behind, pair_row, spanning_pairs
from bear_classifier.collect.pair_tasks import pairs_by
from bear_classifier.config.settings import Config, ScreenConfig
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import (
    CONFLICT,
    PLACEHOLDER,
    STORED,
    Photo,
    Status,
    consistent,
    usable_status,
)
from bear_classifier.images.dhash import hash_bits
from bear_classifier.stats.arrays import Bools, Ints
from bear_classifier.stats.components import components
from bear_classifier.stats.near_pairs import ShardRun, near_blocks, on_threads

_SPLIT_ORDER = ["test", "valid", "train", None]  # who keeps a picture that is in two splits
_FREE = _SPLIT_ORDER.index(None)
_COPY, _ACROSS, _BETWEEN = "NEAR_COPY", "ACROSS_SPLITS", "BETWEEN_GROUPS"
_REMOVED = "CLASS_REMOVED"


def screen(catalog: Catalog, config: Config) -> dict[str, Any]:
    """Give every photo its status, reason and group. Nothing is deleted; a rerun may undo it."""
    everything = catalog.photos()
    judged = of_classes([usable(photo, config.screen) for photo in everything], config.labels)
    given = resolved(by_photo(catalog.given_splits()))  # of a photo that has no split yet
    judged = [
        dataclasses.replace(photo, split=photo.split or given.get(photo.sha256)) for photo in judged
    ]
    with pairs_by(catalog.root, config.engine) as run:
        judged, limits = tied(judged, config.screen.near, config.screen.same, run)
    with catalog.transaction():
        pairs = zip(everything, judged, strict=True)
        changed = {after.sha256: after for before, after in pairs if after != before}
        catalog.change_photos(changed, _merged)
    ok = [photo for photo in judged if photo.status == "ok"]
    sizes = Counter(photo.group for photo in ok)
    unusable = Counter(p.reason.split(":")[0] for p in judged if p.status == "unusable")
    del unusable[_REMOVED]
    outcome: dict[str, Any] = {
        "ok": len(ok),
        "unlabelled": sum(photo.status == "unlabelled" for photo in judged),
        "unusable": dict(unusable),
        "set_aside": dict(Counter(p.label for p in judged if p.reason.startswith(_REMOVED))),
        "duplicate": sum(photo.status == "duplicate" for photo in judged),
        "near_copies": sum(n for n in sizes.values() if n > 1),
        "groups": len(sizes),
    }
    if limits:
        apart = sum(photo.reason.startswith(_BETWEEN) for photo in judged)
        outcome["chains"] = {"photos": sum(limits.values()), "set_aside": apart, "limits": limits}
    return outcome


def _merged(judged: Photo, now: Photo) -> Photo:
    """What somebody decided on a photo while it was judged stays."""
    if now.status == "dropped":
        return dataclasses.replace(now, group=judged.group)
    return consistent(dataclasses.replace(judged, label=now.label, split=now.split))


def of_classes(photos: Sequence[Photo], labels: Sequence[str]) -> list[Photo]:
    """The photos, those of a class that the project gave up set aside. They keep label, group and
    split, so that all is as it was when the class comes back."""
    return [
        dataclasses.replace(
            photo,
            status="unusable",
            reason=f'{_REMOVED}: "{photo.label}" is no class of this project; put it back into'
            " [classes] of the project file and this photo is used again",
        )
        if photo.status in ("ok", "duplicate") and photo.label not in labels
        else photo
        for photo in photos
    ]


def usable(photo: Photo, limits: ScreenConfig) -> Photo:
    """The photo with its status by size and contrast; decisions of people are left alone."""
    if photo.status == "dropped" or photo.reason.startswith((CONFLICT, PLACEHOLDER, STORED)):
        return photo
    reason = ""
    if min(photo.width, photo.height) < limits.smallest:
        size = f"{photo.width} x {photo.height} pixels"
        reason = f"TOO_SMALL: {size}; the shorter side needs {limits.smallest}"
    elif photo.contrast < limits.blank:
        reason = f"BLANK: its grey levels differ by {photo.contrast:.1f} only; an empty picture"
    status: Status = "unusable" if reason else usable_status(photo.label)
    return dataclasses.replace(photo, status=status, reason=reason)


def tie(everything: Sequence[Photo], near: int, same: int) -> list[Photo]:
    """The photos of `tied`."""
    return tied(everything, near, same)[0]


def tied(
    everything: Sequence[Photo], near: int, same: int, run: ShardRun = on_threads
) -> tuple[list[Photo], dict[int, int]]:
    """Group near-copies transitively, so that a group can be put in one split as a whole.

    near: bits of the hash that may differ in a group; same: bits that may differ between two
    encodings of one picture, of which the one in use, else the largest, is kept. A photo that
    would tie together pictures of two splits is set aside: no photo changes its split. A set that
    ties too many together is cut (`chains.bounded_groups`). run: as `near_pairs.on_threads`.
    Returns the photos in the order given, and of sets that were cut the bits that may differ in
    their groups -> photos."""
    pool = sorted((p for p in everything if p.status == "ok"), key=lambda p: p.sha256)
    if not pool:
        return list(everything), {}
    splits = np.array([_SPLIT_ORDER.index(p.split) for p in pool])
    pixels = np.array([p.width * p.height for p in pool])
    rank = np.lexsort((-pixels, splits)).argsort()
    labels = np.unique([p.label for p in pool], return_inverse=True)[1]
    hashes = hash_bits([p.dhash for p in pool])
    nearby, copies = neighbours(hashes, near, same, rank, labels, run)
    owners = np.unique([p.group or str(p.split) for p in pool], return_inverse=True)[1]
    owners[splits == _FREE] = NO_OWNER
    cut = bounded_groups(nearby, hashes, owners, copies < 0, near, same)
    nearby = cut.rows
    across = conflicts(nearby, splits, (copies >= 0) | (cut.between >= 0))
    judged = list(pool)
    for i in np.flatnonzero(copies >= 0):
        reason = f"{_COPY} of {pool[copies[i]].sha256}"
        judged[i] = dataclasses.replace(pool[i], status="duplicate", reason=reason)
    for i in np.flatnonzero(cut.between >= 0):
        other = pool[cut.between[i]].sha256
        reason = f"{_BETWEEN}: near-copy of {other} and of photos in another group"
        judged[i] = dataclasses.replace(pool[i], status="duplicate", reason=reason)
    for i in np.flatnonzero(across >= 0):
        judged[i] = _across(pool[i], pool[across[i]])
    alive = (copies < 0) & (across < 0) & (cut.between < 0)
    members = components(len(pool), spanning_pairs(nearby, alive), alive)
    torn = [ids for ids in members if len(set(splits[ids].tolist()) - {_FREE}) > 1]
    for ids in torn:
        old = next(pool[i] for i in ids if pool[i].split)
        free = ids[splits[ids] == _FREE]
        alive[free] = False
        for i in free:
            judged[i] = _across(pool[i], old)
    if torn:
        members = components(len(pool), spanning_pairs(nearby, alive), alive)
    for ids in members:
        # A part of a group that was cut has a name of its own, unless it has a split.
        old = ids[(splits[ids] != _FREE) | ~cut.cut[ids]]
        group = min([pool[i].family for i in old] or [pool[i].sha256 for i in ids])
        for i in ids:
            judged[i] = dataclasses.replace(judged[i], group=group)
    by_hash = {photo.sha256: photo for photo in judged}
    limits = Counter(cut.limits[cut.cut].tolist())
    return [by_hash.get(photo.sha256, photo) for photo in everything], dict(sorted(limits.items()))


def _across(photo: Photo, other: Photo) -> Photo:
    reason = f"{_ACROSS}: near-copy of {other.sha256} and of photos in another split"
    return dataclasses.replace(photo, status="duplicate", reason=reason)


def neighbours(
    hashes: NDArray[np.uint8], near: int, same: int, rank: Ints, labels: Ints, run: ShardRun
) -> tuple[list[NDArray[Any]], NDArray[np.intp]]:
    """Of each hash its near-copies behind it, as a row for `behind`; and (n,) of which other one it
    is a copy that is set aside, -1: of none.

    Of each pair of one label that differs in at most `same` bits the one of higher rank is set
    aside, in the order of pairs, unless one of both was before. hashes: (n, bytes); rank, labels:
    (n,). Rows are bits where these need less room: 8 million near pairs of 4,000 frames take 2 MB.
    """
    n = len(hashes)
    rows: list[NDArray[Any]] = [EMPTY_ROW] * n
    copies = np.full(n, -1, dtype=np.intp)
    left, whole, before = np.arange(n), False, n + 1
    while not whole and len(left) < before:  # among those left may be pairs that were left out
        blocks, whole = near_blocks(hashes[left], near, run)
        for pairs, distances in blocks:
            pairs = left[pairs]
            cuts = np.flatnonzero(np.diff(pairs[:, 0])) + 1
            for start, stop in pairwise([0, *cuts.tolist(), len(pairs)]):
                i, others = int(pairs[start, 0]), pairs[start:stop, 1]
                rows[i] = pair_row(n, others)
                if copies[i] < 0:
                    alike = others[distances[start:stop] <= same]
                    _set_copies(i, alike[labels[alike] == labels[i]], rank, copies)
        before, left = len(left), np.flatnonzero(copies < 0)
    return rows, copies


def _set_copies(i: int, others: NDArray[np.intp], rank: Ints, copies: NDArray[np.intp]) -> None:
    """Of one picture and its copies behind it all are set aside up to the first of lower rank, and
    then itself."""
    others = others[copies[others] < 0]
    lower = np.flatnonzero(rank[others] < rank[i])
    copies[others[: lower[0] if len(lower) else None]] = i
    if len(lower):
        copies[i] = others[lower[0]]


def conflicts(rows: Sequence[NDArray[Any]], splits: Ints, gone: Bools) -> NDArray[np.intp]:
    """(n,) the near-copy in another split because of which a photo is set aside, -1: none.

    Pairs are gone through in their order. splits: (n,) places in `_SPLIT_ORDER`, of which the lower
    one stays; gone: (n,) those set aside already, which push nobody out."""
    across, gone = np.full(len(splits), -1, dtype=np.intp), gone.copy()
    placed = splits != _FREE
    if len(set(splits[placed].tolist())) < 2:
        return across
    for i in np.flatnonzero(placed).tolist():
        others = behind(rows[i])
        others = others[placed[others] & (splits[others] != splits[i])]
        stays = np.flatnonzero((splits[others] < splits[i]) & ~gone[others])
        if not gone[i]:
            pushed = others[: stays[0] if len(stays) else None]
            pushed = pushed[splits[pushed] > splits[i]]
            across[pushed], gone[pushed] = i, True
        if len(stays):
            across[i], gone[i] = others[stays[-1]], True
    return across

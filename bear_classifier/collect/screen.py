"""Screening: set aside unusable photos, and group near-copies."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from bear_classifier.collect.given_splits import resolved
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
from bear_classifier.images.dhash import HASH_BYTES, hash_bits, mirrored
from bear_classifier.stats.arrays import Bools, Ints

_ROWS, _COLUMNS = 64, 4096  # hashes compared at once: words of 2 MB
_FIRST = 3  # words that are compared of all pairs; 3 x 64 differing bits still fit in a byte
_MIXED = np.random.default_rng(0).permutation(8 * HASH_BYTES)  # order of bits; any will do
_SPLIT_ORDER = ["test", "valid", "train", None]  # who keeps a picture that is in two splits
_FREE = _SPLIT_ORDER.index(None)
_GATHERED = 16_384  # pairs that are compared in full at once: some 5 MB
_DENSE = 8  # one pair of so many may be near: all of a tile is compared in full
_EDGES = 100_000  # pairs that are held at once to find connected sets
_NONE = np.empty(0, np.int32)
_COPY, _ACROSS, _REMOVED = "NEAR_COPY", "ACROSS_SPLITS", "CLASS_REMOVED"


def screen(catalog: Catalog, config: Config) -> dict[str, Any]:
    """Give every photo its status, reason and group. Nothing is deleted; a rerun may undo it."""
    everything = catalog.photos()
    judged = of_classes([usable(photo, config.screen) for photo in everything], config.labels)
    given = resolved(catalog.given_splits())  # of a photo that has no split yet
    judged = [
        dataclasses.replace(photo, split=photo.split or given.get(photo.sha256)) for photo in judged
    ]
    judged = tie(judged, config.screen.near, config.screen.same)
    with catalog.transaction():
        since = {photo.sha256: photo for photo in catalog.photos()}
        catalog.put_photos(
            _merged(after, since[after.sha256])
            for before, after in zip(everything, judged, strict=True)
            if after != before
        )
    ok = [photo for photo in judged if photo.status == "ok"]
    sizes = Counter(photo.group for photo in ok)
    unusable = Counter(p.reason.split(":")[0] for p in judged if p.status == "unusable")
    del unusable[_REMOVED]
    return {
        "ok": len(ok),
        "unlabelled": sum(photo.status == "unlabelled" for photo in judged),
        "unusable": dict(unusable),
        "set_aside": dict(Counter(p.label for p in judged if p.reason.startswith(_REMOVED))),
        "duplicate": sum(photo.status == "duplicate" for photo in judged),
        "near_copies": sum(n for n in sizes.values() if n > 1),
        "groups": len(sizes),
    }


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
    """Group near-copies transitively, so that a group can be put in one split as a whole.

    near: bits of the hash that may differ in a group; same: bits that may differ between two
    encodings of one picture, of which the one in use, else the largest, is kept. A photo that
    would tie together pictures of two splits is set aside: no photo changes its split.
    Photos come back in the order given."""
    pool = sorted((p for p in everything if p.status == "ok"), key=lambda p: p.sha256)
    if not pool:
        return list(everything)
    splits = np.array([_SPLIT_ORDER.index(p.split) for p in pool])
    pixels = np.array([p.width * p.height for p in pool])
    rank = np.lexsort((-pixels, splits)).argsort()
    labels = np.unique([p.label for p in pool], return_inverse=True)[1]
    nearby, copies = neighbours(hash_bits([p.dhash for p in pool]), near, same, rank, labels)
    across = conflicts(nearby, splits, copies >= 0)
    judged = list(pool)
    for i in np.flatnonzero(copies >= 0):
        reason = f"{_COPY} of {pool[copies[i]].sha256}"
        judged[i] = dataclasses.replace(pool[i], status="duplicate", reason=reason)
    for i in np.flatnonzero(across >= 0):
        judged[i] = _across(pool[i], pool[across[i]])
    alive = (copies < 0) & (across < 0)
    members = components(len(pool), joined(nearby, alive), alive)
    torn = [ids for ids in members if len(set(splits[ids].tolist()) - {_FREE}) > 1]
    for ids in torn:
        old = next(pool[i] for i in ids if pool[i].split)
        free = ids[splits[ids] == _FREE]
        alive[free] = False
        for i in free:
            judged[i] = _across(pool[i], old)
    if torn:
        members = components(len(pool), joined(nearby, alive), alive)
    for ids in members:
        group = min(pool[i].family for i in ids)
        for i in ids:
            judged[i] = dataclasses.replace(judged[i], group=group)
    by_hash = {photo.sha256: photo for photo in judged}
    return [by_hash.get(photo.sha256, photo) for photo in everything]


def _across(photo: Photo, other: Photo) -> Photo:
    reason = f"{_ACROSS}: near-copy of {other.sha256} and of photos in another split"
    return dataclasses.replace(photo, status="duplicate", reason=reason)


def neighbours(
    hashes: NDArray[np.uint8], near: int, same: int, rank: Ints, labels: Ints
) -> tuple[list[NDArray[Any]], NDArray[np.intp]]:
    """Of each hash its near-copies behind it, as a row for `behind`; and (n,) of which other one it
    is a copy that is set aside, -1: of none.

    Of each pair of one label that differs in at most `same` bits the one of higher rank is set
    aside, in the order of pairs, unless one of both was before. hashes: (n, bytes); rank, labels:
    (n,). Rows are bits where these need less room: 8 million near pairs of 4,000 frames take 2 MB.
    """
    n = len(hashes)
    rows: list[NDArray[Any]] = [_NONE] * n
    copies = np.full(n, -1, dtype=np.intp)
    for pairs, distances in pair_blocks(hashes, near):
        cuts = np.flatnonzero(np.diff(pairs[:, 0])) + 1
        for start, stop in pairwise([0, *cuts.tolist(), len(pairs)]):
            i, others = int(pairs[start, 0]), pairs[start:stop, 1]
            rows[i] = _row(n, others)
            if copies[i] < 0:
                alike = others[distances[start:stop] <= same]
                _set_copies(i, alike[labels[alike] == labels[i]], rank, copies)
    return rows, copies


def _set_copies(i: int, others: NDArray[np.intp], rank: Ints, copies: NDArray[np.intp]) -> None:
    """Of one picture and its copies behind it all are set aside up to the first of lower rank, and
    then itself."""
    others = others[copies[others] < 0]
    lower = np.flatnonzero(rank[others] < rank[i])
    copies[others[: lower[0] if len(lower) else None]] = i
    if len(lower):
        copies[i] = others[lower[0]]


def _row(n: int, others: NDArray[np.intp]) -> NDArray[Any]:
    """As numbers (int32), or as bits (uint8) where they are many."""
    if 32 * len(others) <= n:
        return others.astype(np.int32)
    bits = np.zeros(n, dtype=bool)
    bits[others] = True
    return np.packbits(bits)


def behind(row: NDArray[Any]) -> NDArray[np.intp]:
    """The numbers that a row of `neighbours` stands for, in their order."""
    return np.flatnonzero(np.unpackbits(row)) if row.dtype == np.uint8 else row.astype(np.intp)


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


def joined(rows: Sequence[NDArray[Any]], alive: Bools) -> NDArray[np.intp]:
    """(m, 2) pairs of living nodes that connect what all of their pairs connect."""
    names = np.arange(len(rows))  # of the sets that were found to be connected so far
    kept: list[NDArray[np.intp]] = [np.empty((0, 2), np.intp)]
    held = 0
    for i in np.flatnonzero(alive).tolist():
        others = behind(rows[i])
        others = others[alive[others] & (names[others] != names[i])]
        if len(others):
            kept.append(np.column_stack([np.full(len(others), i), others]))
            held += len(others)
        if held > _EDGES:
            members = components(len(rows), np.concatenate(kept), alive)
            for ids in members:
                names[ids] = ids[0]
            stars = [np.column_stack([np.full(len(ids) - 1, ids[0]), ids[1:]]) for ids in members]
            kept, held = [np.concatenate(stars)], 0
    return np.concatenate(kept)


def components(
    n: int, pairs: NDArray[np.intp], alive: Sequence[bool] | Bools
) -> list[NDArray[np.intp]]:
    """Indices of each connected set of living nodes, lone ones included. pairs: (m, 2)."""
    living = np.asarray(alive, dtype=bool)
    pairs = pairs[living[pairs].all(axis=1)] if len(pairs) else pairs.reshape(0, 2)
    ones = np.ones(len(pairs), dtype=np.int8)
    graph = coo_array((ones, (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    _, names = connected_components(graph, directed=False)
    nodes = np.flatnonzero(living)
    order = nodes[np.argsort(names[nodes], kind="stable")]
    cuts = np.flatnonzero(np.diff(names[order])) + 1
    return np.split(order, cuts) if len(order) else []


def near_pairs(hashes: NDArray[np.uint8], limit: int) -> tuple[NDArray[np.intp], Ints]:
    """All pairs of `pair_blocks`: (m, 2) pairs in their order, and (m,) distances in bits."""
    none = np.empty((0, 2), np.intp), np.empty(0, np.int64)
    pairs, distances = zip(none, *pair_blocks(hashes, limit), strict=True)
    return np.concatenate(pairs), np.concatenate(distances)


def pair_blocks(hashes: NDArray[np.uint8], limit: int) -> Iterator[tuple[NDArray[np.intp], Ints]]:
    """All pairs i < j whose hashes, upright or mirrored, differ in at most `limit` bits, and in at
    most half as many as the emptier one has: a nearly flat picture is near to everything.

    hashes: (n, bytes). Yields (m, 2) pairs and (m,) distances in bits, in the order of i and then
    of j, some rows at a time, so that never all pairs are held at once."""
    filled = np.bitwise_count(hashes).sum(axis=1, dtype=np.int64)
    words, flipped = _words(hashes), _words(mirrored(hashes))
    for top in range(0, len(words), _ROWS):
        pairs, distances = [np.empty((0, 2), np.intp)], [np.empty(0, np.int64)]
        for left in range(top, len(words), _COLUMNS):
            for i, j, apart in _in_tile(words, flipped, top, left, limit):
                near = (apart <= limit) & (2 * apart <= np.minimum(filled[i], filled[j]))
                pairs.append(np.column_stack([i, j])[near])
                distances.append(apart[near])
        block = np.concatenate(pairs)
        if len(block):
            order = np.lexsort((block[:, 1], block[:, 0]))
            yield block[order], np.concatenate(distances)[order]


def _in_tile(
    words: NDArray[np.uint64], flipped: NDArray[np.uint64], top: int, left: int, limit: int
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp], Ints]]:
    """Pairs i < j of a few rows and columns that may be near, and their distances (m,): those whose
    first words, upright or mirrored, differ in no more bits than all may.

    A tile fits into the processor's cache, which is faster than whole rows. Where most of its pairs
    may be near, all are compared in full: gathering the words of so many takes longer."""
    rows, columns = slice(top, top + _ROWS), slice(left, left + _COLUMNS)
    upright, mirror, right = words[rows].T.copy(), flipped[rows].T.copy(), words[columns].T.copy()
    near = _distances(upright[:_FIRST], right[:_FIRST]) <= limit
    near |= _distances(mirror[:_FIRST], right[:_FIRST]) <= limit
    i, j = np.divmod(np.flatnonzero(near), near.shape[1])  # faster than nonzero
    forward = i + top < j + left
    i, j = i[forward], j[forward]
    if _DENSE * len(i) < near.size:
        for at in range(0, len(i), _GATHERED):
            one, other = i[at : at + _GATHERED] + top, j[at : at + _GATHERED] + left
            apart = np.minimum(_apart(words[one], words[other]), _apart(flipped[one], words[other]))
            yield one, other, apart
        return
    whole = np.minimum(_distances(upright, right), _distances(mirror, right))
    yield i + top, j + left, whole[i, j].astype(np.int64)


def _words(hashes: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Hashes (n, 50), their bits mixed so that a few words tell of all planes, filled up with
    zeros, as 64-bit words (n, words)."""
    mixed = np.packbits(np.unpackbits(hashes, axis=1)[:, _MIXED], axis=1)
    return np.ascontiguousarray(np.pad(mixed, ((0, 0), (0, -mixed.shape[1] % 8)))).view(np.uint64)


def _distances(left: NDArray[np.uint64], right: NDArray[np.uint64]) -> NDArray[Any]:
    """Hamming distances (n, m) of 64-bit words: left (words, n), right (words, m)."""
    kind = np.uint8 if len(left) <= _FIRST else np.uint16  # bytes are faster
    total = np.zeros((left.shape[1], right.shape[1]), dtype=kind)
    for mine, theirs in zip(left, right, strict=True):
        total += np.bitwise_count(mine[:, None] ^ theirs)
    return total


def _apart(left: NDArray[np.uint64], right: NDArray[np.uint64]) -> Ints:
    """Hamming distances (n,) of the rows of both."""
    return np.asarray(np.bitwise_count(left ^ right).sum(axis=1, dtype=np.int64))

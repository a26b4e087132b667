"""Set aside what cannot be learned from, and tie near-copies together."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from bear_classifier.catalog import Catalog
from bear_classifier.hashes import HASH_BYTES, hash_bits, mirrored
from bear_classifier.schema import Photo
from bear_classifier.settings import Config, ScreenConfig

_ROWS, _COLUMNS = 64, 4096  # hashes compared at once: words of 2 MB
_FIRST = 3  # words that are compared of all pairs; 3 x 64 differing bits still fit in a byte
_MIXED = np.random.default_rng(0).permutation(8 * HASH_BYTES)  # order of bits; any will do
_SIDES = ["test", "valid", "train", None]  # who keeps a picture that stands on two sides
UNUSABLE, COPY, ACROSS = ("TOO_SMALL", "BLANK"), "NEAR_COPY", "ACROSS_SIDES"


def screen(catalog: Catalog, config: Config) -> dict[str, Any]:
    """Give every photo its status, reason and group. Nothing is deleted; a rerun may undo it."""
    everything = catalog.photos()
    judged = [usable(photo, config.screen) for photo in everything]
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
    return {
        "ok": len(ok),
        "unusable": dict(Counter(p.reason.split(":")[0] for p in judged if p.status == "unusable")),
        "duplicate": sum(photo.status == "duplicate" for photo in judged),
        "near_copies": sum(n for n in sizes.values() if n > 1),
        "groups": len(sizes),
    }


def _merged(judged: Photo, now: Photo) -> Photo:
    """What somebody decided on a photo while it was judged stays."""
    if now.status == "dropped":
        return dataclasses.replace(now, group=judged.group)
    return dataclasses.replace(judged, label=now.label)


def usable(photo: Photo, limits: ScreenConfig) -> Photo:
    """The photo with its status by size and contrast; decisions of people are left alone."""
    if photo.status == "dropped" or photo.reason.startswith("LABEL_CONFLICT"):
        return photo
    if min(photo.width, photo.height) < limits.smallest:
        reason = (
            f"TOO_SMALL: {photo.width} x {photo.height} pixels; the shorter side needs "
            f"{limits.smallest}"
        )
        return dataclasses.replace(photo, status="unusable", reason=reason)
    if photo.contrast < limits.blank:
        reason = f"BLANK: its grey levels differ by {photo.contrast:.1f} only; an empty picture"
        return dataclasses.replace(photo, status="unusable", reason=reason)
    return dataclasses.replace(photo, status="ok", reason="")


def tie(everything: Sequence[Photo], near: int, same: int) -> list[Photo]:
    """Group near-copies transitively, so that a group can be put on one side as a whole.

    near: bits of the hash that may differ in a group; same: bits that may differ between two
    encodings of one picture, of which the one in use, else the largest, is kept. A photo that
    would tie together pictures that already stand on two sides is set aside: nobody moves.
    Photos come back in the order given."""
    pool = sorted((p for p in everything if p.status == "ok"), key=lambda p: p.sha256)
    if not pool:
        return list(everything)
    hashes = hash_bits([p.dhash for p in pool])
    pairs, distances = near_pairs(hashes, near)
    rank = {p.sha256: _precedence(p) for p in pool}
    aside: dict[str, Photo] = {}
    for i, j in pairs[distances <= same]:
        kept, copy = sorted((pool[i], pool[j]), key=lambda p: rank[p.sha256])
        if kept.label == copy.label and not aside.keys() & {kept.sha256, copy.sha256}:
            aside[copy.sha256] = dataclasses.replace(
                copy, status="duplicate", reason=f"{COPY} of {kept.sha256}"
            )
    for i, j in pairs:
        first, second = sorted((pool[i], pool[j]), key=lambda p: _SIDES.index(p.split))
        if second.split and first.split != second.split and first.sha256 not in aside:
            aside[second.sha256] = _across(second, first)
    members = components(len(pool), pairs, [p.sha256 not in aside for p in pool])
    for ids in members:
        sides = {pool[i].split for i in ids} - {None}
        if len(sides) > 1:
            old = next(pool[i] for i in ids if pool[i].split)
            aside |= {pool[i].sha256: _across(pool[i], old) for i in ids if not pool[i].split}
    settled = {p.sha256: aside.get(p.sha256, p) for p in pool}
    alive = [settled[p.sha256].status == "ok" for p in pool]
    for ids in components(len(pool), pairs, alive):
        group = min(pool[i].family for i in ids)
        for i in ids:
            settled[pool[i].sha256] = dataclasses.replace(settled[pool[i].sha256], group=group)
    return [settled.get(p.sha256, p) for p in everything]


def _precedence(photo: Photo) -> tuple[int, int, str]:
    return (_SIDES.index(photo.split), -photo.width * photo.height, photo.sha256)


def _across(photo: Photo, other: Photo) -> Photo:
    reason = f"{ACROSS}: near-copy of {other.sha256} and of photos on another side"
    return dataclasses.replace(photo, status="duplicate", reason=reason)


def components(n: int, pairs: NDArray[np.intp], alive: Sequence[bool]) -> list[NDArray[np.intp]]:
    """Indices of each connected set of living nodes, lone ones included. pairs: (m, 2)."""
    living = np.asarray(alive, dtype=bool)
    pairs = pairs[living[pairs].all(axis=1)] if len(pairs) else pairs.reshape(0, 2)
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    _, names = connected_components(graph, directed=False)
    nodes = np.flatnonzero(living)
    order = nodes[np.argsort(names[nodes], kind="stable")]
    cuts = np.flatnonzero(np.diff(names[order])) + 1
    return np.split(order, cuts) if len(order) else []


def near_pairs(hashes: NDArray[np.uint8], limit: int) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """All pairs i < j whose hashes, upright or mirrored, differ in at most `limit` bits, and in at
    most half as many as the emptier one has: a nearly flat picture is near to everything.

    hashes: (n, bytes). Returns (m, 2) pairs and (m,) distances in bits."""
    filled = np.bitwise_count(hashes).sum(axis=1, dtype=np.int64)
    words, flipped = _words(hashes), _words(mirrored(hashes))
    pairs, distances = [np.empty((0, 2), np.intp)], [np.empty(0, np.int64)]
    for i, j in _candidates(words, flipped, limit):
        apart = np.minimum(_apart(words[i], words[j]), _apart(flipped[i], words[j]))
        told = (apart <= limit) & (2 * apart <= np.minimum(filled[i], filled[j]))
        pairs.append(np.column_stack([i, j])[told])
        distances.append(apart[told])
    found = np.concatenate(pairs)
    order = np.lexsort((found[:, 1], found[:, 0]))
    return found[order], np.concatenate(distances)[order]


def _candidates(
    words: NDArray[np.uint64], flipped: NDArray[np.uint64], limit: int
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Pairs i < j whose first words, upright or mirrored, differ in no more bits than all may.

    Compared in tiles that the processor's cache holds, which is faster than whole rows."""
    first, mirror = (np.ascontiguousarray(whole[:, :_FIRST].T) for whole in (words, flipped))
    for top in range(0, len(words), _ROWS):
        rows = slice(top, top + _ROWS)
        for left in range(top, len(words), _COLUMNS):
            columns = first[:, left : left + _COLUMNS]
            near = _distances(first[:, rows], columns) <= limit
            near |= _distances(mirror[:, rows], columns) <= limit
            i, j = np.divmod(np.flatnonzero(near), near.shape[1])  # faster than nonzero
            i, j = i + top, j + left
            yield i[i < j], j[i < j]


def _words(hashes: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Hashes (n, 50), their bits mixed so that a few words tell of all planes, filled up with
    zeros, as 64-bit words (n, words)."""
    mixed = np.packbits(np.unpackbits(hashes, axis=1)[:, _MIXED], axis=1)
    return np.ascontiguousarray(np.pad(mixed, ((0, 0), (0, -mixed.shape[1] % 8)))).view(np.uint64)


def _distances(left: NDArray[np.uint64], right: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Hamming distances (n, m) of up to three 64-bit words: left (words, n), right (words, m)."""
    total = np.zeros((left.shape[1], right.shape[1]), dtype=np.uint8)
    for mine, theirs in zip(left, right, strict=True):
        total += np.bitwise_count(mine[:, None] ^ theirs)
    return total


def _apart(left: NDArray[np.uint64], right: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Hamming distances (n,) of the rows of both."""
    return np.asarray(np.bitwise_count(left ^ right).sum(axis=1, dtype=np.int64))

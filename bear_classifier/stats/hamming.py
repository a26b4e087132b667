"""Hamming distances between perceptual hashes, upright and mirrored; all pairs of near ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bear_classifier.images.dhash import HASH_BYTES, mirrored
from bear_classifier.stats.arrays import Bools, Ints

_ROWS, _COLUMNS = 64, 4096  # hashes compared at once: words of 2 MB
_FIRST = 3  # words that are compared of all pairs; 3 x 64 differing bits still fit in a byte
_MIXED = np.random.default_rng(0).permutation(8 * HASH_BYTES)  # order of bits; any will do
_GATHERED = 16_384  # pairs that are compared in full at once: some 5 MB
_DENSE = 8  # one pair of so many may be near: all of a tile is compared in full


def pair_blocks(hashes: NDArray[np.uint8], limit: int) -> Iterator[tuple[NDArray[np.intp], Ints]]:
    """All pairs i < j whose hashes, upright or mirrored, differ in at most `limit` bits, and in at
    most half as many as the emptier one has: a nearly flat picture is near to everything.

    hashes: (n, bytes). Yields (m, 2) pairs and (m,) distances in bits, in the order of i and then
    of j, some rows at a time, so that never all pairs are held at once."""
    filled = bits_set(hashes)
    words, flipped = words_of(hashes), words_of(mirrored(hashes))
    for top in range(0, len(words), _ROWS):
        pairs, distances = [np.empty((0, 2), np.intp)], [np.empty(0, np.int64)]
        for left in range(top, len(words), _COLUMNS):
            for i, j, bits in _in_tile(words, flipped, top, left, limit):
                near = are_near(bits, np.minimum(filled[i], filled[j]), limit)
                pairs.append(np.column_stack([i, j])[near])
                distances.append(bits[near])
        block = np.concatenate(pairs)
        if len(block):
            order = np.lexsort((block[:, 1], block[:, 0]))
            yield block[order], np.concatenate(distances)[order]


def bits_set(hashes: NDArray[np.uint8]) -> Ints:
    """(n,) how many bits of each hash are set. hashes: (n, bytes)."""
    return np.asarray(np.bitwise_count(hashes).sum(axis=1, dtype=np.int64))


def are_near(distances: Ints, emptier: Ints, limit: int) -> Bools:
    """(m,) which pairs are near. distances: (m,) in bits; emptier: (m,) bits set in the hash of
    each pair that has fewer."""
    return np.asarray((distances <= limit) & (2 * distances <= emptier))


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
            bits = np.minimum(
                bit_distances(words[one], words[other]), bit_distances(flipped[one], words[other])
            )
            yield one, other, bits
        return
    whole = np.minimum(_distances(upright, right), _distances(mirror, right))
    yield i + top, j + left, whole[i, j].astype(np.int64)


def words_of(hashes: NDArray[np.uint8]) -> NDArray[np.uint64]:
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


def bit_distances(left: NDArray[np.uint64], right: NDArray[np.uint64]) -> Ints:
    """Hamming distances (n,) of the rows of both."""
    return np.asarray(np.bitwise_count(left ^ right).sum(axis=1, dtype=np.int64))


def distances_of(hashes: NDArray[np.uint8], pairs: NDArray[Any]) -> Ints:
    """(m,) distances in bits of pairs, upright or mirrored. hashes: (n, bytes); pairs: (m, 2)."""
    words, flipped = words_of(hashes), words_of(mirrored(hashes))
    found = np.empty(len(pairs), np.int64)
    for at in range(0, len(pairs), _GATHERED):
        i, j = pairs[at : at + _GATHERED].T
        found[at : at + _GATHERED] = np.minimum(
            bit_distances(words[i], words[j]), bit_distances(flipped[i], words[j])
        )
    return found

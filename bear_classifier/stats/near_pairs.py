"""Near pairs among any number of hashes: all are compared, or those that share sampled bits.

Two hashes that differ in d of 400 bits agree on k bits drawn at random with the chance
C(400 - d, k) / C(400, k). Hashes are sorted by such samples, and pairs with equal samples are
compared in full (locality-sensitive hashing by bit sampling: Indyk and Motwani, STOC 1998). Nearly
empty hashes agree on most samples, so theirs are the first set bits in a random order (min-hashing:
Broder, SEQUENCES 1997). The work for n hashes is that of sorting, n log n, as long as few samples
are equal by chance."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bear_classifier.images.dhash import HASH_BYTES, mirrored
from bear_classifier.runtime.processors import processors
from bear_classifier.runtime.terminal import progress_bar
from bear_classifier.stats.arrays import Ints
from bear_classifier.stats.components import set_names
from bear_classifier.stats.hamming import are_near, bit_distances, bits_set, pair_blocks, words_of

_EXACT = 50_000  # hashes; of fewer all pairs are compared
_HELD = 20_000_000  # pairs that are held; of more some are left out, see `_thinned`
_BITS = 8 * HASH_BYTES
_WORDS = -(-_BITS // 64)
_SEED = 1
_CHANCE = 0.03  # that two hashes as far apart as the limit allows share a sample
_MISSED = 5e-4  # chance that such a pair shares none
_SAMPLE = 64  # bits of a sample at most, of hashes that are not nearly empty
_EMPTIER = (60, 40, 11, 4, 0)  # bits set, from which on a range of nearly empty hashes begins
_SET_BITS = ((4, 2), (11, 3), (40, 4))  # below so many bits set: so many of these are a sample
_FEW = 8000  # hashes of a range that are compared each with each
_TABLES = 4  # samples of a shard
_CANDIDATES = 64  # compared for each hash and sample, on average; beyond, hashes are much alike
_LEAST_CANDIDATES = 20_000_000
_MANY, _OFTEN = 100, 8  # hashes that are much alike: at least so many, with so many pairs of each
_KEPT = 64  # pairs of a hash that are held in any case
_AT_ONCE = 65_536  # pairs whose words are gathered at once
_ROWS = 8192  # whose samples are taken at once
_HALF, _LOWER = np.uint64(32), np.uint64(2**32 - 1)
_MIX = np.uint64(0x9E3779B97F4A7C15)  # 2**64 over the golden ratio, odd
PackedPairs = NDArray[np.uint64]  # pairs i < j as i * 2**32 + j


class FillRange(NamedTuple):
    """Hashes with `low` to `high` bits set, of which near ones differ in at most `limit` bits.

    bits: of a sample; or set: how many set bits are a sample, 0: not only set ones are."""

    low: int
    high: int
    limit: int
    bits: int
    set: int
    samples: int


@dataclass(frozen=True)
class HashWords:
    """Hashes, and as 64-bit words: those of n hashes, then those of their mirror images.

    hashes: (n, bytes); words: (2n, words); filled: (n,) bits set."""

    hashes: NDArray[np.uint8]
    words: NDArray[np.uint64]
    filled: Ints


class NearPairs(NamedTuple):
    """packed: (m,) pairs in their order; whole: False if some were left out to bound memory."""

    packed: PackedPairs
    whole: bool


ShardRun = Callable[[HashWords, int, Sequence[int], Ints | None], Generator[NearPairs, None, None]]


def near_pairs(hashes: NDArray[np.uint8], limit: int) -> tuple[NDArray[np.intp], Ints]:
    """All pairs of `near_blocks`: (m, 2) pairs in their order, and (m,) distances in bits."""
    none = np.empty((0, 2), np.intp), np.empty(0, np.int64)
    pairs, distances = zip(none, *near_blocks(hashes, limit)[0], strict=True)
    return np.concatenate(pairs), np.concatenate(distances)


def on_threads(
    words: HashWords, limit: int, numbers: Sequence[int], alike: Ints | None
) -> Generator[NearPairs, None, None]:
    """The `pair_shard` of each number, in their order, by the processors of this process."""
    pool = ThreadPoolExecutor(max(1, min(processors(), len(numbers))))
    try:
        yield from pool.map(lambda number: pair_shard(words, limit, number, alike), numbers)
    finally:
        pool.shutdown(cancel_futures=True)


def near_blocks(
    hashes: NDArray[np.uint8], limit: int, run: ShardRun = on_threads
) -> tuple[Iterator[tuple[NDArray[np.intp], Ints]], bool]:
    """The pairs of `pair_blocks`, block by block, and whether these are all that were found.

    Of `_EXACT` hashes and more, pairs at the limit are missed with a chance of 1 in 2,000, and
    nearer ones more rarely. The same hashes give the same pairs, whoever runs the shards.
    hashes: (n, bytes); limit: bits; run: as `on_threads`."""
    if len(hashes) < _EXACT:
        return pair_blocks(hashes, limit), True
    words = hash_words(hashes)
    found = _found(words, limit, run)
    return _blocks(words, found.packed), found.whole


def _found(words: HashWords, limit: int, run: ShardRun) -> NearPairs:
    """A few samples show which hashes are much alike: what is near among them is not sought
    sample by sample."""
    first, rest = pair_shards(limit)
    nothing = NearPairs(np.empty(0, np.uint64), True)
    found = _merged(run(words, limit, first, None), len(first), nothing)
    alike, pairs, whole = _alike(words, limit, found.packed)
    packed, all_held = _thinned(_together(found.packed, pairs))
    found = NearPairs(packed, found.whole and whole and all_held)
    return _merged(run(words, limit, rest, alike), len(rest), found)


def _merged(shards: Generator[NearPairs, None, None], total: int, found: NearPairs) -> NearPairs:
    """What was found, and what the shards find; the order of these decides what is left out."""
    packed, whole = found
    with closing(shards):
        for part in progress_bar(shards, total=total, desc="near-copies", leave=False):
            if len(new := _unknown(part.packed, packed)):
                packed, all_held = _thinned(_together(packed, new))
                whole = whole and all_held
            whole = whole and part.whole
    return NearPairs(packed, whole)


def _alike(words: HashWords, limit: int, packed: PackedPairs) -> tuple[Ints, PackedPairs, bool]:
    """(n,) the set of hashes, connected by near pairs, of those that are much alike, -1 of others;
    all near pairs in these sets, as far as they can be held; and whether they can.

    packed: (m,) near pairs of the first samples. Sets that are too large for all of their pairs
    keep those that were found, of hashes that have 64 of them."""
    n = len(words.filled)
    pairs = np.column_stack([packed >> _HALF, packed & _LOWER]).astype(np.intp)
    names = set_names(n, pairs)
    sizes, known = np.bincount(names, minlength=n), np.bincount(names[pairs[:, 0]], minlength=n)
    sets = np.flatnonzero((sizes >= _MANY) & (known >= _OFTEN * sizes))
    sets = sets[np.argsort(sizes[sets], kind="stable")]
    affordable = np.cumsum(sizes[sets] ** 2 // 2) <= _HELD
    found = [np.empty(0, np.uint64)]
    for name in sets[affordable].tolist():
        ids = np.flatnonzero(names == name)
        found += [_packed(*ids[block].T) for block, _ in pair_blocks(words.hashes[ids], limit)]
    compared = np.isin(names, sets[affordable])
    often = np.bincount(pairs.ravel(), minlength=n) >= _KEPT
    alike = np.where(compared | (often & np.isin(names, sets)), names, -1)
    return alike, _together(*found), bool(affordable.all())


def hash_words(hashes: NDArray[np.uint8]) -> HashWords:
    """What `pair_shard` compares. hashes: (n, bytes)."""
    n = len(hashes)
    both = np.empty((2 * n, _WORDS), np.uint64)
    for top in range(0, n, _ROWS):  # single bits of all of them would be most of the memory
        some = hashes[top : top + _ROWS]
        both[top : top + len(some)] = words_of(some)
        both[n + top : n + top + len(some)] = words_of(mirrored(some))
    return HashWords(hashes, both, bits_set(hashes))


def fill_ranges(limit: int) -> list[FillRange]:
    """Ranges of bits set, full hashes first. Of a nearly empty one fewer bits may differ."""
    found = []
    lows = sorted({2 * limit, *(low for low in _EMPTIER if low < 2 * limit)}, reverse=True)
    for low, high in zip(lows, [_BITS, *(low - 1 for low in lows)], strict=False):
        within = min(limit, high // 2)
        some = next((n for at, n in _SET_BITS if low < at), 0) if high < _BITS else 0
        longest = _SAMPLE if high == _BITS else _BITS
        bits = max(
            k for k in range(1, longest + 1) if k == 1 or chance_of_sample(k, within) >= _CHANCE
        )
        chance = min(
            chance_of_set_bits(low, high, some) if some else chance_of_sample(bits, within),
            1 - _MISSED,
        )
        # A mirror shows each pair a second time, with other bits drawn.
        samples = math.ceil(math.log(_MISSED) / (2 * math.log1p(-chance)))
        found.append(FillRange(low, high, within, 0 if some else bits, some, samples))
    return found


def chance_of_sample(bits: int, differing: int) -> float:
    """The chance that two hashes agree on so many bits drawn without replacement."""
    if bits + differing > _BITS:
        return 0.0
    return math.comb(_BITS - differing, bits) / math.comb(_BITS, bits)


def chance_of_set_bits(low: int, high: int, first: int) -> float:
    """The least chance that two near hashes, of which the emptier one has `low` to `high` bits set,
    have the same ones first in a random order of all bits."""
    least = 1.0
    for emptier in range(max(low, 2), high + 1):
        for more in range(emptier // 2 + 1):
            differing = emptier // 2 - (emptier // 2 - more) % 2
            common = (2 * emptier + more - differing) // 2
            chance = math.comb(common, first) / math.comb(common + differing, first)
            least = min(least, chance if differing >= more else 1.0)
    return least


def pair_shards(limit: int) -> tuple[list[int], list[int]]:
    """The numbers of the first `pair_shard` of each range, and of the others."""
    starts = [start for each in fill_ranges(limit) for start in range(0, each.samples, _TABLES)]
    first = [number for number, start in enumerate(starts) if start == 0]
    return first, [number for number, start in enumerate(starts) if start > 0]


def pair_shard(words: HashWords, limit: int, number: int, alike: Ints | None = None) -> NearPairs:
    """Near pairs of a few samples: a pure function of its arguments, so that shards may be found in
    any order, again, and by other processes. alike: (n,) sets of which no pairs are sought, -1."""
    order = [(each, k) for each in fill_ranges(limit) for k in range(0, each.samples, _TABLES)]
    each, first = order[number]
    # The fuller one of a pair has at most half as many bits more as the emptier one has.
    inside = np.flatnonzero((words.filled >= each.low) & (2 * words.filled <= 3 * each.high))
    known, whole = NearPairs(np.empty(0, np.uint64), True)
    if len(inside) <= _FEW:
        if first == 0:
            for pairs, _ in pair_blocks(words.hashes[inside], each.limit):
                known = np.concatenate([known, _packed(*inside[pairs].T)])
        return NearPairs(known, True)
    for sample in range(first, min(first + _TABLES, each.samples)):
        rng = np.random.default_rng([_SEED, each.low, sample])
        packed, all_compared = _in_table(words, inside, each, rng, alike)
        known, all_held = _thinned(_together(known, packed))
        whole = whole and all_compared and all_held
    return NearPairs(known, whole)


def _in_table(
    words: HashWords,
    inside: NDArray[np.intp],
    each: FillRange,
    rng: np.random.Generator,
    alike: Ints | None,
) -> NearPairs:
    """Near pairs that agree on one sample of bits. inside: (m,) the hashes of the range.

    Keys are sorted with their place in the lowest bits. Runs of equal keys are compared at a
    distance of one, of two, and so on, as far as the longest run goes."""
    n = len(words.filled)
    names = np.concatenate([inside, inside + n])
    low = (1 << int(2 * n - 1).bit_length()) - 1
    odd = 2 * int(rng.integers(1 << 31)) + 1  # each table has other neighbours in a run
    places = np.arange(len(names), dtype=np.uint64) * np.uint64(odd) & np.uint64(low)
    if each.set:
        keys = _keys_of_set_bits(words.words[names], each.set, rng)
    else:
        keys = _keys(words.words, each.bits, rng)[names]
    keys = keys & ~np.uint64(low) | places
    keys.sort()
    back, low = np.uint64(pow(odd, -1, low + 1)), np.uint64(low)
    found, left = [np.empty(0, np.uint64)], max(_CANDIDATES * n, _LEAST_CANDIDATES)
    at, step = np.flatnonzero((keys[1:] ^ keys[:-1]) <= low), 1
    while len(at) and left > 0:
        left -= len(at)
        for some in np.split(at, range(_AT_ONCE, len(at), _AT_ONCE)):
            a, b = (
                names[(keys[rows] * back & low).astype(np.intp)] for rows in (some, some + step)
            )
            if alike is not None:
                sought = (alike[a % n] < 0) | (alike[a % n] != alike[b % n])
                a, b = a[sought], b[sought]
            found.append(_packed_if_near(words, a, b, each.limit))
        step += 1
        at = at[at + step < len(keys)]
        at = at[(keys[at] ^ keys[at + step]) <= low]
    return NearPairs(_together(*found), not len(at))


def _keys(words: NDArray[np.uint64], bits: int, rng: np.random.Generator) -> PackedPairs:
    """(n,) one number of 64 bits for so many bits of each hash, the same for all. Numbers of
    samples that differ are equal by chance. words: (n, words)."""
    mask = np.zeros(64 * _WORDS, dtype=bool)
    mask[rng.choice(_BITS, bits, replace=False)] = True
    of_word = np.packbits(mask).view(np.uint64)
    factors = rng.integers(1 << 63, size=_WORDS, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    keys = np.zeros(len(words), dtype=np.uint64)
    for top in range(0, len(words), _ROWS):
        rows, some = words[top : top + _ROWS], keys[top : top + _ROWS]
        for column in np.flatnonzero(of_word).tolist():
            part = (rows[:, column] & of_word[column]) * factors[column]
            some += part ^ part >> np.uint64(32)
            some *= _MIX
    return keys


def _keys_of_set_bits(
    words: NDArray[np.uint64], first: int, rng: np.random.Generator
) -> PackedPairs:
    """As `_keys`, for the first set bits of each hash in an order that is drawn."""
    order = rng.permutation(64 * _WORDS)
    keys = np.zeros(len(words), dtype=np.uint64)
    for top in range(0, len(words), _ROWS):
        rows = words[top : top + _ROWS]
        bits = np.unpackbits(rows.view(np.uint8), axis=1)[:, order].astype(bool)
        for _ in range(first):
            place = bits.argmax(axis=1)
            each = np.arange(len(bits)), place
            part = np.where(bits[each], place, 64 * _WORDS).astype(np.uint64) + np.uint64(1)
            keys[top : top + _ROWS] = (keys[top : top + _ROWS] + part) * _MIX
            bits[each] = False
    return keys


def _packed_if_near(
    words: HashWords, a: NDArray[np.intp], b: NDArray[np.intp], limit: int
) -> PackedPairs:
    """The near ones of pairs (m,) of hashes (0 to n) and mirror images (n to 2n)."""
    n = len(words.filled)
    distances = bit_distances(words.words[a], words.words[b])
    a, b = a % n, b % n
    near = are_near(distances, np.minimum(words.filled[a], words.filled[b]), limit) & (a != b)
    a, b = a[near], b[near]
    return _packed(np.minimum(a, b), np.maximum(a, b))


def _packed(i: NDArray[np.intp], j: NDArray[np.intp]) -> PackedPairs:
    packed: PackedPairs = i.astype(np.uint64) << _HALF | j.astype(np.uint64)
    return packed


def _together(*parts: PackedPairs) -> PackedPairs:
    """All pairs, each once, in their order; np.unique of numpy 2.3 hashes, which is slower here."""
    every = np.sort(np.concatenate(parts))
    return every[np.r_[True, every[1:] != every[:-1]]] if len(every) else every


def _unknown(packed: PackedPairs, known: PackedPairs) -> PackedPairs:
    """The pairs that are not among the known ones, both in their order."""
    place = np.searchsorted(known, packed)
    found = place < len(known)
    found[found] = known[place[found]] == packed[found]
    return packed[~found]


def _thinned(packed: PackedPairs) -> tuple[PackedPairs, bool]:
    """The pairs, and True; or, of more than are held, those among the first 64 of either of their
    hashes in a random order, which still connect what all of them connect, and False."""
    if len(packed) <= _HELD:
        return packed, True
    chance = packed * _MIX >> np.uint64(40)
    first = np.zeros(len(packed), dtype=bool)
    for end in (packed >> _HALF, packed & _LOWER):
        order = np.argsort(end << np.uint64(24) | chance)
        end = end[order]
        starts = np.flatnonzero(np.r_[True, end[1:] != end[:-1]])
        rank = np.arange(len(end)) - np.repeat(starts, np.diff(np.r_[starts, len(end)]))
        first[order[rank < _KEPT]] = True
    return packed[first], False


def _blocks(words: HashWords, packed: PackedPairs) -> Iterator[tuple[NDArray[np.intp], Ints]]:
    """The pairs as `pair_blocks` yields them."""
    n, start = len(words.filled), 0
    while start < len(packed):
        stop = min(start + _AT_ONCE, len(packed))
        last = (packed[stop - 1] >> _HALF) + np.uint64(1)  # no hash is in two blocks
        stop = int(np.searchsorted(packed, last << _HALF))
        i, j = ((packed[start:stop] >> _HALF), packed[start:stop] & _LOWER)
        pairs = np.column_stack([i, j]).astype(np.intp)
        i, j = pairs.T
        upright = bit_distances(words.words[i], words.words[j])
        yield pairs, np.minimum(upright, bit_distances(words.words[i + n], words.words[j]))
        start = stop

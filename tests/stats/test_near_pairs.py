"""Near pairs by samples of bits: as many as by comparing all pairs, and always the same ones."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

import bear_classifier.stats.near_pairs as search
from bear_classifier.images.dhash import mirrored
from bear_classifier.stats.hamming import distances_of, pair_blocks
from bear_classifier.stats.near_pairs import near_pairs

NEAR = 45
Hashes = NDArray[np.uint8]


@pytest.fixture(autouse=True)
def by_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "_EXACT", 10)


def pictures(rng: np.random.Generator, n: int, flat: float = 0.2) -> Hashes:
    """(n, 50) hashes: each cell is brighter or darker than the one before, or with the chance
    `flat` neither."""
    step = rng.choice([-1, 0, 1], p=[(1 - flat) / 2, flat, (1 - flat) / 2], size=(n, 2, 100))
    planes = [step[:, 0] > 0, step[:, 0] < 0, step[:, 1] > 0, step[:, 1] < 0]
    return np.packbits(np.stack(planes, axis=1).reshape(n, 400), axis=1)


def changed(rng: np.random.Generator, hashes: Hashes, bits: NDArray[np.int64]) -> Hashes:
    """The hashes, so many bits of each (n,) turned; every second one in a mirror."""
    order = rng.random((len(hashes), 400)).argsort(axis=1).argsort(axis=1)
    found = hashes ^ np.packbits(order < bits[:, None], axis=1)
    found[::2] = mirrored(found[::2])
    return found


def exactly(hashes: Hashes, limit: int = NEAR) -> set[tuple[int, int]]:
    blocks = [pairs for pairs, _ in pair_blocks(hashes, limit)]
    return {(i, j) for pairs in blocks for i, j in pairs.tolist()}


def found(hashes: Hashes, limit: int = NEAR) -> set[tuple[int, int]]:
    return {(i, j) for i, j in near_pairs(hashes, limit)[0].tolist()}


def recall(hashes: Hashes, limit: int = NEAR) -> float:
    """Of all near pairs; there are many, and nothing else is found."""
    expected, pairs = exactly(hashes, limit), found(hashes, limit)
    assert len(expected) > 1000
    assert pairs <= expected
    return len(pairs) / len(expected)


def sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranges of few hashes, too."""
    monkeypatch.setattr(search, "_FEW", 0)


def test_copies_at_each_distance_up_to_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    sampled(monkeypatch)
    rng = np.random.default_rng(1)
    originals = pictures(rng, 46 * 60)
    hashes = np.concatenate([originals, changed(rng, originals, np.arange(46).repeat(60))])
    assert recall(hashes) >= 0.999


def test_copies_at_the_limit() -> None:
    """The hardest ones alone: 1 in 2,000 may be missed."""
    rng = np.random.default_rng(2)
    originals = pictures(rng, 5000)
    hashes = np.concatenate([originals, changed(rng, originals, np.full(5000, NEAR))])
    assert recall(hashes) >= 0.999


def test_copies_of_nearly_empty_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """From two bits set to half of the hash, as far apart as a near-copy may be."""
    sampled(monkeypatch)
    rng = np.random.default_rng(3)
    kinds = [pictures(rng, 120, flat=1 - q) for q in (0.01, 0.03, 0.05, 0.1, 0.2, 0.3, 0.45, 0.6)]
    originals = np.concatenate(kinds)
    filled = np.bitwise_count(originals).sum(axis=1, dtype=np.int64)
    most = np.minimum(NEAR, filled // 2)
    copies = [changed(rng, originals, np.maximum(0, most - less)) for less in (0, 1, 5)]
    assert recall(np.concatenate([originals, *copies])) >= 0.999


@pytest.mark.long
def test_frames_of_videos() -> None:
    rng = np.random.default_rng(4)
    scenes = pictures(rng, 4).repeat([700, 400, 150, 20], axis=0)
    frames = changed(rng, scenes, rng.integers(0, 26, len(scenes)))
    assert recall(np.concatenate([frames, pictures(rng, 1000)])) >= 0.999


@pytest.mark.parametrize("limit", [0, 8, 20, 60])
def test_other_limits(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    sampled(monkeypatch)
    rng = np.random.default_rng(5)
    originals = pictures(rng, 1500)
    bits = rng.integers(0, limit + 1, 1500)
    assert recall(np.concatenate([originals, changed(rng, originals, bits)]), limit) >= 0.999


def test_pairs_come_in_their_order_with_their_distances(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "_AT_ONCE", 7)
    rng = np.random.default_rng(6)
    scene = pictures(rng, 3)[rng.integers(0, 3, 90)]
    hashes = changed(rng, scene, rng.integers(0, 30, 90))
    blocks, whole = search.near_blocks(hashes, NEAR)
    held = list(blocks)
    assert whole and len(held) > 3
    first = [set(pairs[:, 0].tolist()) for pairs, _ in held]
    assert all(not one & other for one, other in itertools.pairwise(first))
    pairs = np.concatenate([pairs for pairs, _ in held])
    assert pairs.tolist() == sorted(pairs.tolist())
    distances = np.concatenate([distances for _, distances in held])
    assert distances.tolist() == distances_of(hashes, pairs).tolist()
    assert {(i, j) for i, j in pairs.tolist()} == exactly(hashes)


def test_the_same_on_any_number_of_threads_and_in_any_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(7)
    originals = pictures(rng, 3000)
    hashes = np.concatenate([originals, changed(rng, originals, np.full(3000, NEAR))])
    monkeypatch.setattr(search, "_FEW", 0)
    monkeypatch.setattr(search, "_MISSED", 0.3)  # so that what is found depends on the samples
    everything = []
    for threads in (1, 5):
        monkeypatch.setattr(search, "processors", lambda threads=threads: threads)
        everything.append(near_pairs(hashes, NEAR)[0].tolist())
    assert everything[0] == everything[1]
    assert 100 < len(everything[0]) < 3000
    words = search.hash_words(hashes)
    first, rest = search.pair_shards(NEAR)
    parts = [search.pair_shard(words, NEAR, number).packed for number in reversed(first + rest)]
    again = np.unique(np.concatenate(parts))
    assert [[p >> 32, p & (2**32 - 1)] for p in again.tolist()] == everything[0]


def test_few_hashes_are_compared_each_with_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Datasets that exist are grouped as before: no chance has a part in it."""
    sampled(monkeypatch)
    monkeypatch.setattr(search, "_EXACT", 50_000)
    monkeypatch.setattr(search, "_MISSED", 0.999)
    rng = np.random.default_rng(8)
    originals = pictures(rng, 600)
    hashes = np.concatenate([originals, changed(rng, originals, np.full(600, NEAR))])
    assert found(hashes) == exactly(hashes)


def test_more_pairs_than_are_held_still_connect_what_they_did(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(search, "_HELD", 20_000)
    rng = np.random.default_rng(9)
    scenes = pictures(rng, 5)[rng.integers(0, 5, 1500)]
    hashes = np.concatenate([changed(rng, scenes, rng.integers(0, 20, 1500)), pictures(rng, 300)])
    sampled(monkeypatch)
    blocks, whole = search.near_blocks(hashes, NEAR)
    pairs = np.concatenate([pairs for pairs, _ in blocks])
    assert not whole
    expected = np.array(sorted(exactly(hashes)))
    assert 64 * 1500 / 2 <= len(pairs) <= 2 * 64 * 1500 < len(expected)
    names = []
    for some in (pairs, expected):
        graph = coo_array((np.ones(len(some)), tuple(some.T)), shape=(1800, 1800))
        names.append(connected_components(graph, directed=False)[1])
    assert names[0].tolist() == names[1].tolist()


def test_one_run_of_equal_samples_is_not_compared_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(search, "_LEAST_CANDIDATES", 50_000)
    monkeypatch.setattr(search, "_CANDIDATES", 1)
    compared: list[int] = []
    real = search._packed_if_near

    def counted(words, a, b, limit):
        compared.append(len(a))
        return real(words, a, b, limit)

    monkeypatch.setattr(search, "_packed_if_near", counted)
    sampled(monkeypatch)
    hashes = np.repeat(pictures(np.random.default_rng(10), 1), 2000, axis=0)
    words = search.hash_words(hashes)
    assert not search.pair_shard(words, NEAR, 0).whole
    assert sum(compared) <= 4 * (50_000 + 4000)


@pytest.mark.parametrize("limit", [0, 1, 8, 45, 100])
def test_ranges_leave_no_near_pair_out(limit: int) -> None:
    """Whatever two hashes have set, some range holds both, and allows as many bits to differ."""
    ranges = search.fill_ranges(limit)
    assert [each.low for each in ranges][-1] == 0
    for emptier, more in itertools.product(range(401), range(limit + 1)):
        differing = min(limit, emptier // 2)
        if more <= differing and emptier + more <= 400:
            inside = [
                each for each in ranges
                if each.low <= emptier and 2 * (emptier + more) <= 3 * each.high
                and emptier <= each.high
            ]  # fmt: skip
            assert any(each.limit >= differing for each in inside), (emptier, more)


def test_chances_are_those_of_draws() -> None:
    rng = np.random.default_rng(11)
    assert search.chance_of_sample(28, 45) == pytest.approx(
        math.prod((355 - k) / (400 - k) for k in range(28))
    )
    draws = rng.random((20_000, 400)).argsort(axis=1)[:, :6]
    assert search.chance_of_sample(6, 45) == pytest.approx(
        (draws >= 45).all(axis=1).mean(), abs=0.02
    )
    # 12 bits set in the one, 12 in the other, of which 9 in both.
    firsts = rng.random((20_000, 15)).argsort(axis=1)[:, :3]
    assert search.chance_of_set_bits(12, 12, 3) <= (firsts < 9).all(axis=1).mean() + 0.02


def test_nearly_empty_hashes_share_few_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """They agree on nearly all bits, so that many pairs would be compared in vain."""
    sampled(monkeypatch)
    compared: list[int] = []
    real = search._packed_if_near

    def counted(words, a, b, limit):
        compared.append(len(a))
        return real(words, a, b, limit)

    monkeypatch.setattr(search, "_packed_if_near", counted)
    hashes = pictures(np.random.default_rng(12), 3000, flat=0.96)
    near_pairs(hashes, NEAR)
    assert sum(compared) < 3000**2 / 20

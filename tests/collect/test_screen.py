"""Near-copies on hand-made hashes, and what is set aside: always the same, and nobody moves."""

from __future__ import annotations

import hashlib
import itertools
import random
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from corpus import drawn
from numpy.typing import NDArray
from PIL import ImageOps

import bear_classifier.collect.pair_rows as pair_rows
import bear_classifier.stats.hamming as hamming
from bear_classifier.collect.screen import screen, tie, usable
from bear_classifier.config.project_file import build
from bear_classifier.config.settings import Config, ScreenConfig
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.decisions import decide
from bear_classifier.dataset.schema import Decision, Photo
from bear_classifier.images.dhash import dhash, hash_bits, mirrored
from bear_classifier.stats.components import components
from bear_classifier.stats.near_pairs import near_pairs

Make = Callable[..., Photo]
CONFIG = build({"classes": {"grizzly": ["g"], "teddy": ["t"]}}, where="test")


BUSY = np.zeros((4, 10, 10), np.uint8)
BUSY[0, :, :5] = BUSY[1, :, 5:] = BUSY[2, ::2] = BUSY[3, 1::2] = 1


def hashed(*cells: tuple[int, int, int], first: int = 0) -> str:
    """A busy picture's hash with these bits (plane, row, column) turned, and the first of all 400.

    What is turned around looks the same in a mirror, so distances are those of the turned bits."""
    bits = np.zeros((4, 10, 10), np.uint8)
    bits.reshape(-1)[:first] = 1
    for cell in cells:
        bits[cell] = 1
    return np.packbits(bits ^ BUSY).tobytes().hex()


def pairs_of(hashes: list[str], limit: int) -> dict[tuple[int, int], int]:
    pairs, distances = near_pairs(hash_bits(hashes), limit)
    return {(i, j): d for (i, j), d in zip(pairs.tolist(), distances.tolist(), strict=True)}


# near_pairs


def test_pairs_and_their_distances() -> None:
    hashes = [hashed(first=n) for n in (0, 3, 8, 200)]
    assert pairs_of(hashes, 8) == {(0, 1): 3, (0, 2): 8, (1, 2): 5}
    assert pairs_of(hashes, 7) == {(0, 1): 3, (1, 2): 5}
    assert pairs_of(hashes, 0) == {}
    assert pairs_of([hashes[3], hashes[3]], 0) == {(0, 1): 0}


def test_pairs_in_a_mirror() -> None:
    """Planes 0 and 1 (brighter, darker to the right) change places; columns turn round."""
    one = hashed((0, 0, 0), (0, 3, 2), (2, 5, 1), (3, 9, 9))
    other = hashed((1, 0, 9), (1, 3, 7), (2, 5, 8), (3, 9, 0))
    nearly = hashed((1, 0, 9), (1, 3, 7), (2, 5, 8))
    assert pairs_of([one, other], 7) == {(0, 1): 0}
    assert pairs_of([one, nearly, other], 7) == {(0, 1): 1, (0, 2): 0, (1, 2): 1}
    upside_down = hashed((0, 9, 0), (0, 6, 2), (3, 4, 1), (2, 0, 9))
    assert pairs_of([one, upside_down], 7) == {}


def test_a_drawn_picture_and_its_mirror_image() -> None:
    picture = drawn(seed=4)
    hashes = [dhash(picture), dhash(ImageOps.mirror(picture))]
    assert pairs_of(hashes, 8).keys() == {(0, 1)}
    assert pairs_of([hashes[0], dhash(drawn(seed=5))], 32) == {}


def test_a_nearly_flat_picture_is_near_to_nothing() -> None:
    """Two hashes of 10 bits differ in 20 at most: that they look alike to the hash says nothing."""
    flat = [np.packbits(np.arange(400) // 10 == k).tobytes().hex() for k in (0, 1)]
    assert pairs_of(flat, 45) == {}
    assert pairs_of([flat[0], flat[0]], 45) == {(0, 1): 0}
    almost = np.packbits((np.arange(400) < 10) ^ (np.arange(400) == 390)).tobytes().hex()
    assert pairs_of([flat[0], almost], 45) == {(0, 1): 1}


@pytest.mark.parametrize("n", [0, 1])
def test_no_pairs_of_fewer_than_two(n: int) -> None:
    pairs, distances = near_pairs(np.zeros((n, 50), np.uint8), 400)
    assert (pairs.shape, distances.shape) == ((0, 2), (0,))


@pytest.mark.parametrize(("limit", "columns"), [(40, 4096), (40, 100), (170, 100)])
def test_many_hashes_as_one_by_one(
    limit: int, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """600 are compared in many tiles; copies are planted across all of them. With 170 the first
    words of most pairs are near enough, and nearly everything is compared in full."""
    monkeypatch.setattr(hamming, "_COLUMNS", columns)
    rng = np.random.default_rng(1)
    hashes = rng.integers(0, 256, (600, 50), np.uint8)
    for a, b in ((0, 599), (255, 256), (10, 11), (300, 511)):
        hashes[b] = hashes[a] ^ np.packbits(rng.random(400) < 0.03)
    hashes[512:513] = mirrored(hashes[20:21])
    unpacked = np.unpackbits(hashes, axis=1).astype(np.int16)
    flipped = np.unpackbits(mirrored(hashes), axis=1).astype(np.int16)
    expected = {}
    for i in range(600):
        upright = np.abs(unpacked[i] - unpacked[i + 1 :]).sum(1)
        apart = np.minimum(upright, np.abs(flipped[i] - unpacked[i + 1 :]).sum(1))
        filled = np.minimum(unpacked[i].sum(), unpacked[i + 1 :].sum(1))
        near = np.flatnonzero((apart <= limit) & (2 * apart <= filled))
        expected |= {(i, i + 1 + int(j)): int(apart[j]) for j in near}
    pairs, distances = near_pairs(hashes, limit)
    found = {(i, j): d for (i, j), d in zip(pairs.tolist(), distances.tolist(), strict=True)}
    assert found == expected
    assert list(found) == sorted(found)
    assert {(0, 599), (255, 256), (10, 11), (300, 511), (20, 512)} <= found.keys()


# components


def test_components_of_a_small_graph() -> None:
    pairs = np.array([[0, 3], [3, 5], [1, 2]])
    sets = components(7, pairs, [True] * 7)
    assert sorted(ids.tolist() for ids in sets) == [[0, 3, 5], [1, 2], [4], [6]]
    without = components(7, pairs, [True, True, True, False, True, True, False])
    assert sorted(ids.tolist() for ids in without) == [[0], [1, 2], [4], [5]]


def test_components_without_pairs_or_life() -> None:
    none = np.empty((0, 2), np.intp)
    assert [ids.tolist() for ids in components(2, none, [True, True])] == [[0], [1]]
    assert components(2, np.array([[0, 1]]), [False, False]) == []
    assert components(0, none, []) == []


# usable


@pytest.mark.parametrize(
    ("facts", "status", "reason"),
    [
        ({"width": 32, "height": 32}, "ok", ""),
        ({"width": 31, "height": 900}, "unusable", "TOO_SMALL: 31 x 900 pixels; the shorter side"),
        ({"width": 900, "height": 31}, "unusable", "TOO_SMALL: 900 x 31 pixels; the shorter side"),
        ({"contrast": 2.0}, "ok", ""),
        ({"contrast": 1.94}, "unusable", "BLANK: its grey levels differ by 1.9 only; an empty"),
        ({"status": "unusable", "reason": "BLANK: old limits"}, "ok", ""),
        ({"status": "duplicate", "reason": "NEAR_COPY of x"}, "ok", ""),
        ({"status": "dropped", "reason": "ann: blurred", "width": 5}, "dropped", "ann: blurred"),
        (
            {"status": "unusable", "reason": "LABEL_CONFLICT: two"},
            "unusable",
            "LABEL_CONFLICT: two",
        ),
    ],
)
def test_usable(make: Make, facts: dict[str, object], status: str, reason: str) -> None:
    judged = usable(make(1, **facts), ScreenConfig())
    assert judged.status == status
    assert judged.reason.startswith(reason)
    assert bool(judged.reason) == bool(reason)


# tie


def tied(rows: list[Photo], near: int = 32, same: int = 8) -> dict[int, tuple[str, int]]:
    """Number -> status and the number that names its group."""
    return {int(p.sha256, 16): (p.status, int(p.group or "0", 16)) for p in tie(rows, near, same)}


def test_groups_are_transitive(make: Make) -> None:
    """1 and 3 are 40 bits apart, and tied through 2; 4 is 33 bits from 3."""
    rows = [make(n, dhash=hashed(first=bits), group=None)
            for n, bits in ((1, 0), (2, 20), (3, 40), (4, 73))]  # fmt: skip
    assert tied(rows) == {1: ("ok", 1), 2: ("ok", 1), 3: ("ok", 1), 4: ("ok", 4)}
    assert tied(rows, near=33) == {n: ("ok", 1) for n in (1, 2, 3, 4)}
    assert tied(rows, near=0) == {n: ("ok", n) for n in (1, 2, 3, 4)}


def test_a_mirrored_copy_is_a_copy(make: Make) -> None:
    rows = [make(1, dhash=hashed(*((0, r, 0) for r in range(10))), group=None),
            make(2, dhash=hashed(*((1, r, 9) for r in range(10))), group=None)]  # fmt: skip
    assert [p.status for p in tie(rows, 9, 8)] == ["ok", "duplicate"]


@pytest.mark.parametrize("largest", [1, 2, 3])
def test_of_copies_the_largest_is_kept(make: Make, largest: int) -> None:
    rows = [make(n, dhash=hashed(first=n), width=900 if n == largest else 96 + n)
            for n in (1, 2, 3)]  # fmt: skip
    after = {int(p.sha256, 16): p for p in tie(rows, 32, 8)}
    kept = [n for n, photo in after.items() if photo.status == "ok"]
    assert kept == [largest]
    reasons = [after[n].reason for n in (1, 2, 3) if n != largest]
    assert all(reason.startswith("NEAR_COPY of ") for reason in reasons)
    assert f"NEAR_COPY of {largest:064x}" in reasons


def test_of_copies_the_one_in_use_is_kept_however_small(make: Make) -> None:
    rows = [make(1, split="train", width=40), make(2, width=4000), make(3, width=2000)]
    assert [p.status for p in tie(rows, 32, 8)] == ["ok", "duplicate", "duplicate"]


def test_copies_with_different_labels_both_stay_tied(make: Make) -> None:
    rows = [make(1), make(2, label="teddy")]
    assert tied(rows) == {1: ("ok", 1), 2: ("ok", 1)}


def test_photos_not_in_use_tie_nothing(make: Make) -> None:
    rows = [make(1, dhash=hashed(first=0)), make(2, dhash=hashed(first=20), status="dropped"),
            make(3, dhash=hashed(first=40))]  # fmt: skip
    assert tied(rows) == {1: ("ok", 1), 2: ("dropped", 2), 3: ("ok", 3)}


def test_new_photo_joins_the_group_it_resembles(make: Make) -> None:
    rows = [make(1, dhash=hashed(first=20), group=None), make(5, split="valid")]
    assert tied(rows) == {1: ("ok", 1), 5: ("ok", 1)}
    assert [p.split for p in tie(rows, 32, 8)] == [None, "valid"]


def test_new_photo_between_two_sides_is_set_aside_and_nobody_moves(make: Make) -> None:
    rows = [make(1, dhash=hashed(first=0), split="train"), make(2, dhash=hashed(first=30)),
            make(3, dhash=hashed(first=60), split="test")]  # fmt: skip
    after = tie(rows, 32, 8)
    assert [p.status for p in after] == ["ok", "duplicate", "ok"]
    assert [p.split for p in after] == ["train", None, "test"]
    assert [p.group for p in after] == [p.group for p in rows]
    assert after[1].reason.startswith("ACROSS_SPLITS: near-copy of ")


def test_a_chain_of_new_photos_between_two_sides_is_set_aside(make: Make) -> None:
    sides = {0: "valid", 90: "train"}
    rows = [make(n, dhash=hashed(first=bits), split=sides.get(bits))
            for n, bits in enumerate((0, 30, 60, 90), start=1)]  # fmt: skip
    assert [p.status for p in tie(rows, 32, 8)] == ["ok", "duplicate", "duplicate", "ok"]


@pytest.mark.parametrize(
    ("sides", "kept"),
    [
        (("train", "test"), 1),
        (("test", "train"), 0),
        (("valid", "train"), 0),
        (("train", "valid"), 1),
        (("valid", "test"), 1),
    ],
)
def test_near_copies_that_met_late_keep_their_sides(
    make: Make, sides: tuple[str, str], kept: int
) -> None:
    """As when screen.near is raised: test is kept before valid before train; and it stays so."""
    rows = [make(n, dhash=hashed(first=20 * n), split=side) for n, side in enumerate(sides)]
    once = tie(rows, 32, 8)
    assert [p.status == "ok" for p in once] == [kept == 0, kept == 1]
    assert [p.split for p in once] == list(sides)
    again = tie([usable(p, ScreenConfig()) for p in once], 32, 8)
    assert again == once


def test_order_of_input_does_not_matter(make: Make) -> None:
    dice, sides = random.Random(2), ["train", "valid", "test", None]
    for _ in range(50):
        rows = [make(n, dhash=hashed(first=dice.randrange(400)), width=50 + dice.randrange(9),
                     split=dice.choice(sides)) for n in range(1, 60)]  # fmt: skip
        after = {p.sha256: p for p in tie(rows, 6, 2)}
        shuffled = dice.sample(rows, len(rows))
        assert tie(shuffled, 6, 2) == [after[p.sha256] for p in shuffled]


def test_no_near_copies_across_sides_whatever_happens(make: Make) -> None:
    """500 random datasets with sides dealt at random: nobody moves, nothing near stands across."""
    rng = random.Random(5)
    for _ in range(500):
        rows = [make(n, dhash=hashed(first=rng.randrange(0, 120)), width=rng.randrange(40, 99),
                     label=rng.choice(["grizzly", "teddy"]),
                     split=rng.choice(["train", "valid", "test", None]))
                for n in range(rng.randrange(2, 9))]  # fmt: skip
        after = tie(rows, 20, 4)
        assert [p.split for p in after] == [p.split for p in rows]
        alive = sorted((p for p in after if p.status == "ok"), key=lambda p: p.dhash)
        sides: dict[str | None, set[str]] = {}
        for photo in alive:
            sides.setdefault(photo.group, set()).update({photo.split} if photo.split else set())
        assert max(map(len, sides.values())) <= 1
        for one, other in pairwise(alive):
            apart = bytes.fromhex(one.dhash), bytes.fromhex(other.dhash)
            if (
                int.from_bytes(apart[0], "big") ^ int.from_bytes(apart[1], "big")
            ).bit_count() <= 20:
                assert one.group == other.group


# the stage


def test_screening_twice_changes_nothing(tmp_path: Path, make: Make) -> None:
    rng = np.random.default_rng(3)
    rows = [make(n, dhash=hashed(first=int(rng.integers(0, 400))), contrast=float(rng.integers(20)),
                 width=25 + int(rng.integers(50)), group=None) for n in range(80)]  # fmt: skip
    with Catalog(tmp_path) as catalog:
        with catalog.transaction():
            catalog.put_photos(rows)
        first = screen(catalog, CONFIG)
        state = catalog.photos()
        assert {p.status for p in state} == {"ok", "unusable", "duplicate"}
        assert screen(catalog, CONFIG) == first
        assert catalog.photos() == state


def test_what_screening_says(tmp_path: Path, make: Make) -> None:
    rows = [
        make(1, dhash=hashed(first=0), group=None),
        make(2, dhash=hashed(first=20), group=None),
        make(3, dhash=hashed(first=20), group=None, width=40),
        make(4, dhash=hashed(first=200), group=None),
        make(5, width=20, group=None),
        make(6, contrast=0.0, group=None),
        make(7, status="unusable", reason="LABEL_CONFLICT: two", group=None),
    ]
    with Catalog(tmp_path) as catalog:
        with catalog.transaction():
            catalog.put_photos(rows)
        assert screen(catalog, CONFIG) == {
            "ok": 3,
            "unlabelled": 0,
            "unusable": {"TOO_SMALL": 1, "BLANK": 1, "LABEL_CONFLICT": 1},
            "set_aside": {},
            "duplicate": 1,
            "near_copies": 2,
            "groups": 2,
        }


def with_limits(**limits: object) -> Config:
    return build({"classes": CONFIG.classes, "screen": limits}, where="test")


def test_other_limits_take_back_what_was_set_aside(tmp_path: Path, make: Make) -> None:
    with Catalog(tmp_path) as catalog:
        with catalog.transaction():
            catalog.put_photos([make(1, width=40), make(2, split="train", dhash=hashed(first=200))])
        before = catalog.photos()
        screen(catalog, with_limits(smallest=60))
        assert [p.status for p in catalog.photos()] == ["unusable", "ok"]
        screen(catalog, with_limits())
        assert catalog.photos() == before


def plainly(everything: list[Photo], near: int, same: int) -> list[Photo]:
    """As `tie`, pair by pair: what is set aside is decided in the order of the pairs."""
    order = ["test", "valid", "train", None]
    pool = sorted(everything, key=lambda p: p.sha256)
    hashes = hash_bits([p.dhash for p in pool])
    ways = (hashes, mirrored(hashes))
    filled = np.bitwise_count(hashes).sum(1).astype(int)
    pairs = {}
    for i, j in itertools.combinations(range(len(pool)), 2):
        apart = min(int(np.bitwise_count(way[i] ^ hashes[j]).sum()) for way in ways)
        if apart <= near and 2 * apart <= min(filled[i], filled[j]):
            pairs[i, j] = apart
    aside: dict[str, Photo] = {}

    def set_aside(photo: Photo, reason: str) -> None:
        aside[photo.sha256] = replace(photo, status="duplicate", reason=reason)

    for (i, j), apart in pairs.items():
        kept, copy = sorted(
            (pool[i], pool[j]), key=lambda p: (order.index(p.split), -p.width * p.height, p.sha256)
        )
        free = not aside.keys() & {kept.sha256, copy.sha256}
        if apart <= same and kept.label == copy.label and free:
            set_aside(copy, f"NEAR_COPY of {kept.sha256}")
    words = "ACROSS_SPLITS: near-copy of {} and of photos in another split".format
    for i, j in pairs:
        first, second = sorted((pool[i], pool[j]), key=lambda p: order.index(p.split))
        if second.split and first.split != second.split and first.sha256 not in aside:
            set_aside(second, words(first.sha256))
    for _ in range(2):
        sets = {p.sha256: {p.sha256} for p in pool if p.sha256 not in aside}
        for i, j in pairs:
            one, other = pool[i].sha256, pool[j].sha256
            if one in sets and other in sets:
                for name in (joint := sets[one] | sets[other]):
                    sets[name] = joint
        for photo in pool:
            ours = [p for p in pool if p.sha256 in sets.get(photo.sha256, ())]
            if not photo.split and len({p.split for p in ours} - {None}) > 1:
                set_aside(photo, words(next(p.sha256 for p in ours if p.split)))
    groups = {
        name: min(p.family for p in pool if p.sha256 in joint) for name, joint in sets.items()
    }
    return [aside.get(p.sha256) or replace(p, group=groups[p.sha256]) for p in everything]


def cluttered(dice: random.Random, make: Make, n: int) -> list[Photo]:
    """Photos in chains and heaps around a few scenes, some on sides, of two classes."""
    scenes = [dice.getrandbits(400) for _ in range(dice.randint(1, 4))]
    photos = []
    for _ in range(n):
        bits = dice.choice(scenes)
        for _ in range(dice.choice([0, 1, 4, 12, 22])):
            bits ^= 1 << dice.randrange(400)
        if dice.random() < 0.1:
            scenes.append(bits)
        sides = [None, None, "train", "valid", "test"] if dice.random() < 0.5 else [None]
        photos.append(
            make(
                dice.randrange(10**6), dhash=f"{bits:0100x}", label=dice.choice("ab"),
                split=dice.choice(sides), width=dice.choice([50, 100]), group=None,
            )
        )  # fmt: skip
    return list({photo.sha256: photo for photo in photos}.values())


@pytest.mark.parametrize("rows", ["numbers", "bits", "as they come"])
def test_what_is_tied_and_set_aside_is_as_pair_by_pair(
    make: Make, monkeypatch: pytest.MonkeyPatch, rows: str
) -> None:
    """However the pairs are held, in tiles that are full or nearly empty."""
    dice = random.Random(5)
    if rows != "as they come":
        monkeypatch.setattr(hamming, "_ROWS", 3)
        monkeypatch.setattr(hamming, "_COLUMNS", 7)
        monkeypatch.setattr(pair_rows, "_EDGES", 5)
        monkeypatch.setattr(hamming, "_GATHERED", 2)
        monkeypatch.setattr(hamming, "_DENSE", 10**9 if rows == "bits" else 0)
    for _ in range(40):
        photos = cluttered(dice, make, dice.randint(1, 45))
        assert tie(photos, 45, 8) == plainly(photos, 45, 8)


def test_thousands_of_frames_of_one_scene_are_never_held_as_pairs(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """2,000 frames are 2 million pairs: their numbers alone would take 32 MB."""
    dice = random.Random(1)
    scene = dice.getrandbits(400)
    frames = [scene for _ in range(2000)]
    for number in range(2000):
        for _ in range(18):
            frames[number] ^= 1 << dice.randrange(400)
    photos = [make(n, dhash=f"{bits:0100x}", group=None) for n, bits in enumerate(frames)]
    held: list[int] = []
    real = pair_rows.set_names

    def counted(n: int, pairs: NDArray[np.intp]) -> NDArray[np.intp]:
        held.append(len(pairs))
        return real(n, pairs)

    monkeypatch.setattr(pair_rows, "set_names", counted)
    tracemalloc.start()
    after = tie(photos, 45, 8)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len({photo.group for photo in after}) == 1
    assert max(held) <= 110_000
    assert peak < 60e6


def unlike(number: int) -> str:
    """A hash that is near to none of the others."""
    return hashlib.sha512(str(number).encode()).hexdigest()[:100]


def test_a_class_that_is_taken_out_is_set_aside_and_comes_back_as_it_was(
    tmp_path: Path, make: Make
) -> None:
    """Labels, splits, groups, copies and what was dropped; as many as there were."""
    rows = [make(n, label=("teddy", "grizzly")[n % 2]) for n in range(12)]
    sides = ("train", "valid", "test")
    rows = [replace(p, split=sides[n % 3], dhash=unlike(n)) for n, p in enumerate(rows)]
    rows += [
        make(40, label="teddy", dhash=hashed(first=200)),
        make(41, label="teddy", dhash=hashed(first=201), width=40),  # a copy, set aside
        make(42, label="teddy", status="dropped", reason="ann: no bear"),
        make(43, label="teddy", status="unusable", reason="LABEL_CONFLICT: two"),
        make(44, label="teddy", width=20),
    ]
    two = build({"classes": {"grizzly": ["g"], "polar": ["p"]}}, where="test")
    with Catalog(tmp_path) as catalog:
        with catalog.transaction():
            catalog.put_photos(rows)
        screen(catalog, CONFIG)
        before = catalog.photos()
        assert screen(catalog, two)["set_aside"] == {"teddy": 8}
        assert {p.label for p in catalog.photos("ok")} == {"grizzly"}
        (reason,) = {p.reason for p in catalog.photos() if p.reason.startswith("CLASS_REMOVED")}
        assert reason == (
            'CLASS_REMOVED: "teddy" is no class of this project; put it back into [classes] of the'
            " project file and this photo is used again"
        )
        assert screen(catalog, two)["unusable"] == {"LABEL_CONFLICT": 1, "TOO_SMALL": 1}
        assert screen(catalog, CONFIG)["set_aside"] == {}
        assert catalog.photos() == before


def test_a_photo_that_is_given_a_class_of_the_project_comes_back(
    tmp_path: Path, make: Make
) -> None:
    with Catalog(tmp_path) as catalog:
        with catalog.transaction():
            catalog.put_photos([make(1, label="polar")])
        screen(catalog, CONFIG)
        sha256 = catalog.photos("unusable")[0].sha256
        decide(catalog, CONFIG.labels, [Decision(sha256, "relabel", "grizzly")], "ann", "one")
        screen(catalog, CONFIG)
        assert [p.label for p in catalog.photos("ok")] == ["grizzly"]


def test_empty_catalog(tmp_path: Path) -> None:
    with Catalog(tmp_path) as catalog:
        empty = {"ok": 0, "unlabelled": 0, "unusable": {}, "set_aside": {}, "duplicate": 0}
        empty |= {"near_copies": 0, "groups": 0}
        assert screen(catalog, CONFIG) == empty

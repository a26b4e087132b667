"""Whole sources on one side: no source on two, shares near, nobody moves."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bear_classifier.collect.split import split
from bear_classifier.collect.split_by_source import assign_sources, by_source
from bear_classifier.config.project_file import build
from bear_classifier.config.settings import SplitConfig
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import SPLITS, Photo
from bear_classifier.dataset.sources import homes
from bear_classifier.errors import DataError

Make = Callable[..., Photo]


def some(make: Make, sizes: Sequence[int]) -> tuple[list[Photo], list[str]]:
    """Photos of two classes, and their sources; as many of each source as sizes says."""
    sources = [f"s{number}" for number, n in enumerate(sizes) for _ in range(n)]
    return [make(i, label="ab"[i % 2]) for i in range(len(sources))], sources


def sides_of(photos: Sequence[Photo], sources: Sequence[str], **settings: Any) -> dict[str, str]:
    found = by_source(photos, sources, SplitConfig(**settings))
    assert len(found) == len(photos)
    sides: dict[str, set[str]] = {}
    for source, side in zip(sources, found, strict=True):
        sides.setdefault(source, set()).add(side)
    assert all(len(of_source) == 1 for of_source in sides.values())
    return {source: min(of_source) for source, of_source in sides.items()}


def test_no_source_stands_on_two_sides_and_shares_are_near(make: Make) -> None:
    dice = np.random.default_rng(3)
    for seed in range(10):
        sizes = dice.integers(2, 20, 60).tolist()
        photos, sources = some(make, sizes)
        sides = sides_of(photos, sources, seed=seed)
        held = {s: sum(sizes[int(k[1:])] for k, v in sides.items() if v == s) for s in SPLITS}
        assert held["valid"] / sum(sizes) == pytest.approx(0.2, abs=0.02)
        assert held["test"] / sum(sizes) == pytest.approx(0.15, abs=0.02)


def test_three_sources_fill_three_sides(make: Make) -> None:
    for sizes in ([50, 50, 50], [90, 5, 5], [400, 390, 20]):
        photos, sources = some(make, sizes)
        assert set(sides_of(photos, sources).values()) == set(SPLITS)


def test_a_source_of_a_thousand_near_copies_empties_no_split(make: Make) -> None:
    """They are one picture for what can be learned and nearly so for what can be judged."""
    for seed in range(20):
        photos = [make(n, label="ab"[n // 120]) for n in range(240)]
        sources = [f"s{n // 10}" for n in range(240)]
        photos += [make(1000 + n, label="a", group="pan") for n in range(1000)]
        found = by_source(photos, [*sources, *["large"] * 1000], SplitConfig(seed=seed))
        assert set(found[240:]) == {"train"}
        for ours in (found[:120], found[120:240]):
            assert all(ours.count(side) >= 10 for side in SPLITS)


def test_every_class_has_photos_to_learn_from() -> None:
    """Sources of one class each: as many as there are may all be needed."""
    for n in (3, 4, 5, 7):
        sizes = np.zeros((n, 3))
        sizes[np.arange(n), np.arange(n) % 3] = 10 * np.arange(1, n + 1)
        sides = assign_sources(sizes, np.full(n, -1), [0.65, 0.2, 0.15], np.arange(float(n)))
        assert (sizes[sides == 0].sum(0) > 0).all()
    sizes = np.array([[50.0, 0], [9, 0], [8, 0], [0, 50], [0, 9], [0, 8]])
    sides = assign_sources(sizes, np.full(6, -1), [0.65, 0.2, 0.15], np.arange(6.0))
    assert sorted(sides[:3].tolist()) == sorted(sides[3:].tolist()) == [0, 1, 2]


def test_sources_that_are_all_needed_to_learn_from_are_too_few(make: Make) -> None:
    photos = [make(n, label="abc"[n // 20]) for n in range(60)]
    with pytest.raises(DataError) as caught:
        by_source(photos, [f"s{n // 20}" for n in range(60)], SplitConfig())
    assert str(caught.value) == (
        'TOO_FEW_SOURCES: split.by = "source" leaves valid and test empty: class "a" comes from 1'
        " source, and train needs photos of every class. Add photos of others, or set split.by ="
        ' "photo"'
    )


def test_too_few_sources_are_refused(make: Make) -> None:
    photos, sources = some(make, [50, 50])
    with pytest.raises(DataError, match=r"3 or more sources; there are 2") as caught:
        by_source(photos, sources, SplitConfig())
    assert caught.value.code == "TOO_FEW_SOURCES"


def test_every_class_is_dealt_by_its_share() -> None:
    """Sources of one class each: twelve of either, in turn larger and smaller."""
    sizes = np.zeros((24, 2))
    sizes[:12, 0], sizes[12:, 1] = 10, 30
    sides = assign_sources(sizes, np.full(24, -1), [0.5, 0.25, 0.25], np.arange(24.0))
    for label in (0, 1):
        photos = [sizes[sides == side, label].sum() for side in range(3)]
        assert photos == (np.array([0.5, 0.25, 0.25]) * sizes[:, label].sum()).tolist()


def test_a_seed_decides_between_equals(make: Make) -> None:
    photos, sources = some(make, [10] * 12)
    deals = [tuple(sides_of(photos, sources, seed=seed).values()) for seed in range(8)]
    assert len(set(deals)) > 4
    assert deals[0] == tuple(sides_of(photos, sources, seed=0).values())


def test_near_copies_stay_together_though_sources_share_them(make: Make) -> None:
    assert homes(["a", "b", "b", "b", "c"], ["x", "y", "x", "y", "z"]) == ["x", "y", "y", "y", "z"]
    photos, sources = some(make, [20, 20, 20, 20])
    shared = {0: 25, 21: 45, 41: 65, 61: 5}  # every source shows a picture of the next one
    for one, other in shared.items():
        photos[one] = dataclasses.replace(photos[one], group=photos[other].group)
    found = by_source(photos, sources, SplitConfig())
    assert all(found[one] == found[other] for one, other in shared.items())
    rest = [i for i in range(80) if i not in {*shared, *shared.values()}]
    by = {(sources[i], found[i]) for i in rest}
    assert len(by) == 4
    assert {side for _, side in by} == set(SPLITS)
    kept = [dataclasses.replace(p, split=s) for p, s in zip(photos, found, strict=True)]
    copies = [make(200 + i, label="a", group=photos[0].group) for i in range(5)]
    again = by_source([*kept, *copies], [*sources, *["s0"] * 5], SplitConfig())
    assert again == [*found, *[found[0]] * 5]


def test_a_photo_of_no_known_source_is_one_of_its_own() -> None:
    assert len(set(homes(["a", "b", "c", "c"], ["", "", "", ""]))) == 3


def test_nobody_moves_and_new_photos_join_their_source(make: Make) -> None:
    photos, sources = some(make, [30, 20, 10, 10, 5])
    before = sides_of(photos, sources)
    found = by_source(photos, sources, SplitConfig())
    kept = [dataclasses.replace(p, split=s) for p, s in zip(photos, found, strict=True)]
    new = [make(1000 + i, label="a") for i in range(90)]
    more = [f"s{i % 5}" if i < 50 else f"t{i % 4}" for i in range(90)]
    after = sides_of([*kept, *new], [*sources, *more], seed=9, valid=0.4)
    assert {s: after[s] for s in before} == before


def test_a_near_copy_joins_its_group_though_most_of_its_source_is_elsewhere(make: Make) -> None:
    """One picture, known of x on the test split; then y, which stands on train, shows it twice."""
    old = make(0, label="a", group="g", split="test")
    rest = [make(i, label="a", split="test" if i < 5 else "train") for i in range(1, 9)]
    others = [make(i, label="a") for i in range(9, 15)]
    copies = [make(i, label="a", group="g") for i in (20, 21)]
    photos, sources = [old, *rest, *others, *copies], ["x"] * 5 + ["y"] * 4 + ["z"] * 6 + ["y"] * 2
    assert homes([p.family for p in photos], sources)[-1] == "y"
    assert by_source(photos, sources, SplitConfig())[-2:] == ["test", "test"]


def test_a_dataset_dealt_by_photo_is_refused(make: Make) -> None:
    photos, sources = some(make, [20, 20, 20])
    for places in itertools.combinations(range(3), 2):
        half = list(photos)
        for place, side in zip(places, SPLITS, strict=False):
            half[place] = dataclasses.replace(half[place], split=side)
        with pytest.raises(DataError, match="are in the splits") as caught:
            by_source(half, sources, SplitConfig())
        assert caught.value.code == "DEALT_BY_PHOTO"


def test_the_stage_deals_by_the_table_of_sources(make: Make, tmp_path: Path) -> None:
    photos, sources = some(make, [30, 20, 10, 8, 8])
    lines = [f"{p.origin}\t{s}" for p, s in zip(photos, sources, strict=True)]
    (tmp_path / "sources.tsv").write_text("\n".join(["path\tsource", *lines]), encoding="utf-8")
    tables = {
        "classes": {"a": ["a"], "b": ["b"]},
        "split": {"by": "source", "sources": str(tmp_path / "sources.tsv")},
    }
    with Catalog(tmp_path / "data") as catalog:
        catalog.put_photos(photos)
        split(catalog, build(tables, "test"))
        stored = {photo.sha256: photo.split for photo in catalog.photos()}
    sides: dict[str, set[str | None]] = {}
    for photo, source in zip(photos, sources, strict=True):
        sides.setdefault(source, set()).add(stored[photo.sha256])
    assert all(len(of_source) == 1 for of_source in sides.values())
    assert set().union(*sides.values()) == set(SPLITS)

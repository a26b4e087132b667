"""Columns of all photos without an object for each."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bear_classifier.dataset import photo_columns as module
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.photo_columns import Hashes, PhotoColumns, photo_columns
from bear_classifier.dataset.schema import TAKEN_DOWN, Photo

Make = Callable[..., Photo]


@pytest.fixture
def catalog(tmp_path: Path, make: Make) -> Catalog:
    rows = [make(n, label=("black", "teddy", "grizzly")[n % 3], split=None) for n in range(11)]
    rows[4] = dataclasses.replace(rows[4], status="dropped", reason="blurred", split="test")
    rows[7] = dataclasses.replace(rows[7], status="dropped", reason=f"{TAKEN_DOWN}: on request")
    rows[9] = dataclasses.replace(rows[9], label="", status="unlabelled", group=None)
    found = Catalog(tmp_path)
    with found.transaction():
        found.put_photos(reversed(rows))
    return found


def as_rows(columns: PhotoColumns) -> list[tuple[object, ...]]:
    every = range(len(columns))
    return [
        (columns.hashes.at(n), columns.label.at(n), columns.split.at(n), columns.status.at(n),
         columns.format.at(n), columns.family[n].decode(), bool(columns.taken_down[n]))
        for n in every
    ]  # fmt: skip


def of_photos(catalog: Catalog) -> list[tuple[object, ...]]:
    return [
        (p.sha256, p.label, p.split or "", p.status, p.format, p.family,
         p.reason.startswith(TAKEN_DOWN))
        for p in catalog.photos()
    ]  # fmt: skip


@pytest.mark.parametrize("frozen", [False, True])
def test_the_columns_are_those_of_the_photos(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, frozen: bool
) -> None:
    monkeypatch.setattr(module, "_AT_ONCE", 4)
    if frozen:
        catalog.freeze()
    assert as_rows(photo_columns(catalog)) == of_photos(catalog)


def test_of_an_empty_catalog(tmp_path: Path) -> None:
    with Catalog(tmp_path) as empty:
        columns = photo_columns(empty)
    assert len(columns) == 0
    assert columns.hashes.find(["a" * 64]).tolist() == [-1]
    assert columns.label.at_rows(np.array([-1])).is_("black").tolist() == [False]


def test_changed_photos_are_as_they_are_now(catalog: Catalog) -> None:
    before = photo_columns(catalog)
    was = as_rows(before)
    photos = catalog.photos()
    some = [
        dataclasses.replace(photos[0], label="polar", split="valid"),
        dataclasses.replace(photos[7], status="ok", reason=""),
    ]
    with catalog.transaction():
        catalog.put_photos(some)
    assert as_rows(before.changed(some)) == of_photos(catalog)
    assert as_rows(before) == was  # others may still look at it


@pytest.mark.parametrize("names", [["b", "a", "c"], ["a", "b", "c"]])
def test_hashes_are_found_in_any_order(names: list[str]) -> None:
    whole = [64 * name for name in names]
    hashes = Hashes.of(whole)
    assert hashes.find([*whole, 64 * "d", "", 64 * "a" + "a", "é", 63 * "a" + "\0"]).tolist() == [
        *(0, 1, 2),
        *(-1, -1, -1, -1, -1),
    ]
    assert hashes.row(whole[1]) == 1 and hashes.row("no") is None
    keys = np.array([1.0, 1.0, 0.0])
    assert [hashes.at(n) for n in hashes.sorted_by(keys)] == [whole[2], *sorted(whole[:2])]


def test_words() -> None:
    column = module.Words(("x", "y"), np.array([0, 1, 0], dtype=np.int32))
    assert column.numbered(["y", "z"]).tolist() == [-1, 0, -1]
    assert column.is_("nothing").tolist() == [False] * 3
    other = column.changed([2, 0], ["z", "y"])
    assert [other.at(n) for n in range(3)] == ["y", "y", "z"]
    assert column.some(np.array([1, 0])) == ["y", "x"]

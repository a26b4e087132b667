"""csv:FILE: photos named in a table."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bear_classifier.collect.download import download
from bear_classifier.collect.search import search
from bear_classifier.collect.sources.local_files import Listing
from bear_classifier.collect.sources.photo_table import list_table
from bear_classifier.config.project_file import build
from bear_classifier.config.settings import Config
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import CONFLICT, GONE, OK
from bear_classifier.errors import DataError

LABELS = ["red", "green"]
Fill = Callable[[Path, dict[str, int | bytes]], None]


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


def table(root: Path, text: str, name: str = "labels.csv") -> Listing:
    root.mkdir(exist_ok=True)
    (root / name).write_text(text, encoding="utf-8")
    return list_table(root / name, LABELS)


def found(root: Path, listing: Listing) -> list[tuple[str, str, str]]:
    """Path, class and split of every candidate."""
    paths = ((str(Path(c.origin).relative_to(root)), c) for c in listing.candidates)
    return [(path, c.label, c.split) for path, c in paths]


def test_names_with_and_without_their_ending(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "pool/000.jpg",
        "pool/001.jpg",
        "pool/002.jpg",
        "other.jpg",
        "note.txt",
        ".bears-export.json",
    )
    text = 'id,taken_at,breed\n000,2020-01-01,red\n001.jpg,"May, 2020",Green\n7,,red\n002,,blue\n'
    listing = table(tmp_path, text)
    assert found(tmp_path, listing) == [("pool/000.jpg", "red", ""), ("pool/001.jpg", "green", "")]
    name = tmp_path / "labels.csv"
    assert listing.ignored == {
        f"{name}:4": "there is no file '7'",
        f"{name}:5": "'blue' is not a class of this project",
        str(tmp_path): "photos without a row in labels.csv: 1",
    }
    assert listing.unknown == ["blue"]
    assert {c.kind for c in listing.candidates} == {"csv"}


def test_a_name_that_fits_different_files_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "a/001.jpg", "b/001.jpg", "b/002.jpg")
    with pytest.raises(DataError, match="AMBIGUOUS_FILES") as caught:
        table(tmp_path, "id,breed\n001,red\n002,green\n")
    assert caught.value.rows == (
        f"{tmp_path}/labels.csv:2: '001' may be {tmp_path}/a/001.jpg and {tmp_path}/b/001.jpg",
    )


def test_copies_of_one_file_are_no_different_files(tmp_path: Path) -> None:
    touch(tmp_path, "a/001.jpg", "b/002.jpg")
    (tmp_path / "b/001.jpg").write_bytes((tmp_path / "a/001.jpg").read_bytes())
    listing = table(tmp_path, "id,breed\n001,red\n002,green\n")
    assert [path for path, _, _ in found(tmp_path, listing)] == ["a/001.jpg", "b/002.jpg"]


def test_names_of_other_classes_may_fit_several_files(tmp_path: Path) -> None:
    touch(tmp_path, "a/001.jpg", "b/001.jpg", "b/002.jpg")
    listing = table(tmp_path, "id,breed\n001,blue\n002,green\n")
    assert [path for path, _, _ in found(tmp_path, listing)] == ["b/002.jpg"]


def test_splits_of_rows_of_folders_and_of_the_table(tmp_path: Path) -> None:
    touch(tmp_path / "rows", "0.jpg", "1.jpg", "2.jpg")
    listing = table(tmp_path / "rows", "id,split,breed\n0,train,red\n1,val,red\n2,,green\n")
    assert [split for _, _, split in found(tmp_path / "rows", listing)] == ["train", "valid", ""]
    touch(tmp_path / "folders", "train/0.jpg", "test/1.jpg")
    listing = table(tmp_path / "folders", "id,breed\n0,red\n1,green\n")
    assert [split for _, _, split in found(tmp_path / "folders", listing)] == ["test", "train"]
    touch(tmp_path / "mixed", "train/0.jpg", "more/1.jpg")
    listing = table(tmp_path / "mixed", "id,breed\n0,red\n1,green\n")
    assert [split for _, _, split in found(tmp_path / "mixed", listing)] == ["", ""]
    touch(tmp_path / "table", "pool/0.jpg")
    listing = table(tmp_path / "table", "id,breed\n0,red\n", "val.csv")
    assert [split for _, _, split in found(tmp_path / "table", listing)] == ["valid"]


def test_a_file_in_two_rows(tmp_path: Path) -> None:
    touch(tmp_path, "0.jpg", "1.jpg", "2.jpg")
    listing = table(tmp_path, "id,breed\n0,red\n0,red\n1,red\n1.jpg,green\n2,red\n")
    assert [c.code for c in listing.candidates] == ["PENDING", CONFLICT, "PENDING"]
    assert "lists it under red and green; keep one" in listing.candidates[1].sentence


def test_datasets_and_models_of_this_program_are_not_looked_into(tmp_path: Path) -> None:
    touch(tmp_path, "pool/000.jpg", "data/c/catalog.sqlite", "data/c/photos/ab/000.jpg")
    touch(tmp_path, "models/c/bundle.json", "models/c/golden/000.jpg")
    listing = table(tmp_path, "id,breed\n000,red\n")
    assert [path for path, _, _ in found(tmp_path, listing)] == ["pool/000.jpg"]


def test_what_a_table_tells_of_a_photo(tmp_path: Path) -> None:
    touch(tmp_path, "0.jpg", "1.jpg")
    past = [{"action": "keep", "old": "red", "new": "red", "who": "ann", "at": "2026", "why": ""}]
    rows = [
        {"file_name": "0.jpg", "label": "red", "author": "Ann", "license": "CC BY 4.0",
         "source": "https://example.org/0.jpg", "file_sha256": "ab", "decisions": json.dumps(past)},
        {"file_name": "1.jpg", "label": "green", "author": "'=Bob", "source": "bears/1.jpg",
         "decisions": "to be done"},
    ]  # fmt: skip
    text = "\n".join(json.dumps(row) for row in rows)
    one, two = table(tmp_path, text, "metadata.jsonl").candidates
    assert (one.author, one.licence, one.expected) == ("Ann", "CC BY 4.0", "ab")
    assert (one.final_url, json.loads(one.decisions)) == ("https://example.org/0.jpg", past)
    assert (two.author, two.final_url, two.decisions) == ("=Bob", "", "")


def test_rows_that_are_left_out_are_counted_where_they_are_many(tmp_path: Path) -> None:
    touch(tmp_path, "0.jpg")
    listing = table(tmp_path, "id,breed\n0,red\n" + "0,blue\n" * 1500)
    assert len(listing.ignored) == 1001
    assert listing.ignored["..."] == "500 more rows like these"


def test_what_is_no_table_of_photos(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="NO_FILE: .*labels.csv is not a file; expected a table"):
        list_table(tmp_path / "labels.csv", LABELS)
    with pytest.raises(DataError, match="NO_FILE_COLUMN: there is no file below"):
        table(tmp_path, "id,breed\n0,red\n")
    touch(tmp_path, "0.jpg")
    with pytest.raises(DataError, match="NO_CLASS_COLUMN"):
        table(tmp_path, "id,breed\n0,blue\n")
    touch(tmp_path, "1.jpg")
    with pytest.raises(DataError, match=r"NO_PHOTOS: .* names no photo .*csv:2: has no class"):
        table(tmp_path, "id,breed\n0,\nx,red\n")


# from run to run


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog(tmp_path / "data") as made:
        yield made


def run(catalog: Catalog, path: Path, text: str) -> dict[str, object]:
    path.write_text(text, encoding="utf-8")
    settings: Config = build(
        {"name": "t", "classes": {k: [k] for k in LABELS}, "search": {"source": f"csv:{path}"}},
        "test",
    )
    out = search(catalog, settings)
    assert download(catalog, settings)["failed"] == {}
    return out


def state(catalog: Catalog) -> dict[str, tuple[str, str]]:
    return {Path(s.origin).name: (s.label, s.code) for s in catalog.sources()}


def test_a_class_that_changes_in_the_table(catalog: Catalog, tmp_path: Path, fill: Fill) -> None:
    path = tmp_path / "in" / "labels.csv"
    fill(tmp_path / "in", {"0.png": 1, "1.png": 2})
    run(catalog, path, "id,breed\n0,red\n1,green\n")
    again = run(catalog, path, "id,breed\n0,green\n1,green\n")
    assert (again["new"], again["gone"]) == (0, 0)
    assert state(catalog) == {"0.png": ("green", OK), "1.png": ("green", OK)}
    assert [photo.label for photo in catalog.photos()] == ["green", "green"]
    assert [(event.who, event.old, event.new) for event in catalog.events()] == [
        ("csv", "red", "green")
    ]


def test_a_row_that_leaves_and_one_that_is_doubled(
    catalog: Catalog, tmp_path: Path, fill: Fill
) -> None:
    path = tmp_path / "in" / "labels.csv"
    fill(tmp_path / "in", {"0.png": 1, "1.png": 2})
    run(catalog, path, "id,breed\n0,red\n1,green\n")
    out = run(catalog, path, "id,breed\n0,red\n0,green\n")
    assert (out["gone"], out["shared"]) == (1, 1)
    assert state(catalog) == {"0.png": ("red", OK), "1.png": ("green", GONE)}
    run(catalog, path, "id,breed\n0,red\n1,green\n")
    assert state(catalog) == {"0.png": ("red", OK), "1.png": ("green", OK)}


def test_a_file_that_was_named_twice_is_read_once_it_is_clear(
    catalog: Catalog, tmp_path: Path, fill: Fill
) -> None:
    path = tmp_path / "in" / "labels.csv"
    fill(tmp_path / "in", {"0.png": 1, "1.png": 2})
    run(catalog, path, "id,breed\n0,red\n0,green\n1,green\n")
    assert len(catalog.photos()) == 1
    run(catalog, path, "id,breed\n0,red\n1,green\n")
    assert state(catalog) == {"0.png": ("red", OK), "1.png": ("green", OK)}


def test_tables_of_one_folder_add_up(catalog: Catalog, tmp_path: Path, fill: Fill) -> None:
    fill(tmp_path / "in", {"0.png": 1, "1.png": 2})
    run(catalog, tmp_path / "in" / "train.csv", "id,breed\n0,red\n")
    assert run(catalog, tmp_path / "in" / "val.csv", "id,breed\n1,green\n")["gone"] == 0
    assert {s.split: s.code for s in catalog.sources()} == {"train": OK, "valid": OK}

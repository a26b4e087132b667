"""parquet:PATH: rows that hold photos, as Hugging Face and others publish them."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from corpus import drawn, saved

from bear_classifier.collect.download import download
from bear_classifier.collect.search import search
from bear_classifier.collect.sources.parquet_files import list_parquet, photo_of_row
from bear_classifier.config.project_file import build
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import Source
from bear_classifier.errors import ConfigError, DataError, PhotoError

pa = pytest.importorskip("pyarrow", reason='needs pip install "bear-classifier[parquet]"')
parquet = pytest.importorskip("pyarrow.parquet")
LABELS = ["red", "green"]
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def written(
    path: Path, photos: Sequence[bytes | None], group: int = 100, about: Any = None, **more: Any
) -> Path:
    """A file with a column `image` and others. about: Hugging Face's features."""
    images = [{"bytes": data, "path": f"in/{n}.png"} for n, data in enumerate(photos)]
    table = pa.table({"image": pa.array(images, IMAGE), **more})
    if about:
        said = json.dumps({"info": {"features": about}})
        table = table.replace_schema_metadata({"huggingface": said})
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table, path, row_group_size=group)
    return path


def found(path: Path) -> list[tuple[str, str, str]]:
    listed = list_parquet(path, LABELS).candidates
    return [(c.origin.removeprefix(f"{path}/"), c.label, c.split) for c in listed]


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        list_parquet(path, LABELS)
    return str(caught.value)


def test_classes_as_numbers_with_names(tmp_path: Path) -> None:
    about = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["green", "R"]}}
    path = written(tmp_path / "train-00000-of-00001.parquet", [b"0", b"1", b"2"], about=about,
                   label=[0, 1, None])  # fmt: skip
    assert found(path) == [("0/0.png", "green", "train")]
    listing = list_parquet(path, LABELS)
    assert listing.ignored == {
        f"{path}/1/1.png": "'R' is not a class of this project",
        f"{path}/2/2.png": "has no class, or several",
    }
    assert listing.unknown == ["R"]


def test_classes_as_words_and_what_is_told_of_each(tmp_path: Path) -> None:
    path = written(
        tmp_path / "a.parquet", [b"0", b"1"], breed=["Red", "green"], split=["val", "test"],
        author=["Ann", None], file_sha256=["ab", ""],
    )  # fmt: skip
    assert found(path) == [("0/0.png", "red", "valid"), ("1/1.png", "green", "test")]
    one, two = list_parquet(path, LABELS).candidates
    assert (one.author, one.expected, two.author) == ("Ann", "ab", "")


def test_photos_as_plain_bytes(tmp_path: Path) -> None:
    table = pa.table({"jpg": [b"0", b"1"], "cls": ["red", "green"]})
    parquet.write_table(table, tmp_path / "a.parquet")
    assert found(tmp_path / "a.parquet") == [("0", "red", ""), ("1", "green", "")]
    (one, two) = list_parquet(tmp_path / "a.parquet", LABELS).candidates
    assert (photo_of_row(one), photo_of_row(two)) == (b"0", b"1")


def test_a_folder_of_files(tmp_path: Path) -> None:
    written(tmp_path / "data" / "train-00000.parquet", [b"0"], label=["red"])
    written(tmp_path / "data" / "train-00001.parquet", [b"1"], label=["blue"])
    written(tmp_path / "default" / "validation" / "0000.parquet", [b"2"], label=["green"])
    assert found(tmp_path) == [
        ("data/train-00000.parquet/0/0.png", "red", "train"),
        ("default/validation/0000.parquet/0/0.png", "green", "valid"),
    ]


def test_names_in_rows_are_no_paths(tmp_path: Path) -> None:
    names = ["../../etc/passwd", "a\\b.png", "", "..", "x\n\0y.png", None]
    images = [{"bytes": b"0", "path": name} for name in names]
    table = pa.table({"image": pa.array(images, IMAGE), "label": ["red"] * len(names)})
    parquet.write_table(table, tmp_path / "a.parquet")
    assert [place for place, _, _ in found(tmp_path / "a.parquet")] == [
        "0/passwd", "1/b.png", "2", "3", "4/x__y.png", "5",
    ]  # fmt: skip


def test_which_column_holds_the_photos(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = pa.table({"mask": [b"0"], "image": [b"1"], "label": ["red"]})
    parquet.write_table(table, path)
    assert photo_of_row(list_parquet(path, LABELS).candidates[0]) == b"1"
    parquet.write_table(pa.table({"one": [b"0"], "two": [b"1"], "label": ["red"]}), path)
    assert refusal(path).startswith(f"AMBIGUOUS_COLUMNS: {path}: the columns 'one' and 'two'")
    parquet.write_table(pa.table({"file": ["a.jpg"], "label": ["red"]}), path)
    assert refusal(path).startswith(f"NO_PHOTO_COLUMN: {path}: no column holds photos")
    assert "csv:FILE" in refusal(path)


def test_what_is_no_dataset(tmp_path: Path) -> None:
    assert refusal(tmp_path).startswith(f"NO_FILE: {tmp_path} is no Parquet file")
    path = tmp_path / "a.parquet"
    assert refusal(path).startswith("NO_FILE")
    path.write_bytes(b"PAR1 and no more")
    assert refusal(path).startswith(f"BAD_TABLE: {path} cannot be read as Parquet")
    assert "NO_CLASS_COLUMN" in refusal(written(path, [b"0"], label=["rot"]))


def test_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r"NOT_INSTALLED: .*pip install .bear-classifier.parquet"):
        list_parquet(tmp_path, LABELS)


# reading


@pytest.mark.parametrize("group", [1, 7, 50, 1000])
@pytest.mark.parametrize("order", ["on", "back", "leaps"])
def test_rows_in_any_order(tmp_path: Path, group: int, order: str) -> None:
    photos = [b"%d" % n for n in range(150)]
    path = written(tmp_path / "a.parquet", photos, group, label=["red"] * 150)
    sources = list_parquet(path, LABELS).candidates
    numbers = {"on": range(150), "back": range(149, -1, -1), "leaps": [0, 149, 3, 90, 31, 32, 2]}
    for number in numbers[order]:
        assert photo_of_row(sources[number]) == photos[number]


def test_rows_that_cannot_be_read(tmp_path: Path) -> None:
    path = written(tmp_path / "a.parquet", [b"0", None, bytes(20_000_001)], label=["red"] * 3)
    good, empty, large = list_parquet(path, LABELS).candidates
    with pytest.raises(PhotoError, match="UNREADABLE: the row holds no photo"):
        photo_of_row(empty)
    with pytest.raises(PhotoError, match="TOO_LARGE"):
        photo_of_row(large)
    with pytest.raises(PhotoError, match="UNREADABLE: a.parquet cannot be read: it has 3 rows"):
        photo_of_row(Source(f"{path}/9", "red", "parquet", good.stamp))
    written(path, [b"1"], label=["red"])
    with pytest.raises(PhotoError, match="UNREADABLE: the file was changed since"):
        photo_of_row(good)


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog(tmp_path / "data") as made:
        yield made


def test_photos_are_stored_as_they_stand_in_the_rows(catalog: Catalog, tmp_path: Path) -> None:
    photos = [saved(drawn(seed=n), "PNG") for n in range(150)]
    written(tmp_path / "in" / "train-0.parquet", photos[:100], 30, label=["red", "green"] * 50)
    written(tmp_path / "in" / "test-0.parquet", photos[100:], 30, label=["red", "green"] * 25)
    names = {"name": "t", "classes": {label: [label] for label in LABELS}}
    settings = build({**names, "search": {"source": f"parquet:{tmp_path / 'in'}"}}, "test")
    search(catalog, settings)
    done = download(catalog, settings)
    assert (done["photos"], done["failed"]) == (150, {})
    assert {catalog.file(one).read_bytes() for one in catalog.photos()} == set(photos)
    again = search(catalog, settings)
    assert (again["new"], again["gone"]) == (0, 0)
    (tmp_path / "in" / "test-0.parquet").unlink()
    assert search(catalog, settings)["gone"] == 50


def test_files_with_changed_bytes(tmp_path: Path) -> None:
    photos = [b"%d" % n * 20 for n in range(20)]
    whole = written(tmp_path / "a.parquet", photos, 7, label=["red"] * 20).read_bytes()
    dice = random.Random(3)
    codes = set()
    for number in range(200):
        data = bytearray(whole)
        for _ in range(dice.choice([1, 2, 8])):
            data[dice.randrange(len(data))] = dice.choice([0, 1, 127, 255])
        path = tmp_path / f"{number}.parquet"
        path.write_bytes(data)
        try:
            for one in list_parquet(path, LABELS).candidates:
                photo_of_row(one)
        except (DataError, PhotoError) as exc:
            codes.add(exc.code)
    assert {"BAD_TABLE", "UNREADABLE"} <= codes

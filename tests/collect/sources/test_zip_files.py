"""zip:FILE: what is in an archive, and archives that are refused."""

from __future__ import annotations

import dataclasses
import random
import stat
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from corpus import drawn, saved

from bear_classifier.collect.download import download
from bear_classifier.collect.search import search
from bear_classifier.collect.sources import zip_tree
from bear_classifier.collect.sources.zip_files import list_zip, read_photo
from bear_classifier.config.project_file import build
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import GONE, OK
from bear_classifier.errors import DataError, PhotoError

LABELS = ["red", "green"]
RANDOM = random.Random(1).randbytes


def packed(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def found(path: Path) -> list[tuple[str, str, str]]:
    listed = list_zip(path, LABELS).candidates
    return [(c.origin.removeprefix(f"{path}/"), c.label, c.split) for c in listed]


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        list_zip(path, LABELS)
    return str(caught.value)


# what is in it


def test_class_folders(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip", {"red/0.jpg": b"0", "green/x/1.jpg": b"1", "note.txt": b""})
    assert found(path) == [("green/x/1.jpg", "green", ""), ("red/0.jpg", "red", "")]
    listing = list_zip(path, LABELS)
    assert listing.ignored == {f"{path}/note.txt": "not in a class folder"}
    assert [c.stamp for c in listing.candidates] == ["1-83dcefb7", "1-f4dbdf21"]


def test_splits_in_a_folder_that_holds_all(tmp_path: Path) -> None:
    files = {"ds/v2/train/red/0.jpg": b"0", "ds/v2/val/green/1.jpg": b"1"}
    assert found(packed(tmp_path / "a.zip", files)) == [
        ("ds/v2/train/red/0.jpg", "red", "train"),
        ("ds/v2/val/green/1.jpg", "green", "valid"),
    ]


def test_what_macos_packs_along(tmp_path: Path) -> None:
    junk = b"\0\5\26\7\0\2\0\0Mac OS X        " + bytes(80)
    files = {"ds/": b"", "ds/.DS_Store": b"\0", "__MACOSX/ds/._.DS_Store": junk}
    files |= {"ds/red/": b"", "ds/red/0.jpg": b"0", "__MACOSX/ds/red/._0.jpg": junk}
    files |= {"ds/red/._0.jpg": junk}
    listing = list_zip(packed(tmp_path / "a.zip", files), LABELS)
    assert [Path(c.origin).name for c in listing.candidates] == ["0.jpg"]
    assert listing.ignored == {}


def test_names_of_windows(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip", {"ds/red/0.jpg": b"0"})
    path.write_bytes(path.read_bytes().replace(b"ds/red/0.jpg", rb"ds\red\0.jpg"))
    assert found(path) == [("ds/red/0.jpg", "red", "")]


def test_a_table_beside_the_photos(tmp_path: Path) -> None:
    metadata = b"file_name,label,split,author\nx/0.jpg,red,train,Ann\nx/1.jpg,green,test,\n"
    files = {"x/0.jpg": b"0", "x/1.jpg": b"1"}
    path = packed(tmp_path / "a.zip", {**files, "metadata.csv": metadata})
    assert found(path) == [("x/0.jpg", "red", "train"), ("x/1.jpg", "green", "test")]
    assert [c.author for c in list_zip(path, LABELS).candidates] == ["Ann", ""]
    path = packed(tmp_path / "b.zip", {**files, "labels.csv": b"id,breed\n0,red\n1,green\n"})
    assert found(path) == [("x/0.jpg", "red", ""), ("x/1.jpg", "green", "")]


def test_what_holds_no_classes(tmp_path: Path) -> None:
    assert refusal(packed(tmp_path / "a.zip", {"rot/0.jpg": b"0"})).startswith("NO_CLASS_FOLDERS")
    assert refusal(packed(tmp_path / "b.zip", {})).startswith("NO_CLASS_FOLDERS")


# what is refused


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("../red/0.jpg", "leads out of the archive"),
        ("red/../../0.jpg", "leads out of the archive"),
        (r"red\..\..\0.jpg", "leads out of the archive"),
        ("/red/0.jpg", "has an absolute path"),
        (r"\red\0.jpg", "has an absolute path"),
        ("C:/red/0.jpg", "has an absolute path"),
        (f"{'d/' * 100}0.jpg", "lies 101 folders deep; the limit is 60"),
        (f"{'d/' * 20_000}0.jpg", "lies 20001 folders deep"),
    ],
)
def test_paths_that_lead_elsewhere(tmp_path: Path, name: str, words: str) -> None:
    path = packed(tmp_path / "a.zip", {"red/1.jpg": b"1", name: b"0"})
    assert refusal(path).startswith(f"ZIP_UNSAFE: {path}: the entry ")
    assert words in refusal(path)


@pytest.mark.parametrize(
    ("kind", "words"), [(stat.S_IFLNK, "is a link"), (stat.S_IFIFO, "is a device or a pipe")]
)
def test_links_and_devices(tmp_path: Path, kind: int, words: str) -> None:
    entry = zipfile.ZipInfo("red/0.jpg")
    entry.external_attr = (kind | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(entry, "/etc/passwd")
    assert f"ZIP_UNSAFE: {tmp_path}/a.zip: the entry 'red/0.jpg' {words}" in refusal(
        tmp_path / "a.zip"
    )


@pytest.mark.parametrize(
    "names", [["red/0.jpg", "red/0.jpg"], ["red/0.jpg", r"red\0.jpg"], ["red", "red/0.jpg"],
              ["red/0.jpg", "red"], ["red/0.jpg", "./red/0.jpg"]],
)  # fmt: skip
def test_names_that_are_there_twice(tmp_path: Path, names: list[str]) -> None:
    with warnings.catch_warnings(), zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        warnings.simplefilter("ignore")
        for number, name in enumerate(names):
            archive.writestr(name, str(number))
    assert refusal(tmp_path / "a.zip").startswith("ZIP_UNSAFE: ")
    assert "has two entries of the name 'red" in refusal(tmp_path / "a.zip")


def test_encrypted_archives(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip", {"red/0.jpg": b"0"})
    data = bytearray(path.read_bytes())
    data[6] |= 1  # the flags of the entry, there and in the list
    data[data.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(data)
    assert refusal(path) == (
        f"ZIP_ENCRYPTED: {path} is encrypted ('red/0.jpg'); pack it without a password"
    )


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_methods_of_compression(tmp_path: Path, method: int) -> None:
    path = packed(tmp_path / "a.zip", {"red/0.jpg": bytes(99)}, method)
    assert refusal(path).startswith(f"ZIP_METHOD: {path} is compressed by method {method}")


def test_bombs(tmp_path: Path) -> None:
    one = packed(tmp_path / "one.zip", {"red/0.jpg": bytes(60_000_000)})
    assert refusal(one).startswith(f"ZIP_BOMB: {one} of ")
    assert "'red/0.jpg' to 60,000,000" in refusal(one)
    many = packed(tmp_path / "many.zip", {f"red/{n}.jpg": bytes(15_000_000) for n in range(9)})
    assert "unpacks to 135,000,000" in refusal(many)
    assert "folder:PATH" in refusal(many)


def test_entries_that_share_their_bytes(tmp_path: Path) -> None:
    """As in a bomb in which a thousand names stand for one block of data."""
    path = packed(tmp_path / "a.zip", {"red/0.jpg": RANDOM(5000), "red/1.jpg": RANDOM(5000)})
    data = bytearray(path.read_bytes())
    second = data.rindex(b"PK\1\2")
    data[second + 42 : second + 46] = struct.pack("<L", 0)
    path.write_bytes(data)
    assert refusal(path).split(":")[0] in ("ZIP_BOMB", "ZIP_DAMAGED")  # newer Pythons see it, too
    entries = zipfile.ZipFile(packed(tmp_path / "b.zip", {"a": b"1", "b": b"2"})).infolist()
    entries[1].header_offset = entries[0].header_offset
    with pytest.raises(DataError, match=r"ZIP_BOMB: .*'a' and 'b' share their bytes"):
        zip_tree._refuse_hostile("b.zip", entries, 1000)


def test_too_many_entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zip_tree, "_ENTRIES", 3)
    path = packed(tmp_path / "a.zip", {f"red/{n}.jpg": b"0" for n in range(4)})
    assert refusal(path).startswith(f"ZIP_UNSAFE: {path} has 4 entries; the limit is 3")
    monkeypatch.setattr(zip_tree, "_LIST_BYTES", 100)
    path = packed(tmp_path / "b.zip", {f"red/{n}.jpg": b"0" for n in range(4)})
    assert "ZIP_DAMAGED" in refusal(path) and "list of entries is too long" in refusal(path)


@pytest.mark.parametrize("cut", [0, 10, -30])
def test_what_is_no_archive(tmp_path: Path, cut: int) -> None:
    path = packed(tmp_path / "a.zip", {"red/0.jpg": b"0"})
    path.write_bytes(path.read_bytes()[:cut])
    assert refusal(path).startswith(f"ZIP_DAMAGED: {path} cannot be read as a ZIP: ")
    assert refusal(tmp_path / "none.zip").startswith("NO_FILE: ")
    assert refusal(tmp_path).startswith(f"NO_FILE: {tmp_path} is no file")


# from run to run


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog(tmp_path / "data") as made:
        yield made


def take_in(catalog: Catalog, path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    names = {"name": "t", "classes": {label: [label] for label in LABELS}}
    settings = build({**names, "search": {"source": f"zip:{path}"}}, "test")
    return search(catalog, settings), download(catalog, settings)


def photo(number: int) -> bytes:
    return saved(drawn(seed=number), "PNG")


def test_photos_are_stored_as_they_lie_in_it(catalog: Catalog, tmp_path: Path) -> None:
    files = {f"train/{label}/{n}.png": photo(2 * n + k) for k, label in enumerate(LABELS)
             for n in range(40)}  # fmt: skip
    path = packed(tmp_path / "a.zip", files)
    first, done = take_in(catalog, path)
    assert (first["new"], done["photos"], done["failed"]) == (80, 80, {})
    stored = {catalog.file(one).read_bytes() for one in catalog.photos()}
    assert stored == set(files.values())
    again, done = take_in(catalog, path)
    assert (again["new"], done["fetched"]) == (0, 0)


def test_an_archive_that_is_packed_anew(catalog: Catalog, tmp_path: Path) -> None:
    """What did not change is not read again, whatever the time of the archive."""
    path = packed(tmp_path / "a.zip", {f"red/{n}.png": photo(n) for n in range(3)})
    take_in(catalog, path)
    packed(path, {"red/0.png": photo(0), "red/1.png": photo(9)}, zipfile.ZIP_STORED)
    first, done = take_in(catalog, path)
    assert (first["new"], first["gone"], done["fetched"]) == (1, 1, 1)
    assert [(Path(s.origin).name, s.code) for s in catalog.sources()] == [
        ("0.png", OK),
        ("1.png", OK),
        ("2.png", GONE),
    ]


def test_an_archive_that_is_gone(
    catalog: Catalog, tmp_path: Path, fill: Callable[..., None]
) -> None:
    """Its rows stay while it is there, whatever else is taken in."""
    path = packed(tmp_path / "a.zip", {"red/0.png": photo(0)})
    take_in(catalog, path)
    other = packed(tmp_path / "b.zip", {"green/0.png": photo(1)})
    assert take_in(catalog, other)[0]["gone"] == 0
    path.unlink()
    assert take_in(catalog, other)[0]["gone"] == 1


def test_photos_that_cannot_be_unpacked(catalog: Catalog, tmp_path: Path) -> None:
    """A row for each, as for files."""
    good = photo(0)
    path = packed(tmp_path / "a.zip", {"red/0.png": good, "red/1.png": RANDOM(20_000_001)},
                  zipfile.ZIP_STORED)  # fmt: skip
    data = bytearray(path.read_bytes())
    data[data.index(good) + len(good) // 2] ^= 1
    path.write_bytes(data)
    _, done = take_in(catalog, path)
    assert done["failed"] == {"DAMAGED": 1, "TOO_LARGE": 1}
    assert done["own_failed"] == 2


def test_an_entry_that_is_larger_than_the_archive_says(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip", {"red/0.png": bytes(10_000_000)})
    data = bytearray(path.read_bytes())
    place = data.index(b"PK\1\2") + 24
    data[place : place + 4] = struct.pack("<L", 500_000)
    path.write_bytes(data)
    (entry,) = zip_tree.open_zip(path).inside["red"].iterdir()
    with pytest.raises(PhotoError, match="DAMAGED: it cannot be unpacked: Bad CRC-32"):
        entry.photo()


def test_archives_with_changed_bytes(tmp_path: Path) -> None:
    """Whatever is changed in one, it is refused with a code, or its photos are, one by one."""
    files = {f"ds/train/{LABELS[n % 2]}/{n}.jpg": RANDOM(50) + bytes(99) for n in range(4)}
    whole = packed(tmp_path / "whole.zip", files).read_bytes()
    dice = random.Random(3)
    codes = set()
    for number in range(300):
        data = bytearray(whole)
        for _ in range(dice.choice([1, 2, 8])):
            data[dice.randrange(len(data))] = dice.choice([0, 1, 127, 255])
        path = tmp_path / f"{number}.zip"
        path.write_bytes(data)
        try:
            for one in list_zip(path, LABELS).candidates:
                read_photo(dataclasses.replace(one, listed_in=str(path)))
        except (DataError, PhotoError) as exc:
            codes.add(exc.code)
    assert {"ZIP_DAMAGED", "DAMAGED"} <= codes

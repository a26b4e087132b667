"""webdataset:PATH: tars of samples as its library writes them, and tars that are refused."""

from __future__ import annotations

import dataclasses
import io
import json
import random
import struct
import tarfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from corpus import drawn, saved

from bear_classifier.collect.download import download
from bear_classifier.collect.search import search
from bear_classifier.collect.sources import registry, tar_samples
from bear_classifier.collect.sources.web_dataset import list_web_dataset, photo_of_sample
from bear_classifier.config.project_file import build
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.errors import DataError, PhotoError

LABELS = ["red", "green"]
Files = Iterable[tuple[str, bytes]]


def entry(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.size, made.type = size, kind
    return made


def packed(path: Path, files: Files, format: int = tarfile.USTAR_FORMAT, mode: str = "w") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode, format=format) as tar:  # type: ignore[call-overload]
        for name, data in files:
            tar.addfile(entry(name, len(data)), io.BytesIO(data))
    return path


def found(path: Path) -> list[tuple[str, str, str]]:
    listed = list_web_dataset(path, LABELS).candidates
    return [(c.origin.removeprefix(f"{path}/"), c.label, c.split) for c in listed]


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        list_web_dataset(path, LABELS)
    return str(caught.value)


# what is in it


def test_classes_by_name(tmp_path: Path) -> None:
    path = packed(
        tmp_path / "train-000000.tar",
        [("a/000.jpg", b"0"), ("a/000.cls", b"red\n"), ("001.cls", b"Green"), ("001.JPG", b"1")],
    )
    assert found(path) == [("0/000.jpg", "red", "train"), ("1/001.jpg", "green", "train")]
    assert [photo_of_sample(one) for one in list_web_dataset(path, LABELS).candidates] == [
        b"0", b"1",
    ]  # fmt: skip


def test_classes_by_number(tmp_path: Path) -> None:
    files = [("0.png", b"0"), ("0.cls", b"1"), ("1.png", b"1"), ("1.cls", b"0"), ("2.png", b"2"),
             ("2.cls", b"7")]  # fmt: skip
    path = packed(tmp_path / "a.tar", files)
    assert refusal(path).startswith("NO_CLASS_COLUMN: ")
    assert "a file classes.txt beside the tars, a name a line" in refusal(path)
    (tmp_path / "classes.txt").write_text("green\nred\n", encoding="utf-8")
    assert found(path) == [("0/0.png", "red", ""), ("1/1.png", "green", "")]
    assert list(list_web_dataset(path, LABELS).ignored.values()) == ["has no class, or several"]


def test_rows_beside_the_photos(tmp_path: Path) -> None:
    """What they say is kept as from a table; the row has the last word on the class."""
    row = {"label": "red", "split": "val", "author": "Ann", "width": 640, "file_sha256": "ab"}
    path = packed(
        tmp_path / "a.tar",
        [("0.webp", b"0"), ("0.cls", b"green"), ("0.json", json.dumps(row).encode())],
    )
    (one,) = list_web_dataset(path, LABELS).candidates
    assert (one.label, one.split, one.author, one.expected) == ("red", "valid", "Ann", "ab")


def test_texts_beside_the_photos(tmp_path: Path) -> None:
    files = [("0.jpg", b"0"), ("0.txt", "\ufeffgreen\r\n".encode()), ("1.jpg", b""), ("1.txt", b"")]
    assert found(packed(tmp_path / "a.tar", files)) == [("0/0.jpg", "green", "")]


def test_a_folder_of_tars(tmp_path: Path) -> None:
    """As an export, or a dataset of the hub, lies there; tables beside are not read."""
    for name, label in (("train-000000", b"red"), ("test-000000", b"green")):
        packed(tmp_path / f"{name}.tar", [("x.jpg", name.encode()), ("x.cls", label)])
    packed(tmp_path / "validation" / "0.tar", [("x.jpg", b"v"), ("x.cls", b"red")])
    (tmp_path / "metadata.csv").write_text("file_name,label\n", encoding="utf-8")
    packed(tmp_path / "._train-000000.tar", [])
    assert found(tmp_path) == [
        ("test-000000.tar/0/x.jpg", "green", "test"),
        ("train-000000.tar/0/x.jpg", "red", "train"),
        ("validation/0.tar/0/x.jpg", "red", "valid"),
    ]
    assert registry.kind_of(tmp_path) == "webdataset"
    assert registry.kind_of(tmp_path / "train-000000.tar") == "webdataset"


def test_which_picture_is_the_photo(tmp_path: Path) -> None:
    files = [
        *[("0.jpg", b"0"), ("0.seg.png", b"s"), ("0.cls", b"red")],
        *[("1.left.jpg", b"l"), ("1.right.jpg", b"r"), ("1.cls", b"red")],
        *[("2.cls", b"red"), ("2.npy", b"n")],
        *[("3.image.png", b"3"), ("3.cls", b"red"), ("3.depth.tiff", b"d")],
    ]
    path = packed(tmp_path / "a.tar", files)
    assert [place for place, _, _ in found(path)] == ["0/0.jpg", "1/3.image.png"]
    listing = list_web_dataset(path, LABELS)
    assert listing.ignored[str(path)] == "samples without a photo, or with several: 2"
    assert listing.ignored[f"{path}/*.npy"] == "files that are not read: 1"
    assert [photo_of_sample(one) for one in listing.candidates] == [b"0", b"3"]


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_each_format_of_names(tmp_path: Path, format: int) -> None:
    long = f"{'d' * 90}/{'n' * 90 if format == tarfile.USTAR_FORMAT else 'Bär' * 60}"
    files = [("./0.jpg", b"0"), ("./0.cls", b"red"), (f"{long}.jpg", b"1"), (f"{long}.cls", b"red")]
    path = packed(tmp_path / "a.tar", files, format)
    listed = list_web_dataset(path, LABELS).candidates
    assert [photo_of_sample(one) for one in listed] == [b"0", b"1"]


def test_what_the_library_writes(tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset", reason="tar shards: pip install webdataset")
    with webdataset.ShardWriter(str(tmp_path / "train-%06d.tar"), maxcount=2, verbose=0) as out:
        for number in range(5):
            picture = drawn(seed=number)
            out.write({"__key__": f"{number:06}", "png": picture, "cls": number % 2,
                       "json": {"author": f"Ann {number}"}})  # fmt: skip
    (tmp_path / "classes.txt").write_text("red\ngreen\n", encoding="utf-8")
    listed = list_web_dataset(tmp_path, LABELS).candidates
    assert [one.label for one in listed] == ["red", "green", "red", "green", "red"]
    assert [one.author for one in listed] == [f"Ann {n}" for n in range(5)]
    assert {one.split for one in listed} == {"train"}
    assert all(photo_of_sample(one).startswith(b"\x89PNG") for one in listed)


# what is refused


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (entry("../0.jpg"), "leads out of the archive"),
        (entry("red/../../0.jpg"), "leads out of the archive"),
        (entry("/etc/0.jpg"), "has an absolute path"),
        (entry("C:/0.jpg"), "has an absolute path"),
        (entry(f"{'d/' * 70}0.jpg"), "lies 71 folders deep; the limit is 60"),
        (entry("0.jpg", kind=tarfile.SYMTYPE), "is a link"),
        (entry("0.jpg", kind=tarfile.LNKTYPE), "is a link"),
        (entry("0.jpg", kind=tarfile.FIFOTYPE), "is a device or a pipe"),
        (entry("0.jpg", kind=tarfile.CHRTYPE), "is a device or a pipe"),
        (entry("0.jpg", kind=tarfile.BLKTYPE), "is a device or a pipe"),
        (entry("x.cls"), "has two entries of the name 'x.cls'"),
        (entry("x.CLS"), "has two entries of the name 'x.cls'"),
    ],
)
def test_what_no_program_packs(tmp_path: Path, made: tarfile.TarInfo, words: str) -> None:
    path = packed(tmp_path / "a.tar", [("x.jpg", b"1"), ("x.cls", b"red")])
    with tarfile.open(path, "a") as tar:
        tar.addfile(made)
    assert refusal(path).startswith(f"TAR_UNSAFE: {path}")
    assert words in refusal(path)


def header(name: str, kind: bytes, size: bytes) -> bytes:
    """With a right checksum. size: 12 bytes."""
    fields = name.encode().ljust(100, b"\0") + b"0000644\0" * 3 + size + b"0" * 11 + b"\0"
    rest = (b" " * 8 + kind).ljust(109, b"\0") + b"ustar\x0000"
    block = bytearray((fields + rest).ljust(512, b"\0"))
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def octal(size: int) -> bytes:
    return b"%011o\0" % size


def negative(size: int) -> bytes:
    return b"\xff" * 4 + struct.pack(">q", -size)


FIRST = header("x.jpg", b"0", octal(0))


@pytest.mark.parametrize(
    "data",
    [
        FIRST + header("y.jpg", b"0", octal(8**11 - 1)),  # 8 GB that are not there
        FIRST + header("y.jpg", b"0", negative(512)),  # the next header would be this one
        FIRST + header("y.jpg", b"0", negative(1024)),  # or the first
        FIRST + header("y.jpg", b"x", octal(8**11 - 1)),  # 8 GB of a header
        FIRST + header("y.jpg", b"L", octal(1 << 20)) + bytes(1 << 20),
        FIRST + header("y.jpg", b"x", negative(512)),
        FIRST + header("y.jpg", b"L", octal(0)) * 5000,  # headers that stand for headers
        FIRST + b"no header".ljust(512, b"."),
        FIRST[:300],
        b"",
    ],
)
def test_headers_that_lie(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.tar").write_bytes(data)
    assert refusal(tmp_path / "a.tar").startswith(f"TAR_DAMAGED: {tmp_path}/a.tar cannot be read")


def test_a_name_that_fills_the_memory(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.tar", [(f"{'n' * 20_000}.jpg", b"1")], tarfile.GNU_FORMAT)
    assert refusal(path).startswith("TAR_DAMAGED: ") and "is too long" in refusal(path)


def test_sparse_files(tmp_path: Path) -> None:
    """A block of them stands for gigabytes of zeros, in each of the ways to say so."""
    old = bytearray(header("x.jpg", b"S", octal(0)))
    old[386:410] = octal(0) + octal(0)
    old[483:495] = octal(8**11 - 1)
    old[148:156] = b" " * 8
    old[148:156] = b"%06o\0 " % sum(old)
    (tmp_path / "a.tar").write_bytes(old + bytes(1024))
    assert "is sparse" in refusal(tmp_path / "a.tar")
    with tarfile.open(tmp_path / "b.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        made = entry("x.jpg", 512)
        made.pax_headers = {"GNU.sparse.size": "99999999999", "GNU.sparse.map": "0,1"}
        tar.addfile(made, io.BytesIO(bytes(512)))
    assert refusal(tmp_path / "b.tar").startswith("TAR_")


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_compressed_tars(tmp_path: Path, mode: str) -> None:
    path = packed(tmp_path / f"a.tar.{mode[2:]}", [("x.jpg", b"1"), ("x.cls", b"red")], mode=mode)
    assert refusal(path).startswith(f"TAR_COMPRESSED: {path} is compressed by ")
    assert refusal(tmp_path).startswith("TAR_COMPRESSED: ")


def test_too_many_entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar_samples, "_ENTRIES", 3)
    path = packed(tmp_path / "a.tar", [(f"{n}.jpg", b"0") for n in range(4)])
    assert refusal(path) == f"TAR_UNSAFE: {path} has more than 3 entries; make several"


def test_texts_that_cannot_be_read(tmp_path: Path) -> None:
    photo = ("0.jpg", b"0")
    bad = packed(tmp_path / "a.tar", [photo, ("0.cls", b"\xff")])
    assert refusal(bad).startswith(f"BAD_TABLE: {bad}/0.cls is no text: ")
    bad = packed(tmp_path / "b.tar", [photo, ("0.cls", b"red"), ("0.json", b"[")])
    assert refusal(bad).startswith(f"BAD_TABLE: {bad}/0.json is not JSON")
    bad = packed(tmp_path / "c.tar", [photo, ("0.txt", bytes((1 << 20) + 1))])
    assert refusal(bad).startswith(f"BAD_TABLE: {bad}/0.txt is no text: has 1,048,577 bytes")


def test_where_there_is_no_tar(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.tar").startswith("NO_FILE: ")
    assert refusal(tmp_path).startswith("NO_FILE: ")
    (tmp_path / "a.tar").mkdir()
    assert refusal(tmp_path).startswith("NO_FILE: ")


def test_tars_with_changed_bytes(tmp_path: Path) -> None:
    """Whatever is changed in one, it is refused with a code, or read."""
    files = [(f"{n}.{end}", data) for n in range(4) for end, data in
             (("jpg", bytes(99)), ("cls", b"red"), ("json", b'{"label": "red"}'))]  # fmt: skip
    whole = packed(tmp_path / "whole.tar", files, tarfile.PAX_FORMAT).read_bytes()
    dice = random.Random(4)
    codes = set()
    for number in range(200):
        data = bytearray(whole)
        for _ in range(dice.choice([1, 2, 8])):
            data[dice.randrange(len(data) // 2)] = dice.choice([0, 1, 48, 127, 255])
        path = tmp_path / f"{number}.tar"
        path.write_bytes(data)
        try:
            for one in list_web_dataset(path, LABELS).candidates:
                photo_of_sample(dataclasses.replace(one, listed_in=str(path)))
        except (DataError, PhotoError) as exc:
            codes.add(exc.code)
    assert "TAR_DAMAGED" in codes and codes <= {
        "TAR_DAMAGED", "TAR_UNSAFE", "BAD_TABLE", "NO_PHOTOS", "NO_CLASS_COLUMN",
    }  # fmt: skip


# from run to run


def test_photos_are_stored_as_they_lie_in_it(tmp_path: Path) -> None:
    photos = [saved(drawn(seed=n), "PNG") for n in range(6)]
    packed(tmp_path / "in" / "train-0.tar",
           [(f"{n}.{end}", data) for n, photo in enumerate(photos)
            for end, data in (("png", photo), ("cls", LABELS[n % 2].encode()))])  # fmt: skip
    names = {"name": "t", "classes": {label: [label] for label in LABELS}}
    config = build({**names, "search": {"source": f"webdataset:{tmp_path / 'in'}"}}, "test")
    with Catalog(tmp_path / "data") as catalog:
        assert search(catalog, config)["new"] == 6
        assert download(catalog, config)["photos"] == 6
        stored = [catalog.file(photo).read_bytes() for photo in catalog.photos()]
        assert sorted(stored) == sorted(photos)
        assert (search(catalog, config)["new"], download(catalog, config)["fetched"]) == (0, 0)


def test_a_tar_that_was_changed_since(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.tar", [("0.jpg", b"0"), ("0.cls", b"red")])
    (one,) = list_web_dataset(path, LABELS).candidates
    packed(path, [("0.jpg", b"another"), ("0.cls", b"red"), ("9.jpg", bytes(20_000))])
    with pytest.raises(PhotoError, match="UNREADABLE: the file was changed since"):
        photo_of_sample(one)

"""Export of a dataset: what is written, what is kept, what is refused, and going on."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from exporting import ODD, ODD_LABELS, SECRET, exported, odd_dataset, picture, put_photo
from waiting import until

from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.formats import export as module
from bear_classifier.dataset.formats import parts
from bear_classifier.dataset.formats.earlier_export import EXPORT_MARKER
from bear_classifier.dataset.formats.metadata import METADATA, MetadataRow, metadata_row, read_rows
from bear_classifier.dataset.formats.past_decisions import past_decisions
from bear_classifier.errors import BearsError
from bear_classifier.images import decoder

Child = Callable[..., "subprocess.Popen[str]"]
TOTAL = sum(sum(row.values()) for row in ODD.values())
FORMATS = ["folders", "imagefolder", "webdataset", "parquet"]


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with odd_dataset(tmp_path / "data" / "odd") as made:
        yield made


def table(place: Path) -> list[MetadataRow]:
    return list(read_rows(place / METADATA))


def photos_of(place: Path, format: str) -> dict[str, bytes]:
    """file_name -> content, of every photo of an export."""
    if format in ("folders", "imagefolder"):
        names = [row.file_name for row in table(place)]
        return {name: (place / name).read_bytes() for name in names}
    found = {}
    if format == "webdataset":
        import tarfile

        for shard in place.glob("*.tar"):
            with tarfile.open(shard) as tar:
                for member in tar.getmembers():
                    if member.name.endswith(".jpg"):
                        data = tar.extractfile(member).read()  # type: ignore[union-attr]
                        row = json.load(tar.extractfile(member.name[:-4] + ".json"))  # type: ignore[arg-type]
                        found[row["file_name"]] = data
        return found
    from pyarrow import parquet

    for shard in place.glob("*.parquet"):
        for row in parquet.read_table(shard).to_pylist():
            found[f"{shard.name}/{row['image']['path']}"] = row["image"]["bytes"]
    return found


def refusal(catalog: Catalog, out: Path, **choice: Any) -> BearsError:
    with pytest.raises(BearsError) as caught:
        exported(catalog, out, **choice)
    return caught.value


def everything(place: Path) -> dict[str, bytes | None]:
    paths = sorted(place.rglob("*"))
    return {str(p.relative_to(place)): p.read_bytes() if p.is_file() else None for p in paths}


# what is written


@pytest.mark.parametrize("format", FORMATS)
def test_every_photo_in_use_is_there_once_without_its_metadata(
    catalog: Catalog, tmp_path: Path, format: str
) -> None:
    if format == "parquet":
        pytest.importorskip("pyarrow", reason="Parquet: the extra [parquet]")
    done = exported(catalog, tmp_path / "out", format)
    assert done.files == TOTAL
    assert done.photos == {label: ODD[label] for label in ODD}
    assert done.missing == {"valid": ["polar"]}
    assert done.empty == ["zebra"]
    assert done.left_out == {"dropped": 1, "duplicate": 1, "unlabelled": 1}
    rows, photos = table(tmp_path / "out"), photos_of(tmp_path / "out", format)
    assert [row.file_name for row in rows] == list(dict.fromkeys(row.file_name for row in rows))
    assert photos.keys() == {row.file_name for row in rows}
    stored = {p.sha256: p for p in catalog.photos("ok")}
    past = past_decisions(catalog)
    for row in rows:
        photo, data = stored.pop(row.sha256), photos[row.file_name]
        assert (row.label, row.split, row.group) == (photo.label, photo.split, photo.family)
        assert (row.file_sha256, row.file_bytes) == (hashlib.sha256(data).hexdigest(), len(data))
        before = catalog.file(photo).read_bytes()
        assert (data == before) == (SECRET not in before)
        assert SECRET not in data and b"GPS" not in data
        shown = decoder.decode(data)
        assert shown.tobytes() == decoder.decode(before).tobytes()
        assert shown.size == decoder.decode(before).size
        assert row.decisions == past.get(photo.sha256, ())
    assert not stored
    assert done.stripped == sum(row.file_sha256 != row.sha256 for row in rows) > 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "out"]  # nothing is left beside


def test_what_is_known_of_a_photo_stands_in_the_table(catalog: Catalog, tmp_path: Path) -> None:
    exported(catalog, tmp_path / "out")
    rows = {row.source: row for row in table(tmp_path / "out")}
    row = rows["https://photos.example/5.png?size=1,2"]
    assert row.title == "Ein “Bär”,\nzwei Zeilen"
    assert (row.author, row.licence) == ("=Ann 5", "CC BY-NC-SA 2.0")
    assert row.page == "https://photos.example/page/5"  # without a password
    with (tmp_path / "out" / METADATA).open(encoding="utf-8", newline="") as file:
        authors = {line["author"] for line in csv.DictReader(file)}
    assert "'=Ann 5" in authors  # no formula
    decided = [row.decisions for row in rows.values() if row.decisions]
    assert sorted([d.action for d in one] for one in decided) == [["keep"], ["relabel", "relabel"]]


def test_a_class_that_the_project_gave_up_stays_behind(catalog: Catalog, tmp_path: Path) -> None:
    done = exported(catalog, tmp_path / "out", labels=["Bär & Co", "polar", "test station"])
    assert done.photos.keys() == {"Bär & Co", "polar", "test station"}
    assert done.left_out["of a class that the project gave up"] == sum(ODD["train"].values())


def test_keep_metadata(catalog: Catalog, tmp_path: Path) -> None:
    done = exported(catalog, tmp_path / "out", keep_metadata=True)
    assert done.stripped == 0
    for row in table(tmp_path / "out"):
        data = (tmp_path / "out" / row.file_name).read_bytes()
        assert hashlib.sha256(data).hexdigest() == row.sha256 == row.file_sha256


@pytest.mark.parametrize("format", FORMATS)
def test_the_same_export_is_the_same_files(catalog: Catalog, tmp_path: Path, format: str) -> None:
    if format == "parquet":
        pytest.importorskip("pyarrow", reason="Parquet: the extra [parquet]")
    exported(catalog, tmp_path / "one", format)
    exported(catalog, tmp_path / "two", format)
    assert everything(tmp_path / "one") == everything(tmp_path / "two")


def test_names_of_splits_and_folders(catalog: Catalog, tmp_path: Path) -> None:
    exported(catalog, tmp_path / "a")
    exported(catalog, tmp_path / "b", "imagefolder", valid="val")
    assert {p.name for p in (tmp_path / "a").iterdir() if p.is_dir()} == {"train", "valid", "test"}
    assert {p.name for p in (tmp_path / "b").iterdir() if p.is_dir()} == {"train", "val", "test"}
    assert {p.name for p in (tmp_path / "a" / "valid").iterdir()} == set(ODD)  # polar, empty, too
    assert {p.name for p in (tmp_path / "b" / "val").iterdir()} == {
        *("Bär & Co", "(test) station", "(train)", "metadata.jsonl"),
    }
    lines = (tmp_path / "b" / "val" / "metadata.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [metadata_row(json.loads(line)) for line in lines]
    assert {(r.label, r.file_name.partition("/")[0]) for r in rows} == {
        *{("Bär & Co", "Bär & Co"), ("test station", "(test) station"), ("train", "(train)")},
    }
    assert {row.split for row in rows} == {"valid"}
    assert rows == [
        dataclasses.replace(row, file_name=row.file_name.partition("/")[2])
        for row in table(tmp_path / "b")
        if row.split == "valid"
    ]


def test_shards_are_bounded(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = {p.sha256: p.bytes for p in catalog.photos("ok")}
    monkeypatch.setattr(parts, "SHARD_BYTES", 2 * max(sizes.values()))
    exported(catalog, tmp_path / "out", "webdataset")
    shards = sorted(p.name for p in (tmp_path / "out").glob("*.tar"))
    assert shards[:2] == ["test-000000.tar", "test-000001.tar"]
    held: dict[str, int] = {}
    for row in table(tmp_path / "out"):
        name = row.file_name.partition("/")[0]
        held[name] = held.get(name, 0) + sizes[row.sha256]
    assert sorted(held) == shards
    assert max(held.values()) <= 2 * max(sizes.values())
    assert (tmp_path / "out" / "classes.txt").read_text(encoding="utf-8").split("\n") == [
        *ODD_LABELS, "",
    ]  # fmt: skip


# licences


def test_a_licence_has_to_be_known_and_to_allow_it(catalog: Catalog, tmp_path: Path) -> None:
    total = exported(catalog, tmp_path / "any").files
    known: dict[str, set[str]] = {}
    for use in ("share", "commercial", "public"):
        done = exported(catalog, tmp_path / use, licence=use)
        known[use] = {row.licence for row in table(tmp_path / use)}
        assert done.files + done.unknown_licence + done.other_licence == total
        assert done.unknown_licence == 5
    assert known == {
        "share": {"CC BY 4.0", "CC BY-NC-SA 2.0", "CC0 1.0"},
        "commercial": {"CC BY 4.0", "CC0 1.0"},
        "public": {"CC0 1.0"},
    }


def test_no_photo_with_such_a_licence(tmp_path: Path) -> None:
    with Catalog(tmp_path / "data") as catalog:
        with catalog.transaction():
            put_photo(catalog, 1, "polar", "train", licence="public (search filter)")
            put_photo(catalog, 2, "polar", "train", licence="CC BY 4.0")
        error = refusal(catalog, tmp_path / "out", licence="public")
    assert error.code == "NO_PHOTOS"
    assert "of 1 no licence is known" in error.sentence
    assert error.sentence.endswith("run: bears attribution")
    assert not (tmp_path / "out").exists()


# links


@pytest.mark.skipif(os.name == "nt", reason="rights of POSIX")
def test_links_are_read_only_and_only_for_who_has_to_obey(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    done = exported(catalog, tmp_path / "out", link=True)
    rows = table(tmp_path / "out")
    assert done.linked == sum(row.file_sha256 == row.sha256 for row in rows) > 0
    for row in rows:
        path = tmp_path / "out" / row.file_name
        photo = catalog.photo(row.sha256)
        assert photo
        same = path.stat().st_ino == catalog.file(photo).stat().st_ino
        assert same == (row.file_sha256 == row.sha256)
        if same:
            assert path.stat().st_mode & 0o222 == 0
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert exported(catalog, tmp_path / "out", link=True).linked == 0
    assert {(tmp_path / "out" / row.file_name).stat().st_nlink for row in rows} == {1}


def test_without_links_an_edit_of_the_export_stays_there(catalog: Catalog, tmp_path: Path) -> None:
    exported(catalog, tmp_path / "out")
    for row in table(tmp_path / "out"):
        with (tmp_path / "out" / row.file_name).open("r+b") as file:
            file.write(b"edited")
    for photo in catalog.photos("ok"):
        data = catalog.file(photo).read_bytes()
        assert hashlib.sha256(data).hexdigest() == photo.sha256


def test_where_no_link_can_be_made_a_copy_is(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "geteuid", lambda: 1000, raising=False)
    monkeypatch.setattr(os, "link", refuse)
    assert exported(catalog, tmp_path / "out", link=True).linked == 0
    assert len(photos_of(tmp_path / "out", "folders")) == TOTAL


# what is there already


def test_a_newer_export_takes_the_place_of_the_older(catalog: Catalog, tmp_path: Path) -> None:
    exported(catalog, tmp_path / "out", "webdataset")
    (tmp_path / "out" / ".DS_Store").write_bytes(b"of the system")
    (tmp_path / "out" / "train.cache").write_bytes(b"of Ultralytics")
    exported(catalog, tmp_path / "out", "folders")
    assert not list((tmp_path / "out").glob("*.tar"))
    assert not (tmp_path / "out" / "train.cache").exists()
    shutil.copytree(tmp_path / "out", tmp_path / "copy")  # with other times
    exported(catalog, tmp_path / "copy", "folders")
    (tmp_path / "empty").mkdir()
    exported(catalog, tmp_path / "empty")
    assert len(table(tmp_path / "empty")) == TOTAL


@pytest.mark.parametrize(
    "change",
    ["other file", "other in folder", "edited photo", "same size", "edited table", "link", "marker",
     "no export", "a file"],
)  # fmt: skip
def test_what_somebody_made_is_never_replaced(
    catalog: Catalog, tmp_path: Path, change: str
) -> None:
    out = tmp_path / "out"
    if change == "no export":
        out.mkdir()
        (out / "holiday.jpg").write_bytes(b"mine")
    elif change == "a file":
        out.write_bytes(b"mine")
    else:
        exported(catalog, out)
        photo = out / table(out)[0].file_name
        later = (out / EXPORT_MARKER).stat().st_mtime_ns + 5_000_000_000
        if change == "other file":
            (out / "notes.txt").write_bytes(b"mine")
            os.utime(out / "notes.txt", (0, 0))  # as `cp -p` leaves it
        elif change == "other in folder":
            (photo.parent / "mine.png").write_bytes(picture(1)[1])
        elif change == "edited photo":
            photo.write_bytes(photo.read_bytes() + b"!")
        elif change == "same size":
            photo.write_bytes(photo.read_bytes()[:-1] + b"!")
            os.utime(photo, ns=(later, later))
        elif change == "edited table":
            (out / METADATA).write_bytes((out / METADATA).read_bytes().replace(b"polar", b"solar"))
        elif change == "link":
            (out / "more").symlink_to(tmp_path)
        elif change == "marker":
            (out / EXPORT_MARKER).write_bytes(b"{}")
    before = everything(out) if out.is_dir() else {"": out.read_bytes()}
    assert refusal(catalog, out).code == "FOREIGN_FOLDER"
    assert (everything(out) if out.is_dir() else {"": out.read_bytes()}) == before


def test_places_that_cannot_be(catalog: Catalog, tmp_path: Path) -> None:
    for place in (catalog.root, catalog.root / "out", catalog.root.parent, tmp_path):
        assert refusal(catalog, place).code == "BAD_PLACE"
    assert exported(catalog, catalog.root.parent / "out").files == TOTAL


def test_cut_off_after_the_renames(catalog: Catalog, tmp_path: Path) -> None:
    """The older export may still lie beside the newer one, or alone, under its other name."""
    exported(catalog, tmp_path / "out")
    shutil.copytree(tmp_path / "out", tmp_path / ".out.previous")
    exported(catalog, tmp_path / "out")
    (tmp_path / "out").rename(tmp_path / ".out.previous")
    exported(catalog, tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "out"]


# what cannot be exported


def test_no_photos_or_no_splits(tmp_path: Path) -> None:
    with Catalog(tmp_path / "data") as catalog:
        error = refusal(catalog, tmp_path / "out")
        assert error.code == "NO_PHOTOS"
        with catalog.transaction():
            put_photo(catalog, 1, "polar", "train")
            put_photo(catalog, 2, "polar", None)
        error = refusal(catalog, tmp_path / "out")
    assert error.code == "NOT_SPLIT"
    assert error.sentence == "1 photo has no split yet; run: bears run --until split"


@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_a_stored_photo_that_changed_is_not_exported(
    catalog: Catalog, tmp_path: Path, damage: str
) -> None:
    photo = catalog.photos("ok")[7]
    if damage == "gone":
        catalog.file(photo).unlink()
    else:
        catalog.file(photo).write_bytes(picture(55)[1])
    error = refusal(catalog, tmp_path / "out")
    assert error.code == "STORED_DAMAGED"
    assert photo.sha256 in error.sentence
    assert not (tmp_path / "out").exists()


def test_room_is_looked_at_before(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported(catalog, tmp_path / "out")
    before = everything(tmp_path / "out")
    needed = sum(p.bytes for p in catalog.photos("ok"))
    usage = shutil.disk_usage(tmp_path)._replace(free=needed)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    monkeypatch.setattr(module, "run_part", lambda *_: pytest.fail("it began"))
    error = refusal(catalog, tmp_path / "out", format="webdataset")
    assert error.code == "DISK_FULL"
    assert "GB are needed in" in error.sentence
    assert everything(tmp_path / "out") == before


def test_parquet_without_pyarrow_says_what_to_install(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    error = refusal(catalog, tmp_path / "out", format="parquet")
    assert error.code == "NOT_INSTALLED"
    assert 'pip install "bear-classifier[parquet]"' in error.sentence


# going on


@pytest.mark.parametrize("format", ["folders", "webdataset"])
def test_an_interrupted_export_goes_on(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str
) -> None:
    monkeypatch.setattr(parts, "_CHUNK", 4)
    monkeypatch.setattr(parts, "SHARD_BYTES", 40_000)
    exported(catalog, tmp_path / "whole", format)
    run_part, done = module.run_part, []

    def interrupted(part: parts.Part, *more: Any) -> Any:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(part.name)
        return run_part(part, *more)

    monkeypatch.setattr(module, "run_part", interrupted)
    with pytest.raises(KeyboardInterrupt):
        exported(catalog, tmp_path / "out", format)
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(module, "run_part", run_part)
    read, stored = parts.photo_content, []

    def photo_content(item: parts.ExportItem, keep_metadata: bool) -> bytes:
        stored.append(item.row.sha256)
        return read(item, keep_metadata)

    monkeypatch.setattr(parts, "photo_content", photo_content)
    assert exported(catalog, tmp_path / "out", format).files == TOTAL
    assert len(stored) == len(set(stored)) < TOTAL  # nothing is done twice
    assert everything(tmp_path / "out") == everything(tmp_path / "whole")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "out", "whole"]


def test_another_export_does_not_go_on_with_its_parts(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish = module._finish
    monkeypatch.setattr(module, "_finish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        exported(catalog, tmp_path / "out", keep_metadata=True)
    monkeypatch.setattr(module, "_finish", finish)
    exported(catalog, tmp_path / "out")
    assert not any(SECRET in data for data in photos_of(tmp_path / "out", "folders").values())


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, "tests")
from exporting import exported
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.formats import parts
parts._CHUNK = 1
print("ready", flush=True)
with Catalog(Path(sys.argv[1])) as catalog:
    exported(catalog, Path(sys.argv[2]))
print("done", flush=True)
"""


@pytest.mark.parametrize("round", range(12))
@pytest.mark.series
def test_kill_9_at_any_moment(catalog: Catalog, tmp_path: Path, child: Child, round: int) -> None:
    """The place holds a whole export or none, and the next run makes it whole."""
    out = tmp_path / "out"
    if round % 2:
        exported(catalog, out, "webdataset")
    process = child(KILLED, catalog.root, out)
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    notes = tmp_path / ".out.exporting" / "notes"
    if round < 10:
        until(lambda: len(list(notes.glob("*.json"))) >= 2 * round or process.poll() is not None)
        process.kill()
    process.wait()
    if (out / EXPORT_MARKER).is_file():
        format = json.loads((out / EXPORT_MARKER).read_bytes())["format"]
        assert len(photos_of(out, format)) == TOTAL
    else:
        assert not out.exists()
    assert exported(catalog, out).files == TOTAL
    assert len(photos_of(out, "folders")) == TOTAL
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "out"]

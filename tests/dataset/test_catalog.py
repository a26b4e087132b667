"""The dataset's memory: transactions, locks, and what is left after a crash or a full disk."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import random
import sqlite3
import subprocess
import time
import typing
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest
from waiting import STUCK

from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.decisions import drop, relabel, undo
from bear_classifier.dataset.schema import (
    GONE,
    OK,
    SCHEMA_VERSION,
    Event,
    Photo,
    Published,
    SearchPage,
    Source,
    StageRun,
    TakeDown,
    upgrades,
)
from bear_classifier.errors import DataError

AT = "2026-08-01T10:00:00+00:00"
ASKED = SearchPage("bing", "grizzly bear", 2, "size=Large", AT, OK, 35)
TAKE_DOWN = TakeDown("domain", "bears.example", AT, "take-down", "asked by mail")
PUBLISHED = Published("models/bears", 3, AT, {f"{1:064x}": "train", f"{2:064x}": "test"})
Child = Callable[..., "subprocess.Popen[str]"]
Make = Callable[..., Photo]

CHANGE_ALL = """
import dataclasses, os, resource, sys, time
from pathlib import Path
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import Source
from bear_classifier.errors import DataError
catalog, how = Catalog(Path(sys.argv[1])), sys.argv[2]
if how == "full":
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
catalog._db.execute("PRAGMA cache_size=-2000")  # or all of it would be written at the end
try:
    with catalog.transaction():
        catalog.put_photos(dataclasses.replace(p, label="teddy") for p in catalog.photos())
        catalog.put_sources(Source(f"{n:0100}", "teddy", "folder") for n in range(30_000))
        if how == "kill":
            print("in the middle", flush=True)
            time.sleep(60)
except DataError as exc:
    print(exc)
"""
HOLD = """
import sys, time
from pathlib import Path
from bear_classifier.dataset.catalog import Catalog
with Catalog(Path(sys.argv[1])) as catalog, catalog.lock("train"):
    print("held", flush=True)
    time.sleep(60)
"""


def write_late(root: Path) -> DataError:
    """What a writer hears for whom another one does not stop."""
    with Catalog(root) as catalog:
        blocker = sqlite3.connect(catalog.path, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        with pytest.raises(DataError) as caught, catalog.transaction():
            raise AssertionError("two writers at once")
        blocker.close()
    return caught.value


@pytest.fixture
def catalog(tmp_path: Path, make: Make) -> Iterator[Catalog]:
    """Two photos, and a row in every other table but that of events."""
    with Catalog(tmp_path / "data") as made:
        with made.transaction():
            made.put_photos([make(1), make(2, label="teddy", group=None)])
            made.put_sources(
                [Source("/photos/1.png", "grizzly", "folder", "9-9", OK, "", f"{1:064x}")]
            )
            made.put_search_page(ASKED)
            made.put_take_down(TAKE_DOWN)
            made.put_published(PUBLISHED)
        made.add_run(StageRun("search", "2026-08-01T10:00:00+00:00", 1.5, "abc", {"found": 2}))
        yield made


def rows(root: Path, table: str) -> list[tuple[object, ...]]:
    with contextlib.closing(sqlite3.connect(root / "catalog.sqlite")) as db:
        return db.execute(f"SELECT * FROM {table}").fetchall()


def everything(catalog: Catalog) -> tuple[object, ...]:
    events = rows(catalog.root, "event")
    return (*readable(catalog), events)


def readable(catalog: Catalog) -> tuple[object, ...]:
    searched = catalog.search_pages(), catalog.take_downs(), catalog.published()
    return catalog.photos(), catalog.sources(), catalog.last_run("search"), searched


# what it holds


def test_the_tables(catalog: Catalog) -> None:
    names = {row[1] for row in rows(catalog.root, "sqlite_schema WHERE type = 'table'")}
    ours = {"photo", "source", "event", "run", "search_page", "takedown", "published",
            "new_class"}  # fmt: skip
    assert names == {*ours, "sqlite_sequence"}  # SQLite's own


def test_rows_come_back_as_they_went_in(catalog: Catalog, make: Make) -> None:
    assert catalog.photos() == [make(1), make(2, label="teddy", group=None)]
    assert catalog.photo(f"{2:064x}") == make(2, label="teddy", group=None)
    assert catalog.photo(f"{3:064x}") is None
    assert catalog.last_run("search") == StageRun(
        "search", "2026-08-01T10:00:00+00:00", 1.5, "abc", {"found": 2}
    )
    assert catalog.last_run("split") is None


def test_searches_take_downs_and_bundles_come_back(catalog: Catalog) -> None:
    again = dataclasses.replace(ASKED, code="EMPTY", found=0)
    other = dataclasses.replace(ASKED, options="")
    with catalog.transaction():
        catalog.put_search_page(other)
        catalog.put_search_page(again)
        catalog.put_take_down(dataclasses.replace(TAKE_DOWN, why="asked twice"))
        catalog.put_published(dataclasses.replace(PUBLISHED, version=4))
    assert sorted(catalog.search_pages(), key=lambda a: a.options) == [other, again]
    assert catalog.take_downs() == [TAKE_DOWN]
    assert [b.version for b in catalog.published()] == [3, 4]
    assert catalog.published()[0] == PUBLISHED


def test_a_source_keeps_its_whole_trail(catalog: Catalog) -> None:
    """Every field another value, so that no two columns can be swapped."""
    kinds = typing.get_type_hints(Source)
    facts = {
        f.name: n if kinds[f.name] is int else f"{f.name}!"
        for n, f in enumerate(dataclasses.fields(Source))
    }
    source = Source(**facts | {"sha256": f"{1:064x}"})
    with catalog.transaction():
        catalog.put_sources([source])
    assert catalog.sources()[-1] == source


def test_a_drop_is_an_event(catalog: Catalog) -> None:
    photo = catalog.photos()[0]
    with catalog.transaction():
        drop(catalog, photo, "take-down", "domain bears.example")
    assert catalog.photo(photo.sha256) == dataclasses.replace(
        photo, status="dropped", reason="domain bears.example"
    )
    ((_, at, *event, before, after, _, _, _, _),) = rows(catalog.root, "event")
    assert json.loads(str(before)) == {"label": "grizzly", "status": "ok", "reason": ""}
    assert json.loads(str(after))["status"] == "dropped"
    assert event == ["take-down", "drop", photo.sha256, "ok", "dropped", "domain bears.example"]
    assert abs((datetime.now(timezone.utc) - datetime.fromisoformat(str(at))).seconds) < 60


@pytest.mark.parametrize("version", [1, 2])
def test_a_catalog_of_an_older_format_is_brought_up_to_date(
    tmp_path: Path, make: Make, version: int
) -> None:
    """As version 1 wrote it: 13 columns of photos, 7 of sources, 8 of events, four tables."""
    root = tmp_path / "old"
    root.mkdir()
    photo = dataclasses.astuple(make(1, label="teddy"))
    event = (AT, "ann", "relabel", f"{1:064x}", "grizzly", "teddy", "it has a seam")
    with contextlib.closing(sqlite3.connect(root / "catalog.sqlite")) as db, db:
        for statement in upgrades(0)[: len(upgrades(0)) - len(upgrades(version))]:
            db.execute(statement)
        db.execute(f"INSERT INTO photo VALUES ({', '.join('?' * 13)})", photo)
        old = ("/photos/1.png", "grizzly", "folder", "9-9", OK, "", f"{1:064x}")
        names = "origin, label, kind, stamp, code, sentence, sha256"
        db.execute(f"INSERT INTO source ({names}) VALUES (?, ?, ?, ?, ?, ?, ?)", old)
        db.execute("INSERT INTO event VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)", event)
        db.execute(f"PRAGMA user_version = {version}")
    with Catalog(root) as catalog:
        assert catalog.photos() == [make(1, label="teddy")]
        assert catalog.sources() == [Source(*old)]
        assert (catalog.search_pages(), catalog.take_downs(), catalog.published()) == ([], [], [])
        assert catalog.events() == [Event(1, *event)]
    with Catalog(root) as catalog:  # and once only
        undo(catalog, "bob")
        assert catalog.photos() == [make(1)]
    kinds = "sqlite_schema WHERE type = 'index' AND name LIKE 'event%' ORDER BY name"
    names = [row[1] for row in rows(root, kinds)]
    assert names == ["event_request", "event_sha256", "event_undoes"]


def test_an_event_keeps_every_field(catalog: Catalog) -> None:
    """Every field another value, so that no two columns can be swapped."""
    kept = Event(
        1, AT, "ann", "drop", f"{1:064x}", "old", "new", "why", "b", "a", 0.5, 7, None, "r"
    )
    with catalog.transaction():
        assert catalog.add_event(dataclasses.replace(kept, id=0)) == kept
        second = catalog.add_event(dataclasses.replace(kept, undoes=1))
    assert catalog.events() == [kept, second]
    assert (second.id, second.undoes, catalog.revision()) == (2, 1, 2)


def test_the_last_run_is_the_latest(catalog: Catalog) -> None:
    catalog.add_run(StageRun("search", "2026-08-02T10:00:00+00:00", 1.0, "def", {}))
    last = catalog.last_run("search")
    assert last is not None
    assert last.inputs == "def"


def test_photos_of_one_status(catalog: Catalog, make: Make) -> None:
    with catalog.transaction():
        catalog.put_photos([make(3, status="dropped"), make(4, status="unusable")])
    assert [p.sha256[-1] for p in catalog.photos("ok")] == ["1", "2"]
    assert catalog.photos("dropped") == [make(3, status="dropped")]


def test_order_of_photos_is_that_of_their_hashes(tmp_path: Path, make: Make) -> None:
    for order in ((3, 1, 2), (2, 3, 1)):
        with Catalog(tmp_path / str(order)) as catalog, catalog.transaction():
            catalog.put_photos(make(number) for number in order)
            assert catalog.photos() == [make(1), make(2), make(3)]


def test_sources_keep_the_order_in_which_they_were_found(catalog: Catalog) -> None:
    with catalog.transaction():
        catalog.put_sources([Source("/z", "teddy", "folder"), Source("/a", "teddy", "folder")])
        catalog.put_sources([Source("/z", "teddy", "folder", code=GONE)])
    assert [s.origin for s in catalog.sources()] == ["/photos/1.png", "/z", "/a"]
    assert [s.origin for s in catalog.sources(GONE)] == ["/z"]


def test_fingerprint_knows_label_side_group_and_use_but_not_origin(
    tmp_path: Path, make: Make
) -> None:
    def fingerprint(**facts: object) -> str:
        name = "-".join(f"{k}={v}" for k, v in facts.items()).replace("/", "") or "usual"
        with Catalog(tmp_path / name) as catalog:
            with catalog.transaction():
                catalog.put_photos([make(1, **facts), make(2)])
            return catalog.fingerprint()

    usual = fingerprint()
    assert fingerprint(origin="/elsewhere.png") == usual
    changes = ({"label": "teddy"}, {"split": "test"}, {"group": "x"}, {"status": "dropped"})
    changed = [fingerprint(**facts) for facts in changes]
    assert len({usual, *changed}) == 5
    assert fingerprint(label="", status="unlabelled") == fingerprint(status="dropped")


# labels and vocabularies


def test_relabel_is_an_event_and_a_label(catalog: Catalog, make: Make) -> None:
    before = datetime.now(timezone.utc).replace(microsecond=0)
    with catalog.transaction():
        relabel(catalog, make(1), "teddy", "ann", "it has a seam")
    assert catalog.photo(f"{1:064x}") == make(1, label="teddy")
    ((number, at, *event, _, _, _, _, _, _),) = rows(catalog.root, "event")
    assert number == 1
    assert before <= datetime.fromisoformat(str(at)) <= datetime.now(timezone.utc)
    assert event == ["ann", "relabel", f"{1:064x}", "grizzly", "teddy", "it has a seam"]


@pytest.mark.parametrize(
    "facts",
    [
        {"split": "testing"},
        {"status": "fine"},
        {"status": None},
        {"label": ""},  # a photo without a label is never in use
        {"label": "", "status": "duplicate"},
        {"status": "unlabelled"},
    ],
)
def test_closed_vocabularies(catalog: Catalog, make: Make, facts: dict[str, str]) -> None:
    before = everything(catalog)
    with pytest.raises(DataError, match="constraint failed"), catalog.transaction():
        catalog.put_photos([make(3), make(1, **facts)])
    assert everything(catalog) == before


def test_no_source_or_event_of_a_photo_that_is_not_there(catalog: Catalog) -> None:
    before = everything(catalog)
    with pytest.raises(DataError, match="FOREIGN KEY"), catalog.transaction():
        catalog.put_sources([Source("/x", "teddy", "folder", sha256=f"{9:064x}")])
    assert everything(catalog) == before


# all or nothing


@pytest.mark.parametrize("exception", [ValueError, KeyboardInterrupt])
def test_an_exception_takes_everything_back(
    catalog: Catalog, make: Make, exception: type[BaseException]
) -> None:
    before = everything(catalog)
    with pytest.raises(exception), catalog.transaction():
        catalog.put_photos([make(7), make(1, label="teddy")])
        catalog.put_sources([Source("/x", "teddy", "folder")])
        relabel(catalog, make(2), "grizzly", "ann", "why")
        raise exception
    assert everything(catalog) == before
    with catalog.transaction():  # and the next one works
        catalog.put_photos([make(7)])
    assert len(catalog.photos()) == 3


def test_kill_in_the_middle_of_a_large_transaction(catalog: Catalog, child: Child) -> None:
    before = everything(catalog)
    process = child(CHANGE_ALL, catalog.root, "kill")
    assert process.stdout is not None
    assert process.stdout.readline() == "in the middle\n"
    assert (catalog.root / "catalog.sqlite-wal").stat().st_size > 1_000_000  # much is written
    process.kill()
    process.wait()
    with Catalog(catalog.root) as again:
        assert everything(again) == before
        with again.transaction():
            again.put_sources([Source("/x", "teddy", "folder")])


def test_full_disk_keeps_the_old_state(catalog: Catalog, child: Child) -> None:
    before = everything(catalog)
    said, _ = child(CHANGE_ALL, catalog.root, "full").communicate(timeout=STUCK)
    full = f"DISK_FULL: no space left to write {catalog.path} (disk I/O error)"
    assert said == f"{full}; what was there before is kept; free some and run again\n"
    with Catalog(catalog.root) as again:
        assert everything(again) == before


# one writer at a time


def test_a_second_writer_waits(catalog: Catalog, make: Make) -> None:
    def put_soon(began: Future[None]) -> None:
        with Catalog(catalog.root) as other, other.transaction():
            began.set_result(None)
            time.sleep(0.3)
            other.put_photos([make(3)])

    began: Future[None] = Future()
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(put_soon, began)
        began.result(timeout=STUCK)
        with catalog.transaction():
            assert make(3) in catalog.photos()
            catalog.put_photos([make(4)])
        done.result()
    assert len(catalog.photos()) == 4


def test_a_reader_does_not_wait(catalog: Catalog, make: Make) -> None:
    with Catalog(catalog.root) as other, other.transaction():
        other.put_photos([make(3)])
        assert len(catalog.photos()) == 2


def test_lock_names_its_holder_and_ends_with_it(catalog: Catalog, child: Child) -> None:
    process = child(HOLD, catalog.root)
    assert process.stdout is not None
    earliest = datetime.now()
    assert process.stdout.readline() == "held\n"
    possible = [
        f"LOCKED: Another train (pid {process.pid}, since {when:%H:%M}) is running on "
        f"{catalog.root}; wait for it, or end it and start again"
        for when in (earliest, datetime.now())
    ]
    with pytest.raises(DataError) as caught, catalog.lock("split"):
        raise AssertionError("two holders at once")
    assert str(caught.value) in possible
    process.kill()
    process.wait()
    with catalog.lock("split"):
        pass


def test_lock_is_free_after_work_that_failed(catalog: Catalog) -> None:
    with pytest.raises(ValueError, match="x"), catalog.lock("split"):
        raise ValueError("x")
    with catalog.lock("split"), pytest.raises(DataError, match="Another split"), catalog.lock("x"):
        raise AssertionError("two holders at once")


def test_lock_with_an_unreadable_note(catalog: Catalog) -> None:
    with catalog.lock("split"):
        (catalog.root / "lock.json").write_text("{", encoding="utf-8")
        with pytest.raises(DataError, match="Another program is running on"), catalog.lock("x"):
            raise AssertionError("two holders at once")


@pytest.mark.parametrize(
    "note", ["{}", "[]", "null", '"x"', "7", '{"work": 1}', '{"work": "a\\u001b[31m\\nb"}', "\xff"]
)
def test_a_note_of_another_form(catalog: Catalog, note: str) -> None:
    with catalog.lock("split"):
        (catalog.root / "lock.json").write_text(note, encoding="latin-1")
        with pytest.raises(DataError, match="^LOCKED: Another ") as caught, catalog.lock("x"):
            raise AssertionError("two holders at once")
        assert caught.value.sentence.isprintable()


@pytest.mark.parametrize("odd", ["folder", "link", "link to nothing"])
def test_odd_things_in_the_place_of_a_lock(catalog: Catalog, tmp_path: Path, odd: str) -> None:
    path, other = catalog.root / "lock", tmp_path / "other.txt"
    path.unlink(missing_ok=True)
    if odd == "folder":
        path.mkdir()
    else:
        path.symlink_to(other)
    if odd == "link":
        other.write_text("precious", encoding="utf-8")
    with (
        pytest.raises(DataError, match=r"^CANNOT_WRITE: .*lock is a (folder|link), where"),
        catalog.lock("x"),
    ):
        raise AssertionError("it was held")
    assert other.exists() == (odd == "link")
    assert odd != "link" or other.read_text(encoding="utf-8") == "precious"


# damage


@pytest.fixture
def closed(catalog: Catalog) -> Path:
    """The file of a catalog that nobody uses, everything in it."""
    (catalog.root / "photos").mkdir()
    with catalog.transaction():
        relabel(catalog, catalog.photos()[0], "teddy", "ann", "it has a seam")
    catalog.close()
    assert not (catalog.root / "catalog.sqlite-wal").exists()
    return catalog.path


def test_damaged_header_is_said_in_a_sentence(closed: Path) -> None:
    closed.write_bytes(b"\0" * 100 + closed.read_bytes()[100:])
    with pytest.raises(DataError) as caught:
        Catalog(closed.parent)
    advice = "restore it from a copy, or move it away and run again: photos are kept, decisions in"
    damaged = f"CATALOG_DAMAGED: {closed} is damaged (file is not a database)"
    assert str(caught.value) == f"{damaged}; {advice} it are lost"


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.5, 0.99])
def test_truncated_file_is_refused(closed: Path, keep: float) -> None:
    data = closed.read_bytes()
    closed.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(DataError, match=r"^CATALOG_DAMAGED: [^\n]* restore it from a copy"):
        Catalog(closed.parent)


def test_advice_for_a_damaged_file_works(closed: Path) -> None:
    closed.rename(closed.with_suffix(".old"))
    with Catalog(closed.parent) as fresh:
        assert fresh.photos() == []


def test_pages_of_noise_are_noticed(closed: Path) -> None:
    data, dice = closed.read_bytes(), random.Random(1)
    for start in range(4096, len(data), 4096):
        closed.write_bytes(data[:start] + dice.randbytes(4096) + data[start + 4096 :])
        with pytest.raises(DataError, match=r"^CATALOG_DAMAGED: "):
            Catalog(closed.parent)


def test_any_flipped_byte_gives_data_or_a_sentence(closed: Path) -> None:
    """SQLite has no checksums: a changed letter in a label cannot be noticed. A crash would be."""
    data, dice = closed.read_bytes(), random.Random(2)
    used = [at for at, byte in enumerate(data) if byte]
    codes = dict.fromkeys(("CATALOG_DAMAGED", "CATALOG_VERSION", "OK"), 0)
    for at in [*range(16, 100), *dice.sample(used, 300)]:
        flipped = bytearray(data)
        flipped[at] ^= 1 << dice.randrange(8)
        closed.write_bytes(flipped)
        try:
            with Catalog(closed.parent) as catalog:
                readable(catalog)
                catalog.fingerprint()
            codes["OK"] += 1
        except DataError as exc:
            codes[exc.code] += 1
    assert codes["CATALOG_DAMAGED"] > 50


def test_newer_version_is_refused_and_left_alone(closed: Path) -> None:
    with contextlib.closing(sqlite3.connect(closed)) as db:
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    before = closed.read_bytes()
    with pytest.raises(DataError) as caught:
        Catalog(closed.parent)
    newer = f"CATALOG_VERSION: {closed} has format {SCHEMA_VERSION + 1}"
    reads = f"this program reads formats up to {SCHEMA_VERSION}"
    update = "update it: pip install --upgrade bear-classifier"
    assert str(caught.value) == f"{newer}; {reads}; {update}"
    assert closed.read_bytes() == before


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"")
    with pytest.raises(DataError, match=r"^CATALOG_UNUSABLE: .*data cannot be used: "):
        Catalog(tmp_path / "data")


@pytest.mark.long  # ten seconds
def test_a_second_writer_gives_up_with_a_sentence(tmp_path: Path) -> None:
    said = write_late(tmp_path)
    assert said.code == "CATALOG_BUSY"
    assert said.sentence.endswith("catalog.sqlite is being written by another program; try again")


def test_a_photo_without_a_group_is_one_of_its_own(make):
    assert make(3, group=None).family == make(3).sha256
    assert make(3, group="of others").family == "of others"


def test_a_copy_for_workers_is_of_the_moment_of_the_model(tmp_path: Path, make: Make) -> None:
    """It is read without the catalog, nobody can write to it, and it is removed in the end."""
    with Catalog(tmp_path) as catalog:
        with catalog.transaction():
            catalog.put_photos([make(1, label="grizzly"), make(2, label="grizzly")])
        catalog.freeze()
        with Catalog(tmp_path) as other, other.transaction():
            relabel(other, other.photos()[0], "teddy", "somebody", "")
        before = sorted(path.name for path in tmp_path.iterdir())
        with catalog.copied() as copy, Catalog(tmp_path, copy=copy) as read:
            read.freeze()
            assert read.photos() == catalog.photos()
            assert (read.revision(), read.events()) == (0, [])
            assert read.file(read.photos()[0]) == catalog.file(catalog.photos()[0])
            with pytest.raises(DataError), read.transaction():
                read.put_sources([Source("x", "teddy", "folder")])
        assert sorted(path.name for path in tmp_path.iterdir()) == before
    with Catalog(tmp_path) as now, now.copied() as copy, Catalog(tmp_path, copy=copy) as read:
        assert [photo.label for photo in read.photos()] == ["teddy", "grizzly"]
        assert len(read.events()) == 1


def test_many_changes_write_each_page_of_a_large_catalog_once(tmp_path: Path, make: Make) -> None:
    """The rows lie in the order in which they came, the changes are in that of the hashes."""
    rows = [make(n, origin=f"/photos/{n}{'x' * 300}.png") for n in range(6000)]
    order = np.random.default_rng(0).permutation(len(rows)).tolist()
    changed = {row.sha256: dataclasses.replace(row, group="a") for row in rows}
    with Catalog(tmp_path) as catalog:
        with catalog.transaction():
            catalog.put_photos(rows[n] for n in order)
        catalog._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        size, log = catalog.path.stat().st_size, tmp_path / "catalog.sqlite-wal"
        with catalog.transaction():
            catalog.change_photos(changed, lambda wanted, now: wanted)
        assert size / 2 < log.stat().st_size < 1.5 * size
        assert {photo.group for photo in catalog.photos()} == {"a"}


def test_what_is_stored_meanwhile_is_merged_into_a_change(catalog: Catalog, make: Make) -> None:
    with catalog.transaction():
        catalog.put_photos([make(1), make(2, label="teddy"), make(3)])
        wanted = {make(n).sha256: make(n, split="valid") for n in (1, 2)}
        catalog.change_photos(wanted, lambda to, now: dataclasses.replace(to, label=now.label))
    assert [(p.label, p.split) for p in catalog.photos()] == [
        *(("grizzly", "valid"), ("teddy", "valid"), ("grizzly", None)),
    ]

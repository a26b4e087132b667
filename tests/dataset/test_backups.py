"""Copies of the catalog: when they are made, that they are whole, and how one is put back."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import random
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from deciding import LABELS, on, run
from waiting import STUCK

from bear_classifier.cli import main
from bear_classifier.config import project_file
from bear_classifier.dataset import backups
from bear_classifier.dataset.backups import NoCopy, made, restore
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.decisions import history
from bear_classifier.dataset.lock import hold
from bear_classifier.dataset.schema import NewClass, Photo, Source, TakeDown
from bear_classifier.errors import DataError
from bear_classifier.runtime.terminal import minute

NINE = datetime(2026, 11, 21, 9, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)
LATE = TakeDown("domain", "bears.example", "2026-11-21T09:30:00+00:00", "ann", "asked by mail")
Child = Callable[..., "subprocess.Popen[str]"]
Make = Callable[..., Photo]


@pytest.fixture
def catalog(tmp_path: Path, make: Make) -> Iterator[Catalog]:
    """Four photos and a decision."""
    with Catalog(tmp_path / "data" / "bears") as opened:
        (opened.root / "photos").mkdir()
        with opened.transaction():
            opened.put_photos(make(number) for number in range(1, 5))
            opened.put_sources(Source(f"{n:0100}", "teddy", "folder") for n in range(100))
        run(opened, on(1, "relabel", "teddy"))
        yield opened


def test_a_class_made_in_the_review_page_is_copied(catalog: Catalog) -> None:
    """Its column `after` is a number; that of an event is JSON."""
    with catalog.transaction():
        catalog.put_new_class(NewClass(0, LATE.at, "ann", "polar", "r1", catalog.revision()))
    assert catalog.keep_copy(NINE)


@pytest.fixture
def root(catalog: Catalog) -> Path:
    """Copied at nine; after that a relabel, a drop and a take-down. Nobody has it open."""
    assert catalog.keep_copy(NINE)
    run(catalog, on(2, "relabel", "teddy"))
    run(catalog, on(3, "drop", why="blurred"))
    with catalog.transaction():
        catalog.put_take_down(LATE)
    catalog.close()
    return catalog.root


def everything(root: Path) -> tuple[object, ...]:
    with Catalog(root) as catalog:
        return catalog.photos(), catalog.sources(), history(catalog), catalog.take_downs()


def names(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "copies").iterdir())


def as_dataset(copy: Path, root: Path) -> Path:
    """A dataset whose catalog is this copy."""
    root.mkdir()
    (root / "catalog.sqlite").write_bytes(copy.read_bytes())
    return root


def spoil(root: Path, start: int = 0, stop: int = 100) -> bytes:
    """Noise over these bytes of the catalog, by default its header."""
    place = root / "catalog.sqlite"
    data = place.read_bytes()
    noise = random.Random(3).randbytes(stop - start)
    place.write_bytes(data[:start] + noise + data[stop:])
    return place.read_bytes()


def sql(path: Path, statement: str) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        return db.execute(statement).fetchall()


# making


def test_a_copy_is_made_when_work_begins_and_holds_all(catalog: Catalog, tmp_path: Path) -> None:
    assert made(catalog.root) == []
    with catalog.lock("train"):
        (copy,) = made(catalog.root)
        run(catalog, on(2, "drop"))
    assert names(catalog.root) == [copy.name]  # and no half of one
    when = datetime.strptime(copy.name, "catalog-%Y%m%d-%H%M%S-0001.sqlite")
    age = datetime.now(timezone.utc) - when.replace(tzinfo=timezone.utc)
    assert abs(age) < timedelta(minutes=1)
    photos, sources, events, away = everything(as_dataset(copy, tmp_path / "other"))
    run(catalog, on(2, "restore"))
    assert (photos, sources, away) == (catalog.photos(), catalog.sources(), [])
    assert events == history(catalog)[:1]


def test_an_empty_catalog_is_not_worth_a_copy(tmp_path: Path) -> None:
    with Catalog(tmp_path) as catalog:
        assert catalog.keep_copy(NINE) is None
    assert not (tmp_path / "copies").exists()


def test_at_most_one_an_hour(catalog: Catalog) -> None:
    assert catalog.keep_copy(NINE) == catalog.root / "copies/catalog-20261121-090000-0001.sqlite"
    run(catalog, on(2, "drop"))
    assert catalog.keep_copy(NINE + HOUR - timedelta(seconds=1)) is None
    with Catalog(catalog.root) as other:  # which has to look at the folder
        assert other.keep_copy(NINE + HOUR - timedelta(seconds=1)) is None
    assert len(made(catalog.root)) == 1
    assert catalog.keep_copy(NINE + HOUR)
    assert len(made(catalog.root)) == 2


def test_a_clock_that_ran_ahead_costs_no_copy(catalog: Catalog) -> None:
    """Copies are ranked by a number: what was made later is newer, whatever the clock said."""
    ahead = catalog.keep_copy(NINE + 24 * 365 * HOUR)
    for hour in range(4):
        with Catalog(catalog.root) as later:
            run(later, on(2, "restore" if hour % 2 else "drop"))
            kept = later.keep_copy(NINE + hour * HOUR)
            assert kept is not None and made(catalog.root)[0] == kept
    assert ahead not in made(catalog.root) and len(made(catalog.root)) == 3


def test_copies_of_an_earlier_version_are_the_oldest(catalog: Catalog) -> None:
    old = catalog.root / "copies" / "catalog-20301121-090000.sqlite"
    old.parent.mkdir()
    old.write_bytes(b"of a version that ranked them by time")
    new = catalog.keep_copy(NINE)
    assert made(catalog.root) == [new, old]


def test_another_zone_is_the_same_time(catalog: Catalog) -> None:
    there = NINE.astimezone(timezone(timedelta(hours=-8)))
    copy = catalog.keep_copy(there)
    assert copy
    assert copy.name == "catalog-20261121-090000-0001.sqlite"


def test_nothing_is_copied_while_nothing_changes(catalog: Catalog) -> None:
    assert catalog.keep_copy(NINE)
    assert catalog.keep_copy(NINE + 2 * HOUR) is None
    catalog.close()
    with Catalog(catalog.root) as again:
        assert again.keep_copy(NINE + 4 * HOUR) is None
        assert names(catalog.root) == ["catalog-20261121-090000-0001.sqlite"]
        run(again, on(2, "keep"))
        assert again.keep_copy(NINE + 6 * HOUR)


def test_a_look_that_is_not_due_costs_nothing(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog.keep_copy(NINE)
    catalog.keep_copy(NINE + HOUR)  # nothing has changed, which took a copy to know
    monkeypatch.setattr(backups, "back_up", lambda *_: pytest.fail("looked again"))
    assert catalog.keep_copy(NINE + HOUR + timedelta(minutes=59)) is None


def test_the_newest_three_stay(catalog: Catalog) -> None:
    for hours in range(5):
        run(catalog, on(2, "keep"))
        assert catalog.keep_copy(NINE + hours * HOUR)
    times = [backups.backup_time(c) for c in made(catalog.root)]
    assert times == [f"2026-11-21 {hour}:00 UTC" for hour in (13, 12, 11)]


def test_no_copy_of_half_a_transaction(catalog: Catalog) -> None:
    with pytest.raises(RuntimeError, match="transaction"), catalog.transaction():
        catalog.keep_copy(NINE)
    assert made(catalog.root) == []


def test_a_damaged_catalog_does_not_become_a_copy(catalog: Catalog) -> None:
    """Neither pages nor letters: this row passes SQLite's own check."""
    catalog.keep_copy(NINE)
    sql(catalog.path, "UPDATE photo SET origin = CAST(x'ff' AS TEXT) WHERE label = 'teddy'")
    with pytest.warns(NoCopy, match="decode"):
        assert catalog.keep_copy(NINE + HOUR) is None
    assert names(catalog.root) == ["catalog-20261121-090000-0001.sqlite"]


@pytest.mark.parametrize("step", ["write", "rename", "folder"])
def test_work_goes_on_without_a_copy(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    if step == "folder":
        (catalog.root / "copies").write_text("in the way", encoding="utf-8")
    target = {"write": (os, "fsync"), "rename": (Path, "replace"), "folder": (os, "link")}[step]
    with hold(catalog.root, "x"):  # which writes its own note
        monkeypatch.setattr(*target, full)
        with pytest.warns(NoCopy, match=r"no copy of .*catalog.sqlite could be kept .*goes on"):
            assert catalog.keep_copy() is None
    monkeypatch.undo()
    assert step == "folder" or names(catalog.root) == []
    assert run(catalog, on(2, "drop"))


FULL = """
import resource, sys, warnings
from pathlib import Path
from bear_classifier.dataset.catalog import Catalog
catalog = Catalog(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
warnings.showwarning = lambda message, *_: print(message)
with catalog.lock("train"):
    print("at work")
"""
HALF = """
import sys, time
from pathlib import Path
from bear_classifier.dataset import backups, catalog
def slow(db):
    print("copied", flush=True)
    time.sleep(60)
backups.check_rows = slow
catalog.Catalog(Path(sys.argv[1])).keep_copy()
"""


def test_a_full_disk_does_not_stop_the_work(catalog: Catalog, child: Child) -> None:
    catalog.close()
    said, _ = child(FULL, catalog.root).communicate(timeout=STUCK)
    assert said.splitlines() == [
        f"no copy of {catalog.path} could be kept (disk I/O error); the work goes on",
        "at work",
    ]
    assert names(catalog.root) == []


def test_kill_leaves_no_half_copy(catalog: Catalog, child: Child) -> None:
    process = child(HALF, catalog.root)
    assert process.stdout is not None
    assert process.stdout.readline() == "copied\n"
    process.kill()
    process.wait()
    assert made(catalog.root) == []
    assert catalog.keep_copy(NINE) in made(catalog.root)


# saying so


def test_damage_names_the_newest_copy_and_the_command(root: Path) -> None:
    spoil(root)
    with pytest.raises(DataError) as caught:
        Catalog(root)
    assert (
        str(caught.value) == f"CATALOG_DAMAGED: {root / 'catalog.sqlite'} is damaged (file is not a"
        " database); to put back the copy of 2026-11-21 09:00 UTC, run: bears restore"
    )


# putting back


def pages(root: Path) -> list[int]:
    return list(range(0, (root / "catalog.sqlite").stat().st_size, 4096))


def test_any_damaged_page(root: Path, tmp_path: Path) -> None:
    """All up to the copy comes back; of what came after it, nothing is made up or left unsaid."""
    whole = (root / "catalog.sqlite").read_bytes()
    later = everything(root)[2:]
    at_nine = everything(as_dataset(made(root)[0], tmp_path / "at nine"))
    complete = []
    for start in pages(root):
        (root / "catalog.sqlite").write_bytes(whole)
        damaged = spoil(root, start, start + 4096)
        done = restore(root)
        assert everything(root) == at_nine
        assert done.copy == made(root)[0]
        assert done.aside
        assert done.aside.read_bytes() == damaged
        complete.append(done.complete)
        if done.complete:
            assert (at_nine[2] + done.events, done.take_downs) == later
    assert True in complete
    assert False in complete


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.5, 0.99])
def test_a_truncated_file(root: Path, keep: float) -> None:
    place = root / "catalog.sqlite"
    data = place.read_bytes()
    place.write_bytes(data[: int(len(data) * keep)])
    done = restore(root)
    with Catalog(root) as catalog:
        assert [e.id for e in history(catalog)] == [1]
        assert catalog.photos()[0].label == "teddy"
        assert run(catalog, on(2, "drop"))  # and it can be written
    assert [e.id for e in done.events] == [2, 3] or not done.complete


def test_a_file_that_is_gone(root: Path) -> None:
    (root / "catalog.sqlite").unlink()
    done = restore(root)
    assert (done.aside, done.events, done.complete) == (None, [], False)
    assert len(everything(root)[2]) == 1


def test_letters_that_cannot_be_read_are_damage(root: Path) -> None:
    sql(root / "catalog.sqlite", "UPDATE event SET why = CAST(x'62ff' AS TEXT) WHERE id = 3")
    done = restore(root)
    assert [event.why for event in done.events] == ["", "b\ufffd"]
    assert (done.take_downs, done.complete) == ([LATE], True)
    assert everything(root)


def test_json_that_cannot_be_read_is_damage(root: Path) -> None:
    sql(root / "catalog.sqlite", "INSERT INTO run VALUES (1, 'split', '', 1.0, '', '{')")
    assert restore(root).complete


def test_later_decisions_are_read_from_both_ends(catalog: Catalog) -> None:
    assert catalog.keep_copy(NINE)
    for _ in range(6):
        run(catalog, *[on(n % 4 + 1, "keep", why=f"looked {n} times " * 9) for n in range(20)])
    catalog.close()
    data = catalog.path.read_bytes()
    middle = data.index(b"looked 10 times", len(data) // 2) // 4096 * 4096
    true = {e.id: e for e in everything(catalog.root)[2]}  # type: ignore[attr-defined]
    spoil(catalog.root, middle, middle + 4096)
    done = restore(catalog.root)
    assert not done.complete
    assert (done.events[0].id, done.events[-1].id) == (2, 121)
    assert 60 < len(done.events) < 120
    assert all(true[event.id] == event for event in done.events)


def test_what_can_be_no_row_is_not_listed(root: Path) -> None:
    """Flipped types in a page: what should be a word is none, or bytes."""
    with Catalog(root) as catalog:
        run(catalog, on(4, "keep"))
    place = root / "catalog.sqlite"
    with contextlib.closing(sqlite3.connect(place)) as db, db:
        db.execute("PRAGMA writable_schema=ON")
        loose = "replace(replace(sql, 'NOT NULL', ''), 'STRICT', '')"
        db.execute(f"UPDATE sqlite_master SET sql = {loose} WHERE name IN ('event', 'takedown')")
    sql(place, "UPDATE event SET who = NULL WHERE id = 2")
    sql(place, "UPDATE event SET before = x'00' WHERE id = 3")
    sql(place, "UPDATE takedown SET why = NULL")
    done = restore(root, force=True)
    assert ([e.id for e in done.events], done.take_downs, done.complete) == ([4], [], False)


def test_a_bad_copy_is_passed_over(root: Path, tmp_path: Path) -> None:
    """Both kinds of damage, in newer copies than that of nine."""
    (nine,) = made(root)
    torn = root / "copies" / "catalog-20261121-100000-0002.sqlite"
    torn.write_bytes(nine.read_bytes()[:9000])
    odd = root / "copies" / "catalog-20261121-110000-0003.sqlite"
    odd.write_bytes(nine.read_bytes())
    sql(odd, "UPDATE photo SET origin = CAST(x'ff' AS TEXT)")
    spoil(root)
    assert restore(root).copy == nine
    assert everything(root) == everything(as_dataset(nine, tmp_path / "at nine"))


def test_refusals_change_nothing(root: Path) -> None:
    before = (root / "catalog.sqlite").read_bytes(), names(root)
    with pytest.raises(DataError, match=r"^NOT_DAMAGED: .*of 2026-11-21 09:00 UTC .* --force"):
        restore(root)
    with Catalog(root), pytest.raises(DataError, match=r"^CATALOG_BUSY: .*the cleaning page"):
        restore(root, force=True)
    assert ((root / "catalog.sqlite").read_bytes(), names(root)) == before
    made(root)[0].unlink()
    spoil(root)
    with pytest.raises(DataError, match=r"^NO_COPY: .*copies; one is made whenever"):
        restore(root)
    assert names(root) == []


def test_force_puts_back_a_copy_of_what_is_whole(root: Path) -> None:
    before = everything(root)
    done = restore(root, force=True)
    assert (len(done.events), done.take_downs, done.complete) == (2, [LATE], True)
    assert done.aside
    assert len(everything(root)[2]) == 1  # type: ignore[arg-type]
    other = as_dataset(done.aside, root.parent / "other")
    assert everything(other) == before


def test_full_disk_at_restore_changes_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = spoil(root)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match=r"^DISK_FULL: "):
        restore(root)
    monkeypatch.undo()
    assert (root / "catalog.sqlite").read_bytes() == before
    assert names(root) == ["catalog-20261121-090000-0001.sqlite"]
    assert restore(root)


def test_without_second_names_for_files(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = spoil(root)

    def refused(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    done = restore(root)
    assert done.aside
    assert done.aside.read_bytes() == before
    assert len(everything(root)[2]) == 1  # type: ignore[arg-type]


def test_ctrl_c_leaves_nothing_half_written(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = spoil(root)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "link", interrupted)
    with pytest.raises(KeyboardInterrupt):
        restore(root)
    monkeypatch.undo()
    assert (root / "catalog.sqlite").read_bytes() == before
    assert list(root.rglob("*.partial")) == []
    assert restore(root)


def test_an_open_catalog_notices_that_its_file_was_replaced(root: Path) -> None:
    with Catalog(root) as old:
        (root / "fresh").write_bytes(made(root)[0].read_bytes())
        (root / "fresh").replace(root / "catalog.sqlite")
        with pytest.raises(DataError, match=r"^CATALOG_UNUSABLE: .*replaced"):
            run(old, on(4, "drop"))


# cut off

WRITE = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, "tests")
from deciding import on, run
from bear_classifier.dataset.catalog import Catalog
catalog = Catalog(Path(sys.argv[1]))
run(catalog, on(4, "drop"))
os.kill(os.getpid(), signal.SIGKILL)
"""
KILL_AT = """
import os, signal, sys
from pathlib import Path
from bear_classifier.dataset import backups
left = int(sys.argv[2])
def deadly(act):
    def step(*words, **more):
        global left
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        return act(*words, **more)
    return step
Path.replace, Path.unlink, os.link = deadly(Path.replace), deadly(Path.unlink), deadly(os.link)
backups.restore(Path(sys.argv[1]), force=True)
print("done")
"""


@pytest.mark.series
@pytest.mark.parametrize("state", ["damaged", "emptied", "whole"])
@pytest.mark.parametrize("step", range(1, 8))
def test_kill_at_any_step_of_a_restore(
    root: Path, child: Child, step: int, state: str, tmp_path: Path
) -> None:
    """Beside the file lies a log of a writer that was killed, with a decision in it."""
    at_nine = everything(as_dataset(made(root)[0], tmp_path / "at nine"))
    place, log = root / "catalog.sqlite", root / "catalog.sqlite-wal"
    child(WRITE, root).wait(timeout=STUCK)
    written = log.read_bytes()
    assert written
    if state == "damaged":  # in the page of the sources, which is not in the log
        start = place.read_bytes().index(b"0" * 90) // 4096 * 4096
        noise = spoil(root, start, start + 4096)[start : start + 4096]
    if state == "emptied":
        place.write_bytes(b"")
    process = child(KILL_AT, root, step)
    said, _ = process.communicate(timeout=STUCK)
    killed = process.returncode == -signal.SIGKILL
    assert killed != (said == "done\n")
    assert killed or step > 3  # there are so many steps at least
    assert place.is_file()
    try:
        found = everything(root)
    except DataError as exc:
        assert exc.code == "CATALOG_DAMAGED"
        assert exc.sentence.endswith("bears restore")
    else:
        events = 4 if state == "whole" and step == 1 else 1  # nothing was done, or everything
        assert len(found[2]) == events  # type: ignore[arg-type]
    if killed:
        done = restore(root, force=state == "whole" and step == 1)
        late = [] if state == "emptied" else [2, 3, 4]
        assert ([e.id for e in done.events], done.complete) == (late, bool(late))
    assert everything(root) == at_nine
    (aside,) = (root / "copies").glob("damaged-*.sqlite")
    kept = aside.read_bytes()
    if state == "damaged":
        assert noise in kept
    if state == "emptied":
        assert kept == b""
        assert Path(f"{aside}-wal").read_bytes() == written
        assert Path(f"{aside}-shm").is_file()
    assert not log.exists()


# the command


@pytest.fixture
def bears(root: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """bears("restore") is (exit code, what was printed, errors)."""
    project = project_file.build(
        {"name": "bears", "classes": {label: [label] for label in LABELS}}, where="test"
    )
    file = root.parent.parent / "bears.toml"
    file.write_text(project_file.as_toml(project), encoding="utf-8")

    def command(*words: str) -> tuple[int, str, str]:
        code = main.main([*words, "--project", str(file), "--data", str(root.parent)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return command


Bears = Callable[..., tuple[int, str, str]]


def test_the_command_tells_what_is_missing(root: Path, bears: Bears) -> None:
    listed = bears("history")[1].splitlines()
    spoil(root, 100, 4096)  # the list of tables: nothing can be read
    assert bears("history")[0] == 2
    code, said, _ = bears("restore")
    (aside,) = (root / "copies").glob("damaged-*.sqlite")
    assert (code, said.splitlines()) == (
        0,
        [
            "put back the copy of 2026-11-21 09:00 UTC",
            f"what stood there is kept: {aside}",
            "decisions after that time cannot be read",
        ],
    )
    assert bears("history")[1].splitlines() == listed[:1]
    code, said, errors = bears("restore")
    assert (code, said) == (2, "")
    assert errors.startswith("bears: NOT_DAMAGED: ")


def test_the_command_lists_later_decisions_as_history_does(root: Path, bears: Bears) -> None:
    listed = bears("history")[1].splitlines()
    sql(root / "catalog.sqlite", "UPDATE photo SET origin = CAST(x'ff' AS TEXT)")
    code, said, _ = bears("restore")
    assert code == 0
    assert said.splitlines()[2:] == [
        "missing are the decisions made after it (3):",
        *listed[1:],
        f"       {minute('2026-11-21T09:30:00+00:00')}  ann  take-down of domain bears.example"
        "  (asked by mail)",
    ]


def test_the_command_lists_twenty(root: Path, bears: Bears) -> None:
    with Catalog(root) as catalog:
        run(catalog, *[on(n % 4 + 1, "keep") for n in range(22)])
    said = bears("restore", "--force")[1].splitlines()
    assert said[2] == "missing are the decisions made after it (25):"
    assert said[23:] == ["... and 5 more in the file that is kept"]
    with Catalog(root) as catalog:
        assert len(history(catalog)) == 1
    assert bears("restore", "--force")[1].splitlines()[2:] == ["no decision is missing"]


def test_the_command_for_programs(root: Path, bears: Bears) -> None:
    with Catalog(root) as catalog:
        later = [dataclasses.asdict(event) for event in history(catalog)[1:]]
    code, said, _ = bears("restore", "--force", "--json")
    (aside,) = (root / "copies").glob("damaged-*.sqlite")
    assert (code, json.loads(said)) == (
        0,
        {
            "copy": str(made(root)[0]),
            "at": "2026-11-21T09:00:00+00:00",
            "aside": str(aside),
            "missing": later,
            "missing_take_downs": [dataclasses.asdict(LATE)],
            "complete": True,
        },
    )


def test_the_command_waits_for_nobody(root: Path, bears: Bears) -> None:
    spoil(root)
    with hold(root, "train"):
        code, said, errors = bears("restore")
    assert (code, said) == (2, "")
    assert errors.startswith("bears: LOCKED: Another train ")
    assert bears("restore")[0] == 0


def test_the_command_without_copies(root: Path, bears: Bears) -> None:
    made(root)[0].unlink()
    assert bears("restore")[2].startswith("bears: NO_COPY: ")
    spoil(root)
    assert bears("restore")[2].startswith("bears: CATALOG_DAMAGED: ")
    (root / "catalog.sqlite").unlink()
    assert bears("restore")[2].startswith("bears: NO_DATA: ")


def test_a_command_says_that_it_could_keep_no_copy(root: Path, bears: Bears) -> None:
    made(root)[0].unlink()
    (root / "copies").rmdir()
    (root / "copies").write_text("in the way", encoding="utf-8")
    code, said, errors = bears("undo")
    assert (code, len(said.splitlines())) == (0, 1)
    place = root / "catalog.sqlite"
    assert errors.startswith(f"bears: no copy of {place} could be kept (")
    assert errors.endswith("; the work goes on\n")
    assert len(errors.splitlines()) == 1

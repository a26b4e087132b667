"""Decisions are events: all or nothing, once, never over somebody else's, and they can be undone.

EDITS=500 KILLS=200 pytest tests/test_decisions.py   is the size that was promised."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import random
import re
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import get_args

import pytest
from deciding import ASIDE, LABELS, UNKNOWN, everything, on, refused, run, sha, state
from waiting import STUCK

from bear_classifier.collect.rights.take_down import take_down
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.decisions import decide, decided, history, relabel, undo, user_name
from bear_classifier.dataset.schema import Action, Decision, Photo
from bear_classifier.errors import DataError

EDITS = int(os.environ.get("EDITS", "24"))
KILLS = int(os.environ.get("KILLS", "20"))
Make = Callable[..., Photo]
Child = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def catalog(tmp_path: Path, make: Make) -> Iterator[Catalog]:
    """Photos 1 to 5: one in use with a file, a copy, one that is too small, one more in use, one
    without a label."""
    with Catalog(tmp_path / "data") as made:
        with made.transaction():
            small = make(3, status="unusable", reason="TOO_SMALL: 9 x 9 pixels")
            made.put_photos([make(1), make(2, **ASIDE), small, make(4), make(5, **UNKNOWN)])
        made.file(make(1)).parent.mkdir(parents=True)
        made.file(make(1)).write_bytes(b"picture")
        yield made


# what a decision does


@pytest.mark.parametrize(
    ("decision", "action", "after"),
    [
        (on(1, "keep"), "keep", ("grizzly", "ok", "")),
        (on(1, "relabel", "teddy"), "relabel", ("teddy", "ok", "")),
        (on(1, "relabel", "grizzly"), "keep", ("grizzly", "ok", "")),
        (on(1, "drop"), "drop", ("grizzly", "dropped", "dropped by ann")),
        (on(1, "drop", why=" a \0cat\ud800"), "drop", ("grizzly", "dropped", "a  cat")),
        (on(2, "keep"), "keep", ("grizzly", *ASIDE.values())),
        (on(2, "relabel", "black"), "relabel", ("black", *ASIDE.values())),
        (on(3, "drop"), "drop", ("grizzly", "dropped", "dropped by ann")),
        (on(5, "relabel", "black"), "confirm", ("black", "ok", "")),
        (on(5, "drop"), "drop", ("", "dropped", "dropped by ann")),
    ],
)
def test_what_a_decision_leaves(
    catalog: Catalog, decision: Decision, action: str, after: tuple[str, ...]
) -> None:
    number = int(decision.sha256, 16)
    before = dict(zip(("label", "status", "reason"), state(catalog, number), strict=True))
    (event,) = run(catalog, dataclasses.replace(decision, score=0.25, based=0), request="r")
    assert state(catalog, number) == after
    assert (event.action, event.who, event.sha256) == (action, "ann", decision.sha256)
    assert json.loads(event.before) == before
    assert tuple(json.loads(event.after).values()) == after
    assert (event.score, event.based, event.undoes, event.request) == (0.25, 0, None, "r")
    assert history(catalog) == [event]
    assert [p.sha256 for p in catalog.photos()] == [sha(n) for n in (1, 2, 3, 4, 5)]


@pytest.mark.parametrize("why", ["TAKEN_DOWN: said ann", "LABEL_CONFLICT"])
def test_a_reason_is_not_mistaken_for_one_of_the_program(catalog: Catalog, why: str) -> None:
    run(catalog, on(1, "drop", why=why))
    assert state(catalog, 1)[2] == f"dropped by ann: {why}"
    run(catalog, on(1, "restore"))
    assert state(catalog, 1) == ("grizzly", "ok", "")


def test_restore_goes_back_before_the_first_drop_and_keeps_the_label(catalog: Catalog) -> None:
    run(catalog, on(2, "drop"))
    run(catalog, on(2, "drop", why="still a cat"), on(2, "relabel", "black"))
    assert state(catalog, 2) == ("black", "dropped", "still a cat")
    run(catalog, on(2, "restore"))
    assert state(catalog, 2) == ("black", *ASIDE.values())
    undo(catalog, "ann")
    assert state(catalog, 2) == ("black", "dropped", "still a cat")


def test_restore_in_the_batch_of_the_drop_and_of_one_without_a_record(
    catalog: Catalog, make: Make
) -> None:
    run(catalog, on(2, "drop"), on(2, "restore"))
    assert state(catalog, 2) == ("grizzly", *ASIDE.values())
    with catalog.transaction():
        catalog.put_photos([make(4, status="dropped", reason="?")])
    run(catalog, on(4, "restore"))
    assert state(catalog, 4) == ("grizzly", "ok", "")


def test_a_photo_without_a_label_is_never_in_use_whatever_is_decided(catalog: Catalog) -> None:
    run(catalog, on(5, "drop"))
    run(catalog, on(5, "restore"))
    assert state(catalog, 5) == ("", "unlabelled", "")
    run(catalog, on(5, "drop"), on(5, "relabel", "teddy"))
    assert state(catalog, 5) == ("teddy", "dropped", "dropped by ann")
    run(catalog, on(5, "restore"))
    assert state(catalog, 5) == ("teddy", "ok", "")
    undo(catalog, "ann")
    undo(catalog, "ann")
    assert state(catalog, 5) == ("", "unlabelled", "")
    with refused(catalog, "NO_LABEL", "has no label yet that could be kept; give it one of"):
        run(catalog, on(5, "keep"))


def test_undo_of_a_first_label_after_screening_set_the_photo_aside(
    catalog: Catalog, make: Make
) -> None:
    run(catalog, on(5, "relabel", "black"))
    with catalog.transaction():
        catalog.put_photos([make(5, label="black", split="test", **ASIDE)])
    undo(catalog, "ann")
    assert state(catalog, 5) == ("", "unlabelled", "")
    undo(catalog, "ann", history(catalog)[-1].id)
    assert state(catalog, 5) == ("black", *ASIDE.values())


def test_who_decided_elsewhere_and_when_is_kept(catalog: Catalog) -> None:
    at = "2026-11-01T10:00:00+00:00"
    theirs, mine = run(catalog, on(1, "drop", who="bob", at=at), on(4, "drop"))
    assert (theirs.who, theirs.at, mine.who) == ("bob", at, "ann")
    assert state(catalog, 1)[2] == "dropped by bob"
    assert mine.at > at


@pytest.mark.parametrize(
    ("given", "kept"), [("  Ann B.  ", "Ann B."), ("a\nb", "a b"), ("x" * 300, "x" * 100)]
)
def test_a_name_is_one_line(given: str, kept: str) -> None:
    assert user_name(given) == kept
    assert user_name("") == user_name(" ") == user_name(None) != ""


# what is refused, with nothing changed


@pytest.mark.parametrize(
    "label",
    [
        "",
        "g" * 300,
        "../grizzly",
        "<b>grizzly</b>",
        "Grizzly",
        "grizzly ",
        "\0",
        "\u202e",
        "\ud800",
    ],
)
def test_bad_labels(catalog: Catalog, label: str) -> None:
    said = "is no class of the project; choose grizzly, black, teddy"
    with refused(catalog, "UNKNOWN_CLASS", said) as caught:
        run(catalog, on(4, "relabel", "teddy"), on(1, "relabel", label))
    assert caught.value.sentence.startswith(f"{label[:40]!r}")
    assert caught.value.sentence.isprintable()
    assert len(caught.value.sentence) < 150


@pytest.mark.parametrize("name", ["", "x" * 300, sha(9), sha(1)[:8], "0" * 8, "\ud800", "é"])
@pytest.mark.parametrize("others", [[], [on(4, "drop")]])
def test_photos_that_are_not_there(catalog: Catalog, name: str, others: list[Decision]) -> None:
    with refused(catalog, "NO_SUCH_PHOTO", repr(name[:40])):
        run(catalog, *others, Decision(name, "keep"))


def test_only_what_is_dropped_can_be_restored(catalog: Catalog) -> None:
    with refused(catalog, "NOT_DROPPED", "is not dropped but duplicate"):
        run(catalog, on(1, "drop"), on(2, "restore"))


def test_no_request_and_no_such_action(catalog: Catalog) -> None:
    with pytest.raises(ValueError, match="needs an id"):
        decide(catalog, LABELS, [on(1, "keep")], "ann", "")
    with pytest.raises(ValueError, match="needs an id"):
        undo(catalog, "ann", request="")
    with pytest.raises(ValueError, match="no such action: {'burn'}"):
        run(catalog, on(1, "burn"))  # type: ignore[arg-type]
    assert run(catalog) == history(catalog) == []


@pytest.mark.parametrize("first", ["", "drop", "relabel"])
@pytest.mark.parametrize("action", get_args(Action))
def test_what_was_taken_down_stays_so(catalog: Catalog, first: Action, action: Action) -> None:
    """Also if somebody had decided on the photo, or dropped it, before it was taken down."""
    if first:
        run(catalog, on(1, first, "black"))
    take_down(catalog, "sha256", sha(1), "mail", "asked by mail")
    taken = state(catalog, 1)
    assert taken[1:] == ("dropped", catalog.photos("dropped")[0].reason)
    assert taken[2].startswith("TAKEN_DOWN: since ")
    with refused(catalog, "TAKEN_DOWN", taken[2]):
        run(catalog, on(4, "keep"), on(1, action, "black"))
    for event in history(catalog):
        with refused(catalog, "TAKEN_DOWN"):
            undo(catalog, "ann", event.id)
    with refused(catalog, "NOTHING_TO_UNDO"):
        undo(catalog, "ann")


def test_the_rest_of_a_batch_can_be_undone_after_a_take_down(catalog: Catalog) -> None:
    run(catalog, on(1, "relabel", "black"), on(4, "relabel", "black"))
    take_down(catalog, "sha256", sha(1), "mail", "")
    assert [e.sha256 for e in undo(catalog, "ann")] == [sha(4)]
    assert state(catalog, 4) == ("grizzly", "ok", "")


# two windows


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (on(1, "relabel", "black"), 'Another window changed this photo from "grizzly" to "black"'),
        (on(1, "keep"), 'Another window kept this photo as "grizzly"'),
        (on(1, "drop"), "Another window dropped this photo"),
        (on(1, "restore"), "Another window restored this photo"),
        (None, "Another window took back a decision on this photo"),
    ],
)
def test_a_conflict_is_told_and_can_be_overruled(
    catalog: Catalog, other: Decision | None, words: str
) -> None:
    run(catalog, on(1, "drop"))
    seen = catalog.revision()
    run(catalog, other) if other else undo(catalog, "bob")
    mine = [on(4, "drop", based=seen), on(1, "relabel", "teddy", based=seen)]
    with refused(catalog, "CONFLICT", words) as caught:
        run(catalog, *mine)
    told = r" (on \S+ )?at \d\d:\d\d \(photo 0{12}\); reload, or decide again to overwrite$"
    assert re.search(told, caught.value.sentence)
    run(catalog, on(1, "keep"), on(4, "keep", based=seen))  # nobody touched the second
    run(catalog, on(1, "relabel", "teddy", based=catalog.revision()))
    run(catalog, on(1, "relabel", "grizzly", based=None))
    assert state(catalog, 1)[0] == "grizzly"


def test_a_folder_move_is_a_conflict_too_and_two_decisions_of_one_batch_are_none(
    catalog: Catalog, make: Make
) -> None:
    run(catalog, on(1, "keep", based=0), on(1, "drop", based=0))
    with catalog.transaction():
        relabel(catalog, make(4), "black", "folder", "the file was moved there")
    with refused(
        catalog, "CONFLICT", 'A run (folder) changed this photo from "grizzly" to "black"'
    ):
        run(catalog, on(4, "keep", based=2))


def test_no_update_is_lost_and_every_conflict_is_told(tmp_path: Path, make: Make) -> None:
    """Eight windows look at the same state and decide at once: one is first, seven are told."""
    windows, photos, start = 8, min(20, EDITS), threading.Barrier(8, timeout=STUCK)
    with Catalog(tmp_path) as catalog, catalog.transaction():
        catalog.put_photos(make(n) for n in range(photos))

    def window(name: int) -> int:
        dice, told = random.Random(name), 0
        with Catalog(tmp_path) as mine:
            for edit in range(EDITS):
                number = edit % photos
                start.wait()
                seen = mine.revision()
                start.wait()
                for attempt in range(100):
                    wanted = on(number, "relabel", dice.choice(LABELS), based=seen)
                    try:
                        run(mine, wanted, request=f"{name} {edit} {attempt}")
                        break
                    except DataError as exc:
                        assert exc.code == "CONFLICT"
                        told += attempt == 0
                        seen = mine.revision()
        return told

    with ThreadPoolExecutor(windows) as pool:
        assert sum(pool.map(window, range(windows))) == EDITS * (windows - 1)
    with Catalog(tmp_path) as catalog:
        assert len(history(catalog)) == EDITS * windows
        for number in range(photos):
            before = None
            for event in history(catalog, sha(number)):
                if before:
                    assert event.before == before.after
                    assert (event.based or 0) >= before.id
                before = event
            assert before
            assert json.loads(before.after)["label"] == state(catalog, number)[0]


def test_a_request_counts_once(catalog: Catalog) -> None:
    first = run(catalog, on(1, "drop", based=0), on(4, "relabel", "black", based=0), request="x")
    before = everything(catalog)
    for _ in range(1000):
        again = run(catalog, on(1, "drop", based=0), on(4, "relabel", "", based=0), request="x")
        assert again == first
    assert everything(catalog) == before
    back = undo(catalog, "ann", request="y")
    assert run(catalog, on(1, "drop"), request="x") == first
    assert undo(catalog, "ann", request="y") == back
    assert len(history(catalog)) == 4


# what is known afterwards


def test_decided_knows_the_last_decision_that_is_in_force(catalog: Catalog) -> None:
    keep, other = run(catalog, on(1, "keep"), on(4, "relabel", "black"))
    (gone,) = run(catalog, on(1, "drop"))
    assert decided(catalog) == {sha(1): gone, sha(4): other}
    (back,) = undo(catalog, "bob")
    assert decided(catalog) == {sha(1): keep, sha(4): other}
    undo(catalog, "bob", back.id)
    assert decided(catalog) == {sha(1): gone, sha(4): other}
    undo(catalog, "bob"), undo(catalog, "bob")
    assert decided(catalog) == {}


def test_history_and_revision(catalog: Catalog) -> None:
    assert (catalog.revision(), history(catalog)) == (0, [])
    events = run(catalog, on(1, "keep"), on(4, "keep"), on(1, "drop"))
    assert catalog.revision() == 3
    assert history(catalog) == events
    assert history(catalog, sha(1)) == [events[0], events[2]]
    assert history(catalog, limit=2) == events[1:]
    assert history(catalog, sha(1), 1) == [events[2]]
    assert history(catalog, "") == history(catalog, limit=0) == []


# a process that is killed, a disk that is full


KILLED = """
import json, os, random, signal, sys, time
from pathlib import Path
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.decisions import decide, history
from bear_classifier.dataset.schema import Decision

root, kills = Path(sys.argv[1]), int(sys.argv[2])
dice = random.Random(7)

def work(number, say, fatal):
    catalog, left = Catalog(root), [fatal]
    def count(statement):
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
    catalog._db.set_trace_callback(count)
    wanted = [Decision(p.sha256, "relabel", f"label {number}") for p in catalog.photos()]
    os.write(say, b"!")
    decide(catalog, [f"label {number}"], wanted, "ann", f"request {number}")
    os.write(say, f"{fatal - left[0]}".encode())
    os._exit(0)

def run(number, fatal, seconds):
    hear, say = os.pipe()
    child = os.fork()
    if not child:
        work(number, say, fatal)
    os.close(say)
    os.read(hear, 1)
    began = time.monotonic()
    if seconds:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    took, statements = time.monotonic() - began, os.read(hear, 9)
    os.close(hear)
    return took, int(statements or 0)

took, statements = run(0, 10**9, 0)
for number in range(1, kills + 1):
    fatal = dice.randint(3, statements) if number % 2 else 10**9
    _, finished = run(number, fatal, 0 if number % 2 else dice.uniform(0, took))
    began = time.monotonic()
    with Catalog(root) as catalog:
        opened = time.monotonic() - began
        labels = sorted({p.label for p in catalog.photos()})
        here = sum(e.request == f"request {number}" for e in history(catalog))
        made = sum(json.loads(e.after)["label"] == labels[0] for e in history(catalog))
    print(json.dumps([number, bool(finished), labels, here, made, opened]), flush=True)
"""


def test_kill_9_in_a_batch_of_200_leaves_all_of_it_or_nothing(
    tmp_path: Path, make: Make, child: Child
) -> None:
    with Catalog(tmp_path) as catalog, catalog.transaction():
        catalog.put_photos(make(n) for n in range(200))
    said, _ = child(KILLED, tmp_path, KILLS).communicate(timeout=280)
    lines = [json.loads(line) for line in said.splitlines()]
    print("slowest reopening, s:", max(line[-1] for line in lines))
    label, deaths = "label 0", 0
    for number, finished, labels, here, made, _ in lines:
        if here:
            label = f"label {number}"
        assert here in (0, 200)
        assert here or not finished
        assert (labels, made) == ([label], 200)
        deaths += not finished
    assert len(lines) == KILLS
    assert deaths >= KILLS // 2


FULL = """
import resource, sys
from pathlib import Path
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.decisions import decide
from bear_classifier.errors import DataError
from bear_classifier.dataset.schema import Decision
catalog = Catalog(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY))
wanted = [Decision(p.sha256, "relabel", "black", "x" * 300) for p in catalog.photos()]
try:
    decide(catalog, ["black"], wanted, "ann", "r")
except DataError as exc:
    print(exc)
"""


def test_a_full_disk_keeps_the_old_state(tmp_path: Path, make: Make, child: Child) -> None:
    with Catalog(tmp_path) as catalog:
        with catalog.transaction():
            catalog.put_photos(make(n) for n in range(1000))
        before = everything(catalog)
        said, _ = child(FULL, tmp_path).communicate(timeout=STUCK)
        assert said.startswith("DISK_FULL: no space left to write ")
        assert everything(catalog) == before
        assert run(catalog, on(1, "drop"))


@pytest.mark.parametrize("what", ["decide", "undo"])
def test_a_catalog_that_cannot_be_written(catalog: Catalog, what: str) -> None:
    run(catalog, on(1, "drop"))
    catalog._db.execute("PRAGMA query_only = ON")
    with refused(catalog, "CATALOG_UNUSABLE", "cannot be written"):
        run(catalog, on(4, "drop")) if what == "decide" else undo(catalog, "ann")
    catalog._db.execute("PRAGMA query_only = OFF")
    assert undo(catalog, "ann")


def test_a_failure_in_the_middle_takes_everything_back(catalog: Catalog) -> None:
    with contextlib.closing(sqlite3.connect(catalog.path)) as db, db:
        db.execute(
            f"CREATE TRIGGER stop BEFORE UPDATE ON photo WHEN old.sha256 = '{sha(4)}'"
            " BEGIN SELECT RAISE(ABORT, 'x'); END"
        )
    with refused(catalog, "CATALOG_DAMAGED"):
        run(catalog, on(1, "drop"), on(4, "drop"))
    assert history(catalog) == []

"""What was decided can be taken back and done again, in an order that makes sense.

STEPS=1000 pytest tests/test_pile.py   makes each of the forty runs of random steps so long; with a
hundred, and taking back and doing again all of it, they are more than ten thousand."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import random
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from deciding import ASIDE, LABELS, on, refused, run, sha, state, table

from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.decisions import decided, drop, history, relabel, undo
from bear_classifier.dataset.schema import Decision, Event, Photo
from bear_classifier.errors import DataError

STEPS, PHOTOS = int(os.environ.get("STEPS", "100")), 20
Make = Callable[..., Photo]


@pytest.fixture
def catalog(tmp_path: Path, make: Make) -> Iterator[Catalog]:
    with Catalog(tmp_path / "data") as made:
        with made.transaction():
            made.put_photos([make(1), make(2, **ASIDE), make(4)])
        yield made


# taking back


def test_undo_takes_back_the_last_request_as_a_whole(catalog: Catalog) -> None:
    before = table(catalog)
    run(catalog, on(1, "keep"))
    done = run(catalog, on(1, "relabel", "black"), on(2, "drop"), on(1, "drop"))
    back = undo(catalog, "bob")
    assert [e.undoes for e in back] == [e.id for e in reversed(done)]
    assert [(e.before, e.after) for e in back] == [(e.after, e.before) for e in reversed(done)]
    assert {(e.action, e.who, e.request) for e in back} == {("undo", "bob", back[0].request)}
    assert [(e.old, e.new) for e in back] == [(e.new, e.old) for e in reversed(done)]
    assert back[0].request not in ("", done[0].request)
    assert table(catalog) == before
    assert [e.undoes for e in undo(catalog, "bob")] == [1]
    with refused(catalog, "NOTHING_TO_UNDO"):
        undo(catalog, "bob")


def test_undo_of_one_event_and_then_of_the_rest_of_its_batch(catalog: Catalog) -> None:
    first, second = run(catalog, on(1, "relabel", "black"), on(4, "relabel", "black"))
    (back,) = undo(catalog, "bob", second.id)
    assert (state(catalog, 1)[0], state(catalog, 4)[0]) == ("black", "grizzly")
    assert [e.undoes for e in undo(catalog, "bob")] == [first.id]
    (again,) = undo(catalog, "bob", back.id)
    assert (state(catalog, 1)[0], state(catalog, 4)[0]) == ("grizzly", "black")
    assert [e.undoes for e in undo(catalog, "bob")] == [again.id]


def test_what_cannot_be_undone_says_why(catalog: Catalog) -> None:
    run(catalog, on(1, "relabel", "black"))
    run(catalog, on(1, "keep"))
    later = "the photo was changed later (event {}); undo that first"
    with refused(catalog, "CANNOT_UNDO", later.format(2)):
        undo(catalog, "bob", 1)
    assert [e.id for e in [*undo(catalog, "bob", 2), *undo(catalog, "bob", 1)]] == [3, 4]
    with refused(catalog, "CANNOT_UNDO", "event 1 was taken back already by event 4"):
        undo(catalog, "bob", 1)
    with refused(catalog, "CANNOT_UNDO", later.format(4)):  # keep was about the black one
        undo(catalog, "bob", 3)
    undo(catalog, "bob", 4)
    with refused(catalog, "CANNOT_UNDO", "event 4 was taken back already by event 5"):
        undo(catalog, "bob", 4)
    undo(catalog, "bob", 3)
    with refused(catalog, "CANNOT_UNDO", later.format(2)):
        undo(catalog, "bob", 1)
    for number in (0, -1, 99, 10**30):
        with refused(catalog, "CANNOT_UNDO", f"there is no event {number}"):
            undo(catalog, "bob", number)
    run(catalog, on(4, "drop"))
    assert undo(catalog, "bob", 6)[0].undoes == 6  # another photo is not in the way


def test_undo_leaves_alone_what_screening_changed_since(catalog: Catalog, make: Make) -> None:
    run(catalog, on(1, "relabel", "black"))
    with catalog.transaction():
        catalog.put_photos([make(1, label="black", **ASIDE)])
    undo(catalog, "bob")
    assert state(catalog, 1) == ("grizzly", *ASIDE.values())


def test_a_folder_move_can_be_undone_and_events_of_old_catalogs(catalog: Catalog) -> None:
    before = table(catalog)
    with catalog.transaction():
        photo = catalog.photos()[0]
        drop(catalog, photo, "ann", "a cat")
        relabel(catalog, dataclasses.replace(photo, status="dropped"), "black", "folder", "moved")
    with contextlib.closing(sqlite3.connect(catalog.path)) as db, db:
        db.execute("UPDATE event SET before = '', after = ''")  # as they were until version 3
    undo(catalog, "bob")
    assert state(catalog, 1)[:2] == ("grizzly", "dropped")
    undo(catalog, "bob")
    assert table(catalog) == before


# ten thousand steps beside a model of them


class Shadow:
    """What should be: for each photo its state, and the decisions in force with what they made."""

    def __init__(self, catalog: Catalog) -> None:
        self.pile = {p.sha256: [(0, (p.label, p.status, p.reason))] for p in catalog.photos()}
        self.redo: dict[int, tuple[str, int, list[tuple[int, tuple[str, str, str]]]]] = {}

    def states(self) -> dict[str, tuple[str, str, str]]:
        return {sha256: pile[-1][1] for sha256, pile in self.pile.items()}

    def decide(self, wanted: list[Decision], events: list[Event]) -> None:
        for decision, event in zip(wanted, events, strict=True):
            pile = self.pile[decision.sha256]
            label, status, reason = pile[-1][1]
            if decision.action == "relabel":
                label = decision.label
            if decision.action == "drop":
                status, reason = "dropped", "dropped by ann"
            if decision.action == "restore":
                _, status, reason = next(s for _, s in reversed(pile) if s[1] != "dropped")
            pile.append((event.id, (label, status, reason)))

    def undo(self, target: Event, event: Event) -> None:
        """Of a decision: off the pile; of an undo: back on top, if all below is as it was."""
        pile = self.pile[target.sha256]
        if target.undoes is None or target.id not in self.redo:
            self.redo[event.id] = (target.sha256, pile[-1][0], list(pile))
            pile.pop()
        else:
            pile[:] = self.redo[target.id][2]


@pytest.mark.series
@pytest.mark.parametrize("seed", range(40))
def test_random_steps_can_all_be_taken_back_and_done_again(
    tmp_path: Path, make: Make, seed: int
) -> None:
    dice = random.Random(seed)
    with Catalog(tmp_path) as catalog:
        catalog._db.execute("PRAGMA synchronous = OFF")  # a thousand steps, and no power is lost
        with catalog.transaction():
            catalog.put_photos(make(n, **(ASIDE if n % 3 == 0 else {})) for n in range(PHOTOS))
        files = {catalog.file(photo) for photo in catalog.photos()}
        for file in files:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"picture")
        first, shadow, events = table(catalog), Shadow(catalog), {}
        count = Counter[str]()
        for step in range(STEPS):
            kind = dice.random()
            if kind < 0.6:
                size = 1 if kind < 0.4 else dice.randint(2, 6)
                wanted = []
                for number in dice.sample(range(PHOTOS), size):
                    down = shadow.states()[sha(number)][1] == "dropped"
                    action = dice.choice(["keep", "relabel", "restore" if down else "drop"])
                    wanted.append(on(number, action, dice.choice(LABELS)))  # type: ignore[arg-type]
                made = run(catalog, *wanted, request=f"{step}")
                shadow.decide(wanted, made)
            else:
                made = taken_back(catalog, shadow, dice, kind < 0.7, events, count)
            events |= {event.id: event for event in made}
            if step % 10 == 0:
                now = {p.sha256: (p.label, p.status, p.reason) for p in catalog.photos()}
                assert now == shadow.states()
                assert set((tmp_path / "photos").rglob("*.png")) == files
                piles = {name: pile[-1][0] for name, pile in shadow.pile.items()}
                inside = {name: event.id for name, event in decided(catalog).items()}
                assert inside == {name: top for name, top in piles.items() if top}
        assert list(events.values()) == history(catalog)
        assert min(count[word] for word in ("refused", "redone", "newest")) > 0
        last, taken = table(catalog), list[Event]()
        with pytest.raises(DataError, match="NOTHING_TO_UNDO"):
            while True:
                taken += undo(catalog, "bob")
        assert table(catalog) == first
        for event in reversed(taken):
            undo(catalog, "bob", event.id)
        assert table(catalog) == last
        assert len(taken) > STEPS / 4


def taken_back(
    catalog: Catalog,
    shadow: Shadow,
    dice: random.Random,
    newest: bool,
    events: dict[int, Event],
    count: Counter[str],
) -> list[Event]:
    """Take back the last request, or any of the newer events, which may be refused."""
    if not events:
        return []
    try:
        recent = [*events.values()][-40:]
        undone = [e for e in recent if e.undoes is not None and dice.random() < 0.5]
        made = undo(catalog, "bob", None if newest else dice.choice(undone or recent).id)
    except DataError as exc:
        assert exc.code == ("NOTHING_TO_UNDO" if newest else "CANNOT_UNDO")
        count["refused"] += 1
        return []
    for event in made:
        assert event.undoes is not None
        target = (events | {e.id: e for e in made})[event.undoes]
        count["redone" if target.id in shadow.redo else "newest" if newest else "older"] += 1
        shadow.undo(target, event)
    return made

"""Decisions that are given to another person: who and when stay, nothing is decided twice."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from deciding import ASIDE, LABELS, UNKNOWN, everything, on, run, sha, state

from bear_classifier.collect.rights.take_down import take_down
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.decisions import decide, decided, history, undo
from bear_classifier.dataset.schema import Photo
from bear_classifier.judge.decision_table import read_decisions
from bear_classifier.judge.shared_decisions import Received, received, write_decisions

Make = Callable[..., Photo]
Two = tuple[Catalog, Catalog, Path]


@pytest.fixture
def two(tmp_path: Path, make: Make) -> object:
    """Two datasets of the same photos, and the place of a table."""
    with ExitStack() as stack:
        made = [stack.enter_context(Catalog(tmp_path / name)) for name in ("mine", "theirs")]
        for catalog in made:
            with catalog.transaction():
                catalog.put_photos(
                    [make(1), make(2, **ASIDE), make(3), make(4), make(5, **UNKNOWN), make(6)]
                )
        yield (*made, tmp_path / "table.csv")


def given(mine: Catalog, theirs: Catalog, table: Path) -> Received:
    """Write the table there, and apply it here."""
    write_decisions(table, theirs)
    got = received(mine, read_decisions(table))
    decide(mine, LABELS, list(got.table.decisions.values()), "me", f"{mine.revision()} given")
    return got


def test_all_kinds_arrive_with_who_and_when(two: Two) -> None:
    mine, theirs, table = two
    run(theirs, on(1, "relabel", "black"), on(3, "drop", why="=a, cat"), on(4, "keep"))
    run(theirs, on(5, "relabel", "teddy"), on(6, "drop"))
    run(theirs, on(6, "restore"))
    assert write_decisions(table, theirs) == 5
    got = given(mine, theirs, table)
    assert (got.already, got.elsewhere, got.conflicts) == (0, 0, [])
    for number in (1, 3, 4, 5, 6):
        assert state(mine, number) == state(theirs, number)
    here, there = decided(mine), decided(theirs)
    assert {(k, e.who, e.at) for k, e in here.items()} == {
        (k, e.who, e.at) for k, e in there.items()
    }
    assert {e.who for e in here.values()} == {"ann"}


def test_what_came_of_several_decisions_is_one_row(two: Two) -> None:
    mine, theirs, table = two
    run(theirs, on(1, "relabel", "black"))
    run(theirs, on(1, "keep"))
    run(theirs, on(3, "relabel", "teddy"), on(3, "relabel", "grizzly"))
    assert write_decisions(table, theirs) == 2
    given(mine, theirs, table)
    assert state(mine, 1) == ("black", "ok", "")
    assert [event.action for event in history(mine)] == ["relabel", "keep"]


def test_twice_is_once_and_there_and_back_is_nothing(two: Two) -> None:
    mine, theirs, table = two
    run(theirs, on(1, "relabel", "black"), on(3, "drop"), on(5, "relabel", "teddy"), on(4, "keep"))
    given(mine, theirs, table)
    before = everything(mine)
    assert given(mine, theirs, table).already == 4
    assert everything(mine) == before
    before = everything(theirs)
    assert given(theirs, mine, table).already == 4
    assert everything(theirs) == before


def test_conflicts_are_sentences_and_stay_as_they_are(two: Two) -> None:
    mine, theirs, table = two
    run(mine, on(1, "relabel", "teddy"), on(3, "keep"), on(4, "drop"))
    run(theirs, on(1, "relabel", "black"), on(3, "drop"), on(4, "keep"), on(6, "drop"))
    before = [state(mine, n) for n in (1, 3, 4)]
    got = given(mine, theirs, table)
    assert [state(mine, n) for n in (1, 3, 4)] == before
    assert state(mine, 6)[1] == "dropped"
    first = got.conflicts[0]
    assert first.startswith("/photos/1.png: ann gave it the label black on 20")
    assert 'here ann changed it from "grizzly" to "teddy"' in first
    assert first.endswith(", and it stays so")
    assert [words.partition(" on ")[0] for words in got.conflicts[1:]] == [
        "/photos/3.png: ann dropped it",
        "/photos/4.png: ann kept it as grizzly",
    ]


def test_a_keep_of_another_label_is_a_conflict(two: Two, make: Make) -> None:
    mine, theirs, table = two
    with mine.transaction():
        mine.put_photos([make(4, label="teddy")])
    run(theirs, on(4, "keep"))
    (words,) = given(mine, theirs, table).conflicts
    assert words.endswith("; here its label is teddy, and it stays so")
    assert history(mine) == []


def test_photos_that_are_not_here_are_counted_and_taken_down_ones_stay_so(
    two: Two, make: Make
) -> None:
    mine, theirs, table = two
    with theirs.transaction():
        theirs.put_photos([make(9)])
    run(theirs, on(9, "drop"), on(1, "keep"), on(3, "relabel", "black"))
    take_down(mine, "sha256", sha(3), "mail", "asked")
    got = given(mine, theirs, table)
    assert got.elsewhere == 1
    assert got.conflicts == ["/photos/3.png was taken down here and stays so"]
    assert state(mine, 3)[1] == "dropped"


def test_what_was_taken_back_is_not_given(two: Two) -> None:
    mine, theirs, table = two
    run(theirs, on(1, "drop"))
    undo(theirs, "ann")
    assert write_decisions(table, theirs) == 0


def test_rows_without_a_name_are_decisions_made_here(two: Two) -> None:
    mine, _, table = two
    table.write_text(f"sha256,action,new_label\n{sha(1)},relabel,black\n", encoding="utf-8")
    got = received(mine, read_decisions(table))
    assert [row.who for row in got.table.decisions.values()] == [""]


@pytest.mark.parametrize("at", ["", "yesterday", "2026-11-30", "2026-11-30T10:00:00"])
def test_a_name_needs_a_time_with_its_zone(two: Two, at: str) -> None:
    _, _, table = two
    table.write_text(f"sha256,action,who,at\n{sha(1)},drop,ann,{at}\n", encoding="utf-8")
    (bad,) = read_decisions(table).bad.values()
    assert "is no time with its zone" in bad.what

"""metadata.csv: what is written is read back, whatever stands in it, and no spreadsheet runs it."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from deciding import UNKNOWN, on, run, sha, state

from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.decisions import decided, history, undo
from bear_classifier.dataset.formats.metadata import (
    METADATA_COLUMNS,
    MetadataRow,
    PastDecision,
    read_rows,
    write_rows,
)
from bear_classifier.dataset.formats.past_decisions import past_decisions, restore_decisions
from bear_classifier.dataset.schema import Photo
from bear_classifier.errors import DataError

Make = Callable[..., Photo]
ROW = MetadataRow(
    "train/sun bear/1.jpg", "sun bear", "train", "ab" * 32, "cd" * 32, "ef" * 32, 1234, "Bär, “x”",
    "Ann\nB", "CC BY 4.0", "https://cc.org/by", "https://a.org/1", "https://a.org/1.jpg?a=1,2",
    (PastDecision("relabel", "teddy", "sun bear", "ann", "2026-11-30T10:00:00+00:00", 'a "b"'),),
)  # fmt: skip


def written(path: Path, *rows: MetadataRow) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        write_rows(file, rows)
    return path


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    plain = MetadataRow("a.png", "-x")
    table = written(tmp_path / "metadata.csv", ROW, plain)
    assert list(read_rows(table)) == [ROW, plain]
    assert table.read_bytes().startswith(b"file_name,label,split,group,sha256,")


def test_text_from_the_web_is_no_formula_and_a_label_is_what_it_is(tmp_path: Path) -> None:
    row = dataclasses.replace(ROW, title="=1+1", author="'=x", label="-x", source="@a")
    table = written(tmp_path / "metadata.csv", row)
    with table.open(encoding="utf-8", newline="") as file:
        (cells,) = csv.DictReader(file)
    assert (cells["title"], cells["author"], cells["source"]) == ("'=1+1", "''=x", "'@a")
    assert cells["label"] == "-x"
    assert list(read_rows(table)) == [row]


def test_a_table_with_fewer_and_other_columns_and_a_mark(tmp_path: Path) -> None:
    table = tmp_path / "metadata.csv"
    table.write_text("﻿label,mine,file_name\r\ngrizzly,7,a.jpg\r\n", encoding="utf-8")
    assert list(read_rows(table)) == [MetadataRow("a.jpg", "grizzly")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name,label\na,b\n", "needs the columns file_name and label, and has name, label"),
        ("", "and has nothing"),
        ("file_name,label,split\na,b,c\n", "line 2: split 'c' is none of train, valid, test"),
        ("file_name,label,file_bytes\na,b,many\n", "line 2: file_bytes 'many' is no number"),
        ('file_name,label,decisions\na,b,"[{""who"": 1}]"\n', "are no list of decisions"),
        ("file_name,label,decisions\na,b,7\n", "are no list of decisions"),
        ('file_name,label\na,"b\n', ""),
        ("file_name,label\na,\udce4\n", "it is not UTF-8"),
    ],
)
def test_what_is_no_such_table(tmp_path: Path, text: str, words: str) -> None:
    table = tmp_path / "metadata.csv"
    table.write_bytes(text.encode(errors="surrogateescape"))
    if not words:  # the end of a quoted cell may be missing: what is there is read
        assert list(read_rows(table)) == [MetadataRow("a", "b\n")]
        return
    with pytest.raises(DataError) as caught:
        list(read_rows(table))
    assert caught.value.code == "BAD_TABLE"
    assert words in caught.value.sentence
    assert str(table) in caught.value.sentence


def test_no_table_at_all(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="BAD_TABLE.*No such file"):
        list(read_rows(tmp_path / "metadata.csv"))


# decisions


@pytest.fixture
def catalog(tmp_path: Path, make: Make) -> Iterator[Catalog]:
    with Catalog(tmp_path / "data") as made, made.transaction():
        made.put_photos([make(1), make(2), make(3), make(4, **UNKNOWN), make(5)])
    with Catalog(tmp_path / "data") as opened:
        yield opened


def decide_all(catalog: Catalog) -> None:
    run(catalog, on(1, "relabel", "teddy", why="a toy"), on(2, "keep"), on(4, "relabel", "black"))
    run(catalog, on(3, "drop", why="a drawing"))
    run(catalog, on(3, "restore"))
    run(catalog, on(1, "keep", why="sure"))
    run(catalog, on(5, "relabel", "black"))
    undo(catalog, "ann")


def test_what_was_taken_back_does_not_leave(catalog: Catalog) -> None:
    decide_all(catalog)
    past = past_decisions(catalog)
    words = {
        n: [(p.action, p.old, p.new, p.why) for p in past.get(sha(n), ())] for n in range(1, 6)
    }
    assert words == {
        1: [("relabel", "grizzly", "teddy", "a toy"), ("keep", "teddy", "teddy", "sure")],
        2: [("keep", "grizzly", "grizzly", "")],
        3: [("drop", "ok", "dropped", "a drawing"), ("restore", "dropped", "ok", "")],
        4: [("confirm", "", "black", "")],
        5: [],
    }
    assert {one.who for every in past.values() for one in every} == {"ann"}


def test_decisions_come_back_as_they_left_and_can_be_undone(
    catalog: Catalog, tmp_path: Path, make: Make
) -> None:
    decide_all(catalog)
    past = past_decisions(catalog)
    with Catalog(tmp_path / "other") as other:
        with other.transaction():
            other.put_photos(catalog.photos())
            assert len(restore_decisions(other, past)) == 6
        assert past_decisions(other) == past
        assert decided(other).keys() == decided(catalog).keys()
        assert other.photos() == catalog.photos()  # they came with the outcome
        with other.transaction():  # a second import
            assert restore_decisions(other, past) == []
            assert restore_decisions(other, {sha(9): past[sha(1)]}) == []  # not here
        for number in (1, 4):
            undo(other, "bob", next(e.id for e in history(other, sha(number))[::-1]))
        assert state(other, 4) == ("", "unlabelled", "")
        assert state(other, 1) == ("teddy", "ok", "")
        undo(other, "bob", history(other, sha(1))[0].id)
        assert state(other, 1) == ("grizzly", "ok", "")


def test_an_unknown_action_is_refused(catalog: Catalog) -> None:
    odd = PastDecision("burn", "", "", "ann", "2026-11-30T10:00:00+00:00")
    with pytest.raises(ValueError, match="'burn' is no action"), catalog.transaction():
        restore_decisions(catalog, {sha(1): [odd]})
    assert history(catalog) == []


def test_the_columns_are_those_of_the_guide() -> None:
    assert METADATA_COLUMNS[:7] == (
        *("file_name", "label", "split", "group", "sha256", "file_sha256", "file_bytes"),
    )

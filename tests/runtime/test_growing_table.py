"""A table that grows row by row."""

import csv

import pytest

from bear_classifier.errors import DataError
from bear_classifier.runtime.files import write_table
from bear_classifier.runtime.growing_table import AppendedTable, GrowingTable

COLUMNS = ["path", "note", "error"]
ROWS = [["a.jpg", 0.25, ""], ["=b\r\n.jpg", 'said "no", twice', "EMPTY"], ["c.jpg", "é", ""]]


def begin(path, rows, made_by="m"):
    """As a program that is stopped after these rows. Returns the file that it left."""
    with pytest.raises(KeyboardInterrupt), GrowingTable(path, COLUMNS, made_by) as table:
        for row in rows:
            table.add(row)
        raise KeyboardInterrupt
    return table.begun


def finish(path, made_by="m"):
    """The rows that were there already."""
    with GrowingTable(path, COLUMNS, made_by) as table:
        for row in ROWS:
            if row[0] not in table.done:
                table.add(row)
    return dict(table.done)


def test_it_is_the_table_that_is_written_at_once(tmp_path):
    assert finish(tmp_path / "t.csv") == {}
    write_table(tmp_path / "once.csv", [COLUMNS, *ROWS])
    assert (tmp_path / "t.csv").read_bytes() == (tmp_path / "once.csv").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["once.csv", "t.csv"]


def test_cut_anywhere_it_goes_on_after_the_last_whole_row(tmp_path):
    """Every length, in the middle of a quoted cell and of a line end as well."""
    finish(tmp_path / "whole.csv")
    whole = (tmp_path / "whole.csv").read_bytes()
    left = begin(tmp_path / "t.csv", ROWS[:1])
    counts = set()
    for cut in range(len(whole) + 1):
        left.write_bytes(whole[:cut])
        done = finish(tmp_path / "t.csv")
        assert (tmp_path / "t.csv").read_bytes() == whole, cut
        counts.add(len(done))
    assert counts == {0, 1, 2, 3}


def test_rows_know_what_they_said(tmp_path):
    begin(tmp_path / "t.csv", ROWS[:2])
    assert not (tmp_path / "t.csv").exists()
    assert finish(tmp_path / "t.csv") == {"a.jpg": "", "=b\r\n.jpg": "EMPTY"}
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8-sig") as file:
        assert [row[0] for row in csv.reader(file)] == ["path", "a.jpg", "'=b\r\n.jpg", "c.jpg"]


def test_rows_of_another_maker_are_left_alone(tmp_path):
    left = begin(tmp_path / "t.csv", ROWS[:2], "other")
    kept = left.read_bytes()
    assert finish(tmp_path / "t.csv") == {}
    assert left.read_bytes() == kept


def test_other_columns_begin_anew(tmp_path):
    left = begin(tmp_path / "t.csv", ROWS[:2])
    left.write_bytes(left.read_bytes().replace(b"note", b"nose"))
    assert finish(tmp_path / "t.csv") == {}


def append(path, rows, columns=COLUMNS):
    """What stood in the table before these rows."""
    with AppendedTable(path, columns) as table:
        before = set(table.done)
        for row in rows:
            table.add(row)
    return before


def test_rows_are_appended_to_a_table_at_its_place(tmp_path):
    path = tmp_path / "t.csv"
    assert append(path, ROWS[:2]) == set()
    assert append(path, ROWS[2:]) == {"a.jpg", "=b\r\n.jpg"}
    write_table(tmp_path / "whole.csv", [COLUMNS, *ROWS])
    assert path.read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_a_row_that_was_cut_off_is_written_anew(tmp_path):
    path = tmp_path / "t.csv"
    append(path, ROWS)
    whole = path.read_bytes()
    path.write_bytes(whole[:-4])
    assert append(path, ROWS[2:]) == {"a.jpg", "=b\r\n.jpg"}
    assert path.read_bytes() == whole


def test_nothing_is_appended_to_another_table(tmp_path):
    path = tmp_path / "t.csv"
    append(path, ROWS)
    before = path.read_bytes()
    with pytest.raises(DataError, match="^BAD_TABLE: .*name another file"):
        append(path, [["a", "b"]], ["path", "other"])
    assert path.read_bytes() == before

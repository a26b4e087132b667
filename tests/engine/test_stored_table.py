"""Tables below an address of fsspec: the bytes of a table on a disk, whoever goes on with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bear_classifier.engine import stored_table
from bear_classifier.engine.stored_table import StoredTable
from bear_classifier.errors import ConfigError
from bear_classifier.runtime.growing_table import GrowingTable

COLUMNS = ["path", "label", "error"]
ROWS = [[f"{n}.jpg", '=Bär, "zwei"\nZeilen', ""] for n in range(10)]


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_table, "_ROWS", 3)


def opened(folder: Path, made_by: str = "abc") -> StoredTable:
    return StoredTable(folder.as_uri(), "t.csv", COLUMNS, made_by)


def on_disk(folder: Path) -> bytes:
    with GrowingTable(folder / "plain.csv", COLUMNS, "abc") as table:
        for row in ROWS:
            table.add(row)
    return (folder / "plain.csv").read_bytes()


def pieces(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "t.csv.abc.begun").iterdir())


def stop_after(table: StoredTable, rows: list[list[str]]) -> None:
    with pytest.raises(KeyboardInterrupt), table:
        for row in rows:
            table.add(row)
        raise KeyboardInterrupt


def test_a_table_that_was_stopped_is_gone_on_with(tmp_path: Path) -> None:
    """By any machine, from the row at which it was stopped."""
    there = tmp_path / "there"
    stop_after(opened(there), ROWS[:4])
    assert len(pieces(there)) == 2 and not (there / "t.csv").exists()
    table = opened(there)
    assert table.done == {row[0]: "" for row in ROWS[:4]}
    stop_after(table, ROWS[4:5])
    with opened(there) as table:
        assert len(table.done) == 5
        for row in ROWS[5:]:
            table.add(row)
    assert (there / "t.csv").read_bytes() == on_disk(tmp_path)
    assert [path.name for path in there.iterdir()] == ["t.csv"]


def test_a_machine_that_dies_loses_less_than_a_piece(tmp_path: Path) -> None:
    table = opened(tmp_path)
    for row in ROWS[:8]:
        table.add(row)  # and never leaves its block
    assert len(opened(tmp_path).done) == 6


def test_what_is_no_whole_table_is_begun_anew(tmp_path: Path) -> None:
    stop_after(opened(tmp_path), ROWS[:7])
    first = tmp_path / "t.csv.abc.begun" / pieces(tmp_path)[0]
    first.write_bytes(b"another,heading\r\n" + first.read_bytes())
    table = opened(tmp_path)
    assert table.done == {} and not list(tmp_path.glob("t.csv.abc.begun/*"))
    with table:
        for row in ROWS:
            table.add(row)
    assert (tmp_path / "t.csv").read_bytes() == on_disk(tmp_path)


def test_a_piece_that_was_cut_off_loses_its_last_row(tmp_path: Path) -> None:
    stop_after(opened(tmp_path), ROWS[:7])
    last = tmp_path / "t.csv.abc.begun" / pieces(tmp_path)[-1]
    last.write_bytes(last.read_bytes()[:-3])
    with opened(tmp_path) as table:
        assert len(table.done) == 6
        for row in ROWS[6:]:
            table.add(row)
    assert (tmp_path / "t.csv").read_bytes() == on_disk(tmp_path)


def test_rows_of_another_model_stay(tmp_path: Path) -> None:
    stop_after(opened(tmp_path), ROWS[:7])
    assert opened(tmp_path, "other").done == {}
    assert len(opened(tmp_path).done) == 7


def test_an_address_that_cannot_be_used() -> None:
    with pytest.raises(ConfigError, match=r"NO_STORAGE: the place of the table, 'nosuch://x', can"):
        StoredTable("nosuch://x", "t.csv", COLUMNS, "abc")

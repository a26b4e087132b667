"""CSV tables that are written row by row, and gone on with after an interruption."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

from bear_classifier.errors import DataError
from bear_classifier.runtime.files import cell, replace, uncell, write_errors

_MARK = "\ufeff"  # byte order mark: Excel takes the file for UTF-8


class GrowingTable:
    """Rows go into a file beside the place, `NAME.MADE_BY.begun`, which gets the name in the end.
    In a `with` block: after an exception it stays, and the next table of the same columns and the
    same maker goes on after its last whole row. `done`: the first cell of its rows -> the last."""

    def __init__(self, path: Path, columns: Sequence[str], made_by: str) -> None:
        """made_by: what makes the rows, as part of a file's name; rows of another one are left
        alone. Raises DataError (DISK_FULL, CANNOT_WRITE)."""
        self.begun = path.with_name(f"{path.name}.{made_by}.begun")
        self.done: dict[str, str] = {}
        self._path, self._head = path, _line(columns)
        with write_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            end = 0
            if self.begun.is_file():
                end, self.done = _whole_rows(self.begun, self._head, len(columns))
            self._file = _opened_at(self.begun, end, self._head)

    def add(self, row: Sequence[object]) -> None:
        """Text that a spreadsheet would run as a formula is quoted by a '."""
        with write_errors(self._path):
            self._file.write(_line(row))
            self._file.flush()

    def __enter__(self) -> GrowingTable:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, _: TracebackType | None
    ) -> None:
        with write_errors(self._path):
            if kind is None:
                os.fsync(self._file.fileno())
            self._file.close()
            if kind is None:
                replace(self.begun, self._path)


class AppendedTable:
    """A table at its place that rows are appended to, now and by later programs. In a `with` block.
    `done`: the first cells of its rows."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        """A last row that was cut off is written anew. Raises DataError (BAD_TABLE: a file of other
        columns, DISK_FULL, CANNOT_WRITE)."""
        head, end = _line(columns), 0
        self._path, self.done = path, set[str]()
        with write_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_file() and path.stat().st_size:
                end, rows = _whole_rows(path, head, len(columns))
                self.done = set(rows)
                if not end:
                    words = f"{path} has not the columns of this model; name another file"
                    raise DataError("BAD_TABLE", words)
            self._file = _opened_at(path, end, head)

    def add(self, row: Sequence[object]) -> None:
        """Text that a spreadsheet would run as a formula is quoted by a '."""
        with write_errors(self._path):
            self._file.write(_line(row))
            self._file.flush()

    def __enter__(self) -> AppendedTable:
        return self

    def __exit__(self, *_: object) -> None:
        with write_errors(self._path):
            os.fsync(self._file.fileno())
            self._file.close()


def _opened_at(path: Path, end: int, head: bytes) -> IO[bytes]:
    """The file, cut off at a byte, to write on from there; with its head where that is 0."""
    file = path.open("r+b" if end else "wb")
    file.truncate(end)
    file.seek(end)
    if not end:
        file.write(_MARK.encode() + head)
    return file


def _whole_rows(path: Path, head: bytes, width: int) -> tuple[int, dict[str, str]]:
    """The byte after the last whole row, 0 where it is a table of another head; and the first cell
    of each row -> the last."""
    read, whole, end = 0, False, 0
    done: dict[str, str] = {}

    def lines() -> Iterator[str]:
        nonlocal read, whole
        with path.open("rb") as file:
            for line in file:
                read, whole = read + len(line), line.endswith(b"\r\n")
                yield line.decode(errors="replace").removeprefix(_MARK)

    rows = csv.reader(lines(), strict=True)
    try:
        if _line(next(rows, [])) != head or not whole:
            return 0, {}
        end = read
        for row in rows:
            if len(row) == width and whole:
                done[uncell(row[0])] = row[-1]
                end = read
    except csv.Error:  # cut off within a quoted cell
        pass
    return end, done


def _line(row: Sequence[object]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow([cell(value) for value in row])
    return text.getvalue().encode(errors="replace")

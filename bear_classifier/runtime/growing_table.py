"""A CSV table that is written row by row, and gone on with after an interruption."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

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
            end = self._whole_rows(len(columns))
            self._file = self.begun.open("r+b" if end else "wb")
            self._file.truncate(end)
            self._file.seek(end)
            if not end:
                self._file.write(_MARK.encode() + self._head)

    def _whole_rows(self, width: int) -> int:
        """The byte after the last whole row; 0 where nothing of this kind was begun."""
        if not self.begun.is_file():
            return 0
        read, whole, end = 0, False, 0

        def lines() -> Iterator[str]:
            nonlocal read, whole
            with self.begun.open("rb") as file:
                for line in file:
                    read, whole = read + len(line), line.endswith(b"\r\n")
                    yield line.decode(errors="replace").removeprefix(_MARK)

        rows = csv.reader(lines(), strict=True)
        try:
            if _line(next(rows, [])) != self._head or not whole:
                return 0
            end = read
            for row in rows:
                if len(row) == width and whole:
                    self.done[uncell(row[0])] = row[-1]
                    end = read
        except csv.Error:  # cut off within a quoted cell
            pass
        return end

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


def _line(row: Sequence[object]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow([cell(value) for value in row])
    return text.getvalue().encode(errors="replace")

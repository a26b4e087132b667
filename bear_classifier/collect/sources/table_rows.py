"""Rows of a table that somebody wrote: CSV of any delimiter, or JSON Lines."""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from bear_classifier.errors import DataError
from bear_classifier.runtime.files import long_cells

_DELIMITERS = ",\t;|"
_LOOKED = 50  # rows that show which delimiter divides them


@dataclass(frozen=True)
class RawTable:
    """name: of the file, for messages; rows: the number of the line and its cells, as many as there
    are names; has_heading: whether the names are those of the first line, and not made up."""

    name: str
    names: list[str]
    rows: list[tuple[int, list[str]]]
    has_heading: bool = True


def read_csv(data: bytes, name: str) -> RawTable:
    """UTF-8, or UTF-16 with a byte order mark; comma, tab, semicolon, | or blanks between cells;
    quotes around cells that hold them. The first row is the heading.

    Raises DataError (BAD_TABLE)."""
    text, skipped = _decoded(data, name), 0
    if said := re.match(r"sep=(.)\r?\n", text):  # as Excel writes it
        text, skipped = text[said.end() :], 1
    delimiter = said[1] if said else _delimiter(text)
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=delimiter != "\t"
    )
    rows: list[tuple[int, list[str]]] = []
    try:
        with long_cells():
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    rows.append((reader.line_num + skipped, [cell.strip() for cell in cells]))
    except csv.Error as exc:
        raise DataError("BAD_TABLE", f"{name}, line {reader.line_num}: {exc}; mend it") from exc
    if not rows:
        raise DataError("BAD_TABLE", f"{name} is empty; it needs a row for each photo")
    names = rows[0][1]
    return RawTable(name, names, [(line, _as_wide(cells, len(names))) for line, cells in rows[1:]])


def without_heading(table: RawTable) -> RawTable:
    """The same table, its first line a row as the others."""
    names = [f"column {number}" for number in range(1, len(table.names) + 1)]
    return RawTable(table.name, names, [(1, table.names), *table.rows], has_heading=False)


def read_json_lines(data: bytes, name: str) -> RawTable:
    """A JSON object a line; its values as text. Raises DataError (BAD_TABLE)."""
    found: list[tuple[int, dict[str, str]]] = []
    for line, text in enumerate(_decoded(data, name).split("\n"), 1):
        if text.strip():
            found.append((line, json_cells(text, f"{name}, line {line}")))
    names = list(dict.fromkeys(key for _, values in found for key in values))
    return RawTable(name, names, [(n, [values.get(k, "") for k in names]) for n, values in found])


def json_cells(text: str, where: str) -> dict[str, str]:
    """The values of a JSON object as text. Raises DataError (BAD_TABLE)."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise DataError("BAD_TABLE", f"{where} is not JSON: {str(exc)[:100]}; mend it") from exc
    if not isinstance(values, dict):
        raise DataError("BAD_TABLE", f'{where} is no JSON object, such as {{"file_name": ...}}')
    return {
        str(key): value if isinstance(value, str) else "" if value is None else json.dumps(value)
        for key, value in values.items()
    }


def _decoded(data: bytes, name: str) -> str:
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as exc:
        line = data[: exc.start].count(b"\n") + 1
        words = f"{name}, line {line} is not UTF-8; save the table as CSV UTF-8"
        raise DataError("BAD_TABLE", words) from exc


def _delimiter(text: str) -> str:
    """The one that divides most rows into as many cells as the first, and that into most."""
    start = "\n".join(text[: 1 << 20].splitlines()[:_LOOKED])

    def fitness(delimiter: str) -> tuple[bool, float, int]:
        try:
            rows = list(csv.reader(io.StringIO(start, newline=""), delimiter=delimiter))
        except csv.Error:
            return False, 0.0, 0
        widths = [len(row) for row in rows if row]
        alike = sum(width == widths[0] for width in widths) / len(widths) if widths else 0.0
        return bool(widths) and widths[0] > 1, alike, widths[0] if widths else 0

    best = max(_DELIMITERS, key=fitness)
    return best if fitness(best)[0] or not fitness(" ")[0] else " "


def _as_wide(cells: Sequence[str], width: int) -> list[str]:
    return [*cells[:width], *[""] * (width - len(cells))]


def columns(table: RawTable) -> dict[int, list[str]]:
    """The cells of every column, by its number."""
    return {n: [cells[n] for _, cells in table.rows] for n in range(len(table.names))}

"""Which column of a table names files, which holds classes, and which splits: by their content."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bear_classifier.collect.sources.file_names import FileNames, is_picture
from bear_classifier.collect.sources.table_rows import RawTable, columns, without_heading
from bear_classifier.config.project_file import folded
from bear_classifier.dataset.schema import SPLIT_NAMES
from bear_classifier.errors import DataError

_LOOKED = 2_000  # rows, taken evenly, that show which column names files
_OFTEN = 0.5  # of the most: a column that fits so often may be meant as well
_SHOWN = 3  # values of a column in a message
# Usual names, which decide between columns that fit alike.
_FILE = ("file_name", "filename", "file", "path", "filepath", "file_path", "image", "image_path",
         "image_id", "image_name", "img", "photo", "id", "name")  # fmt: skip
_LABEL = ("label", "class", "category", "target", "label_name", "class_name", "species", "breed",
          "labels", "classes", "y", "cls")  # fmt: skip
_SPLIT = ("split", "set", "subset", "partition", "usage", "fold", "phase", "dataset")


@dataclass(frozen=True)
class Columns:
    """Numbers of columns. file: -1 where the rows hold the photos themselves; label: -1 where
    `marks` has a column for each class, with a 1 or a 0 in it; split: -1 where there is none."""

    file: int
    label: int
    split: int
    marks: Mapping[int, str]


def find_columns(
    table: RawTable, files: FileNames, labels: Sequence[str], folder: str
) -> tuple[RawTable, Columns]:
    """The columns, and the table; its first row is one of the others where it names a file.

    folder: of the files, for messages. Raises DataError (NO_FILE_COLUMN, NO_CLASS_COLUMN,
    AMBIGUOUS_COLUMNS)."""
    if any(files.find(name) for name in table.names) and _classes([table.names], labels):
        table = without_heading(table)
    values = columns(table)
    step = max(1, len(table.rows) // _LOOKED)
    hits = {n: sum(bool(files.find(v)) for v in cells[::step] if v) for n, cells in values.items()}
    file = _chosen(table, hits, values, _FILE, "name files", alike_is_fine=True)
    if file < 0:
        raise DataError("NO_FILE_COLUMN", _no_file_column(table, values, files, folder))
    return table, find_classes(table, labels, values, file)


def find_classes(
    table: RawTable, labels: Sequence[str], values: Mapping[int, Sequence[str]], file: int = -1
) -> Columns:
    """The columns of classes and splits. values: the cells of every column, by its number; file:
    the one that names files. Raises DataError (NO_CLASS_COLUMN, AMBIGUOUS_COLUMNS)."""
    by_name = {folded(label): label for label in labels}
    rest = {n: Counter(cells) for n, cells in values.items() if n != file}
    hits = {n: _matching(counts, by_name) for n, counts in rest.items()}
    label = _chosen(table, hits, values, _LABEL, "hold classes")
    marks = {} if label >= 0 else _marks(table, rest, by_name)
    if label < 0 and not marks:
        raise DataError("NO_CLASS_COLUMN", _no_class_column(table, rest, labels))
    rest = {n: counts for n, counts in rest.items() if n != label and n not in marks}
    hits = {
        n: _matching(counts, SPLIT_NAMES)
        for n, counts in rest.items()
        if {folded(value) for value in counts} <= {*SPLIT_NAMES, ""}
    }
    split = _chosen(table, hits, values, _SPLIT, "hold splits")
    return Columns(file, label, split, marks)


def _chosen(
    table: RawTable,
    hits: Mapping[int, int],
    values: Mapping[int, Sequence[str]],
    usual: Sequence[str],
    what: str,
    alike_is_fine: bool = False,
) -> int:
    """The column with most hits, -1 without any. Of several that fit nearly as often the one with a
    usual name, in the order of these; alike_is_fine: or else the first."""
    most = max(hits.values(), default=0)
    if not most:
        return -1
    fitting = [n for n, count in hits.items() if count >= _OFTEN * most]
    best = [n for n in fitting if hits[n] == most]
    named = {table.names[n].casefold(): n for n in reversed(fitting)}
    by_name = next((named[name] for name in usual if name in named), None)
    if len(fitting) == 1 or all(values[n] == values[fitting[0]] for n in fitting):
        return fitting[0]
    if alike_is_fine:
        return by_name if by_name in best else best[0]
    if by_name is None:
        names = " and ".join(repr(table.names[n]) for n in fitting[:_SHOWN])
        raise DataError(
            "AMBIGUOUS_COLUMNS",
            f"{table.name}: the columns {names} all {what}, and differ; name the one that counts"
            f" {usual[0]!r}, or take the others out",
        )
    return by_name


def _classes(rows: Sequence[Sequence[str]], labels: Sequence[str]) -> bool:
    names = {folded(label) for label in labels}
    return any(folded(cell) in names for row in rows for cell in row)


def _matching(counts: Mapping[str, int], names: Mapping[str, str]) -> int:
    return sum(n for value, n in counts.items() if folded(value) in names)


def _marks(
    table: RawTable, rest: Mapping[int, Mapping[str, int]], by_name: Mapping[str, str]
) -> dict[int, str]:
    """Columns called as classes whose cells are numbers from 0 to 1."""
    named = {n: label for n in rest if (label := by_name.get(folded(table.names[n])))}
    are_marks = all(_is_mark(value) for n in named for value in rest[n])
    return named if len(named) > 1 and are_marks else {}


def _is_mark(text: str) -> bool:
    try:
        return not text or 0 <= float(text) <= 1
    except ValueError:
        return False


def class_of(columns: Columns, cells: Sequence[str]) -> str:
    """The text of the class of a row, "" where it has none or several."""
    if columns.label >= 0:
        return cells[columns.label]
    marked = [name for n, name in columns.marks.items() if cells[n] and float(cells[n]) >= 0.5]
    return marked[0] if len(marked) == 1 else ""


def _no_file_column(
    table: RawTable, values: Mapping[int, Sequence[str]], files: FileNames, folder: str
) -> str:
    if not files.paths:
        return f"there is no file below {folder}, where {table.name} lies, to look for its photos"
    cells = [cell for column in values.values() for cell in column[:1]]
    if any(cell.startswith(("http://", "https://")) for cell in cells):
        return (
            f"{table.name} holds addresses and no names of files; write lines of class, tab,"
            " address into a file of their own; run: bears run --source urls:FILE"
        )
    row, file = ", ".join(cells)[:100], next(filter(is_picture, files.paths), files.paths[0])
    return (
        f"no column of {table.name} names files below {folder}: its first row is {row!r}, and a"
        f" file there is {file!r}. Put the table into the folder of the photos, or above"
    )


def _no_class_column(
    table: RawTable, rest: Mapping[int, Mapping[str, int]], labels: Sequence[str]
) -> str:
    def shown(n: int) -> str:
        return ", ".join(repr(value[:20]) for value in list(rest[n])[:_SHOWN])

    few = sorted(rest, key=lambda n: (len(rest[n]) < 2, len(rest[n])))
    content = "; ".join(f"{table.names[n]!r} holds {shown(n)}" for n in few[:_SHOWN])
    return (
        f"no column of {table.name} holds classes of this project ({', '.join(labels)[:100]})"
        f"{': ' if content else ''}{content}. Name the classes in it as in [classes] of the project"
        " file, or make a project with its names; run: bears new mine --class first --class second"
    )

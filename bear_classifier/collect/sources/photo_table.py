"""Candidates from a table: a row for each photo, with its file, its class and perhaps its split."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any, get_args

from bear_classifier.collect.sources.file_names import FileNames, is_picture
from bear_classifier.collect.sources.files_below import (
    Node,
    change_stamp,
    files_below,
    readable_name,
)
from bear_classifier.collect.sources.local_files import Listing
from bear_classifier.collect.sources.search_engine import http_url
from bear_classifier.collect.sources.table_columns import Columns, class_of, find_columns
from bear_classifier.collect.sources.table_rows import RawTable, read_csv, read_json_lines
from bear_classifier.config.project_file import folded
from bear_classifier.dataset.formats.metadata import decisions_of
from bear_classifier.dataset.schema import CONFLICT, SPLIT_NAMES, Action, Source
from bear_classifier.errors import DataError
from bear_classifier.runtime.files import uncell
from bear_classifier.runtime.terminal import count

_SHOWN = 5  # rows of a table in an error
_MOST = 1_000  # rows that are named one by one
# Columns with these names are taken as they are: column -> field of a source.
_PUBLISHED_AS = {
    **{name: name for name in ("title", "author", "licence", "licence_url", "page")},
    "license": "licence",
    "license_url": "licence_url",
    "source": "final_url",
    "decisions": "decisions",
    "file_sha256": "expected",
}


def list_table(path: Path, labels: Sequence[str]) -> Listing:
    """Photos named in a table, with the files of its folder and the folders in it.

    Raises DataError: NO_FILE, BAD_TABLE, AMBIGUOUS_FILES, NO_PHOTOS and those of `find_columns`."""
    if not path.is_file():
        expected = "expected a table with a row for each photo: its file and its class"
        raise DataError("NO_FILE", f"{path} is not a file; {expected}")
    path = path.resolve()
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise DataError("NO_FILE", f"{path} cannot be read: {exc.strerror}") from exc
    table = read_table_of(data, str(path))
    return list_rows(table, path.parent, labels, "csv", split_of_name(path.stem))


def read_table_of(data: bytes, name: str) -> RawTable:
    """By the ending of the name: JSON Lines, or CSV."""
    lines = name.casefold().endswith((".jsonl", ".ndjson"))
    return read_json_lines(data, name) if lines else read_csv(data, name)


def split_of_name(name: str) -> str:
    return SPLIT_NAMES.get(folded(name), "")


def list_rows(
    table: RawTable, root: Node, labels: Sequence[str], kind: str, split: str = ""
) -> Listing:
    """The candidates that a table names among the files below `root`.

    The split of a photo is that of its row, or else of the folder right below `root` where all of
    these are splits, or else `split`. A file of two classes is a LABEL_CONFLICT."""
    ignored: dict[str, str] = {}
    places = [place for place in files_below(root, ignored) if str(place) != table.name]
    start = len(str(root)) + 1
    files = FileNames([str(place)[start:].replace("\\", "/") for place in places])
    table, columns = find_columns(table, files, labels, readable_name(str(root)))
    read = Reading(table, columns, labels, kind)
    rows: dict[int, Source] = {}
    unknown: dict[str, None] = {}
    doubtful: list[str] = []
    listed: set[int] = set()
    for line, cells in table.rows:
        where, name = f"{readable_name(table.name)}:{line}", cells[columns.file]
        listed.update(found := files.find(name))
        label = read.label(text := class_of(columns, cells))
        if label and len(found := _different(places, found)) > 1:
            both = " and ".join(str(places[number]) for number in found[:2])
            doubtful.append(f"{where}: {name!r} may be {both}")
        elif why := flaw(name, text, label, bool(found)):
            ignored[where] = why
            if text and not label:
                unknown[text[:60]] = None
        else:
            source = read.source(str(places[found[0]]), label, cells)
            rows[found[0]] = _joined(rows.get(found[0]), source, table.name)
    if doubtful:
        raise DataError(
            "AMBIGUOUS_FILES",
            f"{table.name} has {count(len(doubtful), 'name')} that may mean different files. Write"
            " their paths from the folder of the table, or move the other files away",
            doubtful[:_SHOWN],
        )
    if rest := sum(n not in listed and is_picture(path) for n, path in enumerate(files.paths)):
        name = re.split(r"[/\\]", readable_name(table.name))[-1]
        ignored[readable_name(str(root))] = f"photos without a row in {name}: {rest}"
    if not rows:
        first = next((f"; {where}: {why}" for where, why in ignored.items()), "")
        raise DataError(
            "NO_PHOTOS", f"{table.name} names no photo of a class of this project{first}"
        )
    by_folder = {} if columns.split >= 0 else _splits_of_folders(files, rows)
    candidates = [
        dataclasses.replace(
            source,
            stamp=change_stamp(places[number]),
            split=source.split or by_folder.get(number, "") or split,
        )
        for number, source in sorted(rows.items())
    ]
    return Listing(candidates, first_ignored(ignored), list(unknown))


def first_ignored(ignored: dict[str, str]) -> dict[str, str]:
    """The first of them, and how many more there are: the outcome of a stage is kept."""
    if len(ignored) <= _MOST:
        return ignored
    rest = f"{len(ignored) - _MOST:,} more rows like these"
    return {**dict(islice(ignored.items(), _MOST)), "...": rest}


class Reading:
    """What the rows of a table say of their photos."""

    def __init__(self, table: RawTable, columns: Columns, labels: Sequence[str], kind: str) -> None:
        self._columns, self._kind = columns, kind
        self._by_name = {folded(label): label for label in labels}
        self._published = [
            (n, _PUBLISHED_AS[name]) for n, name in enumerate(table.names) if name in _PUBLISHED_AS
        ]

    def label(self, text: str) -> str:
        """The class of this name, "" if there is none."""
        return self._by_name.get(folded(text), "")

    def source(self, origin: str, label: str, cells: Sequence[str]) -> Source:
        said = _publication({field: uncell(cells[n]) for n, field in self._published if cells[n]})
        split = split_of_name(cells[self._columns.split]) if self._columns.split >= 0 else ""
        return Source(origin, label, self._kind, split=split, **said)


def _publication(said: dict[str, Any]) -> dict[str, Any]:
    """What a row says of its photo, as far as it can be taken: columns of other tables may have the
    same names."""
    if "final_url" in said and not http_url(said["final_url"]):
        del said["final_url"]
    if "decisions" in said and not _are_decisions(said["decisions"]):
        del said["decisions"]
    return said


def _are_decisions(text: str) -> bool:
    try:
        made = decisions_of(text)
    except ValueError:
        return False
    return {decision.action for decision in made} <= {*get_args(Action), "confirm"}


def _joined(first: Source | None, second: Source, table: str) -> Source:
    """The source of a file that stands in two rows."""
    if first is None or first.code == CONFLICT:
        return first or second
    for what in ("label", "split"):
        one, other = getattr(first, what), getattr(second, what)
        if one != other:
            sentence = f"{table} lists it under {one} and {other}; keep one of these rows"
            return dataclasses.replace(first, code=CONFLICT, sentence=sentence)
    return first


def flaw(name: str, text: str, label: str, is_there: bool) -> str:
    """Why a row is no candidate, or nothing. text: its class, as it stands there."""
    if not name:
        return "names no file"
    if not text:
        return "has no class, or several"
    if not label:
        return f"{text[:60]!r} is not a class of this project"
    return "" if is_there else f"there is no file {name[:60]!r}"


def _splits_of_folders(files: FileNames, rows: dict[int, Source]) -> dict[int, str]:
    """The split by the first folder of each path, where every one of these is a split."""
    first = {n: files.paths[n].partition("/")[0] if "/" in files.paths[n] else "" for n in rows}
    splits = {number: split_of_name(folder) for number, folder in first.items()}
    return splits if all(splits.values()) else {}


def _different(places: Sequence[Node], found: Sequence[int]) -> list[int]:
    """Of files that a name fits alike, the first of each content."""
    if len(found) < 2:
        return list(found)
    contents: dict[str, int] = {}
    for number in found:
        contents.setdefault(hashlib.sha256(places[number].read_bytes()).hexdigest(), number)
    return list(contents.values())

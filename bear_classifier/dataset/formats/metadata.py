"""`metadata.csv` of an exported dataset: a row for each photo that the export holds.

UTF-8 without a mark, comma, heading; `file_name` is where the photo lies, from the folder of the
table and with /, as Hugging Face's imagefolder has it. Text that came from the web is quoted as
`runtime.files.cell` does it, so that no spreadsheet runs it as a formula.
"""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TextIO

from bear_classifier.dataset.schema import SPLITS
from bear_classifier.errors import DataError
from bear_classifier.runtime.files import cell, long_cells, uncell

METADATA = "metadata.csv"
_FROM_ELSEWHERE = ("title", "author", "licence", "licence_url", "page", "source", "decisions")


@dataclass(frozen=True)
class PastDecision:
    """What somebody decided on a photo, as its event has it: who, when (UTC), and what changed from
    old to new: the label, or of drop and restore the status."""

    action: str
    old: str
    new: str
    who: str
    at: str
    why: str = ""


@dataclass(frozen=True, slots=True)  # a dataset may have a million
class MetadataRow:
    """One photo.

    file_name: in a shard, the name of the shard, a slash, and the name in it; split: train, valid
    or test; group: of near-copies, which belong in one split; sha256: of the photo as the dataset
    stores it; file_sha256, file_bytes: of the file of the export, which has no EXIF; page, source:
    addresses of the web page that shows it and of the picture, or folder and name of a file;
    decisions: those in force, oldest first."""

    file_name: str
    label: str
    split: str = ""
    group: str = ""
    sha256: str = ""
    file_sha256: str = ""
    file_bytes: int = 0
    title: str = ""
    author: str = ""
    licence: str = ""
    licence_url: str = ""
    page: str = ""
    source: str = ""
    decisions: tuple[PastDecision, ...] = ()


METADATA_COLUMNS = tuple(field.name for field in fields(MetadataRow))


def write_rows(file: TextIO, rows: Iterable[MetadataRow]) -> None:
    """The heading and a line for each row. file: opened with newline=""."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(METADATA_COLUMNS)
    for row in rows:
        texts = {name: str(value) for name, value in values(row).items()}
        writer.writerow(cell(texts[n]) if n in _FROM_ELSEWHERE else texts[n] for n in texts)


def values(row: MetadataRow) -> dict[str, str | int]:
    """What the columns hold, by name: all are texts but file_bytes."""
    every = {name: getattr(row, name) for name in METADATA_COLUMNS}
    return every | {"decisions": decisions_text(row.decisions)}


def decisions_text(decisions: Iterable[PastDecision]) -> str:
    """JSON: a list of objects; "" of none."""
    every = [dataclasses.asdict(decision) for decision in decisions]
    return json.dumps(every, ensure_ascii=False) if every else ""


def read_rows(path: Path) -> Iterator[MetadataRow]:
    """The rows of such a table, one at a time; columns that it lacks are empty, others are passed
    over. Raises DataError (BAD_TABLE) for what is no such table, with the line."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file, long_cells():
            yield from _read(path, file)
    except (OSError, UnicodeDecodeError) as exc:
        encoding = isinstance(exc, UnicodeDecodeError)
        why = "it is not UTF-8; save it as CSV UTF-8" if encoding else exc
        raise DataError("BAD_TABLE", f"{path} cannot be read: {why}") from exc


def _read(path: Path, file: TextIO) -> Iterator[MetadataRow]:
    reader = csv.DictReader(file)
    try:
        if not {"file_name", "label"} <= set(reader.fieldnames or ()):
            have = ", ".join(reader.fieldnames or ())[:200] or "nothing"
            needs = "needs the columns file_name and label, and has"
            raise DataError("BAD_TABLE", f"{path} {needs} {have}")
        for line in reader:
            texts = {name: line.get(name) or "" for name in METADATA_COLUMNS}
            yield metadata_row(
                {n: uncell(t) if n in _FROM_ELSEWHERE else t for n, t in texts.items()}
            )
    except UnicodeDecodeError:
        raise
    except (csv.Error, ValueError) as exc:
        raise DataError("BAD_TABLE", f"{path}, line {reader.line_num}: {exc}") from exc


def metadata_row(columns: Mapping[str, object]) -> MetadataRow:
    """The row of what the columns hold; those that are missing are empty. Raises ValueError."""
    texts = {name: str(columns.get(name) or "") for name in METADATA_COLUMNS}
    if texts["split"] not in ("", *SPLITS):
        raise ValueError(f"split {texts['split'][:60]!r} is none of {', '.join(SPLITS)}")
    decisions = decisions_of(texts.pop("decisions"))
    size = texts.pop("file_bytes") or "0"
    if not size.isdecimal():
        raise ValueError(f"file_bytes {size[:60]!r} is no number")
    return MetadataRow(**texts, file_bytes=int(size), decisions=decisions)


def decisions_of(text: str) -> tuple[PastDecision, ...]:
    """What `decisions_text` was given. Raises ValueError."""
    if not text:
        return ()
    with suppress(ValueError, TypeError, RecursionError):
        made = tuple(PastDecision(**entry) for entry in json.loads(text))
        if all(isinstance(v, str) for one in made for v in dataclasses.astuple(one)):
            return made
    raise ValueError(f"decisions {text[:60]!r} are no list of decisions")

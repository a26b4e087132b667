"""Candidates from rows that hold the photos themselves: Parquet, WebDataset, and Hugging Face's
datasets."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bear_classifier.collect.sources.files_below import change_stamp
from bear_classifier.collect.sources.local_files import Listing
from bear_classifier.collect.sources.photo_table import Reading, first_ignored, flaw, split_of_name
from bear_classifier.collect.sources.table_columns import class_of, find_classes
from bear_classifier.collect.sources.table_rows import RawTable, columns
from bear_classifier.dataset.schema import Source
from bear_classifier.errors import DataError, PhotoError

USUAL = ("image", "img", "photo", "picture", "jpg")  # names of the column of photos
UNREAD_COLUMNS = (
    "group",
    "sha256",
    "file_bytes",
    "file_name",
)  # columns of an export, not read here
_ODD = re.compile(r"[^\w.\- ()]")


@dataclass(frozen=True)
class Shard:
    """Rows of one file or split. name: how origins of its photos begin; stamp: shows that it is
    another one; split: that all of it belongs to, or ""; names: (n,) of files, or empty texts;
    cells: the other columns, by name, n texts each."""

    name: str
    stamp: str
    split: str
    names: Sequence[str]
    cells: Mapping[str, Sequence[str]] = field(default_factory=dict)


def list_shards(where: str, kind: str, shards: Sequence[Shard], labels: Sequence[str]) -> Listing:
    """The rows of all shards as candidates; an origin is shard/row/name of the file.

    where: the dataset, for messages. Raises DataError (NO_PHOTOS and those of `find_classes`)."""
    names = list(dict.fromkeys(name for shard in shards for name in shard.cells))
    rows: list[tuple[int, list[str]]] = []
    places: list[tuple[Shard, int]] = []
    texts: dict[str, str] = {}  # one object for each text, however many rows hold it
    for shard in shards:
        nothing = [""] * len(shard.names)
        values = zip(*(shard.cells.get(name, nothing) for name in names), strict=True)
        rows += [
            (n, [texts.setdefault(cell, cell) for cell in row]) for n, row in enumerate(values)
        ]
        places += [(shard, number) for number in range(len(shard.names))]
    if not rows:
        raise DataError("NO_PHOTOS", f"{where} has no rows with photos and their classes")
    table = RawTable(where, names, rows)
    found = find_classes(table, labels, columns(table))
    read = Reading(table, found, labels, kind)
    candidates, ignored, unknown = [], dict[str, str](), dict[str, None]()
    for (shard, number), (_, cells) in zip(places, rows, strict=True):
        label = read.label(text := class_of(found, cells))
        origin = f"{shard.name}/{number}{_file(shard.names[number])}"
        if why := flaw(origin, text, label, True):
            ignored[origin] = why
            if text:
                unknown[text[:60]] = None
            continue
        source = read.source(origin, label, cells)
        split = source.split or shard.split
        candidates.append(dataclasses.replace(source, stamp=shard.stamp, split=split))
    if not candidates:
        raise DataError("NO_PHOTOS", f"{where} holds no photo of a class of this project")
    return Listing(candidates, first_ignored(ignored), list(unknown))


def holder_of(source: Source) -> Path:
    """The file in which a photo is. Raises PhotoError (UNREADABLE) where it was changed."""
    place = next((p for p in Path(source.origin).parents if p.is_file()), None)
    if place is None or change_stamp(place) != source.stamp:
        raise PhotoError("UNREADABLE", "the file was changed since it was listed; run again")
    return place


def row_of_origin(origin: str, shard: str) -> int:
    """The number of a row, from 0."""
    return int(origin[len(shard) + 1 :].split("/")[0])


def split_of_shard(name: str) -> str:
    """Of a name as train-00000-of-00004.parquet."""
    return split_of_name(re.split(r"[-_.]", name, maxsplit=1)[0])


def photo_column(where: str, names: Sequence[str]) -> str:
    """The column of photos among those that hold pictures.

    Raises DataError (NO_PHOTO_COLUMN, AMBIGUOUS_COLUMNS)."""
    if not names:
        words = "no column holds photos, as bytes or as Hugging Face's Image"
        raise DataError(
            "NO_PHOTO_COLUMN",
            f"{where}: {words}. Where a column names files, write the table as CSV beside them;"
            " run: bears run --source csv:FILE",
        )
    usual = [name for name in USUAL if name in names]
    if len(names) > 1 and not usual:
        raise DataError(
            "AMBIGUOUS_COLUMNS",
            f"{where}: the columns {' and '.join(map(repr, names[:3]))} all hold pictures; name the"
            " one that counts 'image', or take the others out",
        )
    return usual[0] if usual else names[0]


def _file(name: str) -> str:
    """/name of a file, without what would be a path or no text."""
    plain = _ODD.sub("_", re.split(r"[/\\]", name)[-1])[-80:]
    return f"/{plain}" if plain.strip(". ") else ""

"""Candidates from tars as WebDataset has them: photos, each with its class, row or text beside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import IO

from bear_classifier.collect.sources.file_names import is_picture
from bear_classifier.collect.sources.files_below import change_stamp, files_below
from bear_classifier.collect.sources.local_files import Listing
from bear_classifier.collect.sources.photo_rows import (
    UNREAD_COLUMNS,
    USUAL,
    Shard,
    holder_of,
    list_shards,
    row_of_origin,
    split_of_shard,
)
from bear_classifier.collect.sources.photo_table import split_of_name
from bear_classifier.collect.sources.table_rows import json_cells
from bear_classifier.collect.sources.tar_samples import Sample, TarExtent, samples_of, tar_content
from bear_classifier.dataset.schema import Source
from bear_classifier.errors import DataError, PhotoError
from bear_classifier.images.decoder import check_bytes
from bear_classifier.runtime.terminal import progress_bar

_ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
_ROW = "json"
_TEXTS = ("cls", "class", "label", "txt", "text", "split")  # endings of cells, as the library has
_NUMBER = "cls"  # of a class
_CLASSES = "classes.txt"  # a class a line, beside the tars; that of number 0 in the first
_CELL_BYTES = 1 << 20  # of a text that is read


def list_web_dataset(path: Path, labels: Sequence[str]) -> Listing:
    """The samples of a tar, or of all tars below a folder. Photos are not read.

    Raises DataError: NO_FILE, BAD_TABLE and those of `samples_of` and `list_shards`."""
    path = path.resolve()
    ignored: dict[str, str] = {}
    below = (Path(str(file)) for file in files_below(path, ignored)) if path.is_dir() else [path]
    tars = [file for file in below if file.name.lower().endswith(_ENDINGS) and file.is_file()]
    if not tars:
        raise DataError("NO_FILE", f"{path} is no tar, and no folder with some in it")
    shards = []
    for tar in progress_bar(tars, desc="search", unit="file", leave=False):
        shards.append(_shard(tar, ignored))
    named = [_named(shard, Path(shard.name).parent) for shard in shards]
    try:
        listing = list_shards(str(path), "webdataset", named, labels)
    except DataError as exc:
        if exc.code == "NO_CLASS_COLUMN" and any(_NUMBER in shard.cells for shard in shards):
            words = f"{exc.sentence}. Numbers of classes (.cls) get their names from a file"
            raise DataError(exc.code, f"{words} {_CLASSES} beside the tars, a name a line") from exc
        raise
    return Listing(listing.candidates, {**ignored, **listing.ignored}, listing.unknown)


def photo_of_sample(source: Source) -> bytes:
    """The photo of a sample. Raises PhotoError (UNREADABLE, TOO_LARGE)."""
    tar = holder_of(source)
    try:
        extent = _photos(str(tar), source.stamp)[row_of_origin(source.origin, str(tar))]
        check_bytes(extent.size)
        with tar.open("rb") as file:
            return tar_content(file, extent)
    except (DataError, OSError) as exc:
        raise PhotoError("UNREADABLE", f"{tar.name} cannot be read: {exc}") from exc


@lru_cache(4)
def _photos(tar: str, _stamp: str) -> list[TarExtent]:
    """Of each sample, in the order of the rows."""
    chosen = ((one, _photo(one)) for one in samples_of(Path(tar)))
    return [sample.files[ending] for sample, ending in chosen if ending]


def _shard(tar: Path, ignored: dict[str, str]) -> Shard:
    """ignored: gets what is no row."""
    names: list[str] = []
    rows: list[dict[str, str]] = []
    unread: Counter[str] = Counter()
    without = 0
    with tar.open("rb") as file:
        for sample in samples_of(tar):
            photo = _photo(sample)
            unread.update(sample.files.keys() - {photo, _ROW, *_TEXTS})
            if not photo:
                without += 1
                continue
            names.append(f"{sample.name}.{photo}")
            rows.append(_cells(file, sample, f"{tar}/{sample.name}"))
    if without:
        ignored[str(tar)] = f"samples without a photo, or with several: {without}"
    for ending, number in sorted(unread.items()):
        ignored[f"{tar}/*.{ending}"] = f"files that are not read: {number}"
    columns = dict.fromkeys(name for row in rows for name in row if name not in UNREAD_COLUMNS)
    cells = {name: [row.get(name, "") for row in rows] for name in columns}
    split = split_of_shard(tar.name) or split_of_name(tar.parent.name)
    return Shard(str(tar), change_stamp(tar), split, names, cells)


def _photo(sample: Sample) -> str:
    """The ending of the photo: of the only picture, or of the one with a usual name."""
    endings = [ending for ending in sample.files if is_picture(f"x.{ending}")]
    if len(endings) < 2:
        return next(iter(endings), "")
    usual = [one for one in endings if "." not in one or one.partition(".")[0] in USUAL]
    return usual[0] if len(usual) == 1 else ""


def _cells(file: IO[bytes], sample: Sample, where: str) -> dict[str, str]:
    cells: dict[str, str] = {}
    for ending in (*_TEXTS, _ROW):
        if (extent := sample.files.get(ending)) is None:
            continue
        try:
            if extent.size > _CELL_BYTES:
                raise ValueError(f"has {extent.size:,} bytes")
            text = tar_content(file, extent).decode("utf-8-sig").strip()
        except ValueError as exc:  # also of bytes that are not UTF-8
            raise DataError("BAD_TABLE", f"{where}.{ending} is no text: {exc}; mend it") from exc
        cells |= json_cells(text, f"{where}.{ending}") if ending == _ROW else {ending: text}
    return cells


def _named(shard: Shard, folder: Path) -> Shard:
    """The shard with names for the numbers of classes, where a list of them is there."""
    numbers: Sequence[str] = shard.cells.get(_NUMBER, ())
    if not (numbers and all(not cell or cell.isdecimal() for cell in numbers)):
        return shard
    names = _class_names(folder / _CLASSES)
    texts = [names.get(cell, "") for cell in numbers] if names else numbers
    cells: Mapping[str, Sequence[str]] = {**shard.cells, _NUMBER: texts}
    return Shard(shard.name, shard.stamp, shard.split, shard.names, cells)


def _class_names(path: Path) -> dict[str, str]:
    """Number -> name."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        return {str(number): name for number, name in enumerate(lines)}
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as exc:
        words = f"{path} cannot be read: {exc}; mend it, or move it away"
        raise DataError("BAD_TABLE", words) from exc

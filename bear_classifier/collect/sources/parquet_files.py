"""Candidates from Parquet files whose rows hold photos, as Hugging Face publishes datasets."""

from __future__ import annotations

import bisect
import json
import threading
from collections import deque
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any

from bear_classifier.collect.sources.files_below import change_stamp
from bear_classifier.collect.sources.local_files import Listing
from bear_classifier.collect.sources.photo_rows import (
    UNREAD_COLUMNS,
    Shard,
    holder_of,
    list_shards,
    photo_column,
    row_of_origin,
    split_of_shard,
)
from bear_classifier.collect.sources.photo_table import split_of_name
from bear_classifier.dataset.formats.parquet_shards import parquet_library
from bear_classifier.dataset.schema import Source
from bear_classifier.errors import DataError, PhotoError
from bear_classifier.images.decoder import check_bytes
from bear_classifier.runtime.terminal import progress_bar

_BATCH = 32  # photos that are held at once, of each of the last few batches
_KEPT = 4


def list_parquet(path: Path, labels: Sequence[str]) -> Listing:
    """The rows of a file, or of all files below a folder. Only the columns without photos are read.

    Raises ConfigError (NOT_INSTALLED), DataError (NO_FILE, BAD_TABLE, NO_PHOTO_COLUMN and those of
    `list_shards`)."""
    parquet_library()
    path = path.resolve()
    files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    if not files or not files[0].is_file():
        raise DataError("NO_FILE", f"{path} is no Parquet file, and no folder with some in it")
    shards = [_shard(file) for file in progress_bar(files, desc="search", unit="file", leave=False)]
    return list_shards(str(path), "parquet", shards, labels)


def photo_of_row(source: Source) -> bytes:
    """The photo of a row. Raises PhotoError (UNREADABLE, TOO_LARGE)."""
    place = holder_of(source)
    try:
        data = _photos(str(place), source.stamp).row(row_of_origin(source.origin, str(place)))
    except _errors() as exc:  # of a file that was cut or changed
        raise PhotoError("UNREADABLE", f"{place.name} cannot be read: {exc}") from exc
    if data is None:
        raise PhotoError("UNREADABLE", "the row holds no photo; only files in the rows are read")
    check_bytes(len(data))
    return data


def _errors() -> tuple[type[BaseException], ...]:
    """What reading a damaged file raises."""
    import pyarrow

    return pyarrow.ArrowException, OSError, ValueError


def _shard(path: Path) -> Shard:
    try:
        file = parquet_library().ParquetFile(path)
        schema = file.schema_arrow
        image = photo_column(str(path), [f.name for f in schema if _holds_photos(f)])
        names = [f.name for f in schema if _is_text(f) and f.name not in UNREAD_COLUMNS]
        paths = [f"{image}.path"] if _has_path(schema.field(image)) else []
        rows = file.read(columns=[*names, *paths])
        classes = _class_names(schema)
        cells = {
            name: _texts(rows.column(name).to_pylist(), classes.get(name, [])) for name in names
        }
        files = rows.column(image).to_pylist() if paths else [{}] * file.metadata.num_rows
        said = [str((value or {}).get("path") or "") for value in files]
    except _errors() as exc:
        words = f"{path} cannot be read as Parquet: {str(exc)[:200]}; copy or download it again"
        raise DataError("BAD_TABLE", words) from exc
    split = split_of_shard(path.name) or split_of_name(path.parent.name)
    return Shard(str(path), change_stamp(path), split, said, cells)


def _holds_photos(column: Any) -> bool:
    kind = column.type
    if hasattr(kind, "get_field_index") and kind.get_field_index("bytes") >= 0:
        kind = kind.field("bytes").type
    return str(kind) in ("binary", "large_binary", "binary_view")


def _has_path(column: Any) -> bool:
    kind = column.type
    return hasattr(kind, "get_field_index") and kind.get_field_index("path") >= 0


def _is_text(column: Any) -> bool:
    kind = str(column.type)
    return kind.startswith(("string", "large_string", "int", "uint", "float", "double", "bool",
                            "dictionary<values=string"))  # fmt: skip


def _class_names(schema: Any) -> dict[str, list[str]]:
    """Of each column of numbers that stand for classes the names, as Hugging Face keeps them."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        found = {name: one.get("names") for name, one in features.items() if isinstance(one, dict)}
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}
    return {name: list(map(str, names)) for name, names in found.items() if isinstance(names, list)}


def _texts(values: Sequence[Any], classes: Sequence[str]) -> list[str]:
    def text(value: Any) -> str:
        if isinstance(value, int) and 0 <= value < len(classes):
            return classes[value]
        return "" if value is None else str(value)

    return [text(value) for value in values]


@lru_cache(4)
def _photos(place: str, _stamp: str) -> _Photos:
    return _Photos(parquet_library().ParquetFile(place))


class _Photos:
    """The photos of one file, read on from the last one: neighbours are asked for one after the
    other, by several threads."""

    def __init__(self, file: Any) -> None:
        schema = file.schema_arrow
        self._file = file
        self._column = photo_column("", [f.name for f in schema if _holds_photos(f)])
        groups = [file.metadata.row_group(n).num_rows for n in range(file.metadata.num_row_groups)]
        self._starts = list(accumulate(groups, initial=0))
        self._recent: deque[tuple[int, list[Any]]] = deque(maxlen=_KEPT)
        self._next, self._batches = self._starts[-1], iter(())
        self._lock = threading.Lock()

    def row(self, number: int) -> bytes | None:
        """Raises ValueError where there is no such row."""
        with self._lock:
            for start, values in self._recent:
                if start <= number < start + len(values):
                    return _bytes_of(values[number - start])
            if number >= self._starts[-1]:
                raise ValueError(f"it has {self._starts[-1]} rows")
            group = bisect.bisect(self._starts, number) - 1
            if not self._next <= number or self._starts[group] > self._next:
                self._begin(group)
            while self._next <= number:
                batch = next(self._batches, None)
                if batch is None:
                    raise ValueError("it holds fewer rows than it says")
                values = batch.column(0).to_pylist()
                self._recent.append((self._next, values))
                self._next += len(values)
            start, values = self._recent[-1]
            return _bytes_of(values[number - start])

    def _begin(self, group: int) -> None:
        groups = range(group, len(self._starts) - 1)
        self._batches = self._file.iter_batches(_BATCH, row_groups=groups, columns=[self._column])
        self._next = self._starts[group]


def _bytes_of(value: Any) -> bytes | None:
    data = value.get("bytes") if isinstance(value, dict) else value
    return data if isinstance(data, bytes) else None

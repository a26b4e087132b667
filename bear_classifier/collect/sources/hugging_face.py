"""Candidates from a dataset of Hugging Face's library: by name, from its cache, or a folder."""

from __future__ import annotations

import dataclasses
import sys
import threading
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from bear_classifier.collect.sources.folder_changes import name_of
from bear_classifier.collect.sources.local_files import Listing
from bear_classifier.collect.sources.photo_rows import (
    Shard,
    list_shards,
    photo_column,
    row_of_origin,
)
from bear_classifier.collect.sources.photo_table import split_of_name
from bear_classifier.dataset.schema import Source
from bear_classifier.errors import ConfigError, DataError, PhotoError
from bear_classifier.images import decoder

_LOCK = threading.Lock()  # a dataset is read by one thread at a time


def list_hugging_face(path: Path, labels: Sequence[str]) -> Listing:
    """The rows of all splits. path: NAME, NAME:CONFIG or a folder. What the library does not have
    yet it downloads by itself; HF_HUB_OFFLINE=1 keeps it from asking anybody.

    Raises ConfigError (NOT_INSTALLED), DataError (NO_DATASET, NO_PHOTO_COLUMN and those of
    `list_shards`)."""
    where = name_of(path)
    splits = _splits(where)
    shards = [_shard(where, name, rows) for name, rows in splits.items()]
    listing = list_shards(where, "hf", shards, labels)
    licence = next((str(s.info.license) for s in splits.values() if s.info.license), "")
    candidates = [
        dataclasses.replace(one, licence=one.licence or licence) for one in listing.candidates
    ]
    return dataclasses.replace(listing, candidates=candidates)


def photo_of_dataset(source: Source) -> bytes:
    """The photo of a row. Raises PhotoError."""
    where = source.listed_in
    split, _, _ = source.origin[len(where) + 1 :].partition("/")
    try:
        with _LOCK:
            photos = _photos(where, split)
            value = photos[row_of_origin(source.origin, f"{where}/{split}")]
    except (DataError, ConfigError) as exc:
        raise PhotoError("UNREADABLE", exc.sentence) from exc
    except (OSError, ValueError, KeyError, IndexError) as exc:
        raise PhotoError("UNREADABLE", f"the dataset cannot be read: {exc}") from exc
    image = next(iter(value.values())) or {}
    if image.get("bytes"):
        decoder.check_bytes(len(image["bytes"]))
        return bytes(image["bytes"])
    return decoder.read_file(Path(image.get("path") or ""))


def _library() -> Any:
    try:
        import datasets
    except ImportError as exc:
        install = 'install it: pip install "bear-classifier[hf]"'
        words = f"hf:NAME needs the package datasets, which is not here; {install}"
        raise ConfigError("NOT_INSTALLED", words) from exc
    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    return datasets


@lru_cache(2)
def _splits(where: str) -> dict[str, Any]:
    """Split -> rows. where: as `name_of` has it."""
    library = _library()
    name, _, config = where.removeprefix("hf:").partition(":")
    place = Path(where)
    is_saved = any((place / n).is_file() for n in ("state.json", "dataset_dict.json"))
    try:
        if is_saved:
            made = library.load_from_disk(where)
        elif place.is_dir():
            made = library.load_dataset(where)
        else:
            made = library.load_dataset(name, config or None)
    except (OSError, ValueError, RuntimeError, library.exceptions.DatasetsError) as exc:
        why = " ".join(str(exc).split())[:300] or type(exc).__name__
        raise DataError(
            "NO_DATASET",
            f"Hugging Face's library cannot load {name!r}: {why}. Check the name (hf:OWNER/NAME, or"
            " hf:OWNER/NAME:CONFIG), or download its Parquet files; run: bears run --source"
            " parquet:FOLDER",
        ) from exc
    return dict(made) if isinstance(made, dict) else {str(made.split or "all"): made}


def _shard(where: str, name: str, rows: Any) -> Shard:
    library = _library()
    features = rows.features
    image = photo_column(where, [n for n, f in features.items() if isinstance(f, library.Image)])
    classes = {n: f for n, f in features.items() if isinstance(f, library.ClassLabel)}
    plain = [n for n, f in features.items() if isinstance(f, library.Value)]
    values = rows.select_columns([*classes, *plain])[:]
    cells = {n: [_text(classes.get(n), value) for value in values[n]] for n in values}
    photos = rows.select_columns([image]).cast_column(image, library.Image(decode=False))
    paths = [_path(value) for value in photos.data.column(image)]
    stamp = f"{rows.num_rows}-{rows.info.dataset_size or 0}"
    return Shard(f"{where}/{name}", stamp, split_of_name(name), paths, cells)


def _path(value: Any) -> str:
    path = value["path"]
    return str(path.as_py() or "")


def _text(classes: Any, value: Any) -> str:
    if value is None or (classes is not None and value < 0):  # -1: no label
        return ""
    return str(classes.int2str(value)) if classes is not None else str(value)


@lru_cache(4)
def _photos(where: str, split: str) -> Any:
    rows = _splits(where)[split]
    image = photo_column(
        where, [n for n, f in rows.features.items() if isinstance(f, _library().Image)]
    )
    return rows.select_columns([image]).cast_column(image, _library().Image(decode=False))

"""The sources of photos: an entry for each word that `search.source` may begin with."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from bear_classifier.collect.sources.files_below import METADATA_TABLES
from bear_classifier.collect.sources.search_engine import Engine
from bear_classifier.config.settings import SearchConfig
from bear_classifier.dataset.schema import Source

if TYPE_CHECKING:
    from bear_classifier.collect.sources.local_files import Listing


@dataclass(frozen=True)
class SourceKind:
    """about: how it is written, and what it is; takes_path: written as NAME:PATH; is_local: its
    photos are files of this computer; search: the module with its `engines(settings)`; by_region:
    whether `search.region` changes what a search finds; listing: module and function that list the
    photos of a table, an archive or a dataset; reader: those that give the bytes of a photo in it;
    endings: of the files that are meant."""

    about: str
    takes_path: bool = False
    is_local: bool = False
    search: str = ""
    by_region: bool = False
    listing: str = ""
    reader: str = ""
    endings: tuple[str, ...] = ()


SOURCES = {
    "folder": SourceKind('"folder:PATH" (a folder per class)', takes_path=True, is_local=True),
    "csv": SourceKind(
        '"csv:FILE" (a table that names files and classes)',
        takes_path=True,
        is_local=True,
        listing="photo_table.list_table",
        endings=(".csv", ".jsonl"),
    ),
    "imagefolder": SourceKind(
        '"imagefolder:PATH" (photos beside a metadata.csv)',
        takes_path=True,
        is_local=True,
        listing="image_folder.list_image_folder",
    ),
    "zip": SourceKind(
        '"zip:FILE" (such folders or tables with their photos, packed)',
        takes_path=True,
        is_local=True,
        listing="zip_files.list_zip",
        reader="zip_files.read_photo",
        endings=(".zip",),
    ),
    "parquet": SourceKind(
        '"parquet:PATH" (a file or folder of rows with photos in them)',
        takes_path=True,
        is_local=True,
        listing="parquet_files.list_parquet",
        reader="parquet_files.photo_of_row",
        endings=(".parquet",),
    ),
    "webdataset": SourceKind(
        '"webdataset:PATH" (a tar or folder of tars, as WebDataset has them)',
        takes_path=True,
        is_local=True,
        listing="web_dataset.list_web_dataset",
        reader="web_dataset.photo_of_sample",
        endings=(".tar",),
    ),
    "hf": SourceKind(
        '"hf:NAME" (a dataset of Hugging Face)',
        takes_path=True,
        is_local=True,
        listing="hugging_face.list_hugging_face",
        reader="hugging_face.photo_of_dataset",
    ),
    "unlabelled": SourceKind(
        '"unlabelled:PATH" (photos whose classes you confirm; or unlabelled:web,'
        " unlabelled:openverse: what a search finds, whatever words it was found by)",
        takes_path=True,
        is_local=True,
    ),
    "urls": SourceKind('"urls:FILE" (a line per picture: class, tab, address)', takes_path=True),
    "web": SourceKind('"web" (search DuckDuckGo and Bing)', search="duckduckgo", by_region=True),
    "openverse": SourceKind('"openverse" (search openly licensed pictures)', search="openverse"),
    "starter": SourceKind('"starter" (pictures drawn by code, no network)', is_local=True),
}
SEARCHES = tuple(name for name, kind in SOURCES.items() if kind.search)
LOCAL = tuple(name for name, kind in SOURCES.items() if kind.is_local)


def search_of(source: str) -> str:
    """The search that a source means, "" if none: "web" of "web" and of "unlabelled:web"."""
    kind = source.removeprefix("unlabelled:")
    return kind if kind in SEARCHES else ""


def kind_of(place: Path) -> str:
    """The kind that a file or folder looks meant for."""
    if place.is_file():
        endings = (name for name, kind in SOURCES.items() if place.suffix.lower() in kind.endings)
        return next(endings, "urls")
    for kind, pattern in (("parquet", "*.parquet"), ("webdataset", "*.tar")):
        if place.is_dir() and any(place.glob(pattern)):
            return kind
    has_table = any((place / name).is_file() for name in METADATA_TABLES)
    return "imagefolder" if has_table else "folder"


def lists(name: str) -> Callable[[Path, Sequence[str]], Listing]:
    """The function that lists the photos of a kind: (place, labels) -> `Listing`."""
    return cast("Callable[[Path, Sequence[str]], Listing]", _function(SOURCES[name].listing))


def reads(name: str) -> Callable[[Source], bytes] | None:
    """The function that gives the bytes of a photo of this kind; None where each is a file."""
    found = SOURCES[name].reader
    return cast("Callable[[Source], bytes]", _function(found)) if found else None


def _function(place: str) -> object:
    module, _, name = place.partition(".")
    return getattr(importlib.import_module(f"{__package__}.{module}"), name)


def engines(name: str, settings: SearchConfig) -> list[Engine]:
    """The search engines of a kind in SEARCHES, in order of preference."""
    module = importlib.import_module(f"bear_classifier.collect.sources.{SOURCES[name].search}")
    return list(module.engines(settings))

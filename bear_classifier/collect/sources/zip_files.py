"""Candidates from a ZIP with class folders, splits, or photos beside a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bear_classifier.collect.sources.files_below import Node, change_stamp, visible
from bear_classifier.collect.sources.image_folder import list_images
from bear_classifier.collect.sources.local_files import Listing
from bear_classifier.collect.sources.photo_table import (
    list_rows,
    read_table_of,
    split_of_name,
)
from bear_classifier.collect.sources.zip_tree import Packed, open_zip
from bear_classifier.config.project_file import folded
from bear_classifier.dataset.schema import Source
from bear_classifier.errors import DataError, PhotoError

_TABLES = (".csv", ".tsv", ".jsonl")


def list_zip(path: Path, labels: Sequence[str]) -> Listing:
    """What `imagefolder` would find in the archive, or in the only folder of it; or else the photos
    of the only table at the top. What macOS packs along is passed over.

    Raises DataError: those of `open_zip`, `list_images` and `list_rows`."""
    root = _below_wrappers(open_zip(path), {folded(label) for label in labels})
    tables = [place for place in _top(root) if place.is_file() and place.name.endswith(_TABLES)]
    try:
        return list_images(root, labels, "zip")
    except DataError as exc:
        if exc.code != "NO_CLASS_FOLDERS" or len(tables) != 1:
            raise
    table = read_table_of(tables[0].read_bytes(), str(tables[0]))
    return list_rows(table, root, labels, "zip", split_of_name(tables[0].name.partition(".")[0]))


def classes_of_zip(path: Path) -> list[str]:
    """The names of the folders in an archive that a new project would have as classes: those at its
    top, or in its splits. Raises DataError: those of `open_zip`, and NO_CLASS_FOLDERS."""
    root = _below_wrappers(open_zip(path), set())
    folders = [place for place in _top(root) if place.is_dir()]
    splits = [place for place in folders if split_of_name(place.name)]
    if splits and len(splits) == len(folders):
        folders = [place for split in splits for place in _top(split) if place.is_dir()]
    names = list(dict.fromkeys(place.name for place in folders))
    if not names:
        words = "expected a folder per class in it, each with photos"
        raise DataError("NO_CLASS_FOLDERS", f"{path.name} has no folders; {words}")
    return names


def read_photo(source: Source) -> bytes:
    """The bytes of a photo in an archive. Raises PhotoError."""
    try:
        at: Packed | None = open_zip(Path(source.listed_in))
    except DataError as exc:
        raise PhotoError("UNREADABLE", exc.sentence) from exc
    for part in source.origin[len(source.listed_in) + 1 :].split("/"):
        at = at.inside.get(part) if at else None
    if at is None or change_stamp(at) != source.stamp:
        raise PhotoError("UNREADABLE", "the ZIP was changed since it was listed; run again")
    return at.photo()


def _below_wrappers(root: Node, classes: set[str]) -> Node:
    """The folder in which there is more than one thing, or one that says something."""
    inside = _top(root)
    while len(inside) == 1 and inside[0].is_dir():
        name = inside[0].name
        if folded(name) in classes or split_of_name(name):
            break
        root, inside = inside[0], _top(inside[0])
    return root


def _top(root: Node) -> list[Node]:
    return list(visible(sorted(root.iterdir()), {}))

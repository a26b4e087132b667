"""Candidates from a folder as Hugging Face's imagefolder has it: class folders, or photos beside a
`metadata.csv` or `metadata.jsonl`, for all of them or for each split."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from bear_classifier.collect.sources.files_below import METADATA_TABLES, Node, visible
from bear_classifier.collect.sources.local_files import Listing, list_class_folders
from bear_classifier.collect.sources.photo_table import list_rows, read_table_of, split_of_name
from bear_classifier.dataset.schema import Source
from bear_classifier.errors import DataError


def list_image_folder(root: Path, labels: Sequence[str]) -> Listing:
    """The photos of the table at the top, or else of those in the folders below that are splits, or
    else of the class folders. What `bears dataset export` wrote has a table.

    Raises DataError: NO_FOLDER and those of `photo_table.list_rows` and `list_class_folders`."""
    if not root.is_dir():
        words = "expected one with class folders, or with photos and a metadata.csv"
        raise DataError("NO_FOLDER", f"{root} is not a folder; {words}")
    return list_images(root.resolve(), labels, "imagefolder")


def list_images(root: Node, labels: Sequence[str], kind: str) -> Listing:
    """As `list_image_folder`, of a folder that is there; also of one in an archive."""
    if table := _table(root):
        try:
            return _listed(table, root, labels, kind)
        except DataError as exc:
            if exc.code != "NO_CLASS_COLUMN":
                raise
            with suppress(DataError):  # such as captions of photos in class folders
                return list_class_folders(root, labels, kind)
            raise
    inside = [place for place in visible(sorted(root.iterdir()), {}) if place.is_dir()]
    tables = [(place, table) for place in inside if (table := _table(place))]
    splits = [split_of_name(place.name) for place, _ in tables]
    if not tables or not all(splits):
        return list_class_folders(root, labels, kind)
    candidates: list[Source] = []
    ignored: dict[str, str] = {}
    unknown: dict[str, None] = {}
    for (place, table), split in zip(tables, splits, strict=True):
        listing = _listed(table, place, labels, kind, split)
        candidates += listing.candidates
        ignored |= listing.ignored
        unknown |= dict.fromkeys(listing.unknown)
    left_out = [place for place in inside if place not in [place for place, _ in tables]]
    ignored |= {str(place): "no split with a metadata.csv in it" for place in left_out}
    return Listing(candidates, ignored, list(unknown))


def _table(folder: Node) -> Node | None:
    """The table of a folder; that of two which programs read in different ways is the CSV."""
    found = {place.name: place for place in folder.iterdir() if place.is_file()}
    return next((found[name] for name in METADATA_TABLES if name in found), None)


def _listed(table: Node, root: Node, labels: Sequence[str], kind: str, split: str = "") -> Listing:
    return list_rows(read_table_of(table.read_bytes(), str(table)), root, labels, kind, split)

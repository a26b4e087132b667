"""The gallery: all photos of a dataset by class and source, with or without a first model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import tee
from pathlib import PurePath
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query

from bear_classifier.config.settings import Config
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.photo_columns import Hashes, Words
from bear_classifier.dataset.queries import every_origin
from bear_classifier.dataset.schema import Photo
from bear_classifier.dataset.sources import sites_of
from bear_classifier.report.provenance import shortened
from bear_classifier.review.catalog_view import Fresh, Now
from bear_classifier.review.queue import event_row
from bear_classifier.stats.arrays import Bools, Ints
from bear_classifier.web.guard import Refused

USES = ("all", "in use", "unlabelled", "set aside", "dropped")
_USE_OF = {"ok": "in use", "unlabelled": "unlabelled", "dropped": "dropped"}
_Key = tuple[str, str, str]  # label, source, use
_MOST_SOURCES = 300  # that the filter lists; the rest can be seen without it


@dataclass(frozen=True)
class GalleryFilter:
    """label, source: "" for any; use: one of USES."""

    label: str = ""
    source: str = ""
    use: str = "all"

    def fits(self, key: _Key) -> bool:
        label, source, use = key
        return (
            self.label in ("", label) and self.source in ("", source) and self.use in ("all", use)
        )


@dataclass(frozen=True)
class _Sorted:
    """n photos by class, source and hash. rows: (n,) of the catalog's columns; amounts: of photos
    by label, source and use."""

    rows: Ints
    label: Words
    source: Words
    use: Words
    amounts: dict[_Key, int]

    def fits(self, chosen: GalleryFilter) -> Bools:
        """(n,) which photos the filter shows."""
        found = np.ones(len(self.rows), dtype=bool)
        for words, value in ((self.label, chosen.label), (self.source, chosen.source)):
            if value:
                found &= words.is_(value)
        return found & self.use.is_(chosen.use) if chosen.use != "all" else found


class Gallery:
    """All photos in the order of their class and source, sorted when the catalog has changed; what
    is shown of them is read from it."""

    def __init__(self, config: Config) -> None:
        self._table = config.split.sources
        self._sources: tuple[Hashes | None, Words] = None, Words((), np.zeros(0, dtype=np.int32))
        self._sorted: tuple[Now | None, _Sorted | None] = None, None

    def photos(self, catalog: Catalog, today: Now) -> _Sorted:
        last, ordered = self._sorted
        if ordered is None or last is not today:
            if self._sources[0] is not today.photos.hashes:
                hashes = today.photos.hashes
                self._sources = hashes, source_column(catalog, hashes, self._table)
            ordered = _sorted(today, self._sources[1])
            self._sorted = today, ordered
        return ordered

    def page(
        self, catalog: Catalog, today: Now, chosen: GalleryFilter, offset: int, limit: int
    ) -> dict[str, Any]:
        """Rows from `offset` on, how many there are, and what can be chosen with their numbers."""
        every = self.photos(catalog, today)
        labels, sources, uses = (Counter[str]() for _ in range(3))
        for (label, source, use), n in every.amounts.items():
            if chosen.fits((chosen.label, source, use)):
                labels[label] += n
            if chosen.fits((label, chosen.source, use)):
                sources[source] += n
            uses[use] += n
        shown = np.flatnonzero(every.fits(chosen))
        some = shown[offset : offset + limit]
        names = today.photos.hashes.some(every.rows[some])
        rows = gallery_rows(catalog, today, names)
        for row, source in zip(rows, every.source.some(some), strict=True):
            row["source"] = source
        return {
            "total": len(shown),
            "offset": offset,
            "rows": rows,
            "any_label": labels.total(),
            "labels": {label: n for label, n in labels.items() if label},
            "any_source": sources.total(),
            "sources": sources.most_common(_MOST_SOURCES),
            "uses": {**uses, "all": len(every.rows)},
        }


def _sorted(today: Now, source: Words) -> _Sorted:
    """source: of each photo."""
    photos = today.photos
    numbers = [USES.index(_USE_OF.get(word, "set aside")) for word in photos.status.words]
    use = np.array(numbers or [0], dtype=np.int32)[photos.status.numbers]
    rows = np.lexsort((_place(source), _place(photos.label)))
    label, of, used = photos.label.at_rows(rows), source.at_rows(rows), Words(USES, use[rows])
    keys = np.stack([label.numbers, of.numbers, used.numbers], axis=1)
    found, first, amounts = np.unique(keys, axis=0, return_index=True, return_counts=True)
    order = np.argsort(first)
    named = [(label.words[i], of.words[j], USES[k]) for i, j, k in found[order].tolist()]
    total = dict(zip(named, amounts[order].tolist(), strict=True))
    return _Sorted(rows, label, of, used, total)


def _place(column: Words) -> Ints:
    """(n,) the place of each word in the order of words."""
    words = sorted(column.words)
    return column.numbered(words).astype(np.int64)


def source_column(catalog: Catalog, hashes: Hashes, table: str) -> Words:
    """The source of each of these photos as `sites` names it, or else the folder that its file was
    in, below the one that all of them are in."""
    number: dict[tuple[str, str], int] = {}  # of a site, or of a folder
    folders: dict[int, PurePath] = {}
    names: list[bytes] = []
    rows, again = tee(every_origin(catalog))
    found = sites_of(((origin, page) for _, origin, page in again), table)

    def numbers() -> Iterator[int]:
        for (name, origin, _), site in zip(rows, found, strict=True):
            names.append(name.encode())
            start = "" if site else origin[: max(origin.rfind("/"), origin.rfind("\\")) + 1]
            one = number.setdefault((site, start), len(number))
            if not site and one not in folders:
                folders[one] = PurePath(origin).parent
            yield one

    as_they_lie = np.fromiter(numbers(), dtype=np.int32)
    at = Hashes.of(np.array(names, dtype="S64")).find(hashes.names)
    of_photo = as_they_lie[at]
    short = dict(zip(folders, shortened(list(folders.values())), strict=True))
    named = [short.get(one, site) for one, (site, _) in enumerate(number)]
    words = tuple(dict.fromkeys(named))
    place = np.array([words.index(name) for name in named] or [0], dtype=np.int32)
    return Words(words, place[of_photo])


def gallery_rows(catalog: Catalog, today: Now, hashes: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of those of these photos that are in the catalog, in this order; no others are
    read."""
    photos = {photo.sha256: photo for photo in catalog.photos_of(hashes)}
    return [photo_row(today, photos[sha256]) for sha256 in hashes if sha256 in photos]


def photo_row(today: Now, photo: Photo) -> dict[str, Any]:
    """A photo without what a ranking says of it; the rest as in `queue.row`."""
    event = today.decided.get(photo.sha256)
    return {
        "sha256": photo.sha256,
        "label": photo.label,
        "split": photo.split,
        "status": photo.status,
        "reason": photo.reason,
        "origin": photo.origin,
        "decision": event_row(event) if event else None,
        "width": photo.width,
        "height": photo.height,
        "based": today.revision,
    }


def gallery_routes(config: Config, fresh: Fresh) -> APIRouter:
    routes, gallery = APIRouter(), Gallery(config)

    @routes.get("/api/gallery")
    def show(
        label: str = "",
        source: str = "",
        use: str = "all",
        offset: Annotated[int, Query(ge=0)] = 0,
        limit: Annotated[int, Query(ge=1, le=200)] = 60,
    ) -> dict[str, Any]:
        if use not in USES:
            raise Refused(400, "BAD_FILTER", f"use {use[:50]!r} is not one of {USES}")
        with fresh.turn() as (catalog, today):
            chosen = GalleryFilter(label, source, use)
            return gallery.page(catalog, today, chosen, offset, limit)

    return routes

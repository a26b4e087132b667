"""The gallery: all photos of a dataset by class and source, with or without a first model."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Query

from bear_classifier.config.settings import Config
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import Photo
from bear_classifier.report.provenance import origins
from bear_classifier.review.catalog_view import Fresh, Now
from bear_classifier.review.queue import event_row
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


class Gallery:
    """All photos in the order of their class and source, sorted when the catalog has changed."""

    def __init__(self, config: Config) -> None:
        self._table = config.split.sources
        self._sources: dict[str, str] = {}
        self._sorted: tuple[Now | None, list[tuple[_Key, Photo]]] = (None, [])
        self._amounts: Counter[_Key] = Counter()

    def photos(self, catalog: Catalog, today: Now) -> list[tuple[_Key, Photo]]:
        """Each with its label, source and use."""
        if today.photos.keys() - self._sources.keys():
            self._sources = origins(catalog, list(today.photos.values()), self._table)
        last, ordered = self._sorted
        if last is not today:
            by = self._sources
            keys = (((p.label, by[p.sha256], use_of(p)), p) for p in today.photos.values())
            ordered = sorted(keys, key=lambda one: (*one[0][:2], one[1].sha256))
            self._sorted = today, ordered
            self._amounts = Counter(key for key, _ in ordered)
        return ordered

    def page(
        self, catalog: Catalog, today: Now, chosen: GalleryFilter, offset: int, limit: int
    ) -> dict[str, Any]:
        """Rows from `offset` on, how many there are, and what can be chosen with their numbers."""
        every = self.photos(catalog, today)
        fits = {key for key in self._amounts if chosen.fits(key)}
        shown = [photo for key, photo in every if key in fits]
        labels, sources, uses = (Counter[str]() for _ in range(3))
        for (label, source, use), n in self._amounts.items():
            if chosen.fits((chosen.label, source, use)):
                labels[label] += n
            if chosen.fits((label, chosen.source, use)):
                sources[source] += n
            uses[use] += n
        return {
            "total": len(shown),
            "offset": offset,
            "rows": [
                photo_row(today, photo) | {"source": self._sources[photo.sha256]}
                for photo in shown[offset : offset + limit]
            ],
            "any_label": labels.total(),
            "labels": {label: n for label, n in labels.items() if label},
            "any_source": sources.total(),
            "sources": sources.most_common(_MOST_SOURCES),
            "uses": {**uses, "all": len(every)},
        }


def use_of(photo: Photo) -> str:
    """One of USES but "all"."""
    return _USE_OF.get(photo.status, "set aside")


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

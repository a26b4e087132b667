"""Photos without a label in the page: the next batch, with the classes that are proposed."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query

from bear_classifier.config.settings import Config
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.errors import DataError
from bear_classifier.review.catalog_view import Fresh, Now
from bear_classifier.review.gallery import photo_row

if TYPE_CHECKING:
    from bear_classifier.judge.label import Pool, Proposal


class Batches:
    """The next photos to label. The pool is read once, and again where photos are new in it."""

    def __init__(self, root: Path, config: Config, labels: Sequence[str]) -> None:
        """labels: the classes; another part of the program adds new ones."""
        self._root, self._config, self._labels = root, config, labels
        self._lock = threading.Lock()
        self._pool: Pool | None = None
        self._last: tuple[tuple[Any, ...], list[Proposal]] = ((), [])

    def next(self, today: Now, n: int) -> list[Proposal]:
        """Raises DataError (NO_FEATURES)."""
        from bear_classifier.judge.label import load_pool, proposals

        asked = (today.revision, len(today.photos), n, *self._labels)
        with self._lock:
            if self._last[0] == asked:
                return self._last[1]
            waiting = {p.sha256 for p in today.photos.values() if p.status == "unlabelled"}
            if waiting and (self._pool is None or not waiting <= self._pool.rows.keys()):
                with Catalog(self._root) as catalog:
                    self._pool = load_pool(catalog, self._config)
            photos = list(today.photos.values())
            found = proposals(photos, self._labels, self._pool, n) if self._pool else []
            self._last = asked, found
            return found


def label_routes(root: Path, config: Config, fresh: Fresh, labels: Sequence[str]) -> APIRouter:
    routes, batches = APIRouter(), Batches(root, config, labels)

    @routes.get("/api/label")
    def show(limit: Annotated[int, Query(ge=1, le=100)] = 24) -> dict[str, Any]:
        today, why = fresh.now(), ""
        try:
            found = batches.next(today, limit)
        except DataError as exc:
            found, why = [], exc.sentence
        photos = today.photos.values()
        confirmed = Counter(p.label for p in photos if p.status == "ok")
        return {
            "left": sum(photo.status == "unlabelled" for photo in photos),
            "confirmed": {label: confirmed[label] for label in labels},
            "why_none": why,
            "rows": [
                photo_row(today, today.photos[one.sha256])
                | {"suggested": one.suggested, "chances": one.probabilities, "why": one.why}
                for one in found
            ],
        }

    return routes

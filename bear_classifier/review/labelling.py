"""Photos without a label in the page: the next batch, with the classes that are proposed."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query

from bear_classifier.config.settings import Config
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.errors import DataError
from bear_classifier.review.catalog_view import Fresh
from bear_classifier.review.gallery import gallery_rows

if TYPE_CHECKING:
    from bear_classifier.judge.label import Pool, Proposal


class Batches:
    """The next photos to label. The pool is opened once, and again where photos are new in it."""

    def __init__(self, root: Path, config: Config, fresh: Fresh, labels: Sequence[str]) -> None:
        """labels: the classes; another part of the program adds new ones."""
        self._root, self._config, self._fresh, self._labels = root, config, fresh, labels
        self._lock = threading.Lock()
        self._pool: Pool | None = None
        self._last: tuple[tuple[Any, ...], list[Proposal]] = ((), [])

    def next(self, n: int) -> list[Proposal]:
        """Raises DataError (NO_FEATURES)."""
        from bear_classifier.judge.label import asked, load_pool, proposals

        with self._lock:
            with self._fresh.turn() as (catalog, today):
                now = (today.revision, len(today.photos), n, *self._labels)
                if self._last[0] == now:
                    return self._last[1]
                waiting = asked(catalog, self._labels)
            pairs = zip(waiting.names, waiting.labels, strict=True)
            unlabelled = [sha256 for sha256, label in pairs if not label]
            if unlabelled and (self._pool is None or not self._pool.knows(unlabelled).all()):
                with Catalog(self._root) as catalog:
                    self._pool = load_pool(catalog, self._config)
            found = proposals(waiting, self._labels, self._pool, n) if self._pool else []
            self._last = now, found
            return found


def label_routes(root: Path, config: Config, fresh: Fresh, labels: Sequence[str]) -> APIRouter:
    routes, batches = APIRouter(), Batches(root, config, fresh, labels)

    @routes.get("/api/label")
    def show(limit: Annotated[int, Query(ge=1, le=100)] = 24) -> dict[str, Any]:
        why = ""
        try:
            found = batches.next(limit)
        except DataError as exc:
            found, why = [], exc.sentence
        with fresh.turn() as (catalog, today):
            rows = gallery_rows(catalog, today, [one.sha256 for one in found])
        photos = today.photos
        in_use = photos.status.is_("ok")
        return {
            "left": int(photos.status.is_("unlabelled").sum()),
            "confirmed": {label: int((in_use & photos.label.is_(label)).sum()) for label in labels},
            "why_none": why,
            "rows": [
                row | {"suggested": one.suggested, "chances": one.probabilities, "why": one.why}
                for row, one in zip(rows, found, strict=True)
            ],
        }

    return routes

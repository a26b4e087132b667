"""A view of the catalog for many threads, cached until somebody writes.

The page asks for it with every answer. What somebody else wrote is noticed by SQLite's own counter,
which leaves out what this connection wrote; then everything is read anew.
"""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.decisions import decided, in_force
from bear_classifier.dataset.photo_columns import PhotoColumns, photo_columns
from bear_classifier.dataset.schema import Event


@dataclass(frozen=True)
class Now:
    """The catalog at one moment. revision: read first, so that it is never too new for the rest.

    photos: of all; the rest of a photo is read when it is shown."""

    revision: int
    photos: PhotoColumns
    decided: dict[str, Event]

    def is_test(self, sha256: str) -> bool:
        row = self.photos.hashes.row(sha256)
        return row is not None and self.photos.split.at(row) == "test"


def current_state(catalog: Catalog) -> Now:
    at = catalog.revision()
    return Now(at, photo_columns(catalog), decided(catalog))


def after(catalog: Catalog, before: Now, events: Sequence[Event]) -> Now:
    """What these events, the only ones since `before`, have left; only their photos are read."""
    hashes = {event.sha256 for event in events}
    photos = before.photos.changed(catalog.photos_of(hashes))
    decisions = {sha: event for sha, event in before.decided.items() if sha not in hashes}
    newest_first = "WHERE sha256 IN (SELECT value FROM json_each(?)) ORDER BY id DESC"
    for event in in_force(catalog.events(newest_first, (json.dumps(sorted(hashes)),))):
        if event.undoes is None and event.request:
            decisions.setdefault(event.sha256, event)
    return Now(max([before.revision, *(event.id for event in events)]), photos, decisions)


class SharedCatalog(Catalog):
    """A catalog that stays open while others write to it, for threads that take turns."""

    def others(self) -> int:
        """A number that changes as soon as another connection has written."""
        return int(self._select(["data_version"], "pragma_data_version")[0][0])


class Fresh:
    """The catalog for one thread at a time, and what it holds."""

    def __init__(self, root: Path) -> None:
        self._lock = threading.RLock()
        self._catalog = SharedCatalog(root, shared=True)
        self._read()

    def _read(self) -> None:
        others = self._catalog.others()  # first, so that nothing is taken for known that is not
        self.last = current_state(self._catalog)
        self._others = others

    @contextmanager
    def turn(self) -> Iterator[tuple[Catalog, Now]]:
        with self._lock:
            known = self._others, self.last.revision
            if (self._catalog.others(), self._catalog.revision()) != known:
                self._read()
            yield self._catalog, self.last

    def now(self) -> Now:
        with self.turn() as (_, today):
            return today

    def after(self, events: Sequence[Event]) -> Now:
        """Once the holder of the turn has written these events."""
        if self._catalog.others() == self._others:
            self.last = after(self._catalog, self.last, events)
        else:
            self._read()
        return self.last

    @asynccontextmanager
    async def while_served(self, _: object) -> AsyncIterator[None]:
        yield
        with self._lock:
            self._catalog.close()

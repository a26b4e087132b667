"""The catalog of a dataset: one SQLite file of photos, sources, decisions and runs.

Layout of a dataset folder: `catalog.sqlite`, `copies/` of it, `photos/ab/<sha256>.<format>`
(immutable, content-addressed), and one folder per stage that leaves something behind. Labels, sides
and quarantine are rows, never file moves.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from bear_classifier.dataset import backups, schema
from bear_classifier.dataset.backups import check_pages, damage_explained
from bear_classifier.dataset.lock import hold
from bear_classifier.dataset.schema import (
    Event,
    Photo,
    Published,
    SearchPage,
    Source,
    StageRun,
    Status,
    TakeDown,
)
from bear_classifier.errors import DataError

_PHOTO_COLUMNS = [f.name for f in dataclasses.fields(Photo)]
_SOURCE_COLUMNS = [f.name for f in dataclasses.fields(Source)]
_PAGE_COLUMNS = [f.name for f in dataclasses.fields(SearchPage)]
_EVENT_COLUMNS = [f.name for f in dataclasses.fields(Event)]


class Catalog:
    """One dataset. Reading is free; writing happens in `transaction()` under `lock()`.

    Raises DataError (CATALOG_DAMAGED, CATALOG_VERSION, CATALOG_BUSY, DISK_FULL, CATALOG_UNUSABLE).
    """

    def __init__(self, root: Path, shared: bool = False) -> None:
        """shared: used by several threads, which take turns by themselves."""
        self.root = root
        self.path = root / backups.CATALOG
        self._frozen: tuple[int, list[Photo]] | None = None
        self._kept: tuple[Any, dict[str, Any]] = None, {}  # state of the catalog, what `once` found
        self._looked: datetime | None = None  # when a copy was last thought of
        try:
            root.mkdir(parents=True, exist_ok=True)
            with damage_explained(self.path):
                self._refuse_emptied()
                if backups.is_cut_off(root):
                    raise sqlite3.DatabaseError("putting back a copy was cut off")
                self._db = sqlite3.connect(
                    self.path, timeout=10, isolation_level=None, check_same_thread=not shared
                )
                try:
                    self._db.execute("PRAGMA journal_mode=WAL")
                    self._db.execute("PRAGMA synchronous=FULL")
                    self._db.execute("PRAGMA foreign_keys=ON")
                    self._file = self._inode()
                    self._check()
                except BaseException:
                    self._db.close()
                    raise
        except OSError as exc:
            raise DataError("CATALOG_UNUSABLE", f"{root} cannot be used: {exc.strerror}") from exc

    def _refuse_emptied(self) -> None:
        """SQLite takes a file of 0 bytes for a new catalog: every decision would be forgotten."""
        if (self.root / "photos").is_dir() and self.path.is_file() and not self.path.stat().st_size:
            raise sqlite3.DatabaseError("0 bytes")

    def _check(self) -> None:
        check_pages(self._db)
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if 0 < version < schema.SCHEMA_VERSION:
            with damage_explained(self.path):
                backups.keep_format(self._db, self.root, version)
        with self.transaction():
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if not 0 <= version <= schema.SCHEMA_VERSION:
                raise DataError(
                    "CATALOG_VERSION",
                    f"{self.path} has format {version}; this program reads formats up to"
                    f" {schema.SCHEMA_VERSION}; update it: pip install --upgrade bear-classifier",
                )
            for statement in schema.upgrades(version):
                self._db.execute(statement)
            if version < schema.SCHEMA_VERSION:
                self._db.execute(f"PRAGMA user_version = {schema.SCHEMA_VERSION}")

    def _inode(self) -> int:
        return self.path.stat().st_ino if self.path.is_file() else 0

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> Catalog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, one writer at a time."""
        if self._inode() != self._file:
            raise DataError(
                "CATALOG_UNUSABLE", f"{self.path} was replaced meanwhile; start this program again"
            )
        with damage_explained(self.path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def lock(self, work: str) -> Iterator[None]:
        """Hold the dataset for long work, which begins with a copy of the catalog."""
        with hold(self.root, work):
            self.keep_copy()
            yield

    def keep_copy(self, at: datetime | None = None) -> Path | None:
        """Keep a copy of the catalog if one is due, at most once an hour, and return it.

        To be called before writing, outside transactions; see `copies`. at: now."""
        if self._db.in_transaction:
            raise RuntimeError("half of a transaction would be in the copy")
        at = at or datetime.now(timezone.utc)
        if self._looked and timedelta(0) <= at - self._looked < backups.BACKUP_INTERVAL:
            return None
        self._looked = at
        return backups.back_up(self._db, self.root, at)

    # -- photos and sources ------------------------------------------------------------------

    def file(self, photo: Photo) -> Path:
        return self.root / "photos" / photo.sha256[:2] / f"{photo.sha256}.{photo.format}"

    def freeze(self) -> None:
        """Let `photos` and `revision` say for ever what they say now: a model is made from the
        photos of one moment, whatever people decide while it trains."""
        if self._frozen is None:
            with self.transaction():
                self._frozen = self.revision(), self.photos()

    def photos(self, status: Status | None = None) -> list[Photo]:
        """All photos in the order of their hashes, so that no file system's order leaks in."""
        if self._frozen:
            return [p for p in self._frozen[1] if status in (None, p.status)]
        where, values = ("WHERE status = ?", (status,)) if status else ("", ())
        return [
            Photo(*row)
            for row in self._select(_PHOTO_COLUMNS, f"photo {where} ORDER BY sha256", values)
        ]

    def photo(self, sha256: str) -> Photo | None:
        rows = self._select(_PHOTO_COLUMNS, "photo WHERE sha256 = ?", (sha256,))
        return Photo(*rows[0]) if rows else None

    def put_photos(self, photos: Iterable[Photo]) -> None:
        if self._frozen:
            raise RuntimeError("a frozen catalog would not see its own changes")
        self._replace("photo", _PHOTO_COLUMNS, photos)

    def add_photos(self, photos: Iterable[Photo]) -> None:
        """Those that are not there yet; one that is stays as it was decided."""
        self._insert("photo", _PHOTO_COLUMNS, photos, "NOTHING")

    def sources(self, code: str | None = None) -> list[Source]:
        """Every candidate ever seen, in the order in which they were found."""
        where, values = ("WHERE code = ?", (code,)) if code else ("", ())
        return [
            Source(*row)
            for row in self._select(_SOURCE_COLUMNS, f"source {where} ORDER BY rowid", values)
        ]

    def pages(self) -> dict[str, str]:
        """origin -> the web page that shows it, of every candidate."""
        return dict(self._select(["origin", "page"], "source"))

    def codes(self) -> dict[str, int]:
        """How many candidates there are of each code, in the order in which they were found."""
        return dict(Counter(code for (code,) in self._select(["code"], "source ORDER BY rowid")))

    def put_sources(self, sources: Iterable[Source]) -> None:
        self._replace("source", _SOURCE_COLUMNS, sources)

    def _select(self, columns: Sequence[str], rest: str, values: Sequence[Any] = ()) -> list[Any]:
        names = ", ".join(f'"{c}"' for c in columns)
        with damage_explained(self.path):
            return self._db.execute(f"SELECT {names} FROM {rest}", values).fetchall()

    def _replace(
        self, table: str, columns: Sequence[str], rows: Iterable[Photo] | Iterable[Source]
    ) -> None:
        changes = ", ".join(f'"{c}" = excluded."{c}"' for c in columns[1:])
        self._insert(table, columns, rows, f"UPDATE SET {changes}")

    def _insert(
        self,
        table: str,
        columns: Sequence[str],
        rows: Iterable[Photo] | Iterable[Source],
        otherwise: str,
    ) -> None:
        """otherwise: what to do with a row whose key, the first column, is there already."""
        names = ", ".join(f'"{c}"' for c in columns)
        self._db.executemany(
            f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(columns))}) "
            f'ON CONFLICT ("{columns[0]}") DO {otherwise}',
            ([getattr(row, c) for c in columns] for row in rows),
        )

    def fingerprint(self) -> str:
        """Digest of what a model is made from: the usable photos with label, group and side."""
        if self._frozen:
            rows = [(p.sha256, p.label, p.group, p.split) for p in self.photos("ok")]
        else:
            columns = ["sha256", "label", "group", "split"]
            rows = self._select(columns, "photo WHERE status = 'ok' ORDER BY sha256")
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()

    def once(self, what: str, make: Callable[[], Any]) -> Any:
        """What `make` finds in the catalog, by name; asked again once somebody has written."""
        with damage_explained(self.path):
            (others,) = self._db.execute("PRAGMA data_version").fetchone()
        state = others, self._db.total_changes, self._frozen is None
        if self._kept[0] != state:
            self._kept = state, {}
        found = self._kept[1]
        if what not in found:
            found[what] = make()
        return found[what]

    # -- events and runs -----------------------------------------------------------------------

    def events(self, which: str = "ORDER BY id", values: Sequence[Any] = ()) -> list[Event]:
        """The events that a piece of SQL picks; see `decisions` for what they mean."""
        return [Event(*row) for row in self._select(_EVENT_COLUMNS, f"event {which}", values)]

    def add_event(self, event: Event) -> Event:
        """The event as it is kept, with the number that it was given."""
        columns = _EVENT_COLUMNS[1:]
        cursor = self._db.execute(
            f"INSERT INTO event ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})",
            [getattr(event, c) for c in columns],
        )
        return dataclasses.replace(event, id=cursor.lastrowid or 0)

    def revision(self) -> int:
        """The number of the last event, 0 without one: it grows with every decision."""
        return self._frozen[0] if self._frozen else self.latest_revision()

    def latest_revision(self) -> int:
        """As `revision`, also of a frozen catalog."""
        rows = self._select(["id"], "event ORDER BY id DESC LIMIT 1")
        return int(rows[0][0]) if rows else 0

    # -- searches, take-downs and published bundles ------------------------------------------

    def search_pages(self) -> list[SearchPage]:
        return [
            SearchPage(*row) for row in self._select(_PAGE_COLUMNS, "search_page ORDER BY rowid")
        ]

    def put_search_page(self, row: SearchPage) -> None:
        """Remember a page of answers; asking for it again replaces what was remembered."""
        self._db.execute(
            "INSERT OR REPLACE INTO search_page VALUES (?, ?, ?, ?, ?, ?, ?)",
            dataclasses.astuple(row),
        )

    def take_downs(self) -> list[TakeDown]:
        columns = ["kind", "value", "at", "who", "why"]
        return [TakeDown(*row) for row in self._select(columns, "takedown ORDER BY rowid")]

    def put_take_down(self, row: TakeDown) -> None:
        self._db.execute(
            "INSERT OR IGNORE INTO takedown VALUES (?, ?, ?, ?, ?)", dataclasses.astuple(row)
        )

    def published(self) -> list[Published]:
        """Every bundle that was ever made from these photos, oldest first."""
        rows = self._select(["model", "version", "at", "photos"], "published ORDER BY id")
        with damage_explained(self.path):
            return [Published(m, version, at, json.loads(p)) for m, version, at, p in rows]

    def put_published(self, row: Published) -> None:
        self._db.execute(
            "INSERT INTO published (model, version, at, photos) VALUES (?, ?, ?, ?)",
            (row.model, row.version, row.at, json.dumps(row.photos)),
        )

    def add_run(self, run: StageRun) -> None:
        with self.transaction():
            self._db.execute(
                "INSERT INTO run (stage, started, seconds, inputs, outcome) VALUES (?, ?, ?, ?, ?)",
                (run.stage, run.started, run.seconds, run.inputs, json.dumps(run.outcome)),
            )

    def last_run(self, stage: str) -> StageRun | None:
        return next(iter(self.runs(stage, "DESC LIMIT 1")), None)

    def runs(self, stage: str, which: str = "") -> list[StageRun]:
        """All runs of a stage, or those that a piece of SQL picks; the oldest first."""
        columns = ["stage", "started", "seconds", "inputs", "outcome"]
        rows = self._select(columns, f"run WHERE stage = ? ORDER BY id {which}", (stage,))
        with damage_explained(self.path):
            return [
                StageRun(name, started, seconds, inputs, json.loads(outcome))
                for name, started, seconds, inputs, outcome in rows
            ]


def now() -> str:
    """UTC, to the second, as every time in a catalog."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")

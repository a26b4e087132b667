"""The catalog of a dataset: one SQLite file of photos, sources, decisions and runs.

A dataset folder holds `catalog.sqlite`, `copies/` of it, `photos/ab/<sha256>.<format>` (immutable,
content-addressed), and one folder per stage that writes files. Labels, splits and quarantine are
rows, never file moves.
"""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from bear_classifier.dataset import backups, schema
from bear_classifier.dataset.backups import check_pages, damage_explained
from bear_classifier.dataset.lock import hold
from bear_classifier.dataset.schema import (
    Event,
    NewClass,
    Photo,
    Published,
    SearchPage,
    Source,
    StageRun,
    Status,
    TakeDown,
)
from bear_classifier.errors import DataError
from bear_classifier.runtime.files import json_digest

_TABLES: dict[type, str] = {
    Photo: "photo",
    Source: "source",
    SearchPage: "search_page",
    TakeDown: "takedown",
    Published: "published",
    Event: "event",
    NewClass: "new_class",
    StageRun: "run",
}
_COLUMNS = {kind: [field.name for field in dataclasses.fields(kind)] for kind in _TABLES}
_FEW_WORDS = [
    _COLUMNS[Photo].index(name) for name in ("label", "format", "split", "status", "reason")
]
_GROUP = _COLUMNS[Photo].index("group")  # of a photo without near-copies its hash
_Row = TypeVar("_Row")
_AT_ONCE = 5_000  # rows
_CACHE = "cache_size=-131072"  # KiB at most: the index of a million hashes, so that it stays there


class Catalog(AbstractContextManager["Catalog"]):
    """One dataset. Reading is free; writing happens in `transaction()` under `lock()`.

    Raises DataError (CATALOG_DAMAGED, CATALOG_VERSION, CATALOG_BUSY, DISK_FULL, CATALOG_UNUSABLE).
    """

    def __init__(self, root: Path, shared: bool = False, copy: Path | None = None) -> None:
        """shared: used by several threads, which take turns by themselves; copy: of `copied`, to
        be read in place of the catalog: that of SQLite cannot be read over a network."""
        self.root = root
        self.path = copy or root / backups.CATALOG
        self._frozen: tuple[int, list[Photo]] | None = None
        self._kept: tuple[Any, dict[str, Any]] = None, {}  # state of the catalog, cache of `once`
        self._checked: datetime | None = None  # when `keep_copy` last looked whether one is due
        if copy:
            place = f"{copy.absolute().as_uri()}?immutable=1"
            self._db = sqlite3.connect(place, uri=True, isolation_level=None)
            self._file = self._inode()
            return
        try:
            root.mkdir(parents=True, exist_ok=True)
            with damage_explained(self.path):
                is_empty = self.path.is_file() and not self.path.stat().st_size
                if is_empty and (root / "photos").is_dir():  # SQLite would begin a new catalog
                    raise sqlite3.DatabaseError("0 bytes")
                if backups.is_cut_off(root):
                    raise sqlite3.DatabaseError("putting back a copy was cut off")
                self._db = sqlite3.connect(
                    self.path, timeout=10, isolation_level=None, check_same_thread=not shared
                )
                try:
                    for pragma in ("journal_mode=WAL", "synchronous=FULL", _CACHE):
                        self._db.execute(f"PRAGMA {pragma}")
                    self._file = self._inode()
                    self._check()
                except BaseException:
                    self._db.close()
                    raise
        except OSError as exc:
            raise DataError("CATALOG_UNUSABLE", f"{root} cannot be used: {exc.strerror}") from exc

    def _check(self) -> None:
        check_pages(self._db)
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if 0 < version < schema.SCHEMA_VERSION:
            with damage_explained(self.path):
                backups.keep_format(self._db, self.root, version)
        if version < schema.SCHEMA_VERSION:
            self._db.execute("PRAGMA foreign_keys=OFF")  # a table is replaced; no row of it is
        with self.transaction():
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            newest = schema.SCHEMA_VERSION
            if not 0 <= version <= newest:
                other = f"{self.path} has format {version}; this program reads formats up to"
                update = "update it: pip install --upgrade bear-classifier"
                raise DataError("CATALOG_VERSION", f"{other} {newest}; {update}")
            for statement in schema.upgrades(version):
                self._db.execute(statement)
            if version < newest:
                self._db.execute(f"PRAGMA user_version = {newest}")
        self._db.execute("PRAGMA foreign_keys=ON")

    def _inode(self) -> int:
        return self.path.stat().st_ino if self.path.is_file() else 0

    def close(self) -> None:
        self._db.close()

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, one writer at a time."""
        if self._inode() != self._file:
            other = f"{self.path} was replaced meanwhile; start this program again"
            raise DataError("CATALOG_UNUSABLE", other)
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

        Call it before writing, outside transactions; see `backups`. at: now."""
        if self._db.in_transaction:
            raise RuntimeError("half of a transaction would be in the copy")
        at = at or datetime.now(timezone.utc)
        if self._checked and timedelta(0) <= at - self._checked < backups.BACKUP_INTERVAL:
            return None
        self._checked = at
        return backups.back_up(self._db, self.root, at)

    @contextmanager
    def copied(self) -> Iterator[Path]:
        """A copy for workers of an engine, who read it at the same time on other machines; of a
        frozen catalog as it was then."""
        path = (self.root / f"catalog-{uuid4().hex}.partial").absolute()
        try:
            with damage_explained(self.path):
                self._db.execute("VACUUM INTO ?", (str(path),))
                if self._frozen:
                    backups.put_back(path, *self._frozen)
            yield path
        finally:
            path.unlink(missing_ok=True)

    # -- photos and sources ------------------------------------------------------------------

    def file(self, photo: Photo) -> Path:
        return photo_file(self.root, photo)

    @property
    def is_frozen(self) -> bool:
        return self._frozen is not None

    def freeze(self) -> None:
        """Make `photos` and `revision` return for ever what they return now: a model is made from
        the photos of one moment, whatever people decide while it trains."""
        if self._frozen is None:
            with self.transaction():
                self._frozen = self.revision(), self.photos()

    def photos(self, status: Status | None = None) -> list[Photo]:
        """All photos in the order of their hashes, so that no file system's order leaks in."""
        if self._frozen:
            return [p for p in self._frozen[1] if status in (None, p.status)]
        where, values = ("WHERE status = ?", (status,)) if status else ("", ())
        rows = self.stream(_COLUMNS[Photo], f"photo {where} ORDER BY sha256", values)
        once: dict[str | None, str | None] = {}
        with damage_explained(self.path):
            return [_photo(row, once) for row in rows]

    def photos_of(self, hashes: Collection[str]) -> list[Photo]:
        """Those of these hashes that are there, as they are now; no other row is read."""
        names = json.dumps(sorted(name for name in hashes if name.isascii()))
        which = "WHERE sha256 IN (SELECT value FROM json_each(?)) ORDER BY sha256"
        return self._rows(Photo, which, (names,))

    def photo(self, sha256: str) -> Photo | None:
        return next(iter(self._rows(Photo, "WHERE sha256 = ?", (sha256,))), None)

    def put_photos(self, photos: Iterable[Photo]) -> None:
        if self._frozen:
            raise RuntimeError("a frozen catalog would not see its own changes")
        self._upsert(Photo, photos)

    def change_photos(
        self, changed: Mapping[str, Photo], of: Callable[[Photo, Photo], Photo]
    ) -> None:
        """Change many photos, a few thousand at a time and in the order in which they lie in the
        file, so that each page of it is written once. changed: by hash; of: gives what is stored,
        from what it is to be and what it is now."""
        last = 0
        while rows := self._select(
            ["rowid", *_COLUMNS[Photo]],
            "photo WHERE rowid > ? ORDER BY rowid LIMIT ?",
            (last, _AT_ONCE),
        ):
            last = rows[-1][0]
            photos = (Photo(*row) for _, *row in rows if row[0] in changed)
            self.put_photos([of(changed[photo.sha256], photo) for photo in photos])

    def add_photos(self, photos: Iterable[Photo]) -> None:
        """Those that are not there yet; one that is stays as it was decided."""
        self._insert(Photo, photos, "ON CONFLICT (sha256) DO NOTHING")

    def sources(self, code: str | None = None) -> list[Source]:
        """Every candidate ever seen, in the order in which they were found."""
        where, values = ("WHERE code = ?", (code,)) if code else ("", ())
        return self._rows(Source, f"{where} ORDER BY rowid", values)

    def pages(self) -> dict[str, str]:
        """origin -> the web page that shows it, of every candidate."""
        return dict(self._select(["origin", "page"], "source"))

    def given_splits(self) -> list[tuple[str, str]]:
        """sha256 and split of every file that is still there and was published in a split."""
        where = "split <> '' AND code <> ? AND sha256 IS NOT NULL"
        return self._select(["sha256", "split"], f"source WHERE {where}", (schema.GONE,))

    def codes(self) -> dict[str, int]:
        """How many candidates there are of each code, in the order in which they were found."""
        which = "source GROUP BY code ORDER BY min(rowid)"
        with damage_explained(self.path):
            return dict(self._db.execute(f"SELECT code, count(*) FROM {which}").fetchall())

    def put_sources(self, sources: Iterable[Source]) -> None:
        self._upsert(Source, sources)

    def _select(self, columns: Sequence[str], rest: str, values: Sequence[Any] = ()) -> list[Any]:
        with damage_explained(self.path):
            return self.stream(columns, rest, values).fetchall()

    def stream(
        self, columns: Sequence[str], rest: str, values: Sequence[Any] = ()
    ) -> sqlite3.Cursor:
        """Rows of these columns, one at a time; rest: SQL after FROM. Raises sqlite3.Error."""
        names = ", ".join(f'"{c}"' for c in columns)
        return self._db.execute(f"SELECT {names} FROM {rest}", values)

    def _rows(self, kind: type[_Row], rest: str, values: Sequence[Any] = ()) -> list[_Row]:
        rows = self._select(_COLUMNS[kind], f"{_TABLES[kind]} {rest}", values)
        if kind in (Published, StageRun):  # whose last column is JSON
            with damage_explained(self.path):
                rows = [(*row, json.loads(last)) for *row, last in rows]
        return [kind(*row) for row in rows]

    def _upsert(self, kind: type[_Row], rows: Iterable[_Row]) -> None:
        key, *others = _COLUMNS[kind]
        changes = ", ".join(f'"{c}" = excluded."{c}"' for c in others)
        self._insert(kind, rows, f"ON CONFLICT ({key}) DO UPDATE SET {changes}")

    def _insert(
        self, kind: type[_Row], rows: Iterable[_Row], conflict: str = "", verb: str = "INSERT"
    ) -> None:
        """conflict: what to do with a row whose key is there already."""
        columns = [c for c in _COLUMNS[kind] if c != "id"]  # SQLite numbers them
        names = ", ".join(f'"{c}"' for c in columns)
        marks = ", ".join("?" * len(columns))
        values = ([getattr(row, c) for c in columns] for row in rows)
        self._db.executemany(
            f"{verb} INTO {_TABLES[kind]} ({names}) VALUES ({marks}) {conflict}",
            ([json.dumps(v) if isinstance(v, dict) else v for v in row] for row in values),
        )

    def fingerprint(self) -> str:
        """Digest of what a model is made from: the usable photos with label, group and split."""
        columns = ("sha256", "label", "group", "split")
        if self._frozen:
            return json_digest([getattr(p, name) for name in columns] for p in self.photos("ok"))
        with damage_explained(self.path):
            return json_digest(self.stream(columns, "photo WHERE status = 'ok' ORDER BY sha256"))

    def once(self, what: str, make: Callable[[], Any]) -> Any:
        """The result of `make`, cached by name until somebody writes to the catalog."""
        with damage_explained(self.path):
            (others,) = self._db.execute("PRAGMA data_version").fetchone()
        state = others, self._db.total_changes, self._frozen is None
        if self._kept[0] != state:
            self._kept = state, {}
        cache = self._kept[1]
        if what not in cache:
            cache[what] = make()
        return cache[what]

    # -- events and runs -----------------------------------------------------------------------

    def events(self, which: str = "ORDER BY id", values: Sequence[Any] = ()) -> list[Event]:
        """The events that a piece of SQL picks; see `decisions` for what they mean."""
        return self._rows(Event, which, values)

    def add_event(self, event: Event) -> Event:
        """The event as it is kept, with the number that it was given."""
        self._insert(Event, [event])
        (number,) = self._db.execute("SELECT last_insert_rowid()").fetchone()
        return dataclasses.replace(event, id=number)

    def revision(self) -> int:
        """The number of the last event, 0 without one: it grows with every decision."""
        return self._frozen[0] if self._frozen else self.latest_revision()

    def latest_revision(self) -> int:
        """As `revision`, also of a frozen catalog."""
        return next((int(n) for (n,) in self._select(["id"], "event ORDER BY id DESC LIMIT 1")), 0)

    def new_classes(self) -> list[NewClass]:
        """Those made in the review page and not taken back, oldest first."""
        return self._rows(NewClass, "WHERE undone = 0 ORDER BY id")

    def put_new_class(self, row: NewClass) -> None:
        """Store one, or that it is taken back."""
        self._insert(
            NewClass, [row], "ON CONFLICT (request) DO UPDATE SET undone = excluded.undone"
        )

    # -- searches, take-downs and published bundles ------------------------------------------

    def search_pages(self) -> list[SearchPage]:
        return self._rows(SearchPage, "ORDER BY rowid")

    def put_search_page(self, row: SearchPage) -> None:
        """Store a page of search results in place of an earlier one of the same query."""
        self._insert(SearchPage, [row], verb="INSERT OR REPLACE")

    def take_downs(self) -> list[TakeDown]:
        return self._rows(TakeDown, "ORDER BY rowid")

    def put_take_down(self, row: TakeDown) -> None:
        self._insert(TakeDown, [row], verb="INSERT OR IGNORE")

    def published(self) -> list[Published]:
        """Every bundle that was ever made from these photos, oldest first."""
        return self._rows(Published, "ORDER BY id")

    def put_published(self, row: Published) -> None:
        self._insert(Published, [row])

    def add_run(self, run: StageRun) -> None:
        with self.transaction():
            self._insert(StageRun, [run])

    def last_run(self, stage: str) -> StageRun | None:
        return next(iter(self.runs(stage, "DESC LIMIT 1")), None)

    def runs(self, stage: str, which: str = "") -> list[StageRun]:
        """All runs of a stage, or those that a piece of SQL picks; the oldest first."""
        return self._rows(StageRun, f"WHERE stage = ? ORDER BY id {which}", (stage,))


def photo_file(root: Path, photo: Photo) -> Path:
    """Where the file of a photo lies. root: of the dataset."""
    return root / "photos" / photo.sha256[:2] / f"{photo.sha256}.{photo.format}"


def _photo(row: Sequence[Any], once: dict[str | None, str | None]) -> Photo:
    """A row of the table. once: words that many rows have, so that they are in memory once: of a
    million photos they would take 0.4 GB."""
    cells = list(row)
    for place in _FEW_WORDS:
        cells[place] = once.setdefault(cells[place], cells[place])
    if cells[_GROUP] == cells[0]:
        cells[_GROUP] = cells[0]
    return Photo(*cells)


def now() -> str:
    """UTC, to the second, as every time in a catalog."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")

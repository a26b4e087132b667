"""The dataset's memory: one SQLite file of photos, their sources, decisions and runs.

Layout of a dataset folder: `catalog.sqlite`, `photos/ab/<sha256>.<format>` (immutable,
content-addressed), and one folder per stage that leaves something behind. Labels, sides and
quarantine are rows, never file moves.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from bear_classifier.errors import DataError
from bear_classifier.files import write_atomic

Status = Literal["ok", "unusable", "duplicate", "dropped"]
Split = Literal["train", "valid", "test"]

SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE photo (
    sha256 TEXT PRIMARY KEY, origin TEXT NOT NULL, label TEXT NOT NULL, format TEXT NOT NULL,
    width INTEGER NOT NULL, height INTEGER NOT NULL, bytes INTEGER NOT NULL, dhash TEXT NOT NULL,
    contrast REAL NOT NULL, "group" TEXT, split TEXT CHECK (split IN ('train', 'valid', 'test')),
    status TEXT NOT NULL CHECK (status IN ('ok', 'unusable', 'duplicate', 'dropped')),
    reason TEXT NOT NULL
) STRICT;
CREATE TABLE source (
    origin TEXT PRIMARY KEY, label TEXT NOT NULL, kind TEXT NOT NULL, stamp TEXT NOT NULL,
    code TEXT NOT NULL, sentence TEXT NOT NULL, sha256 TEXT REFERENCES photo
) STRICT;
CREATE TABLE event (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, who TEXT NOT NULL, action TEXT NOT NULL,
    sha256 TEXT NOT NULL REFERENCES photo, old TEXT NOT NULL, new TEXT NOT NULL, why TEXT NOT NULL
) STRICT;
CREATE TABLE run (
    id INTEGER PRIMARY KEY AUTOINCREMENT, stage TEXT NOT NULL, started TEXT NOT NULL,
    seconds REAL NOT NULL, inputs TEXT NOT NULL, outcome TEXT NOT NULL
) STRICT;
"""
PENDING, OK, DUPLICATE, CONFLICT, GONE = "PENDING", "OK", "DUPLICATE", "LABEL_CONFLICT", "GONE"


@dataclass(frozen=True)
class Photo:
    """One usable or unusable picture. origin: the address or path that it first came from."""

    sha256: str
    origin: str
    label: str
    format: str
    width: int
    height: int
    bytes: int
    dhash: str
    contrast: float  # grey levels of 255, standard deviation over a thumbnail
    group: str | None = None
    split: Split | None = None
    status: Status = "ok"
    reason: str = ""


@dataclass(frozen=True)
class Source:
    """One candidate, found or failed. stamp: size and time of a file, to notice that it changed."""

    origin: str
    label: str
    kind: str
    stamp: str = ""
    code: str = PENDING
    sentence: str = ""
    sha256: str | None = None


@dataclass(frozen=True)
class Run:
    """One finished stage. inputs: digest of everything that it was made from."""

    stage: str
    started: str
    seconds: float
    inputs: str
    outcome: dict[str, Any]


_PHOTO_COLUMNS = [f.name for f in dataclasses.fields(Photo)]
_SOURCE_COLUMNS = [f.name for f in dataclasses.fields(Source)]


class Catalog:
    """One dataset. Reading is free; writing happens in `transaction()` under `lock()`.

    Raises DataError (CATALOG_DAMAGED, CATALOG_VERSION, CATALOG_BUSY, DISK_FULL, CATALOG_UNUSABLE).
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.path = root / "catalog.sqlite"
        try:
            root.mkdir(parents=True, exist_ok=True)
            with _explained(self.path):
                self._refuse_emptied()
                self._db = sqlite3.connect(self.path, timeout=10, isolation_level=None)
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA synchronous=FULL")
                self._db.execute("PRAGMA foreign_keys=ON")
                self._check()
        except OSError as exc:
            raise DataError("CATALOG_UNUSABLE", f"{root} cannot be used: {exc.strerror}") from exc

    def _refuse_emptied(self) -> None:
        """SQLite takes a file of 0 bytes for a new catalog: every decision would be forgotten."""
        if (self.root / "photos").is_dir() and self.path.is_file() and not self.path.stat().st_size:
            raise sqlite3.DatabaseError("0 bytes")

    def _check(self) -> None:
        (verdict,) = self._db.execute("PRAGMA integrity_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
        with self.transaction():
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if version == 0:
                for statement in _SCHEMA.split(";\n"):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            elif version != SCHEMA_VERSION:
                raise DataError(
                    "CATALOG_VERSION",
                    f"{self.path} has format {version}; this program reads format {SCHEMA_VERSION}",
                )

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> Catalog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, one writer at a time."""
        with _explained(self.path):
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
        """Hold the dataset for long work; the system frees the lock of a dead process."""
        note = self.root / "lock.json"
        lock = FileLock(self.root / "lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            try:
                other = json.loads(note.read_text())
            except (OSError, ValueError):
                other = {"work": "run", "pid": "unknown", "since": "now"}
            raise DataError(
                "LOCKED",
                f"Another {other['work']} (pid {other['pid']}, since {other['since']}) is running"
                f" on {self.root}; wait for it, or end it and start again",
            ) from None
        try:
            holder = {"work": work, "pid": os.getpid(), "since": f"{datetime.now():%H:%M}"}
            write_atomic(note, json.dumps(holder).encode())
            yield
        finally:
            lock.release()

    # -- photos and sources ------------------------------------------------------------------

    def file(self, photo: Photo) -> Path:
        return self.root / "photos" / photo.sha256[:2] / f"{photo.sha256}.{photo.format}"

    def photos(self, status: Status | None = None) -> list[Photo]:
        """All photos in the order of their hashes, so that no file system's order leaks in."""
        where, values = ("WHERE status = ?", (status,)) if status else ("", ())
        return [
            Photo(*row)
            for row in self._select(_PHOTO_COLUMNS, f"photo {where} ORDER BY sha256", values)
        ]

    def photo(self, sha256: str) -> Photo | None:
        rows = self._select(_PHOTO_COLUMNS, "photo WHERE sha256 = ?", (sha256,))
        return Photo(*rows[0]) if rows else None

    def put_photos(self, photos: Iterable[Photo]) -> None:
        self._replace("photo", _PHOTO_COLUMNS, photos)

    def sources(self, code: str | None = None) -> list[Source]:
        """Every candidate ever seen, in the order in which they were found."""
        where, values = ("WHERE code = ?", (code,)) if code else ("", ())
        return [
            Source(*row)
            for row in self._select(_SOURCE_COLUMNS, f"source {where} ORDER BY rowid", values)
        ]

    def put_sources(self, sources: Iterable[Source]) -> None:
        self._replace("source", _SOURCE_COLUMNS, sources)

    def _select(self, columns: Sequence[str], rest: str, values: Sequence[Any] = ()) -> list[Any]:
        names = ", ".join(f'"{c}"' for c in columns)
        with _explained(self.path):
            return self._db.execute(f"SELECT {names} FROM {rest}", values).fetchall()

    def _replace(
        self, table: str, columns: Sequence[str], rows: Iterable[Photo] | Iterable[Source]
    ) -> None:
        names = ", ".join(f'"{c}"' for c in columns)
        changes = ", ".join(f'"{c}" = excluded."{c}"' for c in columns[1:])
        self._db.executemany(
            f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(columns))}) "
            f'ON CONFLICT ("{columns[0]}") DO UPDATE SET {changes}',
            [dataclasses.astuple(row) for row in rows],
        )

    def fingerprint(self) -> str:
        """Digest of what a model is made from: the usable photos with label, group and side."""
        rows = [(p.sha256, p.label, p.group, p.split) for p in self.photos("ok")]
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()

    # -- events and runs -----------------------------------------------------------------------

    def relabel(self, photo: Photo, label: str, who: str, why: str) -> None:
        """Give a photo another label, as an event that can be read and undone."""
        self.put_photos([dataclasses.replace(photo, label=label)])
        self._db.execute(
            "INSERT INTO event (at, who, action, sha256, old, new, why) VALUES (?, ?, 'relabel', ?,"
            " ?, ?, ?)",
            (_now(), who, photo.sha256, photo.label, label, why),
        )

    def add_run(self, run: Run) -> None:
        with self.transaction():
            self._db.execute(
                "INSERT INTO run (stage, started, seconds, inputs, outcome) VALUES (?, ?, ?, ?, ?)",
                (run.stage, run.started, run.seconds, run.inputs, json.dumps(run.outcome)),
            )

    def last_run(self, stage: str) -> Run | None:
        columns = ["stage", "started", "seconds", "inputs", "outcome"]
        rows = self._select(columns, "run WHERE stage = ? ORDER BY id DESC LIMIT 1", (stage,))
        if not rows:
            return None
        stage, started, seconds, inputs, outcome = rows[0]
        with _explained(self.path):
            return Run(stage, started, seconds, inputs, json.loads(outcome))


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what SQLite says into what a person can do about it."""
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError, json.JSONDecodeError) as exc:  # of flipped bytes
        text = " ".join(str(exc).split())
        if "locked" in text:
            raise DataError(
                "CATALOG_BUSY", f"{path} is being written by another program; try again"
            ) from exc
        if "full" in text or "disk I/O error" in text:  # a quota or a limit is the second
            raise DataError(
                "DISK_FULL",
                f"no space left to write {path} ({text}); what was there before is kept; free some"
                " and run again",
            ) from exc
        if "readonly" in text or "unable to open" in text:
            raise DataError("CATALOG_UNUSABLE", f"{path} cannot be written: {text}") from exc
        raise DataError(
            "CATALOG_DAMAGED",
            f"{path} is damaged ({text}); restore it from a copy, or move it away and run again: "
            "photos are kept, decisions in it are lost",
        ) from exc

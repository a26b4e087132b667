"""Backups of the catalog, and restoring one when the catalog is damaged.

They lie in `copies/` of the dataset, named by their time (UTC) and by a number that only grows, as
clocks do not. Each is whole and was checked after it was made. Only a person restores one: what was
decided since is lost.
"""

from __future__ import annotations

import contextlib
import dataclasses
import filecmp
import json
import os
import re
import sqlite3
import threading
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, TypeVar

from bear_classifier.dataset.schema import Event, Photo, TakeDown
from bear_classifier.errors import DataError, NoCopy
from bear_classifier.runtime.files import move, replace, write_atomic, write_errors, write_partial

CATALOG, FOLDER = "catalog.sqlite", "copies"
MAX_BACKUPS = 3
BACKUP_INTERVAL = timedelta(hours=1)
_STAMP = "%Y%m%d-%H%M%S"
_NAME = re.compile(r"catalog-(\d{8}-\d{6})(?:-(\d+))?\.sqlite", re.ASCII)
_JSON = {"outcome", "photos", "before", "after"}  # columns that hold it
_EVENT_WORDS = ("at", "who", "action", "sha256", "old", "new", "why")
_TAKE_DOWN_WORDS = ("kind", "value", "at", "who", "why")
_Row = TypeVar("_Row", Event, TakeDown)


@dataclasses.dataclass(frozen=True)
class Restored:
    """copy: what was put back; aside: the file that it replaced, None if there was none; events,
    take_downs: what is in that file only, as far as it can be read; complete: all of it was read.
    """

    copy: Path
    aside: Path | None
    events: list[Event]
    take_downs: list[TakeDown]
    complete: bool


def made(root: Path) -> list[Path]:
    """The copies of a dataset's catalog, newest first."""
    paths = (root / FOLDER).glob("catalog-*.sqlite")
    copies = [path for path in paths if _NAME.fullmatch(path.name)]
    return sorted(copies, key=lambda path: (_number(path), path.name), reverse=True)


def _number(copy: Path) -> int:
    """0 for copies of versions that ordered them by time."""
    return int(_NAME.fullmatch(copy.name)[2] or 0)  # type: ignore[index]


def backup_time(copy: Path) -> str:
    """The time of a copy, for a person."""
    return f"{at(copy):%Y-%m-%d %H:%M} UTC"


def at(copy: Path) -> datetime:
    stamp = _NAME.fullmatch(copy.name)[1]  # type: ignore[index]
    return datetime.strptime(stamp, _STAMP).replace(tzinfo=timezone.utc)


# -- what damage is --------------------------------------------------------------------------------


def check_pages(db: sqlite3.Connection) -> None:
    """Raises sqlite3.DatabaseError."""
    (verdict,) = db.execute("PRAGMA integrity_check(1)").fetchone()
    if verdict != "ok":
        raise sqlite3.DatabaseError(verdict)


def check_rows(db: sqlite3.Connection) -> None:
    """As `check_pages`, and reads every row, as SQLite does not check encodings.

    Raises sqlite3.Error or ValueError."""
    check_pages(db)
    for (table,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        rows = db.execute(f'SELECT * FROM "{table}"')
        places = [n for n, column in enumerate(rows.description) if column[0] in _JSON]
        for row in rows:
            for place in places:
                if row[place] and isinstance(row[place], str):  # `after` of a new class is a number
                    json.loads(row[place])


def is_cut_off(root: Path) -> bool:
    """Whether `restore` was begun and not finished."""
    return (root / FOLDER / "restoring").is_file()


@contextmanager
def damage_explained(path: Path) -> Iterator[None]:
    """An error of SQLite as a DataError that names what a person can do about it."""
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError, json.JSONDecodeError) as exc:  # of flipped bytes
        raise _explained(path, " ".join(str(exc).split())) from exc


def _explained(path: Path, text: str) -> DataError:
    if "locked" in text:
        return DataError("CATALOG_BUSY", f"{path} is being written by another program; try again")
    if "full" in text or "disk I/O error" in text:  # a quota or a limit is the second
        kept = "what was there before is kept; free some and run again"
        return DataError("DISK_FULL", f"no space left to write {path} ({text}); {kept}")
    if "readonly" in text or "unable to open" in text:
        return DataError("CATALOG_UNUSABLE", f"{path} cannot be written: {text}")
    lost = "photos are kept, decisions in it are lost"
    advice = f"restore it from a copy, or move it away and run again: {lost}"
    if copies := made(path.parent):
        advice = f"to put back the copy of {backup_time(copies[0])}, run: bears restore"
    return DataError("CATALOG_DAMAGED", f"{path} is damaged ({text}); {advice}")


# -- making ----------------------------------------------------------------------------------------


def back_up(db: sqlite3.Connection, root: Path, now: datetime) -> Path | None:
    """Copy the catalog, unless the newest copy is young or the same; the newest three stay.

    Returns the new copy. If none can be made, a NoCopy warning says so, and the work goes on."""
    copies = made(root)
    number = max(map(_number, copies), default=0) + 1
    place = root / FOLDER / f"catalog-{now.astimezone(timezone.utc):{_STAMP}}-{number:04}.sqlite"
    try:
        is_young = any(timedelta(0) <= now - at(copy) < BACKUP_INTERVAL for copy in copies[:1])
        if is_young or not db.execute("SELECT EXISTS (SELECT 1 FROM photo)").fetchone()[0]:
            return None
        place.parent.mkdir(exist_ok=True)
        if not _write_copy(db, place, copies[:1]):
            return None
        for old in made(root)[MAX_BACKUPS:]:
            old.unlink(missing_ok=True)
    except (sqlite3.Error, OSError, ValueError) as exc:
        text = f"no copy of {root / CATALOG} could be kept ({exc}); the work goes on"
        warnings.warn(text, NoCopy, stacklevel=2)
        return None
    return place


def keep_format(db: sqlite3.Connection, root: Path, version: int) -> None:
    """Copy a catalog of an earlier format before it is upgraded; this copy is never deleted.

    Raises sqlite3.Error, OSError and ValueError: without it nothing is upgraded."""
    place = root / FOLDER / f"format-{version}.sqlite"
    place.parent.mkdir(exist_ok=True)
    if not place.is_file():
        _write_copy(db, place)


def _write_copy(db: sqlite3.Connection, place: Path, same_as: Iterable[Path] = ()) -> bool:
    """One moment of the catalog, flushed to the disk and checked, whole or not at all; False where
    one of `same_as` holds the same."""
    partial = place.with_name(f".{place.name}.{os.getpid()}-{threading.get_ident()}.partial")
    try:
        with closing(sqlite3.connect(partial, isolation_level=None)) as target:
            target.execute("PRAGMA journal_mode=OFF")  # half a copy is thrown away anyway
            db.backup(target)
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        with _at_rest(partial) as copied:
            check_rows(copied)
        if any(filecmp.cmp(partial, copy, shallow=False) for copy in same_as):
            return False
        replace(partial, place)
    finally:
        partial.unlink(missing_ok=True)
    return True


def _at_rest(path: Path) -> closing[sqlite3.Connection]:
    """A file that nobody writes; SQLite touches no file beside it."""
    return closing(sqlite3.connect(f"{path.resolve().as_uri()}?immutable=1", uri=True))


# -- putting back ----------------------------------------------------------------------------------


def restore(root: Path, force: bool = False) -> Restored:
    """Put the newest good copy in place of the catalog, which is moved aside and kept.

    The caller holds the dataset. Cut off at any point, the damaged file or the copy is in place, no
    catalog opens, and a second `restore` finishes. force: also if the catalog is not damaged.
    Raises DataError (NO_COPY, NOT_DAMAGED, CATALOG_BUSY, DISK_FULL, CANNOT_WRITE)."""
    place, note = root / CATALOG, root / FOLDER / "restoring"
    copy = _newest_good(root)
    if not is_cut_off(root) and not _is_damaged(place) and not force:
        lost = f"what was decided since the copy of {backup_time(copy)} would be lost"
        advice = "to put it back all the same, run: bears restore --force"
        raise DataError("NOT_DAMAGED", f"{place} is not damaged; {lost}; {advice}")
    partial = write_partial(place, copy.read_bytes())
    try:
        if not is_cut_off(root):
            now = datetime.now(timezone.utc)
            write_atomic(note, f"damaged-{now:{_STAMP}-%f}.sqlite".encode())
        aside = note.with_name(note.read_text(encoding="utf-8"))
        with write_errors(aside):
            _move_aside(place, aside)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    move(partial, place)
    there = aside if aside.is_file() else None
    events, take_downs, complete = _only_in(there, copy) if there else ([], [], False)
    note.unlink()
    return Restored(copy, there, events, take_downs, complete)


def _newest_good(root: Path) -> Path:
    for copy in made(root):
        try:
            with _at_rest(copy) as db:
                check_rows(db)
        except (sqlite3.Error, ValueError):
            continue
        return copy
    made_when = "one is made whenever photos are added or decided on"
    raise DataError("NO_COPY", f"there is no good copy in {root / FOLDER}; {made_when}")


def _is_damaged(place: Path) -> bool:
    """Raises DataError (CATALOG_BUSY)."""
    if not place.is_file() or not place.stat().st_size:
        return True
    uri = f"{place.resolve().as_uri()}?mode=rw"
    with closing(sqlite3.connect(uri, uri=True, timeout=1, isolation_level=None)) as db:
        try:
            db.execute("PRAGMA locking_mode=EXCLUSIVE")
            check_rows(db)
        except (sqlite3.Error, ValueError) as exc:
            if "locked" not in str(exc):
                return True
            other = "is open in another program, such as the cleaning page; end that and try again"
            raise DataError("CATALOG_BUSY", f"{place} {other}") from exc
    return False


def _move_aside(place: Path, aside: Path) -> None:
    """A second name for the file first, so that its place is never empty. Its log must be gone
    before a copy comes: SQLite would apply it to the copy."""
    if place.is_file() and not aside.exists():
        try:
            os.link(place, aside)
        except OSError:  # a file system without second names
            write_atomic(aside, place.read_bytes())
    for tail in ("-wal", "-shm"):
        rest = Path(f"{place}{tail}")
        if rest.exists():
            rest.replace(f"{aside}{tail}")


def _only_in(aside: Path, copy: Path) -> tuple[list[Event], list[TakeDown], bool]:
    with _at_rest(copy) as db:
        (event,) = db.execute("SELECT COALESCE(MAX(id), 0) FROM event").fetchone()
        (taken,) = db.execute("SELECT COALESCE(MAX(rowid), 0) FROM takedown").fetchone()
    events, all_events = _rows(aside, "event", event, Event, _EVENT_WORDS)
    take_downs, all_others = _rows(aside, "takedown", taken, TakeDown, _TAKE_DOWN_WORDS)
    return events, take_downs, all_events and all_others


def _rows(
    damaged: Path, table: str, after: int, kind: type[_Row], words: Sequence[str]
) -> tuple[list[_Row], bool]:
    """The rows beyond a number, read from both ends towards the damage; whether these are all.

    words: columns of text, by which what is read from a damaged page is known as a row."""
    rows: dict[int, dict[str, Any]] = {}
    known, complete = {field.name for field in dataclasses.fields(kind)}, False
    for order in ("ASC", "DESC"):
        with _at_rest(damaged) as db, contextlib.suppress(sqlite3.Error):
            db.text_factory = lambda data: data.decode(errors="replace")
            db.row_factory = sqlite3.Row
            query = f"SELECT rowid, * FROM {table} WHERE rowid > ? ORDER BY rowid {order}"
            for row in db.execute(query, (after,)):
                rows[row[0]] = dict(zip(row.keys()[1:], row[1:], strict=True))
            complete = True
            break
    good = [
        kind(**row)
        for _, row in sorted(rows.items())
        if row.keys() <= known
        and all(isinstance(row.get(word), str) for word in words)
        and not any(isinstance(value, bytes) for value in row.values())
    ]
    return good, complete and len(good) == len(rows)


def put_back(path: Path, revision: int, photos: Sequence[Photo]) -> None:
    """Give a copy of a catalog the photos and the events of an earlier moment."""
    names = [field.name for field in dataclasses.fields(Photo)]
    columns, marks = ", ".join(f'"{name}"' for name in names), ", ".join("?" * len(names))
    rows = ([getattr(photo, name) for name in names] for photo in photos)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("DELETE FROM event WHERE id > ?", (revision,))
        db.execute("DELETE FROM photo")
        db.executemany(f"INSERT INTO photo ({columns}) VALUES ({marks})", rows)

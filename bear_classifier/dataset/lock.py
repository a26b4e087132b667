"""Locks: one writer of a dataset and one publisher of a model at a time."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from bear_classifier.errors import DataError
from bear_classifier.runtime.files import write_atomic, write_errors
from bear_classifier.runtime.terminal import one_line

_PATIENCE = 600.0  # seconds that a publisher waits for another; proving a model takes a minute


@contextmanager
def hold(root: Path, work: str) -> Iterator[None]:
    """Hold the dataset for long work; the system frees the lock of a dead process.

    Raises DataError (LOCKED)."""
    note, path = root / "lock.json", root / "lock"
    lock = FileLock(path, timeout=0)
    _refuse_odd(path)
    with write_errors(path):
        try:
            lock.acquire()
        except Timeout:
            raise DataError(
                "LOCKED",
                f"Another {_holder(note)} is running on {root}; wait for it, or end it and start"
                " again",
            ) from None
    try:
        holder = {"work": work, "pid": os.getpid(), "since": f"{datetime.now():%H:%M}"}
        write_atomic(note, json.dumps(holder).encode())
        yield
    finally:
        lock.release()


def _refuse_odd(path: Path) -> None:
    """A lock is a file of its own: behind a link, another file would be emptied."""
    if os.path.lexists(path) and (path.is_symlink() or not path.is_file()):
        what = "a link" if path.is_symlink() else "a folder" if path.is_dir() else "no plain file"
        raise DataError(
            "CANNOT_WRITE",
            f"{path} is {what}, where this program keeps its lock; move it away and run again",
        )


def _holder(note: Path) -> str:
    """Who holds a dataset, as far as its note says."""
    try:
        other = json.loads(note.read_text(encoding="utf-8"))
        work, pid, since = (str(other[name]) for name in ("work", "pid", "since"))
    except (OSError, ValueError, KeyError, TypeError):
        return "program"
    return one_line(f"{work[:40]} (pid {pid[:20]}, since {since[:20]})")


@contextmanager
def publishing(place: Path) -> Iterator[None]:
    """Be alone in publishing to a folder, whatever dataset the others publish from; wait for them.

    Nothing is left beside the folder. Raises DataError (LOCKED, CANNOT_WRITE)."""
    path = place.with_name(f".{place.name}.lock")
    lock = FileLock(path, timeout=_PATIENCE)
    _refuse_odd(path)
    with write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire()
        except Timeout:
            raise DataError(
                "LOCKED",
                f"another program has been publishing to {place} for {_PATIENCE / 60:.0f} minutes;"
                " end it, or publish to another folder with --model",
            ) from None
    try:
        yield
    finally:
        if sys.platform != "win32":  # there the lock removes it
            path.unlink(missing_ok=True)  # who waits for this file begins anew with its own
        lock.release()

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

    Raises DataError (LOCKED, CANNOT_WRITE)."""
    note = root / "lock.json"
    with write_errors(root / "lock"):
        try:
            lock = _acquired(root / "lock", timeout=0)
        except Timeout:
            other = f"Another {_holder(note)} is running on {root}"
            advice = "wait for it, or end it and start again"
            raise DataError("LOCKED", f"{other}; {advice}") from None
    try:
        holder = {"work": work, "pid": os.getpid(), "since": f"{datetime.now():%H:%M}"}
        write_atomic(note, json.dumps(holder).encode())
        yield
    finally:
        lock.release()


def _acquired(path: Path, timeout: float) -> FileLock:
    """A lock on a file of its own: behind a link, another file would be emptied. Raises Timeout."""
    if os.path.lexists(path) and (path.is_symlink() or not path.is_file()):
        what = "a link" if path.is_symlink() else "a folder" if path.is_dir() else "no plain file"
        advice = "where this program keeps its lock; move it away and run again"
        raise DataError("CANNOT_WRITE", f"{path} is {what}, {advice}")
    lock = FileLock(path, timeout=timeout)
    lock.acquire()
    return lock


def _holder(note: Path) -> str:
    """Who holds a dataset, by its note."""
    try:
        other = json.loads(note.read_text(encoding="utf-8"))
        work, pid, since = (str(other[name]) for name in ("work", "pid", "since"))
    except (OSError, ValueError, KeyError, TypeError):
        return "program"
    return one_line(f"{work[:40]} (pid {pid[:20]}, since {since[:20]})")


@contextmanager
def publishing(place: Path) -> Iterator[None]:
    """Hold a folder for publishing, from whatever dataset; wait for others who hold it.

    Nothing is left beside the folder. Raises DataError (LOCKED, CANNOT_WRITE)."""
    path = place.with_name(f".{place.name}.lock")
    with write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock = _acquired(path, _PATIENCE)
        except Timeout:
            minutes = f"{_PATIENCE / 60:.0f} minutes"
            other = f"another program has been publishing to {place} for {minutes}"
            advice = "end it, or publish to another folder with --model"
            raise DataError("LOCKED", f"{other}; {advice}") from None
    try:
        yield
    finally:
        if sys.platform != "win32":  # there the lock removes it
            path.unlink(missing_ok=True)  # who waits for this file begins anew with its own
        lock.release()

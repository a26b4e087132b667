"""One worker at a time on a dataset, and one publisher at a time of a model."""

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
from bear_classifier.files import explained, write_atomic

_PATIENCE = 600.0  # seconds that a publisher waits for another; proving a model takes a minute


@contextmanager
def hold(root: Path, work: str) -> Iterator[None]:
    """Hold the dataset for long work; the system frees the lock of a dead process.

    Raises DataError (LOCKED)."""
    note = root / "lock.json"
    lock = FileLock(root / "lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        try:
            other = json.loads(note.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            other = {"work": "run", "pid": "unknown", "since": "now"}
        raise DataError(
            "LOCKED",
            f"Another {other['work']} (pid {other['pid']}, since {other['since']}) is running"
            f" on {root}; wait for it, or end it and start again",
        ) from None
    try:
        holder = {"work": work, "pid": os.getpid(), "since": f"{datetime.now():%H:%M}"}
        write_atomic(note, json.dumps(holder).encode())
        yield
    finally:
        lock.release()


@contextmanager
def publishing(place: Path) -> Iterator[None]:
    """Be alone in publishing to a folder, whatever dataset the others publish from; wait for them.

    Nothing is left beside the folder. Raises DataError (LOCKED, CANNOT_WRITE)."""
    path = place.with_name(f".{place.name}.lock")
    lock = FileLock(path, timeout=_PATIENCE)
    with explained(path):
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

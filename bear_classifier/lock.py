"""One worker at a time on a dataset."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from bear_classifier.errors import DataError
from bear_classifier.files import write_atomic


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

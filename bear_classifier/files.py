"""Files that are either whole or not there."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bear_classifier.errors import DataError


def write_atomic(path: Path, data: bytes) -> None:
    """Write beside the place, flush to the disk, then rename: a reader sees all or nothing.

    Raises DataError (DISK_FULL, CANNOT_WRITE); what stood there before is kept then."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with explained(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn the system's word for a failed write into what a person can do about it."""
    try:
        yield
    except OSError as exc:
        if exc.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise DataError(
                "DISK_FULL",
                f"no space left to write {path}; what was there before is kept; free some and run"
                " again",
            ) from exc
        raise DataError("CANNOT_WRITE", f"{path} cannot be written: {exc.strerror}") from exc

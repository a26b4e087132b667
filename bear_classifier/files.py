"""Files that are either whole or not there."""

from __future__ import annotations

import csv
import errno
import io
import os
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bear_classifier.errors import DataError

# What makes a spreadsheet run a cell, in the wide signs of East Asia too; quotes before it are
# counted in, so that two different texts never become the same cell.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")


def write_atomic(path: Path, data: bytes) -> None:
    """Write beside the place, flush to the disk, then rename: a reader sees all or nothing.

    Raises DataError (DISK_FULL, CANNOT_WRITE); what stood there before is kept then."""
    move(write_partial(path, data), path)


def write_partial(path: Path, data: bytes) -> Path:
    """A hidden file beside the place, flushed to the disk; for `move`. Raises as `write_atomic`."""
    writer = f"{os.getpid()}-{threading.get_ident()}"  # two threads may write the same photo
    partial = path.with_name(f".{path.name}.{writer}.partial")
    with explained(path):
        try:
            if not path.parent.is_dir():
                path.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
    return partial


def move(partial: Path, path: Path) -> None:
    """To its place, at once and whole, or not at all. Raises as `write_atomic`."""
    with explained(path):
        try:
            if not path.parent.is_dir():
                path.parent.mkdir(parents=True, exist_ok=True)
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


def write_table(path: Path, rows: Iterable[Sequence[object]]) -> None:
    """CSV in UTF-8; text that a spreadsheet would run as a formula is quoted by a '."""
    text = io.StringIO()
    csv.writer(text).writerows([_cell(value) for value in row] for row in rows)
    write_atomic(path, text.getvalue().encode(errors="replace"))


def _cell(value: object) -> object:
    if not isinstance(value, str):
        return value
    whole = value.replace("\0", "\ufffd")  # the reader of Python 3.10 refuses a NUL
    return f"'{whole}" if _FORMULA.match(whole) else whole


def clear_partial(root: Path) -> None:
    """Remove what a killed program left half-written; only while nobody else writes there."""
    for partial in root.rglob(".*.partial"):
        if partial.is_file():
            partial.unlink(missing_ok=True)


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

"""Atomic file writes, and errors of the file system as sentences."""

from __future__ import annotations

import codecs
import csv
import errno
import hashlib
import io
import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from bear_classifier.errors import DataError

_LONGEST_CELL = 1 << 24  # characters
# What makes a spreadsheet run a cell, in the wide signs of East Asia too; quotes before it are
# counted in, so that two different texts never become the same cell.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_PAUSES = (0.01, 0.04, 0.1, 0.25, 0.6)  # seconds
_ABANDONED = 3600.0  # seconds; no file here takes as long to be written


def write_atomic(path: Path, data: bytes) -> None:
    """Write beside the place, flush to the disk, then rename: a reader sees all or nothing.

    Raises DataError (DISK_FULL, CANNOT_WRITE); what stood there before is kept then."""
    move(write_partial(path, data), path)


def write_partial(path: Path, data: bytes | Callable[[BinaryIO], object]) -> Path:
    """A hidden file beside the place, flushed to the disk; for `move`. data: its content, or what
    writes it. Raises as `write_atomic`."""
    writer = f"{os.getpid()}-{threading.get_ident()}"  # two threads may write the same photo
    partial = path.with_name(f".{path.name}.{writer}.partial")
    with _all_or_nothing(partial, path), partial.open("wb") as file:
        if callable(data):
            data(file)
        else:
            file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return partial


def move(partial: Path, path: Path) -> None:
    """To its place, at once and whole, or not at all. Raises as `write_atomic`."""
    with _all_or_nothing(partial, path):
        replace(partial, path)


@contextmanager
def _all_or_nothing(partial: Path, path: Path) -> Iterator[None]:
    """Make the folder of `path`; whatever fails within leaves no partial file."""
    with write_errors(path):
        try:
            if not path.parent.is_dir():
                path.parent.mkdir(parents=True, exist_ok=True)
            yield
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


def replace(source: Path, target: Path) -> None:
    """Rename, over what is there. Windows refuses while another program has it open, such as a
    virus scanner: tried again for a second. Raises OSError."""
    for pause in (*_PAUSES, None):
        try:
            source.replace(target)
            return
        except PermissionError as exc:
            if pause is None:
                why = f"{exc.strerror}; close the program that has it open"
                raise PermissionError(exc.errno, why, str(target)) from exc
            time.sleep(pause)


def writable(path: Path) -> None:
    """Raises DataError (DISK_FULL, CANNOT_WRITE) unless a file can be written there."""
    if path.is_dir():
        raise DataError("CANNOT_WRITE", f"{path} is a folder; name a file in it")
    write_partial(path, b"").unlink(missing_ok=True)


def write_table(path: Path, rows: Iterable[Sequence[object]]) -> None:
    """CSV in UTF-8 with a byte order mark, for Excel; formulas are quoted, see `cell`."""
    text = io.StringIO()
    csv.writer(text).writerows([cell(value) for value in row] for row in rows)
    write_atomic(path, text.getvalue().encode("utf-8-sig", errors="replace"))


def cell(value: object) -> object:
    """A value for a spreadsheet: text that it would run as a formula is quoted by a '."""
    if not isinstance(value, str):
        return value
    whole = value.replace("\0", "\ufffd")  # the reader of Python 3.10 refuses a NUL
    return f"'{whole}" if _FORMULA.match(whole) else whole


def uncell(text: str) -> str:
    """The text that `cell` was given, whoever wrote the table."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


@contextmanager
def long_cells() -> Iterator[None]:
    """Tables may have cells of up to 16 million characters meanwhile: the limit of Python's reader
    is one for the whole program, and small."""
    before = csv.field_size_limit(_LONGEST_CELL)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def read_text(path: Path) -> str:
    """A table as a spreadsheet saves it: UTF-8 with a mark or without, or Excel's "Unicode Text".

    Raises OSError, UnicodeDecodeError."""
    data = path.read_bytes()
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return data.decode("utf-16" if wide else "utf-8-sig")


def printable(name: Path | str) -> str:
    """A name as valid Unicode: bytes that are no UTF-8 as in a shell's $'a\\xff.jpg'."""
    try:
        return str(name).encode(errors="surrogateescape").decode(errors="backslashreplace")
    except UnicodeEncodeError:  # half a character of UTF-16, as Windows allows
        return str(name).encode(errors="backslashreplace").decode()


def hash_of(path: Path) -> str:
    """SHA-256 of a file, read in blocks. Raises OSError."""
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**22):
            sha.update(block)
    return sha.hexdigest()


def json_digest(values: Iterable[object]) -> str:
    """SHA-256 of the JSON text of a list of these values, which need not be in memory together."""
    sha, between = hashlib.sha256(b"["), b""
    for value in values:
        sha.update(between + json.dumps(value).encode())
        between = b", "
    sha.update(b"]")
    return sha.hexdigest()


def clear_partial(root: Path) -> None:
    """Remove what a killed program left half-written; only while nobody else writes there."""
    for partial in root.rglob(".*.partial"):
        if partial.is_file():
            partial.unlink(missing_ok=True)


def clear_old_partial(folder: Path) -> None:
    """The same where others may write: in this folder only, and what is older than an hour."""
    for partial in folder.glob(".*.partial"):
        with suppress(OSError):  # its writer was quicker, or it is somebody else's
            if partial.is_file() and time.time() - partial.stat().st_mtime > _ABANDONED:
                partial.unlink()


def os_error(exc: OSError) -> DataError:
    """An error of the system as a sentence: which path, why, and what to do."""
    place = exc.filename if exc.filename is not None else "a file"
    place = os.fsdecode(place) if isinstance(place, bytes) else str(place)
    place = place if len(place) <= _LONGEST else f"{place[:_LONGEST]}..."
    why = exc.strerror or str(exc) or type(exc).__name__
    if exc.errno in _FULL:
        return DataError("DISK_FULL", f"no space left to write {place}; free some and run again")
    advice = _ADVICE.get(exc.errno or 0, "see whether it is there and may be used")
    return DataError("SYSTEM", f"{place}: {why}; {advice}")


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_LONGEST = 200  # characters of a path that are shown
_NO_RIGHT = "give yourself the right to open and change it, or name another"
_ADVICE = {
    errno.EACCES: _NO_RIGHT,
    errno.EPERM: _NO_RIGHT,
    errno.EROFS: "name a folder that can be written",
    errno.ENAMETOOLONG: "the name is too long for a file; name one that is there",
    errno.ENOENT: "nothing is there; see whether the name is spelt right",
    errno.ELOOP: "a link leads back to itself; name what it should lead to",
    errno.EMFILE: "too many files are open; raise the limit (ulimit -n) and run again",
    errno.EIO: "the disk cannot be read; check it",
    errno.ESTALE: "the network drive is gone; connect it and run again",
}


@contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """A failed write as DataError (DISK_FULL, CANNOT_WRITE): what a person can do about it."""
    try:
        yield
    except OSError as exc:
        if exc.errno in _FULL:
            kept = "what was there before is kept; free some and run again"
            raise DataError("DISK_FULL", f"no space left to write {path}; {kept}") from exc
        raise DataError("CANNOT_WRITE", f"{path} cannot be written: {exc.strerror}") from exc

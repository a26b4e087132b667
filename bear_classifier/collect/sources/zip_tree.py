"""A ZIP as folders and files that are read in place, once it is clear that it is harmless.

Nothing is unpacked: a photo is read into memory when it is stored, and never more of it than the
archive says. What no program packs by itself is refused as a whole, before any entry is read.
"""

from __future__ import annotations

import io
import stat
import weakref
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from bear_classifier.errors import DataError, PhotoError
from bear_classifier.images.decoder import MAX_BYTES, check_bytes
from bear_classifier.runtime.files import printable

_ENTRIES = 1_000_000
_LIST_BYTES = 1 << 28  # of the list of entries: 256 for each
_DEPTH = 60  # folders in folders
_RATIO = 100  # times its size that an archive of photos unpacks to at most
_SMALL = 100_000_000  # bytes that any archive may unpack to
_TABLE_BYTES = 1 << 28  # of a metadata.csv
_HEADER = 30  # bytes before the name of an entry
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, OSError),
    *(EOFError, ValueError),
)
PLAIN = "pack the folder anew with your system's own tool"


@dataclass(eq=False)
class Packed:
    """A folder or file of an archive, as a `files_below.Node`. place: the archive's path; path:
    in it, with /; stamp: size and checksum of a file; inside: what a folder holds, by name."""

    archive: zipfile.ZipFile
    place: str
    path: str
    info: zipfile.ZipInfo | None = None
    inside: dict[str, Packed] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def stamp(self) -> str:
        return f"{self.info.file_size}-{self.info.CRC:08x}" if self.info else ""

    def __str__(self) -> str:
        return f"{self.place}/{self.path}" if self.path else self.place

    def __lt__(self, other: Any) -> bool:
        return bool(self.path.split("/") < other.path.split("/"))

    def is_dir(self) -> bool:
        return self.info is None

    def is_file(self) -> bool:
        return self.info is not None

    def is_symlink(self) -> bool:
        return False  # an archive with links is refused

    def iterdir(self) -> Iterator[Packed]:
        return iter(self.inside.values())

    def read_bytes(self) -> bytes:
        """The content of a table or photo. Raises DataError (ZIP_UNSAFE, ZIP_DAMAGED)."""
        if self.info is None or self.info.file_size > _TABLE_BYTES:
            raise DataError("ZIP_UNSAFE", f"{self} is too large to be read")
        try:
            return self._content()
        except _DAMAGED as exc:
            raise _damaged(str(self), exc) from exc

    def photo(self) -> bytes:
        """Raises PhotoError (TOO_LARGE, DAMAGED)."""
        check_bytes(self.info.file_size if self.info else 0)
        try:
            return self._content()
        except _DAMAGED as exc:
            raise PhotoError("DAMAGED", f"it cannot be unpacked: {exc}") from exc

    def _content(self) -> bytes:
        if self.info is None:
            raise FileNotFoundError(f"{self} is a folder")
        with self.archive.open(self.info) as file:
            data = file.read(self.info.file_size)
            file.read(1)  # so that the checksum is compared
            return data


def open_zip(path: Path) -> Packed:
    """The top folder of an archive. Raises DataError (NO_FILE, ZIP_DAMAGED, ZIP_UNSAFE,
    ZIP_ENCRYPTED, ZIP_BOMB, ZIP_METHOD)."""
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):
            raise DataError("NO_FILE", f"{path} is no file; expected a ZIP of photos")
        return _opened(str(path.resolve()), facts.st_size, facts.st_mtime_ns)
    except OSError as exc:
        raise DataError("NO_FILE", f"{path} cannot be read: {exc.strerror or exc}") from exc


@lru_cache(2)
def _opened(place: str, size: int, _changed: int) -> Packed:
    listed = _ListedFile(io.FileIO(place))
    try:
        archive = zipfile.ZipFile(listed)
        listed.is_open = True
        entries = archive.infolist()
        _refuse_hostile(place, entries, size)
        root = _tree(archive, place, entries)
    except _DAMAGED as exc:
        listed.close()
        raise _damaged(place, exc) from exc
    except DataError:
        listed.close()
        raise
    weakref.finalize(archive, listed.close)
    return root


class _ListedFile(io.BufferedReader):
    """The file of an archive. While it is opened, `ZipFile` reads its whole list at once, as long
    as its end says: no more than is sound here."""

    is_open = False

    def read(self, size: int | None = -1, /) -> bytes:
        if not self.is_open and size is not None and size > _LIST_BYTES:
            raise zipfile.BadZipFile("its list of entries is too long")
        return super().read(size)


def _refuse_hostile(place: str, entries: Sequence[zipfile.ZipInfo], size: int) -> None:
    """size: of the archive in bytes."""
    where = printable(place)
    if len(entries) > _ENTRIES:
        words = f"{where} has {len(entries):,} entries; the limit is {_ENTRIES:,}. Make several"
        raise DataError("ZIP_UNSAFE", words)
    for entry in entries:
        if why := _flaw(entry):
            name = printable(entry.filename[:100])
            raise DataError("ZIP_UNSAFE", f"{where}: the entry {name!r} {why}; {PLAIN}")
    if locked := next((e for e in entries if e.flag_bits & 1), None):
        words = f"{where} is encrypted ({printable(locked.filename[:100])!r}); pack it without"
        raise DataError("ZIP_ENCRYPTED", f"{words} a password")
    if other := next((e for e in entries if e.compress_type not in _METHODS), None):
        name, method = printable(other.filename[:100]), other.compress_type
        words = f"{where} is compressed by method {method} ({name!r}); {PLAIN}"
        raise DataError("ZIP_METHOD", words)
    total = sum(entry.file_size for entry in entries)
    swollen = [e for e in entries if e.file_size > max(MAX_BYTES, _RATIO * e.compress_size)]
    if swollen or total > _SMALL + _RATIO * size:
        one = swollen[0] if swollen else max(entries, key=lambda e: e.file_size)
        raise DataError(
            "ZIP_BOMB",
            f"{where} of {size:,} bytes unpacks to {total:,}, {printable(one.filename[:100])!r} to"
            f" {one.file_size:,}; no archive of photos does. If it is yours, unpack it and name the"
            " folder; run: bears run --source folder:PATH",
        )
    end, before = 0, ""
    for entry in sorted(entries, key=lambda e: e.header_offset):
        name = printable(entry.filename[:100])
        if entry.header_offset < end:
            words = f"{where}: the entries {before!r} and {name!r} share their bytes"
            raise DataError("ZIP_BOMB", f"{words}, which no program packs; {PLAIN}")
        end, before = entry.header_offset + _HEADER + entry.compress_size, name


def _flaw(entry: zipfile.ZipInfo) -> str:
    """Why no program packs an entry of this name and kind, or nothing."""
    mode = entry.external_attr >> 16
    if why := unsafe_path(entry.filename):
        return why
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link" if stat.S_ISLNK(mode) else "is a device or a pipe"
    return ""


def unsafe_path(name: str) -> str:
    """Why no program packs an entry of this name, or nothing."""
    parts = name.replace("\\", "/").split("/")
    if not parts[0] or parts[0].endswith(":"):
        return "has an absolute path"
    if ".." in parts:
        return "leads out of the archive"
    return f"lies {len(parts)} folders deep; the limit is {_DEPTH}" if len(parts) > _DEPTH else ""


def _tree(archive: zipfile.ZipFile, place: str, entries: Sequence[zipfile.ZipInfo]) -> Packed:
    """Raises DataError (ZIP_UNSAFE) for a name that is there twice."""
    root = Packed(archive, place, "")
    for entry in entries:
        name = entry.filename.replace("\\", "/")
        *folders, last = [part for part in name.split("/") if part not in ("", ".")] or [""]
        if name.endswith("/"):
            folders, last = [*folders, last], ""
        at = root
        for folder in folders:
            path = f"{at.path}/{folder}" if at.path else folder
            at = at.inside.setdefault(folder, Packed(archive, place, path))
        path = f"{at.path}/{last}" if at.path else last
        if at.info or last in at.inside:
            words = f"{printable(place)} has two entries of the name {printable(path[:100])!r}"
            raise DataError("ZIP_UNSAFE", f"{words}, and nobody can know which counts; {PLAIN}")
        if last:
            at.inside[last] = Packed(archive, place, path, entry)
    return root


def _damaged(where: str, exc: BaseException) -> DataError:
    words = f"{printable(where)} cannot be read as a ZIP: {exc}; copy or download it again"
    return DataError("ZIP_DAMAGED", words)

"""A tar as WebDataset has it: samples of files that lie together and share a name, read in place.

Nothing is unpacked. What no program packs by itself is refused as a whole: Python's reader of tars
would follow a header that is longer than memory, or one that leads back to itself.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from bear_classifier.collect.sources.zip_tree import PLAIN, unsafe_path
from bear_classifier.errors import DataError
from bear_classifier.runtime.files import printable

_ENTRIES = 1_000_000
_HEADER_BYTES = 1 << 14  # that are read at once; longer ones are made to fill the memory
_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
}


@dataclass(frozen=True, slots=True)
class TarExtent:
    """Where the content of an entry lies, in bytes."""

    start: int
    size: int


@dataclass(frozen=True, slots=True)
class Sample:
    """name: what its files share, with their folder; files: by what follows the first full stop of
    their name, in small letters."""

    name: str
    files: dict[str, TarExtent] = field(default_factory=dict)


def samples_of(path: Path) -> Iterator[Sample]:
    """The samples of a tar, in their order; hidden files are passed over.

    Raises DataError (NO_FILE, TAR_COMPRESSED, TAR_DAMAGED, TAR_UNSAFE)."""
    where = printable(path)
    try:
        with _HeaderFile(io.FileIO(path)) as file:
            _refuse_compressed(file, where)
            at: Sample | None = None
            for entry in _entries(file, path.stat().st_size, where):
                folder, slash, last = entry.name.rpartition("/")
                stem, dot, ending = last.partition(".")
                if not (stem and dot and entry.isreg()):
                    continue
                if at is None or at.name != folder + slash + stem:
                    if at:
                        yield at
                    at = Sample(folder + slash + stem)
                if (ending := ending.lower()) in at.files:
                    raise _ambiguous(where, f"{at.name}.{ending}")
                at.files[ending] = TarExtent(entry.offset_data, entry.size)
            if at:
                yield at
    except (tarfile.TarError, ValueError, RecursionError) as exc:
        raise _damaged(where, str(exc)) from exc
    except OSError as exc:
        raise DataError("NO_FILE", f"{where} cannot be read: {exc.strerror or exc}") from exc


def tar_content(file: IO[bytes], extent: TarExtent) -> bytes:
    """The bytes of an entry. file: the tar. Raises OSError."""
    file.seek(extent.start)
    return file.read(extent.size)


class _HeaderFile(io.BufferedReader):
    """The file of a tar, of which its reader gets no more at once than headers have."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= _HEADER_BYTES:
            raise tarfile.ReadError("one of its headers is too long")
        return super().read(size)


def _refuse_compressed(file: io.BufferedReader, where: str) -> None:
    head = file.peek(8)
    if kind := next((kind for mark, kind in _COMPRESSED.items() if head.startswith(mark)), ""):
        words = f"{where} is compressed by {kind}, and photos are read where they lie"
        raise DataError("TAR_COMPRESSED", f"{words}; unpack it to a .tar")


def _entries(file: io.BufferedReader, size: int, where: str) -> Iterator[tarfile.TarInfo]:
    """Headers and what they say of their content, checked. size: of the tar in bytes."""
    seen: set[str] = set()
    with tarfile.TarFile(fileobj=file) as tar:
        end = -1
        while entry := tar.next():
            tar.members.clear()  # type: ignore[attr-defined]  # which would grow with every entry
            name = printable(entry.name[:100])
            if why := _flaw(entry):
                raise DataError("TAR_UNSAFE", f"{where}: the entry {name!r} {why}; {PLAIN}")
            if entry.offset <= end or not 0 <= entry.size <= size - entry.offset_data:
                raise _damaged(where, f"the header of {name!r} leads out of it")
            end = entry.offset
            if entry.isreg() and entry.name in seen:
                raise _ambiguous(where, name)
            seen.add(entry.name)
            if len(seen) > _ENTRIES:
                words = f"{where} has more than {_ENTRIES:,} entries; make several"
                raise DataError("TAR_UNSAFE", words)
            yield entry
        file.seek(tar.offset)
        if any(file.read(tarfile.BLOCKSIZE)):
            raise _damaged(where, "what follows its last entry is no header")


def _flaw(entry: tarfile.TarInfo) -> str:
    """Why no program packs an entry of this name and kind, or nothing."""
    if why := unsafe_path(entry.name):
        return why
    if entry.issym() or entry.islnk():
        return "is a link"
    if entry.issparse():
        return "is sparse, so that it unpacks to more than is there"
    return "" if entry.isreg() or entry.isdir() else "is a device or a pipe"


def _ambiguous(where: str, name: str) -> DataError:
    words = f"{where} has two entries of the name {printable(name[:100])!r}"
    return DataError("TAR_UNSAFE", f"{words}, and nobody can know which counts; {PLAIN}")


def _damaged(where: str, why: str) -> DataError:
    words = f"{where} cannot be read as a tar: {why}; copy or download it again"
    return DataError("TAR_DAMAGED", words)

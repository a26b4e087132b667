"""What an export consists of: parts of some hundred photos, each written once and whole.

A part is a piece of a folder, or a shard. Its note says which bytes were written; with the note, a
part is done and is not done again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from bear_classifier.dataset.formats.choices import Handling
from bear_classifier.dataset.formats.metadata import MetadataRow
from bear_classifier.errors import DataError, PhotoError
from bear_classifier.images.strip_metadata import without_metadata
from bear_classifier.runtime.files import write_atomic
from bear_classifier.runtime.processors import processors

_CHUNK = 256  # photos of one part in folders: what an interruption costs at most
SHARD_BYTES = 256_000_000  # of photos in one shard, but for the last of a split
_AHEAD = 8  # photos of a shard that are read before it is their turn


@dataclass(frozen=True, slots=True)
class ExportItem:
    """One photo. stored: its file in the dataset; bytes: of that; row: of the table, without hash
    and size of the file that is yet to be written."""

    stored: Path
    bytes: int
    row: MetadataRow


@dataclass(frozen=True)
class Part:
    """name: of its note and, of a shard, of its file."""

    name: str
    items: Sequence[ExportItem]


@dataclass(frozen=True)
class WrittenFile:
    """The file of one photo. linked: it is the stored file under a second name."""

    sha256: str
    bytes: int
    linked: bool = False


def file_parts(items: Sequence[ExportItem]) -> Iterator[Part]:
    """Parts of folders."""
    for start in range(0, len(items), _CHUNK):
        yield Part(f"part-{start // _CHUNK:06}", items[start : start + _CHUNK])


def shard_parts(
    items: Sequence[ExportItem], split: str, digits: int, suffix: str
) -> Iterator[Part]:
    """Parts of one split, called SPLIT-NUMBER.suffix, each with the row of where it lies."""
    held: list[ExportItem] = []
    size = number = 0
    for item in items:
        if held and size + item.bytes > SHARD_BYTES:
            yield _shard(held, split, number, digits, suffix)
            held, size, number = [], 0, number + 1
        held.append(item)
        size += item.bytes
    if held:
        yield _shard(held, split, number, digits, suffix)


def _shard(items: Sequence[ExportItem], split: str, number: int, digits: int, suffix: str) -> Part:
    name = f"{split}-{number:0{digits}}.{suffix}"
    rows = (replace(item.row, file_name=f"{name}/{item.row.file_name}") for item in items)
    return Part(name, [replace(i, row=row) for i, row in zip(items, rows, strict=True)])


def photo_content(item: ExportItem, keep_metadata: bool) -> bytes:
    """What is written of a photo. Raises DataError (STORED_DAMAGED) where the stored file is not
    what its name says."""
    try:
        data = item.stored.read_bytes()
    except OSError as exc:
        raise _not_stored(item, f"cannot be read: {exc.strerror}") from exc
    if hashlib.sha256(data).hexdigest() != item.row.sha256:
        raise _not_stored(item, "was changed: its content is not that of its name")
    if keep_metadata:
        return data
    try:
        return without_metadata(data)
    except PhotoError as exc:
        why = f"photo {item.stored} cannot be written without its metadata ({exc.sentence})"
        advice = "drop it, or export with --keep-metadata"
        raise DataError(exc.code, f"{why}; {advice}") from exc


def _not_stored(item: ExportItem, why: str) -> DataError:
    advice = "to set it aside and fetch it again, run: bears run --retry"
    return DataError("STORED_DAMAGED", f"stored photo {item.stored} {why}; {advice}")


def contents(
    items: Sequence[ExportItem], keep_metadata: bool
) -> Iterator[tuple[ExportItem, bytes]]:
    """Photos in their order, a few of them read ahead."""
    with ThreadPoolExecutor(min(_AHEAD, processors())) as pool:
        for start in range(0, len(items), _AHEAD):
            some = items[start : start + _AHEAD]
            datas = pool.map(lambda item: photo_content(item, keep_metadata), some)
            yield from zip(some, datas, strict=True)


def described(data: bytes, linked: bool = False) -> WrittenFile:
    return WrittenFile(hashlib.sha256(data).hexdigest(), len(data), linked)


def write_files(part: Part, out: Path, handling: Handling) -> list[WrittenFile]:
    """The photos of a part as files of their own, where their rows say."""

    def write(item: ExportItem) -> WrittenFile:
        data = photo_content(item, handling.keep_metadata)
        path = out / item.row.file_name
        done = described(data, handling.link and done_by_link(item, path, data))
        if not done.linked:
            path.unlink(missing_ok=True)  # it may be a link, from before the part was cut off
            path.write_bytes(data)
        return done

    for folder in {(out / item.row.file_name).parent for item in part.items}:
        folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(min(_AHEAD, processors())) as pool:
        return list(pool.map(write, part.items))


def done_by_link(item: ExportItem, path: Path, data: bytes) -> bool:
    """Whether the stored file now has that second name. Both become read-only: who writes into one
    would write into the other."""
    if _is_root() or len(data) != item.bytes or hashlib.sha256(data).hexdigest() != item.row.sha256:
        return False
    try:
        path.unlink(missing_ok=True)
        os.link(item.stored, path)
    except OSError:  # another file system, or one without links
        return False
    if os.name != "nt":  # where a read-only file could not be deleted
        item.stored.chmod(0o444)
    return True


LINKS_NEED = (
    "it takes one file system for both folders, photos without metadata to leave out, and a user"
    " other than root, who can write into read-only files"
)


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


def run_part(
    part: Part, notes: Path, write: Callable[[Part], list[WrittenFile]]
) -> Iterator[tuple[ExportItem, WrittenFile]]:
    """Each photo with what was written of it: from the note, or after it is written now."""
    note = notes / f"{part.name}.json"
    if not note.is_file():
        rows = [(one.sha256, one.bytes, one.linked) for one in write(part)]
        write_atomic(note, json.dumps(rows).encode())
    done = (WrittenFile(*row) for row in json.loads(note.read_bytes()))
    return zip(part.items, done, strict=True)


def outstanding(parts: Iterable[Part], notes: Path) -> list[Part]:
    """Those that are not done yet."""
    return [part for part in parts if not (notes / f"{part.name}.json").is_file()]

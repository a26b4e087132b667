"""A ZIP archive that is sent while it is made: it lies neither on the disk nor whole in memory."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

_BLOCK = 1 << 18  # bytes read at once
_LARGE = 1 << 30  # bytes; of such entries the size may take more than 32 bits
# Photos, archives, and weights, which take a second for each 10 MB and become hardly smaller.
_STORED = {
    *(".jpg", ".jpeg", ".png", ".webp", ".gif", ".avif", ".heic", ".zip", ".parquet", ".tar"),
    *(".onnx", ".safetensors", ".npz", ".pth"),
}
_FIRST = (1980, 1, 1, 0, 0, 0)  # the earliest time that a ZIP can hold
Content = Path | bytes


class _Sent(io.RawIOBase):
    """What was written and not taken yet; `zipfile` writes to it as to a pipe."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: object, /) -> int:
        self._parts.append(bytes(data))  # type: ignore[call-overload]
        return len(self._parts[-1])

    def taken(self) -> bytes:
        data = b"".join(self._parts)
        self._parts.clear()
        return data


def zipped(entries: Iterable[tuple[str, Content]]) -> Iterator[bytes]:
    """The archive in pieces. entries: names with / and their files or bytes; photos and
    weights are stored as they are, other files packed. Raises OSError where a file is gone."""
    sent = _Sent()
    with zipfile.ZipFile(sent, "w") as archive:
        for name, content in entries:
            info = _entry(name, content)
            with archive.open(info, "w", force_zip64=info.file_size >= _LARGE) as target:
                for block in _blocks(content):
                    target.write(block)
                    yield sent.taken()
    yield sent.taken()


def _entry(name: str, content: Content) -> zipfile.ZipInfo:
    size, at = len(content) if isinstance(content, bytes) else 0, _FIRST
    if isinstance(content, Path):
        facts = content.stat()
        year, *rest = time.localtime(facts.st_mtime)[:6]
        size, at = facts.st_size, (year, *rest) if 1980 <= year < 2108 else _FIRST  # type: ignore[assignment]
    info = zipfile.ZipInfo(name, at)
    info.file_size, info.external_attr = size, 0o100644 << 16
    is_stored = Path(name).suffix.lower() in _STORED
    info.compress_type = zipfile.ZIP_STORED if is_stored else zipfile.ZIP_DEFLATED
    return info


def _blocks(content: Content) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield content
        return
    with content.open("rb") as file:
        while block := file.read(_BLOCK):
            yield block


def archive_entries(
    folder: Path, below: str, without: Sequence[str] = ()
) -> Iterator[tuple[str, Path]]:
    """Every file in a folder under its name in the archive, in order, but for what is half-written
    or of a version control. below: the name of the folder in the archive; without: names of files
    that are left out."""
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        left_out = path.name in without or path.suffix == ".partial" or ".git" in inside.parts
        if path.is_file() and not left_out:
            yield f"{below}/{inside.as_posix()}", path

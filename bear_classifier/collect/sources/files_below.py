"""Files below a folder, without what systems leave there, and why the others are no candidates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

from bear_classifier.runtime.system_files import is_system_file, is_system_folder

METADATA_TABLES = ("metadata.csv", "metadata.jsonl")  # as Hugging Face has them, beside photos
_OURS = ("catalog.sqlite", "bundle.json")  # in a dataset or model: its photos are no candidates

_EXPORT = ".bears-"  # how a file begins that an export of this program leaves there


class Node(Protocol):
    """A file or folder of a disk (`Path`) or in an archive (`zip_tree.Packed`)."""

    @property
    def name(self) -> str: ...
    def is_dir(self) -> bool: ...
    def is_file(self) -> bool: ...
    def is_symlink(self) -> bool: ...
    def iterdir(self) -> Iterable[Node]: ...
    def read_bytes(self) -> bytes: ...
    def __lt__(self, other: Any) -> bool: ...


def files_below(folder: Node, ignored: dict[str, str]) -> Iterator[Node]:
    """Every file in whatever depth, sorted. ignored: gets path -> why of what is passed over."""
    try:
        inside = sorted(folder.iterdir())
    except OSError as exc:  # what lies elsewhere can be had
        ignored[str(folder)] = f"cannot be opened: {exc.strerror}"
        return
    if any(path.name in _OURS for path in inside):
        return
    for path in inside:
        is_folder = path.is_dir()
        if not _is_seen(path, is_folder, ignored):
            continue
        if is_folder and path.is_symlink():
            ignored[str(path)] = "a link to a folder"
        elif is_folder:
            yield from files_below(path, ignored)
        elif not path.is_file():
            ignored[str(path)] = "not a file"
        elif str(path) != readable_name(str(path)):
            ignored[str(path)] = "its name is not valid Unicode; rename it"
        else:
            yield path


def visible(paths: Iterable[Node], ignored: dict[str, str]) -> Iterator[Node]:
    """Those not hidden. A leading _ hides folders only: cameras name photos _DSC0123.JPG."""
    yield from (path for path in paths if _is_seen(path, path.is_dir(), ignored))


def _is_seen(path: Node, is_folder: bool, ignored: dict[str, str]) -> bool:
    name = path.name
    if (is_system_folder(name) if is_folder else is_system_file(name)) or name.startswith(_EXPORT):
        return False
    is_hidden = name.startswith(".") or (is_folder and name.startswith("_"))
    if is_hidden:
        ignored[str(path)] = "hidden"
    return not is_hidden


def readable_name(name: str) -> str:
    """The name, with a question mark for each byte that is not UTF-8."""
    return name.encode(errors="replace").decode()


def change_stamp(place: Node) -> str:
    """Of a file of a disk its size and time of change, of an entry of an archive its size and
    checksum: so that what was edited is read again. Raises OSError."""
    if stamp := getattr(place, "stamp", ""):
        return str(stamp)
    stat = Path(str(place)).stat()
    return f"{stat.st_size}-{stat.st_mtime_ns}"

"""Files below a folder, without what systems leave there, and why the others are no candidates."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from bear_classifier.runtime.system_files import is_system_file, is_system_folder


def files_below(folder: Path, ignored: dict[str, str]) -> Iterator[tuple[Path, os.stat_result]]:
    """Every file in whatever depth, sorted. ignored: gets path -> why of what is passed over."""
    try:
        inside = sorted(folder.iterdir())
    except OSError as exc:  # what lies elsewhere can be had
        ignored[str(folder)] = f"cannot be opened: {exc.strerror}"
        return
    for path in visible(inside, ignored):
        if path.is_dir() and path.is_symlink():
            ignored[str(path)] = "a link to a folder"
        elif path.is_dir():
            yield from files_below(path, ignored)
        elif not path.is_file():
            ignored[str(path)] = "not a file"
        elif str(path) != readable_name(str(path)):
            ignored[str(path)] = "its name is not valid Unicode; rename it"
        else:
            yield path, path.stat()


def visible(paths: Sequence[Path], ignored: dict[str, str]) -> Iterator[Path]:
    """Those not hidden. A leading _ hides folders only: cameras name photos _DSC0123.JPG."""
    for path in paths:
        is_folder, name = path.is_dir(), path.name
        if not (is_system_folder(name) if is_folder else is_system_file(name)):
            if name.startswith(".") or (is_folder and name.startswith("_")):
                ignored[str(path)] = "hidden"
            else:
                yield path


def readable_name(name: str) -> str:
    """The name, with a question mark for each byte that is not UTF-8."""
    return name.encode(errors="replace").decode()


def stamp_of(stat: os.stat_result) -> str:
    """Size and time of change, so that an edited file is read again."""
    return f"{stat.st_size}-{stat.st_mtime_ns}"

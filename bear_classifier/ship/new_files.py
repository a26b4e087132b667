"""Files that come into a folder, such as those of a camera trap."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bear_classifier.ship.predict import files_of

Stamp = tuple[int, int]  # bytes, and nanoseconds of the last change


def new_files(
    folder: Path,
    seconds: float,
    wanted: Callable[[Path], bool],
    pause: Callable[[float], object] = time.sleep,
) -> Iterator[Path]:
    """Each wanted file once, when it has not changed between two looks, so that none is read while
    it is being copied; what is changed later comes again. Ends only from outside.

    seconds: between two looks; pause: how it waits for so long."""
    seen: dict[Path, Stamp] = {}
    given: dict[Path, Stamp] = {}
    while True:
        now = {
            path: stamp
            for path in files_of([folder])
            if wanted(path) and (stamp := size_and_time(path))
        }
        for path, stamp in now.items():
            if seen.get(path) == stamp != given.get(path):
                given[path] = stamp
                yield path
        given = {path: stamp for path, stamp in given.items() if path in now}
        seen = now
        pause(seconds)


def size_and_time(path: Path) -> Stamp | None:
    """None of what is gone or is no file."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return (facts.st_size, facts.st_mtime_ns) if path.is_file() else None

"""Whether a folder is an earlier export that nobody changed, so that a new one may replace it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from bear_classifier.dataset.formats.metadata import METADATA, read_rows
from bear_classifier.errors import BearsError, ConfigError
from bear_classifier.runtime.files import hash_of, write_atomic
from bear_classifier.runtime.system_files import left_by_system
from bear_classifier.runtime.terminal import one_line

EXPORT_MARKER = ".bears-export.json"
_WRITTEN_BY = "bears dataset export"
_LEFT_BY_USE = re.compile(r"[^/]+\.cache")  # which Ultralytics writes beside the folders of splits


def write_marker(folder: Path, about: Mapping[str, object], files: Iterable[str]) -> None:
    """The last file of an export. files: those that are no photo of the table."""
    sums = {name: hash_of(folder / name) for name in sorted(files)}
    text = json.dumps({"written_by": _WRITTEN_BY, **about, "files": sums}, indent=1)
    write_atomic(folder / EXPORT_MARKER, text.encode() + b"\n")


def refuse_foreign(place: Path) -> None:
    """Raises ConfigError (FOREIGN_FOLDER) where something is there that is not of an export, or was
    changed since: it would be lost."""
    if place.is_dir() and not (place / EXPORT_MARKER).is_file():
        inside = (path for path in sorted(place.iterdir()) if not left_by_system([path.name]))
        if first := next(inside, None):
            words = f"{place} holds {one_line(first.name)!r} and is no earlier export"
            raise ConfigError("FOREIGN_FOLDER", f"{words}; name a new folder or an empty one")
    elif place.is_dir():
        if strange := _strange(place):
            words = f"{strange} is not as the earlier export wrote it, and is kept"
            advice = "move it away, or name another folder"
            raise ConfigError("FOREIGN_FOLDER", f"{words}; {advice}")
    elif place.exists():
        raise ConfigError("FOREIGN_FOLDER", f"{place} is no folder; name a new one")


def _strange(place: Path) -> Path | None:
    """A file that was added or changed, None if there is none."""
    marker = place / EXPORT_MARKER
    try:
        about = json.loads(marker.read_bytes())
        sums = dict(about["files"])
        if about["written_by"] != _WRITTEN_BY:
            return marker
        if hash_of(place / METADATA) != sums[METADATA]:
            return place / METADATA
        photos = {r.file_name: (r.file_bytes, r.file_sha256) for r in read_rows(place / METADATA)}
    except (OSError, ValueError, KeyError, TypeError, BearsError):
        return marker
    written = marker.stat().st_mtime_ns
    for path in sorted(place.rglob("*")):
        inside = path.relative_to(place)
        name = inside.as_posix()
        if path == marker or left_by_system(inside.parts) or _is_folder(path):
            continue
        if _LEFT_BY_USE.fullmatch(name):
            continue
        size, sum_ = photos.get(name, (None, sums.get(name)))
        if sum_ is None or path.is_symlink() or not path.is_file():
            return path
        facts = path.stat()
        if size not in (None, facts.st_size):
            return path
        if facts.st_mtime_ns > written and hash_of(path) != sum_:
            return path
    return None


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()

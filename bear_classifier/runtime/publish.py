"""Putting a complete folder in place of an earlier one, by two renames."""

from __future__ import annotations

import shutil
from pathlib import Path

from bear_classifier.runtime.files import replace, write_errors


def standing(path: Path) -> Path:
    """Where the folder of this place stands: there, or, while a new one is being published or after
    that was cut off, beside it. Nothing is moved."""
    previous = _previous(path)
    return previous if not path.exists() and previous.is_dir() else path


def _previous(path: Path) -> Path:
    return path.with_name(f".{path.name}.previous")


def recover(path: Path) -> None:
    """Put the previous folder back if publishing a new one was cut off between two renames. Only
    for the one who publishes there: it would discard what another one is publishing."""
    if (current := standing(path)) != path:
        current.replace(path)


def publish(partial: Path, place: Path) -> None:
    """Put a complete folder in place of the old one, by two renames. Cut off between them, readers
    find the old one beside it, and `recover` puts it back."""
    previous = _previous(place)
    with write_errors(place):
        if place.exists():
            replace(place, previous)
        try:
            replace(partial, place)
        except OSError:
            recover(place)
            raise
    shutil.rmtree(previous, ignore_errors=True)


def clear_leftovers(place: Path) -> None:
    """Remove what an interrupted publication left beside `place`."""
    recover(place)
    for pattern in ("*.partial", "*.drawings", "previous"):
        for path in place.parent.glob(f".{place.name}.{pattern}"):
            shutil.rmtree(path, ignore_errors=True)

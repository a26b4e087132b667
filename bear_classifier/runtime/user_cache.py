"""The folder for what can be made or fetched again."""

from __future__ import annotations

import os
from pathlib import Path

_NAME = "bear-classifier"


def cache_folder() -> Path | None:
    """BEARS_CACHE, or this program's folder of the system's cache; None for a user without a
    home."""
    base = os.environ.get("LOCALAPPDATA") or os.environ.get("XDG_CACHE_HOME")
    try:
        return Path(os.environ.get("BEARS_CACHE") or Path(base or Path.home() / ".cache", _NAME))
    except RuntimeError:  # no home
        return None

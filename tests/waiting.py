"""Waiting for what can be seen, never for time: a busy machine takes as long as it takes."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(holds: Callable[[], object], alive: Callable[[], bool] = lambda: True) -> None:
    """Return once `holds` is true. What never comes is ended by pytest's timeout; a process that
    ended first (`alive` is false) fails at once."""
    while not holds():
        if not alive():
            assert holds(), "what it was to do did not come before it ended"
            return
        time.sleep(0.01)

"""Waiting for what can be seen, never for time: a busy machine takes as long as it takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

STUCK = 240.0  # seconds, far more than anything here needs: what takes longer will never come
T = TypeVar("T")


def until(
    holds: Callable[[], T],
    why: str = "it did not come",
    alive: Callable[[], bool] = lambda: True,
) -> T:
    """What `holds` returns once that is true. AssertionError(`why`) if it never comes, and at once
    if a process ended before (`alive` is false)."""
    end = time.monotonic() + STUCK
    while not (found := holds()):
        running = alive()
        assert running or holds(), f"{why} before it ended"
        assert time.monotonic() < end, why
        time.sleep(0.01)
    return found

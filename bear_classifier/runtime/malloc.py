"""Allocator settings: memory is reused and not returned to the system in between."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM, _MMAP = -1, -4  # M_TRIM_THRESHOLD and M_MMAP_MAX of mallopt(3), and glibc's defaults
_DEFAULTS = {_TRIM: 128 * 1024, _MMAP: 65536}
_inside = 0


@contextmanager
def pages_kept() -> Iterator[None]:
    """Within, glibc keeps the memory that a batch frees for the next one. Returning it and getting
    it cleared again takes half of a training step on a CPU, and a third of the time of random crops
    and warps (docs/LOG.md). Elsewhere (macOS, Windows, musl) nothing happens. Can be nested."""
    global _inside
    if platform.libc_ver()[0] != "glibc":
        yield
        return
    libc = ctypes.CDLL(None)
    _inside += 1
    libc.mallopt(_TRIM, -1)
    libc.mallopt(_MMAP, 0)
    try:
        yield
    finally:
        _inside -= 1
        if not _inside:
            for option, default in _DEFAULTS.items():
                libc.mallopt(option, default)
            libc.malloc_trim(0)

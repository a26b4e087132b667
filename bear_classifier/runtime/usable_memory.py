"""The memory that this process may use: free memory within cgroup limits."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from bear_classifier.runtime.processors import cgroup_folders, text_of

_ROOT = Path("/")  # in tests a folder that stands for it
_UNKNOWN = 8_000_000_000  # bytes, where the system does not say
_NO_LIMIT = 1 << 60  # bytes; v1 writes a number near 2**63 where there is none


def usable_memory(root: Path = _ROOT) -> int:
    """Bytes. root: where `proc` and `sys` lie."""
    found = free(text_of(root / "proc" / "meminfo")) or _physical()
    return min([found, *filter(None, map(limit, _limits(root)))])


def free(text: str) -> int:
    """Bytes that can be had without swapping, by the text of `proc/meminfo`; 0 if it is no such."""
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if name == "MemAvailable" and words and words[0].isdecimal():
            return 1024 * int(words[0])
    return 0


def limit(text: str) -> int:
    """Bytes that a cgroup allows; 0 where it sets no limit ("max") or cannot be read."""
    number = text.strip()
    return int(number) if number.isdecimal() and int(number) < _NO_LIMIT else 0


def _limits(root: Path) -> Iterator[str]:
    text = text_of(root / "proc" / "self" / "cgroup")
    for names in cgroup_folders(text, "memory") or [(), ("memory",)]:
        folder = (root / "sys" / "fs" / "cgroup").joinpath(*names)
        yield text_of(folder / "memory.max")
        yield text_of(folder / "memory.limit_in_bytes")


def _physical() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # AttributeError: on Windows
        return _UNKNOWN

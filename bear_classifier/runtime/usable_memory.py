"""The memory that this process may use: free memory within cgroup limits."""

from __future__ import annotations

import os
import re
from pathlib import Path

from bear_classifier.runtime.processors import cgroup_files, share_of_machine, text_of

_UNKNOWN = 8_000_000_000  # bytes, where the system does not say
_NO_LIMIT = 1 << 60  # bytes; v1 writes a number near 2**63 where there is none


def usable_memory(root: Path = Path("/")) -> int:
    """Bytes; of a worker of an engine its part. root: where `proc` and `sys` lie."""
    texts = cgroup_files(root, "memory", ["memory.max", "memory.limit_in_bytes"])
    limits = [limit(text) for pair in texts for text in pair]
    most = min([free(text_of(root / "proc" / "meminfo")) or _physical(), *filter(None, limits)])
    return int(most * share_of_machine(root))


def free(text: str) -> int:
    """Bytes available without swapping, by the text of `proc/meminfo`; 0 where it has none."""
    line = re.search(r"^MemAvailable:\s*(\d+)\b", text, re.ASCII | re.MULTILINE)
    return 1024 * int(line[1]) if line else 0


def limit(text: str) -> int:
    """Bytes that a cgroup allows; 0 for no limit ("max") or an unreadable file."""
    number = text.strip()
    return int(number) if number.isdecimal() and int(number) < _NO_LIMIT else 0


def _physical() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # AttributeError: on Windows
        return _UNKNOWN

"""The number of CPUs that this process may use: affinity and cgroup limits."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_ROOT = Path("/")  # in tests a folder that stands for it


def processors(root: Path = _ROOT) -> int:
    """At least 1. A quota of 1.5 processors counts as 2, as they may be used at the same time.

    root: where `proc` and `sys` lie."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on Windows, nor on macOS
    there = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, math.ceil(min([there, *map(quota, _limits(root))])))


def quota(text: str) -> float:
    """Processors that a limit of a cgroup allows; infinity where it is none, or cannot be read.

    text: microseconds of each period, or "max" (v2) or -1 (v1) for no limit, then the period. Zero
    would let nothing run, and is none either."""
    try:
        most, period = map(int, text.split())
    except ValueError:
        return math.inf
    return most / period if most > 0 and period > 0 else math.inf


def cgroup_folders(text: str, kind: str = "cpu") -> list[tuple[str, ...]]:
    """Where limits may lie below `sys/fs/cgroup`, by the text of `proc/self/cgroup`: names from the
    process's own group up to the root, since the limit of each holds for all in it. kind: what is
    limited, as v1 calls it.

    A container sees its own group as the root of a path that is the host's: then only the last of
    these is there."""
    found: list[tuple[str, ...]] = []
    for line in text.splitlines():
        _, _, rest = line.partition(":")
        kinds, separator, path = rest.partition(":")
        if not separator or (kinds and kind not in kinds.split(",")):
            continue
        own = [part for part in PurePosixPath(path).parts if part not in ("/", "..")]
        for mount in {kinds, kind} if kinds else {""}:
            above = (mount,) if mount else ()
            found += [(*above, *own[:most]) for most in range(len(own), -1, -1)]
    return found


def _limits(root: Path) -> Iterator[str]:
    """The texts of all limits that there are; of v1 both files as one line."""
    text = text_of(root / "proc" / "self" / "cgroup")
    for names in cgroup_folders(text) or [(), ("cpu",)]:
        folder = (root / "sys" / "fs" / "cgroup").joinpath(*names)
        yield text_of(folder / "cpu.max")
        yield " ".join(
            text_of(folder / f"cpu.cfs_{part}_us").strip() for part in ("quota", "period")
        )


def text_of(path: Path) -> str:
    """What the system says there; "" where it says nothing."""
    try:
        return path.read_text("ascii")
    except (OSError, ValueError):
        return ""

"""The number of CPUs that this process may use: affinity and cgroup limits."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

OVERRIDE = "BEARS_PROCESSORS"  # environment: an engine gives its worker a part of the machine


def processors(root: Path = Path("/")) -> int:
    """At least 1. A quota of 1.5 processors counts as 2, as they may be used at the same time.

    root: where `proc` and `sys` lie."""
    given = os.environ.get(OVERRIDE, "").strip()
    return max(1, int(given)) if given else _allowed(root)


def share_of_machine(root: Path = Path("/")) -> float:
    """Of the processors of this machine, the part that is this process's: 1 but for workers."""
    return min(1.0, processors(root) / _allowed(root))


def _allowed(root: Path) -> int:
    affinity = getattr(os, "sched_getaffinity", None)  # not on Windows, nor on macOS
    number = len(affinity(0)) if affinity else os.cpu_count() or 1
    files = cgroup_files(root, "cpu", ["cpu.max", "cpu.cfs_quota_us", "cpu.cfs_period_us"])
    quotas = [quota(text) for v2, *v1 in files for text in (v2, " ".join(v1))]
    return max(1, math.ceil(min([number, *quotas])))


def quota(text: str) -> float:
    """Processors that a cgroup's limit allows; infinity where there is no limit.

    text: microseconds of each period, or "max" (v2) or -1 (v1) for no limit, then the period."""
    try:
        most, period = map(int, text.split())
    except ValueError:
        return math.inf
    return most / period if most > 0 and period > 0 else math.inf


def cgroup_folders(text: str, kind: str = "cpu") -> list[tuple[str, ...]]:
    """Folders below `sys/fs/cgroup` that may hold limits, by the text of `proc/self/cgroup`: from
    the process's own group up to the root, as the limit of each holds for all in it. kind: what is
    limited, as v1 calls it. In a container only the last of them may exist."""
    folders: list[tuple[str, ...]] = []
    for line in text.splitlines():
        _, _, rest = line.partition(":")
        kinds, separator, path = rest.partition(":")
        if not separator or (kinds and kind not in kinds.split(",")):
            continue
        own = [part for part in PurePosixPath(path).parts if part not in ("/", "..")]
        for mount in {kinds, kind} if kinds else {""}:
            above = (mount,) if mount else ()
            folders += [(*above, *own[:most]) for most in range(len(own), -1, -1)]
    return folders


def cgroup_files(root: Path, kind: str, names: Sequence[str]) -> list[list[str]]:
    """The texts of these files in each cgroup of this process."""
    text = text_of(root / "proc" / "self" / "cgroup")
    folders = cgroup_folders(text, kind) or [(), (kind,)]
    top = root / "sys" / "fs" / "cgroup"
    return [[text_of(top.joinpath(*folder, name)) for name in names] for folder in folders]


def text_of(path: Path) -> str:
    """The text of a file of the system, "" where it cannot be read."""
    try:
        return path.read_text("ascii")
    except (OSError, ValueError):
        return ""

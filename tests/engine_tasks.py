"""Tasks for the tests of engines. Workers of Ray import them from here."""

from __future__ import annotations

import hashlib
import importlib
import os
import signal
import time
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bear_classifier.collect.http.fetch_many import Net
from bear_classifier.collect.http.rate_limit import PolitenessLimits
from bear_classifier.collect.http.ssrf_guard import Limits, World
from bear_classifier.errors import DataError
from bear_classifier.runtime.files import write_atomic
from bear_classifier.runtime.processors import processors


@dataclass(frozen=True)
class ShardTask:
    """number: of the shard; kills: how often its worker is killed halfway; gate: a file that must
    be there before the shard is written, "" for none."""

    folder: str
    number: int
    kills: int = 0
    gate: str = ""


def write_shard(task: ShardTask) -> int:
    """Write the shard, unless it is there; its bytes follow from the number alone. Every beginning
    and every writing leaves a file of its own."""
    folder = Path(task.folder)
    place = shard_of(folder, task.number)
    if place.exists():
        return task.number
    begun = len(list(folder.glob(f"begun-{task.number}-*")))
    mark(folder, f"begun-{task.number}-{begun}")
    if begun < task.kills:
        os.kill(os.getpid(), signal.SIGKILL)
    while task.gate and not Path(task.gate).exists():
        time.sleep(0.01)
    write_atomic(place, hashlib.sha256(str(task.number).encode()).digest() * 1000)
    mark(folder, f"written-{task.number}-{begun}")
    return task.number


def mark(folder: Path, name: str) -> None:
    (folder / name).touch()


def shard_of(folder: Path, number: int) -> Path:
    return folder / f"{number:04d}.bin"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.bin"))}


def fail_on_two(number: int) -> int:
    if number == 2:
        raise DataError("TOO_FEW", "two is too few", ["a row"])
    return number


def surroundings(number: int) -> tuple[int, int, str, str]:
    """Process, processors, and what the environment says of bars and of authentication."""
    names = ("TQDM_DISABLE", "RAY_AUTH_MODE")
    return os.getpid(), processors(), *(os.environ.get(name, "") for name in names)  # type: ignore[return-value]


def visible_gpus(number: int) -> str:
    return os.environ.get("CUDA_VISIBLE_DEVICES", "all")


async def to_loopback(port: int, host: str, asked: int) -> list[tuple[str, int]]:
    """Every name is a host of the tests, but for those inside a network, which nobody may ask."""
    return [("10.0.0.5" if host.startswith("inside") else "127.0.0.1", port)]


def is_loopback(address: object) -> bool:
    return str(address) == "127.0.0.1"


def net_of(port: int) -> Net:
    """The Internet of the tests for workers of Ray, who get it pickled."""
    limits = Limits(bytes=300_000, connect=20, read=4, total=6)
    manners = PolitenessLimits(apart=0.001)
    return Net(World(partial(to_loopback, port), is_loopback), limits, manners)


def train_small_half(task: object) -> None:
    """`train_half`, also of very few photos."""
    from bear_classifier.learn import source_holdout

    source_holdout._LEAST = 1
    source_holdout.train_half(task)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Mishaps:
    """folder: of marks; kills: numbers of tasks whose first worker is killed; gated: numbers of
    those that wait until the file `gate` is in the folder."""

    folder: str
    kills: frozenset[int] = frozenset()
    gated: frozenset[int] = frozenset()


def with_mishaps(place: str, mishaps: Mishaps, task: Any) -> Any:
    """Do a task with a number by the function at a place, MODULE:NAME. Every beginning and every
    end leaves a file of its own."""
    folder = Path(mishaps.folder)
    begun = len(list(folder.glob(f"begun-{task.number}-*")))
    mark(folder, f"begun-{task.number}-{begun}")
    if task.number in mishaps.kills and not begun:
        os.kill(os.getpid(), signal.SIGKILL)
    while task.number in mishaps.gated and not (folder / "gate").exists():
        time.sleep(0.01)
    module, _, name = place.partition(":")
    result = getattr(importlib.import_module(module), name)(task)
    mark(folder, f"ended-{task.number}-{begun}")
    return result


def marked(folder: Path, kind: str) -> Counter[int]:
    """How often each task began, or ended."""
    return Counter(int(path.name.split("-")[1]) for path in folder.glob(f"{kind}-*"))

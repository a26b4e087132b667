"""What the programs here that measure the service share: a table of promises, and memory."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import platform
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from versus import Goal

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from serving import Serving, children, memory


@dataclass(frozen=True)
class Promise:
    """limit, found: in words, with their units."""

    name: str
    about: str
    limit: str
    found: str
    kept: bool


def most(name: str, about: str, found: float, limit: float, unit: str = "") -> Promise:
    """What may be no more than a limit."""
    shown, allowed = (f"{value:,.6g} {unit}".strip() for value in (found, limit))
    return Promise(name, about, f"<= {allowed}", shown, found <= limit)


def as_goals(promises: list[Promise]) -> list[Goal]:
    """As docs/BENCHMARKS.md shows them."""
    return [Goal(f"{row.about} ({row.name})", row.limit, row.found, row.kept) for row in promises]


def told(promises: list[Promise], facts: dict[str, Any], file: Path | None) -> int:
    """Print the table, write all of it as JSON. Returns the exit code: 1 if one is broken."""
    wide = max(len(row.about) for row in promises)
    for row in promises:
        kept = "kept  " if row.kept else "BROKEN"
        print(f"{kept} {row.name:4} {row.about:{wide}} {row.found:>18}   {row.limit}")
    from bear_classifier.runtime.processors import processors

    machine = {"processors": processors(), "python": platform.python_version()}
    if file:
        rows = [asdict(row) for row in promises]
        file.write_text(
            json.dumps({"promises": rows, **facts, **machine}, indent=1) + "\n", encoding="utf-8"
        )
    return int(not all(row.kept for row in promises))


def quantile(values: list[float], share: float) -> float:
    """The smallest of the values that so large a share of them does not exceed; 0 of none."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(share * len(ranked)))] if ranked else 0.0


class Watch:
    """Memory of the server and its processes while it is entered. most: bytes of all together."""

    def __init__(self, pid: int) -> None:
        self.pid, self.most, self.seen = pid, 0, set[int]()

    async def __aenter__(self) -> Watch:
        self._task = asyncio.create_task(self._look())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _look(self) -> None:
        while True:
            await asyncio.to_thread(self.look)
            await asyncio.sleep(0.25)

    def look(self) -> None:
        pids, total = [self.pid, *children(self.pid)], 0
        for pid in pids:
            with contextlib.suppress(OSError, StopIteration):  # it ended
                total += memory(pid)
        self.seen |= set(pids[1:])
        self.most = max(self.most, total)


def options(about: str) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("model", metavar="MODEL", type=Path, help="a bundle")
    made.add_argument("--json", metavar="FILE", type=Path, help="write what was found as well")
    return made


@contextlib.contextmanager
def serving(model: Path, **settings: int) -> Iterator[Serving]:
    with tempfile.TemporaryDirectory() as folder, Serving(model, Path(folder), **settings) as found:
        yield found

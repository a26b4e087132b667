"""What the speed programs here share: two sides in one run, in turns, told as ratios with spread.

    mine, theirs = Side(make_ours, file), Side(make_theirs, file)     # each in a process of its own
    found = alternated({"ours": mine.turn, "stock": theirs.turn}, rounds=5, about="photos")
    goals = [at_least("ours / stock", ratio(found["stock"], found["ours"]), 4)]

Machines are noisy: a ratio is the median of those of each round, beside the least and the most of
them, and a loop of fixed work is timed before and after.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ROOT / "models" / "bears"  # the model that the repository brings
SHARED = ROOT.parent / "shared"  # where photos and weights lie, beside the checkout
PHOTOS = SHARED / "photos" / "bears"
WEIGHTS = SHARED / "weights" / "mobilenet_v2-imagenet.pth"
LIBRARIES = ("torch", "torchvision", "fastai", "onnxruntime", "numpy", "pillow", "scikit-learn",
             "gradio")  # fmt: skip
_SPAWN = get_context("spawn")
sys.path.insert(0, str(ROOT))  # this checkout, also where another one is installed
_LOOP = 300_000  # additions of the calibration


def short(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


@dataclass(frozen=True)
class Ratio:
    """Of the rounds: the median, the least and the most."""

    middle: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{short(self.middle)} ({short(self.low)} .. {short(self.high)})"


@dataclass(frozen=True)
class Goal:
    """limit, found: in words, with their units. met: None where it is only told."""

    about: str
    limit: str
    found: str
    met: bool | None

    @property
    def word(self) -> str:
        return "told" if self.met is None else "met" if self.met else "MISSED"


@dataclass
class Told:
    """What a program found. head, rows: its table; notes: sentences below it; facts: numbers."""

    head: list[str]
    rows: list[list[str]] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


def ratio(slow: Sequence[float], fast: Sequence[float]) -> Ratio:
    """How many times faster, round by round. slow, fast: seconds of as many rounds."""
    found = [a / b for a, b in zip(slow, fast, strict=True)]
    return Ratio(statistics.median(found), min(found), max(found))


def at_least(about: str, found: Ratio, limit: float) -> Goal:
    return Goal(about, f">= {limit:g} times", str(found), found.middle >= limit)


def at_most(about: str, found: Ratio | float, limit: float, unit: str = "times") -> Goal:
    middle = found.middle if isinstance(found, Ratio) else found
    said = str(found) if isinstance(found, Ratio) else f"{found:.4g}"
    return Goal(about, f"<= {limit:g} {unit}", f"{said} {unit}", middle <= limit)


def spread(values: Sequence[float], scale: float = 1.0) -> str:
    """Median, and from the least to the most. scale: that they are multiplied by."""
    many = sorted(scale * value for value in values)
    return str(Ratio(statistics.median(many), many[0], many[-1]))


def alternated(
    sides: Mapping[str, Callable[[], Any]], rounds: int, about: str = ""
) -> dict[str, list[Any]]:
    """What each side gave in each round; in a round every side has one turn: A B A B ..."""
    from tqdm import tqdm

    found: dict[str, list[Any]] = {name: [] for name in sides}
    with tqdm(total=rounds * len(sides), desc=about, leave=False) as bar:
        for _ in range(rounds):
            for name, turn in sides.items():
                bar.set_postfix_str(name)
                found[name].append(turn())
                bar.update()
    return found


def calibration() -> float:
    """Milliseconds of a loop of fixed work, the median of 31: what else the machine is doing."""
    took = []
    for _ in range(31):
        began = time.perf_counter()
        sum(range(_LOOP))
        took.append(time.perf_counter() - began)
    return 1000 * statistics.median(took)


class Side:
    """A side in a process of its own, which waits until it has a turn: `turn(*words)`.

    make: called there once with `words`; gives what every turn calls. Both are found by name."""

    def __init__(self, make: Callable[..., Callable[..., Any]], *words: Any) -> None:
        self._pipe, there = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=_side, args=(there, make, words), daemon=True)
        self._process.start()
        there.close()
        self._answer()  # nobody has a turn while another prepares

    def turn(self, *words: Any) -> Any:
        self._pipe.send(words)
        return self._answer()

    def _answer(self) -> Any:
        try:
            good, found = self._pipe.recv()
        except EOFError:
            raise RuntimeError("the process of a side ended") from None
        if not good:
            raise RuntimeError(found)
        return found

    def close(self) -> None:
        self._pipe.close()
        self._process.join(10)
        self._process.terminate()

    def __enter__(self) -> Side:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _end_with_parent() -> None:
    """Also in the middle of a turn, when whoever asked for it was killed."""
    if parent := parent_process():
        parent.join()
        os._exit(1)


def _side(pipe: Any, make: Callable[..., Callable[..., Any]], words: Sequence[Any]) -> None:
    import traceback
    import warnings

    warnings.simplefilter("ignore")
    threading.Thread(target=_end_with_parent, daemon=True).start()
    act: Callable[..., Any] | None = None
    while True:
        try:
            if act is None:
                act, found = make(*words), None
            else:
                found = act(*pipe.recv())
            pipe.send((True, found))
        except EOFError:
            return
        except Exception:  # noqa: BLE001  # told where it is waited for
            pipe.send((False, traceback.format_exc()))
            if act is None:
                return


def apart(work: Callable[..., Any], *words: Any) -> Any:
    """What `work(*words)` gives in a process that then ends, with all that it imported."""
    with Side(_called, work, *words) as side:
        return side.turn()


def _called(work: Callable[..., Any], *words: Any) -> Callable[[], Any]:
    return lambda: work(*words)


def options(about: str) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--json", metavar="FILE", type=Path, help="write what was found as well")
    made.add_argument("--quick", action="store_true", help="small: only to see that it works")
    return made


def require(*paths: Path) -> None:
    """End with a sentence unless all of them are there."""
    for path in paths:
        if not path.exists():
            sys.exit(f"{path} is not there; name another with --photos or --weights")


def machine() -> dict[str, Any]:
    """Processor, how many of them may be used, Python, and the libraries that are compared."""
    from bear_classifier.runtime.processors import processors

    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    found = {
        "processor": _processor(),
        "processors": processors(),
        "python": platform.python_version(),
        "versions": versions,
    }
    if shutil.which("nvidia-smi"):
        asked = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        said = subprocess.run(asked, capture_output=True, encoding="utf-8", check=False).stdout
        found |= {"gpu": said.splitlines()[0]} if said.strip() else {}
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def measured(words: argparse.Namespace, program: str, about: str, work: Callable[[], Told]) -> int:
    """Do the work between two calibrations, print its table and goals, write the JSON.

    Returns the exit code: 1 if a goal was missed."""
    began, before = time.monotonic(), calibration()
    found = work()
    after = calibration()
    print("\n".join(table(found.head, found.rows)))
    for note in found.notes:
        print(note)
    print(f"calibration: {before:.2f} ms before, {after:.2f} ms after")
    wide = max((len(goal.about) for goal in found.goals), default=0)
    for goal in found.goals:
        print(f"{goal.word:6} {goal.about:{wide}}  {goal.found}  [{goal.limit}]")
    if words.json:
        everything = {
            "program": program,
            "about": about.splitlines()[0],
            "date": datetime.now(timezone.utc).isoformat(timespec="minutes"),
            "quick": words.quick,
            "seconds": round(time.monotonic() - began, 1),
            "calibration": [round(before, 3), round(after, 3)],
            "machine": machine(),
            **asdict(found),
        }
        words.json.parent.mkdir(parents=True, exist_ok=True)
        words.json.write_text(json.dumps(everything, indent=1) + "\n", encoding="utf-8")
    return int(any(goal.met is False for goal in found.goals))


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table, as wide as its widest cells."""
    wide = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [head, ["-" * width for width in wide], *rows]
    return [
        "| " + " | ".join(f"{c:{w}}" for c, w in zip(line, wide, strict=True)) + " |"
        for line in lines
    ]

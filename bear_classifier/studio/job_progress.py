"""What a job says of itself: its stages, its bar, the epochs of a training, the end of its log."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_TAIL, _LINES = 16_384, 20  # bytes at the end of a log that are read, and lines that are shown
_MOST = 1 << 20  # bytes of progress that are read at a time


@dataclass
class Progress:
    """The events of a job, read as far as they are written.

    path: of `progress.jsonl`. first: when the open bar began, and where it stood then."""

    path: Path
    at: int = 0
    pid: int | None = None
    stages: dict[str, dict[str, Any]] = field(default_factory=dict)
    bar: dict[str, Any] | None = None
    first: tuple[float, float] = (0.0, 0.0)
    epochs: list[dict[str, Any]] = field(default_factory=list)
    error: dict[str, str] | None = None
    result: dict[str, Any] | None = None
    code: int | None = None

    def read(self) -> bool:
        """Read on; whether there was something new. A line that is still written waits."""
        new = False
        try:
            with self.path.open("rb") as file:
                file.seek(self.at)
                while block := file.read(_MOST):
                    whole = block.rfind(b"\n") + 1
                    if not whole:
                        break
                    for line in block[:whole].splitlines():
                        self._take(line)
                    self.at += whole
                    file.seek(self.at)
                    new = True
        except FileNotFoundError:
            return False
        return new

    def _take(self, line: bytes) -> None:
        try:
            event = json.loads(line)
            kind, at = event["kind"], float(event["at"])
        except (ValueError, KeyError, TypeError):
            return  # what a full disk left of a line
        facts = {key: value for key, value in event.items() if key not in ("kind", "at")}
        match kind:
            case "begun":
                self.pid = facts.get("pid")
            case "bar":
                self._bar(at, facts)
            case "stage":
                self._stage(facts)
            case "epoch":
                self._epoch(facts)
            case "error":
                self.error = {key: str(facts.get(key, "")) for key in ("code", "sentence")}
            case "result":
                self.result = facts
            case "end":
                self.code, self.bar = facts.get("code"), None

    def _stage(self, facts: dict[str, Any]) -> None:
        name = str(facts.get("name", ""))
        self.stages[name] = {"seconds": None, "text": "", **facts}
        if facts.get("state") != "begun":
            self.bar = None

    def _bar(self, at: float, facts: dict[str, Any]) -> None:
        n = float(facts.get("n") or 0)
        if self.bar is None or self.bar["name"] != facts.get("name") or n < self.bar["n"]:
            self.first = at, n
        total, (began, first) = facts.get("total"), self.first
        left = None
        if total and n > first and at > began:
            left = round((total - n) * (at - began) / (n - first), 1)
        self.bar = {"words": "", "unit": "", **facts, "left_seconds": left}

    def _epoch(self, facts: dict[str, Any]) -> None:
        """An epoch that is trained again replaces the rows from it on. The trainings after the
        first one leave out sources, and are no part of its curve."""
        if self.epochs and self.epochs[0].get("of") != facts.get("of"):
            return
        number = facts.get("epoch", math.inf)
        self.epochs = [row for row in self.epochs if row.get("epoch", 0) < number] + [facts]

    @property
    def stage(self) -> str:
        """The name of what is being done: what began last and has not ended."""
        open_ = [name for name, facts in self.stages.items() if facts.get("state") == "begun"]
        return open_[-1] if open_ else ""


def log_lines(path: Path) -> list[str]:
    """The last lines of a log, without what a carriage return has wiped."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _TAIL))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    lines = (line.rpartition("\r")[2].rstrip() for line in text.split("\n"))
    return [line for line in lines if line][-_LINES:]

"""The studio as a process of its own, with a client for it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from corpus import ROOT
from waiting import STUCK, until

_ADDRESS = re.compile(r"on (http://\S+)")
BYTES = {"Content-Type": "application/octet-stream"}


RUNNING: list[Studio] = []


class Studio:
    """`bears studio FOLDER`, which is up once this is made. limit: bytes of the largest file that
    it and its children may write, as on a full disk."""

    def __init__(self, folder: Path, port: int = 0, limit: int = 0, *words: str) -> None:
        self.log = folder.parent / f"{folder.name}.log"
        self.log.unlink(missing_ok=True)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "bear_classifier", "studio", str(folder), "--no-browser",
                 "--port", str(port), *words],
                cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=_limited(limit) if limit else None, start_new_session=True,
            )  # fmt: skip
        RUNNING.append(self)
        found = until(lambda: _ADDRESS.search(self.text), "no address", self.is_alive)
        headers = {"X-Bears": "1"}
        self.http = httpx.Client(base_url=found[1], headers=headers, timeout=STUCK)

    @property
    def text(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def is_alive(self) -> bool:
        return self.process.poll() is None

    def state(self, project: str = "mine") -> dict[str, Any]:
        answer = self.http.get(f"api/projects/{project}")
        answer.raise_for_status()
        return answer.json()

    def job(self, kind: str, request: str, **choices: Any) -> str:
        asked = {"kind": kind, "request": request, **choices}
        answer = self.http.post("api/projects/mine/jobs", json=asked)
        answer.raise_for_status()
        return answer.json()["id"]

    def send(self, label: str, data: bytes) -> httpx.Response:
        place = f"api/projects/mine/photos?label={label}"
        return self.http.post(place, content=data, headers=BYTES)

    def kill(self) -> None:
        """The studio alone: its jobs are groups of their own."""
        self.process.kill()
        self.process.wait()
        if self in RUNNING:
            RUNNING.remove(self)

    def end(self) -> int:
        """As by Ctrl-C."""
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(timeout=STUCK)
        RUNNING.remove(self)
        return code


def _limited(most: int) -> Callable[[], None]:
    import resource

    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))

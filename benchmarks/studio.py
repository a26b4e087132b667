"""The studio: how long until the first model, and how soon the page answers meanwhile.

A real `bears studio` on loopback gets photos of three classes one by one, as the page sends them.
From the answer to the last upload on, the time until the first model is published is taken; then
the same photos are fine-tuned. All the while another thread asks for what the page asks for: the
state of the project, the page itself and a thumbnail, as it did before anything was learned. Times
at rest and at work are of one run, and so is their ratio.

    .venv/bin/python benchmarks/studio.py PHOTOS [--each 100] [--seconds 60] [--json FILE]

PHOTOS: a folder with a folder per class; the first photos of each by name are taken.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from promises import most, quantile, told

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "studio"))

_PAUSE = 0.1  # seconds between two rounds of requests
_REST = 5.0  # seconds at rest
Times = dict[str, list[float]]


class Asking:
    """A thread that asks for what a page asks for. times: seconds of each answer, by address."""

    def __init__(self, studio: Any) -> None:
        import httpx

        self.http = httpx.Client(base_url=studio.http.base_url, timeout=30)
        self.times: Times = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> Asking:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _ask(self) -> None:
        rows = self.http.get("api/projects/mine/photos?limit=20").json()["rows"]
        thumbnails = [f"api/projects/mine/photo/{row['sha256']}?size=160" for row in rows]
        n = 0
        while not self._stop.wait(_PAUSE):
            asked = {"state": "api/projects/mine", "page": "", "list": "api/projects"}
            if thumbnails:
                asked["thumbnail"] = thumbnails[n % len(thumbnails)]
            n += 1
            for name, address in asked.items():
                began = time.perf_counter()
                self.http.get(address).raise_for_status()
                self.times.setdefault(name, []).append(time.perf_counter() - began)


@contextlib.contextmanager
def opened(folder: Path, labels: list[str]) -> Iterator[Any]:
    from studio_process import Studio

    studio = Studio(folder / "projects")
    try:
        made = studio.http.post("api/projects", json={"name": "mine", "classes": labels})
        made.raise_for_status()
        yield studio
    finally:
        studio.end()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", metavar="PHOTOS", type=Path)
    parser.add_argument("--each", type=int, default=100, help="photos of each class")
    parser.add_argument("--seconds", type=float, default=60, help="of fine-tuning that are watched")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write what was found as well")
    options = parser.parse_args()
    labels = sorted(path.name for path in options.photos.iterdir() if path.is_dir())
    with tempfile.TemporaryDirectory() as folder, opened(Path(folder), labels) as studio:
        facts = measured(studio, options.photos, labels, options.each, options.seconds)
    rows = [most("first", "first model, after the last upload", facts["first"], 60, "s")]
    for when in ("learning", "training"):
        for name, times in facts[when].items():
            slow = quantile(times, 0.95)
            about = f"{name} while {when}, 95 of 100 answers"
            rows.append(most(when, about, round(slow, 3), 0.2, "s"))
            rest = statistics.median(facts["rest"][name])
            ratio, longest = statistics.median(times) / rest, max(times)
            print(f"{name:10} while {when}: {ratio:.1f} times as long as at rest (medians,"
                  f" {1000 * rest:.0f} ms), longest {longest:.2f} s of {len(times)}")  # fmt: skip
    return told(rows, facts, options.json)


def measured(
    studio: Any, photos: Path, labels: list[str], each: int, seconds: float
) -> dict[str, Any]:
    """Seconds: `first` and `stages` of the first model, `uploads`; and times of answers by address
    at rest, while the first model is made, and while it is fine-tuned."""
    began = time.perf_counter()
    for label in labels:
        for path in sorted((photos / label).iterdir())[:each]:
            answer = studio.send(label, path.read_bytes())
            if answer.status_code not in (201, 409):
                answer.raise_for_status()
    last = time.perf_counter()
    job = studio.job("learn", "first")
    with Asking(studio) as asking:
        _wait(studio, job)
        first = time.perf_counter() - last
    learning = asking.times
    state = studio.state()
    stages = {row["name"]: row["seconds"] for one in state["jobs"] for row in one["stages"]}
    with Asking(studio) as resting:
        time.sleep(_REST)
    job = studio.job("train", "second")
    with Asking(studio) as asking:
        _wait(studio, job, seconds)
    studio.http.post(f"api/jobs/{job}/cancel", json={})
    return {
        "first": round(first, 1), "uploads": round(last - began, 1), "stages": stages,
        "photos": state["photos"]["usable"], "model": state["model"], "rest": resting.times,
        "learning": learning, "training": asking.times,
    }  # fmt: skip


def _wait(studio: Any, job: str, most_seconds: float = 3600) -> None:
    """Until a job is over, or for so long."""
    until = time.monotonic() + most_seconds
    while time.monotonic() < until:
        (row,) = [row for row in studio.state()["jobs"] if row["id"] == job]
        if row["state"] not in ("waiting", "running"):
            if row["state"] != "done":
                raise SystemExit(f"the job ended as {row['state']}: {row['error']}")
            return
        time.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main())

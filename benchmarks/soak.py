"""A hundred thousand requests, to see what grows: S9.

A real `bears serve` on loopback is asked by a few connections that stay open and some that do not:
photos, forms, what is no photo, what is too large, batches, pages, and photos through gradio. After
a tenth of them the memory of the server and of each of its processes is followed; told is the
slope in bytes for each request, by least squares, and open files, threads and kept uploads.

    .venv/bin/python benchmarks/soak.py MODEL [--requests 100000] [--json FILE]
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import sys
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from promises import most, options, serving, told
from tqdm import tqdm

# isort: split
from corpus import drawn, saved
from serving import Line, Serving, ask, children, files, form, memory, threads

ONE, MANY, GRADIO = "/api/v1/classify", "/api/v1/classify-many", "/gradio/gradio_api"
ZIP = {"Content-Type": "application/zip"}
PAGES = ("/", "/api/v1/models", "/nothing", "/metrics")
FINE = (200, 404, 413, 415, 422)
KINDS = 40  # different photos
SAMPLES = 400
Sample = dict[str, Any]


def photos() -> list[bytes]:
    sizes = ((96, 64), (320, 240), (640, 480), (1024, 768))
    return [
        saved(drawn(*sizes[n % 4], seed=n), ("JPEG", "PNG", "WEBP")[n % 3]) for n in range(KINDS)
    ]


def archive(data: list[bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for number, photo in enumerate(data):
            made.writestr(f"{number}.jpg", photo)
    return file.getvalue()


async def through_gradio(port: int, name: str, photo: bytes, at: str = GRADIO) -> int:
    """As gradio's client asks: upload, join, take the answer. at: where its API lies."""
    body, kind = form((name, photo), field="files")
    uploaded = await ask(port, "POST", f"{at}/upload", body, kind)
    if uploaded.status != 200:
        return uploaded.status
    file = {"path": uploaded.json()[0], "meta": {"_type": "gradio.FileData"}}
    asked = json.dumps({"data": [file]}).encode()
    head = {"Content-Type": "application/json"}
    joined = await ask(port, "POST", f"{at}/call/predict", asked, head)
    if joined.status != 200:
        return joined.status
    answer = await ask(port, "GET", f"{at}/call/predict/{joined.json()['event_id']}")
    return 200 if b"event: complete" in answer.body else 599


class Soak:
    def __init__(self, server: Serving, total: int) -> None:
        self.server, self.total, self.done = server, total, 0
        self.photos, self.statuses = photos(), Counter[int]()
        self.samples: list[Sample] = []
        self.bar = tqdm(total=total, mininterval=2)

    async def run(self, at_once: int) -> None:
        self.sample()
        turns = iter(range(self.total))
        await asyncio.gather(*(self.user(turns) for _ in range(at_once)))
        self.bar.close()

    async def user(self, turns: Any) -> None:
        async with Line(self.server.port) as line:
            for number in turns:
                self.statuses[await self.one(line, number)] += 1
                self.done += 1
                self.bar.update()
                if self.done % max(1, self.total // SAMPLES) == 0:
                    self.sample()

    async def one(self, line: Line, number: int) -> int:
        """Most are single photos; what leaves the connection in doubt has one of its own."""
        port, photo = self.server.port, self.photos[number % KINDS]
        turn = number % 100
        if turn in (7, 57):
            return await through_gradio(port, f"{number}.jpg", photo + str(number).encode())
        if turn == 13:
            batch = archive(self.photos[:4])
            return (await ask(port, "POST", MANY, batch, ZIP)).status
        if turn == 23:
            return (await ask(port, "POST", ONE, b"x", {"Content-Length": "30000000"})).status
        if turn < 10:
            return (await line.ask("POST", ONE, b"this is no photo")).status
        if turn < 15:
            return (await line.ask("POST", ONE, photo[: len(photo) // 2])).status
        if turn < 20:
            return (await line.ask("GET", PAGES[turn % len(PAGES)])).status
        if turn % 2:  # often, as the server closes what is idle for half a minute
            return (await line.ask("POST", ONE, *form((f"{number}.jpg", photo)))).status
        return (await ask(port, "POST", ONE, photo)).status

    def sample(self) -> None:
        pid = self.server.pid
        kept, folders = lying(self.server)
        self.samples.append(
            {
                "requests": self.done,
                "server": memory(pid),
                "processes": {str(child): memory(child) for child in children(pid)},
                "files": files(pid),
                "threads": threads(pid),
                "kept": kept,
                "folders": folders,
            }
        )


def lying(server: Serving) -> tuple[int, int]:
    """Bytes of uploads, and their folders, some of which go while they are counted."""
    size = folders = 0
    for folder, names, found in os.walk(server.upload_folder):
        folders += len(names)
        for name in found:
            with contextlib.suppress(OSError):
                size += (Path(folder) / name).stat().st_size
    return size, folders


def slope(samples: list[Sample], pid: str = "") -> float:
    """Bytes for each request. pid: of a process; else of the server."""
    points = [
        (row["requests"], row["processes"][pid] if pid else row["server"])
        for row in samples
        if not pid or pid in row["processes"]
    ]
    if len(points) < 3:
        return 0.0
    x, y = np.array(points, dtype=float).T
    return float(np.polyfit(x, y, 1)[0])


def main() -> int:
    made = options(__doc__ or "")
    made.add_argument("--requests", metavar="N", type=int, default=100_000)
    made.add_argument("--at-once", metavar="N", type=int, default=4)
    made.add_argument("--warm", metavar="SHARE", type=float, default=0.1, help="not counted")
    words = made.parse_args()
    with serving(words.model) as server:
        soak = Soak(server, words.requests)
        asyncio.run(soak.run(words.at_once))
    settled = [row for row in soak.samples if row["requests"] >= words.warm * words.requests]
    first, last = settled[0], settled[-1]
    pids = sorted(last["processes"])
    grown = {pid: slope(settled, pid) for pid in pids}
    per_request = slope(settled)
    odd = {status: n for status, n in soak.statuses.items() if status not in FINE}
    print(f"statuses: {dict(sorted(soak.statuses.items()))}")
    print(f"server: {first['server'] / 1e6:.1f} MB after {first['requests']} requests, "
          f"{last['server'] / 1e6:.1f} MB after {last['requests']}")  # fmt: skip
    promises = [
        most("S9", "server, bytes for each request", round(per_request), 500),
        most("S9", "a process, bytes for each request", round(max(grown.values(), default=0)), 500),
        most("S9", "open files, more than at first", last["files"] - first["files"], 8),
        most("S9", "threads, more than at first", last["threads"] - first["threads"], 2),
        most("S9", "uploads kept at most", max(r["kept"] for r in soak.samples) / 1e6, 200, "MB"),
        most("S1", "answers that are none of ours", sum(odd.values()), 0),
        most("S10", "files left behind", len(server.left_behind), 0),
    ]
    facts = {"requests": words.requests, "statuses": dict(soak.statuses), "slope": per_request,
             "slopes": grown, "samples": soak.samples}  # fmt: skip
    return told(promises, facts, words.json)


if __name__ == "__main__":
    sys.exit(main())

"""Requests per second and p95 at 1, 8 and 32 clients: `bears serve` against the lesson's page.

A real `bears serve` is asked through its API, one connection for each client (our own page asks the
same), and through gradio's protocol (upload, call, event stream); a stock gr.Interface around
learn.predict (`stock_page.py`) through gradio's protocol. Both stand ready all the time, each in
processes of its own; the three have turns. Each client sends a photo of 800x600 pixels, waits for
the answer, and sends the next. Weights are random, of one architecture.

    .venv/bin/python benchmarks/serving_speed.py [--clients 1 8 32] [--seconds 10] [--json FILE]
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from promises import quantile
from serving import Line, Serving, ask
from soak import GRADIO, ONE, through_gradio
from versus import ROOT, Goal, Told, alternated, apart, at_least, measured, options, ratio, spread

# isort: split
from download import pictures
from drawn import models

STOCK = "/gradio_api"
START = 120.0  # seconds that the stock page may take
LIMITS = {"API": 6.0, "gradio's way": 3.0}  # times the requests per second of the stock page
One = Callable[[Line, int], Awaitable[int]]


@contextlib.contextmanager
def stock_page(learner: Path, folder: Path) -> Iterator[int]:
    """Its port, as soon as it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(folder)}
    with (folder / "stock.log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "benchmarks" / "stock_page.py"), learner, str(port)],
            env=environment, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        end = time.monotonic() + START
        while not asyncio.run(answers(port)):
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError((folder / "stock.log").read_text(encoding="utf-8")[-2000:])
            time.sleep(0.5)
        yield port
    finally:
        process.terminate()
        process.wait(30)


async def answers(port: int) -> bool:
    with contextlib.suppress(OSError, EOFError):
        return (await ask(port, "GET", "/config")).status == 200
    return False


def through_api(photos: list[bytes]) -> One:
    async def one(line: Line, number: int) -> int:
        return (await line.ask("POST", ONE, photos[number % len(photos)])).status

    return one


def gradio_s(photos: list[bytes], at: str) -> One:
    async def one(line: Line, number: int) -> int:
        photo = photos[number % len(photos)]
        return await through_gradio(line.port, f"{number}.jpg", photo, at)

    return one


async def load(port: int, one: One, clients: int, seconds: float) -> dict[str, float]:
    """Answers per second until the last one came, p50 and p95 in seconds, and failures."""
    took: list[float] = []
    failed = 0
    end = (began := time.perf_counter()) + seconds

    async def client(number: int) -> None:
        nonlocal failed
        async with Line(port) as line:
            while (now := time.perf_counter()) < end:
                if await one(line, number) == 200:
                    took.append(time.perf_counter() - now)
                else:
                    failed += 1
                number += clients

    await asyncio.gather(*map(client, range(clients)))
    rate = len(took) / (time.perf_counter() - began)
    p50, p95 = quantile(took, 0.5), quantile(took, 0.95)
    return {"rate": rate, "p50": p50, "p95": p95, "failed": failed}


def compare(words: Any, folder: Path, told: Told) -> None:
    photos = pictures(800, grain=9)
    apart(models, folder, words.arch)
    with Serving(folder / "bundle", folder / "serving") as server, stock_page(
        folder / "learner.pkl", folder
    ) as stock:  # fmt: skip
        ways = {
            "API": (server.port, through_api(photos)),
            "gradio's way": (server.port, gradio_s(photos, GRADIO)),
            "stock": (stock, gradio_s(photos, STOCK)),
        }
        for port, one in ways.values():
            asyncio.run(load(port, one, 1, 0.5))  # the first ones are slow
        for clients in words.clients:
            sides = {
                name: partial(run, port, one, clients, words.seconds)
                for name, (port, one) in ways.items()
            }
            found = alternated(sides, words.rounds, f"{clients} clients")
            rates = {name: [row["rate"] for row in rows] for name, rows in found.items()}
            for name, rows in found.items():
                p95 = spread([row["p95"] for row in rows], 1e3)
                over = ratio(rates[name], rates["stock"])
                told.rows.append([str(clients), name, spread(rates[name]), p95, str(over)])
            for name, limit in LIMITS.items():
                over = ratio(rates[name], rates["stock"])
                told.goals.append(at_least(f"{clients} clients, {name} / stock", over, limit))
            failed = sum(row["failed"] for rows in found.values() for row in rows)
            told.goals.append(
                Goal(f"{clients} clients, requests that failed", "0", f"{failed:.0f}", failed == 0)
            )
            told.facts[str(clients)] = found
        by = [row["p50"] for row in told.facts[str(words.clients[0])]["API"]]
        told.notes.append(f"{words.arch}; the API answers one client in "
                          f"{1e3 * statistics.median(by):.3g} ms (p50)")  # fmt: skip


def run(port: int, one: One, clients: int, seconds: float) -> dict[str, float]:
    return asyncio.run(load(port, one, clients, seconds))


def main() -> int:
    made = options(__doc__ or "")
    made.add_argument("--arch", default="resnet34", help="of torchvision")
    made.add_argument("--clients", metavar="N", type=int, nargs="+", default=[1, 8, 32])
    made.add_argument("--seconds", metavar="S", type=float, default=10.0, help="of each turn")
    made.add_argument("--rounds", metavar="N", type=int, default=3)
    words = made.parse_args()
    if words.quick:
        words.clients, words.seconds, words.rounds = [1, 4], 2.0, 1

    def work() -> Told:
        told = Told(["clients", "way", "requests/s", "p95, ms", "/ stock"])
        with tempfile.TemporaryDirectory() as scratch:
            compare(words, Path(scratch), told)
        return told

    return measured(words, "serving_speed", __doc__ or "", work)


if __name__ == "__main__":
    sys.exit(main())

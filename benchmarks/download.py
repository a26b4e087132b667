"""Photos per second and failures told: `bears download` against fastai's `download_images`.

Both fetch the same addresses from one server on loopback that answers after 0 to 300 ms, the same
delay for the same address; sides alternate. One address in twenty fails: 404, a web page, half a
picture. Ours also decodes, hashes and stores each photo safely, asks robots.txt of every host, and
keeps at most two connections and half a second between requests to a host; fastai's does neither,
so its plain addresses all lead to one host.

    .venv/bin/python benchmarks/download.py [--width 320 640] [--rounds 3] [--json FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import importlib
import io
import json
import multiprocessing
import os
import platform
import statistics
import tempfile
import time
import zlib
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from PIL import Image

PICTURES = 32
LATENCY = 0.3  # seconds at most
BROKEN = 20  # one address in so many fails


def pictures(width: int, grain: float = 22) -> list[bytes]:
    """JPEGs in the shape 4:3, as dense as photos of a forest: 320 pixels are about 35 kB, as search
    services deliver, 640 about 135 kB. grain: deviation of grey levels; with 9 they have 0.26 bytes
    a pixel; the real photos of bears have 0.15 to 0.22."""
    made = []
    for seed in range(PICTURES):
        rng = np.random.default_rng(seed)
        size = (width, width * 3 // 4)
        coarse = rng.integers(0, 255, (30, 40, 3), dtype=np.uint8)
        smooth = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
        noise = rng.normal(0, grain, (*size[::-1], 1))
        grainy = np.clip(np.asarray(smooth) + noise, 0, 255).astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(grainy).save(file, "JPEG", quality=80)
        made.append(file.getvalue())
    return made


class Server(asyncio.Protocol):
    """HTTP/1.1 with keep-alive, as little of it as both clients need."""

    files: list[bytes] = []
    open: dict[str, int] = {}
    most: dict[str, int] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport, self.buffer, self.host = transport, b"", ""

    def connection_lost(self, exc: Exception | None) -> None:
        if self.host:
            self.open[self.host] -= 1

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while b"\r\n\r\n" in self.buffer:
            head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
            path = head.split(b" ", 2)[1].decode()
            host = head.lower().partition(b"\r\nhost:")[2].split(b"\r\n")[0].strip().decode()
            if not self.host:
                self.host = host
                self.open[host] = self.open.get(host, 0) + 1
                self.most[host] = max(self.most.get(host, 0), self.open[host])
            dice = zlib.crc32(path.encode()) / 2**32
            asyncio.get_running_loop().call_later(LATENCY * dice, self.answer, path)

    def answer(self, path: str) -> None:
        status, kind, body, length = self.content(path)
        head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
        self.transport.write(head.encode() + body)  # type: ignore[attr-defined]
        if length != len(body):
            self.transport.close()

    def content(self, path: str) -> tuple[str, str, bytes, int]:
        if path == "/robots.txt":
            return "404 Not Found", "text/plain", b"", 0
        number = int(path.strip("/").split(".")[0])
        comment = b"\xff\xfe" + (2 + len(path)).to_bytes(2, "big") + path.encode()
        photo = self.files[number % PICTURES]
        photo = photo[:2] + comment + photo[2:]  # another hash for every address
        if number % BROKEN:
            return "200 OK", "image/jpeg", photo, len(photo)
        fault = number // BROKEN % 3
        if fault == 0:
            return "404 Not Found", "text/html", b"gone", 4
        if fault == 1:
            return "200 OK", "text/html", b"<html>log in first</html>" * 9, 225
        return "200 OK", "image/jpeg", photo[: len(photo) // 2], len(photo)


def serve(files: list[bytes], pipe: Connection) -> None:
    async def main() -> None:
        Server.files = files
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Server, "127.0.0.1", 0, backlog=1024)
        pipe.send(server.sockets[0].getsockname()[1])
        while True:
            await loop.run_in_executor(None, pipe.recv)
            pipe.send(max(Server.most.values(), default=0))
            Server.most = dict.fromkeys(Server.most, 0)

    asyncio.run(main())


def ours(port: int, photos: int, hosts: int, folder: Path) -> tuple[int, int]:
    """(photos stored, failures told)."""
    from bear_classifier.collect.download import download
    from bear_classifier.collect.http.fetch_many import INTERNET
    from bear_classifier.collect.http.ssrf_guard import World
    from bear_classifier.config.project_file import build
    from bear_classifier.dataset.catalog import Catalog
    from bear_classifier.dataset.schema import Source

    async def resolve(host: str, port_asked: int) -> list[tuple[str, int]]:
        return [("127.0.0.1", port)]

    config = build({"classes": {"grizzly": ["x"], "teddy": ["y"]}}, where="benchmark")
    net = dataclasses.replace(INTERNET, world=World(resolve, lambda address: True))
    with Catalog(folder) as catalog:
        with catalog.transaction():
            catalog.put_sources(
                Source(f"http://h{n % hosts}.example/{n}.jpg?size=large", "grizzly", "urls")
                for n in range(photos)
            )
        outcome = download(catalog, config, net=net)
    return outcome["photos"], sum(outcome["failed"].values())


def fastai_s(port: int, photos: int, folder: Path) -> tuple[int, int]:
    """(files that open as pictures, failures told on the screen or by an exception)."""
    from fastai.vision.utils import download_images

    urls = [f"http://127.0.0.1:{port}/{n}.jpg" for n in range(photos)]
    folder.mkdir()
    said = io.StringIO()
    told = 0
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            download_images(folder, urls=urls, max_pics=photos)
        except OSError:
            told = 1
    told += sum("http" in line for line in said.getvalue().splitlines())
    files = [path for path in folder.iterdir() if path.suffix == ".jpg"]
    return len(files), told


def timed(module: str, work: Callable[[], tuple[int, int]]) -> dict[str, float]:
    """In a process of its own, so that neither carries the other's libraries; importing them is not
    what is timed."""
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    process = spawn.Process(target=_time, args=(module, work, there))
    process.start()
    seconds, (stored, told) = here.recv()
    process.join()
    return {"seconds": seconds, "stored": stored, "told": told, "per_second": stored / seconds}


def _time(module: str, work: Callable[[], tuple[int, int]], pipe: Connection) -> None:
    importlib.import_module(module)
    began = time.perf_counter()
    result = work()
    pipe.send((time.perf_counter() - began, result))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, nargs="+", default=[320, 640], help="pixels")
    parser.add_argument("--photos", type=int, default=3000)
    parser.add_argument("--hosts", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    os.environ["TQDM_DISABLE"] = "1"
    results = {width: compare(width, options) for width in options.width}
    if options.json:
        options.json.write_text(json.dumps(results), encoding="utf-8")


def compare(width: int, options: argparse.Namespace) -> dict[str, list[dict[str, float]]]:
    files = pictures(width)
    here, there = multiprocessing.Pipe()
    server = multiprocessing.Process(target=serve, args=(files, there), daemon=True)
    server.start()
    port = here.recv()
    sides: dict[str, list[dict[str, float]]] = {"ours": [], "fastai": []}
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(options.rounds):
            mine, theirs = (Path(scratch) / f"{side}{number}" for side in ("ours", "fastai"))
            work = partial(ours, port, options.photos, options.hosts, mine)
            sides["ours"].append(timed("bear_classifier.collect.download", work))
            here.send("most?")
            sides["ours"][-1]["most_connections_per_host"] = here.recv()
            work = partial(fastai_s, port, options.photos, theirs)
            sides["fastai"].append(timed("fastai.vision.utils", work))
            here.send("most?")
            here.recv()
    server.terminate()
    size = statistics.mean(map(len, files)) / 1000
    print(f"\n{width} pixels wide, {size:.0f} kB; ", end="")
    failing = len([n for n in range(options.photos) if n % BROKEN == 0])
    report(sides, failing, options)
    return sides


def report(
    sides: dict[str, list[dict[str, float]]], failing: int, options: argparse.Namespace
) -> None:
    from bear_classifier.runtime.processors import processors

    ratios = [a["per_second"] / b["per_second"] for a, b in zip(*sides.values(), strict=True)]
    print(
        f"{options.photos} addresses on {options.hosts} hosts, 0 to {LATENCY * 1000:.0f} ms,"
        f" {failing} fail; {processors()} cores, Python {platform.python_version()}\n"
    )
    print(f"{'':8} {'photos/s':>9} {'(rounds)':>22} {'stored':>7} {'failures told':>14}")
    for name, rounds in sides.items():
        rates = [r["per_second"] for r in rounds]
        each = " ".join(f"{rate:.0f}" for rate in rates)
        last = rounds[-1]
        print(
            f"{name:8} {statistics.median(rates):9.1f} {each:>22} {last['stored']:7.0f}"
            f" {last['told']:7.0f} of {failing}"
        )
    print(f"\nours / fastai: {statistics.median(ratios):.1f} times (", end="")
    print(", ".join(f"{ratio:.1f}" for ratio in ratios) + ")")
    most = max(r["most_connections_per_host"] for r in sides["ours"])
    print(f"most connections of ours to one host name: {most:.0f}")


if __name__ == "__main__":
    main()

"""Downloads that are killed, and downloads of very many addresses, as processes of their own.

SCALE=10000 KILLS=200 pytest tests/test_resume.py   is the size that was promised; the suite does
with a tenth of it."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import answers
import numpy as np
import pytest
from corpus import ROOT, saved
from hosts import Hosts, Request, Wire
from PIL import Image

from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import DUPLICATE, OK, PENDING, Source

SCALE = int(os.environ.get("SCALE", "1000"))  # addresses
KILLS = [3, pytest.param(int(os.environ.get("KILLS", "20")), marks=pytest.mark.long)]
FILES, SITES = 300, 30

# Downloads what the dataset has pending, each time that a line comes; in a new process each, made
# by forking, so that 200 of them need no 200 imports. Prints a line when one begins and ends; it is
# waited for when another line comes, so that until then its number belongs to nobody else.
NURSERY = """
import json, os, resource, sys, threading, time
from pathlib import Path
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.collect.http.fetch_many import Net
from bear_classifier.collect.download import download
from bear_classifier.collect.http.ssrf_guard import Limits, World
from bear_classifier.collect.http.rate_limit import PolitenessLimits
from bear_classifier.config.project_file import build
from bear_classifier.errors import DataError

port, apart, total = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])

async def resolve(host, asked):
    if host.startswith("nowhere"):
        raise OSError("no such name")
    return [("10.0.0.5" if host.startswith("inside") else "127.0.0.1", port)]

def loopback(address):
    return str(address) == "127.0.0.1"

def work(root):
    most = [0]
    def watch():
        while True:
            most[0] = max(most[0], len(os.listdir("/proc/self/fd")))
            time.sleep(0.05)
    threading.Thread(target=watch, daemon=True).start()
    config = build({"classes": {"grizzly": ["x"], "teddy": ["y"]}}, where="test")
    limits = Limits(connect=total, read=total, total=total)
    net = Net(World(resolve, loopback), limits, PolitenessLimits(apart=apart))
    if len(sys.argv) > 4:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]), resource.RLIM_INFINITY))
    try:
        with Catalog(Path(root)) as catalog, catalog.lock("download"):
            download(catalog, config, net=net)
    except DataError as exc:
        print(json.dumps({"error": str(exc)}), flush=True)
        return
    peak = [l for l in open("/proc/self/status") if l.startswith("VmHWM")][0].split()[1]
    print(json.dumps({"peak": int(peak) * 1024, "files": most[0]}), flush=True)

for line in sys.stdin:
    child = os.fork()
    if not child:
        work(line.strip())
        os._exit(0)
    print(child, flush=True)
    sys.stdin.readline()
    _, status = os.waitpid(child, 0)
    print(json.dumps({"status": status}), flush=True)
"""


class Nursery:
    def __init__(self, port: int, apart: float = 0.0, total: float = 8.0, *most: int) -> None:
        words = [str(word) for word in (port, apart, total, *most)]
        command = [sys.executable, "-c", NURSERY, *words]
        environment = os.environ | {"TQDM_DISABLE": "1"}
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment, encoding="utf-8",
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert self.process.stdin
        assert self.process.stdout
        self.stdin, self.stdout = self.process.stdin, self.process.stdout

    def run(self, root: Path, moment: Callable[[], object] | None = None) -> dict[str, Any]:
        """What it says at its end; {} if it was killed when `moment` returned."""
        print(root, file=self.stdin, flush=True)
        pid = int(self.stdout.readline())
        if moment is not None:
            moment()
            os.kill(pid, signal.SIGKILL)
        print(file=self.stdin, flush=True)
        said: dict[str, Any] = {}
        while "status" not in (line := json.loads(self.stdout.readline())):
            said = line
        assert line["status"] in (0, signal.SIGKILL)
        return {} if line["status"] else said


@pytest.fixture
def nursery() -> Iterator[Callable[..., Nursery]]:
    made: list[Nursery] = []

    def start(*words: float) -> Nursery:
        made.append(Nursery(*words))  # type: ignore[arg-type]
        return made[-1]

    yield start
    for one in made:
        one.process.kill()
        one.process.communicate()


def waiting(root: Path, urls: list[str]) -> None:
    with Catalog(root) as catalog, catalog.transaction():
        catalog.put_sources(Source(url, "grizzly", "urls") for url in urls)


def finished(root: Path) -> dict[str, str]:
    with Catalog(root) as catalog:
        return {s.origin: s.code for s in catalog.sources() if s.code != PENDING}


def stored(root: Path) -> set[str]:
    """Names below photos/, each checked to be whole; halves that a kill left are not counted."""
    files = [p for p in (root / "photos").rglob("*") if p.is_file() and p.name[0] != "."]
    for path in files:
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.stem
    return {path.name for path in files}


def halves(root: Path) -> list[Path]:
    return [p for p in root.rglob("*") if p.name.endswith(".partial")]


def small_web() -> tuple[Hosts, list[str]]:
    """300 addresses: most good, some gone, some no pictures, some seen twice."""
    dice = random.Random(3)
    hosts = Hosts(latency=lambda request: dice.random() * 0.02)
    urls = []
    for n in range(FILES):
        kinds = {7: answers.status(404), 8: answers.foreign("html"), 9: answers.photo(n // 20)}
        urls.append(
            hosts.add(f"h{n % SITES}.example", f"/{n}.jpg", kinds.get(n % 10, answers.photo(n)))
        )
    return hosts, urls


@pytest.mark.parametrize("kills", KILLS)
def test_kill_9_at_any_moment_loses_nothing_and_asks_for_nothing_twice(
    tmp_path: Path, nursery: Callable[..., Nursery], kills: int
) -> None:
    dice = random.Random(5)
    hosts, urls = small_web()
    with hosts:
        child = nursery(hosts.port())
        waiting(tmp_path / "calm", urls)
        began = time.monotonic()
        child.run(tmp_path / "calm")
        seconds = time.monotonic() - began
        calm, expected = finished(tmp_path / "calm"), stored(tmp_path / "calm")
        assert Counter(calm.values())[OK] == len(expected) > FILES * 0.7
        seen, deaths, left = 0, 0, 0

        def more(requests: int) -> None:
            """Return when so many more came, or when they would have by far: it has ended then."""
            nonlocal seen
            end, most = time.monotonic() + seconds, len(hosts.log) + requests
            while len(hosts.log) < most and time.monotonic() < end:
                time.sleep(0.001)
            seen += len(hosts.log) >= most

        root, done = tmp_path / "killed", dict[str, float]()
        waiting(root, urls)
        hosts.log.clear()
        for _ in range(kills):
            deaths += child.run(root, partial(more, dice.randint(1, FILES // 12))) == {}
            left += len(halves(root))
            now = time.monotonic()
            done |= {url: now for url in finished(root) if url not in done}
            assert stored(root) <= expected
        child.run(root)
        assert finished(root) == calm
        assert stored(root) == expected
        assert halves(root) == []
        late = [
            visit.request
            for visit in hosts.log
            if visit.start > done.get(f"http://{visit.request.host}{visit.request.path}", 1e99)
        ]
        assert late == []
    assert deaths > 0
    if kills >= 20:  # hardly any ends between its last request and the blow
        assert deaths >= 0.8 * seen


@pytest.mark.series
@pytest.mark.parametrize("size", [200, 500])  # pixels: below and above what is held in memory
def test_a_full_disk_says_what_is_missing_and_the_next_run_goes_on(
    tmp_path: Path, nursery: Callable[..., Nursery], size: int
) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (size, size, 3), dtype=np.uint8)
    large = saved(Image.fromarray(noise), "PNG")
    most = 100_000  # bytes of a file: for the catalog's journal of five groups of rows, not for it
    assert len(large) > most
    root = tmp_path / "data"

    async def last(request: Request, wire: Wire) -> None:
        while len(finished(root)) < 5:
            await wire.wait(0.1)
        await answers.answer(large)(request, wire)

    with Hosts() as hosts:
        urls = [hosts.add(f"h{n}.example", "/x.jpg", answers.photo(n)) for n in range(5)]
        urls.append(hosts.add("large.example", "/x.png", last))
        waiting(root, urls)
        child = nursery(hosts.port(), 0.0, 60.0, most)
        sentence = f"DISK_FULL: 5 of 6 images saved in {root}; free space and run again to continue"
        assert child.run(root) == {"error": sentence}
        assert set(finished(root)) == set(urls[:5])
        assert halves(root) == []
        nursery(hosts.port()).run(root)
        assert set(finished(root).values()) == {OK}
        assert len(stored(root)) == 6


def hostile(hosts: Hosts, number: int) -> str:
    """Thirty of a hundred addresses do something that they should not."""
    kinds = {
        0: answers.status(404), 1: answers.status(410), 2: answers.foreign("html"),
        3: answers.cut(answers.picture(1), 0.5),
        4: answers.cut(answers.picture(2), 0.9, length=False),
        5: answers.reset(), 6: answers.garbage(), 7: answers.redirect("http://169.254.169.254/"),
        8: answers.redirect("file:///etc/passwd"), 9: answers.empty(), 10: answers.announced(),
        11: answers.encoded(answers.picture(3), *["gzip"] * 10), 12: answers.bad_chunks(),
        13: answers.photo(4, headers=[("X-Robots-Tag", "noai")]), 14: answers.later(429, 3600),
        15: answers.long_header(), 16: answers.foreign("svg"), 17: answers.big(2_000_000, 404),
        18: answers.lying(answers.picture(5), 400), 19: answers.foreign("pdf"),
    }  # fmt: skip
    place = number % 100
    host = f"h{number % max(50, SCALE // 8)}.example"
    if place == 20:
        return f"http://nowhere{number}.example/x.jpg"
    if place == 21:
        return f"http://inside{number}.example/x.jpg"
    if place == 22:
        return f"ftp://{host}/{number}"
    if place == 23:
        return f"http://127.0.0.1:22/{number}"
    if place in (24, 25, 27) and number >= 1000:  # enough of what takes seconds
        return hosts.add(host, f"/{number}.jpg", answers.status(403))
    if place == 24:
        return hosts.add(f"slow{number}.example", "/x.jpg", answers.drip_body(0.3))
    if place == 25:
        return hosts.add(f"bomb{number}.example", "/x.jpg", answers.gzip_bomb())
    if place == 26:
        return hosts.add(f"loop{number}.example", "/x.jpg", answers.redirect("/x.jpg"))
    if place == 27:
        return hosts.add(f"endless{number}.example", "/x.jpg", answers.endless())
    if place == 28:
        return hosts.add(f"junk{number}.example", "/x.jpg", answers.endless(b"\0\1"))
    if place == 29:
        return f"http://user:secret@{host}/{number}.jpg"
    behaviour = kinds.get(place)
    if behaviour and place in (5, 6, 14, 12, 15, 18):  # what makes us leave a host has its own
        host = f"odd{number}.example"
    return hosts.add(host, f"/{number}.jpg", behaviour or answers.photo(number % 40))


@pytest.mark.long
def test_many_addresses_a_third_of_them_hostile(
    tmp_path: Path, nursery: Callable[..., Nursery]
) -> None:
    with Hosts() as hosts:
        urls = [hostile(hosts, number) for number in range(SCALE)]
        assert len(set(urls)) == SCALE
        waiting(tmp_path / "data", urls)
        said = nursery(hosts.port()).run(tmp_path / "data")
    codes = Counter(finished(tmp_path / "data").values())
    print(SCALE, said, dict(codes))
    assert sum(codes.values()) == SCALE
    assert codes[OK] == len(stored(tmp_path / "data")) == 40
    assert codes[OK] + codes[DUPLICATE] == SCALE * 0.7
    assert len(codes) >= 15
    assert said["peak"] < 300_000_000
    assert said["files"] < 700

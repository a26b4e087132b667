"""Ten thousand damaged and malicious uploads against the service: S1, S3, S4 and S10.

A real `bears serve` on loopback gets pictures with bytes changed, cut or inserted, and now and then
a bomb, as raw bodies and as forms in turn, several at a time; then requests for files of the server
and requests that name addresses, some of a port that must never be connected to. Told are crashes,
answers of 500, errors without a sentence, peak memory of all processes together, the slowest
answer, and whether a good picture is answered the same at the end.

    .venv/bin/python benchmarks/hostile_uploads.py MODEL [--uploads 10000] [--json FILE]
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from promises import Promise, Watch, most, options, serving, told
from tqdm import tqdm

# isort: split
from attacks import SECRET, TOLD, addresses, shapes, traversals
from corpus import (
    drawn,
    exif_bomb,
    gif_comment,
    good,
    mutations,
    png_bomb,
    saved,
    scan_bomb,
    with_segment,
    zipped,
)
from serving import Answer, Line, Serving, form, held_port

ONE, GRADIO = "/api/v1/classify", "/gradio/gradio_api"
JSON = {"Content-Type": "application/json"}
SORRY = {400, 413, 415, 422}
ROUTES = ("queue/join", "call/predict")
BOMB_EVERY = 50  # uploads


@dataclass
class Found:
    statuses: Counter[int] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    unexplained: list[str] = field(default_factory=list)
    lost: int = 0
    slowest: float = 0.0


def bombs() -> list[bytes]:
    """Small files that take long, or much memory, if nobody looks at them first."""
    photo = saved(drawn(), "JPEG")
    return [
        png_bomb(9_000), png_bomb(13_000), scan_bomb(drawn(1200, 900), 150),
        scan_bomb(drawn(2000, 1500), 90), gif_comment(good()["gif"], 20_000),
        with_segment(photo, b"\xff\xe1\xff\xff" + exif_bomb()[:65_533]), zipped("a.jpg", photo),
        b"", b"\0" * 1_000_000, b"<html>" * 100, b"%PDF-1.4\n" + photo, photo + b"PK\3\4" * 1000,
    ]  # fmt: skip


def uploads(count: int, seed: int) -> Iterator[bytes]:
    worst = itertools.cycle(bombs())
    for number, data in enumerate(mutations(count, seed)):
        yield next(worst) if number % BOMB_EVERY == 0 else data


async def send_all(port: int, data: Iterable[bytes], total: int, at_once: int) -> Found:
    found, todo = Found(), iter(enumerate(data))
    bar = tqdm(total=total, desc="uploads", mininterval=1)

    async def user() -> None:
        line: Line | None = None
        for number, body in todo:
            sent, headers = form((f"{number}.jpg", body)) if number % 2 else (body, {})
            try:
                line = line or await Line(port).__aenter__()
                note(found, await line.ask("POST", ONE, sent, headers))
            except (OSError, EOFError):
                found.lost, line = found.lost + 1, None
            bar.update()

    await asyncio.gather(*(user() for _ in range(at_once)))
    bar.close()
    return found


def note(found: Found, answer: Answer) -> None:
    found.statuses[answer.status] += 1
    found.slowest = max(found.slowest, answer.seconds)
    if answer.status != 200:
        if answer.status in SORRY and answer.explained():
            found.codes[answer.json()["code"]] += 1
        else:
            found.unexplained.append(f"{answer.status} {answer.body[:200]!r}")


def files_told(server: Serving) -> tuple[int, list[str]]:
    """Paths that were asked for, and those that gave anything but a refusal."""
    secret, link = server.folder / "secret.txt", server.upload_folder / "link.txt"
    secret.write_bytes(SECRET)
    link.symlink_to(secret)
    paths, wrong = traversals(server.port, secret, server.upload_folder), []
    for path in tqdm(paths, desc="paths", mininterval=1):
        answer = server.ask("GET", path)
        if answer.status not in (400, 403, 404) or any(word in answer.body for word in TOLD):
            wrong.append(f"{answer.status} {path}")
    link.unlink()
    return len(paths), wrong


def addresses_asked(server: Serving) -> tuple[int, list[str]]:
    """Requests with an address or a path of the server, and those that were not refused."""
    wrong, count = [], 0
    private = server.folder / "private.jpg"
    with held_port() as listener:
        places = [*addresses(listener.getsockname()[1]), str(private), "private.jpg"]
        for place in tqdm(places, desc="addresses", mininterval=1):
            for route, shape in itertools.product(ROUTES, shapes(place)[1:3]):
                private.write_bytes(saved(drawn(), "JPEG"))
                (event,) = server.ask("GET", "/gradio/config").json()["dependencies"]
                asked = shape | {"session_hash": "s", "fn_index": event["id"]}
                answer = server.ask("POST", f"{GRADIO}/{route}", json.dumps(asked).encode(), JSON)
                count += 1
                if answer.status < 400 or not private.exists():
                    wrong.append(f"{answer.status} {route} {place}")
        try:
            listener.accept()
            wrong.append("the port was connected to")
        except BlockingIOError:
            pass
    return count, wrong


async def upload(server: Serving, count: int, seed: int, at_once: int) -> tuple[Found, Watch]:
    async with Watch(server.pid) as watch:
        found = await send_all(server.port, uploads(count, seed), count, at_once)
    watch.look()
    return found, watch


def main() -> int:
    made = options(__doc__ or "")
    made.add_argument("--uploads", metavar="N", type=int, default=10_000)
    made.add_argument("--at-once", metavar="N", type=int, default=8)
    made.add_argument("--seed", type=int, default=0)
    words = made.parse_args()
    photo = saved(drawn(seed=3), "JPEG")
    with serving(words.model) as server:
        before = server.ask("POST", ONE, photo).json()["probabilities"]
        found, watch = asyncio.run(upload(server, words.uploads, words.seed, words.at_once))
        after = server.ask("POST", ONE, photo)
        same = after.status == 200 and after.json()["probabilities"] == before
        paths, told_files = files_told(server)
        asked, fetched = addresses_asked(server)
        extra = max(0, len(watch.seen) - len(server.first_workers))
        mistakes = server.log().count('"level": "error"')
    connects = server.connected
    broken = sum(count for status, count in found.statuses.items() if status > 499)
    picture = "the same" if same else "other"
    for line in (*found.unexplained[:5], *told_files[:5], *fetched[:5], *connects[:5]):
        print(f"    {line}", file=sys.stderr)
    promises = [
        most("S1", "connections lost without an answer", found.lost, 0),
        most("S1", "answers of 500 and more", broken, 0),
        most("S1", "errors without code and sentence", len(found.unexplained), 0),
        most("S1", "mistakes of ours in the log", mistakes, 0),
        most("S1", "peak memory of all processes", watch.most / 1e6, 1000, "MB"),
        most("S1", "slowest answer", round(found.slowest, 2), 11, "s"),
        Promise("S1", "a good picture afterwards", "the same", picture, same),
        most("S3", f"of {asked} addresses and paths taken", len(fetched), 0),
        most("S3", "connections to anybody", len(connects), 0),
        most("S4", f"of {paths} paths answered", len(told_files), 0),
        Promise("S8", "exit code at the end", "0", str(server.code), server.code == 0),
        most("S10", "files left behind", len(server.left_behind), 0),
    ]  # fmt: skip
    facts: dict[str, Any] = {
        "uploads": words.uploads,
        "seed": words.seed,
        "statuses": {str(status): n for status, n in sorted(found.statuses.items())},
        "codes": dict(found.codes.most_common()),
        "processes started beyond the first": extra,
        "unexplained": found.unexplained[:20],
        "told": told_files,
        "fetched": fetched,
        "connects": connects,
    }
    for name in ("statuses", "codes", "processes started beyond the first"):
        print(f"{name}: {facts[name]}")
    return told(promises, facts, words.json)


if __name__ == "__main__":
    sys.exit(main())

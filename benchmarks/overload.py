"""Many people at once, and an end in the middle of it: S5, S7 and S8.

A real `bears serve` on loopback is asked from this other process. Each user sends a photo, waits
for the answer, and sends the next; who is refused comes again after a pause (shorter than
Retry-After asks for). Meanwhile a third process asks /livez ten times a second, so that what is
measured there is the service and not how busy its users' process is, which goes behind the others.
Told are the times of those who were accepted and refused, who got no answer at all, memory of all
processes together, and how long it takes until a single photo is answered as fast as before.

Then the service is started again and again, gets photos that are all inside when SIGTERM comes at a
random moment, and must answer each of them and end with exit code 0.

    .venv/bin/python benchmarks/overload.py MODEL [--users 50 200 500] [--seconds 20] [--stops 100]
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import multiprocessing
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from promises import Promise, Watch, most, options, quantile, serving, told
from tqdm import tqdm

# isort: split
from corpus import drawn, saved
from serving import Serving, ask

ONE = "/api/v1/classify"
HUNG = 30.0  # seconds without an answer
SPAWN = multiprocessing.get_context("spawn")
_NICE = 10  # users would be elsewhere; here they share two processors with the service


@dataclass
class Load:
    """Seconds, but for counts, and memory in bytes. normal: until photos are fast again."""

    users: int
    accepted: int
    refused: int
    other: int
    hung: int
    accepted_p50: float
    accepted_p95: float
    refused_p50: float
    refused_p95: float
    slowest: float
    alive_p50: float
    alive_p95: float
    alive_max: float
    bare: int  # refusals without Retry-After or a sentence
    wrong: int  # accepted with another answer
    memory: int
    before: float
    normal: float


def health(port: int, seconds: float) -> list[float]:
    """Seconds of each answer of /livez; for a process of its own."""

    async def asked() -> list[float]:
        found, end = [], time.monotonic() + seconds
        while time.monotonic() < end:
            found.append((await ask(port, "GET", "/livez")).seconds)
            await asyncio.sleep(0.1)
        return found

    return asyncio.run(asked())


def crowded(port: int, pid: int, photo: bytes, users: int, seconds: float, pause: float) -> Load:
    """`crowd` in a process that ends with it, since it lowers its own priority."""
    with concurrent.futures.ProcessPoolExecutor(1, SPAWN) as pool:
        asked = (port, pid, photo, users, seconds, pause)
        return pool.submit(run_crowd, *asked).result()


def run_crowd(*asked: Any) -> Load:
    return asyncio.run(crowd(*asked))


async def crowd(
    port: int, pid: int, photo: bytes, users: int, seconds: float, pause: float
) -> Load:
    accepted: list[float] = []
    refused: list[float] = []
    counts = {"hung": 0, "bare": 0, "wrong": 0, "other": 0}
    first = await ask(port, "POST", ONE, photo)
    right = first.json()["probabilities"]
    before = statistics.median([(await ask(port, "POST", ONE, photo)).seconds for _ in range(10)])

    async def user(dice: random.Random) -> None:
        while time.monotonic() < end:
            began = time.perf_counter()
            try:
                answer = await asyncio.wait_for(ask(port, "POST", ONE, photo), HUNG)
            except (OSError, EOFError, asyncio.TimeoutError):
                counts["hung"] += 1
                continue
            took = time.perf_counter() - began
            if answer.status == 200:
                accepted.append(took)
                counts["wrong"] += answer.json()["probabilities"] != right
                continue
            if answer.status not in (429, 503):
                counts["other"] += 1
                continue
            refused.append(took)
            counts["bare"] += not (answer.explained() and "retry-after" in answer.headers)
            await asyncio.sleep(pause * dice.uniform(0.5, 1.5))

    async def clock() -> None:
        with tqdm(total=int(seconds), desc=f"{users} users", unit="s") as bar:
            while time.monotonic() < end:
                await asyncio.sleep(1)
                bar.update()

    loop = asyncio.get_running_loop()
    with concurrent.futures.ProcessPoolExecutor(1, SPAWN) as pool:
        await loop.run_in_executor(pool, health, port, 0.0)  # started before it counts
        os.nice(_NICE)
        end = time.monotonic() + seconds
        probing = loop.run_in_executor(pool, health, port, seconds)
        async with Watch(pid) as watch:
            await asyncio.gather(clock(), *(user(random.Random(n)) for n in range(users)))
        alive = await probing
    over, normal = time.monotonic(), 60.0
    while time.monotonic() - over < 60:
        took = [(await ask(port, "POST", ONE, photo)).seconds for _ in range(5)]
        if statistics.median(took) <= 2 * before + 0.01:
            normal = time.monotonic() - over
            break
    return Load(
        users, len(accepted), len(refused), counts["other"], counts["hung"],
        quantile(accepted, 0.5), quantile(accepted, 0.95),
        quantile(refused, 0.5), quantile(refused, 0.95), max(accepted + refused, default=0.0),
        quantile(alive, 0.5), quantile(alive, 0.95), max(alive, default=0.0),
        counts["bare"], counts["wrong"], watch.most, before, normal,
    )  # fmt: skip


@dataclass
class Stop:
    """inside: photos that were in the service at the signal, or answered before."""

    inside: int
    answered: int
    late: int
    late_told: int
    seconds: float
    code: int | None


async def stopped(server: Serving, photo: bytes, count: int, dice: random.Random) -> Stop:
    """Late ones come after the signal: they are told 503, or find the port closed."""
    asked = [asyncio.create_task(ask(server.port, "POST", ONE, photo)) for _ in range(count)]
    while True:
        text = (await ask(server.port, "GET", "/metrics")).body.decode().splitlines()
        inside = next(line for line in text if line.startswith("bears_photos_inside "))
        done = sum(task.done() for task in asked)
        if float(inside.split()[1]) + done >= count:
            break
    await asyncio.sleep(dice.uniform(0, 0.2))
    server.process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    late = [asyncio.create_task(ask(server.port, "POST", ONE, photo)) for _ in range(4)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    told_late = await asyncio.gather(*late, return_exceptions=True)
    code = await asyncio.to_thread(server.wait)
    fine = sum(not isinstance(a, BaseException) and a.status == 200 for a in answers)
    refused = sum(isinstance(a, OSError) or getattr(a, "status", 0) == 503 for a in told_late)
    return Stop(count, fine, len(late), refused, time.monotonic() - began, code)


def stops(model: Path, photo: bytes, times: int, count: int) -> list[Stop]:
    found, dice = [], random.Random(0)
    for _ in tqdm(range(times), desc="stops"):
        with tempfile.TemporaryDirectory() as folder, Serving(model, Path(folder)) as server:
            found.append(asyncio.run(stopped(server, photo, count, dice)))
    return found


def main() -> int:
    made = options(__doc__ or "")
    made.add_argument("--users", metavar="N", type=int, nargs="+", default=[50, 200, 500])
    made.add_argument("--seconds", metavar="S", type=float, default=20.0, help="for each crowd")
    made.add_argument("--pause", metavar="S", type=float, default=1.0, help="after a refusal")
    made.add_argument("--width", metavar="N", type=int, default=1024, help="of the photo, pixels")
    made.add_argument("--stops", metavar="N", type=int, default=100)
    made.add_argument("--inside", metavar="N", type=int, default=12, help="photos at each stop")
    words = made.parse_args()
    photo = saved(drawn(words.width, words.width * 3 // 4, seed=3), "JPEG", quality=85)
    loads, promises = [], []
    for users in words.users:
        with serving(words.model) as server:
            asked = (server.port, server.pid, photo, users, words.seconds, words.pause)
            found = crowded(*asked)
        loads.append(found)
        print(
            f"{users} users: {found.accepted} accepted, p50 {found.accepted_p50:.2f} s, p95 "
            f"{found.accepted_p95:.2f} s; {found.refused} refused, p50 {found.refused_p50:.2f} s, "
            f"p95 {found.refused_p95:.2f} s; /livez p50 {1000 * found.alive_p50:.0f} ms, p95 "
            f"{1000 * found.alive_p95:.0f} ms; {found.memory / 1e6:.0f} MB"
        )
        who = f"{users} users:"
        promises += [
            most("S5", f"{who} accepted, p95", round(found.accepted_p95, 2), 5, "s"),
            most("S5", f"{who} refused, p95", round(found.refused_p95, 2), 1, "s"),
            most("S5", f"{who} slowest answer", round(found.slowest, 2), 10, "s"),
            most("S5", f"{who} without an answer", found.hung, 0),
            most("S5", f"{who} neither answered nor refused", found.other, 0),
            most("S5", f"{who} answered wrongly", found.wrong, 0),
            most("S5", f"{who} refused without Retry-After", found.bare, 0),
            most("S5", f"{who} memory", round(found.memory / 1e6), 1000, "MB"),
            most("S5", f"{who} until it is as fast as before", round(found.normal, 1), 5, "s"),
            most("S7", f"{who} /livez, slowest", round(1000 * found.alive_max), 50, "ms"),
        ]
    ends = stops(words.model, photo, words.stops, words.inside)
    if ends:
        inside, answered = sum(e.inside for e in ends), sum(e.answered for e in ends)
        promises += [
            Promise("S8", f"of {inside} inside at {len(ends)} stops, answered", "100 %",
                    f"{answered / inside:.2%}", inside == answered),
            most("S8", "late ones left without a word", sum(e.late - e.late_told for e in ends), 0),
            most("S8", "exit codes other than 0", sum(e.code != 0 for e in ends), 0),
            most("S8", "slowest end", round(max(e.seconds for e in ends), 1), 20, "s"),
        ]  # fmt: skip
    facts = {"loads": [asdict(load) for load in loads], "stops": [asdict(end) for end in ends]}
    return told(promises, facts | {"photo": len(photo)}, words.json)


if __name__ == "__main__":
    sys.exit(main())

"""Pictures are looked at in processes of their own, which may die, hang or take too much."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import answers
import corpus
import pytest
from waiting import STUCK

from bear_classifier.collect.http.client import in_own_loop
from bear_classifier.collect.http.ingest import examine
from bear_classifier.errors import DataError, PhotoError
from bear_classifier.runtime.process_pool import Workers
from bear_classifier.runtime.process_worker import FRAME

TESTS = Path(__file__).parents[1]
INTAKE = "bear_classifier.collect.http.ingest"


@pytest.fixture(autouse=True)
def odd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(TESTS))


def run(
    work: Callable[[Workers], Awaitable[Any]],
    most: int = 2,
    seconds: float = 30.0,
    module: str = "odd_worker",
) -> Any:
    async def inside() -> Any:
        async with Workers(module, most, seconds) as workers:
            return await work(workers)

    return asyncio.run(inside())


def gone(pid: int) -> bool:
    """Whether the process ends in that time; one that nobody waited for has ended too."""
    end = time.monotonic() + STUCK
    while time.monotonic() < end:
        try:
            text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
            if text.rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.02)
    return False


def test_each_answer_is_that_of_its_question() -> None:
    """200 at once on three processes, bodies of 0 bytes to 2 MB; the processes end with it."""

    async def work(workers: Workers) -> list[dict[str, Any]]:
        bodies = [bytes([n]) * size for n, size in enumerate(sizes)]
        asked = (workers.ask({"do": "tell", "n": n}, body) for n, body in enumerate(bodies))
        return await asyncio.gather(*asked)

    sizes = [n * 997 if n % 50 else n * 10_000 for n in range(200)]
    found = run(work, most=3)
    assert [answer["n"] for answer in found] == list(range(200))
    assert [answer["length"] for answer in found] == sizes
    assert [answer["last"] for answer in found[1:]] == [f"{n:02x}" for n in range(1, 200)]
    pids = {answer["pid"] for answer in found}
    assert len(pids) == 3
    assert all(gone(pid) for pid in pids)


def test_one_after_the_other_needs_one_process() -> None:
    async def work(workers: Workers) -> set[int]:
        return {(await workers.ask({"do": "tell"}, b"x"))["pid"] for _ in range(10)}

    assert len(run(work, most=3)) == 1


def test_what_crashes_the_decoder_is_refused_and_the_next_is_answered(tmp_path: Path) -> None:
    async def work(workers: Workers) -> tuple[str, dict[str, Any]]:
        others = [workers.ask({"do": "tell", "n": n}, b"x") for n in range(20)]
        bad = workers.ask({"do": "crash"}, b"x")
        results = await asyncio.gather(bad, *others, return_exceptions=True)
        assert [answer["n"] for answer in results[1:]] == list(range(20))
        return str(results[0]), await workers.ask({"do": "tell"}, b"x")

    said, after = run(work)
    assert said == f"DAMAGED: the decoder crashes on it (signal {signal.SIGSEGV:d})"
    assert after["length"] == 1


def test_a_process_that_somebody_else_ended_is_not_the_pictures_fault(tmp_path: Path) -> None:
    note = str(tmp_path / "note")
    found = run(lambda workers: workers.ask({"do": "crash once", "note": note}, b"abc"))
    assert found["length"] == 3


def test_what_takes_too_long_is_refused_and_its_process_ended() -> None:
    async def work(workers: Workers) -> None:
        pid = (await workers.ask({"do": "tell"}, b""))["pid"]
        with pytest.raises(PhotoError, match=r"^TOO_COMPLEX: not decoded in 2 s; "):
            await workers.ask({"do": "compute"}, b"x")
        assert gone(pid)
        assert (await workers.ask({"do": "tell"}, b""))["pid"] != pid

    run(work, most=1, seconds=2.0)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how long a process computed")
def test_a_busy_machine_is_not_the_pictures_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has no turn for long answers all the same; one that never does is ended."""
    monkeypatch.setattr("bear_classifier.runtime.process_pool._PATIENCE", 10)

    async def work(workers: Workers) -> None:
        pid = (await workers.ask({"do": "tell"}, b""))["pid"]
        late = asyncio.ensure_future(workers.ask({"do": "sleep", "seconds": 0.1, "n": 3}, b"x"))
        os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(1.5)  # three times what a picture may compute
        os.kill(pid, signal.SIGCONT)
        assert (await late)["n"] == 3
        monkeypatch.setattr("bear_classifier.runtime.process_pool._PATIENCE", 2)
        with pytest.raises(PhotoError, match=r"^TIMEOUT_DECODE: no answer in 1 s on this busy"):
            await workers.ask({"do": "sleep", "seconds": 60}, b"x")
        assert gone(pid)

    run(work, most=1, seconds=0.5)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells that a process was stopped")
def test_a_process_that_somebody_stopped_is_not_the_pictures_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is asked again of another one; only where that is stopped too is it given up."""
    monkeypatch.setattr("bear_classifier.runtime.process_pool._PATIENCE", 3)

    async def work(workers: Workers) -> None:
        pid = (await workers.ask({"do": "tell"}, b""))["pid"]
        os.kill(pid, signal.SIGSTOP)
        assert (await workers.ask({"do": "tell"}, b"x"))["pid"] != pid
        assert gone(pid)
        with pytest.raises(PhotoError, match=r"^TIMEOUT_DECODE: .* was stopped twice; try it"):
            await workers.ask({"do": "stop"}, b"x")

    run(work, most=1, seconds=0.3)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps a limit of memory")
@pytest.mark.parametrize("limit", [None, 900_000_000])
def test_a_process_tells_what_it_needed(limit: int | None) -> None:
    words = [] if limit is None else [str(limit)]

    async def work() -> None:
        async with Workers("odd_worker", 1, 30.0, words) as workers:
            before = await workers.ask({"do": "needed"}, b"")
            await workers.ask({"do": "memory", "bytes": 500_000_000}, b"x")
            after = await workers.ask({"do": "needed"}, b"")
            for what in ("held", "addresses"):
                assert 500e6 < after[what] - before[what] + 30e6 < 700e6
            asked = workers.ask({"do": "memory", "bytes": 1_000_000_000}, b"x")
            if limit is None:
                assert (await asked)["bytes"] == 1_000_000_000
            else:
                with pytest.raises(PhotoError, match="not enough memory"):
                    await asked

    asyncio.run(work())


def test_who_is_cancelled_leaves_no_answer_behind() -> None:
    async def work(workers: Workers) -> dict[str, Any]:
        slow = asyncio.ensure_future(workers.ask({"do": "sleep", "seconds": 1, "n": 1}, b"x"))
        await asyncio.sleep(0.5)
        slow.cancel()
        return await workers.ask({"do": "tell", "n": 2}, b"x")

    assert run(work, most=1)["n"] == 2


@pytest.mark.parametrize(
    ("word", "kind", "sentence"),
    [
        ("refuse", PhotoError, "^TOO_SMALL: it is 3 x 4$"),
        ("full", DataError, "^DISK_FULL: no space$"),
        ("mistake", RuntimeError, "(?s)Traceback.*KeyError: 'no such thing'"),
    ],
)
def test_what_it_raises_is_raised_here(word: str, kind: type[Exception], sentence: str) -> None:
    async def work(workers: Workers) -> int:
        pid: int = (await workers.ask({"do": "tell"}, b""))["pid"]
        with pytest.raises(kind, match=sentence):
            await workers.ask({"do": word}, b"x")
        same = (await workers.ask({"do": "tell"}, b""))["pid"] == pid
        assert same == (word != "mistake")
        return pid

    assert gone(run(work))


def test_what_a_library_prints_is_no_answer() -> None:
    assert run(lambda workers: workers.ask({"do": "print", "n": 5}, b""))["n"] == 5


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps a limit of memory")
def test_memory_is_limited() -> None:
    async def work(workers: Workers) -> int:
        with pytest.raises(PhotoError, match="^TOO_MANY_PIXELS: there is not enough memory"):
            await workers.ask({"do": "memory", "bytes": 1_500_000_000}, b"x")
        found: int = (await workers.ask({"do": "memory", "bytes": 600_000_000}, b"x"))["bytes"]
        return found

    assert run(work, most=1) == 600_000_000


@pytest.mark.parametrize("module", ["odd_worker", "no_such_module"])
def test_a_process_that_cannot_start_is_not_the_pictures_fault(
    monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    monkeypatch.setenv("ODD_WORKER", "no")
    code = {"odd_worker": 3, "no_such_module": 1}[module]
    sentence = (
        "^NO_WORKER: the process that decodes pictures could not be started"
        rf" \(exit code {code}\); run .*python.* -m {module} to see why$"
    )
    with pytest.raises(DataError, match=sentence):
        run(lambda workers: workers.ask({"do": "tell"}, b""), module=module)


PARENT = """
import asyncio, sys
from bear_classifier.runtime.process_pool import Workers

async def main():
    async with Workers("odd_worker", 1, 100) as workers:
        print((await workers.ask({"do": "tell"}, b""))["pid"], flush=True)
        await workers.ask({"do": "sleep", "seconds": float(sys.argv[1])}, b"x")

asyncio.run(main())
"""


@pytest.mark.parametrize("seconds", [1.0])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_nobody_is_left_when_the_parent_dies(how: signal.Signals, seconds: float) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(seconds)], stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, encoding="utf-8",
    )  # fmt: skip
    with parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        parent.send_signal(how)
    assert gone(pid)


# What is asked of the pictures of strangers.


def test_a_picture_is_examined_and_lies_beside_its_place(tmp_path: Path) -> None:
    body = answers.picture(1)
    found = run(lambda w: w.ask({"folder": str(tmp_path / "photos")}, body), module=INTAKE)
    hidden = Path(found.pop("partial"))
    assert hidden.read_bytes() == body
    assert hidden.parent == tmp_path / "photos"
    assert hidden.name.startswith(".")
    assert hidden.name.endswith(".partial")
    assert found == vars(examine(body))
    assert found["sha256"] == hashlib.sha256(body).hexdigest()


def test_what_is_no_picture_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(PhotoError, match="^NOT_AN_IMAGE"):
        run(lambda w: w.ask({"folder": str(tmp_path)}, b"<html>"), module=INTAKE)
    assert list(tmp_path.iterdir()) == []


def test_a_picture_that_nobody_takes_any_more_leaves_no_file(tmp_path: Path) -> None:
    """As after kill -9: the process finishes what it was given and finds nobody to tell."""
    header = f'{{"folder": "{tmp_path}"}}'.encode()
    body = corpus.png(2000, 2000)
    with subprocess.Popen(
        [sys.executable, "-m", INTAKE], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdin
        assert child.stdout
        child.stdout.read(4)
        child.stdout.close()
        child.stdin.write(FRAME.pack(len(header), len(body)) + header + body)
        child.stdin.close()
    assert child.returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_a_loop_that_runs_already_is_no_hindrance() -> None:
    """As in every notebook."""

    async def work() -> int:
        return 7

    async def cell() -> int:
        return in_own_loop(work())

    assert asyncio.run(cell()) == in_own_loop(work()) == 7

"""A pool of worker processes that survives crashes, timeouts and memory limits."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from bear_classifier.errors import DataError, PhotoError
from bear_classifier.runtime.process_worker import FRAME, frame_head, unpack_answer

_GRACE = 5.0  # seconds
_START = 60.0  # seconds until a process is ready; importing takes a third of one
_ENVIRONMENT = {
    **dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1"),
    "ORT_DISABLE_TELEMETRY": "1",
    # glibc returns the memory of each picture to the system and asks for it again: a fifth of the
    # time of a small one. Bytes; see mallopt(3).
    "MALLOC_MMAP_THRESHOLD_": str(1 << 25),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 26),
}
_PATIENCE = 6  # times as long, by the clock, as a picture may keep a processor busy
_LOST = (asyncio.IncompleteReadError, BrokenPipeError, ConnectionResetError)


class Workers(AbstractAsyncContextManager["Workers"]):
    """module: what each process runs, ending in `serve_requests`, with these words on its command
    line; seconds: of a processor for one picture, since on a busy machine wall-clock time says
    nothing of the picture. Where the system does not tell CPU times, the clock decides.

    Usage: `async with Workers(...) as workers: result = await workers.ask(header, body)`. A process
    is started when all others are busy, and again after a picture that ended one."""

    def __init__(self, module: str, most: int, seconds: float, words: Sequence[str] = ()) -> None:
        self.module, self.seconds, self.words = module, seconds, words
        self._free = asyncio.Semaphore(most)
        self._idle: list[Process] = []

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(_end(child, _GRACE) for child in self._idle))

    async def ask(self, header: dict[str, Any], body: bytes) -> dict[str, Any]:
        """What the work makes of a picture, or the PhotoError or DataError that it raises.

        TOO_COMPLEX: it took too long; TIMEOUT_DECODE: no answer, though little was computed (after
        a stopped process another one tries); DAMAGED: it ended two processes one after the other,
        as the first may have been ended by somebody else; NO_WORKER: no process can be started."""
        async with self._free:
            fresh, stopped = 0, 0
            while fresh < 2:  # one that was idle may have ended for another reason
                fresh += not self._idle
                child = self._idle.pop() if self._idle else await self._start()
                try:
                    answer = await self._in_time(child, header, body)
                    if "bug" in answer:
                        raise RuntimeError(answer["bug"])
                except _LOST:
                    await _end(child, _GRACE)
                    continue
                except _Stopped:
                    await _end(child)
                    stopped += 1
                    if stopped == 2:
                        words = "the process that looks at it was stopped twice; try it again"
                        raise PhotoError("TIMEOUT_DECODE", words) from None
                    continue
                except BaseException:  # cancelled: its answer would be taken for the next one's
                    await _end(child)
                    raise
                self._idle.append(child)
                return unpack_answer(answer)
        raise PhotoError("DAMAGED", f"the decoder crashes on it ({_ending(child)})")

    async def _in_time(self, child: Process, header: dict[str, Any], body: bytes) -> dict[str, Any]:
        before, step, waited = _state(child)[1], self.seconds, 0.0
        exchange = asyncio.ensure_future(_exchange(child, header, body))
        try:
            while not (await asyncio.wait({exchange}, timeout=step))[0]:
                waited += step
                state, now = _state(child)
                used = waited if before is None or now is None else now - before
                if used >= self.seconds:
                    words = f"not decoded in {self.seconds:.0f} s; save it again as JPEG"
                    raise PhotoError("TOO_COMPLEX", words)
                if waited >= _PATIENCE * self.seconds:
                    if state in ("T", "t"):
                        raise _Stopped
                    words = f"no answer in {waited:.0f} s on this busy machine; try it again"
                    raise PhotoError("TIMEOUT_DECODE", words)
                step = max(self.seconds - used, 0.05)
            return exchange.result()
        finally:
            exchange.cancel()

    async def _start(self) -> Process:
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", self.module, *self.words),
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL,
            env=os.environ | _ENVIRONMENT,
        )
        try:
            await asyncio.wait_for(_receive(child), _START)
        except (*_LOST, asyncio.TimeoutError) as exc:
            await _end(child, _GRACE)
            failed = f"the process that decodes pictures could not be started ({_ending(child)})"
            advice = f"run {sys.executable} -m {self.module} to see why"
            raise DataError("NO_WORKER", f"{failed}; {advice}") from exc
        except BaseException:
            await _end(child)
            raise
        return child


class _Stopped(Exception):
    """Somebody stopped the process (SIGSTOP), which is no picture's fault."""


def _state(child: Process) -> tuple[str, float | None]:
    """The state of a process and its CPU seconds; "" and None where the system does not tell."""
    try:
        text = Path(f"/proc/{child.pid}/stat").read_text("ascii", "replace")
        words = text.rpartition(")")[2].split()  # behind its name; see proc(5)
        return words[0], (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, IndexError, ValueError):
        return "", None


async def _exchange(child: Process, header: dict[str, Any], body: bytes) -> dict[str, Any]:
    assert child.stdin
    child.stdin.write(frame_head(header, body) + body)
    await child.stdin.drain()
    return await _receive(child)


async def _receive(child: Process) -> dict[str, Any]:
    assert child.stdout
    size, _ = FRAME.unpack(await child.stdout.readexactly(FRAME.size))
    answer: dict[str, Any] = json.loads(await child.stdout.readexactly(size))
    return answer


async def _end(child: Process, grace: float = 0.0) -> None:
    """grace: seconds in which it may end by itself, as it does when its input ends."""
    assert child.stdin
    child.stdin.close()
    if grace:
        await asyncio.wait([asyncio.ensure_future(child.wait())], timeout=grace)
    if child.returncode is None:
        child.kill()
    await child.wait()


def _ending(child: Process) -> str:
    code = child.returncode or 0
    return f"signal {-code}" if code < 0 else f"exit code {code}"

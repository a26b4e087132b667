"""Capacity: memory and time of a model, measured, and the number of worker processes.

The needs that a bundle states are not used: they would be a claim.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass

from bear_classifier.errors import ModelError, PhotoError
from bear_classifier.runtime.process_pool import Workers
from bear_classifier.runtime.process_worker import WORKER_MEMORY
from bear_classifier.runtime.usable_memory import usable_memory

CPU_SECONDS = 10.0  # of a processor, for a photo with a model that takes hardly any time
_TIMES = 5  # as long as the slowest answer that was measured, beyond that
_LOADS = 2  # as long as loading, since the first photo of a process waits for that
_SPARE = 500_000_000  # bytes of addresses for what a picture may take beyond the largest one
_START = 300.0  # seconds of a processor to load a model, test it and answer once
_LEAST = 1_000_000_000  # bytes that half of what may be used is raised to where there are so many
_MEGA = 1_000_000


@dataclass(frozen=True)
class Need:
    """Of a process that has answered with models: bytes that it held at most, bytes of addresses (0
    where the system does not report them), and seconds of a processor to load the slowest model and
    for the slowest answer."""

    held: int
    addresses: int
    load: float
    answer: float


@dataclass(frozen=True)
class Share:
    """Processes at once; of each at most so many bytes of addresses and, for a photo, seconds."""

    processes: int
    addresses: int
    seconds: float


def allowed_memory(memory: int) -> int:
    """Bytes for all processes that answer. memory: MB, as set; 0: half of what may be used."""
    if memory:
        return memory * _MEGA
    usable = usable_memory()
    return max(usable // 2, min(usable, _LEAST))


def shared(need: Need, memory: int, most: int) -> Share:
    """As many processes as there is memory for, up to `most`. memory: bytes, of all of them.

    Raises ModelError (MODEL_TOO_LARGE) where not even one has enough."""
    if need.held > memory:
        wanted = -(-11 * need.held // 10**9) * 100  # MB, a tenth more
        words = f"answering takes {need.held / _MEGA:,.0f} MB, and serve.memory allows"
        words += f" {memory / _MEGA:,.0f} MB here; serve a smaller model, fewer of them, or add"
        raise ModelError("MODEL_TOO_LARGE", f"{words} --set serve.memory={wanted}")
    processes = max(1, min(most, memory // max(need.held, 1)))
    addresses = max(WORKER_MEMORY, need.addresses + _SPARE)
    return Share(processes, addresses, CPU_SECONDS + _TIMES * need.answer + _LOADS * need.load)


async def measure_models(module: str, listed: str, names: Iterable[str], memory: int) -> Need:
    """What a process needs that answers with all these models, each of which passes its self-test.

    module, listed: what the process runs, and its first argument; memory: bytes that it may take.
    Raises ModelError (MODEL_TOO_LARGE, MODEL_TOO_SLOW), SelfTestError and DataError (NO_WORKER)."""
    needs: list[Need] = []
    async with Workers(module, 1, _START, [listed, str(WORKER_MEMORY + memory)]) as workers:
        for name in names:
            try:
                need = await workers.ask({"model": name, "do": "measure"}, b"")
            except (PhotoError, ModelError) as exc:
                # a library that gets no memory and does not say so ends as DAMAGED
                if exc.code in ("MODEL_TOO_LARGE", "DAMAGED"):
                    words = f"{name} cannot be loaded, or cannot answer, within the"
                    words += f" {memory / _MEGA:,.0f} MB that serve.memory allows here; serve a"
                    words += f" smaller model, or add --set serve.memory={-(-2 * memory // _MEGA)}"
                    raise ModelError("MODEL_TOO_LARGE", words) from exc
                if isinstance(exc, ModelError):
                    raise
                words = f"{name} did not load and answer one picture within {_START:.0f} s; serve"
                raise ModelError("MODEL_TOO_SLOW", f"{words} a smaller model") from exc
            needs.append(Need(**need))
    return most_of(needs)


def most_of(needs: Sequence[Need]) -> Need:
    return Need(*(max(column) for column in zip(*map(astuple, needs), strict=True)))

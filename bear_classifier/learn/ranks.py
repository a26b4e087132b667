"""One training in several processes, each with a GPU of its own: who is in it, what all agree on,
and how it goes on after one of them ran out of memory.

The first process, rank 0, runs the command; the others only help it to train (`rank_work.py`).
Alone, every function here gives back what it was given."""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from bear_classifier.errors import BearsError, TrainError
from bear_classifier.learn.rank_watch import RankWatch
from bear_classifier.runtime.launcher import Launch

_TOGETHER = timedelta(minutes=30)  # for a step in common; a process that dies is seen sooner
_REASON = 3.0  # seconds; a process that fails says why before it leaves
_LEAVE = 10.0  # seconds that rank 0 waits for the others at the end
_POLL = 0.1  # seconds
_OVER = "over"  # the job after the last


@dataclass
class _Group:
    """watch: looks after the other processes. attempt: which group of them it is, as one that
    failed cannot be used any more; jobs: how many were begun."""

    launch: Launch
    store: Store
    watch: RankWatch
    attempt: int = 0
    jobs: int = 0


_group: _Group | None = None


def world() -> int:
    """Of the processes that train together: 1 where this is the only one."""
    return _group.launch.world if _group else 1


def own() -> int:
    """The number of this process, from 0."""
    return _group.launch.rank if _group else 0


def local() -> tuple[int, int]:
    """The number of this process on this computer, and how many there are on it."""
    return (_group.launch.local_rank, _group.launch.local_world) if _group else (0, 1)


@contextmanager
def together(launch: Launch) -> Iterator[None]:
    """Within, this process is one of several. What ends one of them ends all.

    In rank 0 errors are raised, also those of the others, and RANK_LOST where one of them has
    ended. The others say theirs to rank 0 and raise nothing of this package."""
    global _group
    store, _, _ = next(rendezvous("env://", launch.rank, launch.world))
    for name in ("RANK", "WORLD_SIZE"):
        os.environ.pop(name, None)  # fastai would save, wait and gather by its own rules
    store = PrefixStore(f"bears/{launch.restarts}", store)
    watch = RankWatch(store.clone(), launch)
    _group = _Group(launch, store, watch)
    watch.start()
    try:
        _begin(_group)
        yield
        _end(_group)
    except BaseException as exc:
        if (instead := _said(_group, exc)) is not None:
            raise instead from None
        raise
    finally:
        watch.stop()
        _give_up()
        _group = None


def _said(group: _Group, exc: BaseException) -> BaseException | None:
    """Tell the other processes why this one ends. Returns what to raise instead, if anything."""
    reason = _reason(group, exc)
    group.watch.say_failed(reason)
    group.watch.stop(ending=True)
    if group.launch.rank == 0:
        return None if reason is exc else reason
    if not isinstance(reason, (BearsError, KeyboardInterrupt)):
        traceback.print_exception(reason, file=sys.__stderr__)
    return SystemExit(group.watch.exit_code())


def _reason(group: _Group, exc: BaseException) -> BaseException:
    """What ended another process, where this is an error of the connection to it."""
    broken = isinstance(exc, dist.DistError) or "gloo" in str(exc)
    return group.watch.why_lost() if isinstance(exc, RuntimeError) and broken else exc


def _begin(group: _Group) -> None:
    group.watch.attempt = group.attempt
    cuda = torch.cuda.is_available() and dist.is_nccl_available()
    if cuda:
        torch.cuda.set_device(group.launch.local_rank % torch.cuda.device_count())
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if cuda else "gloo",
        store=PrefixStore(f"group/{group.attempt}", group.store),
        rank=group.launch.rank,
        world_size=group.launch.world,
        timeout=_TOGETHER,
    )


def _end(group: _Group) -> None:
    """All leave, rank 0 last: it may be the one that the others reach each other by."""
    group.watch.stop()
    if group.launch.rank:
        group.store.set(f"gone/{group.launch.rank}", "")
        return
    tell_job(_OVER)
    others = [f"gone/{rank}" for rank in range(1, group.launch.world)]
    until = time.monotonic() + _LEAVE
    while not group.store.check(others) and time.monotonic() < until:
        time.sleep(_POLL)
    dist.destroy_process_group()


# -- jobs: rank 0 tells, the others wait without a limit -------------------------------------------


def tell_job(job: str) -> None:
    """Rank 0: the other processes begin a job of this name."""
    if _group:
        _group.store.set(f"job/{_group.jobs}", job)
        _group.jobs += 1


def next_job() -> str | None:
    """Another rank: the name of the next job; None if there is no more."""
    assert _group
    while not _group.store.check([f"job/{_group.jobs}"]):
        time.sleep(_POLL)
    job = _group.store.get(f"job/{_group.jobs}").decode()
    _group.jobs += 1
    return None if job == _OVER else job


# -- what all agree on ----------------------------------------------------------------------------


def broadcast(value: Any) -> Any:
    """Rank 0's value of JSON, in all processes; the others' are not looked at."""
    if not _group:
        return value
    data = json.dumps(value).encode() if own() == 0 else b""
    size = torch.tensor([len(data)])
    dist.broadcast(size, 0)
    text = torch.frombuffer(bytearray(data), dtype=torch.uint8) if data else _bytes(int(size))
    dist.broadcast(text, 0)
    return json.loads(text.numpy().tobytes())


def broadcast_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rank 0's tensors, which lie on the CPU, in all processes."""
    if not _group:
        return dict(tensors)
    about = broadcast([[k, list(t.shape), str(t.dtype).split(".")[1]] for k, t in tensors.items()])
    made = {}
    for name, shape, kind in about:
        empty = torch.empty(shape, dtype=getattr(torch, kind))
        made[name] = tensors[name].contiguous() if own() == 0 else empty
        if made[name].numel():
            dist.broadcast(made[name], 0)
    return made


def _bytes(n: int) -> Tensor:
    return torch.empty(n, dtype=torch.uint8)


def mean(value: Tensor) -> Tensor:
    """The mean over all processes of a tensor without a gradient."""
    if not _group:
        return value
    total = value.detach().clone()
    dist.all_reduce(total)
    return total / world()


def gathered(values: Tensor) -> Tensor:
    """values (n,) on the CPU, of all processes one after the other; n may differ."""
    if not _group:
        return values
    sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(world())]
    dist.all_gather(sizes, torch.tensor([len(values)]))
    padded = values.new_zeros(int(max(sizes)))
    padded[: len(values)] = values
    rows = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(rows, padded)
    return torch.cat([row[: int(size)] for row, size in zip(rows, sizes, strict=True)])


def average_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Each gradient becomes the mean over all processes, in one message for all of them."""
    slopes = [p.grad for p in parameters if p.grad is not None]
    if not _group or not slopes:
        return
    flat = torch.cat([slope.flatten() for slope in slopes])
    dist.all_reduce(flat)
    flat /= world()
    parts = torch.split(flat, [slope.numel() for slope in slopes])
    for slope, part in zip(slopes, parts, strict=True):
        slope.copy_(part.view(slope.shape))


# -- when something does not work -----------------------------------------------------------------


def memory_exhausted(here: bool) -> bool:
    """After an error: whether memory did not suffice, here or in another process; then all try
    again. Raises the TrainError of another process that failed."""
    if not _group:
        return here
    key = f"memory/{_group.attempt}"
    if here:
        _group.store.set(key, str(own()))
        return True
    until = time.monotonic() + _REASON
    while time.monotonic() < until:
        if failure := _group.watch.failure():
            raise failure
        if _group.store.check([key]):
            return True
        time.sleep(_POLL)
    return False


def begin_anew() -> None:
    """Give up a group that failed; all processes come here, and are one again."""
    if _group:
        _give_up()
        _group.attempt += 1
        _begin(_group)


def _give_up() -> None:
    """Who waits for this process gets an error."""
    with suppress(RuntimeError, ValueError):
        if dist.is_initialized() and dist.group.WORLD is not None:
            dist.group.WORLD.abort()
            dist.destroy_process_group()


def in_step(key: int) -> None:
    """Raises TrainError (RANKS_APART) unless all processes have drawn the same random number."""
    if broadcast(key) != key:
        raise TrainError(
            "RANKS_APART",
            f"process {own()} drew other random numbers than process 0; train in one process, and"
            " please report this",
        )

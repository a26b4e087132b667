"""Devices: the one to compute on, its random state, and the threads that load photos for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bear_classifier.errors import ConfigError
from bear_classifier.learn import ranks
from bear_classifier.runtime.processors import processors
from bear_classifier.runtime.terminal import count

_MOST_THREADS = 16  # with more they wait for the interpreter's lock (decisions/058)
_BATCHES_AHEAD = 3


def pick_device(name: str) -> torch.device:
    """The device of this name; "auto" is CUDA, else Apple's MPS, else the CPU. Also limits torch's
    threads to the available cores. Raises ConfigError (NO_DEVICE)."""
    if torch.get_num_threads() > (most := processors()):
        torch.set_num_threads(most)
    have = available_devices()
    if ranks.world() > 1:
        return _device_of_rank(name, have)
    if name == "auto":
        return torch.device(have[0])
    if name not in have:
        there = ", ".join(have)
        raise ConfigError(
            "NO_DEVICE",
            f"learn.device = {name!r} is not on this computer; it has {there}; name one of these,"
            ' or "auto"',
        )
    return torch.device(name)


def _device_of_rank(name: str, have: Sequence[str]) -> torch.device:
    """Of several processes that train together each has a GPU; without GPUs all use the CPU."""
    number, processes = ranks.local()
    gpus = sum(device.startswith("cuda:") for device in have)
    if name == "cpu" or (name == "auto" and not gpus):
        return torch.device("cpu")
    if name not in ("auto", "cuda"):
        raise ConfigError(
            "NO_DEVICE",
            f"learn.device = {name!r} is one device, and {processes} processes train here; leave it"
            ' at "auto", and choose GPUs by --gpu_ids of accelerate launch',
        )
    if processes > gpus:
        raise ConfigError(
            "NO_DEVICE",
            f"{processes} processes are to train on this computer, which has {count(gpus, 'GPU')};"
            " start as many processes as GPUs",
        )
    return torch.device("cuda", number)


def available_devices() -> list[str]:
    """The names that `pick_device` takes here, the fastest first: "cuda" is the current GPU."""
    gpus = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    cuda = ["cuda", *(f"cuda:{number}" for number in gpus)] if gpus else []
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return [*cuda, *mps, "cpu"]


def random_state(device: torch.device) -> dict[str, Tensor]:
    """The random state of a GPU by its kind. Of a CPU there is none beside torch's own, and asking
    for another device's would start it and take its memory."""
    if device.type == "cuda":
        return {"cuda": torch.cuda.get_rng_state(device)}
    return {"mps": torch.mps.get_rng_state()} if device.type == "mps" else {}


def set_random_state(device: torch.device, states: dict[str, Tensor]) -> None:
    """Restore what `random_state` gave, unless it was of another kind of device."""
    state = states.get(device.type)
    if state is not None and device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    elif state is not None and device.type == "mps":
        torch.mps.set_rng_state(state)


@dataclass(frozen=True)
class LoadingWorkers:
    """threads: that make items at the same time, the calling one for 1. ahead: batches that are
    made while one is computed with, 0: none."""

    threads: int
    ahead: int


def loading_workers(device: torch.device) -> LoadingWorkers:
    """How batches for a network on this device are loaded.

    On a CPU the network takes all cores. Threads beside it would slow it by more than they save,
    so they make one batch at a time, together, while the network waits (decisions/058)."""
    cores = max(1, processors() // ranks.local()[1])
    if device.type == "cpu":
        return LoadingWorkers(cores, 0)
    return LoadingWorkers(min(cores, _MOST_THREADS), _BATCHES_AHEAD)

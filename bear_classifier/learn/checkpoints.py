"""Checkpoints: the state of a training at the end of an epoch, in memory and on disk."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fastai.learner import Learner
from safetensors.torch import load as from_safetensors
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn

from bear_classifier.errors import DataError
from bear_classifier.learn.devices import random_state, set_random_state
from bear_classifier.runtime.files import clear_partial, write_atomic

_KEPT = 2  # the newest, and the one before in case the newest is damaged
_AT_ONCE = _KEPT + 1  # on disk while a new one is written


@dataclass(frozen=True)
class State:
    """A training at the end of an epoch.

    facts, as JSON: history (a row for each whole epoch), kept_epoch (0: the start), lr (None: not
    yet chosen), lr_reason, finder (rates, losses and smoothed of the LR finder; None if it did not
    run), part (photos of a micro-batch, 0: whole batches), and what `capture` adds.
    tensors, on the CPU: "model.*", "best.*" (unless the model is the best so far), "adam.<number of
    the parameter>.*", "dice.*" (random states) and "valid.each" (losses of validation photos)."""

    facts: dict[str, Any]
    tensors: dict[str, Tensor]

    @property
    def epoch(self) -> int:
        """Number of whole epochs."""
        return len(self.facts["history"])

    def part(self, prefix: str) -> dict[str, Tensor]:
        """Tensors whose names have this prefix, by the rest of the name."""
        return {k[len(prefix) :]: t for k, t in self.tensors.items() if k.startswith(prefix)}

    def best(self) -> dict[str, Tensor]:
        """The weights of `kept_epoch`."""
        return self.part("best.") or self.part("model.")


def begin(model: nn.Module) -> State:
    """The state before the first epoch."""
    facts = {"history": [], "kept_epoch": 0, "lr": None, "lr_reason": "", "finder": None, "part": 0}
    return State(facts, _named("model.", model.state_dict()))


def capture(learn: Learner, facts: Mapping[str, Any], best: Mapping[str, Tensor] | None) -> State:
    """The learner's state. best: weights of the kept epoch; None if they are the model's own.

    The loader has a random state of its own, and fastai's optimizer keeps tensors and the number of
    steps for each parameter. The position in the schedule follows from the epoch."""
    tensors = _named("model.", learn.model.state_dict()) | _named("best.", best or {})
    steps = []
    for number, (_, _, state, _) in enumerate(learn.opt.all_params()):
        moments = {k: v for k, v in state.items() if isinstance(v, Tensor)}
        tensors |= _named(f"adam.{number}.", moments)
        steps.append(state.get("step", 0))
    added, dice = random_states(learn)
    added |= {"steps": steps, "scaler": _scaler(learn)}
    return State({**facts, **added}, tensors | dice)


def load_state(learn: Learner, state: State) -> None:
    """Restore model, optimizer and random state; the scaler in a fit only: `restore_scaler`."""
    learn.model.load_state_dict(state.part("model."))
    learn.model.zero_grad(set_to_none=True)  # half a batch may lie there
    learn.create_opt()
    if "steps" not in state.facts:
        return
    for number, (parameter, _, own, _) in enumerate(learn.opt.all_params()):
        for name, moment in state.part(f"adam.{number}.").items():
            # in the parameter's memory format: another order may round differently
            own[name] = torch.empty_like(parameter, requires_grad=False).copy_(moment)
            own["step"] = state.facts["steps"][number]
    load_random_state(learn, state.facts, state.tensors)


def random_states(learn: Learner) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """All random states that training draws from: facts, and tensors on the CPU, by the names that
    they have in a `State`."""
    name, keys, *rest = np.random.get_state(legacy=True)
    facts = {
        "python": random.getstate(),
        "loader": learn.dls.train.rng.getstate(),
        "numpy": [name, keys.tolist(), *rest],  # type: ignore[union-attr]
    }
    own = _named("dice.", random_state(learn.model.device))
    return facts, {"dice.torch": torch.get_rng_state(), **own}


def load_random_state(
    learn: Learner, facts: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> None:
    """Restore what `random_states` gave."""
    torch.set_rng_state(tensors["dice.torch"])
    set_random_state(learn.model.device, State({}, dict(tensors)).part("dice."))
    random.setstate(_tuple(facts["python"]))
    learn.dls.train.rng.setstate(_tuple(facts["loader"]))
    name, keys, *rest = facts["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))


def restore_scaler(learn: Learner, state: State) -> None:
    """Restore the loss scale of float16 on CUDA, unless training began or resumes without one."""
    scaler = getattr(learn, "scaler", None)
    if scaler and state.facts.get("scaler"):
        scaler.load_state_dict(state.facts["scaler"])


def _scaler(learn: Learner) -> dict[str, Any]:
    scaler = getattr(learn, "scaler", None)
    return scaler.state_dict() if scaler else {}


def _named(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}{k}": t.detach().to("cpu", copy=True) for k, t in state.items()}


def _tuple(value: Any) -> Any:
    """JSON has only lists; Python's random state needs tuples."""
    return tuple(_tuple(v) for v in value) if isinstance(value, list) else value


# -- on disk: epoch-03.<SHA-256 of the file>.safetensors; nothing in it is ever run ---------------


def write_checkpoint(folder: Path, made_from: str, state: State) -> None:
    """Keep a state, atomically, and the one before it. made_from: digest of what determines the
    training. Raises DataError (DISK_FULL, CANNOT_WRITE)."""
    facts = json.dumps({**state.facts, "made_from": made_from}).encode()
    tensors = {k: t.contiguous() for k, t in state.tensors.items()}
    tensors["facts"] = torch.frombuffer(bytearray(facts), dtype=torch.uint8)
    data = to_safetensors(tensors)
    sha256 = hashlib.sha256(data).hexdigest()
    write_atomic(folder / f"epoch-{state.epoch:02d}.{sha256}.safetensors", data)
    for path in _found(folder)[_KEPT:]:
        path.unlink()


def newest(folder: Path, made_from: str) -> tuple[State | None, list[str]]:
    """The last whole state of this very training, and notes on damaged ones. States of other
    settings or photos, and half-written files, are removed."""
    if not folder.is_dir():
        return None, []
    clear_partial(folder)
    damaged = []
    for path in _found(folder):
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != path.name.split(".")[1]:
            damaged.append(f"Checkpoint {_epoch(path)} is damaged")
            path.unlink()
            continue
        tensors = from_safetensors(data)
        facts = json.loads(tensors.pop("facts").numpy().tobytes())
        if facts.pop("made_from") == made_from:
            notes = [f"{words}; continuing from {_epoch(path)}" for words in damaged]
            return State(facts, tensors), notes
        clear(folder)
        return None, []
    return None, [f"{words}; beginning anew" for words in damaged]


def clear(folder: Path) -> None:
    """Remove all states."""
    shutil.rmtree(folder, ignore_errors=True)


def require_space(folder: Path, model: nn.Module) -> None:
    """Raises DataError (DISK_FULL) unless the disk has room for all that training will write."""
    # a state holds the weights, the best ones and two moments of each; the trained weights are
    # written when there is one state less than at most
    needed = _AT_ONCE * 4 * sum(t.nbytes for t in model.state_dict().values())
    there = next(p for p in (folder, *folder.parents) if p.is_dir())
    free = shutil.disk_usage(there).free + sum(p.stat().st_size for p in _found(folder))
    if free < needed:
        raise DataError(
            "DISK_FULL",
            f"training needs {needed / 1e6:.0f} MB, {free / 1e6:.0f} MB free in {folder.parent};"
            " free some and run again",
        )


def _found(folder: Path) -> list[Path]:
    """The newest first."""
    return sorted(folder.glob("epoch-*.safetensors"), key=_epoch, reverse=True)


def _epoch(path: Path) -> int:
    return int(path.name.split(".")[0].removeprefix("epoch-"))

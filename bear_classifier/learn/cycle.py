"""One cycle over all layers with fastai, which goes on where it was broken off."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastai.callback.schedule  # noqa: F401  # adds lr_find and fit_one_cycle to Learner
import torch
from fastai.callback.fp16 import MixedPrecision
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.losses import CrossEntropyLossFlat
from fastai.metrics import error_rate

from bear_classifier.errors import TrainError
from bear_classifier.learn import backbone, memory
from bear_classifier.learn.callbacks import Finite, Keeper, Progress
from bear_classifier.learn.checkpoints import State, begin, restore

_FIND_STEPS = 40  # of the LR finder, over 6 decades; fastai takes 100 over 8
_FALLBACK_LR = 1e-3  # fastai's own default


@dataclass(frozen=True)
class Plan:
    """epochs: in all, those before an interruption included. lr: of the head, or "find".

    spread: rate of the head / rate of the first layers. loss: of (logits, targets)."""

    epochs: int
    lr: float | str
    spread: float
    loss: Callable[..., Any] = CrossEntropyLossFlat()


def fit(
    dls: DataLoaders,
    model: backbone.Classifier,
    plan: Plan,
    state: State | None = None,
    keep: Callable[[State], None] = lambda state: None,
) -> tuple[State, list[str]]:
    """Train `model`, from `state` on if there is one; `keep` gets the state after every epoch.

    The model ends with the weights of the best epoch. Where memory does not suffice, it goes on
    from the last epoch with fewer photos at a time. Returns the last state, and what went wrong, if
    anything. Raises TrainError (NOTHING_TRAINED, OUT_OF_MEMORY)."""
    start = begin(model)
    device = next(model.parameters()).device
    keeper, guard = Keeper(state or start, keep), Finite()
    while not _finished(dls, model, plan, keeper, guard):
        facts = keeper.state.facts
        part = memory.halved(facts["part"] or dls.train.bs, device)
        keeper.state = dataclasses.replace(keeper.state, facts={**facts, "part": part})
    end = keeper.state
    model.load_state_dict(end.best())
    notes = memory.note(dls.train.bs, end.facts["part"], device)
    if guard.failed_in is not None:
        kept = f"The model of epoch {end.facts['kept_epoch']}" if end.epoch else "The probe"
        lower = f"{end.facts['lr'] / 10:.1g}"
        notes.append(
            f"Training diverged in epoch {guard.failed_in} (loss is not a number). {kept} was kept."
            f" Try a learning rate of {lower}: --set train.lr={lower}"
        )
    elif _nothing_moved(start, end, model):
        raise TrainError("NOTHING_TRAINED", "no weight changed; the learning rate is too low")
    return end, notes


def _finished(
    dls: DataLoaders, model: backbone.Classifier, plan: Plan, keeper: Keeper, guard: Finite
) -> bool:
    """Go on from the keeper's state; False if memory did not suffice.

    With a learner of its own, since a broken-off fit leaves one in disorder, and returning only
    after the error is gone, since its traceback holds the activations."""
    with tempfile.TemporaryDirectory() as scratch:  # the LR finder keeps the weights there
        learn = learner(dls, model, Path(scratch), plan.loss, keeper.state.facts["part"])
        try:
            _run(learn, plan, keeper, guard)
            return True
        except RuntimeError as exc:
            if not memory.exhausted(exc):
                raise
        finally:
            model.precision = None  # of training only
        memory.let_go(learn)
    return False


def _run(learn: Learner, plan: Plan, keeper: Keeper, guard: Finite) -> None:
    restore(learn, keeper.state)
    facts = keeper.state.facts
    if facts["lr"] is None:
        lr, reason = choose_lr(learn, plan.lr)
        facts = {**facts, "lr": lr, "lr_reason": reason}
        keeper.state = dataclasses.replace(keeper.state, facts=facts)
    lr, done = facts["lr"], keeper.state.epoch
    bar = Progress((plan.epochs - done) * len(learn.dls.train), "train")
    with bar.attached(learn), learn.no_logging():
        learn.fit_one_cycle(
            plan.epochs,
            slice(lr / plan.spread, lr),
            div=5.0,
            pct_start=0.3,
            cbs=[keeper, guard],
            start_epoch=done,
        )


def _nothing_moved(start: State, end: State, model: backbone.Classifier) -> bool:
    before, after = start.part("model."), end.part("model.")
    return all(torch.equal(before[name], after[name]) for name, _ in model.named_parameters())


def learner(
    dls: DataLoaders,
    model: backbone.Classifier,
    scratch: Path,
    loss: Callable[..., Any],
    part: int = 0,
) -> Learner:
    """A fastai Learner with mixed precision: fp16 on CUDA, bfloat16 on a processor that has it.

    part: photos at a time, 0: whole batches."""
    device = next(model.parameters()).device
    cbs: list[Any] = []
    if device.type == "cuda":
        cbs.append(MixedPrecision())
    elif device.type == "cpu" and has_bfloat16():
        model.to(memory_format=torch.channels_last)
        model.precision = torch.bfloat16
    if part:
        cbs.append(memory.Parts(part))
        dls.valid.bs = part
    learn = Learner(
        dls,
        model,
        loss_func=loss,
        splitter=backbone.groups,
        metrics=error_rate,
        path=scratch,
        cbs=cbs,
    )
    learn.remove_cbs([cb for cb in learn.cbs if cb.name == "progress"])  # ours takes its place
    return learn


def has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 in hardware (x86: AVX512-BF16 or AMX)."""
    has = torch.cpu.get_capabilities()
    return bool(has.get("avx512_bf16") or has.get("amx_bf16"))


def choose_lr(learn: Learner, lr: float | str) -> tuple[float, str]:
    """The rate of the settings, or the LR finder's valley, and why."""
    if isinstance(lr, float):
        return lr, "given in the settings"
    with Progress(_FIND_STEPS, "LR finder").attached(learn), learn.no_logging():
        try:
            found = float(learn.lr_find(1e-6, 1.0, _FIND_STEPS, show_plot=False).valley)
        except (ZeroDivisionError, IndexError, ValueError) as exc:
            return _FALLBACK_LR, f"the LR finder found nothing ({exc}); fastai's default"
    return found, "the LR finder's valley"

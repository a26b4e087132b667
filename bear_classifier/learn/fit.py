"""Fit a model with fastai in one-cycle phases, resumable after an interruption."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastai.callback.schedule  # noqa: F401  # adds fit_one_cycle to Learner
import torch
from fastai.callback.fp16 import MixedPrecision
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.losses import CrossEntropyLossFlat
from fastai.metrics import error_rate

from bear_classifier.errors import TrainError
from bear_classifier.learn import backbone, micro_batches
from bear_classifier.learn.callbacks import BestCheckpoint, StopOnNonFinite, TrainingBar, Weighted
from bear_classifier.learn.checkpoints import State, begin, load_state
from bear_classifier.learn.lr_finder import STEPS, find_lr
from bear_classifier.learn.mixed_precision import fast_precision, half_precision
from bear_classifier.runtime.malloc import pages_kept
from bear_classifier.runtime.terminal import progress_bar

_FALLBACK_LR = 1e-3  # fastai's own default


@dataclass(frozen=True)
class Plan:
    """epochs: in all, those before an interruption included. lr: of the head, or "find".

    spread: rate of the head / rate of the first layers. loss: of (logits, targets). frozen: of the
    epochs, so many at the beginning in which only the head and all BatchNorms learn. cycles: the
    other epochs are divided into. weights: (classes,) in the loss of training only; none: equal."""

    epochs: int
    lr: float | str
    spread: float
    loss: Callable[..., Any] = CrossEntropyLossFlat()
    frozen: int = 0
    cycles: int = 1
    weights: tuple[float, ...] = ()


@dataclass(frozen=True)
class Phase:
    """One run of fastai's fit_one_cycle. first: epochs before it; rates: of the first layers (None:
    a tenth of the head's, as fastai has it) and of the head; div: head's rate / what it begins at;
    rising: share of the steps in which the rate rises."""

    first: int
    epochs: int
    rates: slice
    div: float
    rising: float
    frozen: bool = False


def phases(plan: Plan, lr: float) -> list[Phase]:
    """What a training consists of; equal cycles as far as possible, the longer ones first.

    As fastai's `fine_tune`, which is head "new" with one frozen epoch: the frozen phase takes the
    whole rate and rises in 99 % of its steps; what follows a frozen phase takes half of it."""
    found = []
    frozen = min(plan.frozen, plan.epochs)
    if frozen:
        found.append(Phase(0, frozen, slice(lr), 25.0, 0.99, frozen=True))
        lr /= 2
    free = plan.epochs - frozen
    cycles = min(plan.cycles, free)
    first = frozen
    for number in range(cycles):
        epochs = free // cycles + (number < free % cycles)
        found.append(Phase(first, epochs, slice(lr / plan.spread, lr), 5.0, 0.3))
        first += epochs
    return found


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
    anything. A plan of 0 epochs only seeks the rate. Raises TrainError (NOTHING_TRAINED,
    OUT_OF_MEMORY)."""
    start = begin(model)
    device = next(model.parameters()).device
    keeper, guard = BestCheckpoint(state or start, keep), StopOnNonFinite()
    with pages_kept(), fast_precision(model):
        while not _finished(dls, model, plan, keeper, guard):
            facts = keeper.state.facts
            part = micro_batches.smaller_part(facts["part"] or dls.train.bs, device)
            keeper.state = dataclasses.replace(keeper.state, facts={**facts, "part": part})
    end = keeper.state
    model.load_state_dict(end.best())
    notes = micro_batches.note(dls.train.bs, end.facts["part"], device)
    if guard.stopped:
        kept = f"The model of epoch {end.facts['kept_epoch']}" if end.epoch else "The probe"
        lower = f"{end.facts['lr'] / 10:.1g}"
        notes.append(
            f"Training diverged in epoch {end.epoch + 1} (loss is not a number). {kept} was kept."
            f" Try a learning rate of {lower}: --set train.lr={lower}"
        )
    elif plan.epochs and _nothing_moved(start, end, model):
        raise TrainError("NOTHING_TRAINED", "no weight changed; the learning rate is too low")
    return end, notes


def _finished(
    dls: DataLoaders,
    model: backbone.Classifier,
    plan: Plan,
    keeper: BestCheckpoint,
    guard: StopOnNonFinite,
) -> bool:
    """Go on from the keeper's state; False if memory did not suffice.

    With a learner of its own, since a broken-off fit leaves one in disorder, and returning only
    after the error is gone, since its traceback holds the activations."""
    with tempfile.TemporaryDirectory() as scratch:  # the LR finder keeps the weights there
        learn = make_learner(dls, model, Path(scratch), plan, keeper.state.facts["part"])
        try:
            _run(learn, plan, keeper, guard)
            return True
        except RuntimeError as exc:
            if not micro_batches.exhausted(exc):
                raise
        finally:
            model.requires_grad_(True)
        micro_batches.let_go(learn)
    return False


def _run(learn: Learner, plan: Plan, keeper: BestCheckpoint, guard: StopOnNonFinite) -> None:
    load_state(learn, keeper.state)
    facts = keeper.state.facts
    if facts["lr"] is None:
        _freeze(learn, plan.frozen > 0)
        lr, reason, curve = choose_lr(learn, plan.lr)
        facts = {**facts, "lr": lr, "lr_reason": reason, "finder": curve}
        keeper.state = dataclasses.replace(keeper.state, facts=facts)
    begun = keeper.state.epoch
    bar = TrainingBar((plan.epochs - begun) * len(learn.dls.train), "train")
    with bar.attached(learn), learn.no_logging():
        for phase in phases(plan, facts["lr"]):
            done = begun - phase.first
            if guard.stopped or done >= phase.epochs:
                continue
            _freeze(learn, phase.frozen)
            if plan.frozen and done <= 0 and phase.first in (0, plan.frozen):
                learn.opt.clear_state()  # as fastai does whenever layers are frozen or freed
            bar.behind = phase.first
            learn.fit_one_cycle(
                phase.epochs,
                phase.rates,
                div=phase.div,
                pct_start=phase.rising,
                cbs=[keeper, guard],
                start_epoch=max(done, 0),
            )


def _freeze(learn: Learner, frozen: bool) -> None:
    """All but the head, or nothing. fastai's default lets frozen BatchNorms go on learning."""
    learn.opt.freeze_to(-1 if frozen else 0)


def _nothing_moved(start: State, end: State, model: backbone.Classifier) -> bool:
    before, after = start.part("model."), end.part("model.")
    return all(torch.equal(before[name], after[name]) for name, _ in model.named_parameters())


def make_learner(
    dls: DataLoaders, model: backbone.Classifier, scratch: Path, plan: Plan, part: int = 0
) -> Learner:
    """A fastai Learner; in float16, which needs its losses scaled. Of bfloat16 see
    `precision.training`.

    Of the plan it takes the loss and its weights. part: photos at a time, 0: whole batches."""
    device = next(model.parameters()).device
    cbs: list[Any] = []
    if half_precision(device) == torch.float16:
        cbs.append(MixedPrecision())
    if plan.weights:
        weight = torch.tensor(plan.weights, device=device)
        cbs.append(Weighted(CrossEntropyLossFlat(weight=weight)))
    if part:
        cbs.append(micro_batches.Parts(part))
        dls.valid.bs = part
    learn = Learner(
        dls,
        model,
        loss_func=plan.loss,
        splitter=backbone.groups,
        metrics=error_rate,
        path=scratch,
        cbs=cbs,
    )
    learn.remove_cbs([cb for cb in learn.cbs if cb.name == "progress"])  # ours takes its place
    return learn


def choose_lr(learn: Learner, lr: float | str) -> tuple[float, str, dict[str, list[float]] | None]:
    """The rate of the settings or the LR finder's valley; why; and its curve if it ran."""
    if isinstance(lr, float):
        return lr, "given in the settings", None
    with progress_bar(total=STEPS, desc="LR finder", unit="step", leave=None) as bar:
        curve = find_lr(learn, bar)
    found = curve.suggestions()["valley"]
    if found is None:
        why = f"the LR finder found nothing (its loss exploded after {len(curve.rates)} steps)"
        return _FALLBACK_LR, f"{why}; fastai's default", curve.plain()
    if not curve.falls():
        why = "the loss never falls by more than its noise, so the LR finder suggests nothing"
        return _FALLBACK_LR, f"{why}; fastai's default", curve.plain()
    return found, "the LR finder's valley", curve.plain()

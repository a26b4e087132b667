"""The training plan of the settings, and training by it: resumable one-cycle phases of fastai."""

from __future__ import annotations

import dataclasses
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext
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

from bear_classifier.config.settings import Config, TrainConfig, stored_settings
from bear_classifier.errors import TrainError
from bear_classifier.learn import micro_batches, ranks
from bear_classifier.learn.backbone import Classifier, groups
from bear_classifier.learn.callbacks import BestCheckpoint, StopOnNonFinite, TrainingBar, Weighted
from bear_classifier.learn.checkpoints import (
    State,
    begin,
    load_random_state,
    load_state,
    random_states,
)
from bear_classifier.learn.lr_finder import STEPS, find_lr
from bear_classifier.learn.mixed_precision import fast_precision, half_precision
from bear_classifier.learn.rank_callbacks import AsOneProcess
from bear_classifier.learn.synced_batchnorm import SyncedBatchNorm
from bear_classifier.runtime.malloc import pages_kept
from bear_classifier.runtime.terminal import progress_bar

_FALLBACK_LR = 1e-3  # fastai's own default
_LR_RATIO = 2.0  # with pretrained weights; a larger one kept the body from learning (docs/LOG.md)
_NO_EFFECT = ("resume", "rehearse")  # as `stored_settings` names them
_UNBALANCED = 10  # times as many photos in the largest class as in the smallest: worth a note


@dataclass(frozen=True)
class Plan:
    """epochs: in all, those before an interruption included. lr: of the head, or "find".

    lr_ratio: rate of the head / rate of the first layers. loss: of (logits, targets). frozen: how
    many of the epochs, the first, train only the head and all BatchNorms. cycles: how many the
    other epochs are divided into. weights: (classes,) in the loss of training only; none: equal."""

    epochs: int
    lr: float | str
    lr_ratio: float
    loss: Callable[..., Any] = CrossEntropyLossFlat()
    frozen: int = 0
    cycles: int = 1
    weights: tuple[float, ...] = ()


def plan_of(config: Config, labels: Sequence[str]) -> Plan:
    """The plan of the settings. labels: of the training photos, for the weights of classes."""
    settings = config.train
    weights = class_weights(labels, config.labels) if settings.balance == "weighted-loss" else ()
    ratio, frozen, cycles = lr_ratio_of(config), settings.frozen, settings.cycles
    return Plan(settings.epochs, settings.lr, ratio, frozen=frozen, cycles=cycles, weights=weights)


def class_weights(labels: Sequence[str], vocab: Sequence[str]) -> tuple[float, ...]:
    """n / (k * n of the class) for each of the k classes of `vocab`: scikit-learn's "balanced",
    with which all classes count alike and a photo counts 1 on average. A class without photos
    counts as if it had one."""
    counts = Counter(labels)
    return tuple(len(labels) / (len(vocab) * max(counts[label], 1)) for label in vocab)


def unbalanced(labels: Sequence[str], settings: TrainConfig) -> list[str]:
    """A note if the classes of the training photos are unequal and nothing is done about it."""
    ranked = Counter(labels).most_common()
    (large, most), (small, least) = ranked[0], ranked[-1]
    if settings.balance != "none" or most < _UNBALANCED * least:
        return []
    return [
        f'{most} training photos of "{large}" and {least} of "{small}": the large class may drown'
        " the small one; to see which remedy helps, run: bears compare balance"
    ]


def lasting(settings: TrainConfig) -> dict[str, Any]:
    """The settings that the trained weights depend on."""
    return {k: value for k, value in stored_settings(settings).items() if k not in _NO_EFFECT}


def lr_ratio_of(config: Config) -> float:
    """Rate of the head / rate of the first layers."""
    return config.train.lr_ratio or (1.0 if config.learn.weights == "none" else _LR_RATIO)


def adjusted_settings(settings: TrainConfig, n: int) -> tuple[TrainConfig, list[str]]:
    """Settings whose batch fits the data, and a note if it was changed. n: training photos."""
    size, notes = min(n, settings.batch_size), list[str]()
    if size < settings.batch_size:
        notes.append(f"{n} training photos: batch size lowered to {n}")
    many = ranks.world()
    if size < many:
        raise TrainError(
            "NO_BATCH",
            f"{many} processes cannot divide a batch of {size}; start fewer, or raise"
            " train.batch_size",
        )
    if rest := size % many:
        size -= rest
        notes.append(
            f"Batch size lowered to {size}: {size // many} photos for each of {many} processes"
        )
    return dataclasses.replace(settings, batch_size=size), notes


@dataclass(frozen=True)
class Phase:
    """One call of fastai's fit_one_cycle. first: epochs before it; rates: of the first layers (if
    None, fastai's tenth of the head's) and of the head; div: peak / initial rate; rising: share of
    the steps in which the rate rises."""

    first: int
    epochs: int
    rates: slice
    div: float
    rising: float
    frozen: bool = False


def phases(plan: Plan, lr: float) -> list[Phase]:
    """The phases of a training: frozen first, then cycles as equal as possible, the longer first.

    As in fastai's `fine_tune` (head "new", one frozen epoch) the frozen phase has the whole rate
    and rises in 99 % of its steps, and later phases have half of it."""
    made = []
    first = frozen = min(plan.frozen, plan.epochs)
    if frozen:
        made.append(Phase(0, frozen, slice(lr), 25.0, 0.99, frozen=True))
        lr /= 2
    free = plan.epochs - frozen
    cycles = min(plan.cycles, free)
    for number in range(cycles):
        epochs = free // cycles + (number < free % cycles)
        made.append(Phase(first, epochs, slice(lr / plan.lr_ratio, lr), 5.0, 0.3))
        first += epochs
    return made


def fit(
    dls: DataLoaders,
    model: Classifier,
    plan: Plan,
    state: State | None = None,
    keep: Callable[[State], None] = lambda state: None,
) -> tuple[State, list[str]]:
    """Train `model`, from `state` on if there is one; `keep` gets the state after every epoch.

    The model ends with the weights of the best epoch. Out of memory, training goes on from the last
    epoch with smaller micro-batches. A plan of 0 epochs only chooses the rate. Returns the last
    state, and notes on what went wrong. Raises TrainError (NOTHING_TRAINED, OUT_OF_MEMORY)."""
    start = begin(model)
    keeper, guard = BestCheckpoint(state or start, keep), StopOnNonFinite()
    attempts(dls, model, plan, keeper, guard)
    end = keeper.state
    before, after = start.part("model."), end.part("model.")
    model.load_state_dict(end.best())
    notes = micro_batches.note(dls.train.bs, end.facts["part"], model.device)
    if guard.stopped:
        kept = f"The model of epoch {end.facts['kept_epoch']}" if end.epoch else "The probe"
        lower = f"{end.facts['lr'] / 10:.1g}"
        notes.append(
            f"Training diverged in epoch {end.epoch + 1} (loss is not a number). {kept} was kept."
            f" Try a learning rate of {lower}: --set train.lr={lower}"
        )
    elif plan.epochs and all(torch.equal(before[n], after[n]) for n, _ in model.named_parameters()):
        raise TrainError("NOTHING_TRAINED", "no weight changed; the learning rate is too low")
    return end, notes


def attempts(
    dls: DataLoaders, model: Classifier, plan: Plan, keeper: BestCheckpoint, guard: StopOnNonFinite
) -> None:
    """What all processes of a training do: go on from rank 0's state until the plan is carried out,
    with smaller micro-batches wherever memory did not suffice."""
    for loader in dls.loaders if ranks.world() > 1 else ():
        loader.divide(ranks.own(), ranks.world())
    synced = SyncedBatchNorm() if ranks.world() > 1 else nullcontext()
    with pages_kept(), fast_precision(model), synced:
        while not _finished(dls, model, plan, keeper, guard):
            ranks.begin_anew()
            facts = keeper.state.facts
            tried = min(facts["part"] or dls.train.bs, dls.train.bs)
            part = micro_batches.smaller_part(tried, model.device)
            keeper.state = dataclasses.replace(keeper.state, facts={**facts, "part": part})


def _finished(
    dls: DataLoaders, model: Classifier, plan: Plan, keeper: BestCheckpoint, guard: StopOnNonFinite
) -> bool:
    """Go on from the keeper's state; False if memory did not suffice.

    Each attempt has a learner of its own, since an aborted fit leaves one in disorder. The return
    comes after the `except`, since the error's traceback holds the activations."""
    with tempfile.TemporaryDirectory() as scratch:  # the LR finder keeps the weights there
        state = keeper.state
        keeper.state = State(ranks.broadcast(state.facts), ranks.broadcast_tensors(state.tensors))
        learn = make_learner(dls, model, Path(scratch), plan, keeper.state.facts["part"])
        try:
            _run(learn, plan, keeper, guard)
            return True
        except RuntimeError as exc:
            if not ranks.memory_exhausted(micro_batches.exhausted(exc)):
                raise
        finally:
            model.requires_grad_(True)
        micro_batches.let_go(learn)
    return False


def _run(learn: Learner, plan: Plan, keeper: BestCheckpoint, guard: StopOnNonFinite) -> None:
    load_state(learn, keeper.state)
    if ranks.world() > 1:
        facts, tensors = random_states(learn)
        load_random_state(learn, ranks.broadcast(facts), ranks.broadcast_tensors(tensors))
    facts = keeper.state.facts
    if facts["lr"] is None:
        learn.opt.freeze_to(-1 if plan.frozen else 0)
        lr, reason, curve = ranks.broadcast(choose_lr(learn, plan.lr))
        facts = {**facts, "lr": lr, "lr_reason": reason, "finder": curve}
        keeper.state = dataclasses.replace(keeper.state, facts=facts)
    begun = keeper.state.epoch
    progress = TrainingBar((plan.epochs - begun) * len(learn.dls.train))
    with progress.bar, learn.added_cbs(progress), learn.no_logging():
        for phase in phases(plan, facts["lr"]):
            done = begun - phase.first
            if guard.stopped or done >= phase.epochs:
                continue
            # by fastai's default frozen BatchNorms go on learning
            learn.opt.freeze_to(-1 if phase.frozen else 0)
            if plan.frozen and done <= 0 and phase.first in (0, plan.frozen):
                learn.opt.clear_state()  # as fastai does whenever layers are frozen or freed
            progress.behind = phase.first
            cycle = {"div": phase.div, "pct_start": phase.rising, "start_epoch": max(done, 0)}
            learn.fit_one_cycle(phase.epochs, phase.rates, **cycle, cbs=[keeper, guard])


def make_learner(
    dls: DataLoaders, model: Classifier, scratch: Path, plan: Plan, part: int = 0
) -> Learner:
    """A fastai Learner with the plan's loss and class weights, and scaled losses in float16.

    part: photos of a micro-batch, 0: whole batches."""
    cbs: list[Any] = []
    if half_precision(model.device) == torch.float16:
        cbs.append(MixedPrecision())
    if plan.weights:
        loss = CrossEntropyLossFlat(weight=torch.tensor(plan.weights, device=model.device))
        cbs.append(Weighted(loss))
    if part or ranks.world() > 1:
        cbs.append(micro_batches.Parts(part or dls.train.bs))
    if part:
        dls.valid.bs = part
    if ranks.world() > 1:
        cbs.append(AsOneProcess())
    learn = Learner(
        dls, model, plan.loss, splitter=groups, metrics=error_rate, path=scratch, cbs=cbs
    )
    learn.remove_cbs([cb for cb in learn.cbs if cb.name == "progress"])  # ours takes its place
    return learn


def choose_lr(learn: Learner, lr: float | str) -> tuple[float, str, dict[str, list[float]] | None]:
    """The rate of the settings or the LR finder's valley; the reason; the curve if it ran."""
    if isinstance(lr, float):
        return lr, "given in the settings", None
    with progress_bar(total=STEPS, desc="LR finder", unit="step", leave=None) as bar:
        curve = find_lr(learn, bar)
    valley = curve.suggestions()["valley"]
    if valley is None:
        why = f"the LR finder found nothing (its loss exploded after {len(curve.rates)} steps)"
    elif not curve.falls():
        why = "the loss never falls by more than its noise, so the LR finder suggests nothing"
    else:
        return valley, "the LR finder's valley", curve.plain()
    return _FALLBACK_LR, f"{why}; fastai's default", curve.plain()

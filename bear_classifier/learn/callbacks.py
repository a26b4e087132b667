"""Callbacks of a fastai fit: progress bar, stop on NaN or infinite loss, best checkpoint."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from fastai.callback.core import Callback, CancelFitException
from fastai.losses import CrossEntropyLossFlat
from torch.nn.functional import cross_entropy

from bear_classifier.learn import ranks
from bear_classifier.learn.checkpoints import State, capture, restore_scaler
from bear_classifier.learn.diagnose import kept_epoch
from bear_classifier.runtime.terminal import progress_bar


class TrainingBar(Callback):  # type: ignore[misc]
    """A bar over training steps with the smoothed loss. behind: epochs of earlier phases, which
    fastai does not count."""

    order, run_valid = 70, False  # after the Recorder, which smooths the loss
    behind = 0

    def __init__(self, steps: int) -> None:
        self.bar = progress_bar(total=steps, desc="train", unit="step", leave=None)

    def after_batch(self) -> None:
        self.bar.update(1)
        epoch = self.behind + self.epoch + 1
        self.bar.set_postfix(epoch=epoch, loss=f"{float(self.learn.smooth_loss):.3f}")


class StopOnNonFinite(Callback):  # type: ignore[misc]
    """Stop the fit, and discard the epoch, when a loss, a weight or a metric is NaN or infinite."""

    order = 62  # after MixedPrecision left the batch and `Parts` summed its loss; before any step

    def __init__(self) -> None:
        self.stopped = False

    def after_loss(self) -> None:
        if self.training and not bool(torch.isfinite(self.learn.loss)):
            self._stop()

    def after_epoch(self) -> None:
        state = self.learn.model.state_dict()
        weights = (bool(torch.isfinite(t).all()) for t in state.values() if t.is_floating_point())
        if not all(map(math.isfinite, self.learn.final_record)) or not all(weights):
            self._stop()

    def _stop(self) -> None:
        self.stopped = True
        raise CancelFitException()


class BestCheckpoint(Callback):  # type: ignore[misc]
    """After every whole epoch, its row of the history, and the state of the training for `keep`.

    state: of the last whole epoch. A row's train_loss is the mean over the epoch's photos (fastai's
    is smoothed over all epochs so far); train_error: its standard error, from photo to photo;
    valid_error: that of the change of the validation loss since the epoch before, photo by photo,
    so the first row has none."""

    order = 95  # after the Recorder (50) and the guard

    def __init__(self, state: State, keep: Callable[[State], None]) -> None:
        self.state, self._keep = state, keep
        self.losses: list[torch.Tensor] = []
        self.each: dict[bool, list[torch.Tensor]] = {True: [], False: []}  # by `training`
        self.before = state.tensors.get("valid.each", torch.empty(0))  # of the epoch before

    def before_fit(self) -> None:
        restore_scaler(self.learn, self.state)

    def before_train(self) -> None:
        self.losses, self.each = [], {True: [], False: []}

    def after_batch(self) -> None:
        if self.training:
            self.losses.append(self.learn.loss.detach())
        if isinstance(self.learn.loss_func, CrossEntropyLossFlat):
            both = (self.learn.pred, self.learn.yb[0])  # of `Parts` the last alone, a sample
            logits, targets = (tensor.detach().as_subclass(torch.Tensor) for tensor in both)
            losses = cross_entropy(logits.float(), targets, reduction="none")
            self.each[bool(self.training)].append(losses)

    def after_epoch(self) -> None:
        if not self.losses:
            return  # done before training was resumed: fastai only counts it
        learned, valid = (
            ranks.gathered(torch.cat([torch.empty(0), *(t.cpu() for t in self.each[training])]))
            for training in (True, False)
        )
        valid_loss, error = map(float, self.learn.final_record[-2:])
        row = {
            "epoch": self.state.epoch + 1,
            "train_loss": float(torch.stack(self.losses).mean()),
            "valid_loss": valid_loss,
            "error": error,
        }
        row |= _error("train_error", learned)
        if len(valid) == len(self.before):
            row |= _error("valid_error", valid - self.before)
        self.before = valid
        facts = self.state.facts
        history = ranks.broadcast([*facts["history"], row])
        kept = ranks.broadcast(kept_epoch(history))
        ranks.in_step(self.learn.dls.train.key)
        self.losses = []
        if ranks.own():  # rank 0 has the state, and tells it where training begins anew
            agreed = {**facts, "history": history, "kept_epoch": kept}
            self.state = State(agreed, self.state.tensors)
            return
        best = None if kept == row["epoch"] else self.state.best()
        self.state = capture(self.learn, {**facts, "history": history, "kept_epoch": kept}, best)
        self.state.tensors["valid.each"] = valid
        self._keep(self.state)


def _error(name: str, values: torch.Tensor) -> dict[str, float]:
    """Standard error of the mean of values (n,), by name; nothing where it is unknown."""
    error = float(values.double().std() / len(values) ** 0.5) if len(values) > 1 else math.nan
    return {name: error} if math.isfinite(error) else {}


class Weighted(Callback):  # type: ignore[misc]
    """A loss for training alone; validation keeps the learner's own, to stay comparable."""

    order = -5  # before whatever looks at a loss

    def __init__(self, loss: Callable[..., Any]) -> None:
        self.of_training = loss

    def before_fit(self) -> None:
        self.plain = self.learn.loss_func

    def before_train(self) -> None:
        self.learn.loss_func = self.of_training

    def after_train(self) -> None:
        self.learn.loss_func = self.plain

    after_fit = after_train  # a fit that is stopped within an epoch leaves no trace either

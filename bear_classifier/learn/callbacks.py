"""What watches a fastai fit: a progress bar, and a guard against numbers that are none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from fastai.callback.core import Callback, CancelFitException
from fastai.learner import Learner
from torch import Tensor
from tqdm import tqdm


class Progress(Callback):  # type: ignore[misc]
    """A bar over training steps with the smoothed loss, and a line for each epoch."""

    order, run_valid = 70, False  # after the Recorder, which smooths the loss

    def __init__(self, steps: int, words: str) -> None:
        self.bar = tqdm(total=steps, desc=words, unit="step", disable=None)

    @contextmanager
    def attached(self, learn: Learner) -> Iterator[None]:
        with self.bar, learn.added_cbs(self):
            yield

    def after_batch(self) -> None:
        self.bar.update(1)
        self.bar.set_postfix(epoch=self.epoch + 1, loss=f"{float(self.learn.smooth_loss):.3f}")


class Finite(Callback):  # type: ignore[misc]
    """Stop at the first loss that is not a number, and go back to the last good epoch.

    good: epochs whose weights are safe; failed_in: the epoch that was given up, counted from 1."""

    order = -10  # before the step that would spoil the weights

    def __init__(self) -> None:
        self.good = 0
        self.failed_in: int | None = None

    def before_fit(self) -> None:
        self.kept = _copy(self.learn.model.state_dict())

    def after_loss(self) -> None:
        if self.training and not bool(torch.isfinite(self.learn.loss_grad)):
            self._restore()

    def after_epoch(self) -> None:
        state = self.learn.model.state_dict()
        if all(bool(torch.isfinite(t).all()) for t in state.values() if t.is_floating_point()):
            self.kept, self.good = _copy(state), self.epoch + 1
        else:
            self._restore()

    def _restore(self) -> None:
        self.failed_in = self.epoch + 1
        self.learn.model.load_state_dict(self.kept)
        raise CancelFitException()


def _copy(state: dict[str, Any]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in state.items()}

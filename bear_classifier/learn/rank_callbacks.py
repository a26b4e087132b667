"""What a fastai fit needs to train in several processes as one process would with the whole
batches: the loss and the gradients of all, the same random numbers, one validation."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import torch
from fastai.callback.core import Callback
from fastai.vision.augment import RandTransform
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from bear_classifier.learn import ranks
from bear_classifier.learn.devices import random_state, set_random_state


class AsOneProcess(Callback):  # type: ignore[misc]
    """Each process learns from its part of every batch. The loss that is looked at is that of the
    whole batch, and so is the gradient of each step; validation is divided, and counted together.

    `Parts` has scaled the loss, so that the mean over the processes is the loss of the batch."""

    order = 61.5  # after `Parts` (61) summed the loss, before the guard (62) looks at it

    def before_fit(self) -> None:
        self.draws = BatchDraws(self.learn.dls, ranks.own(), ranks.world())
        self.sums = torch.zeros(3, dtype=torch.float64)  # of loss, wrong ones and photos

    def after_loss(self) -> None:
        if self.training:
            self.learn.loss = ranks.mean(self.learn.loss)
        else:
            wrong = (self.learn.pred.argmax(1) != self.learn.yb[0]).sum()
            n = len(self.learn.yb[0])
            self.sums += torch.tensor([float(self.learn.loss) * n, float(wrong), n]).double()

    def after_backward(self) -> None:
        ranks.average_gradients(list(self.learn.model.parameters()))

    def before_validate(self) -> None:
        self.sums.zero_()
        self.draws.pass_over()
        device = self.learn.model.device
        self.random = torch.get_rng_state(), random_state(device), random.getstate()

    def after_validate(self) -> None:
        """Parts of validation differ in size, and so in the random numbers that they draw."""
        torch.set_rng_state(self.random[0])
        set_random_state(self.learn.model.device, self.random[1])
        random.setstate(self.random[2])

    def after_epoch(self) -> None:
        loss, wrong, n = ranks.mean(self.sums).tolist()
        if n:  # else it was done before training was resumed, or never validated
            self.learn.final_record[-2:] = [loss / n, wrong / n]


class BatchDraws:
    """fastai's random transforms of batches draw numbers for each photo of a batch. Here each
    process draws those of the whole batch, as one process would, and uses its own."""

    def __init__(self, dls: Any, rank: int, world: int) -> None:
        self._dls = dls
        self._transforms = [t for t in dls.train.after_batch.fs if isinstance(t, RandTransform)]
        for transform in self._transforms:
            transform.before_call = self._of_part(transform, rank, world)

    def pass_over(self) -> None:
        """Draw what validation in one process would, which uses none of it."""
        iter(DataLoader(TensorDataset(torch.zeros(1))))  # torch draws a seed for each pass
        n, whole = self._dls.valid.n, self._dls.valid.bs
        one = torch.zeros(1, 3, 1, 1, device=self._dls.device)
        for first in range(0, n, whole):
            blank = one.expand(min(whole, n - first), 3, 1, 1)
            for transform in self._transforms:
                type(transform).before_call(transform, blank, split_idx=1)

    @staticmethod
    def _of_part(transform: Any, rank: int, world: int) -> Any:
        def before_call(batch: Any, split_idx: int | None = None) -> None:
            x = batch
            while isinstance(x, tuple):
                x = x[0]
            draw, n = type(transform).before_call, len(x)
            if split_idx:
                draw(transform, x, split_idx=split_idx)
                return
            draw(transform, x[:1].expand(n * world, *x.shape[1:]), split_idx=split_idx)
            for part in _parts(transform):
                for name, value in list(vars(part).items()):
                    if isinstance(value, Tensor) and value.ndim and len(value) == n * world:
                        setattr(part, name, value[rank * n : (rank + 1) * n])

        return before_call


def _parts(transform: Any) -> Iterator[Any]:
    """A transform, and those that fastai has put into it, whose numbers are kept in each."""
    yield transform
    for name in ("aff_fs", "coord_fs", "fs"):
        yield from (part for part in getattr(transform, name, ()) if hasattr(part, "__dict__"))

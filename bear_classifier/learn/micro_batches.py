"""Gradient accumulation for batches that do not fit into memory."""

from __future__ import annotations

import gc
import math

import torch
from fastai.callback.core import Callback
from fastai.learner import Learner
from torch import nn

from bear_classifier.errors import TrainError
from bear_classifier.learn import ranks

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
_MESSAGES = (  # by CUDA, Apple's MPS, cuBLAS, cuDNN (which then finds no plan) and the processor's
    "out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_NOT_SUPPORTED",
    "can't allocate memory",
    "not enough memory",
)


class Parts(Callback):  # type: ignore[misc]
    """Learn from each batch in parts of at most `size` photos, with one step for all of them.

    fastai's GradientAccumulation accumulates small batches of the loader, which moves its steps in
    the schedule, and an epoch may end between them. Here batches, schedule and random state stay as
    they are; only BatchNorm sees parts, and skips a part of one photo, which has no variance."""

    order = 61  # after MixedPrecision began a batch and the schedule set its rate
    run_valid = False

    def __init__(self, size: int) -> None:
        self.size = size

    def before_batch(self) -> None:
        (x,), (y,) = self.xb, self.yb
        *parts, (last_x, last_y) = zip(x.split(self.size), y.split(self.size), strict=True)
        self.earlier = torch.zeros((), device=x.device)
        whole = self._whole(y)
        for part_x, part_y in parts:
            _only_norm_many(self.learn.model, len(part_y) * ranks.world())
            loss = self.learn.loss_func(self.learn.model(part_x).float(), part_y)
            loss = loss * (self._mass(part_y) / whole)
            self.earlier += loss.detach()
            if not bool(torch.isfinite(ranks.mean(self.earlier))):
                break  # `StopOnNonFinite` sees it in the sum
            scaler = getattr(self.learn, "scaler", None)  # of MixedPrecision, within a fit
            (scaler.scale(loss) if scaler else loss).backward()
        self.share = self._mass(last_y) / whole
        _only_norm_many(self.learn.model, len(last_y) * ranks.world())
        self.learn.xb, self.learn.yb = (last_x,), (last_y,)

    def _whole(self, y: torch.Tensor) -> float:
        """The mass of the batch. Of several processes each has as many photos of it, and the mean
        of their masses makes the mean of their losses that of the whole batch."""
        mass = self._mass(y)
        return mass if isinstance(mass, int) else float(ranks.mean(torch.tensor(mass)))

    def _mass(self, y: torch.Tensor) -> float:
        """What torch divides the loss of photos of these classes by: the sum of their weights."""
        weight = getattr(getattr(self.learn.loss_func, "func", None), "weight", None)
        return len(y) if weight is None else float(weight[y].sum())

    def after_loss(self) -> None:
        """The loss of the whole batch; earlier parts were backpropagated already."""
        self.learn.loss_grad = self.loss_grad * self.share + self.earlier
        self.learn.loss = self.learn.loss_grad.clone()


def _only_norm_many(model: nn.Module, n: int) -> None:
    for module in model.modules():
        if isinstance(module, _NORMS):
            module.train(n > 1)


def exhausted(exc: RuntimeError) -> bool:
    """Whether memory did not suffice."""
    return isinstance(exc, torch.OutOfMemoryError) or any(words in str(exc) for words in _MESSAGES)


def smaller_part(part: int, device: torch.device) -> int:
    """Photos at a time after `part` of them did not fit. Raises TrainError (OUT_OF_MEMORY)."""
    if part == 1:
        way = "close other programs" if device.type == "cpu" else "use --device cpu"
        raise TrainError(
            "OUT_OF_MEMORY", f"even one picture does not fit; {way} or --set learn.size=128"
        )
    return part // 2


def note(batch: int, part: int, device: torch.device) -> list[str]:
    """A note on micro-batches. part: their photos, 0: whole batches."""
    kind = "memory" if device.type == "cpu" else "GPU memory"
    times = math.ceil(batch / part) if part else 0
    return [f"Not enough {kind} for {batch}; using {part} x {times}"] if part else []


def let_go(learn: Learner) -> None:
    """Free what an aborted fit holds, and leave the mixed precision that it entered."""
    mixed = getattr(learn, "mixed_precision", None)
    if mixed is not None and torch.is_autocast_enabled("cuda"):
        mixed.autocast.__exit__(None, None, None)
    learn.model.zero_grad(set_to_none=True)
    learn.opt = None
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()

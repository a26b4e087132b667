"""BatchNorm over the batches of all processes of a training, so that its result is that of one
process with the whole batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


class SyncedBatchNorm(TorchFunctionMode):
    """Within, in this thread, every `batch_norm` that trains takes mean and variance over the
    photos of all processes, whichever module calls it: torch's own, or timm's with an activation,
    which `nn.SyncBatchNorm.convert_sync_batchnorm` would lose.

    On CUDA torch's SyncBatchNorm computes it; that takes no other device."""

    def __init__(self) -> None:
        super().__init__()
        self._modules: dict[int, nn.SyncBatchNorm] = {}  # by the identity of the running mean

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        options = dict(kwargs or {})
        if func is not F.batch_norm:
            return func(*args, **options)
        given = dict(zip(_NAMES, args, strict=False)) | options
        if not given.get("training") or dist.get_world_size() == 1:
            return func(*args, **options)
        return self._synced(**given)

    def _synced(
        self,
        input: Tensor,
        running_mean: Tensor,
        running_var: Tensor,
        weight: Tensor,
        bias: Tensor,
        training: bool,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        x = input.as_subclass(Tensor)
        if x.device.type != "cuda":
            normed: Tensor = _OverProcesses.apply(
                x, weight, bias, running_mean, running_var, momentum, eps
            )
            return normed
        module = self._modules.get(id(running_mean))
        if module is None:
            module = nn.SyncBatchNorm(len(weight), eps, momentum, device=x.device)
            module.weight, module.bias = weight, bias  # type: ignore[assignment]
            module.running_mean, module.running_var = running_mean, running_var
            self._modules[id(running_mean)] = module
        made: Tensor = module(x)
        return made


_NAMES = (  # of torch.nn.functional.batch_norm
    "input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps",
)  # fmt: skip


class _OverProcesses(torch.autograd.Function):
    """Batch normalisation (Ioffe and Szegedy, arXiv 1502.03167) over the photos of all processes,
    in single precision. x: (n, c, ...)."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        running_mean: Tensor,
        running_var: Tensor,
        momentum: float,
        eps: float,
    ) -> Tensor:
        single = x if x.dtype == torch.float64 else x.float()
        axes = [axis for axis in range(x.ndim) if axis != 1]
        here = x.numel() / x.shape[1]
        sums = torch.cat([single.sum(axes), single.new_tensor([here])])
        dist.all_reduce(sums)
        n = sums[-1]
        mean = sums[:-1] / n
        away = single - _wide(mean, x)
        squares = away.square().sum(axes)
        dist.all_reduce(squares)
        var = squares / n
        scale = torch.rsqrt(var + eps)
        with torch.no_grad():  # the unbiased variance, as torch keeps it
            running_mean.lerp_(mean, momentum)
            running_var.lerp_(squares / (n - 1), momentum)
        normed = away * _wide(scale, x)
        ctx.save_for_backward(normed, weight, scale, n)
        return (normed * _wide(weight, x) + _wide(bias, x)).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        normed, weight, scale, n = ctx.saved_tensors
        slope = slopes[0].to(normed.dtype)
        axes = [axis for axis in range(slope.ndim) if axis != 1]
        of_bias, of_weight = slope.sum(axes), (slope * normed).sum(axes)
        sums = torch.stack([of_bias, of_weight])  # of x: from the losses of all processes
        dist.all_reduce(sums)
        means = sums / n
        left = slope - _wide(means[0], slope) - normed * _wide(means[1], slope)
        of_x = left * _wide(weight * scale, slope)
        return of_x.to(slopes[0].dtype), of_weight, of_bias, None, None, None, None


def _wide(values: Tensor, x: Tensor) -> Tensor:
    """Values (c,) to be broadcast over x (n, c, ...)."""
    return values.view(1, -1, *[1] * (x.ndim - 2))

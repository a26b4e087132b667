"""What half precision is good for on this device, and a network that trains in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from bear_classifier.learn.backbone import Classifier


def half_precision(device: torch.device) -> torch.dtype | None:
    """What it multiplies much faster than single precision, and trains well with; None: nothing."""
    if device.type == "cuda":
        return torch.float16
    return torch.bfloat16 if device.type == "cpu" and has_bfloat16() else None


def has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 in hardware (x86: AVX512-BF16 or AMX)."""
    has = torch.cpu.get_capabilities()
    return bool(has.get("avx512_bf16") or has.get("amx_bf16"))


@contextmanager
def training(model: Classifier) -> Iterator[None]:
    """Within, a model on a processor computes in the precision that it learns fastest in, with
    channels last. On CUDA that is the work of fastai's MixedPrecision.

    Depthwise convolutions stay in single precision: their gradients in bfloat16 take up to ten
    times as long (docs/LOG.md)."""
    device = next(model.parameters()).device
    kind = half_precision(device) if device.type == "cpu" else None
    single = [part for part in model.modules() if kind and depthwise(part)]
    if device.type == "cpu":
        model.to(memory_format=torch.channels_last)
    model.precision = kind
    for part in single:
        part.forward = partial(_single, part)
    try:
        yield
    finally:
        model.precision = None
        for part in single:
            del part.forward


def depthwise(part: nn.Module) -> bool:
    """A convolution of each channel by itself: it lives on memory, not on arithmetic."""
    return isinstance(part, nn.Conv2d) and 1 < part.groups == part.in_channels


def _single(conv: nn.Module, x: Tensor) -> Tensor:
    with torch.autocast(x.device.type, enabled=False):
        found: Tensor = type(conv).forward(conv, x.float())
    return found

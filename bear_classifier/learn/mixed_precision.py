"""Mixed precision: which one this device is fast in, and training in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from bear_classifier.learn.backbone import Classifier


def half_precision(device: torch.device) -> torch.dtype | None:
    """What it multiplies much faster than single precision, and trains well with; None: nothing."""
    if device.type == "cuda":  # the range of bfloat16 is that of single precision: no step is lost
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if native else torch.float16
    return torch.bfloat16 if device.type == "cpu" and has_bfloat16() else None


def has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 in hardware (x86: AVX512-BF16 or AMX)."""
    has = torch.cpu.get_capabilities()
    return bool(has.get("avx512_bf16") or has.get("amx_bf16"))


@contextmanager
def exactly() -> Iterator[None]:
    """Within, convolutions on CUDA keep single precision. Of their factors' 23 bits torch otherwise
    lets them drop 13 (TF32): features then differ by 0.02 from those of a processor (docs/LOG.md).

    By torch's older flag, which all its versions have, and which no other part may set by the newer
    one meanwhile: reading it would then be an error."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


@contextmanager
def fast_precision(model: Classifier) -> Iterator[None]:
    """Within, a model computes in the precision that it learns fastest in, with channels last.
    Where that is float16, on older GPUs, it is the work of fastai's MixedPrecision.

    On a processor depthwise convolutions stay in single precision: their gradients in bfloat16 take
    up to ten times as long (docs/LOG.md)."""
    device = next(model.parameters()).device
    kind = half_precision(device)
    kind = None if kind == torch.float16 else kind
    slow = list(model.modules()) if device.type == "cpu" else []
    single = [part for part in slow if kind and depthwise(part)]
    if device.type == "cpu" or kind:
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

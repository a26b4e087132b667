"""Mixed precision: the fastest of the device, and training in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial

import torch
from torch import Tensor, nn

from bear_classifier.learn.backbone import Classifier


def half_precision(device: torch.device) -> torch.dtype | None:
    """The half precision that the device computes much faster than single precision, if any."""
    if device.type == "cuda":  # bfloat16 has the range of single precision: no step is lost
        with nullcontext() if device.index is None else torch.cuda.device(device):
            native = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if native else torch.float16
    return torch.bfloat16 if device.type == "cpu" and has_bfloat16() else None


def has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 in hardware (x86: AVX512-BF16 or AMX)."""
    has = torch.cpu.get_capabilities()
    return bool(has.get("avx512_bf16") or has.get("amx_bf16"))


@contextmanager
def exactly() -> Iterator[None]:
    """Within, convolutions on CUDA keep single precision. With torch's TF32, 13 of 23 bits fewer,
    features differ by 0.02 from those of a CPU (docs/LOG.md).

    By torch's older flag, which all its versions have; while the newer one is set, reading it is an
    error."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


@contextmanager
def fast_precision(model: Classifier) -> Iterator[None]:
    """Within, a model trains in the fastest precision, with channels last. (float16, on older GPUs,
    is left to fastai's MixedPrecision.)

    On a CPU depthwise convolutions stay in single precision: their gradients in bfloat16 take up to
    ten times as long (docs/LOG.md)."""
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
    """Whether this is a convolution of each channel by itself, which is bound by memory."""
    return isinstance(part, nn.Conv2d) and 1 < part.groups == part.in_channels


def _single(conv: nn.Module, x: Tensor) -> Tensor:
    with torch.autocast(x.device.type, enabled=False):
        y: Tensor = type(conv).forward(conv, x.float())
    return y

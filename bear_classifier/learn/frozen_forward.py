"""Fast forward passes through frozen layers on a CPU.

In torch each normalisation and activation is a separate pass through memory, which takes most of
the time. onnxruntime fuses them into the convolutions, exactly. Where half precision is enough and
the CPU has it, torch with fused normalisations is faster still, except for depthwise convolutions
(docs/LOG.md).
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse

from bear_classifier.learn import backbone
from bear_classifier.learn.mixed_precision import depthwise, exactly, half_precision
from bear_classifier.runtime.processors import processors

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read when onnxruntime is imported
import onnxruntime as ort

OPSET = 17
_PART = 4  # pictures at once, so that activations fit into the cache
WORTH = 32  # pictures; for fewer the preparation, about a second, does not pay
FAILED = (  # by what a network is refused that cannot be traced or run
    *(RuntimeError, TypeError, ValueError, KeyError, AttributeError, NotImplementedError),
    *(ort.capi.onnxruntime_pybind11_state.Fail, ort.capi.onnxruntime_pybind11_state.InvalidGraph),
    *(ort.capi.onnxruntime_pybind11_state.NotImplemented, torch.fx.proxy.TraceError),
)
Pass = Callable[[Tensor], list[Tensor]]


def frozen(
    module: nn.Module, example: Tensor, outputs: Sequence[str], n: int, exact: bool = True
) -> Pass:
    """A function from a batch to the module's outputs, on the CPU in single precision. The module
    is put into eval mode and must not change meanwhile.

    example: a batch of one. outputs: a name for each output tensor. n: pictures to expect; for few
    nothing is prepared. exact: else half precision may be used where it is faster."""
    module.eval()
    kind = None if exact else half_precision(example.device)
    if example.device.type != "cpu" or n < WORTH:
        return _torch(module, kind)
    try:
        if kind is not None and not any(map(depthwise, module.modules())):
            return _torch(fuse(module).to(memory_format=torch.channels_last), kind)
        return onnx_pass(as_onnx(module, example, "image", outputs))
    except FAILED:  # a network that cannot be traced
        return _torch(module, kind)


def as_onnx(module: nn.Module, example: Tensor, name: str, outputs: Sequence[str]) -> bytes:
    """The module as one ONNX file for any number of pictures. example: a batch of one."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's deprecations
        torch.onnx.export(
            module.eval(),
            (example,),
            buffer,  # type: ignore[arg-type]
            input_names=[name],
            output_names=list(outputs),
            dynamic_axes={tensor: {0: "n"} for tensor in (name, *outputs)},
            opset_version=OPSET,
            dynamo=False,
        )
    return buffer.getvalue()


def to_onnx(model: backbone.Classifier, size: int) -> bytes:
    """A classifier as one file: any number of images of this many pixels a side, three outputs."""
    example = torch.zeros(1, 3, size, size)
    return as_onnx(backbone.Outputs(model), example, "image", backbone.OUTPUTS)


def onnx_pass(network: bytes) -> Pass:
    """A function from a batch to the outputs of an ONNX network. Raises one of FAILED."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1  # a thread for each part: none waits at every layer
    options.log_severity_level = 3
    pool = ThreadPoolExecutor(min(torch.get_num_threads(), processors()))
    session = ort.InferenceSession(network, options, providers=["CPUExecutionProvider"])

    def run(batch: Tensor) -> list[Tensor]:
        pixels: NDArray[Any] = batch.as_subclass(Tensor).contiguous().numpy()
        parts = [pixels[start : start + _PART] for start in range(0, len(pixels), _PART)]
        made = zip(*pool.map(lambda part: session.run(None, {"image": part}), parts), strict=True)
        return [torch.from_numpy(np.concatenate(rows)) for rows in made]

    return run


def _torch(module: nn.Module, kind: torch.dtype | None) -> Pass:
    device = next(module.parameters()).device

    def run(batch: Tensor) -> list[Tensor]:
        x = batch.as_subclass(Tensor).to(device).contiguous(memory_format=torch.channels_last)
        precision = torch.autocast(device.type, kind) if kind else exactly()
        with torch.inference_mode(), precision:
            y = module(x)
        return [t.float().cpu() for t in ([y] if isinstance(y, Tensor) else y)]

    return run

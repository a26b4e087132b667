"""Quantisation of a network to 8-bit integers.

Static: activations are 0 to 255, with one scale each from their range on photos; weights are
signed, with one scale for each output channel. Signed activations were 4.7 times slower. Weights
get 7 of the 8 bits: processors without VNNI add two products in 16 bits, where 255 * 127 * 2
saturates silently. With 64 in place of 127 it fits, and all processors answer alike.

Rounding weights shifts the mean of a layer's outputs. The shift is computed and taken off the
layer's bias (Nagel et al., arXiv 1906.04721): without it 8 of 231 bears were answered otherwise,
with it none, see docs/LOG.md.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import numpy_helper
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from bear_classifier.errors import ModelError
from bear_classifier.runtime.npz import Floats32
from bear_classifier.runtime.terminal import progress_bar

CALIBRATION_PHOTOS = 200  # of training; they show the range of activations
_OPERATIONS = ["Conv", "Add", "Clip", "Relu", "MaxPool", "Concat"]
_BEGINNING = 3  # convolutions: the first, and the first block of a network of depthwise ones
_BATCH = 8
_ROUNDS, _SECONDS = (5, 40), 4.0  # at least and at most, and how long while timing
_STATE = ort.capi.onnxruntime_pybind11_state
_BROKEN = (
    *(ValueError, RuntimeError, KeyError, IndexError, TypeError, AttributeError, AssertionError),
    *(_STATE.Fail, _STATE.InvalidArgument, _STATE.InvalidGraph, _STATE.InvalidProtobuf),
    *(_STATE.NotImplemented, _STATE.RuntimeException, DecodeError),
)


def quantised(network: bytes, images: Sequence[Callable[[], Floats32]]) -> bytes:
    """The same ONNX network in int8, except its head after the pool. images: each gives one (3,
    size, size) as the network is fed, and may be called twice. Raises ModelError (NOT_QUANTISED),
    OSError."""
    with tempfile.TemporaryDirectory(prefix="bears-int8-") as name:
        given, ready, made = (f"{name}/{n}.onnx" for n in ("given", "ready", "made"))
        Path(given).write_bytes(network)
        batches = ({"image": batch} for batch in _batches(images))
        try:
            quant_pre_process(given, ready, skip_symbolic_shape=True)
            plain = onnx.load(ready)
            quantize_static(
                ready,
                made,
                SimpleNamespace(get_next=lambda: next(batches, None)),
                quant_format=QuantFormat.QDQ,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                per_channel=True,
                reduce_range=True,
                op_types_to_quantize=_OPERATIONS,
                nodes_to_exclude=[*_first(plain), *_after(plain, "map")],
            )
            result = onnx.load(made)
            _correct(result, plain, _means(plain, images))
        except _BROKEN as exc:
            words = f"this network cannot be written in integers: {str(exc)[:200]}"
            raise ModelError("NOT_QUANTISED", words) from exc
        return bytes(result.SerializeToString())


def milliseconds(networks: Sequence[bytes], image: Floats32) -> list[float]:
    """Median time of each for one image (3, size, size) on one thread, measured in turns."""
    sessions = [_session(network) for network in networks]
    rounds: list[list[float]] = []
    end = time.monotonic() + _SECONDS
    while len(rounds) <= _ROUNDS[0] or (len(rounds) <= _ROUNDS[1] and time.monotonic() < end):
        rounds.append([])
        for session in sessions:
            start = time.perf_counter()
            session.run(None, {"image": image[None]})
            rounds[-1].append(1e3 * (time.perf_counter() - start))
    return [float(ms) for ms in np.median(rounds[1:], axis=0)]  # the first one warms up


def rounding(network: bytes, images: Sequence[Floats32]) -> float:
    """Largest change of logits and pooled features, relative to their largest value, over images
    (3, size, size) where sums are computed in floats, as without integer kernels."""
    worst = 0.0
    fast, plain = _session(network), _session(network, optimised=False)
    for image in images:
        ours, theirs = (s.run(["logits", "pooled"], {"image": image[None]}) for s in (fast, plain))
        for one, other in zip(ours, theirs, strict=True):
            scale = max(1.0, float(np.abs(one).max()))
            worst = max(worst, float(np.abs(one - other).max()) / scale)
    return worst


def _batches(images: Sequence[Callable[[], Floats32]]) -> Iterator[Floats32]:
    starts = range(0, len(images), _BATCH)
    for start in progress_bar(starts, desc="int8", unit="batch", leave=False):
        yield np.stack([image() for image in images[start : start + _BATCH]])


def _session(network: bytes, optimised: bool = True) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    if not optimised:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(network, options, providers=["CPUExecutionProvider"])


def _first(model: onnx.ModelProto) -> list[str]:
    """The convolutions that stay in floats: the first ones where one of them is depthwise. Their
    channels have very different ranges, so they lose most; they take little time."""
    nodes = [node for node in model.graph.node if node.op_type == "Conv"][:_BEGINNING]
    groups = [a.i for node in nodes for a in node.attribute if a.name == "group"]
    return [node.name for node in nodes] if max(groups, default=1) > 1 else []


def _after(model: onnx.ModelProto, name: str) -> list[str]:
    """Nodes that are computed from this tensor."""
    reached, nodes = {name}, []
    for node in model.graph.node:
        if reached & set(node.input):
            reached |= set(node.output)
            nodes.append(node.name)
    return nodes


def _means(model: onnx.ModelProto, images: Sequence[Callable[[], Floats32]]) -> dict[str, Floats32]:
    """Mean input (channels,) of each convolution over images and places, by the input's name."""
    observed = onnx.ModelProto()
    observed.CopyFrom(model)
    names = sorted({node.input[0] for node in model.graph.node if node.op_type == "Conv"})
    outputs = [f"mean of {name}" for name in names]
    for name, output in zip(names, outputs, strict=True):
        node = onnx.helper.make_node("ReduceMean", [name], [output], axes=[2, 3], keepdims=0)
        info = onnx.helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, None)
        observed.graph.node.append(node)
        observed.graph.output.append(info)
    session = _session(observed.SerializeToString())
    sums = [np.float32(0)] * len(names)
    for batch in _batches(images):
        inputs = session.run(outputs, {"image": batch})
        sums = [total + rows.sum(axis=0) for total, rows in zip(sums, inputs, strict=True)]
    return {name: np.asarray(total / len(images)) for name, total in zip(names, sums, strict=True)}


def _correct(model: onnx.ModelProto, plain: onnx.ModelProto, means: dict[str, Floats32]) -> None:
    """Subtract from the biases of model what rounding the weights of plain adds on average."""
    exact = {tensor.name: tensor for tensor in plain.graph.initializer}
    rounded = {tensor.name: tensor for tensor in model.graph.initializer}
    source = {node.output[0]: node for node in model.graph.node}
    first = {node.name: node for node in plain.graph.node if node.op_type == "Conv"}
    for node in model.graph.node:
        before = first.get(node.name)
        if before is None or len(node.input) < 3 or not {*node.input[1:]} <= source.keys():
            continue
        weight, scale = (numpy_helper.to_array(rounded[n]) for n in source[node.input[1]].input[:2])
        target = numpy_helper.to_array(exact[before.input[1]])
        bias, step = (rounded[name] for name in source[node.input[2]].input[:2])
        shift = added(weight, scale, target, means[before.input[0]]) / numpy_helper.to_array(step)
        values = numpy_helper.to_array(bias) - np.round(shift).astype(np.int32)
        bias.CopyFrom(numpy_helper.from_array(values.astype(np.int32), bias.name))


def added(
    rounded: NDArray[np.int8], scale: Floats32, exact: Floats32, mean: Floats32
) -> NDArray[np.float64]:
    """What rounding adds to the mean of each output of a convolution (out,), edges disregarded.
    rounded, exact: weights (out, in of a group, h, w); scale: (out,) or one; mean: inputs (in,)."""
    out, inputs = exact.shape[:2]
    off = rounded * scale.reshape(-1, 1, 1, 1).astype(np.float64) - exact
    of_group = mean.reshape(-1, inputs)  # groups follow one another, in inputs and outputs
    each = of_group.repeat(out // len(of_group), axis=0)
    return np.asarray((off.sum(axis=(2, 3)) * each).sum(axis=1))

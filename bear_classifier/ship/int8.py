"""Quantisation of a network to 8-bit integers.

Static, from what photos show of the range of every activation (0 to 255, one scale each); weights
are signed, one scale for each output channel. Signed activations were 4.7 times slower. Weights get
7 of the 8 bits: processors without VNNI add two products in 16 bits, where 255 * 127 * 2 is too
much and is cut off without a word. With 64 in place of 127 it fits, and all answer alike.

Rounding weights shifts the mean of what a layer gives. That is known beforehand and is taken off
the layer's bias (Nagel et al., arXiv 1906.04721): without it 8 of 231 bears were answered
otherwise, with it none, see docs/LOG.md.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
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
from bear_classifier.ship.predict import REFUSED

_OPERATIONS = ["Conv", "Add", "Clip", "Relu", "MaxPool", "Concat"]
_BEGINNING = 3  # convolutions: the first, and the first block of a network of depthwise ones
_BATCH = 8
_ROUNDS, _SECONDS = (5, 40), 4.0  # at least and at most, and how long while timing
_BROKEN = (
    *(ValueError, RuntimeError, KeyError, IndexError, TypeError, AttributeError, AssertionError),
    *(*REFUSED, DecodeError),
)


def quantised(network: bytes, images: Sequence[Callable[[], Floats32]]) -> bytes:
    """The same ONNX network, the head after the pool excepted, in integers.

    images: each gives one (3, size, size) as the network is fed, and may be called twice. Files are
    in a temporary folder and gone afterwards. Raises ModelError (NOT_QUANTISED), OSError."""
    with tempfile.TemporaryDirectory(prefix="bears-int8-") as name:
        given, ready, made = (Path(name) / f"{n}.onnx" for n in ("given", "ready", "made"))
        given.write_bytes(network)
        try:
            quant_pre_process(str(given), str(ready), skip_symbolic_shape=True)
            plain = onnx.load(ready)
            quantize_static(
                str(ready),
                str(made),
                _Reader(images),
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
    """Median time of each for one image (3, size, size) on one thread, taken in turns."""
    sessions = [_session(network) for network in networks]
    found: list[list[float]] = [[] for _ in sessions]
    end = time.monotonic() + _SECONDS
    for number in range(_ROUNDS[1] + 1):
        for session, times in zip(sessions, found, strict=True):
            start = time.perf_counter()
            session.run(None, {"image": image[None]})
            times.append(1e3 * (time.perf_counter() - start))
        if number >= _ROUNDS[0] and time.monotonic() > end:
            break
    return [float(np.median(times[1:])) for times in found]  # the first one warms up


def rounding(network: bytes, images: Sequence[Floats32]) -> float:
    """How far outputs move, relative to their largest value, where the sums are made otherwise.

    In floats, as processors would for which there are no integer kernels: the largest over logits
    and pooled features of images, (3, size, size) each."""
    worst = 0.0
    fast, plain = _session(network), _session(network, optimised=False)
    for image in images:
        ours, theirs = (s.run(["logits", "pooled"], {"image": image[None]}) for s in (fast, plain))
        for one, other in zip(ours, theirs, strict=True):
            scale = max(1.0, float(np.abs(one).max()))
            worst = max(worst, float(np.abs(one - other).max()) / scale)
    return worst


class _Reader:
    """Batches as onnxruntime's calibration asks for them."""

    def __init__(self, images: Sequence[Callable[[], Floats32]]) -> None:
        self._batches = _batches(images)

    def get_next(self) -> dict[str, Floats32] | None:
        batch = next(self._batches, None)
        return None if batch is None else {"image": batch}


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
    """The convolutions that are left in floats: the first ones where one of them is depthwise.

    They lose most, their channels being of very different ranges, and take little time."""
    nodes = [node for node in model.graph.node if node.op_type == "Conv"][:_BEGINNING]
    groups = [a.i for node in nodes for a in node.attribute if a.name == "group"]
    return [node.name for node in nodes] if max(groups, default=1) > 1 else []


def _after(model: onnx.ModelProto, name: str) -> list[str]:
    """Nodes that are computed from this tensor."""
    reached, found = {name}, []
    for node in model.graph.node:
        if reached & set(node.input):
            reached |= set(node.output)
            found.append(node.name)
    return found


def _means(model: onnx.ModelProto, images: Sequence[Callable[[], Floats32]]) -> dict[str, Floats32]:
    """What goes into each convolution: the mean (channels,) over images and places, by its name."""
    observed = onnx.ModelProto()
    observed.CopyFrom(model)
    names = sorted({node.input[0] for node in model.graph.node if node.op_type == "Conv"})
    outputs = [f"mean of {name}" for name in names]
    for name, output in zip(names, outputs, strict=True):
        node = onnx.helper.make_node("ReduceMean", [name], [output], axes=[2, 3], keepdims=0)
        observed.graph.node.append(node)
        kind = onnx.TensorProto.FLOAT
        observed.graph.output.append(onnx.helper.make_tensor_value_info(output, kind, None))
    session = _session(observed.SerializeToString())
    sums = [np.float32(0)] * len(names)
    for batch in _batches(images):
        found = session.run(outputs, {"image": batch})
        sums = [total + rows.sum(axis=0) for total, rows in zip(sums, found, strict=True)]
    means = (np.asarray(total / len(images)) for total in sums)
    return dict(zip(names, means, strict=True))


def _correct(model: onnx.ModelProto, plain: onnx.ModelProto, means: dict[str, Floats32]) -> None:
    """Take off the biases of model what rounding the weights of plain adds on average."""
    exact = {tensor.name: tensor for tensor in plain.graph.initializer}
    rounded = {tensor.name: tensor for tensor in model.graph.initializer}
    source = {node.output[0]: node for node in model.graph.node}
    first = {node.name: node for node in plain.graph.node if node.op_type == "Conv"}
    for node in model.graph.node:
        before = first.get(node.name)
        if before is None or len(node.input) < 3 or not {*node.input[1:]} <= source.keys():
            continue
        weight, scale = (numpy_helper.to_array(rounded[n]) for n in source[node.input[1]].input[:2])
        wanted = numpy_helper.to_array(exact[before.input[1]])
        bias, step = (rounded[name] for name in source[node.input[2]].input[:2])
        shift = added(weight, scale, wanted, means[before.input[0]])
        steps = np.round(shift / numpy_helper.to_array(step)).astype(np.int32)
        values = numpy_helper.to_array(bias) - steps
        bias.CopyFrom(numpy_helper.from_array(values.astype(np.int32), bias.name))


def added(
    rounded: NDArray[np.int8], scale: Floats32, exact: Floats32, mean: Floats32
) -> NDArray[np.float64]:
    """What rounding adds to the mean of each output of a convolution (out,).

    rounded, exact: weights (out, in of a group, h, w); scale: (out,) or one; mean: of the input
    (in,). Edges are counted as if they were inside."""
    out, inputs = exact.shape[:2]
    off = rounded * scale.reshape(-1, 1, 1, 1).astype(np.float64) - exact
    of_group = mean.reshape(-1, inputs)  # groups follow one another, in inputs and outputs
    each = of_group.repeat(out // len(of_group), axis=0)
    return np.asarray((off.sum(axis=(2, 3)) * each).sum(axis=1))

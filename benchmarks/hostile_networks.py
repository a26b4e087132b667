"""Networks made to do harm, out of a good one: what hostile_graphs.py has, what ONNX does not
allow, lies about shapes, and damage."""

from __future__ import annotations

import gzip
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from hostile_graphs import (
    Model,
    asked_by_picture,
    busy,
    calling,
    chained,
    doubled,
    filled,
    grown,
    joined,
    least,
    long_lstm,
    looping,
    of_model,
)
from onnx import TensorProto, helper, numpy_helper

# isort: split
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from corpus import mutated

SIZES = (10**9, 4 * 10**9, 12 * 10**9, 160 * 10**9, 10**13, 4 * 10**18)  # bytes
Case = tuple[str, str, Callable[[bytes], bytes]]  # name, file, what it becomes


def odd_model() -> Iterator[tuple[str, Callable[[Model], None]]]:
    """What ONNX does not allow, or what the rest does not expect."""

    def sparse(model: Model) -> None:
        values = numpy_helper.from_array(np.zeros(1, np.float32), "Z")
        places = numpy_helper.from_array(np.zeros(1, np.int64))
        tensor = helper.make_sparse_tensor(values, places, [10**6, 10**6])
        model.graph.sparse_initializer.append(tensor)
        joined(model, [least("Z")], "M")

    def elsewhere(model: Model) -> None:
        tensor = model.graph.initializer[0]
        tensor.data_location = TensorProto.EXTERNAL
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", "/etc/passwd"

    def claimed(dims: list[int], raw: bytes = b"") -> Callable[[Model], None]:
        def change(model: Model) -> None:
            tensor = TensorProto(name="Z", data_type=TensorProto.FLOAT, dims=dims, raw_data=raw)
            model.graph.initializer.append(tensor)
            joined(model, [least("Z")], "M")

        return change

    def output(name: str, kind: int, dims: list[Any], node: str, **words: Any) -> Any:
        def change(model: Model) -> None:
            for one in model.graph.node:
                one.output[:] = ["before" if out == name else out for out in one.output]
            model.graph.node.append(helper.make_node(node, ["before"], [name], **words))
            for info in model.graph.output:
                if info.name == name:
                    info.CopyFrom(helper.make_tensor_value_info(name, kind, dims))

        return change

    def field(name: str, value: Any) -> Callable[[Model], None]:
        return lambda model: setattr(model, name, value)

    def domain(version: int) -> Callable[[Model], None]:
        return lambda model: setattr(model.opset_import[0], "version", version)

    def unknown(model: Model) -> None:
        node = helper.make_node("Nothing", ["before"], ["M"], domain="com.microsoft")
        joined(model, [node], "M")

    def ring(model: Model) -> None:
        nodes = [helper.make_node("Neg", ["r"], ["s"]), helper.make_node("Neg", ["s"], ["r"])]
        joined(model, nodes, "r")

    def chance(scale: float) -> Callable[[Model], None]:
        node = helper.make_node("RandomNormal", [], ["B"], shape=[1], scale=scale)
        return lambda model: joined(model, [node, least("B")], "M")

    def added(value: float) -> Callable[[Model], None]:
        return lambda model: joined(model, [], "odd", odd=np.float32(value))

    def side(number: int) -> Callable[[Model], None]:
        def change(model: Model) -> None:
            dims = model.graph.input[0].type.tensor_type.shape.dim
            dims[2].dim_value = dims[3].dim_value = number

        return change

    yield "sparse of 4 TB", sparse
    yield "data elsewhere", elsewhere
    for dims in ([10**12], [2**62, 2**62], [-1], [-(2**62)], [0]):
        yield f"an array of {dims}", claimed(dims)
        yield f"an array of {dims} with 8 bytes", claimed(dims, bytes(8))
    for kind in (TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.INT64, TensorProto.BOOL,
                 TensorProto.STRING):  # fmt: skip
        for name in ("logits", "pooled", "map"):
            yield f"{name} of kind {kind}", output(name, kind, [None, 3], "Cast", to=kind)
    for name in ("logits", "pooled", "map"):
        flat = output(name, TensorProto.FLOAT, [None, 3], "Flatten", axis=0)
        yield f"{name} flat", flat
        most = output(name, TensorProto.FLOAT, [None, 3], "ReduceMax", keepdims=0)
        yield f"{name} a number", most
        size = output(name, TensorProto.INT64, [None, 3], "Shape")
        yield f"{name} a shape", size
    for version in (0, -1, 1, 999, 2**62):
        yield f"opset {version}", domain(version)
        yield f"ir_version {version}", field("ir_version", version)
    yield "an operator that is not there", unknown
    yield "a ring", ring
    for value in (float("nan"), float("inf"), -float("inf"), 1e30, 5.0):
        yield f"logits + {value}", added(value)
    for scale in (1e-9, 10.0, 1e30):
        yield f"chance {scale}", chance(scale)
    for number in (0, -1, 1, 7, 10**6, 2**62):
        yield f"pictures of {number} pixels", side(number)
    yield "a name of 5 MB", lambda model: setattr(model.graph, "name", "x" * 5_000_000)
    yield "no nodes", lambda model: model.graph.ClearField("node")
    yield "no outputs", lambda model: model.graph.ClearField("output")
    yield "no inputs", lambda model: model.graph.ClearField("input")
    yield "no graph", lambda model: model.ClearField("graph")
    yield "outputs twice", lambda model: model.graph.output.extend(list(model.graph.output))
    yield (
        "an input more",
        lambda model: model.graph.input.append(
            helper.make_tensor_value_info("more", TensorProto.FLOAT, [1])
        ),
    )
    yield (
        "outputs of 20,000 names",
        lambda model: model.graph.output.extend(
            [helper.make_tensor_value_info(f"o{i}", TensorProto.FLOAT, [1]) for i in range(20_000)]
        ),
    )


def networks() -> Iterator[Case]:
    def case(name: str, change: Callable[[Model], None]) -> Case:
        return name, "model.onnx", of_model(change)

    for size in SIZES:
        for kind, width in ((TensorProto.FLOAT, 4), (TensorProto.DOUBLE, 8), (TensorProto.INT8, 1)):
            yield case(
                f"ConstantOfShape kind {kind}, {size:.0e} bytes", filled(size // width, kind)
            )
        for operator in ("Expand", "Tile", "Pad", "Range", "OneHot", "MatMul", "Resize"):
            yield case(f"{operator}, {size:.0e} bytes", grown(operator, size // 4))
        yield case(f"as the picture is bright, {size:.0e} bytes", asked_by_picture(size / 8))
    for times in (20, 28, 34, 62):
        yield case(f"doubled {times} times", doubled(times))
    for operator in ("MatMul", "Conv", "TopK", "Softmax", "Erf"):
        for times in (100, 3000):
            yield case(f"{operator} {times} times", busy(operator, times))
    for steps in (10**5, 2 * 10**6):
        yield case(f"LSTM of {steps} steps", long_lstm(steps))
    for operator in ("If", "Loop", "Scan", "SequenceMap"):
        yield case(operator, looping(operator))
        yield case(f"{operator} in a function", looping(operator, "function"))
    for depth in (3, 20, 40, 500):
        yield case(f"functions {depth} deep, each called twice", calling(depth))
    for depth in (1, 2, 40):
        yield case(f"functions in a ring of {depth}", calling(depth, again=True))
    for n in (1000, 20_000, 200_000):
        yield case(f"a chain of {n}", chained(n))
    for name, change in odd_model():
        yield case(name, change)
    for part in (0, 1, 7, 100, 10_000):
        yield f"cut to {part} bytes", "model.onnx", lambda data, n=part: data[:n]  # type: ignore[misc]
    for seed in range(20):
        cut = random.Random(seed).random()
        yield f"cut at {cut:.3f}", "model.onnx", lambda data, at=cut: data[: int(at * len(data))]  # type: ignore[misc]
    for seed in range(20):
        yield f"mutated {seed}", "model.onnx", lambda d, s=seed: mutated(d, random.Random(s))  # type: ignore[misc]
    yield "gzip", "model.onnx", gzip.compress
    yield "noise", "model.onnx", lambda _: random.Random(0).randbytes(100_000)
    yield "text", "model.onnx", lambda _: b"a model\n" * 99
    yield "twice", "model.onnx", lambda data: data + data
    yield "deeply nested", "model.onnx", _nested


def _nested(_: bytes) -> bytes:
    """A graph in a graph in a graph, as far as one megabyte reaches."""
    data = b""
    for _ in range(1500):
        for number in (6, 5, 1):  # graph of an attribute, attribute of a node, node of a graph
            size, head = len(data), bytearray([number << 3 | 2])
            while True:
                head.append(size & 127 | (128 if size > 127 else 0))
                size >>= 7
                if not size:
                    break
            data = bytes(head) + data
    return data

"""Parts that are put into a good network to do harm: they ask for memory, compute without end, loop
or call themselves. A part is a function that changes a network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Model = onnx.ModelProto


def of_model(change: Callable[[Model], None]) -> Callable[[bytes], bytes]:
    def changed(data: bytes) -> bytes:
        model = onnx.load_from_string(data)
        change(model)
        return model.SerializeToString()

    return changed


def joined(model: Model, nodes: list[Any], last: str, **constants: Any) -> None:
    """Let nodes run; their last output, a number, is added to the logits."""
    for node in model.graph.node:
        node.output[:] = ["before" if name == "logits" else name for name in node.output]
    tensors = [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()]
    model.graph.initializer.extend(tensors)
    model.graph.node.extend([*nodes, helper.make_node("Add", ["before", last], ["logits"])])


def least(name: str) -> Any:
    return helper.make_node("ReduceMin", [name], ["M"], keepdims=0)


def shape(n: int) -> np.ndarray[Any, Any]:
    """About n numbers, in sides that ONNX can write."""
    return np.array([max(1, n // 10**6), min(n, 10**6)], np.int64)


def filled(n: int, kind: int) -> Callable[[Model], None]:
    tensor = helper.make_tensor("v", kind, [1], [0])
    make = helper.make_node("ConstantOfShape", ["S"], ["B0"], value=tensor)
    cast = helper.make_node("Cast", ["B0"], ["B"], to=TensorProto.FLOAT)
    return lambda model: joined(model, [make, cast, least("B")], "M", S=shape(n))


def grown(operator: str, n: int) -> Callable[[Model], None]:
    """A number, made n numbers by one operator."""
    side = int(min(n, 9 * 10**18) ** 0.5)
    pads = np.array([0, 0, 0, max(0, side - 1)] if operator == "Pad" else [0], np.int64)
    nodes = {
        "Expand": ["one", "S"], "Tile": ["one", "S"], "Pad": ["one", "P"],
        "Range": ["zero", "N", "step"], "OneHot": ["I", "D", "pair"], "EyeLike": ["E"],
        "MatMul": ["column", "row"], "Resize": ["four", "", "scale"],
    }  # fmt: skip
    make = helper.make_node(operator, nodes[operator], ["B"])
    wide = min(side, 10**5)
    constants = {
        "S": shape(n), "P": pads, "one": np.ones((1, 1), np.float32), "zero": np.float32(0),
        "N": np.float32(n), "step": np.float32(1), "I": np.zeros(wide, np.int64),
        "D": np.int64(max(1, n // wide)), "pair": np.zeros(2, np.float32),
        "E": np.zeros((1, 1), np.float32), "column": np.zeros((wide, 1), np.float32),
        "row": np.zeros((1, wide), np.float32), "four": np.zeros((1, 1, 1, 1), np.float32),
        "scale": np.array([1, 1, side, side], np.float32),
    }  # fmt: skip
    used = {name: constants[name] for name in nodes[operator] if name}
    return lambda model: joined(model, [make, least("B")], "M", **used)


def doubled(times: int) -> Callable[[Model], None]:
    """Concatenated with itself again and again."""
    nodes = [
        helper.make_node("Concat", [f"C{i}", f"C{i}"], [f"C{i + 1}"], axis=0) for i in range(times)
    ]
    last = least(f"C{times}")
    return lambda model: joined(model, [*nodes, last], "M", C0=np.zeros(8, np.float32))


def busy(operator: str, times: int) -> Callable[[Model], None]:
    """Small in memory, long in time."""
    side = {"MatMul": 700, "Conv": 200, "TopK": 2_000_000, "Softmax": 2_000_000, "Erf": 2_000_000}
    n = side[operator]
    start = np.zeros({"MatMul": (n, n), "Conv": (1, 8, n, n)}.get(operator, (n,)), np.float32)
    more: dict[str, Any] = {"MatMul": {"W": start}, "TopK": {"K": np.array([n], np.int64)}}.get(
        operator, {}
    )
    if operator == "Conv":
        more = {"W": np.zeros((8, 8, 31, 31), np.float32)}
    extra: dict[str, Any] = {"pads": [15] * 4} if operator == "Conv" else {}
    nodes = [
        helper.make_node(
            operator, [f"T{i}", *more], [f"T{i + 1}", *([f"J{i}"] if operator == "TopK" else [])],
            **extra,
        )
        for i in range(times)
    ]  # fmt: skip
    return lambda model: joined(model, [*nodes, least(f"T{times}")], "M", T0=start, **more)


def long_lstm(steps: int) -> Callable[[Model], None]:
    inputs = {
        "X": np.zeros((steps, 1, 1), np.float32), "W": np.zeros((1, 256, 1), np.float32),
        "R": np.zeros((1, 256, 64), np.float32),
    }  # fmt: skip
    node = helper.make_node("LSTM", list(inputs), ["Y"], hidden_size=64)
    return lambda model: joined(model, [node, least("Y")], "M", **inputs)


def asked_by_picture(times: float) -> Callable[[Model], None]:
    """As many numbers as the picture is bright: nothing is known before it is run."""
    nodes = [
        helper.make_node("ReduceMax", ["image"], ["bright"], keepdims=0),
        helper.make_node("Abs", ["bright"], ["positive"]),
        helper.make_node("Mul", ["positive", "times"], ["many"]),
        helper.make_node("Cast", ["many"], ["whole"], to=TensorProto.INT64),
        helper.make_node("Reshape", ["whole", "flat"], ["S"]),
        helper.make_node("ConstantOfShape", ["S"], ["B"]),
        least("B"),
    ]
    constants = {"times": np.float32(times), "flat": np.array([1], np.int64)}
    return lambda model: joined(model, nodes, "M", **constants)


def looping(operator: str, inside: str = "") -> Callable[[Model], None]:
    number = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Identity", [name], [f"{name}_"]) for name in ("go", "x")], "body",
        [number("i", TensorProto.INT64, []), number("go", TensorProto.BOOL, []),
         number("x", TensorProto.FLOAT, [])],
        [number("go_", TensorProto.BOOL, []), number("x_", TensorProto.FLOAT, [])],
    )  # fmt: skip
    words = {"If": ["then_branch", "else_branch"], "Loop": ["body"], "Scan": ["body"]}
    extra: dict[str, Any] = dict.fromkeys(words.get(operator, ["body"]), body)
    node = helper.make_node(operator, ["N", "T", "zero"], ["M"], **extra)

    def change(model: Model) -> None:
        joined(model, [node], "M", N=np.int64(2**62), T=np.True_, zero=np.float32(0))
        if inside == "function":
            _into_function(model, node)

    return change


def _into_function(model: Model, node: Any) -> None:
    opset = [helper.make_opsetid("", 17)]
    function = helper.make_function("own", "F", list(node.input), ["M"], [node], opset)
    model.functions.append(function)
    model.opset_import.append(helper.make_opsetid("own", 1))
    called = helper.make_node("F", list(node.input), ["M"], domain="own")
    place = next(i for i, other in enumerate(model.graph.node) if other == node)
    model.graph.node[place].CopyFrom(called)


def calling(depth: int, again: bool = False) -> Callable[[Model], None]:
    """A function that calls the next one twice, and so on; again: the last one the first."""
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]

    def change(model: Model) -> None:
        joined(model, [helper.make_node("F0", ["zero"], ["M"], domain="own")], "M",
               zero=np.float32(0))  # fmt: skip
        model.opset_import.append(opsets[1])
        for i in range(depth):
            following = f"F{(i + 1) % depth if again else i + 1}"
            end = i + 1 == depth and not again
            words = {} if end else {"domain": "own"}
            name = "Identity" if end else following
            nodes = [
                helper.make_node(name, ["x"], ["y"], **words),
                helper.make_node(name, ["y"], ["z"], **words),
            ]
            model.functions.append(
                helper.make_function("own", f"F{i}", ["x"], ["z"], nodes, opsets)
            )

    return change


def chained(n: int) -> Callable[[Model], None]:
    nodes = [helper.make_node("Neg", [f"N{i}"], [f"N{i + 1}"]) for i in range(n)]
    return lambda model: joined(model, nodes, f"N{n}", N0=np.float32(0))

"""One ONNX file that does all that the bundle does: from pixels to the answer.

pixels (h, w, 3), uint8: an upright sRGB picture of any size, transparency over white. Out come

label           number of the likeliest class, in the order of `labels` in the file's metadata
probabilities   (classes,) calibrated
reason          0 ok, 1 unlike_training, 2 too_close, as `reasons` in the metadata
ood_score       as `stats/ood.py`; about 0 for photos like the training photos, negative for others
logits          (classes,)
pooled          (f,) features
evidence        (classes, h, w) of each place for each class, less the mean of all classes

The centre square is cut and resized on bytes, as the decoder does: on floats the same operator was
off by up to 0.027 of a probability (docs/LOG.md). Every number that Python computes in double
precision, the side of the square and no other, is one here as well.
"""

from __future__ import annotations

import json
from typing import Any, get_args

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper, version_converter

from bear_classifier.errors import ModelError
from bear_classifier.images.preprocessing import Preprocessing
from bear_classifier.ship.bundle import Bundle
from bear_classifier.ship.class_activation_map import CamHead, cam_head
from bear_classifier.ship.predict import Prediction, Reason
from bear_classifier.stats import ood

RESIZE_OPSET = 18  # the first one whose Resize has `antialias`
OUTPUTS = ["label", "probabilities", "reason", "ood_score", "logits", "pooled", "evidence"]
REASONS: tuple[Reason, ...] = get_args(Reason)
_TINY = 1e-12  # length of the shortest vector that is divided by, as in stats/ood.py
_NETWORK = {"image", "logits", "pooled", "map"}  # its input and outputs
_CUBIC = -0.5  # Pillow's coefficient of bicubic interpolation; ONNX's own is -0.75


def complete(bundle: Bundle) -> bytes:
    """The bundle as one file, its network as it is published. Raises ModelError (BAD_MODEL, and
    those of `cam_head`)."""
    try:
        network = version_converter.convert_version(
            onnx.load_from_string(bundle.onnx), RESIZE_OPSET
        )
    except (RuntimeError, ValueError, onnx.checker.ValidationError) as exc:
        words = (
            f"model.onnx cannot be written in operators of version {RESIZE_OPSET}: {str(exc)[:200]}"
        )
        raise ModelError("BAD_MODEL", words) from exc
    inner = _renamed(network.graph)
    rule = bundle.about["rejection"]
    least = -np.inf if rule["least"] is None else float(rule["least"])
    graph = _Graph()
    _from_pixels(graph, bundle.preprocessing)
    graph.nodes += inner.node
    graph.constants += inner.initializer
    _answer(graph, bundle.temperature)
    _ood_score(graph, ood.read_reference(bundle.reference))
    _verdict(graph, least, float(rule["close"]))
    _evidence(graph, cam_head(bundle))
    made = helper.make_model(
        graph.finished(len(bundle.labels)),
        opset_imports=_opsets(network),
        ir_version=max(8, network.ir_version),
        producer_name="bear-classifier",
    )
    helper.set_model_props(made, onnx_metadata(bundle))
    return bytes(made.SerializeToString())


class Complete:
    """Such a file, ready to answer, with one thread."""

    def __init__(self, data: bytes) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 3
        self._session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        about = self._session.get_modelmeta().custom_metadata_map
        self.labels: list[str] = json.loads(about["labels"])

    def outputs(self, pixels: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """All outputs by name. pixels: (h, w, 3)."""
        values = self._session.run(OUTPUTS, {"pixels": pixels})
        return dict(zip(OUTPUTS, values, strict=True))

    def predict(self, pixels: NDArray[np.uint8]) -> Prediction:
        """The answer to one picture. pixels: (h, w, 3)."""
        out = self.outputs(pixels)
        by_label = dict(zip(self.labels, out["probabilities"].tolist(), strict=True))
        label, reason = self.labels[int(out["label"])], REASONS[int(out["reason"])]
        return Prediction(label, by_label[label], by_label, reason == "ok", reason)


def onnx_metadata(bundle: Bundle) -> dict[str, str]:
    """What the file says of itself; lists and numbers as JSON."""
    about = bundle.about
    rule, test = about["rejection"], (about.get("metrics") or {}).get("test") or {}
    pretrained = about.get("pretrained") or {}
    figures = {name: test.get(name) for name in ("n", "error", "error_interval", "ece")}
    limits = {"least": rule["least"], "close": rule["close"], "temperature": bundle.temperature}
    texts = {name: about.get(name) for name in ("name", "version", "created", "architecture")}
    return {
        **{name: str(value) for name, value in texts.items() if value is not None},
        "labels": json.dumps(bundle.labels, ensure_ascii=False),
        "reasons": json.dumps(REASONS),
        "limits": json.dumps(limits),
        "test": json.dumps(figures),
        "weights": str(pretrained.get("weights", "")),
        "licence_of_weights": str(pretrained.get("licence", "")),
    }


class _Graph:
    """Nodes and constants as they are added; every new tensor has a name of its own."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, value: NDArray[Any]) -> str:
        name = f"bears_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, order="C"), name))
        return name

    def number(self, value: float, kind: type = np.float32) -> str:
        return self.constant(np.asarray(value, dtype=kind))

    def integers(self, *values: int) -> str:
        return self.constant(np.asarray(values, dtype=np.int64))

    def add(self, operator: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """The output of a new node. name: of that tensor."""
        out = name or f"bears/{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [out], **attributes))
        return out

    def half(self, value: NDArray[np.float16]) -> str:
        """Kept in half precision, used in single."""
        return self.cast(self.constant(value), TensorProto.FLOAT)

    def cast(self, tensor: str, kind: int) -> str:
        return self.add("Cast", tensor, to=kind)

    def slice(self, tensor: str, start: int, stop: int) -> str:
        return self.add("Slice", tensor, self.integers(start), self.integers(stop))

    def mean(self, tensor: str) -> str:
        return self.add("ReduceMean", tensor, keepdims=0)

    def first(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """The first of its two outputs."""
        out = f"bears/{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [out, f"{out}_rest"], **attributes))
        return out

    def finished(self, classes: int) -> Any:
        info = helper.make_tensor_value_info
        one: list[int] = []
        many = [classes]
        outputs = [
            info("label", TensorProto.INT64, one),
            info("probabilities", TensorProto.FLOAT, many),
            info("reason", TensorProto.INT64, one),
            info("ood_score", TensorProto.FLOAT, one),
            info("logits", TensorProto.FLOAT, many),
            info("pooled", TensorProto.FLOAT, ["features"]),
            info("evidence", TensorProto.FLOAT, [classes, "rows", "columns"]),
        ]
        pixels = info("pixels", TensorProto.UINT8, ["height", "width", 3])
        return helper.make_graph(self.nodes, "bears", [pixels], outputs, self.constants)


def _renamed(graph: Any) -> Any:
    """The network's graph, each of its tensors behind a prefix but those in `_NETWORK`: its outputs
    have a first axis of one photo that ours have not."""
    own = {name: f"network/{name}" for name in _tensors(graph) if name not in _NETWORK}
    own |= {name: f"network/{name}" for name in _NETWORK - {"image"}}
    for node in graph.node:
        node.input[:] = [own.get(name, name) for name in node.input]
        node.output[:] = [own.get(name, name) for name in node.output]
        node.name = f"network/{node.name}" if node.name else ""
    for tensor in graph.initializer:
        tensor.name = own.get(tensor.name, tensor.name)
    return graph


def _tensors(graph: Any) -> set[str]:
    used = {name for node in graph.node for name in (*node.input, *node.output) if name}
    return used | {tensor.name for tensor in graph.initializer}


def _opsets(network: Any) -> list[Any]:
    """Those that its nodes are of: exporters name many more, which not every runtime knows."""
    domains = {node.domain for node in network.graph.node} | {""}
    return [one for one in network.opset_import if one.domain in domains]


def _from_pixels(graph: _Graph, shape: Preprocessing) -> None:
    """pixels (h, w, 3) to image (1, 3, size, size), normalised; as `decoder.fit_square`."""
    size, crop = (graph.number(value, np.float64) for value in (shape.size, shape.crop))
    high_wide = graph.slice(graph.add("Shape", "pixels"), 0, 2)
    sides = graph.add("Div", graph.cast(high_wide, TensorProto.DOUBLE), size)
    shorter = graph.add("Min", graph.slice(sides, 0, 1), graph.slice(sides, 1, 2))
    exact = graph.add("Mul", graph.add("Mul", shorter, size), crop)
    side = graph.add("Max", graph.cast(exact, TensorProto.INT64), graph.integers(1))
    start = graph.add("Div", graph.add("Sub", high_wide, side), graph.integers(2))
    square = graph.add(
        "Slice", "pixels", start, graph.add("Add", start, side), graph.integers(0, 1)
    )
    planes = graph.add("Transpose", square, perm=[2, 0, 1])
    cubic = {"mode": "cubic", "cubic_coeff_a": _CUBIC}
    way: dict[str, Any] = cubic if shape.interpolation == "bicubic" else {"mode": "linear"}
    resized = graph.add(
        *("Resize", graph.add("Unsqueeze", planes, graph.integers(0)), "", ""),
        graph.integers(1, 3, shape.size, shape.size),
        antialias=1,
        exclude_outside=1,  # at the edges fewer pixels count, as Pillow has it
        coordinate_transformation_mode="half_pixel",
        **way,
    )
    mean, std = (np.asarray(v, np.float32)[None, :, None, None] for v in (shape.mean, shape.std))
    unit = graph.add("Div", graph.cast(resized, TensorProto.FLOAT), graph.number(255))
    graph.add(
        "Div", graph.add("Sub", unit, graph.constant(mean)), graph.constant(std), name="image"
    )


def _answer(graph: _Graph, temperature: float) -> None:
    """Logits (1, classes) of the network to the likeliest class and its probabilities."""
    graph.add("Squeeze", "network/logits", graph.integers(0), name="logits")
    graph.add("Squeeze", "network/pooled", graph.integers(0), name="pooled")
    scaled = graph.add("Div", "logits", graph.number(temperature))
    graph.add("Softmax", scaled, axis=0, name="probabilities")
    graph.add("ArgMax", "probabilities", axis=0, keepdims=0, name="label")


def _ood_score(graph: _Graph, reference: ood.Reference) -> None:
    """As `Reference.score` of one photo. What is known of the reference is computed beforehand."""
    norms = np.linalg.norm(reference.features.astype(np.float32), axis=1)
    products = graph.add("MatMul", graph.half(reference.features), _unit(graph))
    inverse = graph.constant((1 / np.maximum(norms, _TINY)).astype(np.float32))
    similar = [graph.add("Mul", products, inverse)]
    if reference.classifier:
        weight, bias = map(graph.half, reference.classifier)
        powers = graph.add("Softmax", graph.add("Add", graph.add("MatMul", weight, "pooled"), bias))
        known = reference.views()[1].astype(np.float16)
        similar.append(graph.add("MatMul", graph.half(known), graph.add("Sqrt", powers)))
    nearest = min(ood.NEIGHBOURS, len(reference.features))
    standard = []
    for view, centre, scale in zip(similar, reference.centre, reference.scale, strict=True):
        mean = graph.mean(graph.first("TopK", view, graph.integers(nearest), axis=0))
        away = graph.add("Sub", mean, graph.number(centre))
        standard.append(graph.add("Div", away, graph.number(scale)))
    total = graph.add("Sum", *standard)
    graph.add("Div", total, graph.number(len(standard)), name="ood_score")


def _unit(graph: _Graph) -> str:
    """The pooled features as a vector of length 1."""
    length = graph.add("ReduceL2", "pooled", graph.integers(0), keepdims=1)
    return graph.add("Div", "pooled", graph.add("Max", length, graph.number(_TINY)))


def _verdict(graph: _Graph, least: float, close: float) -> None:
    """As `ood.accept_reasons`: what is no number is refused, too."""
    two = graph.first("TopK", "probabilities", graph.integers(2), axis=0)
    ends = [graph.add("Squeeze", graph.slice(two, at, at + 1), graph.integers(0)) for at in (0, 1)]
    clear = graph.add("GreaterOrEqual", graph.add("Sub", *ends), graph.number(close))
    known = graph.add("GreaterOrEqual", "ood_score", graph.number(least))
    ok, unlike, near = (graph.number(value, np.int64) for value in range(3))
    graph.add("Where", known, graph.add("Where", clear, ok, near), unlike, name="reason")


def _evidence(graph: _Graph, head: CamHead) -> None:
    """As `class_activation_map.evidence` and `against_others` together: both are linear."""
    weight = head.weight - head.weight.mean(axis=0)
    bias = weight @ (head.shift - head.mean * head.scale)
    kernel = (weight * head.scale)[:, :, None, None].astype(np.float32)
    maps = graph.add("Conv", "network/map", graph.constant(kernel), graph.constant(bias))
    graph.add("Squeeze", maps, graph.integers(0), name="evidence")

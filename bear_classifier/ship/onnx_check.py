"""Checks of an ONNX file without the onnx package: external data, loops, size.

Wire format: protobuf.dev/programming-guides/encoding; field numbers: onnx.proto of ONNX 1.23.
"""

from __future__ import annotations

from collections.abc import Iterator

from bear_classifier.errors import ModelError

# message -> field number -> message that the field holds
_TREE = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
_OPERATOR = 4  # of a node
# Run a part of the network as often as the picture wants; no network for pictures needs them.
_LOOPING = {b"Loop", b"Scan", b"If", b"SequenceMap"}


def refuse_unsafe(data: bytes) -> None:
    """Raises ModelError: UNSAFE_MODEL_FILE if a tensor lies elsewhere, BAD_MODEL if it loops,
    MODEL_CORRUPT if it is no ONNX."""
    stack = [("model", 0, len(data))]
    try:
        while stack:
            kind, start, end = stack.pop()
            for number, value in _fields(data, start, end):
                outside = number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value != 0)
                if kind == "tensor" and outside:
                    words = "model.onnx reads data from another file; refused"
                    raise ModelError("UNSAFE_MODEL_FILE", words)
                if kind == "node" and number == _OPERATOR and isinstance(value, tuple):
                    operator = data[slice(*value)]
                    if operator in _LOOPING:
                        words = f"model.onnx holds the operator {operator.decode()}, by which a"
                        words += " network may go on for ever; refused"
                        raise ModelError("BAD_MODEL", words)
                if isinstance(value, tuple) and (inner := _TREE[kind].get(number)):
                    stack.append((inner, *value))
    except (IndexError, ValueError) as exc:
        raise ModelError("MODEL_CORRUPT", "model.onnx is no ONNX file") from exc


def _fields(data: bytes, at: int, end: int) -> Iterator[tuple[int, int | tuple[int, int]]]:
    """Field numbers, each with its value or with (start, end) of its content."""
    while at < end:
        key, at = _varint(data, at)
        wire = key & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield key >> 3, value
        elif wire == 2:
            size, at = _varint(data, at)
            if size > end - at:
                raise ValueError("a field is longer than its message")
            yield key >> 3, (at, at + size)
            at += size
        elif wire in (1, 5):
            at += 8 if wire == 1 else 4
        else:
            raise ValueError("groups are not used by ONNX")
    if at != end:
        raise ValueError("a field crosses the end of its message")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number is too long")

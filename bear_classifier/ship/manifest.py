"""The schema of bundle.json, checked before anything in it is used.

Fields that answers depend on are checked to the last number. Those that are only shown (figures,
dates, notes) may be odd and keep no model from answering: read them by `optional_field`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from bear_classifier.errors import ModelError
from bear_classifier.images.preprocessing import INTERPOLATIONS
from bear_classifier.runtime.terminal import one_line

SCHEMA = 2
# Version of images.decoder; other pixels need another number. 2: a JPEG is decoded at 1/2, 1/4 or
# 1/8 where that leaves preprocessing.least pixels.
DECODER, SCALED = 1, 2
EXACT = 1e-3  # tolerance of the self-test where every processor computes with the same numbers
LOOSEST = 0.2  # tolerance that may be asked for: a wrong model is further off
REQUIRED = {
    *("model.onnx", "weights.safetensors", "reference.npz", "README.md", "golden/expected.npz"),
}
OPTIONAL = {"pictures.npz", "complete.onnx"}
GOLDEN_NAME = re.compile(r"golden/\d{2}\.(jpeg|png|webp|gif|bmp)")
EXAMPLE_NAME = re.compile(r"example-\d{2}\.jpeg")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LONGEST_NAME = 200
_MOST_CLASSES = 10_000
_MISSING = object()


def number(low: float, high: float) -> Callable[[Any], bool]:
    """Whether a value is a number between these, and no truth value."""
    return lambda value: type(value) in (int, float) and low <= value <= high


def whole_number(low: int, high: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and low <= value <= high


def name(value: Any) -> bool:
    """A text that can be shown as it is: no control characters, not too long."""
    return (
        isinstance(value, str)
        and bool(value.strip())
        and len(value) <= _LONGEST_NAME
        and one_line(value) == value
    )


def _three(each: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and len(value) == 3 and all(map(each, value))


def _labels(value: Any) -> bool:
    return (
        isinstance(value, list)
        and 2 <= len(value) <= _MOST_CLASSES
        and all(map(name, value))
        and len(set(value)) == len(value)
    )


def _table(value: Any) -> bool:
    return isinstance(value, dict)


def _or(other: object, check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is other or check(value)


def _interpolation(value: Any) -> bool:
    return isinstance(value, str) and value in INTERPOLATIONS


_BOTH = " or ".join(INTERPOLATIONS)
_LEAST = _or(None, whole_number(16, 65_535))
# Path of a field, its check, and the same in words. The numbers leave room for any model and none
# for overflow: single precision ends at 1e38.
_FIELDS: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("name", name, "a name"),
    ("labels", _labels, "two or more different names"),
    ("preprocessing", _table, "a table"),
    ("preprocessing.size", whole_number(16, 2048), "a whole number from 16 to 2048"),
    ("preprocessing.mean", _three(number(-1e4, 1e4)), "three numbers from -10000 to 10000"),
    ("preprocessing.std", _three(number(1e-4, 1e4)), "three numbers from 0.0001 to 10000"),
    ("preprocessing.crop", _or(_MISSING, number(0.01, 1)), "a number from 0.01 to 1"),
    ("preprocessing.interpolation", _or(_MISSING, _interpolation), _BOTH),
    ("preprocessing.least", _or(_MISSING, _LEAST), "a whole number or null"),
    ("temperature", number(1e-3, 1e3), "a number from 0.001 to 1000"),
    ("rejection", _table, "a table"),
    ("rejection.close", number(0, 1), "a number from 0 to 1"),
    ("rejection.least", _or(None, number(-1e30, 1e30)), "a number or null"),
    ("precision", _or(_MISSING, _table), "a table"),
    ("precision.tolerance", _or(_MISSING, number(1e-9, LOOSEST)), f"a number from 0 to {LOOSEST}"),
    ("files", _table, "a table"),
)


def check_manifest(about: Any) -> None:
    """Raises ModelError (BAD_MODEL, which names the field; MODEL_VERSION, UNEXPECTED_FILE,
    MODEL_INCOMPLETE)."""
    if not isinstance(about, dict):
        raise ModelError("BAD_MODEL", "bundle.json does not describe a model: it is no table")
    if about.get("schema") != SCHEMA or isinstance(about["schema"], bool):
        formats = f"format {_brief(about.get('schema'))}; this program reads format {SCHEMA}"
        advice = "install the version of bear-classifier that wrote it, or a newer one"
        raise ModelError("MODEL_VERSION", f"this model has {formats}: {advice}")
    for path, is_valid, words in _FIELDS:
        value = _at(about, path)
        if not is_valid(value):
            state = "is missing" if value is _MISSING else f"is {_brief(value)}"
            raise ModelError("BAD_MODEL", f"bundle.json: {path} {state}, not {words}")
    _versions(about)
    _files(about["files"])


def _versions(about: Mapping[str, Any]) -> None:
    shape = about["preprocessing"]
    decoder, least = shape.get("decoder"), shape.get("least")
    if isinstance(decoder, bool) or decoder not in (DECODER, SCALED):
        words = f"the model wants decoder {_brief(decoder)}, not {DECODER}"
        raise ModelError("MODEL_VERSION", words)
    if (decoder == SCALED) != (least is not None):
        raise ModelError("BAD_MODEL", f"decoder {decoder} cannot stop at {least} pixels")
    if least is not None and least * shape.get("crop", 1) < shape["size"]:
        raise ModelError("BAD_MODEL", f"{least} pixels are too few for {shape['size']}")
    kind = about.get("precision", {"is": "fp32"}).get("is", _MISSING)
    if kind is _MISSING:
        raise ModelError("BAD_MODEL", "bundle.json: precision.is is missing, not fp32 or int8")
    if kind not in ("fp32", "int8"):
        raise ModelError("MODEL_VERSION", f"the model computes with {_brief(kind)}")


def example_name(number: int) -> str:
    """The file of one of the drawn pictures of which `about["examples"]` has the classes."""
    return f"example-{number:02}.jpeg"


def is_part(file: str) -> bool:
    """Whether a bundle may have a file of this name, beside bundle.json."""
    known = file in REQUIRED or file in OPTIONAL
    return known or bool(GOLDEN_NAME.fullmatch(file) or EXAMPLE_NAME.fullmatch(file))


def _files(listed: Mapping[str, Any]) -> None:
    if strange := sorted(name for name in listed if not is_part(name)):
        raise ModelError("UNEXPECTED_FILE", f"a bundle has no file {_brief(strange[0])}; refused")
    if missing := sorted(REQUIRED - set(listed)):
        raise ModelError("MODEL_INCOMPLETE", f"{missing[0]} is not listed in bundle.json")
    for file, entry in listed.items():
        sha = entry.get("sha256") if isinstance(entry, dict) else None
        if not isinstance(sha, str) or not _SHA256.fullmatch(sha):
            raise ModelError("BAD_MODEL", f"bundle.json: files: {file} has no checksum")
        if not whole_number(0, 2**40)(entry.get("size")):
            raise ModelError("BAD_MODEL", f"bundle.json: files: {file} has no size")


def optional_field(about: Mapping[str, Any], path: str, kind: type | tuple[type, ...]) -> Any:
    """A field that is only shown, by its path; None where it is missing or of another type."""
    value = _at(about, path)
    return value if isinstance(value, kind) and not isinstance(value, bool) else None


def _at(about: Mapping[str, Any], path: str) -> Any:
    value: Any = about
    for part in path.split("."):
        value = value.get(part, _MISSING) if isinstance(value, dict) else _MISSING
    return value


def _brief(value: Any) -> str:
    """The value as Python writes it, with control characters escaped, cut to a few words."""
    text = ascii(value) if isinstance(value, str) else repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."

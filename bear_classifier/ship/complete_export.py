"""`bears export --format onnx-complete`: one file from pixels to the answer, and how to use it.

OUT/complete.onnx           see ship/complete_onnx.py
OUT/README.md               the lines of Python that ask it
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bear_classifier.errors import ConfigError, ModelError
from bear_classifier.images import decoder
from bear_classifier.runtime.files import write_atomic
from bear_classifier.ship import bundle, complete_onnx
from bear_classifier.ship.bundle import Bundle
from bear_classifier.ship.model_card import USE_COMPLETE
from bear_classifier.ship.onnx_check import refuse_unsafe
from bear_classifier.ship.predict import Model

if TYPE_CHECKING:
    from bear_classifier.ship.library_formats import WrittenWeights

FORMAT, FILE = "onnx-complete", "complete.onnx"
ROOM_BYTES = 10_000_000  # that it may add to a bundle
_ALLOWED = 0.01  # largest difference of a probability on the pictures of the self-test


def write_complete(model: Path, out: Path) -> WrittenWeights:
    """Write the file, proved on the pictures of the bundle's self-test to answer as the bundle does
    in full precision. out: a folder, made where it lacks.

    Raises ModelError (as `bundle.load`, BAD_MODEL, PARITY), ConfigError (BAD_ARCH), DataError
    (CANNOT_WRITE)."""
    from bear_classifier.ship.library_formats import WrittenWeights  # it imports torch

    opened = bundle.load(model)
    data, difference = complete_file(opened)
    for name, content in ((FILE, data), ("README.md", _read_me(opened).encode())):
        write_atomic(out / name, content)
    return WrittenWeights(out, FORMAT, [FILE, "README.md"], difference)


def complete_file(opened: Bundle) -> tuple[bytes, float]:
    """The file, and the largest difference of a probability from the bundle in full precision, on
    the pictures of its self-test; that of the bundle, if it has one. Raises ModelError (BAD_MODEL,
    PARITY, UNSAFE_MODEL_FILE), ConfigError (BAD_ARCH)."""
    exact = in_full_precision(opened)
    if FILE in opened.about["files"]:
        refuse_unsafe(data := bundle.part(opened, FILE))
    else:
        data = complete_onnx.complete(exact)
    return data, _proved(data, exact)


def part_of_bundle(exact: Bundle) -> tuple[bytes | None, dict[str, Any]]:
    """The file for a bundle that is being made, and what bundle.json says of it: whether it is in
    it, and if not, why. exact: with its network in full precision."""
    try:
        if (least := len(exact.onnx) + len(exact.reference)) > ROOM_BYTES:
            return None, _left_out(least)
        data, difference = complete_file(exact)
    except (ModelError, ConfigError) as exc:  # a network that cannot be written so is no fault
        return None, {"is": "left out", "why": str(exc)}
    if len(data) > ROOM_BYTES:
        return None, _left_out(len(data))
    return data, {"is": "in it", "bytes": len(data), "largest_difference": difference}


def _left_out(size: int) -> dict[str, Any]:
    most = f"{ROOM_BYTES / 1e6:.0f} MB is the limit"
    way = "it can be written beside the bundle, as the format onnx-complete"
    why = f"it would add {size / 1e6:.1f} MB, and {most}; {way}"
    return {"is": "left out", "bytes": size, "why": why}


def in_full_precision(published: Bundle) -> Bundle:
    """The bundle with its network in single precision, made of its weights where it was published
    in 8-bit integers: these are slower in a browser, and answer a little otherwise."""
    if published.about.get("precision", {}).get("is") != "int8":
        return published
    from bear_classifier.learn.frozen_forward import to_onnx
    from bear_classifier.learn.library_weights import classifier_of

    weights, size = bundle.part(published, "weights.safetensors"), published.size
    arch = str(published.about["architecture"])
    network = classifier_of(weights, arch, len(published.labels), size)
    return replace(published, onnx=to_onnx(network, size))


def _proved(data: bytes, exact: Bundle) -> float:
    """The largest difference of a probability. Raises ModelError (PARITY)."""
    model, complete, worst = Model(exact), complete_onnx.Complete(data), 0.0
    for picture in exact.golden()[0]:
        image = decoder.decode(picture)
        ours = model.predict(image)
        theirs = complete.predict(np.asarray(image))
        gap = max(abs(p - theirs.probabilities[k]) for k, p in ours.probabilities.items())
        worst = max(worst, gap)
        if not gap <= _ALLOWED:
            words = f"{picture.name}: a probability differs by {gap:.2g}, at most {_ALLOWED} is"
            words += " allowed. Nothing was written"
            raise ModelError("PARITY", f"{FILE} answers otherwise than {exact.path}: {words}")
    return worst


def _read_me(model: Bundle) -> str:
    return (
        f"# {model.about['name']}, version {model.about['version']}, in one file\n\n"
        f"`{FILE}` takes the pixels of an upright photo in RGB, of any size, and tells apart, in"
        f" this order: {', '.join(model.labels)}. It prepares the picture, calibrates the"
        " probabilities and refuses pictures of something else, as the bundle does. onnxruntime"
        f" runs it on any device, in a browser too.\n\n```python\n{USE_COMPLETE}\n```\n\n"
        "`ood_score` says how like the training photos it is (about 0: like them), `evidence`"
        " (classes, rows, columns) where in the picture it saw each class.\n"
    )

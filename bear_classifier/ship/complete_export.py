"""`bears export --format onnx-complete`: one file from pixels to the answer, and how to use it.

OUT/complete.onnx           see ship/complete_onnx.py
OUT/README.md               the lines of Python that ask it
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from bear_classifier.errors import ModelError
from bear_classifier.images import decoder
from bear_classifier.runtime.files import write_atomic
from bear_classifier.ship import bundle, complete_onnx
from bear_classifier.ship.bundle import Bundle
from bear_classifier.ship.library_formats import WrittenWeights
from bear_classifier.ship.predict import Model

FORMAT, FILE = "onnx-complete", "complete.onnx"
_ALLOWED = 0.01  # largest difference of a probability on the pictures of the self-test
USE = """\
import json
import numpy, onnxruntime
session = onnxruntime.InferenceSession("complete.onnx")
about = session.get_modelmeta().custom_metadata_map
labels, reasons = json.loads(about["labels"]), json.loads(about["reasons"])
# A photo: pixels = numpy.asarray(PIL.ImageOps.exif_transpose(PIL.Image.open(PHOTO)).convert("RGB"))
pixels = numpy.zeros((480, 640, 3), dtype="uint8")
outputs = ["label", "probabilities", "reason"]
label, probabilities, reason = session.run(outputs, {"pixels": pixels})
print(reasons[reason], labels[label], dict(zip(labels, probabilities.tolist())))"""


def write_complete(model: Path, out: Path) -> WrittenWeights:
    """Write the file, proved on the pictures of the bundle's self-test to answer as the bundle does
    in full precision. out: a folder, made where it lacks.

    Raises ModelError (as `bundle.load`, BAD_MODEL, PARITY), ConfigError (BAD_ARCH), DataError
    (CANNOT_WRITE)."""
    opened = bundle.load(model)
    data, difference = complete_file(opened)
    for name, content in ((FILE, data), ("README.md", _read_me(opened).encode())):
        write_atomic(out / name, content)
    return WrittenWeights(out, FORMAT, [FILE, "README.md"], difference)


def complete_file(opened: Bundle) -> tuple[bytes, float]:
    """The file, and the largest difference of a probability from the bundle in full precision, on
    the pictures of its self-test. Raises ModelError (BAD_MODEL, PARITY), ConfigError (BAD_ARCH)."""
    exact = in_full_precision(opened)
    data = complete_onnx.complete(exact)
    return data, _proved(data, exact)


def in_full_precision(published: Bundle) -> Bundle:
    """The bundle with its network in single precision, made of its weights where it was published
    in 8-bit integers: these are slower in a browser, and answer a little otherwise."""
    if published.about.get("precision", {}).get("is") != "int8":
        return published
    from bear_classifier.learn.library_weights import classifier_of
    from bear_classifier.ship.export import to_onnx

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
        f" runs it on any device, in a browser too.\n\n```python\n{USE}\n```\n\n"
        "`ood_score` says how like the training photos it is (about 0: like them), `evidence`"
        " (classes, rows, columns) where in the picture it saw each class.\n"
    )

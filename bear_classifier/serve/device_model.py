"""A model as the page runs it in the visitor's browser: its file, and what the page has to know.

`python -m bear_classifier.serve.device_model BUNDLE CHECKSUM FOLDER` makes the file in a process of
its own: the network of a bundle in 8-bit integers is rebuilt in full precision for it, with more
memory than the service should hold. It leaves

    FOLDER/SHA256.onnx    see ship/complete_onnx.py
    FOLDER/facts.json     what `device_facts` says, and name, checksum and bytes of the file

and on failure one line of JSON on standard error, with a `message`.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from bear_classifier.errors import BearsError, ModelError
from bear_classifier.runtime.files import write_atomic
from bear_classifier.ship import bundle
from bear_classifier.ship.bundle import Bundle
from bear_classifier.ship.complete_export import FILE, complete_file
from bear_classifier.ship.complete_onnx import REASONS
from bear_classifier.ship.onnx_check import refuse_unsafe

_NICE = 10  # whoever asks the server goes before


def device_facts(model: Bundle) -> dict[str, Any]:
    """Labels and reasons in the order of the file's numbers, how the square is cut and resized,
    and the limits of the rejection rule."""
    shape, rule = model.preprocessing, model.about["rejection"]
    return {
        "labels": model.labels,
        "reasons": REASONS,
        "size": shape.size,
        "crop": shape.crop,
        "interpolation": shape.interpolation,
        "least": rule["least"],
        "close": rule["close"],
    }


def file_facts(name: str, data: bytes) -> dict[str, Any]:
    """What the page checks a file against that it loads. name: its address, from the page."""
    return {"name": name, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}


def make(place: Path, checksum: str, folder: Path) -> None:
    """Write both files. checksum: of the bundle that is served.

    Raises ModelError (as `complete_file`; MODEL_REPLACED: another one lies there now), ConfigError
    (BAD_ARCH), OSError."""
    opened = bundle.load(place)
    if opened.about["checksum"] != checksum:
        raise ModelError("MODEL_REPLACED", f"{place} was published anew; start the service again")
    if FILE in opened.about["files"]:  # proved when the bundle was made
        refuse_unsafe(data := bundle.part(opened, FILE))
    else:
        data = complete_file(opened)[0]
    file = file_facts("", data)
    file["name"] = f"device/{file['sha256']}.onnx"
    write_atomic(folder / Path(file["name"]).name, data)
    facts = {"model": file, **device_facts(opened)}
    write_atomic(folder / "facts.json", json.dumps(facts).encode())


if __name__ == "__main__":
    if hasattr(os, "nice"):
        os.nice(_NICE)
    try:
        make(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
    except (BearsError, OSError, ImportError, MemoryError) as exc:
        message = exc.sentence if isinstance(exc, BearsError) else f"{type(exc).__name__}: {exc}"
        sys.exit(json.dumps({"message": message}))

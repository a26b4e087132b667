"""The weights of a bundle as files for other libraries, each proved to answer as the bundle does.

OUT/README.md               how to load them, the classes, what pictures they want to see
OUT/weights.pth             torchvision, timm: a state dict with the library's own keys
OUT/weights.safetensors     safetensors: the same, in a file that runs no code
OUT/export.pkl              fastai: an exported Learner, which runs code when it is loaded
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save as to_safetensors

from bear_classifier.config.project_file import build
from bear_classifier.errors import ConfigError, ModelError
from bear_classifier.learn import library_weights
from bear_classifier.learn.architectures import Architecture, architecture
from bear_classifier.learn.backbone import Classifier
from bear_classifier.runtime.files import write_atomic
from bear_classifier.ship import bundle
from bear_classifier.ship.bundle import Bundle
from bear_classifier.ship.predict import Model
from bear_classifier.stats.metrics import softmax

_FILES = {"safetensors": "weights.safetensors", "fastai": "export.pkl"}
_EXACT = 1e-4  # largest difference of a probability
_HALF = 0.02  # the same where a bundle keeps its weights in half precision, its network in full


@dataclass(frozen=True)
class WrittenWeights:
    """files: in the folder `path`; difference: the largest of a probability, on the pictures of the
    bundle's self-test."""

    path: Path
    format: str
    files: list[str]
    difference: float


def write_weights(model: Path, form: str, out: Path) -> WrittenWeights:
    """form: torchvision, timm, safetensors or fastai; out: a folder, made where it lacks. Raises
    ModelError (as `bundle.load`, PARITY), ConfigError (OTHER_LIBRARY, NO_OWN_HEAD, BAD_ARCH) and
    DataError (CANNOT_WRITE)."""
    opened = bundle.load(model)
    about = opened.about
    arch, shape = str(about["architecture"]), opened.preprocessing
    made = architecture(arch)
    if form in ("torchvision", "timm") and form != made.library:
        raise ConfigError(
            "OTHER_LIBRARY",
            f"{model} is a {made.name} of {made.library}; use --format {made.library}, safetensors"
            " or fastai",
        )
    weights = (opened.path / "weights.safetensors").read_bytes()
    network = library_weights.classifier_of(weights, arch, len(opened.labels), shape.size)
    pictures, _ = opened.golden()
    exact = softmax(library_weights.network_logits(network, shape, pictures), opened.temperature)
    if form == "fastai":
        data, said = _learner(opened, network, pictures)
    else:
        state = library_weights.library_state(network, arch, shape.size, opened.temperature)
        data, classes = _serialised(state, form, opened), len(opened.labels)
        said = softmax(library_weights.logits_of_state(state, made, classes, shape, pictures))
    _require(said, exact, _EXACT, f"the network of {model}")
    model_of_bundle = Model(opened)
    ours = np.stack([model_of_bundle.outputs(path)[0] for path in pictures])
    half = _HALF if library_weights.in_half_precision(weights) else _EXACT
    allowed = max(opened.tolerance, half)
    difference = _require(said, model_of_bundle.probabilities(ours), allowed, str(model))
    name = _FILES.get(form, "weights.pth")
    text = _read_me(opened, made, form, name)
    for file, content in ((name, data), ("README.md", text.encode())):
        write_atomic(out / file, content)
    return WrittenWeights(out, form, [name, "README.md"], difference)


def _serialised(state: library_weights.LibraryState, form: str, opened: Bundle) -> bytes:
    if form == "safetensors":
        about = {"labels": json.dumps(opened.labels), "architecture": opened.about["architecture"]}
        return bytes(to_safetensors(state, metadata=about))
    written = io.BytesIO()
    torch.save(state, written)
    return written.getvalue()


def _learner(
    opened: Bundle, network: Classifier, pictures: list[Path]
) -> tuple[bytes, NDArray[np.float64]]:
    """An exported Learner, and its probabilities (n, classes) of the pictures."""
    tables = {
        "name": "export",
        "classes": {label: [label] for label in opened.labels},
        "learn": {"arch": opened.about["architecture"], "weights": str(opened.path.resolve()),
                  "device": "cpu"},
        "train": {"batch_size": 1},
    }  # fmt: skip
    config = build(tables, "export")
    data, said = library_weights.as_learner(network, config, opened.temperature, pictures)
    return data, said.astype(np.float64)


def _require(
    said: NDArray[np.float64], wanted: NDArray[np.float64], allowed: float, whose: str
) -> float:
    """The largest difference of a probability (n, classes). Raises ModelError (PARITY)."""
    gap = float(np.abs(said - wanted).max())
    if not gap <= allowed:
        raise ModelError(
            "PARITY",
            f"these weights answer otherwise than {whose}: a probability differs by {gap:.2g}, at"
            f" most {allowed:.2g} is allowed. Nothing was written",
        )
    return gap


_LOADING = {
    "torchvision": """import torch, torchvision
model = torchvision.models.get_model({name!r}, num_classes={classes}{extra})
model.load_state_dict(torch.load("weights.pth", weights_only=True))""",
    "timm": """import timm, torch
model = timm.create_model({name!r}, num_classes={classes}{extra})
model.load_state_dict(torch.load("weights.pth", weights_only=True))""",
    "safetensors": """import safetensors.torch
state = safetensors.torch.load_file("weights.safetensors")""",
    "fastai": """from fastai.learner import load_learner
learner = load_learner("export.pkl")  # runs the code in it: load only files that you trust
label, _, probabilities = learner.predict("photo.jpg")""",
}


def _read_me(opened: Bundle, made: Architecture, form: str, name: str) -> str:
    shape, labels = opened.preprocessing, opened.labels
    extra = ", init_weights=False" if made.name in ("googlenet", "inception_v3") else ""
    code = _LOADING[form].format(name=made.name, classes=len(labels), extra=extra)
    if form == "fastai":
        after = "It prepares photos itself, and needs the package bear-classifier beside fastai."
    else:
        lines = [
            "model.eval()",
            "probabilities = model(batch).softmax(1)  # (n, classes)",
        ]
        code += "\n" + "\n".join(lines) if form != "safetensors" else ""
        side = shape.size
        after = (
            f"`batch` is (n, 3, {side}, {side}): of each photo, upright and in RGB, the centre"
            f" square of {shape.crop:.0%} of its shorter side, resized to {side} pixels"
            f" ({shape.interpolation}), divided by 255, less {_three(shape.mean)}, divided by"
            f" {_three(shape.std)}."
        )
        if form == "safetensors":
            after = f"The names are those of {made.name} of {made.library}. {after}"
    return (
        f"# {opened.about['name']}, version {opened.about['version']}, for {form}\n\n"
        f"`{name}` holds a {made.name} of {made.library} that tells apart, in this order:"
        f" {', '.join(labels)}.\n\n```python\n{code}\n```\n\n{after}\n\n"
        "Its probabilities are calibrated as in the bundle. What the bundle does beside that is not"
        " in it: it does not refuse pictures of something else.\n"
    )


def _three(values: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{value:g}" for value in values) + ")"


def weights_text(done: WrittenWeights) -> str:
    """In words."""
    line = (
        f"{done.path}: {' and '.join(done.files)}; answers as the bundle does (largest difference"
        f" of a probability {done.difference:.1g})"
    )
    if done.format != "fastai":
        return line
    return f"{line}\nwarning: whoever loads export.pkl runs the code in it"

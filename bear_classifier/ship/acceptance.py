"""Acceptance of int8 and of scaled decoding: same answers on validation photos, and faster.

Each is compared on validation photos with the model whose parity with the trained network was
proved: full precision, decoded in full. One that answers otherwise is dropped, and the bundle says
why. Scaled decoding is compared on the photos whose pixels it changes; int8, with the decoding that
was chosen, on all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bear_classifier.config.settings import Config
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.errors import ModelError
from bear_classifier.images.preprocessing import Preprocessing
from bear_classifier.learn import int8
from bear_classifier.runtime.files import write_errors
from bear_classifier.runtime.terminal import count, progress_bar
from bear_classifier.ship import manifest
from bear_classifier.ship.predict import Model
from bear_classifier.stats.metrics import calibration_error

LEAST_PHOTOS = 100  # validation photos; agreement on fewer says little
_MOST = 2000  # validation photos to compare on
_ROOM = 8 / 7  # of the shorter side over the square: 256 pixels for 224
_FASTER = 1.2  # times; less is not worth another model
_SHARPER = 2.0  # tolerance of the self-test over the rounding that was measured


@dataclass(frozen=True)
class Bar:
    """Limits of an approximation. agreement: least share of photos with the same likeliest class;
    ece: by how much the calibration error may rise; verdicts: largest share of photos that only one
    of the two models answers; shift: largest change of mean familiarity, in standard deviations.

    Changed verdicts are counted both ways. McNemar's test compares the two ways, and could not see
    even six lost answers of the few photos near the threshold. The shift stands for OOD images, of
    which there are none here: if all photos looked more familiar, no verdict on a bear changed."""

    agreement: float
    ece: float = 0.005
    verdicts: float = 0.01
    shift: float = 0.1


INT8, DECODING = Bar(agreement=0.995), Bar(agreement=0.998)


@dataclass(frozen=True)
class ModelAnswers:
    """Of n photos: probabilities (n, classes), familiarity (n,) and whether answered (n,)."""

    probabilities: NDArray[np.float64]
    familiarity: NDArray[np.float64]
    answered: NDArray[np.bool_]


@dataclass(frozen=True)
class Taken:
    """onnx: the network to publish. preprocessing: of bundle.json, where it changes. decoding,
    precision: what was taken and why, with the figures, for bundle.json and the card."""

    onnx: bytes
    preprocessing: Mapping[str, Any]
    decoding: Mapping[str, Any]
    precision: Mapping[str, Any]


def compare_models(
    full: ModelAnswers, short: ModelAnswers, targets: NDArray[np.int64]
) -> dict[str, Any]:
    """Figures of two models on the same photos. targets: (n,) true class numbers."""
    n = len(targets)
    if not n:
        return {"photos": 0, "differ": 0}
    models = (full, short)
    return {
        "photos": n,
        "differ": int((full.probabilities.argmax(1) != short.probabilities.argmax(1)).sum()),
        "calibration_error": [calibration_error(m.probabilities, targets) for m in models],
        "refused": [int((~m.answered).sum()) for m in models],
        "verdicts": int((full.answered != short.answered).sum()),
        "shift": float((short.familiarity - full.familiarity).mean()),
    }


def objection(name: str, figures: Mapping[str, Any], bar: Bar) -> str:
    """Why a shortcut of this name is not taken, in words; empty where it may be."""
    n = figures["photos"]
    if not n:
        return f"there is no validation photo to try {name} on"
    share = 1 - figures["differ"] / n
    before, after = figures["calibration_error"]
    if not share >= bar.agreement:
        agreed = f"{name} agreed on {share:.1%} of {count(n, 'validation photo')}"
        return f"{agreed}; {bar.agreement:.1%} is required"
    if not after - before <= bar.ece:
        change = f"{before:.1%} to {after:.1%}"
        moved = f"with {name} the calibration error went from {change}"
        return f"{moved}; a rise of {bar.ece:.1%} is allowed"
    if not figures["verdicts"] <= bar.verdicts * n:
        changed = f"with {name} {figures['verdicts']} of {n} validation photos are answered that"
        return f"{changed} were not before, or no longer; {bar.verdicts:.0%} is allowed"
    if not abs(figures["shift"]) <= bar.shift:
        shifted = f"with {name} photos look {figures['shift']:+.2f} standard deviations more like"
        return f"{shifted} the training photos; {bar.shift} is allowed"
    return ""


def least_side(shape: Preprocessing) -> int:
    """Pixels of the shorter side that are enough for the square that the network sees."""
    return int(np.ceil(shape.size / shape.crop * _ROOM))


def take(catalog: Catalog, config: Config, proved: Model) -> Taken:
    """Which approximations to publish. proved: in full precision, decoding in full. Raises
    ModelError (PRECISION) where int8 is required and would answer otherwise, DataError (DISK_FULL,
    CANNOT_WRITE), PhotoError."""
    photos = sorted(catalog.photos("ok"), key=lambda photo: photo.sha256)
    valid = [photo for photo in photos if photo.split == "valid"][:_MOST]
    files = [catalog.file(photo) for photo in valid]
    targets = np.array([config.labels.index(photo.label) for photo in valid], dtype=np.int64)
    scaled = with_least(proved, least_side(proved.bundle.preprocessing))
    full, small, changed = [], [], []
    for file in progress_bar(files, desc="decoding", unit="photo"):
        plain, quick = (np.asarray(model.square(file)) for model in (proved, scaled))
        full.append(_answer(proved, plain))
        changed.append(not np.array_equal(plain, quick))
        if changed[-1]:
            small.append(_answer(scaled, quick))
    pair = _stacked(compress(full, changed)), _stacked(small)
    decoding = _decoding(config, *pair, targets[np.array(changed, dtype=bool)])
    changes, chosen = {"decode": decoding["is"]}, proved
    if decoding["is"] == "scaled":
        changes |= {"decoder": manifest.SCALED, "least": scaled.bundle.least}
        chosen = scaled
    train = [catalog.file(photo) for photo in photos if photo.split == "train"]
    network, precision = _precision(config, chosen, train, (files, targets, _stacked(full)))
    return Taken(network, changes, decoding, precision)


def with_least(model: Model, least: int) -> Model:
    """The same model, which has a JPEG decoded no larger than it needs."""
    shape = {**model.bundle.about["preprocessing"], "decoder": manifest.SCALED, "least": least}
    about = {**model.bundle.about, "preprocessing": shape}
    return Model(dataclasses.replace(model.bundle, about=about))


def _decoding(
    config: Config, full: ModelAnswers, scaled: ModelAnswers, targets: NDArray[np.int64]
) -> dict[str, Any]:
    """Whether to decode no larger than needed, by the photos whose pixels that changes."""
    if config.export.decode == "full":
        return {"is": "full", "why": "export.decode says so"}
    figures, n = compare_models(full, scaled, targets), len(targets)
    why = objection("decoding smaller", figures, DECODING)
    if n < LEAST_PHOTOS:
        large = f"{count(n, 'validation photo')} {'is' if n == 1 else 'are'} large enough"
        why = f"{large} to be decoded smaller; {LEAST_PHOTOS} are needed"
    if why:
        return {"is": "full", "why": why, **figures}
    same = n - figures["differ"]
    why = f"{same} of {n} validation photos that are decoded smaller are answered alike"
    return {"is": "scaled", "why": why, **figures}


def _precision(
    config: Config,
    model: Model,
    train: Sequence[Path],
    valid: tuple[Sequence[Path], NDArray[np.int64], ModelAnswers],
) -> tuple[bytes, dict[str, Any]]:
    """The network to publish, and why in this precision. model: as it decodes; valid: files, their
    class numbers, and the answers of the proved model."""
    files, targets, full = valid
    fp32, requested, n = model.bundle.onnx, config.export.precision, len(files)
    if requested == "fp32":
        return fp32, {"is": "fp32", "why": "export.precision says so"}
    if requested == "auto" and n < LEAST_PHOTOS:
        why = f"{count(n, 'validation photo')}, and trying int8 needs {LEAST_PHOTOS}"
        return fp32, {"is": "fp32", "why": why}
    order = np.random.default_rng(config.train.seed).permutation(len(train))
    order = np.sort(order[: int8.CALIBRATION_PHOTOS])
    images = [_image(model, train[row]) for row in progress_bar(order, desc="int8")]
    try:
        if not files or not images:
            raise ModelError("NOT_QUANTISED", "int8 needs training and validation photos")
        with write_errors(model.bundle.path):
            network = int8.quantised(fp32, images)
        short = Model(dataclasses.replace(model.bundle, onnx=network))
    except ModelError as exc:
        if requested == "int8":
            raise ModelError("PRECISION", exc.sentence) from exc
        return fp32, {"is": "fp32", "why": exc.sentence}
    bar = progress_bar(files, desc="int8", unit="photo")
    answers = _stacked(_answer(short, np.asarray(short.square(file))) for file in bar)
    golden = [_image(short, picture)() for picture in model.bundle.golden()[0]]
    moved = int8.rounding(network, golden)
    before, after = int8.milliseconds([fp32, network], images[0]())
    figures = compare_models(full, answers, targets)
    figures |= {"rounding": moved, "bytes": [len(fp32), len(network)]}
    figures["milliseconds"] = [before, after]
    why = objection("int8", figures, INT8)
    if not why and not moved <= manifest.LOOSEST:
        why = f"int8 moves by {moved:.0%} where a processor rounds otherwise"
    if why and requested == "int8":
        raise ModelError("PRECISION", f'{why}; export.precision = "auto" would publish fp32')
    if not why and requested == "auto" and not before >= _FASTER * after:
        slow = f"int8 took {after:.1f} ms instead of {before:.1f}"
        why = f"{slow}; {_FASTER} times as fast is required"
    if why:
        return fp32, {"is": "fp32", "why": why, **figures}
    alike = f"{n - figures['differ']} of {n} validation photos are answered alike"
    why = f"{alike}, {before / after:.1f} times as fast"
    return network, {"is": "int8", "why": why, "tolerance": tolerance_of(moved), **figures}


def tolerance_of(moved: float) -> float:
    """Of the self-test of int8. moved: as `int8.rounding` measures it."""
    return min(manifest.LOOSEST, max(0.02, _SHARPER * moved))


def _image(model: Model, source: Path) -> Callable[[], NDArray[np.float32]]:
    """As the network is fed; the pixels are kept as bytes."""
    return partial(model.bundle.normalise, np.asarray(model.square(source)))


def _answer(model: Model, pixels: NDArray[np.uint8]) -> tuple[NDArray[Any], float, bool]:
    """probabilities (classes,), familiarity and whether answered, of a square."""
    logits, pooled, _ = model.of_square(pixels)
    probabilities = model.probabilities(logits)
    familiarity = float(model.familiarity(pooled[None])[0])
    return probabilities, familiarity, model.verdict(probabilities, pooled) == "ok"


def _stacked(answers: Iterable[tuple[NDArray[Any], float, bool]]) -> ModelAnswers:
    columns = list(zip(*answers, strict=True)) or [(), (), ()]
    return ModelAnswers(*map(np.array, columns))

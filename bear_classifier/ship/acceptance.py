"""Acceptance of int8 and of scaled decoding: same answers on validation photos, and faster.

Each is tried on the validation photos, from their files, beside the model that was proved to answer
as the trained one: full precision, decoded in full. One that answers otherwise is dropped, and the
bundle says why. So parity with the trained network is proved for the pixels that it learned from;
that a shortcut costs no answer is measured, not proved.

Decoding is compared on the photos that it makes a difference to; integers, with the decoding that
was chosen, on all: what is published with what was proved.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bear_classifier.config.settings import Config
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import Photo
from bear_classifier.errors import ModelError
from bear_classifier.runtime.files import write_errors
from bear_classifier.runtime.terminal import count, progress_bar
from bear_classifier.ship import int8, manifest
from bear_classifier.ship.predict import Model
from bear_classifier.stats.metrics import calibration_error

LEAST_PHOTOS = 100  # photos; that none of fewer is answered otherwise says little
_MOST = 2000  # validation photos to compare on
_CALIBRATING = 200  # training photos that show the range of activations
_ROOM = 8 / 7  # of the shorter side over the square: 256 pixels for 224
_FASTER = 1.2  # times; less is not worth another model
_SHARPER = 2.0  # the tolerance of the self-test over what other sums were seen to change


@dataclass(frozen=True)
class Bar:
    """What a shortcut has to keep. agreement: least share of photos with the same likeliest class;
    ece: most change of the calibration error; verdicts: most share of photos that are answered
    with the one model only; shift: most change of mean familiarity, in standard deviations.

    Verdicts that flip are counted, both ways. McNemar's test would take the difference of the two
    ways, and could not see even six lost answers of the few photos that stand near the limit. The
    shift is there for OOD images, of which there are none here: were all photos to look more
    familiar, no verdict on a bear would change."""

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

    def of(self, rows: NDArray[np.bool_]) -> ModelAnswers:
        return ModelAnswers(self.probabilities[rows], self.familiarity[rows], self.answered[rows])


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
    differ = int((full.probabilities.argmax(1) != short.probabilities.argmax(1)).sum())
    errors = [calibration_error(said.probabilities, targets) for said in (full, short)]
    return {
        "photos": n,
        "differ": differ,
        "calibration_error": errors,
        "refused": [int((~said.answered).sum()) for said in (full, short)],
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
    if not abs(after - before) <= bar.ece:
        change = f"{before:.1%} to {after:.1%}"
        moved = f"with {name} the calibration error went from {change}"
        return f"{moved}; a change of {bar.ece:.1%} is allowed"
    if not figures["verdicts"] <= bar.verdicts * n:
        return (
            f"with {name} {figures['verdicts']} of {n} validation photos are answered that were not"
            f" before, or no longer; {bar.verdicts:.0%} is allowed"
        )
    if not abs(figures["shift"]) <= bar.shift:
        return (
            f"with {name} photos look {figures['shift']:+.2f} standard deviations more like the"
            f" training photos; {bar.shift} is allowed"
        )
    return ""


def least_side(size: int) -> int:
    """Pixels of the shorter side that are enough for a square of this size."""
    return int(np.ceil(size * _ROOM))


def take(catalog: Catalog, config: Config, proved: Model) -> Taken:
    """Which shortcuts to publish. proved: in full precision, decoding in full.

    Raises ModelError (PRECISION) where integers are asked for and would answer otherwise, DataError
    (DISK_FULL, CANNOT_WRITE), PhotoError."""
    photos = sorted(catalog.photos("ok"), key=lambda photo: photo.sha256)
    valid = [photo for photo in photos if photo.split == "valid"][:_MOST]
    files = [catalog.file(photo) for photo in valid]
    targets = np.array([config.labels.index(photo.label) for photo in valid], dtype=np.int64)
    scaled = with_least(proved, least_side(config.learn.size))
    full, small, changed = _both_ways(proved, scaled, files)
    decoding = _decoding(config, full.of(changed), small.of(changed), targets[changed])
    chosen = scaled if decoding["is"] == "scaled" else proved
    onnx, precision = proved.bundle.onnx, {"is": "fp32", "why": "export.precision says so"}
    if config.export.precision == "int8" or (
        config.export.precision == "auto" and len(files) >= LEAST_PHOTOS
    ):
        network, precision = _integers(catalog, config, photos, chosen, (full, files, targets))
        onnx = network if precision["is"] == "int8" else onnx
    elif config.export.precision == "auto":
        why = f"{count(len(files), 'validation photo')}, and trying int8 needs {LEAST_PHOTOS}"
        precision = {"is": "fp32", "why": why}
    changes = {"decode": decoding["is"]}
    if decoding["is"] == "scaled":
        changes |= {"decoder": manifest.SCALED, "least": scaled.bundle.least}
    return Taken(onnx, changes, decoding, precision)


def with_least(model: Model, least: int) -> Model:
    """The same model, which has a JPEG decoded no larger than it needs."""
    shape = {**model.bundle.about["preprocessing"], "decoder": manifest.SCALED, "least": least}
    about = {**model.bundle.about, "preprocessing": shape}
    return Model(dataclasses.replace(model.bundle, about=about))


def _both_ways(
    full: Model, small: Model, files: Sequence[Path]
) -> tuple[ModelAnswers, ModelAnswers, NDArray[np.bool_]]:
    """What a model says of photos decoded in full and smaller, and (n,) where pixels differ."""
    theirs, ours, changed = [], [], []
    for file in progress_bar(files, desc="decoding", unit="photo"):
        plain, quick = (np.asarray(model.square(file)) for model in (full, small))
        changed.append(not np.array_equal(plain, quick))
        theirs.append(_answer(full, plain))
        ours.append(_answer(full, quick) if changed[-1] else theirs[-1])
    return _said(theirs), _said(ours), np.array(changed, dtype=bool)


def _decoding(
    config: Config, full: ModelAnswers, small: ModelAnswers, targets: NDArray[np.int64]
) -> dict[str, Any]:
    """Whether to decode no larger than needed, by the photos that this makes smaller."""
    if config.export.decode == "full":
        return {"is": "full", "why": "export.decode says so"}
    figures, n = compare_models(full, small, targets), len(targets)
    why = objection("decoding smaller", figures, DECODING)
    if n < LEAST_PHOTOS:
        are = "is" if n == 1 else "are"
        large = f"{count(n, 'validation photo')} {are} large enough to be decoded smaller"
        why = f"{large}; {LEAST_PHOTOS} are needed"
    if why:
        return {"is": "full", "why": why, **figures}
    same = n - figures["differ"]
    why = f"{same} of {n} validation photos that are decoded smaller are answered alike"
    return {"is": "scaled", "why": why, **figures}


def _integers(
    catalog: Catalog,
    config: Config,
    photos: Sequence[Photo],
    model: Model,
    proved: tuple[ModelAnswers, Sequence[Path], NDArray[np.int64]],
) -> tuple[bytes, dict[str, Any]]:
    """The network in integers, and whether and why it is taken. model: as it decodes; proved: what
    full precision said of which files, and their classes."""
    full, files, targets = proved
    learned = [photo for photo in photos if photo.split == "train"]
    order = np.random.default_rng(config.train.seed).permutation(len(learned))[:_CALIBRATING]
    sources = [catalog.file(learned[row]) for row in np.sort(order)]
    images = [_image(model, source) for source in progress_bar(sources, desc="int8")]
    forced = config.export.precision == "int8"
    try:
        if not files or not images:
            raise ModelError("NOT_QUANTISED", "int8 needs training and validation photos")
        with write_errors(model.bundle.path):
            network = int8.quantised(model.bundle.onnx, images)
        short = Model(dataclasses.replace(model.bundle, onnx=network))
    except ModelError as exc:
        if forced:
            raise ModelError("PRECISION", exc.sentence) from exc
        return b"", {"is": "fp32", "why": exc.sentence}
    bar = progress_bar(files, desc="int8", unit="photo")
    answers = [_answer(short, np.asarray(short.square(file))) for file in bar]
    drawn, _ = model.bundle.golden()
    moved = int8.rounding(network, [_image(short, picture)() for picture in drawn])
    figures = compare_models(full, _said(answers), targets) | {
        "rounding": moved,
        "bytes": [len(model.bundle.onnx), len(network)],
        "milliseconds": int8.milliseconds([model.bundle.onnx, network], images[0]()),
    }
    why = objection("int8", figures, INT8) or _unsteady(moved)
    if why and forced:
        raise ModelError("PRECISION", f'{why}; export.precision = "auto" would publish fp32')
    why = why or ("" if forced else _slow(*figures["milliseconds"]))
    if why:
        return b"", {"is": "fp32", "why": why, **figures}
    n, (before, after) = len(targets), figures["milliseconds"]
    why = (
        f"{n - figures['differ']} of {n} validation photos are answered alike,"
        f" {before / after:.1f} times as fast"
    )
    return network, {"is": "int8", "why": why, "tolerance": tolerance_of(moved), **figures}


def tolerance_of(moved: float) -> float:
    """Of the self-test of integers. moved: as `quantise.rounding`."""
    return min(manifest.LOOSEST, max(0.02, _SHARPER * moved))


def _unsteady(moved: float) -> str:
    """moved: as `quantise.rounding`."""
    if moved <= manifest.LOOSEST:
        return ""
    return f"int8 moves by {moved:.0%} where a processor rounds otherwise"


def _slow(before: float, after: float) -> str:
    """Times of one picture."""
    if before >= _FASTER * after:
        return ""
    return f"int8 took {after:.1f} ms instead of {before:.1f}; {_FASTER} times as fast is required"


def _image(model: Model, source: Path) -> Callable[[], NDArray[np.float32]]:
    """As the network is fed; the pixels are kept as bytes."""
    pixels = np.asarray(model.square(source))
    return lambda: model.bundle.normalise(pixels)


def _answer(model: Model, pixels: NDArray[np.uint8]) -> tuple[NDArray[Any], float, bool]:
    """probabilities (classes,), familiarity and whether answered, of a square."""
    logits, pooled, _ = model.of_square(pixels)
    probabilities = model.probabilities(logits)
    familiarity = float(model.familiarity(pooled[None])[0])
    return probabilities, familiarity, model.verdict(probabilities, pooled) == "ok"


def _said(answers: Sequence[tuple[NDArray[Any], float, bool]]) -> ModelAnswers:
    return ModelAnswers(
        np.array([answer[0] for answer in answers]),
        np.array([answer[1] for answer in answers]),
        np.array([answer[2] for answer in answers], dtype=bool),
    )

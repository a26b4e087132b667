"""Predictions of a bundle, with onnxruntime, numpy and Pillow."""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Literal, TypeVar, Union, cast

import numpy as np

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read when onnxruntime is imported
import onnxruntime as ort
from numpy.typing import NDArray
from PIL import Image

from bear_classifier.errors import ModelError, PhotoError, SelfTestError
from bear_classifier.images import decoder
from bear_classifier.runtime.prefetch import ahead
from bear_classifier.runtime.processors import processors
from bear_classifier.runtime.system_files import is_system_file, is_system_folder
from bear_classifier.runtime.terminal import progress_bar
from bear_classifier.ship.bundle import Bundle
from bear_classifier.ship.manifest import EXACT
from bear_classifier.stats import ood
from bear_classifier.stats.metrics import softmax

ImageSource = Union[str, "os.PathLike[str]", bytes, Image.Image, NDArray[np.uint8]]
_Source = TypeVar("_Source", bound=ImageSource)
Reason = Literal["ok", "unlike_training", "too_close"]
_STATE = ort.capi.onnxruntime_pybind11_state
REFUSED = (
    *(_STATE.Fail, _STATE.InvalidArgument, _STATE.InvalidGraph, _STATE.InvalidProtobuf),
    *(_STATE.NotImplemented, _STATE.RuntimeException),
)
OUTPUTS = ["logits", "pooled", "map"]


@dataclass(frozen=True)
class Prediction:
    """confidence: calibrated probability of label. accepted: whether to show it as an answer."""

    label: str
    confidence: float
    probabilities: dict[str, float]
    accepted: bool
    reason: Reason


class Model:
    """A bundle, ready to answer. Safe to share between threads. threads: that it computes with;
    None: one for each processor. lean: with up to 20 MB less, and a few percent slower."""

    def __init__(self, bundle: Bundle, threads: int | None = None, lean: bool = False) -> None:
        options = ort.SessionOptions()
        options.enable_cpu_mem_arena = not lean
        options.intra_op_num_threads = threads or processors()
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.bundle = bundle
        try:
            self._session = ort.InferenceSession(
                bundle.onnx, options, providers=["CPUExecutionProvider"]
            )
            outputs = {out.name: out.shape for out in self._session.get_outputs()}
            classes, n = outputs["logits"][-1], len(bundle.labels)
            (image,) = self._session.get_inputs()
        except (RuntimeError, ValueError, KeyError, IndexError, *REFUSED) as exc:
            raise _cannot_run(exc) from exc
        if classes != n or set(outputs) != set(OUTPUTS):
            words = f"model.onnx gives {classes} classes, bundle.json names {n}"
            raise ModelError("BAD_MODEL", words)
        sides = {side for side in image.shape[1:] if isinstance(side, int)}
        if (image.name, image.type) != ("image", "tensor(float)") or not sides <= {3, bundle.size}:
            words = f"model.onnx takes {image.name} {image.shape}, not pictures of {bundle.size}"
            words += " pixels, as preprocessing.size of bundle.json says"
            raise ModelError("BAD_MODEL", words)
        try:
            self._reference = ood.read_reference(bundle.reference)
        except (ValueError, KeyError) as exc:
            raise ModelError("BAD_MODEL", f"reference.npz is no reference ({exc})") from exc
        if self._reference.features.shape[1:] != (outputs["pooled"][-1],):
            raise ModelError("BAD_MODEL", "reference.npz is of another network than model.onnx")

    def __repr__(self) -> str:
        return f"Model({self.bundle})"

    def square(self, source: ImageSource) -> Image.Image:
        """The network's input of one picture, decoded no larger than needed. Raises PhotoError."""
        return self.bundle.preprocessing.square(decoder.opened(source, self.bundle.least))

    def outputs(self, source: ImageSource) -> tuple[NDArray[np.float32], ...]:
        """logits (classes,), pooled (f,) and map (f, h, w) of one picture. Raises PhotoError."""
        return self.of_square(np.asarray(self.square(source)))

    def of_square(self, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], ...]:
        """The same of a picture (size, size, 3) as `square` gives it."""
        batch = self.bundle.normalise(pixels)[None]
        try:
            return tuple(out[0] for out in self._session.run(OUTPUTS, {"image": batch}))
        except (RuntimeError, ValueError, *REFUSED) as exc:
            raise _cannot_run(exc) from exc

    def probabilities(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """Calibrated: softmax of logits / temperature, over the last axis."""
        return softmax(logits, self.bundle.temperature)

    def predict(self, source: ImageSource) -> Prediction:
        """The answer to one photo.

        source: the name of a file (str or PathLike), its content (bytes), a PIL image, or an array
        (height, width) or (height, width, 3 or 4) of uint8, red first. Raises PhotoError.

        >>> import bear_classifier as bc
        >>> model = bc.load_model("shipped")
        >>> model.predict("photo.jpg").label in model.bundle.labels
        True
        """
        logits, pooled, _ = self.outputs(source)
        return self.answer(logits, pooled)

    def predict_many(
        self, sources: ImageSource | Iterable[ImageSource]
    ) -> Iterator[tuple[ImageSource, Prediction | PhotoError]]:
        """Each photo with its answer, in order, or with its PhotoError. Photos are decoded ahead,
        one thread for each processor, under a progress bar.

        sources: as `predict` takes them; a folder stands for all files in it.

        >>> import bear_classifier as bc
        >>> model = bc.load_model("shipped")
        >>> [source for source, answer in model.predict_many(["photo.jpg"])]
        ['photo.jpg']
        """
        one = isinstance(sources, (str, os.PathLike, bytes, Image.Image, np.ndarray))
        photos = list(_unfolded([sources] if one else sources))  # type: ignore[list-item, arg-type]
        with progress_bar(total=len(photos), desc="predict", unit="photo", leave=False) as bar:
            for source, answer in answers_ahead(self.bundle, photos):
                yield source, answer
                bar.update()

    def answer(self, logits: NDArray[np.float32], pooled: NDArray[np.float32]) -> Prediction:
        """The same by the logits (classes,) and pooled features (f,) of one photo."""
        p = self.probabilities(logits)
        label = self.bundle.labels[int(p.argmax())]
        by_label = dict(zip(self.bundle.labels, p.tolist(), strict=True))
        reason = self.verdict(p, pooled)
        return Prediction(label, by_label[label], by_label, reason == "ok", reason)

    def verdict(self, probabilities: NDArray[np.float64], pooled: NDArray[np.float32]) -> Reason:
        """Whether to answer, by probabilities (classes,) and pooled features (f,) of one photo."""
        rule = self.bundle.about["rejection"]
        least = -np.inf if rule["least"] is None else rule["least"]
        score = self.familiarity(pooled[None])
        reasons = ood.accept_reasons(probabilities[None], score, least, rule["close"])
        return cast(Reason, str(reasons[0]))

    def familiarity(self, pooled: NDArray[np.float32]) -> NDArray[np.float64]:
        """OOD scores (n,), as `ood.Reference.score`, by pooled features (n, f)."""
        return self._reference.score(pooled)

    def learned_from(self, pooled: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Whether photos (n,) are training photos that the bundle's reference holds, by pooled
        features (n, f)."""
        return self._reference.holds(pooled)

    def self_test(self, begin: float = math.inf) -> None:
        """Compare with the outputs at publication. Raises SelfTestError.

        begin: seconds of CPU time of this process after which no second picture is begun.
        The bundle's tolerance is of probabilities, and of the other outputs relative to their
        largest value: int8 is rounded otherwise by other processors."""
        tolerance = self.bundle.tolerance
        pictures, expected = self.bundle.golden()
        stated = self.probabilities(expected["logits"])
        if not np.abs(stated - expected["probabilities"]).max() <= EXACT:
            raise _failed("the temperature is another one")
        for i, picture in enumerate(pictures):
            if i and time.process_time() > begin:
                break
            try:
                logits, pooled, _ = self.outputs(picture)
            except PhotoError as exc:
                raise _failed(f"image {i}: {exc}") from exc
            now, then = self.probabilities(logits), expected["probabilities"][i]
            worst = int(np.abs(now - then).argmax())
            if not abs(now[worst] - then[worst]) <= tolerance:
                words = f"image {i}: {now[worst]:.2f} instead of {then[worst]:.2f}"
                raise _failed(words)
            for name, got in (("logits", logits), ("pooled", pooled)):
                want = expected[name][i]
                gap = np.abs(got - want).max()
                if not gap <= tolerance * max(1.0, np.abs(want).max()):
                    raise _failed(f"image {i}: {name} off by {gap:.3g}")


def _failed(words: str) -> SelfTestError:
    return SelfTestError("MODEL_SELF_TEST_FAILED", words)


def _cannot_run(exc: Exception) -> ModelError:
    """Raises MemoryError where the message of onnxruntime names a lack of memory."""
    words = str(exc)[:200]
    if re.search(r"bad[_ ]?alloc|failed to allocate memory", str(exc), re.IGNORECASE):
        raise MemoryError(words) from exc
    return ModelError("BAD_MODEL", f"model.onnx cannot be run: {words}")


def files_of(paths: Iterable[Path]) -> Iterator[Path]:
    """Each path, folders replaced by all their files in sorted order, without system files. Links
    to folders are not followed; they and folders that cannot be opened come as they are, and
    `decoder.read_file` says why. Of a tree one folder at a time is listed."""
    for path in expanded(paths):
        yield from _inside(path) if _is_folder(path) else [path]


def _unfolded(sources: Iterable[ImageSource]) -> Iterator[ImageSource]:
    """Names of folders become those of their files."""
    for source in sources:
        path = Path(os.fsdecode(source)) if isinstance(source, (str, os.PathLike)) else None
        yield from _inside(path) if path and _is_folder(path) else [source]


def expanded(paths: Iterable[Path], windows: bool = os.name == "nt") -> Iterator[Path]:
    """The paths; on Windows, whose shells leave that to programs, patterns as all names that fit.
    A pattern that fits nothing stays as it is, and `decoder.read_file` says so."""
    for path in paths:
        pattern = windows and set("*?") & set(path.name) and not path.exists()
        yield from (sorted(path.parent.glob(path.name)) if pattern else []) or [path]


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name that is too long, a folder on the way that may not be entered
        return False


def _inside(root: Path) -> Iterator[Path]:
    try:
        with os.scandir(root) as entries:
            found = sorted((entry.name, _is_real_folder(entry)) for entry in entries)
    except OSError:
        yield root
        return
    for name, is_folder in found:
        if is_folder and not is_system_folder(name):
            yield from _inside(root / name)
        elif not is_folder and not is_system_file(name):
            yield root / name


def _is_real_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def answers(
    bundle: Bundle, paths: Iterable[Path], wanted: Callable[[Path], bool] = lambda path: True
) -> Iterator[tuple[Path, Prediction | PhotoError]]:
    """Each wanted file of paths and folders, in order, with its answer or its PhotoError.
    One photo gets all processors. Of several each gets one of its own: while one is computed with,
    another is decoded, and no thread waits for the others at every layer."""
    files = filter(wanted, files_of(paths))
    first = list(islice(files, 2))
    if len(first) < 2:
        yield from ((path, answer_of(Model(bundle, lean=True), path)) for path in first)
    else:
        yield from answers_ahead(bundle, chain(first, files))


def answers_ahead(
    bundle: Bundle, sources: Iterable[_Source]
) -> Iterator[tuple[_Source, Prediction | PhotoError]]:
    """Each source in order with its answer or its PhotoError; a thread for each processor."""
    threads = processors()
    return ahead(partial(answer_of, Model(bundle, threads=1)), sources, room=2 * threads)


def answer_of(model: Model, source: ImageSource) -> Prediction | PhotoError:
    """The answer to one photo, or why there is none."""
    try:
        return model.predict(source)
    except PhotoError as exc:
        return exc

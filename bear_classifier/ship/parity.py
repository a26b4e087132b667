"""Parity: a bundle answers as the trained network does, on the same files."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bear_classifier.config.settings import Config, LearnConfig
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.errors import ModelError
from bear_classifier.learn import backbone
from bear_classifier.learn.data import batches
from bear_classifier.learn.weights import preprocessing
from bear_classifier.runtime.files import write_errors
from bear_classifier.runtime.terminal import progress_bar
from bear_classifier.ship import bundle, golden
from bear_classifier.ship.predict import Model
from bear_classifier.stats.metrics import softmax

_CLOSE = 1e-4  # largest difference of a probability between trained model and bundle
_BATCH = 16


def torch_outputs(
    model: backbone.Classifier, files: Sequence[Path], learn: LearnConfig, temperature: float
) -> dict[str, NDArray[Any]]:
    """Outputs of the trained model: logits, pooled and probabilities, (n, ...) each."""
    with torch.inference_mode():
        loaded = batches(files, preprocessing(learn), _BATCH)
        outputs = [model.outputs(batch)[:2] for batch in loaded]
    logits, pooled = (torch.cat(part).numpy() for part in zip(*outputs, strict=True))
    return {"logits": logits, "pooled": pooled, "probabilities": softmax(logits, temperature)}


def prove(
    catalog: Catalog, config: Config, model: backbone.Classifier, candidate: Model
) -> dict[str, Any]:
    """Compare both models on the same files, from raw bytes, before the temperature, which would
    multiply rounding errors. Raises ModelError (PARITY) beyond 1e-4, which int8 could not meet.

    candidate: in full precision and decoding in full. Photos come first (test and valid before
    train), then drawings up to `export.parity`."""
    order = {"test": 0, "valid": 1, "train": 2, None: 3}
    photos = sorted(catalog.photos("ok"), key=lambda p: (order[p.split], p.sha256))
    n = config.export.parity
    files = [catalog.file(photo) for photo in photos[:n]]
    theirs, ours = [], []
    with tempfile.TemporaryDirectory(prefix="bears-parity-") as drawings:
        for number in range(len(files), n):
            suffix, data = golden.draw_picture(bundle.GOLDEN + number)
            files.append(Path(drawings, f"{number}.{suffix}"))
            with write_errors(files[-1]):
                files[-1].write_bytes(data)
        with progress_bar(total=n, desc="checking", unit="photo") as bar:
            for chunk in (files[i : i + _BATCH] for i in range(0, n, _BATCH)):
                theirs.append(torch_outputs(model, chunk, config.learn, 1.0)["probabilities"])
                ours += [candidate.outputs(path)[0] for path in chunk]
                bar.update(len(chunk))
    compared = compare_probabilities(np.concatenate(theirs), softmax(np.stack(ours)))
    return {**compared, "photos": min(n, len(photos))}


def compare_probabilities(theirs: NDArray[np.float64], ours: NDArray[np.float64]) -> dict[str, Any]:
    """Largest difference of probabilities (n, classes) and differing answers; ties are excused."""
    gap = float(np.abs(theirs - ours).max())
    top = np.sort(theirs, axis=1)
    tie = top[:, -1] - top[:, -2] < _CLOSE
    differ = theirs.argmax(1) != ours.argmax(1)
    wrong = int((differ & ~tie).sum())
    if not gap <= _CLOSE or wrong:
        raise ModelError(
            "PARITY",
            f"the exported model differs from the trained one by up to {gap:.2g} in a probability "
            f"and in {wrong} of {len(ours)} answers; at most {_CLOSE} and none are allowed."
            " Small differences come from rounding, which some networks multiply: try another one,"
            " run: bears run --set learn.arch=resnet18",
        )
    return {"n": len(ours), "largest_difference": gap, "ties_excused": int((differ & tie).sum())}

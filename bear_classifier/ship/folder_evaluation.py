"""Evaluate a bundle on folders of photos: of its classes, or OOD."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bear_classifier.collect.http.ingest import examine
from bear_classifier.collect.sources.local_files import list_folder
from bear_classifier.config.settings import ScreenConfig
from bear_classifier.errors import DataError, PhotoError
from bear_classifier.images import decoder
from bear_classifier.images.dhash import hash_bits
from bear_classifier.judge.evaluate import evaluation_report
from bear_classifier.judge.rejection import false_accepts
from bear_classifier.runtime.terminal import progress_bar
from bear_classifier.ship.predict import Model, Prediction, files_of
from bear_classifier.stats.components import components
from bear_classifier.stats.near_pairs import near_pairs

Failures = list[tuple[Path, PhotoError]]


@dataclass(frozen=True)
class EvaluatedPhotos:
    """pooled: (n, f) features; groups: (n,) numbers of near-copies, as in screening."""

    paths: list[Path]
    predictions: list[Prediction]
    pooled: NDArray[np.float32]
    groups: NDArray[np.intp]


def evaluate_labelled(model: Model, folder: Path, failures: Failures) -> dict[str, Any]:
    """The report on a folder per class, or on the test split of folders that are splits, as a
    dictionary: near-copies widen its intervals, `ignored` gives the reasons for files and folders
    that are left out, `training_photos` the photos that the model learned from. Raises DataError
    (NO_PHOTOS, and those of `list_folder`)."""
    labels = model.bundle.labels
    listed = list_folder(folder, labels)
    others = {c.split for c in listed.candidates} - {"", "test"}
    true = {Path(c.origin): c.label for c in listed.candidates if c.split not in others}
    photos = _evaluated(model, folder, true, failures)
    rows = [[one.probabilities[label] for label in labels] for one in photos.predictions]
    targets = np.array([labels.index(true[path]) for path in photos.paths])
    accepted = np.array([one.accepted for one in photos.predictions])
    report = evaluation_report(np.array(rows), targets, labels, photos.groups, accepted)
    learned = zip(photos.paths, model.learned_from(photos.pooled), strict=True)
    return {
        **report,
        "ignored": {path: why for path, why in listed.ignored.items() if why != "hidden"}
        | {name: "not the test split; to judge on it, name its folder" for name in sorted(others)},
        "training_photos": [str(path) for path, was_learned in learned if was_learned],
    }


def evaluate_ood(model: Model, folder: Path, failures: Failures) -> dict[str, Any]:
    """The false-accept rate on OOD images, in all and for each folder in it. Raises DataError
    (NO_FOLDER, NO_PHOTOS)."""
    if not folder.is_dir():
        raise DataError("NO_FOLDER", f"{folder} is not a folder of pictures")
    photos = _evaluated(model, folder, files_of([folder]), failures)
    reasons, groups = np.array([one.reason for one in photos.predictions]), photos.groups
    kinds: dict[str, list[int]] = {}
    for row, path in enumerate(photos.paths):
        kind, *rest = path.relative_to(folder).parts
        if rest:
            kinds.setdefault(kind, []).append(row)
    return {
        **false_accepts(reasons, groups),
        "kinds": {kind: false_accepts(reasons[rows], groups[rows]) for kind, rows in kinds.items()},
    }


def _evaluated(
    model: Model, folder: Path, paths: Iterable[Path], failures: Failures
) -> EvaluatedPhotos:
    photos = {}
    for path in progress_bar(list(paths), desc="judge", unit="photo", leave=False):
        try:
            data = decoder.read_file(path)
            logits, pooled, _ = model.outputs(data)
            photos[path] = (model.answer(logits, pooled), pooled, examine(data).dhash)
        except PhotoError as exc:
            failures.append((path, exc))
    if not photos:
        raise DataError("NO_PHOTOS", f"no photo of {folder} could be read")
    predictions, pools, hashes = zip(*photos.values(), strict=True)
    pairs, _ = near_pairs(hash_bits(list(hashes)), ScreenConfig().near)
    groups = np.empty(len(photos), dtype=np.intp)
    for number, rows in enumerate(components(len(photos), pairs, [True] * len(photos))):
        groups[rows] = number
    return EvaluatedPhotos(list(photos), list(predictions), np.stack(pools), groups)

"""Evaluate a bundle on folders of photos: of its classes, or OOD."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bear_classifier.errors import DataError, PhotoError
from bear_classifier.runtime.terminal import progress_bar
from bear_classifier.ship.predict import Model, Prediction

Failures = list[tuple[Path, PhotoError]]


@dataclass(frozen=True)
class EvaluatedPhoto:
    """pooled: (f,) features of the photo; hash: finds near-copies."""

    prediction: Prediction
    pooled: NDArray[np.float32]
    hash: str


def evaluate_labelled(model: Model, folder: Path, failures: Failures) -> dict[str, Any]:
    """The report on a folder per class, as a dictionary: near-copies widen its intervals, `ignored`
    gives the reasons for files and folders that are left out, `training_photos` the photos that the
    model learned from. Raises DataError (NO_FOLDER, NO_CLASS_FOLDERS, NO_PHOTOS)."""
    from bear_classifier.collect.sources.local_files import list_folder
    from bear_classifier.judge.evaluate import evaluation_report

    labels = model.bundle.labels
    listed = list_folder(folder, labels)
    true = {Path(candidate.origin): candidate.label for candidate in listed.candidates}
    photos = _evaluated(model, folder, true, failures)
    predictions = [photo.prediction for photo in photos.values()]
    rows = np.array([[one.probabilities[label] for label in labels] for one in predictions])
    targets = np.array([labels.index(true[path]) for path in photos])
    accepted = np.array([one.accepted for one in predictions])
    learned = model.learned_from(np.stack([photo.pooled for photo in photos.values()]))
    report = evaluation_report(rows, targets, labels, copies(photos.values()), accepted)
    return {
        **dataclasses.asdict(report),
        "ignored": {path: why for path, why in listed.ignored.items() if why != "hidden"},
        "training_photos": [str(path) for path, yes in zip(photos, learned, strict=True) if yes],
    }


def copies(photos: Collection[EvaluatedPhoto]) -> NDArray[np.intp]:
    """(n,) the group of near-copies of each photo, as in screening."""
    from bear_classifier.collect.screen import components, near_pairs
    from bear_classifier.config.settings import ScreenConfig
    from bear_classifier.images.dhash import hash_bits

    pairs, _ = near_pairs(hash_bits([photo.hash for photo in photos]), ScreenConfig().near)
    groups = np.empty(len(photos), dtype=np.intp)
    for number, rows in enumerate(components(len(photos), pairs, [True] * len(photos))):
        groups[rows] = number
    return groups


def evaluate_ood(model: Model, folder: Path, failures: Failures) -> dict[str, Any]:
    """The false-accept rate on OOD images, in all and for each folder in it. Raises DataError
    (NO_FOLDER, NO_PHOTOS)."""
    from bear_classifier.judge.rejection import false_accepts
    from bear_classifier.ship.predict import files_of

    if not folder.is_dir():
        raise DataError("NO_FOLDER", f"{folder} is not a folder of pictures")
    photos = _evaluated(model, folder, files_of([folder]), failures)
    reasons = np.array([photo.prediction.reason for photo in photos.values()])
    groups = copies(photos.values())
    kinds: dict[str, list[int]] = {}
    for row, path in enumerate(photos):
        kind, *rest = path.relative_to(folder).parts
        if rest:
            kinds.setdefault(kind, []).append(row)
    return {
        **false_accepts(reasons, groups),
        "kinds": {kind: false_accepts(reasons[rows], groups[rows]) for kind, rows in kinds.items()},
    }


def _evaluated(
    model: Model, folder: Path, paths: Iterable[Path], failures: Failures
) -> dict[Path, EvaluatedPhoto]:
    from bear_classifier.collect.http.ingest import examine
    from bear_classifier.images import decoder

    photos = {}
    for path in progress_bar(list(paths), desc="judge", unit="photo", leave=False):
        try:
            data = decoder.read_file(path)
            logits, pooled, _ = model.outputs(data)
            photo_hash = examine(data).dhash
        except PhotoError as exc:
            failures.append((path, exc))
        else:
            photos[path] = EvaluatedPhoto(model.answer(logits, pooled), pooled, photo_hash)
    if not photos:
        raise DataError("NO_PHOTOS", f"no photo of {folder} could be read")
    return photos

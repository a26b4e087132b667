"""Evaluate a bundle on folders of photos: of its classes, or OOD."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
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
    """What became of one photo. pooled: (f,) its features; hash: by which near-copies are found."""

    prediction: Prediction
    pooled: NDArray[np.float32]
    hash: str


def evaluate_labelled(model: Model, folder: Path, failures: Failures) -> dict[str, Any]:
    """The report on a folder per class, as a dictionary: near-copies widen its intervals, `ignored`
    says of files and folders why they are left out, `training_photos` which photos the model
    learned from. Raises DataError (NO_FOLDER, NO_CLASS_FOLDERS, NO_PHOTOS)."""
    from bear_classifier.collect.sources.local_files import list_folder
    from bear_classifier.judge.evaluate import evaluation_report

    labels = model.bundle.labels
    listed = list_folder(folder, labels)
    true = {Path(one.origin): one.label for one in listed.candidates}
    seen = dict(_answers(model, true, failures))
    if not seen:
        raise DataError("NO_PHOTOS", f"no photo of {folder} could be read")
    said = [one.prediction for one in seen.values()]
    rows = np.array([[one.probabilities[label] for label in labels] for one in said])
    targets = np.array([labels.index(true[path]) for path in seen])
    accepted = np.array([one.accepted for one in said])
    learned = model.learned_from(np.stack([one.pooled for one in seen.values()]))
    found = evaluation_report(rows, targets, labels, copies(list(seen.values())), accepted)
    return {
        **found,
        "ignored": {path: why for path, why in listed.ignored.items() if why != "hidden"},
        "training_photos": [str(path) for path, yes in zip(seen, learned, strict=True) if yes],
    }


def copies(seen: Sequence[EvaluatedPhoto]) -> NDArray[np.intp]:
    """(n,) the group of near-copies of each photo, as screening ties them."""
    from bear_classifier.collect.screen import components, near_pairs
    from bear_classifier.config.settings import ScreenConfig
    from bear_classifier.images.dhash import hash_bits

    pairs, _ = near_pairs(hash_bits([one.hash for one in seen]), ScreenConfig().near)
    groups = np.empty(len(seen), dtype=np.intp)
    for number, rows in enumerate(components(len(seen), pairs, [True] * len(seen))):
        groups[rows] = number
    return groups


def evaluate_ood(model: Model, folder: Path, failures: Failures) -> dict[str, Any]:
    """How many pictures of none of the classes get an answer all the same, in all and for each
    folder in it. Raises DataError (NO_FOLDER, NO_PHOTOS)."""
    from bear_classifier.judge.rejection import false_accepts
    from bear_classifier.ship.predict import files_of

    if not folder.is_dir():
        raise DataError("NO_FOLDER", f"{folder} is not a folder of pictures")
    seen = dict(_answers(model, files_of([folder]), failures))
    if not seen:
        raise DataError("NO_PHOTOS", f"no photo of {folder} could be read")
    reasons = np.array([one.prediction.reason for one in seen.values()])
    groups = copies(list(seen.values()))
    kinds: dict[str, list[int]] = {}
    for row, path in enumerate(seen):
        inside = path.relative_to(folder).parts
        kinds.setdefault(inside[0] if len(inside) > 1 else "", []).append(row)
    kinds.pop("", None)
    return {
        **false_accepts(reasons, groups),
        "kinds": {kind: false_accepts(reasons[rows], groups[rows]) for kind, rows in kinds.items()},
    }


def _answers(
    model: Model, paths: Iterable[Path], failures: Failures
) -> Iterator[tuple[Path, EvaluatedPhoto]]:
    from bear_classifier.collect.http.ingest import examine
    from bear_classifier.images import decoder

    for path in progress_bar(list(paths), desc="judge", unit="photo", leave=False):
        try:
            data = decoder.read_file(path)
            logits, pooled, _ = model.outputs(data)
            facts = examine(data)
        except PhotoError as exc:
            failures.append((path, exc))
        else:
            yield path, EvaluatedPhoto(model.answer(logits, pooled), pooled, facts.dhash)

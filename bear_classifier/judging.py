"""A bundle on folders of pictures: of its classes, or of nothing that it knows."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from bear_classifier import telling
from bear_classifier.errors import ConfigError, DataError, PhotoError
from bear_classifier.files import write_atomic
from bear_classifier.terminal import complain, one_line, tell

if TYPE_CHECKING:
    from bear_classifier.ship.predict import Model, Prediction

Failures = list[tuple[Path, PhotoError]]


def judge(options: argparse.Namespace, model: Path, dataset: Path | None) -> int:
    """What `bears evaluate` prints of --photos and --strangers; 1 if files were unreadable.

    dataset: of the model, whose report shows what became of strangers; None: of no dataset here."""
    if options.photos is None and options.strangers is None:
        raise ConfigError(
            "NO_PHOTOS",
            "--model needs --photos FOLDER, a folder per class to judge on, or --strangers FOLDER",
        )
    from bear_classifier.ship.bundle import load
    from bear_classifier.ship.predict import Model

    ready = Model(load(model))
    failures: Failures = []
    found: dict[str, Any] = {}
    if options.photos:
        found |= known(ready, options.photos, failures)
        if not options.json:
            tell(options, telling.report(found))
    if options.strangers:
        found["strangers"] = strange(ready, options.strangers, failures)
        if dataset and dataset.is_dir():
            weights = ready.bundle.about["files"]["weights.safetensors"]["sha256"]
            left = {**found["strangers"], "folder": options.strangers.name, "weights": weights}
            write_atomic(dataset / "evaluate" / "strangers.json", json.dumps(left).encode())
        if not options.json:
            tell(options, telling.strangers(found["strangers"]))
    if options.json:
        print(json.dumps(found))
    for path, exc in failures:
        complain(options, one_line(f"{path}: {exc}"))
    return int(bool(failures))


def known(model: Model, folder: Path, failures: Failures) -> dict[str, Any]:
    """The report on a folder per class, as a dictionary. Raises DataError (NO_PHOTOS)."""
    from bear_classifier.collect.listing import list_folder
    from bear_classifier.judge.evaluate import report

    labels = model.bundle.labels
    true = {Path(one.origin): one.label for one in list_folder(folder, labels).candidates}
    said = dict(_answers(model, true, failures))
    if not said:
        raise DataError("NO_PHOTOS", f"no photo of {folder} could be read")
    rows = np.array([[one.probabilities[label] for label in labels] for one in said.values()])
    targets = np.array([labels.index(true[path]) for path in said])
    accepted = np.array([one.accepted for one in said.values()])
    return dataclasses.asdict(report(rows, targets, labels, accepted))


def strange(model: Model, folder: Path, failures: Failures) -> dict[str, Any]:
    """How many pictures of none of the classes get an answer all the same, in all and for each
    folder in it. Raises DataError (NO_FOLDER, NO_PHOTOS)."""
    from bear_classifier.judge.reject import let_through
    from bear_classifier.ship.predict import files_of

    if not folder.is_dir():
        raise DataError("NO_FOLDER", f"{folder} is not a folder of pictures")
    said = dict(_answers(model, files_of([folder]), failures))
    if not said:
        raise DataError("NO_PHOTOS", f"no photo of {folder} could be read")
    kinds: dict[str, list[str]] = {}
    for path, one in said.items():
        inside = path.relative_to(folder).parts
        kinds.setdefault(inside[0] if len(inside) > 1 else "", []).append(one.reason)
    kinds.pop("", None)
    return {
        **let_through(np.array([one.reason for one in said.values()])),
        "kinds": {kind: let_through(np.array(reasons)) for kind, reasons in kinds.items()},
    }


def _answers(
    model: Model, paths: Iterable[Path], failures: Failures
) -> Iterator[tuple[Path, Prediction]]:
    for path in tqdm(list(paths), desc="judge", unit="photo", disable=None, leave=False):
        try:
            yield path, model.predict(path)
        except PhotoError as exc:
            failures.append((path, exc))

"""Classes of which nothing stands on validation, or nothing on test: every stage comes to its end
and says what is missing."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from bundles import LABELS, tiny_config, trained_dataset
from judging import suspects
from training import dataset

from bear_classifier.dataset.catalog import Catalog
from bear_classifier.errors import DataError
from bear_classifier.judge.evaluate import evaluate
from bear_classifier.learn import backbone
from bear_classifier.learn.probe import probe
from bear_classifier.learn.train import train
from bear_classifier.pipeline import Project
from bear_classifier.report import build
from bear_classifier.ship import bundle
from bear_classifier.ship.export import export
from bear_classifier.ship.predict import Model

ONE = LABELS[-1]
LACKING = {
    "a class in valid": [(ONE, "valid")],
    "a class in test": [(ONE, "test")],
    "a class in both": [(ONE, "valid"), (ONE, "test")],
    "all but one class in both": [(lb, side) for lb in LABELS[1:] for side in ("valid", "test")],
    "all in test": [(label, "test") for label in LABELS],
}


@pytest.mark.long
@pytest.mark.parametrize("lacking", LACKING)
def test_a_run_comes_to_its_end_whatever_class_is_missing(tmp_path: Path, lacking: str) -> None:
    config = tiny_config(
        train={"batch_size": 4, "epochs": 1, "lr": 0.01},
        probe={"folds": 2}, export={"parity": 3},
    )  # fmt: skip
    project = Project(config, tmp_path / "data", tmp_path / "model")
    with dataset(project.data, config) as catalog:
        without(catalog, LACKING[lacking])
        found: dict[str, Any] = {"probe": probe(catalog, config)}
        found["train"] = train(catalog, config)
        assert suspects(catalog, config)
        found["evaluate"] = evaluate(catalog, config)
        found["export"] = export(catalog, config, project.model)
        Model(bundle.load(project.model)).self_test()
        about, _, _ = build.make_report(catalog, project, project.model)
    json.dumps([about, found], allow_nan=False)  # no number that is none
    there = len(LABELS) - sum(side == "test" for _, side in LACKING[lacking])
    assert found["evaluate"]["test"]["n"] == 2 * there


def test_a_dataset_without_validation_says_so_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config()
    monkeypatch.setattr(backbone, "build_body", None)
    with trained_dataset(tmp_path, config) as catalog:
        everything = [(label, side) for label in LABELS for side in ("valid", "test")]
        without(catalog, everything)
        with pytest.raises(DataError, match="TOO_FEW_PHOTOS: no photo of any class is in valid"):
            probe(catalog, config)


def without(catalog: Catalog, lacking: Sequence[tuple[str, str]]) -> None:
    """Photos of these classes and splits stand in train."""
    with catalog.transaction():
        for photo in catalog.photos("ok"):
            if (photo.label, photo.split) in lacking:
                catalog.put_photos([dataclasses.replace(photo, split="train")])

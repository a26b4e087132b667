"""Predictions as tasks of an engine: the answers of one process, in its order."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from corpus import ROOT

from bear_classifier.config.settings import EngineConfig
from bear_classifier.engine import choice
from bear_classifier.errors import ModelError
from bear_classifier.ship import bundle, golden, prediction_tasks
from bear_classifier.ship.predict import Prediction, answers
from bear_classifier.ship.prediction_tasks import answer_photos, answers_on_engine


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(11):
        (folder / f"{number:02}.jpg").write_bytes(golden.draw_picture(number)[1])
    (folder / "04.jpg").write_bytes(b"no picture")
    return [*sorted(folder.iterdir()), folder / "not there.jpg"]


def plain(found: Any) -> list[tuple[Path, object]]:
    """Errors compare by what they say."""
    return [(path, a if isinstance(a, Prediction) else str(a)) for path, a in found]


def test_answers_come_in_the_order_of_the_files(
    model_dir: Path, photos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where tasks end in another order than they began in."""
    monkeypatch.setattr(prediction_tasks, "_PHOTOS", 2)
    loaded = bundle.load(model_dir)
    expected = plain(answers(loaded, photos))
    assert sum(isinstance(answer, str) for _, answer in expected) == 2

    def reversed_each(function: Any, tasks: Any, engine: Any) -> Any:
        return [(task, function(task)) for task in reversed(list(tasks))]

    assert plain(answers_on_engine(loaded, photos, EngineConfig())) == expected
    monkeypatch.setattr(prediction_tasks, "each", reversed_each)
    assert plain(answers_on_engine(loaded, photos, EngineConfig())) == expected
    assert plain(answers_on_engine(loaded, photos[:1], EngineConfig())) == expected[:1]


def test_a_worker_takes_no_other_bundle(
    model_dir: Path, photos: list[Path], tmp_path: Path
) -> None:
    model = tmp_path / "model"
    shutil.copytree(model_dir, model)
    task = prediction_tasks.PredictionTask(0, model, "another", tuple(photos[:1]))
    with pytest.raises(ModelError, match="MODEL_CHANGED") as caught:
        answer_photos(task)
    assert str(model) in caught.value.sentence


@pytest.mark.long
@pytest.mark.ray
def test_workers_of_ray_answer_as_this_process(
    model_dir: Path, photos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also photos that are named from here."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(prediction_tasks, "_PHOTOS", 3)
    monkeypatch.chdir(photos[0].parent.parent)
    near = [Path(os.path.relpath(path)) for path in photos]
    loaded = bundle.load(model_dir)
    try:
        found = plain(answers_on_engine(loaded, near, EngineConfig("ray")))
    finally:
        choice.close_engine()
    assert found == plain(answers(loaded, near))

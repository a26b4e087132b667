"""Which photos of a folder a model is judged on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bear_classifier.ship import folder_evaluation


class Judged(Exception):
    """What would be judged: path -> class."""


def judged(root: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    def stop(_model: Any, _folder: Path, true: Mapping[Path, str], _failures: Any) -> None:
        raise Judged({str(path.relative_to(root)): label for path, label in true.items()})

    monkeypatch.setattr(folder_evaluation, "_evaluated", stop)
    model: Any = SimpleNamespace(bundle=SimpleNamespace(labels=["red", "green"]))
    with pytest.raises(Judged) as caught:
        folder_evaluation.evaluate_labelled(model, root, [])  # type: ignore[arg-type]
    return dict(caught.value.args[0])


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_class_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "red/0.jpg", "green/1.jpg")
    assert judged(tmp_path, monkeypatch) == {"red/0.jpg": "red", "green/1.jpg": "green"}


def test_of_folders_that_are_splits_only_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "train/red/0.jpg", "val/red/1.jpg", "test/red/2.jpg", "test/green/3.jpg")
    assert judged(tmp_path, monkeypatch) == {"test/red/2.jpg": "red", "test/green/3.jpg": "green"}
    assert judged(tmp_path / "train", monkeypatch) == {"red/0.jpg": "red"}

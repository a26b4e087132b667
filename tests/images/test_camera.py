"""A camera's picture, with a camera of the test in its place, and OpenCV itself where it is."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import within
from corpus import drawn

from bear_classifier.errors import ConfigError, PhotoError
from bear_classifier.images import camera
from bear_classifier.ship import bundle
from bear_classifier.ship.predict import Model


class Camera:
    """frames: what it gives in turn, None where it fails; the last one goes on for ever."""

    def __init__(self, *frames: np.ndarray | None, opens: bool = True) -> None:
        self.frames, self.opens, self.released, self.number = [*frames], opens, False, -1

    def __call__(self, number: int) -> Camera:
        self.number = number
        return self

    def isOpened(self) -> bool:
        return self.opens

    def read(self) -> tuple[bool, Any]:
        frame = self.frames.pop(0) if len(self.frames) > 1 else self.frames[0]
        return frame is not None, frame

    def release(self) -> None:
        self.released = True


BRIGHT = np.asarray(drawn(120, 90, seed=1))[..., ::-1]  # blue first, as OpenCV has it
DARK = np.zeros_like(BRIGHT)


@pytest.mark.parametrize("frames", [[BRIGHT], [DARK, DARK, BRIGHT], [BRIGHT, None]])
def test_the_picture_is_the_settled_one_and_red_first(frames: list[np.ndarray | None]) -> None:
    opened = Camera(*frames)
    seen = camera.camera_frame(2, opened)
    assert (seen == np.asarray(drawn(120, 90, seed=1))).all()
    assert (opened.number, opened.released) == (2, True)


@pytest.mark.parametrize(
    ("opened", "words"),
    [(Camera(BRIGHT, opens=False), "camera 3 cannot be opened"),
     (Camera(None), "camera 3 gave no picture")],
)  # fmt: skip
def test_without_a_picture_there_is_a_sentence(opened: Camera, words: str) -> None:
    with pytest.raises(PhotoError, match=f"NO_CAMERA: {words}"):
        camera.camera_frame(3, opened)
    assert opened.released


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[Camera]:
    made = Camera(BRIGHT)
    monkeypatch.setattr(camera, "_open_cv", lambda: made)
    yield made


def test_by_the_command(here: Camera, model_dir: Path, tmp_path: Path) -> None:
    done = within.bears("predict", "--camera", "--model", model_dir, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    row = json.loads(done.stdout)
    wanted = Model(bundle.load(model_dir)).predict(drawn(120, 90, seed=1))
    assert (row["path"], row["label"]) == ("camera 0", wanted.label)
    assert row["probabilities"] == pytest.approx(wanted.probabilities)
    drawn(90, 80).save(tmp_path / "a.png")
    both = within.bears("predict", "a.png", "--camera", "1", "--model", model_dir, cwd=tmp_path)
    assert [line.partition(":")[0] for line in both.stdout.splitlines()] == ["a.png", "camera 1"]
    here.opens = False
    none = within.bears("predict", "--camera", "--model", model_dir, "--json", cwd=tmp_path)
    assert (none.returncode, json.loads(none.stdout)["error"]["code"]) == (1, "NO_CAMERA")
    nothing = within.bears("predict", "--model", model_dir, cwd=tmp_path)
    assert nothing.returncode == 2 and "or give --camera" in nothing.stderr


def test_without_the_package_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ConfigError, match=r"NOT_INSTALLED.*bear-classifier\[camera\]"):
        camera.camera_frame(0)


def test_opencv_reads_as_is_expected(tmp_path: Path) -> None:
    """A film in the place of a camera, which no test computer has."""
    cv2 = pytest.importorskip("cv2", reason='a camera: pip install "bear-classifier[camera]"')
    path = str(tmp_path / "film.avi")
    film = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*"MJPG"), 5, (120, 90))
    for _ in range(12):
        film.write(np.ascontiguousarray(BRIGHT))
    film.release()
    seen = camera.camera_frame(0, lambda number: cv2.VideoCapture(path))
    assert np.abs(seen.astype(int) - np.asarray(drawn(120, 90, seed=1))).mean() < 20
    with pytest.raises(PhotoError, match="NO_CAMERA"):
        camera.camera_frame(99)

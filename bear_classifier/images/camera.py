"""A picture from a camera of this computer, by OpenCV, which is an extra."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bear_classifier.errors import ConfigError, PhotoError

_SETTLING = 8  # frames until exposure and white balance of most cameras have settled


class Capture(Protocol):
    """As `cv2.VideoCapture`; frames are (h, w, 3), blue first."""

    def isOpened(self) -> bool: ...

    def read(self) -> tuple[bool, Any]: ...

    def release(self) -> None: ...


def camera_frame(number: int, capture: Callable[[int], Capture] | None = None) -> NDArray[np.uint8]:
    """One picture (h, w, 3), red first, of camera `number`, counted from 0. capture: opens it.

    Raises ConfigError (NOT_INSTALLED), PhotoError (NO_CAMERA)."""
    opened = (capture or _open_cv())(number)
    try:
        if not opened.isOpened():
            words = "is there one, and may this program use it? Others have the numbers 0, 1, 2"
            raise PhotoError("NO_CAMERA", f"camera {number} cannot be opened: {words}")
        seen = None
        for _ in range(_SETTLING):
            there, picture = opened.read()
            seen = picture if there else seen
    finally:
        opened.release()
    if seen is None:
        words = "another program may be using it; close that one, then try again"
        raise PhotoError("NO_CAMERA", f"camera {number} gave no picture: {words}")
    return np.ascontiguousarray(seen[..., ::-1])


def _open_cv() -> Callable[[int], Capture]:
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # read when cv2 is imported
    try:
        import cv2
    except ImportError as exc:
        install = 'install it: pip install "bear-classifier[camera]"'
        words = f"a camera needs the package opencv-python-headless, which is not here; {install}"
        raise ConfigError("NOT_INSTALLED", words) from exc
    made: Callable[[int], Capture] = cv2.VideoCapture
    return made

"""What the first model would have left of drawn photos: features with a sub-group in one class."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bear_classifier.runtime.npz import as_npz

WIDE = 8  # features
SAME = 6  # photos of the sub-group: the first ones of the first class


def looks(count: int, classes: int = 3) -> np.ndarray:
    """(count, WIDE): photo n is of class n % classes; the first SAME of class 0 are alike."""
    rng = np.random.default_rng(5)
    kinds = np.arange(count) % classes
    at = 3 * np.eye(WIDE)[kinds] + 0.6 * rng.standard_normal((count, WIDE))
    rows = np.flatnonzero(kinds == 0)[:SAME]
    at[rows] = 3 * np.eye(WIDE)[0] + 9 * np.eye(WIDE)[6] + 0.1 * rng.standard_normal((SAME, WIDE))
    return at.astype(np.float32)


def write_evidence(root: Path, order: list[str], features: np.ndarray, own: bool = True) -> None:
    """The files of the first model. own: with a layer of own classes, one for each feature."""
    n = len(order)
    names, even = np.array(order), np.full((n, 3), 1 / 3)
    plain = np.full(n, 60, np.float32)
    (root / "features").mkdir(parents=True, exist_ok=True)
    (root / "probe").mkdir(exist_ok=True)
    (root / "features" / "drawn.npz").write_bytes(
        as_npz(sha256=names, features=features, light=plain, sharpness=plain)
    )
    (root / "probe" / "probabilities.npz").write_bytes(
        as_npz(sha256=names, second=even, probabilities=even, features=np.array("drawn.npz"))
    )
    if own:
        layer = as_npz(weight=np.eye(WIDE, dtype=np.float32), bias=np.zeros(WIDE, np.float32))
        (root / "probe" / "pretrained.npz").write_bytes(layer)

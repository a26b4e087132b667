"""How alike photos are by their features."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bear_classifier.stats.arrays import AnyFloats, Floats32, Ints


def unit(rows: AnyFloats) -> Floats32:
    """The same directions, of length 1; rows of zeros stay."""
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6))


def unit_rows(features: AnyFloats) -> NDArray[np.float32]:
    """Standardised features (n, f), each row of length 1: their products are cosines."""
    spread = features.std(axis=0)
    plain = (features - features.mean(axis=0)) / np.where(spread > 0, spread, 1)
    return np.asarray(unit(plain), dtype=np.float32)


def most_alike(unit: NDArray[np.float32], row: int) -> tuple[Ints, NDArray[np.float32]]:
    """All rows by their cosine to one of them, the most alike first, ties by number, and the
    cosines (n,) in the order of the rows. unit: (n, f) of length 1."""
    cosines = unit @ unit[row]
    cosines[row] = 1.0
    return np.argsort(-cosines, kind="stable"), cosines

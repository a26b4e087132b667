"""How alike photos are by their features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bear_classifier.stats.arrays import AnyFloats, Floats32, Ints, Rows, in_blocks, moments


def unit(rows: AnyFloats) -> Floats32:
    """The same directions, of length 1; rows of zeros stay."""
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6))


@dataclass(frozen=True)
class UnitRows:
    """Standardised features (n, f), each row of length 1: their products are cosines."""

    features: Rows
    centre: Floats32
    spread: Floats32

    @property
    def shape(self) -> tuple[int, ...]:
        return self.features.shape

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, rows: Any) -> Floats32:
        return np.asarray(unit((self.features[rows] - self.centre) / self.spread), np.float32)


def unit_rows(features: Rows) -> UnitRows:
    """Worked out when they are asked for. features: (n, f)."""
    centre, spread = moments(features, np.arange(len(features)))
    return UnitRows(features, centre, np.where(spread > 0, spread, 1).astype(np.float32))


def most_alike(rows: Rows, row: int) -> tuple[Ints, Floats32]:
    """All rows by their cosine to one of them, the most alike first, ties by number, and the
    cosines (n,) in the order of the rows. rows: (n, f) of length 1."""
    own = rows[np.array([row])][0]
    cosines = np.concatenate([rows[some] @ own for some in in_blocks(np.arange(len(rows)))])
    cosines[row] = 1.0
    return np.argsort(-cosines, kind="stable"), cosines

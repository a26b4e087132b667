"""Near pairs of many photos, as a row for each photo."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bear_classifier.stats.arrays import Bools
from bear_classifier.stats.components import set_names

_EDGES = 100_000  # pairs that are held at once to find connected sets
EMPTY_ROW = np.empty(0, np.int32)


def pair_row(n: int, others: NDArray[np.intp]) -> NDArray[Any]:
    """As numbers (int32), or as bits (uint8) where they are many."""
    if 32 * len(others) <= n:
        return others.astype(np.int32)
    bits = np.zeros(n, dtype=bool)
    bits[others] = True
    return np.packbits(bits)


def behind(row: NDArray[Any]) -> NDArray[np.intp]:
    """The numbers that a row of `neighbours` stands for, in their order."""
    return np.flatnonzero(np.unpackbits(row)) if row.dtype == np.uint8 else row.astype(np.intp)


def spanning_pairs(rows: Sequence[NDArray[Any]], alive: Bools) -> NDArray[np.intp]:
    """(m, 2) pairs of living nodes that connect what all of their pairs connect."""
    n = len(rows)
    names = np.arange(n)  # of the sets that were found to be connected so far
    kept: list[NDArray[np.intp]] = [np.empty((0, 2), np.intp)]
    held = 0
    for i in np.flatnonzero(alive).tolist():
        if not len(rows[i]):
            continue
        others = behind(rows[i])
        others = others[alive[others] & (names[others] != names[i])]
        if len(others):
            kept.append(np.column_stack([np.full(len(others), i), others]))
            held += len(others)
        if held > max(_EDGES, n):
            names = set_names(n, np.concatenate(kept))
            star = np.flatnonzero(names != np.arange(n))
            kept, held = [np.column_stack([names[star], star])], 0
    return np.concatenate(kept)

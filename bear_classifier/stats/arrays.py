"""Names of array types."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bear_classifier.runtime.npz import Floats32 as Floats32

Floats = NDArray[np.float64]
AnyFloats = NDArray[np.floating]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Strings = NDArray[np.str_]

IN_MEMORY = 50_000  # rows at most: 250 MB of 1,280 features
BLOCK_ROWS = 4_096  # of numbers in files that are in memory at once: some 20 MB of features


class Rows(Protocol):
    """Rows of numbers that need not be in memory: an array, or what gives one for some rows."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> NDArray[Any]:
        """rows: slice, (m,) numbers, or (n,) booleans."""


@dataclass(frozen=True)
class SomeRows:
    """Some rows (m,), in this order, of rows that need not be in memory."""

    values: Rows
    at: Ints

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.at), *self.values.shape[1:])

    def __len__(self) -> int:
        return len(self.at)

    def __getitem__(self, rows: Any, /) -> NDArray[Any]:
        return self.values[self.at[rows]]


def in_blocks(rows: Ints) -> Iterator[Ints]:
    """Numbers of rows (n,), some at a time and in their order."""
    for start in range(0, len(rows), BLOCK_ROWS):
        yield rows[start : start + BLOCK_ROWS]


def at_hand(rows: Rows) -> Rows:
    """In memory, unless they are so many that they had better stay where they are."""
    return rows[:] if len(rows) <= IN_MEMORY else rows


def evenly(rows: Ints, most: int) -> Ints:
    """Every k-th of these numbers of rows (n,), at most so many; all of fewer."""
    return rows[:: -(-len(rows) // most) or 1]


def moments(values: Rows, rows: Ints) -> tuple[Floats32, Floats32]:
    """Mean and deviation (f,) of some rows of (n, f); at most a block of them is in memory."""
    if len(rows) <= BLOCK_ROWS:
        part = values[rows]
        return part.mean(0), part.std(0)
    n, mean, squares = 0, np.zeros(values.shape[1]), np.zeros(values.shape[1])
    for some in in_blocks(rows):  # Chan, Golub and LeVeque, Am. Stat. 37:242, 1983, formula 2.1
        part = np.asarray(values[some], dtype=np.float64)
        m, own = len(part), part.mean(0)
        squares += ((part - own) ** 2).sum(0) + (own - mean) ** 2 * (n * m / (n + m))
        mean += (own - mean) * (m / (n + m))
        n += m
    return mean.astype(np.float32), np.sqrt(squares / n).astype(np.float32)

"""Shares and the intervals that their number of photos allows."""

from __future__ import annotations

import numpy as np

_Z95 = 1.959963984540054  # standard normal quantile of a two-sided 95 % interval

Interval = tuple[float, float]


def share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def wilson(part: int, whole: int) -> Interval | None:
    """95 % score interval of a share (Wilson, JASA 22:209, 1927); None of nothing."""
    if whole == 0:
        return None
    p, z2 = part / whole, _Z95**2
    middle = (p + z2 / (2 * whole)) / (1 + z2 / whole)
    half = _Z95 * np.sqrt(p * (1 - p) / whole + z2 / (4 * whole**2)) / (1 + z2 / whole)
    low = 0.0 if part == 0 else float(middle - half)
    high = 1.0 if part == whole else float(middle + half)
    return low, high

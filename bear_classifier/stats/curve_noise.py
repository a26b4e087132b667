"""Whether a noisy curve falls by more than its noise."""

from __future__ import annotations

import numpy as np

from bear_classifier.stats.arrays import Floats

WINDOW = 5  # points whose mean is looked at
_MEDIAN = 0.954  # of the distance of two normal values / their standard deviation


def falls_below_noise(values: Floats, first: int, clear: float) -> bool:
    """Whether the lowest mean of WINDOW neighbours lies `clear` standard deviations of a single
    value, or more, below the mean of the `first`. values: (n,), n > first.

    Of pure noise it lies about 0.9 of them below in one place of 40."""
    noise = float(np.median(np.abs(np.diff(values)))) / _MEDIAN
    means = np.convolve(values, np.full(WINDOW, 1 / WINDOW), "valid")
    return bool(values[:first].mean() - means.min() > clear * noise)

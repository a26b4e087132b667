"""The learning-rate finder (Smith, arXiv 1506.01186), for training and `bears lr`."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import fastai.callback.schedule  # noqa: F401  # adds lr_find to Learner
import numpy as np
import torch
from fastai.callback.core import Callback, CancelFitException, CancelValidException
from fastai.callback.schedule import minimum, slide, steep, valley
from fastai.learner import Learner

from bear_classifier.stats.arrays import Floats

FIRST, LAST, STEPS = 1e-6, 1.0, 40  # rates and steps of a run; fastai takes 100 over 8 decades
WINDOW = 5  # points of the curve whose mean is looked at
_MEDIAN = 0.954  # of the distance of two normal values / their standard deviation
_CLEAR = 2.5  # standard deviations of a batch's loss: noise alone reaches it once in 100 runs
_LEAST = 6  # points from which a suggestion can be read
_FINDERS = {"valley": valley, "slide": slide, "steep": steep, "minimum": minimum}


@dataclass(frozen=True)
class Curve:
    """A run up to the first loss that is not finite. rates, losses (of single batches), smoothed
    (by fastai): (n,); steps: how many were planned."""

    rates: Floats
    losses: Floats
    smoothed: Floats
    steps: int

    def plain(self) -> dict[str, list[float]]:
        return {k: getattr(self, k).tolist() for k in ("rates", "losses", "smoothed")}

    def suggestions(self) -> dict[str, float | None]:
        return suggest(self.rates, self.smoothed, self.steps)

    def falls(self) -> bool:
        """Whether the loss falls by more than the noise of its batches, or the run is too short to
        say. Where it does not, as with a good probe, the suggestions mean nothing."""
        quarter = self.steps // 4
        short = len(self.losses) <= quarter + WINDOW
        return short or falls_below_noise(self.losses, quarter, _CLEAR)


def falls_below_noise(values: Floats, first: int, clear: float) -> bool:
    """Whether the lowest mean of WINDOW neighbours lies `clear` standard deviations of a single
    value, or more, below the mean of the `first`. values: (n,), n > first.

    Of pure noise it lies about 0.9 of them below in one place of 40."""
    noise = float(np.median(np.abs(np.diff(values)))) / _MEDIAN
    means = np.convolve(values, np.full(WINDOW, 1 / WINDOW), "valid")
    return bool(values[:first].mean() - means.min() > clear * noise)


def find_lr(learn: Learner, bar: Any, steps: int = STEPS) -> Curve:
    """Train `steps` batches while the rate grows from FIRST to LAST, and restore the learner.

    bar: of tqdm, moved by `steps` in all. `Watch` stops the run in place of fastai's own rule."""
    watch = Watch(bar, steps // 4)
    with learn.added_cbs(watch), learn.no_logging():
        learn.lr_find(FIRST, LAST, steps, False, show_plot=False, suggest_funcs=None)
    smoothed = np.array([float(value) for value in learn.recorder.losses])
    rates = np.array([float(value) for value in learn.recorder.lrs])
    losses = np.array(watch.losses)
    bar.update(steps - len(rates))
    sane = np.isfinite(losses) & np.isfinite(smoothed)
    end = len(sane) if sane.all() else int(sane.argmin())
    return Curve(rates[:end], losses[:end], smoothed[:end], steps)


def suggest(rates: Floats, smoothed: Floats, steps: int) -> dict[str, float | None]:
    """fastai's four suggestions by name, without the first tenth of the steps and the last five;
    None where the run is too short. rates, smoothed: (n,)."""
    part = slice(steps // 10, -5)
    x, y = (torch.tensor(values[part], dtype=torch.float32) for values in (rates, smoothed))
    suggestions: dict[str, float | None] = dict.fromkeys(_FINDERS)
    for name, finder in _FINDERS.items() if len(x) >= _LEAST else ():
        with suppress(IndexError):  # slide looks 15 steps back
            suggestions[name] = float(finder(x, y, steps)[0])
    return suggestions


class Watch(Callback):  # type: ignore[misc]
    """Keeps the loss of every batch, moves the bar, skips validation, and stops at a loss that is
    not finite.

    calm: number of first steps; if any, it also stops at four times their mean loss. (fastai's rule
    compares with the least loss so far: after one lucky first batch it ended at the second.)"""

    order = 55  # after the Recorder (50), before the finder (60) ends the run

    def __init__(self, bar: Any, calm: int = 0) -> None:
        self.bar, self.calm, self.losses = bar, calm, list[float]()

    def after_batch(self) -> None:
        self.losses.append(float(self.loss.detach()))
        self.bar.update(1)
        first = self.losses[: self.calm]
        exploded = len(self.losses) > self.calm > 0 and self.smooth_loss > 4 * float(np.mean(first))
        if exploded or not math.isfinite(self.losses[-1]):
            raise CancelFitException()

    def before_validate(self) -> None:
        raise CancelValidException()

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
from bear_classifier.stats.curve_noise import WINDOW, falls_below_noise

FIRST, LAST, STEPS = 1e-6, 1.0, 40  # rates and steps of a run; fastai takes 100 over 8 decades
_CLEAR = 2.5  # standard deviations of a batch's loss: noise alone reaches it once in 100 runs
_LEAST = 6  # points from which a suggestion can be read
_FINDERS = {"valley": valley, "slide": slide, "steep": steep, "minimum": minimum}


@dataclass(frozen=True)
class Curve:
    """A run, as far as all of its losses are numbers. rates, losses (of single batches), smoothed
    (by fastai): (steps,); steps: how many it was to have."""

    rates: Floats
    losses: Floats
    smoothed: Floats
    steps: int

    def plain(self) -> dict[str, list[float]]:
        """As lists, for JSON."""
        return {k: getattr(self, k).tolist() for k in ("rates", "losses", "smoothed")}

    def suggestions(self) -> dict[str, float | None]:
        """fastai's four by name; None where the run was too short for one."""
        return suggest(self.rates, self.smoothed, self.steps)

    def falls(self) -> bool:
        """Whether the loss falls further than the noise of its batches anywhere. Where it does not,
        as with a probe that is good already, the suggestions rest on nothing. A run too short to
        say is believed."""
        quarter = self.steps // 4
        if len(self.losses) <= quarter + WINDOW:
            return True
        return falls_below_noise(self.losses, quarter, _CLEAR)


def find_lr(learn: Learner, bar: Any, steps: int = STEPS) -> Curve:
    """Train `steps` batches while the rate grows from FIRST to LAST, and put the learner back.

    bar: of tqdm, moved by all steps, those left out after an explosion too. fastai's own rule to
    stop is off: `Watch` has a better one."""
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
    """fastai's four, from the part of a run that it looks at; None where that is too short.

    rates, smoothed: (n,). Left out are the first tenth of the steps and the last five."""
    x, y = (
        torch.tensor(values[steps // 10 : -5], dtype=torch.float32) for values in (rates, smoothed)
    )
    found: dict[str, float | None] = dict.fromkeys(_FINDERS)
    if len(x) < _LEAST:
        return found
    for name, finder in _FINDERS.items():
        with suppress(IndexError):  # slide looks 15 steps back
            found[name] = float(finder(x, y, steps)[0])
    return found


class Watch(Callback):  # type: ignore[misc]
    """Keeps the loss of every batch, moves the bar, stops at the first loss that is no number, and
    leaves validation out.

    calm: steps, if any, after which it stops at four times their loss as well. fastai compares with
    the least so far: one lucky first batch of a good probe ended its run at the second."""

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

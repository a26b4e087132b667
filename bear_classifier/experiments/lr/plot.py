"""Plot the runs of the learning-rate finder."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bear_classifier.experiments.lr.analysis import ABOUT, WHY_NOT_LOWEST, band, flatness, smoothed
from bear_classifier.learn.lr_finder import WINDOW, Curve
from bear_classifier.plots.fonts import render_png
from bear_classifier.runtime.terminal import count
from bear_classifier.stats.arrays import Floats

Suggestions = Mapping[str, Mapping[str, Any]]  # suggestions, of `summarise_suggestions`

_COLOURS = dict(zip(ABOUT, ("#1b7837", "#2166ac", "#b35806", "#762a83"), strict=True))
_MARKS = dict(zip(ABOUT, "os^D", strict=True))
_DARK, _PALE, _RED = "#222222", "#9a9a9a", "#b2182b"
_WIDE = 132  # letters of a line below the plots


def draw(runs: Sequence[Curve], rows: Suggestions, notes: Sequence[str]) -> bytes:
    """A PNG. Left: how the rate grew. Right: what the loss did. Below: what the marks mean."""
    lines = _legend(rows, notes)
    text_height = 0.19 * (len(lines) + 2)
    height = 5.2 + text_height  # inches
    figure = Figure(figsize=(11, height), dpi=110, facecolor="white")
    bottom, top = (text_height + 0.62) / height, 1 - 0.85 / height
    left = figure.add_axes((0.075, bottom, 0.20, top - bottom))
    right = figure.add_axes((0.37, bottom, 0.60, top - bottom))
    rates = max((run.rates for run in runs), key=len)
    _growth(left, rates)
    _loss(right, rates, runs, rows)
    title = "Which learning rate? One step after the other with a growing rate,"
    place: dict[str, Any] = {"x": 0.075, "y": 1 - 0.25 / height, "ha": "left"}
    figure.suptitle(f"{title} {count(len(runs), 'time')}", fontsize=14, color=_DARK, **place)
    for number, (colour, words) in enumerate(lines):
        y = (len(lines) - number) * (0.19 / height)
        figure.text(0.075, y, words, fontsize=9.5, color=colour, family="DejaVu Sans", va="bottom")
    return render_png(figure)


def _growth(axes: Axes, rates: Floats) -> None:
    axes.plot(np.arange(1, len(rates) + 1), rates, color=_DARK, lw=1.8)
    axes.set(yscale="log", xlabel="step (one batch of photos)", ylabel="learning rate")
    axes.set_title("1  The rate grows step by step", fontsize=10.5, loc="left")
    axes.grid(alpha=0.25)


def _loss(axes: Axes, rates: Floats, runs: Sequence[Curve], rows: Suggestions) -> None:
    losses = [run.losses for run in runs]
    lag, _, _ = band([run.smoothed for run in runs])
    mean, low, high = band([smoothed(run, WINDOW) for run in losses])
    x = rates[: len(mean)]
    bottom, top = _limits(losses, mean)
    for number, run in enumerate(losses):
        label = "single batches" if number == 0 else None
        axes.plot(rates[: len(run)], run, ".", color=_PALE, ms=4, alpha=0.7, label=label)
    axes.fill_between(x, low, high, color=_DARK, alpha=0.12, lw=0, label="from seed to seed")
    axes.plot(x, mean, color=_DARK, lw=2.2, label=f"mean of {WINDOW} steps and all seeds")
    axes.plot(x, lag, color=_DARK, lw=1.2, ls="--", label="as fastai smooths it (it lags behind)")
    point = float(x[mean.argmin()])
    axes.plot(point, mean.min(), "x", color=_RED, ms=10, mew=2.5, zorder=6)
    if not flatness(losses):
        _zones(axes, rates, point, bottom + 0.74 * (top - bottom))
    place = (point * 1.6, bottom + 0.03 * (top - bottom))
    words = "lowest point:\ntoo high to train with"
    axes.annotate(words, (point, mean.min()), place, color=_RED, fontsize=8.5)
    _suggestions(axes, x, lag, rows, bottom, top)
    axes.set(xscale="log", xlim=(rates[0], rates[-1]), xlabel="learning rate")
    axes.set(ylim=(bottom, top), ylabel="loss")
    axes.set_title("2  What that does to the loss (lower is better)", fontsize=10.5, loc="left")
    axes.grid(alpha=0.25)
    axes.legend(loc="upper left", fontsize=8.5, ncols=2, framealpha=0.9)


def _zones(axes: Axes, rates: Floats, point: float, roof: float) -> None:
    """Too low, good, too high: what a curve that really falls tells, and no other."""
    good = _COLOURS["valley"]
    axes.axvspan(point, rates[-1], color=_RED, alpha=0.07, lw=0)
    axes.axvspan(point / 10, point / 3, color=good, alpha=0.10, lw=0)
    words: dict[str, Any] = {"va": "top", "fontsize": 8.5, "linespacing": 1.3}
    axes.text(rates[0] * 1.3, roof, "low: learns,\nbut slowly", color="#555555", **words)
    axes.text(point / 30**0.5, roof, "good:\nstill falling", color=good, ha="center", **words)
    axes.text(point * 1.15, roof, "too high:\nit breaks down", color=_RED, **words)


def _suggestions(
    axes: Axes, x: Floats, lag: Floats, rows: Suggestions, bottom: float, top: float
) -> None:
    """Each on the curve that it was read from, with its range and its name, one above the other."""
    for number, (name, row) in enumerate(rows.items()):
        if not row["rate"]:
            continue
        y = float(np.interp(np.log(row["rate"]), np.log(x), lag))
        label = bottom + (0.62 - 0.05 * number) * (top - bottom)
        style: dict[str, Any] = {"color": _COLOURS[name], "zorder": 5}
        axes.plot([row["rate"]] * 2, [bottom, label], lw=1.2, ls=":", **style)
        axes.plot([row["low"], row["high"]], [label] * 2, lw=3, alpha=0.35, **style)
        axes.plot(row["rate"], y, _MARKS[name], ms=9, mec="white", **style)
        axes.text(row["rate"] * 1.06, label, f" {name}", fontsize=9, weight="bold", **style)


def _limits(losses: Sequence[Floats], mean: Floats) -> tuple[float, float]:
    """What of the loss is shown: an explosion at the end would flatten all that matters."""
    every, start = np.concatenate(list(losses)), float(mean[: len(mean) // 4 + 1].max())
    top = max(1.6 * start, min(float(np.percentile(every, 85)), 3 * start))
    low = float(min(every.min(), mean.min()))
    return low - 0.12 * (top - low), top + 0.45 * (top - low)  # room for words


def _legend(rows: Suggestions, notes: Sequence[str]) -> list[tuple[str, str]]:
    lines = []
    for name, row in rows.items():
        rate = f"{row['rate']:.1e}" if row["rate"] else "unknown"
        lines.append((_COLOURS[name], f"{name}  {rate}:  {row['about']}"))
    lines.append((_DARK, "The pale bars by the names reach from the lowest to the highest seed."))
    blocks = [(_DARK, WHY_NOT_LOWEST), *((_RED, f"Warning: {note}") for note in notes)]
    for colour, words in blocks:
        lines += [(colour, line) for line in textwrap.wrap(words, _WIDE)]
    return lines

"""Plot the differences between recipes with their intervals."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bear_classifier.experiments.compare.analysis import MEASURES
from bear_classifier.plots.fonts import render_png
from bear_classifier.runtime.terminal import count
from bear_classifier.stats.paired import Measure, amount

_INK, _GREY = "#222222", "#767676"
_COLOURS = {"better": "#1b7837", "worse": "#b2182b", "no difference": _GREY, "first": _INK}
_TITLES = {"loss": "log loss", "error": "error, points", "macro": "macro error, points"}
_WIDE = 125  # letters of a line below the panels


def draw(result: Mapping[str, Any], sentences: Sequence[str]) -> bytes:
    """A PNG: a panel for each measure, a row for each alternative."""
    rows = result["rows"]
    lines = [line for text in sentences for line in textwrap.wrap(text, _WIDE)]
    height, foot = 1.75 + 0.42 * len(rows), 0.19 * len(lines) + 0.25
    figure = Figure(figsize=(11, height + foot), dpi=120, facecolor="white")
    panels = np.asarray(figure.subplots(1, len(MEASURES), sharey=True))
    top, bottom = 1 - 0.95 / (height + foot), (foot + 0.55) / (height + foot)
    figure.subplots_adjust(left=0.20, right=0.98, top=top, bottom=bottom, wspace=0.08)
    for axes, measure in zip(panels, MEASURES, strict=True):
        _panel(axes, rows, measure, measure == result["by"])
    panels[0].set_yticks(range(len(rows)), [textwrap.shorten(row["name"], 34) for row in rows])
    panels[0].invert_yaxis()
    figure.suptitle(
        f"Differences to {textwrap.shorten(rows[0]['name'], 40)}, with intervals for all of them"
        f" together: {count(result['seeds'], 'seed')}, {result['photos']} validation photos",
        x=0.02, y=1 - 0.2 / (height + foot), ha="left", size=12, color=_INK,
    )  # fmt: skip
    for number, line in enumerate(lines):
        y = (0.15 + 0.19 * (len(lines) - 1 - number)) / (height + foot)
        figure.text(0.02, y, line, size=9, color=_INK, va="bottom")
    return render_png(figure)


def _panel(axes: Axes, rows: Sequence[Mapping[str, Any]], measure: Measure, decides: bool) -> None:
    times = 1.0 if measure == "loss" else 100.0
    axes.axvline(0, color=_INK, lw=0.9)
    for number, row in enumerate(rows):
        values = row[measure]
        colour = _COLOURS[values.get("verdict", "first")]
        middle = times * values.get("difference", 0.0)
        if values.get("low") is not None:
            ends = [times * values["low"], times * values["high"]]
            axes.plot(ends, [number] * 2, color=colour, lw=2)
        axes.plot(middle, number, "o", color=colour, ms=6)
        label = amount(values["mean"], measure)
        axes.annotate(label, (middle, number), xytext=(0, 6), textcoords="offset points",
                      ha="center", size=8, color=_GREY)  # fmt: skip
    weight = "bold" if decides else "normal"
    words = " (decides)" if decides else ""
    axes.set_title(_TITLES[measure] + words, size=10, color=_INK, weight=weight)
    axes.set_xlabel("less is better", size=8.5, color=_GREY)
    axes.set_ylim(-0.7, len(rows) - 0.3)
    axes.grid(axis="x", color="#e6e6e6", lw=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8.5)
    axes.spines[["top", "right", "left"]].set_visible(False)

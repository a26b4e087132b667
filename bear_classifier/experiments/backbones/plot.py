"""Plot the errors of backbones with their intervals."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bear_classifier.experiments.backbones.analysis import ERROR_KINDS
from bear_classifier.plots.fonts import render_png

_INK, _GREY = "#222222", "#767676"
_COLOURS = {"better": "#1b7837", "worse": "#b2182b", "no difference": _GREY, "first": _INK}
_TITLES = {"out_of_fold": "error out of fold, %", "unseen_sources": "error on unseen sources, %"}
_WIDE = 125  # letters of a line below the panels


def draw(rows: Sequence[Mapping[str, Any]], sentences: Sequence[str]) -> bytes:
    """A PNG: a panel for each kind of error that was measured, a row for each backbone."""
    lines = [line for text in sentences for line in textwrap.wrap(text, _WIDE)]
    kinds = [kind for kind in ERROR_KINDS if rows[0][kind]]
    height, foot = 1.75 + 0.5 * len(rows), 0.19 * len(lines) + 0.25
    figure = Figure(figsize=(11, height + foot), dpi=120, facecolor="white")
    panels = np.atleast_1d(np.asarray(figure.subplots(1, len(kinds), sharey=True)))
    top, bottom = 1 - 0.95 / (height + foot), (foot + 0.55) / (height + foot)
    figure.subplots_adjust(left=0.24, right=0.98, top=top, bottom=bottom, wspace=0.08)
    for axes, kind in zip(panels, kinds, strict=True):
        _panel(axes, rows, kind)
    panels[0].set_yticks(range(len(rows)), [_label(row) for row in rows])
    panels[0].invert_yaxis()
    first = textwrap.shorten(rows[0]["name"], 40)
    figure.suptitle(f"A probe on each backbone; colours: against {first}, for all together", x=0.02,
                    y=1 - 0.2 / (height + foot), ha="left", size=12, color=_INK)  # fmt: skip
    for number, line in enumerate(lines):
        y = (0.15 + 0.19 * (len(lines) - 1 - number)) / (height + foot)
        figure.text(0.02, y, line, size=9, color=_INK, va="bottom")
    return render_png(figure)


def _label(row: Mapping[str, Any]) -> str:
    took = row["milliseconds"]
    facts = f"{row['bytes'] / 1e6:.0f} MB" + ("" if took is None else f", {took:.0f} ms")
    return f"{textwrap.shorten(row['name'], 34)}\n{facts}"


def _panel(axes: Axes, rows: Sequence[Mapping[str, Any]], kind: str) -> None:
    for number, row in enumerate(rows):
        figures = row[kind]
        colour, error = _COLOURS[figures.get("verdict", "first")], 100 * figures["error"]
        low, high = (100 * end for end in figures["interval"])
        axes.plot([low, high], [number] * 2, color=colour, lw=2)
        axes.plot(error, number, "o", color=colour, ms=6)
        axes.annotate(f"{error:.1f}", (error, number), xytext=(0, 6), textcoords="offset points",
                      ha="center", size=8, color=_GREY,
                      bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6})  # fmt: skip
    axes.axvline(100 * rows[0][kind]["error"], color=_INK, lw=0.9, ls=":")
    axes.set_title(_TITLES[kind], size=10, color=_INK)
    axes.set_xlabel("less is better", size=8.5, color=_GREY)
    axes.set_ylim(-0.7, len(rows) - 0.3)
    axes.set_xlim(left=0)
    axes.grid(axis="x", color="#e6e6e6", lw=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8.5)
    axes.spines[["top", "right", "left"]].set_visible(False)

"""Plot a learning curve."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator, PercentFormatter

from bear_classifier.experiments.curve.text import answer, class_gain, headline
from bear_classifier.plots.fonts import render_png

_INK, _GREY, _LAW, _SEED = "#222222", "#666666", "#1f6fb4", "#9a9a9a"
_ALL = "#d1701f"
_COLUMNS = 3
_WIDTH = 9.6  # inches
_TOP, _ROW = 5.2, 2.7  # inches, height of the large panel and of a row of small ones


def draw(result: Mapping[str, Any]) -> bytes:
    """A PNG: a large panel of all photos, a small one for each class. result: of `growth`."""
    classes = result["classes"]
    columns = min(_COLUMNS, len(classes))
    rows = math.ceil(len(classes) / columns)
    figure = Figure(figsize=(_WIDTH, _TOP + 0.6 + _ROW * rows), dpi=130, layout="constrained")
    heights = [_TOP, 0.6 + _ROW * rows]
    above, below = np.asarray(figure.subfigures(2, 1, height_ratios=heights, hspace=0.04))
    large = above.subplots()
    sentence = textwrap.fill(answer(result), 105).splitlines()
    large.set_title(headline(result), loc="left", size=16, color=_INK, weight="bold",
                    pad=16 + 15 * len(sentence))  # fmt: skip
    large.text(0, 1.03, "\n".join(sentence), transform=large.transAxes, size=10, color=_GREY)
    panel(large, result["all"])
    large.set(xlabel="photos that the model learned from, all classes", ylabel="error")
    large.legend(loc="upper right", frameon=False, fontsize=9)
    below.suptitle("If only photos of one class were added", x=0.035, ha="left", size=12,
                   color=_INK, weight="bold")  # fmt: skip
    cells = below.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    for cell, (label, row) in zip(cells, classes.items(), strict=False):
        panel(cell, row["recall"])
        cell.plot(row["band"]["n"], row["band"]["error"], color=_ALL, lw=1.6, zorder=3)
        cell.plot(row["sizes"], row["error"], "o", color=_ALL, ms=3.5, zorder=3)
        cell.set_title(label, loc="left", size=10, color=_INK, weight="bold", pad=18)
        cell.text(0, 1.03, class_gain(row), transform=cell.transAxes, size=8.5, color=_GREY)
        cell.set_xlabel(f"{label} photos", size=9)
        cell.tick_params(labelsize=8)
    cells[0].set_ylim(0, max(_top(row["recall"]) for row in classes.values()))
    keys = [Line2D([], [], color=color, lw=2) for color in (_LAW, _ALL)]
    names = ["photos of the class not recognised", "errors of all classes together"]
    below.legend(keys, names, loc="upper right", ncols=2, frameon=False, fontsize=9)
    for cell in cells[len(classes) :]:
        cell.set_visible(False)
    return render_png(figure)


def panel(axes: Axes, row: Mapping[str, Any]) -> None:
    """Points of each seed, their mean, the law with its band, dashed beyond the measured."""
    sizes, band = np.array(row["sizes"]), row["band"]
    n, law, chance = (np.array(band[key]) for key in ("n", "error", "interval"))
    present = sizes[-1]
    axes.fill_between(n, *chance.T, color=_LAW, alpha=0.14, lw=0, label="95 % interval")
    measured = n <= present * 1.001
    axes.plot(n[measured], law[measured], color=_LAW, lw=2, label="power law")
    axes.plot(n[~measured], law[~measured], color=_LAW, lw=2, ls=(0, (3, 2)), label="predicted")
    jitter = np.linspace(0.97, 1.03, len(row["per_seed"]))[:, None]
    seeds = np.array(row["per_seed"])
    axes.plot((sizes * jitter).ravel(), seeds.ravel(), ".", color=_SEED, ms=4, alpha=0.6,
              label="one seed", zorder=1)  # fmt: skip
    axes.plot(sizes, row["error"], "o", color=_INK, ms=5, label="mean", zorder=4)
    axes.axvline(present, color=_GREY, lw=0.8, ls=":")
    axes.set_xscale("log")
    marks = [*sizes, 2 * present, 3 * present]
    axes.xaxis.set_major_locator(FixedLocator(spaced(marks, marks[-1] / marks[0])))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.0f}"))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_ylim(0, _top(row))
    axes.annotate("now", (present, 1), xycoords=("data", "axes fraction"), xytext=(3, -10),
                  textcoords="offset points", size=8.5, color=_GREY)  # fmt: skip
    axes.grid(axis="y", color="#e6e6e6", lw=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _top(row: Mapping[str, Any]) -> float:
    """What a panel must reach so that a few odd points, and nothing else, stay outside."""
    band = float(np.max(row["band"]["interval"]))
    return 1.2 * max(band, float(np.quantile(row["per_seed"], 0.98)), 0.01)


def spaced(marks: list[float], span: float) -> list[float]:
    """Those of ascending marks whose numbers would not run into the one before."""
    least, kept = span ** (1 / 14), [marks[0]]
    for mark in marks[1:]:
        if mark >= least * kept[-1]:
            kept.append(mark)
    return kept

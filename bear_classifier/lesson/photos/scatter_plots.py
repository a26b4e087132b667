"""Scatter plots of embeddings, with colours and shapes for classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.ticker import FixedLocator, PercentFormatter
from numpy.typing import NDArray

from bear_classifier.plots.charts import BLUE, GREY, INK, ORANGE, figure_png, panels, set_title

# Distinct for the colour-blind (Okabe and Ito, Color Universal Design, 2008), without the yellow,
# which is hard to see on white. 7 colours and 8 shapes make 56 pairs.
CLASS_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#000000")
# A marker of matplotlib, and the same as corners on a circle: how many (0: the circle itself), the
# angle of the first in degrees, and how far out every second one lies.
SHAPES = {
    "o": (0, 0, 1.0),
    "s": (4, 45, 1.0),
    "^": (3, -90, 1.0),
    "D": (4, 0, 1.0),
    "v": (3, 90, 1.0),
    "P": (8, 0, 0.45),
    "X": (8, 45, 0.45),
    "*": (10, -90, 0.45),
}


def clouds(
    maps: Mapping[str, NDArray[np.float64]],
    targets: NDArray[np.int64],
    wrong: NDArray[np.bool_],
    labels: Sequence[str],
) -> bytes:
    """maps: (m, 2) each, by name; targets, wrong: (m,)."""
    rows = -(-len(labels) // 6)
    figure, cells = panels(4.2 + 0.25 * rows, len(maps))
    markers = list(SHAPES)
    for axes, (name, at) in zip(cells, maps.items(), strict=True):
        for number, label in enumerate(labels):
            mine = at[targets == number]
            axes.scatter(mine[:, 0], mine[:, 1], s=13, marker=markers[number % len(markers)],
                         color=CLASS_COLOURS[number % len(CLASS_COLOURS)], lw=0, alpha=0.75,
                         label=label.replace("$", r"\$") if axes is cells[0] else None)  # fmt: skip
        axes.scatter(at[wrong, 0], at[wrong, 1], s=42, facecolor="none", edgecolor=INK, lw=1)
        axes.set_aspect("equal", adjustable="datalim")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
        set_title(axes, name)
    figure.legend(loc="outside lower left", ncols=6, frameon=False, fontsize=9, markerscale=1.6)
    return figure_png(figure)


def widths(held: NDArray[np.float64]) -> bytes:
    """held: (k,) shares of the variance that the first components hold together."""
    figure, (axes,) = panels(2.9, 1)
    count = np.arange(1, len(held) + 1)
    axes.plot(count, held, color=BLUE, lw=1.8)
    for k in (2, 3):
        axes.plot(k, held[k - 1], "o", color=ORANGE, ms=6)
        axes.annotate(f"{k}: {held[k - 1]:.0%}", (k, held[k - 1]), xytext=(7, -9), size=9.5,
                      textcoords="offset points", color=INK)  # fmt: skip
    axes.set_xscale("log")
    ticks = [k for k in (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000, 2000) if k <= len(held)]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.set_xticks(ticks, [f"{k:,}" for k in ticks])
    axes.minorticks_off()
    axes.set_ylim(0, 1.03)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_xlabel("components, the widest first")
    set_title(axes, "Share of the variance")
    return figure_png(figure)


def neighbour_counts(
    shares: NDArray[np.float64], wrong: NDArray[np.bool_], chance: float, near: int
) -> bytes:
    """How many photos have 0, 1, ... `near` neighbours of their own class. shares, wrong: (m,);
    chance: the mean share of neighbours by lot."""
    both = [("right answers", ~wrong, BLUE), ("wrong answers", wrong, ORANGE)]
    shown = [part for part in both if part[1].any()]
    figure, cells = panels(3.0, len(shown))
    for axes, (name, mine, colour) in zip(cells, shown, strict=True):
        counts = np.bincount(np.rint(near * shares[mine]).astype(int), minlength=near + 1)
        bars = axes.bar(np.arange(near + 1), counts / mine.sum(), 0.8, color=colour)
        axes.bar_label(bars, [f"{count:,}" for count in counts], size=9, color=INK, padding=2)
        axes.axvline(near * chance, color=GREY, lw=1, ls=(0, (4, 3)))
        _note(axes, "mean by chance", near * chance)
        axes.set_ylim(0, 1.12)
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.set_xlabel(f"of the {near} nearest photos, so many are of its class")
        set_title(axes, f"{int(mine.sum()):,} {name}")
    return figure_png(figure)


def _note(axes: Any, words: str, x: float) -> None:
    axes.annotate(words, (x, 1), xycoords=("data", "axes fraction"), xytext=(4, -10),
                  textcoords="offset points", size=9, color=GREY)  # fmt: skip

"""Charts of training and evaluation, for a notebook or a slide.

The report draws the same figures as SVG, which follows the page's own style (`plots`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator, PercentFormatter

from bear_classifier.plots import fonts

FIGURE_WIDTH = 9.6  # inches
DPI = 200  # twice what a page shows, so that letters are sharp on every screen
INK, GREY, PALE, BLUE, ORANGE = "#222222", "#666666", "#e4e4e4", "#1f6fb4", "#d1701f"


class ShownFigure(Figure):
    """A matplotlib figure that a notebook shows as it is, without pyplot."""

    def _repr_png_(self) -> bytes:
        return figure_png(self)


def training_history(record: Mapping[str, Any]) -> Figure:
    """Losses and error of each epoch. record: of a training, as train/history.json holds it."""
    rows = record["history"]
    epochs = [row["epoch"] for row in rows]
    figure, (left, right) = panels(3.6, 2)
    left.plot(epochs, [row["train_loss"] for row in rows], "o-", color=BLUE, ms=3.5, lw=1.8,
              label="on the photos it learns from")  # fmt: skip
    valid = [row["valid_loss"] for row in rows]
    left.plot(epochs, valid, "o-", color=ORANGE, ms=3.5, lw=1.8, label="on validation")
    left.axhline(record["valid_loss"]["probe"], color=GREY, lw=1, ls=(0, (4, 3)),
                 label="the first model, on validation")  # fmt: skip
    left.set_yscale("log")  # a single wild epoch would flatten the others
    left.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    left.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    left.yaxis.set_minor_locator(NullLocator())
    set_title(left, "Loss (lower is better)")
    figure.legend(loc="outside lower left", ncols=3, frameon=False, fontsize=9)
    right.plot(epochs, [row["error"] for row in rows], "o-", color=ORANGE, ms=3.5, lw=1.8)
    before = record["valid_wrong"]["probe"] / record["valid"]
    right.axhline(before, color=GREY, lw=1, ls=(0, (4, 3)))
    right.set_ylim(0, 1.1 * max(before, *(row["error"] for row in rows), 0.01))
    right.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    set_title(right, "Wrong answers on validation")
    for axes in (left, right):
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        if kept := record["kept_epoch"]:
            axes.axvline(kept, color=INK, lw=1, ls=":")
    if kept := record["kept_epoch"]:
        right.annotate("kept", (kept, 1), xycoords=("data", "axes fraction"), xytext=(-4, -12),
                       textcoords="offset points", size=9, color=INK, ha="right")  # fmt: skip
    return figure


def confusion(report: Mapping[str, Any]) -> Figure:
    """What is taken for what, and recall and precision of each class with their intervals.
    report: a `Report` of evaluate as a dictionary."""
    labels, table = report["labels"], np.array(report["confusion"])
    n = len(labels)
    figure, (left, right) = panels(max(3.4, 1.5 + 0.55 * n), 2, ratios=(1, 1.25))
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    left.imshow(shares, cmap="Blues", vmin=0, vmax=1.15, aspect="auto")
    for i, j in np.ndindex(n, n):
        dark = shares[i, j] > 0.6
        left.text(j, i, str(table[i, j]), ha="center", va="center", size=12 if n < 9 else 8,
                  color="white" if dark else INK if table[i, j] else "#b5b5b5",
                  weight="bold" if i == j else "normal")  # fmt: skip
    left.set_xticks(range(n), labels, rotation=0 if n < 5 else 60)
    left.set_yticks(range(n), labels)
    left.set_xlabel("the model says")
    left.set_ylabel("it is")
    left.tick_params(length=0)
    left.grid(False)
    left.spines[:].set_visible(False)
    set_title(left, f"{report['n']} test photos")
    for number, label in enumerate(labels):
        row = report["per_class"][label]
        for name, colour, shift in (("recall", BLUE, -0.13), ("precision", ORANGE, 0.13)):
            if row[name] is not None:
                _span(right, row[name], row[f"{name}_interval"], number + shift, colour)
    right.plot([], [], "o-", color=BLUE, label="recall: so many of the class are recognised")
    right.plot(
        [], [], "o-", color=ORANGE, label="precision: so many answers of the class are right"
    )
    right.set_yticks(range(n), labels)
    right.set_ylim(n - 0.5, -0.5)
    right.set_xlim(0, 1.02)
    right.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    right.grid(axis="y", visible=False)
    right.grid(axis="x", color=PALE, lw=0.8)
    right.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(0, -0.12))
    set_title(right, "Each share with its 95 % interval")
    return figure


def certainty(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Whether stated certainty comes true, and how often which is stated. rows: of
    `figures.reliability`."""
    figure, (left, right) = panels(3.6, 2)
    left.plot([0, 1], [0, 1], color=GREY, lw=1, ls=(0, (4, 3)))
    left.annotate("exactly right", (0.30, 0.33), size=9, color=GREY, rotation=32, ha="center")
    for row in rows:
        x, (low, high) = row["confidence"], row["interval"]
        left.plot([x, x], [low, high], color=BLUE, lw=3, alpha=0.35, solid_capstyle="butt")
        left.plot(x, row["right"], "o", color=BLUE, ms=7)
    left.set_xlim(0, 1.03)
    left.set_ylim(0, 1.03)
    left.set_ylabel("answers that are right")
    left.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    set_title(left, "Does certainty come true?")
    edges = [row["from"] for row in rows]
    width = [0.94 * (row["to"] - row["from"]) for row in rows]
    bars = right.bar(edges, [row["n"] for row in rows], width, align="edge", color=BLUE)
    right.bar_label(bars, size=9, color=INK, padding=2)
    right.margins(y=0.12)
    right.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    right.set_xlim(0, 1.03)
    right.set_ylabel("photos")
    set_title(right, "How sure are the answers?")
    for axes in (left, right):
        axes.set_xlabel("stated certainty")
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    return figure


def familiarity(rejection: Mapping[str, Any]) -> Figure:
    """How much photos are like those learned from, and the limit below which no answer is given.
    rejection: of the report."""
    found, least = rejection["familiarity"], rejection["least"]
    figure, (axes,) = panels(3.3, 1)
    edges = np.array(found["edges"])
    right, wrong = np.array(found["right"]), np.array(found["wrong"])
    width = np.diff(edges) * 0.94
    axes.bar(edges[:-1], right, width, align="edge", color=BLUE, label="answered rightly")
    axes.bar(edges[:-1], wrong, width, right, align="edge", color=ORANGE, label="wrongly")
    if least is not None:
        axes.axvline(least, color=INK, lw=1.4)
        axes.margins(x=0.06)
        axes.annotate("no answer to the left", (least, 1), xycoords=("data", "axes fraction"),
                      xytext=(4, -10), textcoords="offset points", size=9, color=INK)  # fmt: skip
    axes.set_xlabel("how much a photo is like the training photos")
    axes.set_ylabel("photos")
    axes.margins(y=0.1)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    figure.legend(loc="outside lower left", ncols=2, frameon=False, fontsize=9)
    set_title(axes, "Validation and test photos")
    return figure


def figure_png(figure: Figure) -> bytes:
    """The figure as a PNG file, all letters as they are given, whatever their script."""
    return fonts.render_png(figure, DPI)


def panels(
    height: float, columns: int, ratios: Sequence[float] | None = None
) -> tuple[Figure, Any]:
    """A figure of the one width and its plots side by side."""
    figure = ShownFigure(figsize=(FIGURE_WIDTH, height), layout="constrained", facecolor="white")
    cells = figure.subplots(1, columns, width_ratios=ratios, squeeze=False)[0]
    figure.get_layout_engine().set(wspace=0.06, w_pad=0.08, h_pad=0.08)  # type: ignore[union-attr, call-arg]
    for axes in cells:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color=PALE, lw=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(labelsize=9.5)
    return figure, cells


def set_title(axes: Axes, words: str) -> None:
    axes.set_title(words, loc="left", size=11.5, weight="bold", color=INK, pad=9)


def _span(axes: Axes, value: float, interval: Sequence[float], y: float, colour: str) -> None:
    axes.plot(interval, [y, y], color=colour, lw=5, alpha=0.3, solid_capstyle="butt")
    axes.plot(value, y, "o", color=colour, ms=7)

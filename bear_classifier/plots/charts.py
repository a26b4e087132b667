"""Charts of training and evaluation: wide for a notebook or a slide, narrow for the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator, PercentFormatter

from bear_classifier.plots import fonts
from bear_classifier.stats.intervals import Interval, wilson

FIGURE_WIDTH = 9.6  # inches
NARROW = 5.0  # inches
DPI = 200  # twice what a page shows, so that letters are sharp on every screen
INK, GREY, PALE, BLUE, ORANGE = "#222222", "#666666", "#e4e4e4", "#1f6fb4", "#d1701f"
_DASHES = (0, (4, 3))
_PERCENT = PercentFormatter(1, decimals=0)


Draw = Callable[[Axes, Mapping[str, Any]], None]


class ShownFigure(Figure):
    """A matplotlib figure that a notebook shows as it is, without pyplot."""

    def _repr_png_(self) -> bytes:
        return figure_png(self)


def loss_history(axes: Axes, record: Mapping[str, Any]) -> None:
    """Loss of each epoch. record: of a training, as train/history.json holds it."""
    rows, first = record["history"], record.get("valid_loss", {}).get("probe")
    epochs = [row["epoch"] for row in rows]
    _points(axes, epochs, [row["train_loss"] for row in rows], BLUE, "training photos")
    _points(axes, epochs, [row["valid_loss"] for row in rows], ORANGE, "validation")
    if first is not None:
        axes.axhline(first, color=GREY, lw=1, ls=_DASHES, label="first model, validation")
    axes.set_yscale("log")  # a single wild epoch would flatten the others
    low, high = axes.get_ylim()
    axes.set_ylim(0.8 * low, 1.25 * high)  # wide enough for a mark
    steps = (1, 2, 5) if high > 20 * low else (1, 1.5, 2, 3, 4, 5, 6, 8)
    axes.yaxis.set_major_locator(LogLocator(subs=steps))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylabel("log loss")
    _epochs(axes, record)


def error_history(axes: Axes, record: Mapping[str, Any]) -> None:
    """Error on validation of each epoch, with its interval. record: as of `loss_history`."""
    rows, n = record["history"], record.get("valid", 0)
    epochs, errors = [row["epoch"] for row in rows], [row["error"] for row in rows]
    _points(axes, epochs, errors, ORANGE)
    if n and "valid_wrong" in record:
        axes.axhline(record["valid_wrong"]["probe"] / n, color=GREY, lw=1, ls=_DASHES)
    _intervals(axes, epochs, [epoch_interval(record, error) for error in errors], ORANGE)
    _epochs(axes, record)
    if kept := record.get("kept_epoch"):
        side = 1 if kept <= sum(axes.get_xlim()) / 2 else -1  # the one with more room
        axes.annotate("kept", (kept, 1), xycoords=("data", "axes fraction"), xytext=(4 * side, -10),
                      textcoords="offset points", size=9, color=INK,
                      ha="left" if side > 0 else "right")  # fmt: skip


def epoch_interval(record: Mapping[str, Any], error: float) -> Interval | None:
    """95 % interval of an epoch's error. Copies count once: who was wrong is not kept."""
    n = record.get("valid", 0) / record.get("valid_copies", 1.0)
    return wilson(error * n, n)


def training_history(record: Mapping[str, Any]) -> Figure:
    """Losses and error of each epoch. record: as of `loss_history`."""
    figure, (left, right) = panels(3.6, 2)
    loss_history(left, record)
    set_title(left, "Loss (lower is better)")
    error_history(right, record)
    set_title(right, "Wrong answers on validation")
    _legend(figure, 3)
    return figure


def interpolation_errors(axes: Axes, record: Mapping[str, Any]) -> None:
    """Errors of weights between the first model and the tuned one. record: of a training."""
    percents = [100 * share for share in record["mixtures"]["shares"]]
    for key, colour, name in (
        ("valid", ORANGE, "validation"),
        ("unseen", BLUE, "sources never seen"),
    ):
        if one := record["mixtures"].get(key):
            n, wrong = one["n"], one["wrong"]
            _points(axes, percents, [k / n for k in wrong], colour, name)
            intervals = one.get("intervals") or [wilson(k, n) for k in wrong]
            _intervals(axes, percents, intervals, colour)
    axes.set_xticks(percents)
    axes.set_xlabel("tuned weights, %")


def lr_finder(axes: Axes, record: Mapping[str, Any]) -> None:
    """Loss by learning rate, of single batches and smoothed, and the rate taken. What lies above
    three times the loss at the beginning, where it explodes, is left out. record: of a training."""
    curve = record["finder"]
    rates, losses, smoothed = (np.array(curve[key]) for key in ("rates", "losses", "smoothed"))
    top = min(smoothed.max(), 3 * smoothed[: max(1, len(smoothed) // 4)].mean())
    few, kept = losses <= top, smoothed <= top
    axes.plot(rates[few], losses[few], "o", color=BLUE, ms=3, alpha=0.5, label="single batches")
    axes.plot(rates[kept], smoothed[kept], color=ORANGE, lw=1.8, label="smoothed")
    axes.axvline(record["lr"], color=INK, lw=1.4, ls=_DASHES, label="taken")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"1e{np.log10(x):.0f}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_ylim(0, 1.1 * top)
    axes.set_xlabel("learning rate")
    axes.set_ylabel("log loss")


def confusion(report: Mapping[str, Any]) -> Figure:
    """Confusion matrix, and recall and precision of each class with their intervals.
    report: an `EvaluationReport` of judge/evaluate."""
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
    left.set_xlabel("predicted")
    left.set_ylabel("true")
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
    right.xaxis.set_major_formatter(_PERCENT)
    right.grid(axis="y", visible=False)
    right.grid(axis="x", color=PALE, lw=0.8)
    right.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(0, -0.12))
    set_title(right, "Each share with its 95 % interval")
    return figure


def certainty(rows: Sequence[Mapping[str, Any]], narrow: bool = False) -> Figure:
    """Whether stated certainty comes true, and how often which is stated. rows: of
    `calibration.reliability_bins`."""
    figure, (right, counts) = panels(3.6, 2, (3, 1.3) if narrow else None, narrow)
    right.plot([0, 1], [0, 1], color=GREY, lw=1, ls=_DASHES)
    right.annotate("exactly right", (0.30, 0.33), size=9, color=GREY, rotation=32, ha="center")
    for row in rows:
        right.vlines(row["confidence"], *row["interval"], color=BLUE, lw=3, alpha=0.35)
        right.plot(row["confidence"], row["right"], "o", color=BLUE, ms=7)
    right.set_ylim(0, 1.03)
    right.set_ylabel("answers that are right")
    right.yaxis.set_major_formatter(_PERCENT)
    edges = [row["from"] for row in rows]
    width = [0.94 * (row["to"] - row["from"]) for row in rows]
    bars = counts.bar(edges, [row["n"] for row in rows], width, align="edge", color=BLUE)
    counts.bar_label(bars, size=9, color=INK, padding=2)
    counts.margins(y=0.3 if narrow else 0.12)
    counts.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=2 if narrow else 6))
    counts.set_ylabel("photos")
    if narrow:
        right.tick_params(labelbottom=False)
    else:
        right.set_xlabel("stated certainty")
        set_title(right, "Does certainty come true?")
        set_title(counts, "How sure are the answers?")
    counts.set_xlabel("stated certainty")
    for axes in (right, counts):
        axes.set_xlim(0, 1.03)
        axes.xaxis.set_major_formatter(_PERCENT)
    return figure


def familiarity(rejection: Mapping[str, Any], narrow: bool = False) -> Figure:
    """How much photos are like those learned from, and the limit below which no answer is given.
    rejection: of the report."""
    counts, least = rejection["familiarity"], rejection["least"]
    figure, (axes,) = panels(3.3, 1, narrow=narrow)
    edges = np.array(counts["edges"])
    right, wrong = np.array(counts["right"]), np.array(counts["wrong"])
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
    _legend(figure, 2)
    if not narrow:
        set_title(axes, "Validation and test photos")
    return figure


def narrow_chart(draw: Draw, record: Mapping[str, Any]) -> Figure:
    """One of the plots above as a narrow figure."""
    figure, (axes,) = panels(3.3, 1, narrow=True)
    draw(axes, record)
    _legend(figure, 2)
    return figure


def figure_png(figure: Figure) -> bytes:
    """The figure as a PNG file, all letters as they are given, whatever their script."""
    return fonts.render_png(figure, DPI)


def panels(
    height: float, n: int, ratios: Sequence[float] | None = None, narrow: bool = False
) -> tuple[Figure, Any]:
    """A figure and its plots: side by side, or below each other and narrow, for a phone."""
    if narrow:  # of fixed margins: to measure all text takes as long as to draw it
        figure = ShownFigure(figsize=(NARROW, height))
        cells = figure.subplots(n, 1, height_ratios=ratios, squeeze=False)[:, 0]
        figure.subplots_adjust(0.15, 0.17, 0.98, 0.97)
    else:
        figure = ShownFigure((FIGURE_WIDTH, height), layout="constrained", facecolor="white")
        cells = figure.subplots(1, n, width_ratios=ratios, squeeze=False)[0]
        figure.get_layout_engine().set(wspace=0.06, w_pad=0.08, h_pad=0.08)  # type: ignore[union-attr, call-arg]
    for axes in cells:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color=PALE, lw=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(labelsize=9.5)
        if narrow:  # as plain as the page, and legible where a phone makes it smaller
            axes.spines["left"].set_visible(False)
            axes.tick_params(labelsize=10.5, length=0)
            axes.xaxis.label.set_size(11)
            axes.yaxis.label.set_size(11)
    return figure, cells


def set_title(axes: Axes, words: str) -> None:
    axes.set_title(words, loc="left", size=11.5, weight="bold", color=INK, pad=9)


def _legend(figure: Figure, columns: int) -> None:
    """Below everything else."""
    n = sum(len(axes.get_legend_handles_labels()[0]) for axes in figure.axes)
    if not n:
        return
    if figure.get_layout_engine() is None:
        figure.legend(loc="lower left", ncols=columns, frameon=False, fontsize=10)
        figure.subplots_adjust(bottom=0.17 + 0.07 * -(-n // columns))
    else:
        figure.legend(loc="outside lower left", ncols=columns, frameon=False, fontsize=9)


def _epochs(axes: Axes, record: Mapping[str, Any]) -> None:
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if kept := record.get("kept_epoch"):
        axes.axvline(kept, color=INK, lw=1, ls=":")


def _points(
    axes: Axes, x: Sequence[float], y: Sequence[float], colour: str, name: str | None = None
) -> None:
    axes.plot(x, y, "o-", color=colour, ms=3.5, lw=1.8, label=name)


def _intervals(
    axes: Axes, x: Sequence[float], ends: Sequence[Sequence[float] | None], colour: str
) -> None:
    """Of errors, on an axis of per cent."""
    for at, interval in zip(x, ends, strict=True):
        if interval:
            axes.vlines(at, interval[0], interval[1], color=colour, lw=4, alpha=0.3)
    axes.set_ylim(0, min(1.0, axes.get_ylim()[1]))
    axes.set_ylabel("error")
    axes.yaxis.set_major_formatter(_PERCENT)


def _span(axes: Axes, value: float, interval: Sequence[float], y: float, colour: str) -> None:
    axes.plot(interval, [y, y], color=colour, lw=5, alpha=0.3, solid_capstyle="butt")
    axes.plot(value, y, "o", color=colour, ms=7)

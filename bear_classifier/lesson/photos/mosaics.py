"""Figures of `features`: many small pictures in rows."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray
from PIL import Image

from bear_classifier.plots.charts import BLUE, GREY, ORANGE, figure_png, panels, set_title

PANEL_COLOURS = (BLUE, ORANGE, "#1b7837", "#8e44ad", "#b8860b", "#b2182b")  # of classes
_TILE, _EDGE, _GAP = 104, 6, 6  # pixels of a small picture, of its coloured edge, between them
_ZOOM = 112  # pixels of a photo that are shown of its middle
Pixels = NDArray[np.uint8]
Tile = tuple[Pixels, str | None]  # a picture, and the colour of its edge


def mosaic(rows: Sequence[Sequence[Tile]], tile: int = _TILE) -> Pixels:
    """Rows of small pictures on white, all of one size."""
    step = tile + _GAP
    whole = np.full((step * len(rows), step * max(map(len, rows)), 3), 255, np.uint8)
    for i, row in enumerate(rows):
        for j, (picture, colour) in enumerate(row):
            whole[i * step : i * step + tile, j * step : j * step + tile] = _framed(
                picture, colour, tile
            )
    return whole


def _framed(picture: Pixels, colour: str | None, tile: int) -> Pixels:
    edge = _EDGE if colour else 0
    inside = Image.fromarray(picture).resize((tile - 2 * edge,) * 2, Image.Resampling.BICUBIC)
    whole = Image.new("RGB", (tile, tile), colour or "white")
    whole.paste(inside, (edge, edge))
    return np.asarray(whole)


def small_png(figure: Figure) -> bytes:
    """A PNG of 256 colours: of photos a third of the size."""
    file = io.BytesIO()
    Image.open(io.BytesIO(figure_png(figure))).convert("RGB").quantize(256).save(
        file, "PNG", optimize=True
    )
    return file.getvalue()


def _bare(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    axes.spines[:].set_visible(False)


def _laid(axes: Axes, whole: Pixels, words: Sequence[str], tile: int = _TILE) -> None:
    """A mosaic with words at the left of each row."""
    axes.imshow(whole, interpolation="antialiased")
    _bare(axes)
    axes.set_yticks([(i + 0.5) * (tile + _GAP) - _GAP / 2 for i in range(len(words))], words)
    axes.tick_params(length=0, labelsize=8.5)


def kernels(
    grey: NDArray[np.float64],
    convolved: Mapping[str, NDArray[np.float64]],
    kernels_: Mapping[str, NDArray[np.float64]],
) -> bytes:
    """The middle of a photo (h, w), and of what each kernel makes of it, above the kernel."""
    figure, cells = panels(3.4, 1 + len(convolved))
    for axes, (name, values) in zip(cells, {"the photo": grey, **convolved}.items(), strict=True):
        top, left = (max(0, (n - _ZOOM) // 2) for n in values.shape)
        middle = values[top : top + _ZOOM, left : left + _ZOOM]
        lowest = 128.0 if name == "edges" else 0.0  # edges are light on one side, dark on the other
        axes.imshow(np.clip(middle + lowest, 0, 255), cmap="gray", vmin=0, vmax=255)
        _bare(axes)
        set_title(axes, name)
        if name in kernels_:
            axes.set_xlabel(_written(kernels_[name]), family="monospace", size=9, color=GREY)
    return small_png(figure)


def _written(kernel: NDArray[np.float64]) -> str:
    whole = bool((kernel == kernel.round()).all())
    return "\n".join(" ".join(f"{v:3.0f}" if whole else f"{v:.2f}" for v in row) for row in kernel)


def filters(weight: NDArray[np.float64]) -> bytes:
    """weight: (units, 3, k, k); grey is 0, each kernel has its own scale."""
    scale = np.abs(weight).max(axis=(1, 2, 3), keepdims=True)
    shown = (127.5 * (1 + weight / np.maximum(scale, 1e-12))).astype(np.uint8)
    tiles = [np.kron(one.transpose(1, 2, 0), np.ones((16, 16, 1), np.uint8)) for one in shown]
    rows: list[list[Tile]] = [
        [(t, None) for t in tiles[i : i + 16]] for i in range(0, len(tiles), 16)
    ]
    figure, (axes,) = panels(0.66 * len(rows), 1)
    axes.imshow(mosaic(rows), interpolation="antialiased")
    _bare(axes)
    return small_png(figure)


def tops(
    sides: Mapping[str, tuple[Sequence[Sequence[Tile]], Sequence[str]]], names: Sequence[str]
) -> bytes:
    """Rows of crops, a unit each, with words, under the title of their side. names: of classes."""
    most = max(len(rows) for rows, _ in sides.values())
    figure, cells = panels(0.55 + 0.66 * most, len(sides))
    for axes, (name, (rows, words)) in zip(cells, sides.items(), strict=True):
        _laid(axes, mosaic(rows), words)
        set_title(axes, name)
    patches = [Patch(color=colour_of(c), label=name) for c, name in enumerate(names)]
    figure.legend(handles=patches, loc="outside lower left", ncols=6, frameon=False, fontsize=9)
    return small_png(figure)


def colour_of(number: int) -> str:
    return PANEL_COLOURS[number % len(PANEL_COLOURS)]


def purities(
    names: Sequence[str], chosen: Sequence[float], random: Sequence[float],
    chance: Sequence[tuple[float, float]],
) -> bytes:  # fmt: skip
    """Of each layer. chance: the 95 % of it."""
    figure, (axes,) = panels(3.1, 1)
    at = np.arange(len(names))
    axes.plot(at, chosen, "o-", color=ORANGE, lw=1.8, label="chosen units")
    axes.plot(at, random, "o-", color=BLUE, lw=1.8, label="random units")
    low, high = np.array(chance).T
    axes.errorbar(at, (low + high) / 2, (high - low) / 2, fmt="_", color=GREY, ms=14, capsize=4,
                  label="random photos, 95 %")  # fmt: skip
    axes.set_xticks(at, names)
    axes.set_xlim(-0.4, len(names) - 0.6)
    axes.set_ylim(0, 1.03)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    figure.legend(loc="outside lower left", ncols=3, frameon=False, fontsize=9)
    set_title(axes, "Share of the commonest class among the photos that excite a unit most")
    return figure_png(figure)


def maps(rows: Sequence[Sequence[Pixels]], left: Sequence[str], below: Sequence[str]) -> bytes:
    """Photos and their maps one below another; left: of each row, below: of each column."""
    tile = 200
    figure, (axes,) = panels(0.5 + 1.5 * len(rows), 1)
    _laid(axes, mosaic([[(one, None) for one in row] for row in rows], tile), left, tile)
    axes.set_xticks([(j + 0.5) * (tile + _GAP) for j in range(len(below))], below)
    axes.tick_params(length=0, labelsize=9)
    return small_png(figure)


def agreement(own: NDArray[np.float64], other: NDArray[np.float64],
              best: NDArray[np.float64], random: NDArray[np.float64]) -> bytes:  # fmt: skip
    """Rank correlations (n,) with the own and with another photo's map; falls of the logit (n,)
    where the highest quarter is covered, and where a random quarter is."""
    figure, (left, right) = panels(3.4, 2)
    bins = np.linspace(-1, 1, 11)
    left.hist([own, other], bins=bins, color=[BLUE, ORANGE],
              label=["with its own map", "with another photo's map"])  # fmt: skip
    left.axvline(0, color=GREY, lw=1)
    left.set_xlabel("rank correlation of evidence and falls")
    left.set_ylabel("photos")
    left.legend(frameon=False, fontsize=9, loc="upper left")
    set_title(left, "Do both maps agree?")
    ends = [min(best.min(), random.min(), 0), max(best.max(), random.max())]
    right.plot(ends, ends, color=GREY, lw=1, ls=(0, (4, 3)))
    right.plot(random, best, "o", color=ORANGE, ms=5, alpha=0.8)
    right.set_xlabel("fall of the logit, a random quarter covered")
    right.set_ylabel("fall, the highest quarter covered")
    set_title(right, "Does the map point at what matters?")
    return figure_png(figure)

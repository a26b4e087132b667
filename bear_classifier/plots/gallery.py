"""Grids of photos with captions, for a notebook or a slide."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import Suspect
from bear_classifier.images import decoder
from bear_classifier.plots.charts import FIGURE_WIDTH, GREY, INK, ShownFigure

if TYPE_CHECKING:
    from bear_classifier.report.html import Shown

_SIZE = 256  # pixels, side of a photo as it is shown
_LINE = 0.155  # inches, height of a line of words
_WORST = 8  # mistakes that are shown; each takes half a row
_Tile = tuple[Any, str]  # a picture and its words


def photo_grid(pictures: Sequence[Any], words: Sequence[str], columns: int = 6) -> Figure:
    """Squares in rows, each above its words, of which the first line is bold. pictures: as
    `photos.opened` takes them. Raises PhotoError."""
    tiles = list(zip(pictures, words, strict=True))
    return _drawn([tiles[k : k + columns] for k in range(0, len(tiles), columns)], columns)


def class_samples(
    catalog: Catalog,
    labels: Sequence[str],
    each: int = 6,
    seed: int = 42,
    split: str | None = None,
    most: int | None = None,
) -> Figure:
    """A row of usable photos of each class, chosen at random by the seed; of one class as many rows
    as it takes. each: photos in a row; split: only of this one; most: photos in all."""
    rng = np.random.default_rng(seed)
    usable = [photo for photo in catalog.photos("ok") if split in (None, photo.split)]
    rows = []
    for label in labels:
        mine = [photo for photo in usable if photo.label == label]
        wanted = each if most is None or len(labels) > 1 else most
        some = [mine[k] for k in sorted(rng.permutation(len(mine))[:wanted])]
        tiles = [(catalog.file(p), f"{label}\n{p.width} x {p.height} {p.format}") for p in some]
        rows += [tiles[k : k + each] for k in range(0, max(1, len(tiles)), max(1, each))]
    return _drawn(rows, max(1, each))


def suspect_grid(catalog: Catalog, suspects: Sequence[Suspect], columns: int = 6) -> Figure:
    """Photos with their label, the chance that something is wrong, and why it is thought so."""
    photos = catalog.photos_of([suspect.sha256 for suspect in suspects])
    known = {photo.sha256: catalog.file(photo) for photo in photos}
    files = [known[suspect.sha256] for suspect in suspects]
    words = [f"{s.label}?  {s.score:.0%}\n{'; '.join(s.reasons)}" for s in suspects]
    return photo_grid(files, words, columns)


def mistake_grid(rows: Sequence[Mapping[str, Any]], shown: Mapping[str, Shown]) -> Figure:
    """The worst mistakes: the photo, what spoke for the answer (orange; blue: against it), and what
    spoke for the truth. rows: of the report; shown: of `reporting.pictures`."""
    tiles: list[_Tile] = []
    for row in [row for row in rows if row["sha256"] in shown][:_WORST]:
        one = shown[row["sha256"]]
        sure = f"said {row['said']}, {row['sure']:.0%} sure"
        tiles.append((one.photo, f"is {row['true']}\n{sure}"))
        if one.predicted and one.true:
            tiles += [(one.predicted, f"why {row['said']}?"), (one.true, f"why {row['true']}?")]
    return photo_grid([picture for picture, _ in tiles], [words for _, words in tiles])


def _drawn(rows: Sequence[Sequence[_Tile]], columns: int) -> Figure:
    side = FIGURE_WIDTH / columns
    letters = int(side * 14.5)
    lines = [[_wrapped(words, letters) for _, words in row] for row in rows]
    heights = [side + _LINE * max(map(len, row), default=0) + 0.14 for row in lines]
    whole = max(sum(heights), 0.5)
    figure, top = ShownFigure(figsize=(FIGURE_WIDTH, whole), facecolor="white"), whole
    for row, texts, height in zip(rows, lines, heights, strict=True):
        for place, ((picture, _), text) in enumerate(zip(row, texts, strict=True)):
            left, bottom = (place + 0.02) / columns, (top - side) / whole
            axes = figure.add_axes((left, bottom, 0.96 / columns, 0.96 * side / whole))
            _picture(axes, picture, text)
        top -= height
    return figure


def _picture(axes: Axes, source: Any, lines: Sequence[str]) -> None:
    axes.imshow(np.asarray(decoder.fit_square(decoder.opened(source), _SIZE)), aspect="auto")
    axes.set_axis_off()
    for number, line in enumerate(lines):
        style: dict[str, Any] = {"weight": "bold", "color": INK} if not number else {"color": GREY}
        axes.annotate(line, (0, 0), xycoords="axes fraction", textcoords="offset points", size=8.5,
                      xytext=(1, -72 * _LINE * number - 3), va="top", **style)  # fmt: skip


def _wrapped(text: str, letters: int) -> list[str]:
    return [part for line in text.split("\n") for part in textwrap.wrap(line, letters) or [""]]

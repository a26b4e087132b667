"""Fonts for text of any script in figures, without math markup.

Names of classes and files are other people's text. matplotlib would take "US$ and A$" for a
formula, and draws a box for each character that its own font lacks, though another may have it.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable
from functools import lru_cache

from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text
from matplotlib.ticker import LogFormatter

_OWN = "DejaVu Sans"  # which matplotlib brings
_NO_LETTERS = "Last Resort"  # fonts that draw a box for everything


def render_png(figure: Figure, dpi: float | None = None) -> bytes:
    """The figure as a PNG. dpi: None: the figure's own."""
    FigureCanvasAgg(figure)
    write_plainly(figure)
    data = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # no font here has it
        figure.savefig(data, format="png", dpi=dpi or "figure")
    return data.getvalue()


def write_plainly(figure: Figure) -> None:
    """Take no text for a formula, but for powers of ten on axes, and find fonts for all of it."""
    powers = {id(text) for axes in figure.axes for text in _powers(axes)}
    texts = [text for text in figure.findobj(Text) if id(text) not in powers]
    more = fallbacks("".join(text.get_text() for text in texts))
    for text in texts:
        text.set_parse_math(False)
        if more:
            text.set_fontfamily([*text.get_fontfamily(), *more])


def _powers(axes: Axes) -> Iterable[Text]:
    """What matplotlib itself writes as formulas."""
    for axis in (axes.xaxis, axes.yaxis):
        for formatter, minor in ((axis.major.formatter, False), (axis.minor.formatter, True)):
            if isinstance(formatter, LogFormatter):
                yield from axis.get_ticklabels(minor)


def fallbacks(text: str) -> list[str]:
    """Names of fonts that have the characters which matplotlib's own lacks, as far as any has; the
    one with most of them first."""
    own = font_manager.findfont(_OWN)
    missing = {ord(c) for c in text if c.isprintable() and not c.isspace()} - _letters(own)
    names: list[str] = []
    while missing:
        best = max(_installed(), key=lambda font: len(missing & _letters(font[1])), default=None)
        if best is None or not missing & _letters(best[1]):
            break
        names.append(best[0])
        missing -= _letters(best[1])
    return names


def _installed() -> list[tuple[str, str]]:
    """Name and file of each font, in one order on every machine."""
    fonts = {(font.name, font.fname) for font in font_manager.fontManager.ttflist}
    return sorted(font for font in fonts if not font[0].startswith(_NO_LETTERS))


@lru_cache(1000)
def _letters(file: str) -> frozenset[int]:
    """The characters that a font has outlines for; none of a font of bitmaps, as of many emoji."""
    try:
        font = FT2Font(file)
        return frozenset(font.get_charmap()) if font.scalable else frozenset()
    except (OSError, RuntimeError):  # a broken file of somebody's collection
        return frozenset()

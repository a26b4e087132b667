"""Animations: a figure drawn repeatedly, as one GIF."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from PIL import Image

_DPI = 80
_COLOURS = 64


def gif(draw: Callable[[int], Figure], steps: Sequence[int], milliseconds: int = 80) -> bytes:
    """draw: the figure of a step, always of one size; the last stays for two seconds. Axes stand
    in all frames where they stand in the first."""
    figures = [draw(step) for step in steps]
    figures[0].draw_without_rendering()
    places = [axes.get_position() for axes in figures[0].axes]
    frames = [_image(figure, places) for figure in figures]
    palette = frames[-1].quantize(_COLOURS)  # one for all, or colours would flicker
    small = [frame.quantize(_COLOURS, palette=palette) for frame in frames]
    file = io.BytesIO()
    times = [milliseconds] * (len(small) - 1) + [2000]
    small[0].save(file, "GIF", save_all=True, append_images=small[1:], duration=times, loop=0)
    return file.getvalue()


def _image(figure: Figure, places: Sequence[Bbox]) -> Image.Image:
    figure.set_dpi(_DPI)
    figure.set_layout_engine("none")
    for axes, place in zip(figure.axes, places, strict=True):
        axes.set_position(place)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    return Image.fromarray(pixels).convert("RGB")

"""The loss surface over two parameters, with the path of descent."""

from __future__ import annotations

import functools

import numpy as np
import torch
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d.axes3d import Axes3D
from numpy.typing import NDArray
from torch import Tensor

from bear_classifier.lesson.animation import gif
from bear_classifier.lesson.basics.learning_rate import curvatures
from bear_classifier.lesson.basics.sgd import descend, least_squares, points
from bear_classifier.lesson.page import Page, Sheet
from bear_classifier.plots.charts import ORANGE, figure_png
from bear_classifier.stats.arrays import Floats

CELLS = 29
RATE, STEPS = 0.1, 40


def parameter_grid(best: Tensor, cells: int = CELLS) -> tuple[Floats, Floats]:
    """a1 and a2, (cells, cells) each, around the best parameters, the guess included."""
    a1 = np.linspace(float(best[0]) - 4.6, float(best[0]) + 4.6, cells)
    a2 = np.linspace(float(best[1]) - 3.0, float(best[1]) + 3.0, cells)
    first, second = np.meshgrid(a1, a2)
    return first, second


def heights(X: Tensor, y: Tensor, a1: Floats, a2: Floats) -> Floats:
    """The mean squared error at each pair of parameters, in the shape of a1 and a2."""
    at = torch.from_numpy(np.stack([a1.ravel(), a2.ravel()]))
    errors = X.double() @ at - y.double()[:, None]
    return np.asarray((errors**2).mean(0).reshape(a1.shape).numpy())


def page() -> Page:
    sheet = Sheet("surface")
    X, y = points()
    best = least_squares(X, y)
    a1, a2 = parameter_grid(best)
    loss = heights(X, y, a1, a2)
    path = descend(X, y, rate=RATE, steps=STEPS)
    walked = heights(X, y, path.at[:, 0].astype(float), path.at[:, 1].astype(float))
    sheet.say("intro")
    sheet.code(heights)
    data = {
        "x": a1[0].round(3).tolist(),
        "y": a2[:, 0].round(3).tolist(),
        "z": loss.round(3).tolist(),
        "path": np.column_stack([path.at, walked]).round(4).tolist(),
        "names": ["a1", "a2", "loss"],
    }
    sheet.live("turn", data)
    bowl = functools.partial(_bowl, a1, a2, loss, path.at, walked)
    sheet.picture("bowl", figure_png(bowl(-60)))
    turns = gif(functools.partial(bowl, small=True), range(-60, 300, 12), 110)
    sheet.picture("turning", turns)
    cell = np.array([a1[0, 1] - a1[0, 0], a2[1, 0] - a2[0, 0]])
    lowest = np.array([a1.flat[loss.argmin()], a2.flat[loss.argmin()]])
    off = np.abs(lowest - best.numpy())
    nearest = (off <= cell / 2 + 1e-9).all()
    sheet.claim("lowest_point", nearest, lowest=lowest, best=best)
    bends = curvatures(X)
    sheet.claim("is_a_bowl", (bends > 0).all(), bends=bends)
    downhill = np.allclose(walked, path.losses, atol=1e-4) and (np.diff(walked) < 0).all()
    sheet.claim("downhill", downhill, walked=walked, steps=STEPS)
    first, last = np.abs(np.diff(path.at, axis=0)[[0, -1]]).max(axis=1)
    sheet.claim("shorter_steps", last < 0.05 * first, first=first, last=last)
    return sheet.page()


def _bowl(
    a1: Floats, a2: Floats, loss: Floats, at: NDArray[np.float32], walked: Floats, turn: float,
    small: bool = False,
) -> Figure:  # fmt: skip
    figure = Figure(figsize=(5, 3.8) if small else (9.6, 5.2), facecolor="white")
    axes = figure.add_subplot(projection="3d")
    assert isinstance(axes, Axes3D)
    axes.plot_surface(a1, a2, loss, cmap="Blues", alpha=0.6, lw=0.2, edgecolor="#9bb7d0")
    axes.plot(at[:, 0], at[:, 1], walked + 0.3, "o-", color=ORANGE, ms=3, lw=1.6, zorder=10)
    axes.set_xlabel("a1")
    axes.set_ylabel("a2")
    axes.set_zlabel("loss")
    axes.view_init(elev=32, azim=turn)
    axes.set_box_aspect(None, zoom=0.86)  # or names of axes are cut off
    figure.subplots_adjust(0, 0, 1, 1)
    return figure

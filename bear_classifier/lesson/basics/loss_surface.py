"""The loss surface over two parameters, with the path of descent."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d.axes3d import Axes3D
from numpy.typing import NDArray
from torch import Tensor

from bear_classifier.lesson.animation import gif
from bear_classifier.lesson.basics.learning_rate import curvatures
from bear_classifier.lesson.basics.sgd import descend, least_squares, points
from bear_classifier.lesson.contents import TITLES
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
    sheet = Sheet("surface", TITLES["surface"])
    X, y = points()
    best = least_squares(X, y)
    a1, a2 = parameter_grid(best)
    loss = heights(X, y, a1, a2)
    path = descend(X, y, rate=RATE, steps=STEPS)
    walked = heights(X, y, path.at[:, 0].astype(float), path.at[:, 1].astype(float))
    sheet.say(
        "Put the two [[parameters]] on the floor and the [[loss]] on the height: then every line"
        " that one could draw through the points is a place in a landscape, and training is a walk"
        " downhill. Of a network the landscape has millions of axes; the walk is the same."
    )
    sheet.code(heights)
    values = {
        "x": a1[0].round(3).tolist(),
        "y": a2[:, 0].round(3).tolist(),
        "z": loss.round(3).tolist(),
        "path": np.column_stack([path.at, walked]).round(4).tolist(),
        "names": ["a1", "a2", "loss"],
    }
    sheet.live(
        "turn", values,
        '<canvas width="1200" height="760" tabindex="0" role="img" aria-label="the loss over both'
        ' parameters, a bowl, and the path to its ground; turn it by dragging or by arrow keys">'
        '</canvas><label><span>steps <output></output></span><input type="range" min="0" step="1"'
        ' aria-label="steps"><button type="button">Turn</button></label>',
    )  # fmt: skip
    sheet.picture(
        "bowl", figure_png(_bowl(a1, a2, loss, path.at, walked, -60)), "The bowl and the path"
    )
    sheet.picture(
        "turning",
        gif(
            lambda k: _bowl(a1, a2, loss, path.at, walked, k, small=True), range(-60, 300, 12), 110
        ),
        "The same, turning",
    )
    low = np.unravel_index(loss.argmin(), loss.shape)
    cell = (a1[0, 1] - a1[0, 0], a2[1, 0] - a2[0, 0])
    off = (abs(a1[low] - float(best[0])), abs(a2[low] - float(best[1])))
    sheet.claim(
        "the lowest point of the grid is the one nearest to the best line",
        off[0] <= cell[0] / 2 + 1e-9 and off[1] <= cell[1] / 2 + 1e-9,
        f"({a1[low]:.2f}, {a2[low]:.2f}) and ({float(best[0]):.2f}, {float(best[1]):.2f})",
    )
    bends = curvatures(X)
    sheet.claim(
        "it is a bowl: it curves upwards in every direction, so there is one lowest place",
        bool((bends > 0).all()),
        "curvatures " + " and ".join(f"{bend:.2f}" for bend in bends),
    )
    sheet.claim(
        "the walk lies on the landscape and goes down with every step",
        bool(np.allclose(walked, path.losses, atol=1e-4) and (np.diff(walked) < 0).all()),
        f"{walked[0]:.2f} to {walked[-1]:.4f} in {STEPS} steps",
    )
    first, last = np.abs(np.diff(path.at, axis=0)[[0, -1]]).max(axis=1)
    sheet.claim(
        "its steps get shorter although the rate stays: the ground gets flatter",
        last < 0.05 * first,
        f"the first moves a parameter by {first:.3f}, the last by {last:.4f}",
    )
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

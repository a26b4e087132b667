"""Gradient descent on a line with two parameters."""

from __future__ import annotations

import timeit
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from bear_classifier.lesson.animation import gif
from bear_classifier.lesson.page import Page, Sheet
from bear_classifier.plots.charts import BLUE, GREY, ORANGE, figure_png, panels, set_title

SEED = 168  # with it the first loss is 8.9, as in the course; of all draws the mean is 7.67
N, TRUE, GUESS = 100, (3.0, 2.0), (-1.0, 1.0)
RATE, STEPS = 0.2, 100
EXPECTED = 16 / 3 + 7 / 3  # mean first loss of all draws: E[(4x)²] + E[(1 + noise)²]


def points(n: int = N, a: tuple[float, ...] = TRUE, seed: int = SEED) -> tuple[Tensor, Tensor]:
    """X (n, 2), whose second column is 1, and y (n,) = X @ a + noise between 0 and 1."""
    rng = torch.Generator().manual_seed(seed)
    X = torch.ones(n, 2)
    X[:, 0].uniform_(-1.0, 1.0, generator=rng)
    return X, X @ torch.tensor(a) + torch.rand(n, generator=rng)


def looped(X: Tensor, a: Tensor) -> Tensor:
    """What `X @ a` does: of each row the dot product with a. X: (n, 2); a: (2,)."""
    product = torch.empty(len(X))
    for i in range(len(X)):
        total = torch.tensor(0.0)
        for j in range(X.shape[1]):
            total = total + X[i, j] * a[j]
        product[i] = total
    return product


def mse(answers: Tensor, targets: Tensor) -> Tensor:
    """Mean squared error, of (n,) and (n,)."""
    return ((answers - targets) ** 2).mean()


def step(X: Tensor, y: Tensor, a: Tensor, rate: float) -> Tensor:
    """Move `a` (2,) against the gradient, in place. Returns the loss before."""
    loss = mse(X @ a, y)
    loss.backward()  # type: ignore[no-untyped-call]
    with torch.no_grad():
        assert a.grad is not None
        a.sub_(rate * a.grad)
        a.grad.zero_()
    return loss.detach()


@dataclass(frozen=True)
class Path:
    """at: (steps + 1, 2) parameters from the guess on; losses: (steps + 1,) there."""

    at: NDArray[np.float32]
    losses: NDArray[np.float32]


def descend(
    X: Tensor,
    y: Tensor,
    guess: tuple[float, ...] = GUESS,
    rate: float = RATE,
    steps: int = STEPS,
) -> Path:
    """`steps` steps from the guess."""
    a = torch.tensor(guess, requires_grad=True)
    at, losses = [a.detach().clone()], []
    for _ in range(steps):
        losses.append(step(X, y, a, rate))
        at.append(a.detach().clone())
    losses.append(mse(X @ a, y).detach())
    return Path(torch.stack(at).numpy(), torch.stack(losses).numpy())


def slopes(X: Tensor, y: Tensor, a: Tensor, nudge: float = 1e-4) -> tuple[Tensor, Tensor]:
    """The gradient (2,) by `backward()`, and by nudging each parameter up and down, in double
    precision."""
    a = a.double().requires_grad_()
    mse(X.double() @ a, y.double()).backward()  # type: ignore[no-untyped-call]
    nudged = torch.empty(len(a), dtype=torch.float64)
    for j in range(len(a)):
        up, down = a.detach().clone(), a.detach().clone()
        up[j] += nudge
        down[j] -= nudge
        rise = mse(X.double() @ up, y.double()) - mse(X.double() @ down, y.double())
        nudged[j] = rise / (2 * nudge)
    assert a.grad is not None
    return a.grad, nudged


def least_squares(X: Tensor, y: Tensor) -> Tensor:
    """The best parameters (2,), in closed form: only lines have one."""
    solution: Tensor = torch.linalg.lstsq(X.double(), y.double()[:, None]).solution[:, 0]
    return solution


def page(seed: int = SEED) -> Page:
    sheet = Sheet("sgd", n=N, guess=GUESS, expected=EXPECTED, steps=STEPS)
    X, y = points(seed=seed)
    sheet.say("intro")
    _data(sheet, X, y)
    _loss(sheet, X, y, seed)
    _gradient(sheet, X, y)
    _descent(sheet, X, y)
    return sheet.page()


def _data(sheet: Sheet, X: Tensor, y: Tensor) -> None:
    sheet.say("points")
    sheet.code(points)
    sheet.say("matrix")
    sheet.code(looped)
    a = torch.tensor(TRUE)
    worst = float((looped(X, a) - X @ a).abs().max())
    slow = min(timeit.repeat(lambda: looped(X, a), number=1, repeat=5))
    quick = min(timeit.repeat(lambda: X @ a, number=1, repeat=5))
    sheet.claim("product", worst < 1e-5 and quick < slow, worst=worst, slow=slow, quick=quick)
    shapes = tuple(X.shape), tuple(y.shape)
    sheet.claim("shapes", shapes == ((N, 2), (N,)), shapes=shapes)


def _loss(sheet: Sheet, X: Tensor, y: Tensor, seed: int) -> None:
    sheet.say("guess")
    sheet.code(mse)
    sheet.say("formula")
    first = float(mse(X @ torch.tensor(GUESS), y))
    sheet.say("mse", first=first)
    sheet.claim("first_loss", abs(first - 8.9) < 0.05, first=first, seed=seed)
    draws = [points(seed=number) for number in range(400)]
    mean = np.mean([float(mse(X @ torch.tensor(GUESS), y)) for X, y in draws])
    sheet.claim("mean_loss", abs(mean - EXPECTED) < 0.1, mean=mean)


def _gradient(sheet: Sheet, X: Tensor, y: Tensor) -> None:
    sheet.say("slope")
    sheet.code(slopes)
    exact, nudged = slopes(X, y, torch.tensor(GUESS))
    worst = float((exact - nudged).abs().max())
    rows = zip(("a1", "a2"), exact.tolist(), nudged.tolist(), strict=True)
    sheet.say("slopes_table", slopes=rows)
    sheet.claim("backward", worst < 1e-6, worst=worst)


def _descent(sheet: Sheet, X: Tensor, y: Tensor) -> None:
    sheet.say("step")
    sheet.code(step, descend)
    path = descend(X, y)
    best = least_squares(X, y)
    off = float((torch.from_numpy(path.at[-1]) - best).abs().max())
    data = {
        "x": [round(float(v), 4) for v in X[:, 0]],
        "y": [round(float(v), 4) for v in y],
        "path": [[round(float(v), 5) for v in row] for row in path.at],
        "losses": [round(float(v), 5) for v in path.losses],
    }
    sheet.live("line", data)
    sheet.picture("losses", _curve(path))
    shown = [*range(12), *range(12, 40, 2), *range(40, STEPS + 1, 10)]
    sheet.picture("descent", gif(lambda k: _frame(X, y, path, k), shown))
    sheet.claim("falls", bool((np.diff(path.losses) <= 1e-6).all()), path=path)
    sheet.claim("closed_form", off < 1e-3, path=path, best=best)
    rest = float(mse((X.double() @ best).float(), y))
    sheet.claim("noise", abs(rest - 1 / 12) < 0.03, rest=rest)
    sheet.say("end")


def _curve(path: Path) -> bytes:
    figure, (axes,) = panels(2.9, 1)
    axes.plot(path.losses, color=BLUE, lw=1.8)
    axes.set_yscale("log")
    axes.set_xlabel("step")
    set_title(axes, "Mean squared error")
    return figure_png(figure)


def _frame(X: Tensor, y: Tensor, path: Path, k: int) -> Figure:
    figure = Figure(figsize=(6, 3.4), layout="constrained", facecolor="white")
    axes = figure.subplots()
    axes.scatter(X[:, 0], y, s=12, color=GREY)
    ends = np.array([-1.0, 1.0])
    axes.plot(ends, path.at[k][0] * ends + path.at[k][1], color=ORANGE, lw=2)
    axes.set_xlim(-1.05, 1.05)
    axes.set_ylim(-2.5, 6.5)
    axes.set_title(f"step {k}, loss {path.losses[k]:.3f}", loc="left", size=11)
    return figure

"""Gradient descent on a line with two parameters."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from bear_classifier.lesson.animation import gif
from bear_classifier.lesson.contents import TITLES
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
    found = torch.empty(len(X))
    for i in range(len(X)):
        total = torch.tensor(0.0)
        for j in range(X.shape[1]):
            total = total + X[i, j] * a[j]
        found[i] = total
    return found


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
    found: Tensor = torch.linalg.lstsq(X.double(), y.double()[:, None]).solution[:, 0]
    return found


def page(seed: int = SEED) -> Page:
    sheet = Sheet("sgd", TITLES["sgd"])
    X, y = points(seed=seed)
    sheet.say(
        "Recognising bears and fitting a line are the same work: there is a function with open"
        " numbers, the [[parameters]]; there is a [[loss]] that says how wrong its answers are; and"
        " the parameters are moved, step by step, to where the loss is lower. Here the function is"
        " a line, so that everything can be seen.",
    )
    _data(sheet, X, y)
    _loss(sheet, X, y, seed)
    _gradient(sheet, X, y)
    _descent(sheet, X, y)
    return sheet.page()


def _data(sheet: Sheet, X: Tensor, y: Tensor) -> None:
    sheet.head("The points")
    sheet.code(points)
    sheet.say(
        "Each point is y = a<sub>1</sub>x<sub>1</sub> + a<sub>2</sub>x<sub>2</sub> with"
        " x<sub>2</sub> = 1, a line in disguise, plus a little noise. <code>X</code> is a"
        " [[tensor]] of rank 2, its axes are points and columns; <code>y</code> has rank 1."
        " <code>uniform_</code> ends in an underscore: it changes its tensor in place.",
        "<code>X @ a</code> multiplies a matrix with a vector: each row's dot product with"
        " <code>a</code>. The same as a loop, in one line and on one call of quick code:",
    )
    sheet.code(looped)
    a = torch.tensor(TRUE)
    slow, by_loop = _timed(lambda: looped(X, a))
    quick, by_product = _timed(lambda: X @ a)
    worst = float((by_loop - by_product).abs().max())
    sheet.claim(
        "the matrix product is the loop, but for rounding, and is quicker",
        worst < 1e-5 and quick < slow,
        f"largest difference {worst:.1e}; {1e6 * slow:,.0f} µs and {1e6 * quick:,.0f} µs",
    )
    sheet.claim(
        f"X has rank 2 and {N} x 2 numbers, y has rank 1 and {N}",
        (X.dim(), tuple(X.shape), y.dim(), tuple(y.shape)) == (2, (N, 2), 1, (N,)),
        f"X.shape is {tuple(X.shape)}, y.shape is {tuple(y.shape)}",
    )


def _timed(work: Callable[[], Tensor]) -> tuple[float, Tensor]:
    """Seconds, the least of five, and what came of it."""
    took = []
    for _ in range(5):
        began = time.perf_counter()
        found = work()
        took.append(time.perf_counter() - began)
    return min(took), found


def _loss(sheet: Sheet, X: Tensor, y: Tensor, seed: int) -> None:
    sheet.head("How wrong is a guess?")
    sheet.code(mse)
    sheet.formula("loss = MSE = <sup>1</sup>/<sub>n</sub> Σ (ŷ<sub>i</sub> − y<sub>i</sub>)²")
    first = float(mse(X @ torch.tensor(GUESS), y))
    sheet.say(
        f"The [[MSE]] of the guess a = {GUESS} on these points is {first:.2f}; its root, the RMSE,"
        f" {first**0.5:.2f}, has the unit of y: so far is a typical answer off. Of all possible"
        f" draws of points the mean would be {EXPECTED:.2f}; this one was chosen because the"
        " course's notebook begins near the same number."
    )
    sheet.claim(
        "the guess begins with a loss of about 8.9",
        abs(first - 8.9) < 0.05,
        f"{first:.3f} with seed {seed}",
    )
    mean = float(np.mean([_first_loss(number) for number in range(400)]))
    sheet.claim(
        f"over many draws the first loss has the mean {EXPECTED:.2f} that theory gives",
        abs(mean - EXPECTED) < 0.1,
        f"{mean:.2f} over 400 draws",
    )


def _first_loss(seed: int) -> float:
    X, y = points(seed=seed)
    return float(mse(X @ torch.tensor(GUESS), y))


def _gradient(sheet: Sheet, X: Tensor, y: Tensor) -> None:
    sheet.head("Which way is down?")
    sheet.say(
        "Nudge one parameter up a little, and down a little, and see how much the loss changes:"
        " that is its slope. <code>backward()</code> gives the same numbers, for all parameters at"
        " once and without nudging: the [[gradient]]."
    )
    sheet.code(slopes)
    exact, nudged = slopes(X, y, torch.tensor(GUESS))
    worst = float((exact - nudged).abs().max())
    rows = zip(("a1", "a2"), exact.tolist(), nudged.tolist(), strict=True)
    sheet.table(
        ["parameter", "backward()", "nudged"], [[n, f"{e:.6f}", f"{m:.6f}"] for n, e, m in rows]
    )
    sheet.claim(
        "backward() gives what nudging gives", worst < 1e-6, f"largest difference {worst:.1e}"
    )


def _descent(sheet: Sheet, X: Tensor, y: Tensor) -> None:
    sheet.head("Step by step")
    sheet.say(
        "A step takes the gradient, times the [[learning rate]], off the parameters. Under"
        " <code>no_grad</code>, since the step itself is not to be differentiated; and the gradient"
        " is zeroed afterwards, since <code>backward()</code> <em>adds</em> to it."
    )
    sheet.code(step, descend)
    path = descend(X, y)
    best = least_squares(X, y)
    off = float((torch.from_numpy(path.at[-1]) - best).abs().max())
    _player(sheet, X, y, path)
    sheet.picture("losses", _curve(path), f"The loss over {STEPS} steps falls at once, then slowly")
    shown = [*range(12), *range(12, 40, 2), *range(40, STEPS + 1, 10)]
    sheet.picture(
        "descent", gif(lambda k: _frame(X, y, path, k), shown),
        "The line moves from the guess onto the points",
    )  # fmt: skip
    sheet.claim(
        f"each of {STEPS} steps lowers the loss, or leaves it",
        bool((np.diff(path.losses) <= 1e-6).all()),
        f"from {path.losses[0]:.3f} to {path.losses[-1]:.4f}",
    )
    sheet.claim(
        "it ends where the closed form of least squares is, to 1e-3",
        off < 1e-3,
        f"({path.at[-1][0]:.4f}, {path.at[-1][1]:.4f}) and"
        f" ({float(best[0]):.4f}, {float(best[1]):.4f})",
    )
    rest = float(mse((X.double() @ best).float(), y))
    sheet.claim(
        "what is left of the loss is the noise, whose variance is 1/12",
        abs(rest - 1 / 12) < 0.03,
        f"{rest:.4f} and {1 / 12:.4f}",
    )
    sheet.say(
        "The noise is between 0 and 1, not around 0: so the best a<sub>2</sub> is near 2.5, not 2."
        " A fit finds what the points say, not what one meant.",
        "Of a network there is no closed form, and no picture of two axes. Everything else is as"
        " here: [[loss]], [[gradient]], [[learning rate]], step.",
    )


def _player(sheet: Sheet, X: Tensor, y: Tensor, path: Path) -> None:
    values = {
        "x": [round(float(v), 4) for v in X[:, 0]],
        "y": [round(float(v), 4) for v in y],
        "path": [[round(float(v), 5) for v in row] for row in path.at],
        "losses": [round(float(v), 5) for v in path.losses],
    }
    sheet.live(
        "line", values,
        '<svg viewBox="0 0 600 320" role="img" aria-label="points and the line of a step"></svg>'
        '<label><span>step <output></output></span><input type="range" min="0" step="1" value="0"'
        ' aria-label="step"><button type="button">Play</button></label>',
    )  # fmt: skip


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

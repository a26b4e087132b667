"""Mini-batches: more steps from the same number of examples, in directions that are right on
average."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bear_classifier.lesson.basics.sgd import GUESS, least_squares, mse, points, step
from bear_classifier.lesson.page import Page, Sheet
from bear_classifier.plots.charts import BLUE, GREY, INK, ORANGE, figure_png, panels, set_title
from bear_classifier.stats.arrays import Floats

N, BATCH, EPOCHS, RATE, SEED = 1024, 64, 4, 0.1, 1
BATCH_SIZES = (16, 64, 256)


@dataclass(frozen=True)
class MinibatchRun:
    """at: (steps + 1, 2) parameters; losses: (epochs + 1,) on all examples, before each epoch and
    at the end."""

    at: Floats
    losses: Floats

    @property
    def steps(self) -> int:
        return len(self.at) - 1


def train_minibatch(
    X: Tensor,
    y: Tensor,
    batch: int,
    epochs: int = EPOCHS,
    rate: float = RATE,
    guess: Sequence[float] = GUESS,
) -> MinibatchRun:
    """Each epoch the examples are shuffled and taken `batch` at a time, the last fewer."""
    rng = torch.Generator().manual_seed(SEED)
    a = torch.tensor(guess, requires_grad=True)
    at, losses = [a.detach().clone()], []
    for _ in range(epochs):
        losses.append(float(mse(X @ a.detach(), y)))
        for rows in torch.randperm(len(X), generator=rng).split(batch):  # type: ignore[no-untyped-call]
            step(X[rows], y[rows], a, rate)
            at.append(a.detach().clone())
    losses.append(float(mse(X @ a.detach(), y)))
    return MinibatchRun(torch.stack(at).double().numpy(), np.array(losses))


def gradient(X: Tensor, y: Tensor, a: Tensor) -> Tensor:
    """(2,) of the mean squared error at `a`."""
    return 2 * X.T @ (X @ a - y) / len(X)


def gradients(X: Tensor, y: Tensor, a: Tensor, batch: int, rounds: int) -> Tensor:
    """(m, 2) of all batches of `rounds` shuffles."""
    rng = torch.Generator().manual_seed(SEED)
    batches = []
    for _ in range(rounds):
        for rows in torch.randperm(len(X), generator=rng).split(batch):  # type: ignore[no-untyped-call]
            batches.append(gradient(X[rows], y[rows], a))
    return torch.stack(batches)


def expected_noise(X: Tensor, y: Tensor, a: Tensor, batch: int) -> float:
    """Standard deviation of a batch's gradient in its first component: that of single examples by
    the root of their number, and less where the batch is a good part of all (Cochran, Sampling
    Techniques, 1977, chapter 2)."""
    single = 2 * X[:, 0] * (X @ a - y)
    return float(single.std() / math.sqrt(batch) * math.sqrt(1 - batch / len(X)))


def page() -> Page:
    sheet = Sheet("minibatch", n=N, batch=BATCH, epochs=EPOCHS)
    X, y = points(N)
    sheet.say("intro")
    sheet.code(train_minibatch)
    full, mini = train_minibatch(X, y, N), train_minibatch(X, y, BATCH)
    per_epoch = math.ceil(N / BATCH)
    counted = (mini.steps, full.steps) == (per_epoch * EPOCHS, EPOCHS)
    sheet.claim("steps_per_epoch", counted, per_epoch=per_epoch, mini=mini, full=full)
    floor = float(mse(X.double() @ least_squares(X, y), y.double()))
    sheet.picture("paths", _paths(X, y, full, mini))
    further = mini.losses[-1] - floor < 0.01 * (full.losses[-1] - floor)
    sheet.claim("further", further, mini=mini, full=full, floor=floor)
    _noise(sheet, X, y)
    _tremble(sheet, X, y)
    return sheet.page()


def _noise(sheet: Sheet, X: Tensor, y: Tensor) -> None:
    sheet.say("how_wrong")
    sheet.code(gradient, gradients, expected_noise)
    a = torch.tensor(GUESS)
    exact = gradient(X, y, a)
    rows, ratios, worst = [], [], 0.0
    for batch in BATCH_SIZES:
        noisy = gradients(X, y, a, batch, rounds=2000 * batch // N)
        spread, theory = float(noisy[:, 0].std()), expected_noise(X, y, a, batch)
        worst = max(worst, float((noisy.mean(0) - exact).abs().max()))
        ratios.append(spread / theory)
        rows.append((batch, noisy[:, 0].mean(), spread, theory))
    sheet.say("noise_table", rows=rows)
    even = worst < 1e-4 * float(exact.abs().max())
    sheet.claim("right_on_average", even, exact=exact, worst=worst)
    sheet.claim("root_of_batch", all(0.9 < ratio < 1.1 for ratio in ratios), ratios=ratios)


def _tremble(sheet: Sheet, X: Tensor, y: Tensor) -> None:
    sheet.say("never_arrives")
    best = least_squares(X, y).numpy()
    late = train_minibatch(X, y, BATCH, epochs=20)
    away = np.linalg.norm(late.at[-100:] - best, axis=1).mean()
    calm = train_minibatch(X, y, BATCH, epochs=20, rate=RATE / 10, guess=late.at[-1].tolist())
    calm_away = np.linalg.norm(calm.at[-100:] - best, axis=1).mean()
    sheet.say("tremble")
    sheet.claim("lower_rate", 0 <= calm_away < 0.5 * away, away=away, calm_away=calm_away)


def _paths(X: Tensor, y: Tensor, full: MinibatchRun, mini: MinibatchRun) -> bytes:
    figure, (left, right) = panels(3.6, 2)
    best = least_squares(X, y).numpy()
    a1, a2 = np.meshgrid(np.linspace(-1.3, 4.3, 60), np.linspace(0.6, 3.2, 60))
    at = torch.tensor(np.stack([a1.ravel(), a2.ravel()]), dtype=torch.float32)
    heights = ((X @ at - y[:, None]) ** 2).mean(0).reshape(a1.shape).numpy()
    left.contour(a1, a2, heights, levels=12, colors=[GREY], linewidths=0.5)
    left.plot(*mini.at.T, "-", color=ORANGE, lw=1.2, label=f"batches of {BATCH}: {mini.steps}")
    left.plot(*full.at.T, "o-", color=BLUE, ms=5, lw=1.6, label=f"all at once: {full.steps}")
    left.plot(*best, "+", color=INK, ms=12)
    left.legend(frameon=False, fontsize=9, title="steps", loc="lower right")
    left.set_xlabel("a1")
    left.set_ylabel("a2")
    set_title(left, f"{EPOCHS} epochs from the same guess")
    for run, colour in ((mini, ORANGE), (full, BLUE)):
        right.plot(run.losses, "o-", color=colour, lw=1.8)
    right.set_yscale("log")
    right.set_xlabel("epoch")
    set_title(right, "Loss on all examples")
    return figure_png(figure)

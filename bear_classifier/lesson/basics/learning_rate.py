"""The learning rate: too low, too high, and the limit between."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from bear_classifier.lesson.basics.sgd import GUESS, descend, least_squares, mse, points, step
from bear_classifier.lesson.page import Page, Sheet
from bear_classifier.plots.charts import BLUE, GREY, INK, ORANGE, figure_png, panels, set_title
from bear_classifier.stats.arrays import Floats

Verdict = Literal["crawls", "converges", "diverges"]
CURVATURE = 4.0  # of the parabola
RATE_SHARES = {
    "too low": 0.005,
    "right": 0.5,
    "just below": 0.98,
    "just above": 1.02,
    "too high": 1.3,
}
STEPS = 100
FIRST, LAST, SWEEP = 1e-4, 10.0, 60  # rates and steps of the finder; as close as fastai's


def parabola(rate: float, start: float = 1.0, steps: int = STEPS) -> Floats:
    """x (steps + 1,) on f(x) = ½ k x², whose gradient is k x: each step is x ← x (1 − rate k)."""
    x = np.empty(steps + 1)
    x[0] = start
    for i in range(steps):
        x[i + 1] = x[i] - rate * CURVATURE * x[i]
    return x


def curvatures(X: Tensor) -> Floats:
    """Eigenvalues (2,) of the second derivative of the mean squared error, the least first."""
    return np.asarray(torch.linalg.eigvalsh(2 * X.double().T @ X.double() / len(X)).numpy())


def critical(largest: float) -> float:
    """The rate above which the direction of this curvature grows with each step: |1 − rate k| > 1
    where rate > 2 / k."""
    return 2 / largest


def run_verdict(excess: Floats) -> Verdict:
    """What a run did. excess: (steps,) its losses above the least that there is."""
    if not np.isfinite(excess).all() or excess[-1] > excess[0]:
        return "diverges"
    return "converges" if excess[-1] < 1e-3 * excess[0] else "crawls"


def sweep(X: Tensor, y: Tensor) -> tuple[Floats, Floats]:
    """The learning-rate finder (Smith, arXiv 1506.01186): a step at each of growing rates, and the
    losses before them; it ends where the loss is four times the least so far."""
    rates = np.geomspace(FIRST, LAST, SWEEP)
    a = torch.tensor(GUESS, requires_grad=True)
    losses: list[float] = []
    for rate in rates:
        losses.append(float(step(X, y, a, float(rate))))
        if losses[-1] > 4 * min(losses):
            break
    return rates[: len(losses)], np.array(losses)


def steepest(rates: Floats, losses: Floats) -> float:
    """The rate at which the loss falls fastest for a given growth of the rate."""
    return float(rates[np.argmin(np.gradient(losses, np.log(rates)))])


def page() -> Page:
    sheet = Sheet("rates", curvature=CURVATURE, shares=RATE_SHARES, steps=STEPS)
    sheet.say("intro")
    _parabola(sheet)
    _line(sheet)
    _finder(sheet)
    return sheet.page()


def _parabola(sheet: Sheet) -> None:
    sheet.say("on_a_parabola")
    sheet.code(parabola, critical, run_verdict)
    sheet.say("formula")
    border = critical(CURVATURE)
    runs = {name: parabola(share * border) for name, share in RATE_SHARES.items()}
    verdicts = {name: run_verdict(0.5 * CURVATURE * x**2) for name, x in runs.items()}
    figure, cells = panels(3.0, 3)
    ground = np.linspace(-1.4, 1.4, 200)
    for axes, name in zip(cells, ("too low", "right", "too high"), strict=True):
        few = runs[name][: 12 if name != "too high" else 4]
        axes.plot(ground, 0.5 * CURVATURE * ground**2, color=GREY, lw=1.2)
        axes.plot(few, 0.5 * CURVATURE * few**2, "o-", color=ORANGE, ms=4, lw=1.2)
        axes.set_ylim(-0.2, 8)
        axes.set_xlim(-2.3, 2.3)
        set_title(axes, f"{name}: rate {RATE_SHARES[name] * border:.3g}")
    sheet.picture("parabola", figure_png(figure))
    holds = [*verdicts.values()] == ["crawls", "converges", "converges", "diverges", "diverges"]
    sheet.claim("border", holds, border=border, verdicts=verdicts)


def _line(sheet: Sheet) -> None:
    sheet.say("on_the_line")
    X, y = points()
    least, most = curvatures(X)
    border = critical(float(most))
    floor = float(mse((X.double() @ least_squares(X, y)), y.double()))
    sheet.code(curvatures)
    sheet.say("curvature", least=least, most=most, border=border)
    runs = {
        name: descend(X, y, rate=share * border, steps=STEPS).losses.astype(float) - floor
        for name, share in RATE_SHARES.items()
    }
    verdicts = {name: run_verdict(np.maximum(excess, 0)) for name, excess in runs.items()}
    figure, (axes,) = panels(3.4, 1)
    for name, excess in runs.items():
        label = f"{name} ({RATE_SHARES[name] * border:.3g})"
        axes.plot(np.clip(excess, 1e-9, 1e6), lw=1.8, label=label)
    axes.set_yscale("log")
    axes.set_ylim(1e-8, 1e4)
    axes.set_xlabel("step")
    axes.legend(frameon=False, fontsize=9, ncols=2)
    set_title(axes, "Loss above the least that there is")
    sheet.picture("line", figure_png(figure))
    near = verdicts["just below"] == "converges" and verdicts["just above"] == "diverges"
    sheet.claim("line_border", near, border=border, verdicts=verdicts)
    three = ("right", "too low", "too high")
    far = [verdicts[name] for name in three] == ["converges", "crawls", "diverges"]
    sheet.claim("three_rates", far, excesses=[runs[name][-1] for name in three])


def _finder(sheet: Sheet) -> None:
    sheet.say("finder_intro")
    sheet.code(sweep, steepest)
    X, y = points()
    border = critical(float(curvatures(X)[1]))
    rates, losses = sweep(X, y)
    chosen, lowest = steepest(rates, losses), float(rates[losses.argmin()])
    figure, (axes,) = panels(3.2, 1)
    axes.plot(rates, losses, color=BLUE, lw=1.8)
    axes.set_xscale("log")
    axes.axvline(border, color=INK, lw=1, ls=":")
    axes.annotate("border", (border, losses.max()), size=9, ha="right", xytext=(-4, -10),
                  textcoords="offset points")  # fmt: skip
    axes.plot(chosen, np.interp(chosen, rates, losses), "o", color=ORANGE, ms=8)
    axes.set_xlabel("learning rate")
    set_title(axes, "The finder on the line")
    sheet.picture("finder", figure_png(figure))
    floor = float(mse((X.double() @ least_squares(X, y)), y.double()))
    excess = np.maximum(descend(X, y, rate=chosen, steps=STEPS).losses.astype(float) - floor, 0)
    late = len(rates) < SWEEP and rates[-1] > border
    sheet.claim("explodes_after", late, rates=rates, border=border)
    verdict = run_verdict(excess)
    good = chosen < border and verdict == "converges"
    sheet.claim("chosen_rate", good, chosen=chosen, verdict=verdict)
    sheet.claim("lowest_loss", lowest > chosen, lowest=lowest, chosen=chosen)

"""Sums of ReLUs approximate any curve."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from bear_classifier.lesson.page import Page, Sheet
from bear_classifier.plots.charts import BLUE, GREY, ORANGE, figure_png, panels, set_title
from bear_classifier.stats.arrays import Floats

SHOWN, SIZES = (3, 6, 12), (8, 16, 32, 64, 128)
HIDDEN, STEPS, RATE, SEED = 32, 3000, 0.01, 1


def relu(x: Floats) -> Floats:
    return np.maximum(x, 0)


def wave(x: Floats) -> Floats:
    """A smooth curve on 0 to 1."""
    return np.asarray(np.sin(2 * math.pi * x) + 0.5 * x)


def staircase(x: Floats) -> Floats:
    """A curve with a jump, which no finite sum of ReLUs can have."""
    return np.asarray(np.where(x < 0.5, 0.0, 1.0))


def kinks(curve: Callable[[Floats], Floats], pieces: int) -> tuple[Floats, Floats, float]:
    """Places t (pieces,), weights w (pieces,) and b, so that b + Σ w · relu(x − t) meets the curve
    at the ends of equal pieces of 0 to 1: each weight is a change of slope."""
    ends = np.linspace(0, 1, pieces + 1)
    slopes = np.diff(curve(ends)) * pieces
    return ends[:-1], np.diff(slopes, prepend=0.0), float(curve(ends)[0])


def summed(x: Floats, t: Floats, w: Floats, b: float) -> Floats:
    """b + Σ w · relu(x − t). x: (n,); t, w: (pieces,)."""
    return np.asarray(b + relu(x[:, None] - t[None, :]) @ w)


def worst(curve: Callable[[Floats], Floats], pieces: int) -> float:
    """Largest distance from the curve."""
    x = np.linspace(0, 1, 5001)
    return float(np.abs(summed(x, *kinks(curve, pieces)) - curve(x)).max())


def train_wave(activation: type[nn.Module]) -> tuple[float, Floats]:
    """A network of one hidden layer that learns the wave by descent. Its last mean squared error,
    and what it says on 0 to 1 (500,)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        network = nn.Sequential(nn.Linear(1, HIDDEN), activation(), nn.Linear(HIDDEN, 1))
    x = torch.linspace(0, 1, 500)[:, None]
    y = torch.from_numpy(wave(x.double().numpy())).float()
    optimiser = torch.optim.Adam(network.parameters(), lr=RATE, fused=True)
    for _ in range(STEPS):
        optimiser.zero_grad()
        loss = ((network(x) - y) ** 2).mean()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        fitted = network(x)
    return float(((fitted - y) ** 2).mean()), fitted[:, 0].double().numpy()


def page() -> Page:
    sheet = Sheet("relu", hidden=HIDDEN, steps=STEPS)
    sheet.say("intro")
    sheet.code(relu, kinks, summed)
    sheet.picture("sums", _sums())
    x = np.linspace(0, 1, 13)
    met = float(np.abs(summed(x, *kinks(wave, 12)) - wave(x)).max())
    sheet.claim("meets", met < 1e-12, met=met)
    errors = [worst(wave, pieces) for pieces in SIZES]
    orders = -np.diff(np.log2(errors))
    sheet.say("errors_table", errors=zip(SIZES, errors, strict=True))
    quarter = ((orders > 1.85) & (orders < 2.15)).all()
    sheet.claim("quarter", quarter, orders=", ".join(f"{order:.2f}" for order in orders))
    jump = [worst(staircase, pieces) for pieces in (8, 128)]
    sheet.claim("jump", jump[1] > 0.4, jump=jump)
    _learned(sheet)
    return sheet.page()


def _learned(sheet: Sheet) -> None:
    sheet.say("descent_finds")
    sheet.code(train_wave)
    (bent, curve), (straight, line) = train_wave(nn.ReLU), train_wave(nn.Identity)
    x = np.linspace(0, 1, 500)
    best_line = float(np.mean((np.polyval(np.polyfit(x, wave(x), 1), x) - wave(x)) ** 2))
    sheet.picture("learned", _both(x, curve, line))
    no_better = best_line - 1e-6 <= straight < 1.05 * best_line
    sheet.claim("best_line", no_better, straight=straight, best_line=best_line)
    sheet.claim("learns_wave", bent < 0.02 * best_line, bent=bent)


def _sums() -> bytes:
    figure, cells = panels(2.9, len(SHOWN))
    x = np.linspace(0, 1, 600)
    for axes, pieces in zip(cells, SHOWN, strict=True):
        axes.plot(x, wave(x), color=GREY, lw=1.2, ls="--")
        axes.plot(x, summed(x, *kinks(wave, pieces)), color=ORANGE, lw=2)
        set_title(axes, f"{pieces} ReLUs")
    return figure_png(figure)


def _both(x: Floats, curve: Floats, line: Floats) -> bytes:
    figure, (axes,) = panels(3.0, 1)
    axes.plot(x, wave(x), color=GREY, lw=1.2, ls="--", label="the curve")
    axes.plot(x, curve, color=BLUE, lw=2, label=f"{HIDDEN} ReLUs")
    axes.plot(x, line, color=ORANGE, lw=2, label="no ReLU")
    axes.legend(frameon=False, fontsize=9)
    set_title(axes, "What descent found")
    return figure_png(figure)

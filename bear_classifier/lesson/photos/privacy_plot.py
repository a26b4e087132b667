"""Figures of membership inference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from bear_classifier.judge.membership_inference import Leak, Membership
from bear_classifier.plots.charts import BLUE, GREY, INK, ORANGE, figure_png, panels, set_title
from bear_classifier.stats.arrays import Floats


def draw_attacks(sides: Membership, losses: Floats, leaks: Mapping[str, Leak]) -> bytes:
    """losses: (n,) of the model; leaks: each attack by the name of who was asked."""
    figure, (left, right) = panels(3.4, 2)
    for rows, colour, name in ((sides.member, BLUE, "members"), (~sides.member, ORANGE, "others")):
        some = np.maximum(np.sort(losses[rows]), 1e-6)
        left.plot(some, np.arange(1, len(some) + 1) / len(some), color=colour, lw=1.8, label=name)
    left.set_xscale("log")
    left.set_xlabel("loss of your model, at most")
    left.set_ylabel("share of photos")
    left.legend(frameon=False, fontsize=9)
    set_title(left, "Losses of members and of others")
    for row, leak in enumerate(leaks.values()):
        right.plot(leak.interval, [row, row], color=BLUE, lw=5, alpha=0.3, solid_capstyle="butt")
        right.plot(leak.auc, row, "o", color=BLUE, ms=7)
    right.axvline(0.5, color=INK, lw=1, ls=":")
    right.set_yticks(range(len(leaks)), [name.replace(" that ", "\nthat ") for name in leaks])
    right.set_ylim(len(leaks) - 0.5, -0.5)
    right.set_xlabel("AUC; guessing has 0.5")
    set_title(right, "How well members are recognised")
    return figure_png(figure)


def curves(leaks: Mapping[str, Sequence[Leak]], penalties: Sequence[float]) -> bytes:
    """leaks: at each of the penalties, by the name of what was learned."""
    figure, (axes,) = panels(3.2, 1)
    for (name, row), colour in zip(leaks.items(), (ORANGE, BLUE), strict=False):
        low, high = zip(*(leak.interval for leak in row), strict=True)
        axes.fill_between(penalties, low, high, color=colour, alpha=0.15, lw=0)
        axes.plot(penalties, [leak.auc for leak in row], "o-", color=colour, lw=1.8, label=name)
    axes.axhline(0.5, color=GREY, lw=1, ls=":")
    axes.set_xscale("log")
    axes.set_xlabel("C: the larger, the weaker the penalty")
    axes.set_ylabel("AUC")
    axes.legend(frameon=False, fontsize=9, loc="upper left")
    set_title(axes, "Membership inference by the loss of a head")
    return figure_png(figure)

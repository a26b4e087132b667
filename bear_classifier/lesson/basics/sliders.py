"""Student gradient descent: the line fitted by hand, with the loss live, next to SGD."""

from __future__ import annotations

import torch

from bear_classifier.lesson.basics.sgd import GUESS, RATE, descend, least_squares, mse, points
from bear_classifier.lesson.page import Page, Sheet

RANGE = (-6.0, 6.0)
STUDENT_STEPS = 100  # steps of descent


def by_hand(rounds: int = 40, nudge: float = 1.0) -> tuple[float, int]:
    """What a patient student does who moves one slider at a time as long as the loss falls, then
    halves the nudge. Returns the loss, and how often it was looked at."""
    a, looked = list(GUESS), 1
    loss = _loss(a)
    for _ in range(rounds):
        better = False
        for j in range(len(a)):
            for way in (nudge, -nudge):
                other = [*a]
                other[j] += way
                looked += 1
                if (other_loss := _loss(other)) < loss:
                    a, loss, better = other, other_loss, True
                    break
        if not better:
            nudge /= 2
    return loss, looked


def _loss(a: list[float]) -> float:
    X, y = points()
    return float(mse(X.double() @ torch.tensor(a, dtype=torch.float64), y.double()))


def page() -> Page:
    sheet = Sheet("sliders")
    X, y = points()
    best = least_squares(X, y)
    least = float(mse(X.double() @ best, y.double()))
    sheet.say("intro")
    data = {
        "x": [round(float(v), 4) for v in X[:, 0]],
        "y": [round(float(v), 4) for v in y],
        "guess": list(GUESS),
        "rate": RATE,
        "steps": STUDENT_STEPS,
        "least": round(least, 5),
        "range": list(RANGE),
    }
    sheet.live("sliders", data, steps=STUDENT_STEPS)
    loss, looked = by_hand()
    path = descend(X, y, steps=STUDENT_STEPS)
    sheet.claim("by_hand", loss < 1.001 * least, loss=loss, least=least, looked=looked)
    steps = int((path.losses > loss).sum())
    sheet.claim("fewer_steps", steps < looked, steps=steps, looked=looked)
    in_reach = all(RANGE[0] < float(b) < RANGE[1] for b in best)
    sheet.claim("in_reach", in_reach, best=best, sliders=RANGE)
    return sheet.page()

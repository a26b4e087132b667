"""Student gradient descent: the line fitted by hand, with the loss live, next to SGD."""

from __future__ import annotations

import torch

from bear_classifier.lesson.basics.sgd import GUESS, RATE, descend, least_squares, mse, points
from bear_classifier.lesson.contents import TITLES
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
                if (found := _loss(other)) < loss:
                    a, loss, better = other, found, True
                    break
        if not better:
            nudge /= 2
    return loss, looked


def _loss(a: list[float]) -> float:
    X, y = points()
    return float(mse(X.double() @ torch.tensor(a, dtype=torch.float64), y.double()))


def page() -> Page:
    sheet = Sheet("sliders", TITLES["sliders"])
    X, y = points()
    best = least_squares(X, y)
    least = float(mse(X.double() @ best, y.double()))
    sheet.say(
        "Move the two [[parameters]] until the line lies on the points, and watch the [[loss]]."
        " What you do with your eyes, the [[gradient]] does without any: press the button and let"
        " it take its steps from where you are.",
    )
    values = {
        "x": [round(float(v), 4) for v in X[:, 0]],
        "y": [round(float(v), 4) for v in y],
        "guess": list(GUESS),
        "rate": RATE,
        "steps": STUDENT_STEPS,
        "least": round(least, 5),
        "range": list(RANGE),
    }
    sheet.live(
        "sliders", values,
        '<svg viewBox="0 0 600 340" role="img" aria-label="points, your line, and their distances">'
        "</svg>"
        '<label><span>a1 = <output></output></span><input type="range" step="0.01"'
        ' aria-label="a1, the slope"></label>'
        '<label><span>a2 = <output></output></span><input type="range" step="0.01"'
        ' aria-label="a2, the height"></label>'
        '<p>loss <output class="loss"></output> <button type="button" class="one">One step</button>'
        f' <button type="button" class="all">{STUDENT_STEPS} steps</button>'
        ' <button type="button" class="again">Back to the guess</button>'
        ' <span class="said" aria-live="polite"></span></p>',
    )  # fmt: skip
    loss, looked = by_hand()
    path = descend(X, y, steps=STUDENT_STEPS)
    sheet.claim(
        "the least loss is a place that hands can find: one slider at a time, ever finer",
        loss < 1.001 * least,
        f"{loss:.5f} against {least:.5f}, after {looked} looks at the loss",
    )
    steps = int((path.losses > loss).sum())
    sheet.claim(
        "descent is there after fewer steps than hands need looks at the loss",
        steps < looked,
        f"{steps} steps against {looked} looks",
    )
    sheet.claim(
        "both sliders reach beyond the best line",
        all(RANGE[0] < float(b) < RANGE[1] for b in best),
        f"best ({float(best[0]):.2f}, {float(best[1]):.2f}), sliders {RANGE}",
    )
    return sheet.page()

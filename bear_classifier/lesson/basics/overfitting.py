"""Underfitting, overfitting and weight decay, with polynomials."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.polynomial.legendre import legvander

from bear_classifier.lesson.page import Page, Sheet
from bear_classifier.plots.charts import BLUE, GREY, ORANGE, figure_png, panels, set_title
from bear_classifier.stats.arrays import Floats

LEARNED, ASKED, NOISE = 20, 500, 0.3
RIGHT, HIGH = 2, 15
DEGREES = (1, RIGHT, HIGH)
PENALTIES = tuple(float(p) for p in np.geomspace(1e-6, 1e1, 15))
DRAWS, SEED = 100, 3


@dataclass(frozen=True)
class Splits:
    """x and y of each split: to learn from, to choose by, and to judge by at the end."""

    train: tuple[Floats, Floats]
    valid: tuple[Floats, Floats]
    test: tuple[Floats, Floats]


def truth(x: Floats) -> Floats:
    """What the points come from: a parabola."""
    return np.asarray(1 + 0.5 * x - 2 * x**2)


def sample_splits(seed: int) -> Splits:
    """Evenly spaced points to learn from, so that no gap between them is to blame, and others."""
    rng = np.random.default_rng(seed)

    def noisy(x: Floats) -> tuple[Floats, Floats]:
        return x, truth(x) + rng.normal(0, NOISE, len(x))

    even, (valid, test) = np.linspace(-1, 1, LEARNED), rng.uniform(-1, 1, (2, ASKED))
    return Splits(noisy(even), noisy(valid), noisy(test))


def fit_polynomial(x: Floats, y: Floats, degree: int, penalty: float = 0.0) -> Floats:
    """Coefficients (degree + 1,) of Legendre's polynomials, which do not resemble one another as
    powers of x do. penalty: ridge; what a coefficient costs, the more the faster its wave swings.

    Least squares of the points, and of a row for each coefficient that asks it to be 0."""
    basis = legvander(x, degree)
    ask_zero = np.diag(np.sqrt(penalty) * np.arange(degree + 1.0) ** 2)
    both = np.vstack([basis, ask_zero])
    return np.asarray(np.linalg.lstsq(both, np.append(y, np.zeros(degree + 1)), rcond=None)[0])


def rmse(coefficients: Floats, points: tuple[Floats, Floats]) -> float:
    x, y = points
    return float(np.sqrt(np.mean((legvander(x, len(coefficients) - 1) @ coefficients - y) ** 2)))


def best_penalty(splits: Splits, degree: int = HIGH) -> tuple[float, Floats]:
    """The penalty that does best on the validation split, and what it fits."""
    fits = {p: fit_polynomial(*splits.train, degree, p) for p in PENALTIES}
    best = min(fits, key=lambda p: rmse(fits[p], splits.valid))
    return best, fits[best]


def page() -> Page:
    sheet = Sheet("fit", learned=LEARNED, high=HIGH, right=RIGHT, noise=NOISE, draws=DRAWS)
    sheet.say("intro")
    sheet.code(truth, fit_polynomial, rmse)
    splits = sample_splits(SEED)
    fits = {degree: fit_polynomial(*splits.train, degree) for degree in DEGREES}
    sheet.picture("degrees", _curves(splits, fits))
    errors = np.array([(rmse(c, splits.train), rmse(c, splits.valid)) for c in fits.values()])
    sheet.say("errors_table", rows=zip(DEGREES, errors, strict=True))
    low, fair, wild = errors  # of training, of validation
    sheet.claim("underfits", (low > 1.5 * fair).all(), low=low, fair=fair)
    overfits = wild[0] < 0.7 * fair[0] and wild[1] > 1.3 * fair[1]
    sheet.claim("overfits", overfits, wild=wild, fair=fair)
    _more(sheet, splits)
    _cure(sheet, splits)
    return sheet.page()


def _more(sheet: Sheet, splits: Splits) -> None:
    sheet.say("more_data")
    rng = np.random.default_rng(SEED)
    x = rng.uniform(-1, 1, 2000)
    many = (x, truth(x) + rng.normal(0, NOISE, 2000))
    few, lots = (
        rmse(fit_polynomial(*points, HIGH), splits.test) for points in (splits.train, many)
    )
    sheet.claim("enough_data", lots < 1.05 * NOISE < few, lots=lots, few=few)


def _cure(sheet: Sheet, splits: Splits) -> None:
    sheet.say("regularise")
    sheet.code(best_penalty)
    penalty, tame = best_penalty(splits)
    wild = fit_polynomial(*splits.train, HIGH)
    sheet.picture("cure", _cured(splits, wild, tame, penalty))
    errors = np.array([_judged(sample_splits(100 + number)) for number in range(DRAWS)])
    fair, bare, ridge = np.median(errors, axis=0)
    extra = [float(np.abs(coefficients[RIGHT + 1 :]).max()) for coefficients in (tame, wild)]
    helps = ridge < 1.05 * fair and bare > 1.5 * fair
    sheet.claim("penalty_helps", helps, fair=fair, bare=bare, ridge=ridge)
    small = len(tame) == len(wild) and extra[0] < 0.2 * extra[1]
    sheet.claim("small_parameters", small, tame=tame, extra=extra)


def _judged(splits: Splits) -> tuple[float, float, float]:
    """Errors on the test split: of the right degree, of the high one, of that with a penalty."""
    right, bare = (fit_polynomial(*splits.train, degree) for degree in (RIGHT, HIGH))
    _, tame = best_penalty(splits)
    return rmse(right, splits.test), rmse(bare, splits.test), rmse(tame, splits.test)


def _curves(splits: Splits, fits: dict[int, Floats]) -> bytes:
    figure, cells = panels(3.1, len(fits))
    x = np.linspace(-1, 1, 400)
    for axes, (degree, coefficients) in zip(cells, fits.items(), strict=True):
        axes.scatter(*splits.train, s=14, color=GREY)
        axes.plot(x, truth(x), color=GREY, lw=1, ls="--")
        axes.plot(x, legvander(x, degree) @ coefficients, color=ORANGE, lw=2)
        axes.set_ylim(-2.6, 2.2)
        set_title(axes, f"degree {degree}")
    return figure_png(figure)


def _cured(splits: Splits, wild: Floats, tame: Floats, penalty: float) -> bytes:
    figure, (axes,) = panels(3.2, 1)
    x = np.linspace(-1, 1, 400)
    axes.scatter(*splits.train, s=14, color=GREY)
    for coefficients, colour, name in (
        (wild, ORANGE, "no penalty"), (tame, BLUE, f"penalty {penalty:.1g}"),
    ):  # fmt: skip
        axes.plot(x, legvander(x, HIGH) @ coefficients, color=colour, lw=2, label=name)
    axes.plot(x, truth(x), color=GREY, lw=1, ls="--", label="the truth")
    axes.set_ylim(-2.6, 2.2)
    axes.legend(frameon=False, fontsize=9)
    set_title(axes, f"Degree {HIGH}, with the same points")
    return figure_png(figure)

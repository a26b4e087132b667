"""Which photos are faults, learned from those that somebody decided on.

A Bayesian logistic regression, "fault or not", around what was thought before: the log odds of a
photo are those of its static suspicion, weakened, and a linear function of its features for each
class. The most probable weights are found by Newton's method (Bishop, Pattern Recognition and
Machine Learning, 2006, section 4.5.1).
"""

from __future__ import annotations

import numpy as np

from bear_classifier.stats.arrays import (
    AnyFloats,
    Bools,
    Floats,
    Floats32,
    Ints,
    Rows,
    evenly,
    in_blocks,
)
from bear_classifier.stats.likeness import unit

COMPONENTS = 128  # of the features; more find no more (docs/LOG.md)
_OVERSAMPLED, _PASSES = 20, 3  # of the randomised decomposition
_MOST_FITTED = 50_000  # rows: 250 MB of 1,280 features; more change no axis that counts
# Prior deviations and the two below: chosen on one half of the audited bear photos (docs/LOG.md).
_OF_FEATURES = 3.5  # of the weights of a class's unit features
_OF_ALL, _OF_CLASS = 0.5, 0.5  # of the constants of all photos and of a class
PRIOR_SHARE = 0.5  # share of the static log odds that the prior keeps: they are too sure
FAULT_WEIGHT = 2.0  # decisions for which a fault counts: there are fewer of them
_STEPS, _CLOSE, _SHORTEST = 50, 1e-6, 1e-3  # of Newton's method


def principal_components(features: Rows, known: Bools) -> Floats32:
    """Scores (n, at most COMPONENTS) of standardised features. features: (n, f); known: (n,) of
    which rows mean, deviation and components are taken; of many, a regular sample.

    By a randomised range finder with power iterations (Halko, Martinsson and Tropp, SIAM Review 53,
    2011, algorithm 4.4); the random matrix is always the same."""
    rows = evenly(np.flatnonzero(known), _MOST_FITTED)
    base = np.asarray(features[rows], dtype=np.float32)
    centre, spread = base.mean(0), base.std(0) + 1e-6
    base -= centre
    base /= spread
    width = min(COMPONENTS + _OVERSAMPLED, *base.shape)
    random = np.random.default_rng(0).standard_normal((base.shape[1], width), dtype=np.float32)
    span = np.linalg.qr(base.T @ (base @ random))[0]
    for _ in range(_PASSES):
        span = np.linalg.qr(base.T @ (base @ span))[0]
    small = base @ span
    _, axes = np.linalg.eigh(small.T @ small)
    axes = span @ axes[:, ::-1][:, :COMPONENTS]
    scores: Floats32 = np.empty((len(features), axes.shape[1]), dtype=np.float32)
    for some in in_blocks(np.arange(len(features))):
        scores[some] = (features[some] - centre) / spread @ axes
    return np.asarray(scores)


def within_class(scores: Floats32, classes: Ints, known: Bools) -> Floats32:
    """Directions (n, k), of length 1, from the mean of the known rows of a row's class to it."""
    centred: Floats32 = np.empty(scores.shape, dtype=np.float32)
    for one in np.unique(classes):
        rows = np.flatnonzero(classes == one)
        there = rows[known[rows]]
        mean = sum(scores[some].sum(0, dtype=np.float64) for some in in_blocks(there))
        centre = np.asarray(mean / max(1, len(there)), dtype=np.float32)
        for some in in_blocks(rows):
            centred[some] = unit(scores[some] - centre)
    return centred


def learned_log_odds(
    prior: Floats, features: Floats32, classes: Ints, taught: Ints, faults: Bools
) -> Floats:
    """Log odds (n,) that a photo is a fault, from the decisions so far.

    prior: (n,) static log odds; features: (n, k) as of `within_class`; classes: (n,); taught: (m,)
    rows that somebody decided on; faults: (m,) whether they were faults."""
    odds = PRIOR_SHARE * prior
    if not len(taught):
        return odds
    parts = _by_class(classes[taught])
    designs = [_design(features[taught[rows]]) for rows in parts]
    weights, constant = _mode(designs, parts, odds[taught], faults.astype(float))
    odds += _OF_ALL * constant
    for rows, weight in zip(parts, weights, strict=True):
        own = (_OF_FEATURES * weight[:-1]).astype(features.dtype)
        for some in in_blocks(np.flatnonzero(classes == classes[taught[rows[0]]])):
            odds[some] += features[some] @ own + _OF_CLASS * weight[-1]
    return odds


def _by_class(classes: Ints) -> list[Ints]:
    """Rows of each class."""
    order = np.argsort(classes, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(classes[order])) + 1)


def _design(features: Floats32) -> Floats:
    """(m, k + 1): features and a constant, so scaled that all prior variances are 1."""
    scaled = _OF_FEATURES * features.astype(float)
    return np.column_stack([scaled, np.full(len(features), _OF_CLASS)])


def _mode(
    designs: list[Floats], parts: list[Ints], mean: Floats, faults: Floats
) -> tuple[list[Floats], float]:
    """The most probable weights of each class, and the constant of all. designs: (m_c, k + 1) of
    each class, whose rows among the m decisions are in parts; mean, faults: (m,)."""
    importance = 1 + (FAULT_WEIGHT - 1) * faults
    sign = 2 * faults - 1
    weights, constant = [np.zeros(a.shape[1]) for a in designs], 0.0
    odds = mean.copy()

    def objective(odds: Floats, weights: list[Floats], constant: float) -> float:
        size = constant**2 + sum(float(w @ w) for w in weights)
        return -float((importance * np.logaddexp(0, -sign * odds)).sum()) - size / 2

    best = objective(odds, weights, constant)
    for _ in range(_STEPS):
        chance = expit(odds)
        slope, curve = importance * (faults - chance), importance * chance * (1 - chance)
        steps, shift = _newton_step(designs, parts, weights, constant, slope, curve)
        moved = np.full(len(odds), _OF_ALL * shift)
        for rows, a, step in zip(parts, designs, steps, strict=True):
            moved[rows] += a @ step
        length = 1.0
        while True:
            ahead = [w + length * step for w, step in zip(weights, steps, strict=True)]
            now = objective(odds + length * moved, ahead, constant + length * shift)
            if now >= best or length < _SHORTEST:
                break
            length /= 2
        if now - best < _CLOSE:
            break
        weights, constant, odds, best = ahead, constant + length * shift, odds + length * moved, now
    return weights, constant


def _newton_step(
    designs: list[Floats],
    parts: list[Ints],
    weights: list[Floats],
    constant: float,
    slope: Floats,
    curve: Floats,
) -> tuple[list[Floats], float]:
    """The step of Newton's method for each class's weights and for the constant of all, which ties
    the classes together: its row and column are eliminated first (Schur complement).

    slope, curve: (m,) first and negative second derivatives of the log likelihood."""
    pull = _OF_ALL * float(slope.sum()) - constant
    stiffness = 1 + _OF_ALL**2 * float(curve.sum())
    alone, coupled = [], []
    for rows, a, weight in zip(parts, designs, weights, strict=True):
        curved = a * curve[rows, None]
        tie = _OF_ALL * curved.sum(0)
        both = np.column_stack([a.T @ slope[rows] - weight, tie])
        solved = np.linalg.solve(np.eye(a.shape[1]) + a.T @ curved, both)
        alone.append(solved[:, 0])
        coupled.append(solved[:, 1])
        pull -= float(tie @ solved[:, 0])
        stiffness -= float(tie @ solved[:, 1])
    shift = pull / stiffness
    return [u - z * shift for u, z in zip(alone, coupled, strict=True)], shift


def expit(log_odds: AnyFloats) -> Floats:
    """Probabilities."""
    return np.asarray(0.5 * (1 + np.tanh(np.asarray(log_odds, dtype=float) / 2)))


def logit(chances: AnyFloats, least: float = 1e-3) -> Floats:
    """Log odds of probabilities between `least` and 1 - `least`."""
    p = np.clip(np.asarray(chances, dtype=float), least, 1 - least)
    return np.asarray(np.log(p / (1 - p)))

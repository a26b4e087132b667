"""Temperature scaling: probabilities that match how often they are right."""

from __future__ import annotations

import numpy as np

from bear_classifier.stats.arrays import AnyFloats, Floats, Ints
from bear_classifier.stats.metrics import log_loss

COLDEST, HOTTEST = 0.25, 10.0  # bounds, so that few photos cannot saturate or flatten the softmax
LEAST_ERRORS = 10  # wrong photos; fewer are too few to estimate an error rate


def softmax(logits: AnyFloats, temperature: float = 1.0) -> Floats:
    """Probabilities (n, classes) of logits (n, classes)."""
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    exp = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(exp / exp.sum(axis=1, keepdims=True))


def fit_temperature(logits: AnyFloats, targets: Ints) -> float:
    """The divisor of logits (n, classes) with the least log loss (Guo et al., arXiv 1706.04599).

    Not below 1, which makes a model surer, while fewer than `LEAST_ERRORS` photos are wrong:
    without a wrong one the least loss is that of certainty. 1 where there is no photo, or a logit
    that is not finite."""
    if len(targets) == 0 or not np.isfinite(logits).all():
        return 1.0
    from scipy.optimize import minimize_scalar  # only here: softmax is needed without it

    wrong = int((np.asarray(logits).argmax(axis=1) != targets).sum())
    coldest = COLDEST if wrong >= LEAST_ERRORS else 1.0
    best = minimize_scalar(
        lambda log_t: log_loss(softmax(logits, float(np.exp(log_t))), targets),
        bounds=(float(np.log(coldest)), float(np.log(HOTTEST))),
        method="bounded",
    )
    return float(np.exp(best.x))

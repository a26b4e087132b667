"""Weight interpolation between the probe and the fine-tuned model (WiSE-FT, arXiv 2109.01903).

Fine-tuning gains on photos like those it learned from and may lose on others; an interpolation
often has both advantages. The best alpha is measured on the harder of the validation sets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bear_classifier.config.settings import TrainConfig
from bear_classifier.stats.arrays import Floats, Floats32, Ints, Strings
from bear_classifier.stats.calibration import fit_temperature
from bear_classifier.stats.intervals import clustered
from bear_classifier.stats.metrics import log_losses, softmax
from bear_classifier.stats.paired import paired_comparison

Weights = Mapping[str, Tensor]
ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the tuned weights; 0: the probe


def alphas_of(settings: TrainConfig) -> tuple[float, ...]:
    """The shares of tuned weights that are tried; without training that of the probe alone."""
    return ALPHAS if settings.epochs else ALPHAS[:1]


def interpolated_state(start: Weights, end: Weights, alpha: float) -> dict[str, Tensor]:
    """State of a model whose weights, and BatchNorms' means and variances, lie between two others.

    alpha: share of `end`, 0 to 1. Integers (counters) are those of `end`, unless alpha is 0."""
    if alpha == 0:
        return dict(start)
    return {
        name: torch.lerp(start[name], tensor, alpha) if tensor.is_floating_point() else tensor
        for name, tensor in end.items()
    }


def loss(logits: Floats32, targets: Ints) -> float:
    """Mean log loss, in nats. logits: (n, classes); targets: (n,)."""
    return float(nn.functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(targets)))


def error_of_change(one: Floats32, other: Floats32, targets: Ints) -> float:
    """Standard error of the difference of two models' mean log losses, photo by photo, in nats; 0
    where it is unknown. one, other: logits (n, classes)."""
    labels = torch.from_numpy(targets)
    before, after = (
        nn.functional.cross_entropy(torch.from_numpy(logits), labels, reduction="none").double()
        for logits in (one, other)
    )
    error = float((after - before).std() / len(targets) ** 0.5) if len(targets) > 1 else 0.0
    return error if np.isfinite(error) else 0.0


def calibrated_losses(logits: Floats32, targets: Ints) -> Floats:
    """Log loss of each photo (n,), in nats, at the best temperature: every exported model gets that
    one, so overconfidence alone makes none worse."""
    return log_losses(softmax(logits, fit_temperature(logits, targets)), targets)


def interpolation_figures(
    logits: Sequence[Floats32], targets: Ints, groups: Strings
) -> dict[str, Any]:
    """Figures of each interpolation on the same photos. logits: (n, classes) of each; targets,
    groups (near-copies): (n,).

    intervals: of the error, at 95 %; p: of the paired test of any two; apart: standard error of the
    loss above that of the best. In all of these a group of near-copies is one piece of evidence."""
    each = np.array([calibrated_losses(one, targets) for one in logits])
    more = each - each[each.mean(1).argmin()]
    wrong = [one.argmax(1) != targets for one in logits]
    return {
        "n": len(targets),
        "wrong": [int(one.sum()) for one in wrong],
        "intervals": [clustered(one, groups) for one in wrong],
        "p": [[paired_comparison(one, other, groups)["p"] for other in wrong] for one in wrong],
        "loss": [loss(one, targets) for one in logits],
        "calibrated": each.mean(1).tolist(),
        "apart": [_standard_error(one, groups) for one in more],
    }


def _standard_error(values: Floats, groups: Strings) -> float:
    """Of the mean of values (n,), by the sums of their groups (n,); of a single group, whose spread
    is unknown, the mean of its absolute values."""
    _, number = np.unique(groups, return_inverse=True)
    many = int(number.max()) + 1
    if many == 1:
        return float(np.abs(values).sum())
    sums = np.bincount(number, values - values.mean())
    return float(np.sqrt((sums**2).sum() * many / (many - 1)) / len(values))


def best(figures: Sequence[Mapping[str, Any]]) -> int:
    """The number of the interpolation to keep; of equals, that with less tuning.

    figures: of the same interpolations on different photos, with finite losses or ignored; an
    interpolation with a loss that is not finite is never kept. The photos with the higher losses
    decide. Interpolations within one standard error of the best are equal there (Breiman et al.,
    1984, section 3.4.3); of those, the best on the other photos is kept."""
    usable = [one for one in figures if np.isfinite(one["calibrated"]).any()]
    every = np.array([one["calibrated"] for one in usable], dtype=np.float64)
    lost = np.where(np.isfinite(every).all(axis=0), every, np.inf)
    if not np.isfinite(lost).any():
        return 0
    if len(lost) == 1:
        return int(lost[0].argmin())
    hard = int(lost.min(axis=1).argmax())
    noise = np.nan_to_num(np.array(usable[hard]["apart"], dtype=np.float64), nan=np.inf)
    level = np.isfinite(lost[hard]) & (lost[hard] - lost[hard].min() <= noise)
    return int(np.where(level, lost[1 - hard], np.inf).argmin())

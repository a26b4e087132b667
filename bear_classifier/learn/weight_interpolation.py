"""Weight interpolation between the probe and the fine-tuned model (WiSE-FT, arXiv 2109.01903).

Tuning gains on photos like those it learned from and may lose on others; a mixture often has both.
Which share of the tuned weights is best is measured, on the harder of what can be asked, as far as
that can tell the mixtures apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bear_classifier.stats.arrays import Floats, Floats32, Ints, Strings
from bear_classifier.stats.calibration import fit_temperature, softmax
from bear_classifier.stats.intervals import clustered
from bear_classifier.stats.metrics import log_losses
from bear_classifier.stats.paired import paired_comparison

ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the tuned weights; 0: the probe


def interpolated_state(
    start: Mapping[str, Tensor], end: Mapping[str, Tensor], share: float
) -> dict[str, Tensor]:
    """State of a model whose weights, and BatchNorms' means and variances, lie between two others.

    share: of `end`, 0 to 1. What is no number with a fraction (counters) is that of `end`, unless
    there is nothing of it."""
    if share == 0:
        return dict(start)
    return {
        name: torch.lerp(start[name], tensor, share) if tensor.is_floating_point() else tensor
        for name, tensor in end.items()
    }


def loss(logits: Floats32, targets: Ints) -> float:
    """Mean log loss, in nats. logits: (n, classes); targets: (n,)."""
    return float(nn.functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(targets)))


def error_of_change(one: Floats32, other: Floats32, targets: Ints) -> float:
    """Standard error of the difference of two models' mean log losses, photo by photo, in nats; 0
    where it is unknown. one, other: logits (n, classes)."""
    labels = torch.from_numpy(targets)
    each = [
        nn.functional.cross_entropy(torch.from_numpy(logits), labels, reduction="none").double()
        for logits in (one, other)
    ]
    found = float((each[1] - each[0]).std() / len(targets) ** 0.5) if len(targets) > 1 else 0.0
    return found if np.isfinite(found) else 0.0


def calibrated_losses(logits: Floats32, targets: Ints) -> Floats:
    """Log loss of each photo (n,), in nats, at the temperature that makes their mean least: every
    model that is exported gets that, so one merely too sure of itself is not the worse for it."""
    return log_losses(softmax(logits, fit_temperature(logits, targets)), targets)


def interpolation_figures(
    logits: Sequence[Floats32], targets: Ints, groups: Strings
) -> dict[str, Any]:
    """What each mixture made of the same photos. logits: (n, classes) of each; targets, groups
    (near-copies): (n,).

    intervals: of the error, at 95 %; p: of the paired test of any two of them; apart: standard
    error of how much more it loses than the best of them. In all of these a group of near-copies
    is one piece of evidence."""
    each = np.array([calibrated_losses(said, targets) for said in logits])
    more = each - each[each.mean(1).argmin()]
    wrong = [said.argmax(1) != targets for said in logits]
    return {
        "n": len(targets),
        "wrong": [int(one.sum()) for one in wrong],
        "intervals": [clustered(one, groups) for one in wrong],
        "p": [[paired_comparison(one, other, groups)["p"] for other in wrong] for one in wrong],
        "loss": [loss(said, targets) for said in logits],
        "calibrated": each.mean(1).tolist(),
        "apart": [_standard_error(one, groups) for one in more],
    }


def _standard_error(values: Floats, groups: Strings) -> float:
    """Of the mean of values (n,), by the sums of their groups (n,); of one group, whose spread
    nobody knows, as much as its values themselves."""
    _, number = np.unique(groups, return_inverse=True)
    many = int(number.max()) + 1
    if many == 1:
        return float(np.abs(values).sum())
    sums = np.bincount(number, values - values.mean())
    return float(np.sqrt((sums**2).sum() * many / (many - 1)) / len(values))


def best(asked: Sequence[Mapping[str, Any]]) -> int:
    """The number of the mixture to keep; of equals, that with less tuning.

    A loss that is not finite chooses nothing, and nor does a mixture that has one anywhere.

    asked: figures of the same mixtures on different photos. The harder question decides, which is
    that about unseen sources where it was asked. Mixtures within one standard error of its best are
    none it can tell apart (Breiman et al., 1984, section 3.4.3); of those, the other question's
    best is kept."""
    every = np.array([found["calibrated"] for found in asked], dtype=np.float64)
    every = every[np.isfinite(every).any(axis=1)]
    if not len(every):
        return 0
    lost = np.where(np.isfinite(every).all(axis=0), every, np.inf)
    if not np.isfinite(lost).any():
        return 0
    apart = [found["apart"] for found in asked if np.isfinite(found["calibrated"]).any()]
    hard = int(lost.min(axis=1).argmax())
    if len(lost) == 1:
        return int(lost[0].argmin())
    noise = np.nan_to_num(np.array(apart[hard], dtype=np.float64), nan=np.inf)
    level = np.isfinite(lost[hard]) & (lost[hard] - lost[hard].min() <= noise)
    return int(np.where(level, lost[1 - hard], np.inf).argmin())

"""Between the first model and the tuned one: their weights mixed (WiSE-FT, arXiv 2109.01903).

Tuning gains on photos like those it learned from and may lose on others; a mixture often has both.
Which share of the tuned weights is best is measured, on the harder of what can be asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bear_classifier.calibrate import fit_temperature, log_loss, softmax

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the tuned weights; 0: the probe


def mixed(
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


def loss(logits: NDArray[np.float32], targets: NDArray[np.int64]) -> float:
    """Mean log loss, in nats. logits: (n, classes); targets: (n,)."""
    return float(nn.functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(targets)))


def calibrated_loss(logits: NDArray[np.float32], targets: NDArray[np.int64]) -> float:
    """Mean log loss, in nats, at the temperature that makes it least: every model that is exported
    gets that, so one that is merely too sure of itself is not the worse for it."""
    return log_loss(softmax(logits, fit_temperature(logits, targets)), targets)


def figures(logits: Sequence[NDArray[np.float32]], targets: NDArray[np.int64]) -> dict[str, Any]:
    """What each mixture made of the same photos. logits: (n, classes) of each; targets: (n,)."""
    return {
        "n": len(targets),
        "wrong": [int((said.argmax(1) != targets).sum()) for said in logits],
        "loss": [loss(said, targets) for said in logits],
        "calibrated": [calibrated_loss(said, targets) for said in logits],
    }


def best(asked: Sequence[Mapping[str, Any]]) -> int:
    """The number of the mixture whose greatest loss is least; of equals, that with less tuning.

    asked: figures of the same mixtures on different photos. The harder question decides, which is
    that about unseen sources where it was asked."""
    losses = [found["calibrated"] for found in asked]
    return int(np.max(np.array(losses), axis=0).argmin())

"""Trainings of small networks on cached features, averaged and permuted."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from sklearn.model_selection import StratifiedGroupKFold
from torch import Tensor, nn

from bear_classifier.lesson.trained_model import LabelledFeatures
from bear_classifier.stats.arrays import Floats

TEAM = 5
WIDE, DEEP = 32, 3  # units of a hidden layer, hidden layers
EPOCHS, COMMON = 20, 7  # of a training; of those, before a team with a common beginning parts
BATCH, RATE, DECAY = 32, 1e-3, 1e-2


def small_network(features: int, classes: int, seed: int) -> nn.Sequential:
    """Hidden layers with ReLU, then a linear one, begun at random."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers: list[nn.Module] = []
        for wide in [features] + [WIDE] * (DEEP - 1):
            layers += [nn.Linear(wide, WIDE), nn.ReLU()]
        return nn.Sequential(*layers, nn.Linear(WIDE, classes))


def train_copy(
    start: nn.Sequential, photos: LabelledFeatures, epochs: int, seed: int
) -> nn.Sequential:
    """A copy that learned from these photos. The seed decides their order."""
    model, rng = copy.deepcopy(start), torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(model.parameters(), RATE, weight_decay=DECAY)
    for _ in range(epochs):
        for rows in torch.randperm(len(photos.x), generator=rng).split(BATCH):  # type: ignore[no-untyped-call]
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(photos.x[rows]), photos.y[rows]).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    return model


# -- teams -----------------------------------------------------------------------------------------


def separate(photos: LabelledFeatures, classes: int, seed: int) -> list[nn.Sequential]:
    """Each from other random weights, all from the same photos."""
    seeds = range(seed, seed + TEAM)
    return [
        train_copy(small_network(photos.x.shape[1], classes, s), photos, EPOCHS, s) for s in seeds
    ]


def by_folds(photos: LabelledFeatures, classes: int, seed: int) -> list[nn.Sequential]:
    """The same, and each leaves out another fifth of the photos, near-copies together."""
    folds = StratifiedGroupKFold(TEAM, shuffle=True, random_state=seed)
    cuts = folds.split(photos.groups, photos.y.numpy(), photos.groups)
    return [
        train_copy(
            small_network(photos.x.shape[1], classes, seed + k), photos.of(kept), EPOCHS, seed + k
        )
        for k, (kept, _) in enumerate(cuts)
    ]


def train_together(photos: LabelledFeatures, classes: int, seed: int) -> list[nn.Sequential]:
    """One to begin with, of which each goes on by itself, with the photos in another order."""
    common = train_copy(small_network(photos.x.shape[1], classes, seed), photos, COMMON, seed)
    seeds = range(seed, seed + TEAM)
    return [train_copy(common, photos, EPOCHS - COMMON, s) for s in seeds]


# -- two ways of making one of them ----------------------------------------------------------------


def probabilities(model: nn.Sequential, x: Tensor) -> Floats:
    """(n, classes)."""
    with torch.inference_mode():
        return np.asarray(model(x).softmax(1).double().numpy())


def mean_answer(team: Sequence[nn.Sequential], x: Tensor) -> Floats:
    """(n, classes): of what they say."""
    return np.asarray(np.mean([probabilities(model, x) for model in team], axis=0))


def mean_weights(
    team: Sequence[nn.Sequential], shares: Sequence[float] | None = None
) -> nn.Sequential:
    """One network: of what they are, each parameter by itself. shares: of each; None: all alike."""
    parts = [1 / len(team)] * len(team) if shares is None else shares
    mean = copy.deepcopy(team[0])
    states = [model.state_dict() for model in team]
    mean.load_state_dict(
        {name: sum(p * s[name] for p, s in zip(parts, states, strict=True)) for name in states[0]}
    )
    return mean


def reordered(model: nn.Sequential, seed: int) -> nn.Sequential:
    """The same function by other numbers: the units of each hidden layer in another order."""
    other, rng = copy.deepcopy(model), torch.Generator().manual_seed(seed)
    layers = [layer for layer in other if isinstance(layer, nn.Linear)]
    with torch.no_grad():
        for layer, after in zip(layers, layers[1:], strict=False):
            order = torch.randperm(len(layer.weight), generator=rng)
            layer.weight.copy_(layer.weight[order])
            layer.bias.copy_(layer.bias[order])
            after.weight.copy_(after.weight[:, order])
    return other

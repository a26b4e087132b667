"""A small convolutional network in plain torch, from nothing, for pages that train many of them."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bear_classifier import photos as decoder
from bear_classifier.ahead import ahead
from bear_classifier.catalog import Catalog
from bear_classifier.schema import Photo

SIZE = 64  # pixels, side of the square
CHANNELS = (24, 48, 96)
BATCH, RATE, DECAY = 32, 3e-3, 1e-2


def pictures(catalog: Catalog, photos: Sequence[Photo]) -> Tensor:
    """(n, 3, SIZE, SIZE), mean 0 and deviation 1 over all of them. Raises PhotoError."""

    def opened(photo: Photo) -> NDArray[np.uint8]:
        return np.asarray(decoder.fit(decoder.decode(catalog.file(photo)), SIZE))

    found = np.stack([pixels for _, pixels in ahead(opened, photos, threads=2, room=64)])
    x = torch.from_numpy(found).permute(0, 3, 1, 2).float()
    return (x - x.mean()) / x.std()


def network(classes: int, seed: int) -> nn.Module:
    """Three times convolution, normalisation and ReLU at half the resolution; pool; linear."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers: list[nn.Module] = []
        for inside, out in zip((3, *CHANNELS), CHANNELS, strict=False):
            layers += [nn.Conv2d(inside, out, 3, 2, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU()]
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                             nn.Linear(CHANNELS[-1], classes))  # fmt: skip


def trained(model: nn.Module, x: Tensor, y: Tensor, epochs: int, seed: int) -> nn.Module:
    """A copy of the model that learned from these pictures, mirrored by chance, in one cycle.

    x: (n, 3, s, s); y: (n,) class numbers. The seed decides order and mirrors."""
    model, dice = copy.deepcopy(model).train(), torch.Generator().manual_seed(seed)
    steps = max(1, len(x) // BATCH)
    optimiser = torch.optim.AdamW(model.parameters(), RATE, weight_decay=DECAY)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=epochs * steps)
    for _ in range(epochs):
        order = torch.randperm(len(x), generator=dice)
        for rows in order.split(BATCH)[:steps]:
            mirrored = torch.rand(len(rows), generator=dice) < 0.5
            batch = torch.where(mirrored[:, None, None, None], x[rows].flip(3), x[rows])
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(batch), y[rows]).backward()
            optimiser.step()
            cycle.step()
    return model.eval()


def probabilities(model: nn.Module, x: Tensor) -> NDArray[np.float64]:
    """(n, classes)."""
    with torch.inference_mode():
        logits = torch.cat([model.eval()(part) for part in x.split(256)])
        return np.asarray(logits.double().softmax(1).numpy())


def averaged(models: Sequence[nn.Module], x: Tensor) -> nn.Module:
    """One network whose weights are the means of theirs; its normalisations are measured anew on
    these pictures, since those of none of them would fit."""
    mean = copy.deepcopy(models[0])
    states = [model.state_dict() for model in models]
    mean.load_state_dict(
        {
            name: torch.stack([state[name].float() for state in states]).mean(0).to(tensor.dtype)
            for name, tensor in states[0].items()
        }
    )
    norms = [part for part in mean.modules() if isinstance(part, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over all batches
    with torch.inference_mode():
        mean.train()
        for part in x.split(256):
            mean(part)
    return mean.eval()

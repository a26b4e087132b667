"""Inference of a trained network: full precision, the resize of serving."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from bear_classifier.config.settings import Config
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import Photo
from bear_classifier.learn.backbone import Classifier
from bear_classifier.learn.data import Unreadable, batches, normalisation
from bear_classifier.learn.frozen_forward import frozen
from bear_classifier.runtime.terminal import progress_bar
from bear_classifier.stats.arrays import Floats32

OUTPUTS = ["logits", "pooled", "map"]


class Outputs(nn.Module):
    """The three outputs of a network, from one pass."""

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.model.outputs(x)


def outputs(
    catalog: Catalog,
    model: Classifier,
    photos: Sequence[Photo],
    config: Config,
    unreadable: Unreadable,
) -> tuple[list[int], Floats32, Floats32]:
    """Logits (n, classes) and pooled features (n, f); and before them the numbers (n,) of the
    photos that they belong to: all that can be read."""
    device = next(model.parameters()).device
    places = {catalog.file(photo): row for row, photo in enumerate(photos)}
    files = [file for file in places if file not in unreadable.found]
    bar = progress_bar(total=len(files), desc="predict", unit="photo", leave=False)
    logits, pools = [], []
    size, norm = config.learn.size, normalisation(config.learn)
    with bar, torch.inference_mode():
        example = torch.zeros(1, 3, size, size, device=device)
        run = frozen(Outputs(model), example, OUTPUTS, len(files))
        for batch in batches(files, size, 32, unreadable, norm):
            said, pooled, _ = run(batch)
            logits.append(said.numpy())
            pools.append(pooled.numpy())
            bar.update(len(batch))
    rows = [places[file] for file in files if file not in unreadable.found]
    return rows, np.concatenate(logits), np.concatenate(pools)

"""What a network says of photos, exactly: full precision and the resize of serving."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from bear_classifier.catalog import Catalog
from bear_classifier.learn.backbone import Classifier
from bear_classifier.learn.loaders import Unreadable, batches
from bear_classifier.schema import Photo
from bear_classifier.settings import Config


def outputs(
    catalog: Catalog,
    model: Classifier,
    photos: Sequence[Photo],
    config: Config,
    unreadable: Unreadable,
) -> tuple[list[int], NDArray[np.float32], NDArray[np.float32]]:
    """Logits (n, classes) and pooled features (n, f); and before them the numbers (n,) of the
    photos that they belong to: all that can be read."""
    device = next(model.parameters()).device
    places = {catalog.file(photo): row for row, photo in enumerate(photos)}
    files = [file for file in places if file not in unreadable.found]
    bar = tqdm(total=len(files), desc="predict", unit="photo", disable=None, leave=False)
    logits, pools = [], []
    with bar, torch.inference_mode():
        model.eval()
        for batch in batches(files, config.learn.size, 32, unreadable):
            said, pooled, _ = model.outputs(batch.to(device))
            logits.append(said.float().cpu().numpy())
            pools.append(pooled.float().cpu().numpy())
            bar.update(len(batch))
    rows = [places[file] for file in files if file not in unreadable.found]
    return rows, np.concatenate(logits), np.concatenate(pools)

"""Photos to tensors: the same decoder and the same resize for training, features and serving."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fastai.data.block import CategoryBlock, DataBlock
from fastai.data.core import DataLoaders
from fastai.data.transforms import Normalize
from fastai.vision.augment import RandomResizedCrop, aug_transforms
from fastai.vision.core import PILImage
from fastai.vision.data import ImageBlock
from fasttransform import Transform
from torch import Tensor

from bear_classifier import photos
from bear_classifier.errors import TrainError

# Of torchvision's published classifiers: torchvision.transforms._presets.ImageClassification
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_AHEAD = 2  # batches decoded while the network works


class DecodedImage(PILImage):  # type: ignore[misc]
    """fastai's picture, opened by our decoder."""

    @classmethod
    def create(cls, path: Path) -> DecodedImage:
        return cls(photos.decode(path))


class Fit(Transform):  # type: ignore[misc]
    """The resize of serving, for the validation side."""

    split_idx, order = 1, 1

    def __init__(self, size: int) -> None:
        self.size = size

    def encodes(self, image: DecodedImage) -> DecodedImage:
        return DecodedImage(photos.fit(image, self.size))


def dataloaders(
    train: Sequence[tuple[Path, str]],
    valid: Sequence[tuple[Path, str]],
    labels: Sequence[str],
    size: int,
    batch_size: int,
    crop: float,
    device: torch.device,
) -> DataLoaders:
    """fastai's DataLoaders over (path, label) pairs; random crops and warps in training only.

    Raises TrainError (NO_BATCH): fewer photos than one batch would train nothing, silently."""
    if len(train) < max(2, batch_size):
        raise TrainError(
            "NO_BATCH", f"{len(train)} training photos do not fill one batch of {batch_size}"
        )
    random_crop = RandomResizedCrop(size, min_scale=crop)
    random_crop.split_idx = 0
    items = [*train, *valid]
    block = DataBlock(
        blocks=(ImageBlock(DecodedImage), CategoryBlock(vocab=list(labels))),
        get_x=lambda i: items[i][0],
        get_y=lambda i: items[i][1],
        splitter=lambda _: (list(range(len(train))), list(range(len(train), len(items)))),
        item_tfms=[random_crop, Fit(size)],
        batch_tfms=[*aug_transforms(), Normalize.from_stats(MEAN, STD, cuda=device.type == "cuda")],
    )
    numbers = list(range(len(items)))  # fastai would take pairs apart
    return block.dataloaders(numbers, bs=batch_size, num_workers=0, device=device)


def batches(paths: Sequence[Path], size: int, batch_size: int) -> Iterator[Tensor]:
    """Normalised batches (n, 3, size, size) in order, decoded by threads ahead of their use."""
    chunks = [paths[i : i + batch_size] for i in range(0, len(paths), batch_size)]
    with ThreadPoolExecutor(2) as pool:
        waiting: list[list[Any]] = []
        for chunk in [*chunks, *[[]] * _AHEAD]:
            waiting.append([pool.submit(_array, path, size) for path in chunk])
            if len(waiting) > _AHEAD and (ready := waiting.pop(0)):
                yield normalise(np.stack([future.result() for future in ready]))


def _array(path: Path, size: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.asarray(photos.fit(photos.decode(path), size))


def normalise(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> Tensor:
    """pixels (n, h, w, 3) of 0 to 255. Returns (n, 3, h, w), zero mean and unit variance."""
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    return (x - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]

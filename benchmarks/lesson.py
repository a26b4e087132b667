"""The course's own recipe, which the other programs here are measured against.

Not a program: a torchvision network with fastai's head, RandomResizedCrop and aug_transforms, one
photo in five set aside for validation, the head for one epoch, all of it for four (fine_tune(4)).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from fastai.callback import schedule as schedule  # adds fine_tune
from fastai.data.block import CategoryBlock, DataBlock
from fastai.data.core import DataLoaders
from fastai.data.transforms import IndexSplitter, Normalize, parent_label
from fastai.learner import Learner
from fastai.losses import CrossEntropyLossFlat
from fastai.torch_core import apply_init, set_seed
from fastai.vision.augment import RandomResizedCrop, aug_transforms
from fastai.vision.data import ImageBlock
from fastai.vision.learner import (
    create_body,
    create_head,
    default_split,
    model_meta,
    vision_learner,
)
from numpy.typing import NDArray
from safetensors.torch import load_file
from torchvision import models

from bear_classifier.images.decoder import decode
from bear_classifier.images.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from bear_classifier.learn.data import batches
from bear_classifier.learn.mixed_precision import has_bfloat16


def shrunk(paths: Sequence[Path], folder: Path, most: int = 400) -> list[Path]:
    """Copies of the photos, as the course makes them. most: pixels of the longer side."""
    made = []
    for place, path in enumerate(paths):
        image = decode(path)
        image.thumbnail((most, most))
        made.append(folder / f"{place}.jpg")
        image.save(made[-1], quality=92)
    return made


def loaders(
    paths: Sequence[Path],
    names: Sequence[str],
    seed: int,
    shape: Preprocessing = Preprocessing(224),  # noqa: B008
) -> DataLoaders:
    """Of the first photos, one in five for validation. Items are row numbers.

    names: classes of the photos to learn from; paths beyond them can be asked for by `test_dl`;
    shape: of it the size, mean and deviation."""
    order = np.random.default_rng(seed).permutation(len(names))
    block = DataBlock(
        (ImageBlock, CategoryBlock),
        get_x=lambda i: paths[i],
        get_y=lambda i: names[i],
        splitter=IndexSplitter(order[: len(names) // 5].tolist()),
        item_tfms=RandomResizedCrop(shape.size, min_scale=0.5),
        batch_tfms=[*aug_transforms(), Normalize.from_stats(shape.mean, shape.std)],
    )
    return block.dataloaders(list(range(len(names))), bs=32, num_workers=0)


def stock(found: DataLoaders, arch: str = "mobilenet_v2", weights: Path | None = None) -> Learner:
    """`vision_learner(found, arch)` with weights from a file, the body frozen; None: random ones.

    fastai does not know where to cut mobilenet_v2; it is cut and given fastai's head here. What
    torchvision does not have, fastai takes from timm."""
    if arch not in models.list_models(module=models):
        learner = vision_learner(found, arch, normalize=False, pretrained=False)
        if weights:
            state = (
                load_file(weights)
                if weights.suffix == ".safetensors"
                else torch.load(weights, weights_only=True)
            )
            missing = learner.model[0].model.load_state_dict(state, strict=False).missing_keys
            assert not missing, missing
        learner.freeze()
        return learner
    network = models.get_model(arch)
    if weights:
        network.load_state_dict(torch.load(weights, weights_only=True))
    make = getattr(models, arch)
    if make in model_meta:
        learner = vision_learner(found, make, pretrained=False)
        body = create_body(network, pretrained=False, cut=model_meta[make]["cut"])
        learner.model[0].load_state_dict(body.state_dict())
    else:
        head = create_head(1280, len(found.vocab))
        apply_init(head, torch.nn.init.kaiming_normal_)
        whole = torch.nn.Sequential(network.features, head)
        learner = Learner(found, whole, CrossEntropyLossFlat(), splitter=default_split)
    learner.freeze()
    return learner


def saved(folder: Path, arch: str, place: Path) -> None:
    """A learner with random weights as `load_learner` reads it. folder: a folder for each class."""
    block = DataBlock(
        (ImageBlock, CategoryBlock),
        get_y=parent_label,
        splitter=IndexSplitter([0]),
        item_tfms=RandomResizedCrop(224, min_scale=0.5),
        batch_tfms=[*aug_transforms(), Normalize.from_stats(IMAGENET_MEAN, IMAGENET_STD)],
    )
    items = sorted(path for path in folder.rglob("*") if path.is_file())
    stock(block.dataloaders(items, bs=32, num_workers=0), arch).export(place)


def answers(
    paths: Sequence[Path],
    targets: NDArray[np.int64],
    learned: NDArray[np.bool_],
    seed: int,
    weights: Path,
) -> NDArray[np.float32]:
    """Probabilities (n, classes) for all photos from a network that learned from some of them.

    targets, learned: (n,). In bfloat16 where the processor has it, as our own training is."""
    set_seed(seed)
    known = np.flatnonzero(learned)
    found = loaders([paths[i] for i in known], [f"class {targets[i]}" for i in known], seed)
    learner = stock(found, weights=weights)
    network = learner.model.to(memory_format=torch.channels_last)
    half = torch.autocast("cpu", torch.bfloat16, enabled=has_bfloat16())
    with learner.no_bar(), learner.no_logging(), half:
        learner.fine_tune(4)
    network.eval()
    with torch.inference_mode():
        said = [
            network(batch).softmax(1).numpy() for batch in batches(paths, Preprocessing(224), 32)
        ]
    columns = [found.vocab.o2i[f"class {target}"] for target in range(len(found.vocab))]
    return np.concatenate(said)[:, columns]

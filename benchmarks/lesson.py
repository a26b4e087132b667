"""The course's own recipe, which the other programs here are measured against.

Not a program: mobilenet_v2 with fastai's head, RandomResizedCrop and aug_transforms, 20 % of the
photos set aside for validation, the head for one epoch and all of it for four (fine_tune(4)).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from fastai.callback import schedule as schedule  # adds fine_tune
from fastai.data.block import CategoryBlock, DataBlock
from fastai.data.transforms import IndexSplitter, Normalize
from fastai.learner import Learner
from fastai.losses import CrossEntropyLossFlat
from fastai.torch_core import apply_init, set_seed
from fastai.vision.augment import RandomResizedCrop, aug_transforms
from fastai.vision.data import ImageBlock
from fastai.vision.learner import create_head, default_split
from numpy.typing import NDArray
from torchvision.models import mobilenet_v2

from bear_classifier.learn.cycle import has_bfloat16
from bear_classifier.learn.loaders import MEAN, STD, batches
from bear_classifier.photos import decode


def shrunk(paths: Sequence[Path], folder: Path, most: int = 400) -> list[Path]:
    """Copies of the photos, as the course makes them. most: pixels of the longer side."""
    made = []
    for place, path in enumerate(paths):
        image = decode(path)
        image.thumbnail((most, most))
        made.append(folder / f"{place}.jpg")
        image.save(made[-1], quality=92)
    return made


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
    names = [f"class {target}" for target in targets]
    order = np.random.default_rng(seed).permutation(len(known))
    block = DataBlock(
        (ImageBlock, CategoryBlock),
        get_x=lambda i: paths[known[i]],
        get_y=lambda i: names[known[i]],
        splitter=IndexSplitter(order[: len(known) // 5].tolist()),
        item_tfms=RandomResizedCrop(224, min_scale=0.5),
        batch_tfms=[*aug_transforms(), Normalize.from_stats(MEAN, STD)],
    )
    loaders = block.dataloaders(list(range(len(known))), bs=32, num_workers=0)
    made = mobilenet_v2()
    made.load_state_dict(torch.load(weights, weights_only=True))
    head = create_head(1280, len(loaders.vocab))
    apply_init(head, torch.nn.init.kaiming_normal_)
    network = torch.nn.Sequential(made.features, head).to(memory_format=torch.channels_last)
    learner = Learner(loaders, network, CrossEntropyLossFlat(), splitter=default_split)
    learner.freeze()
    half = torch.autocast("cpu", torch.bfloat16, enabled=has_bfloat16())
    with learner.no_bar(), learner.no_logging(), half:
        learner.fine_tune(4)
    network.eval()
    with torch.inference_mode():
        said = [network(batch).softmax(1).numpy() for batch in batches(paths, 224, 32)]
    columns = [loaders.vocab.o2i[f"class {target}"] for target in range(len(loaders.vocab))]
    return np.concatenate(said)[:, columns]

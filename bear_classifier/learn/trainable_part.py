"""Train all layers on images, or the last stage on cached feature maps.

Most of the time of a training on a CPU goes into early layers that are right already. Where they
stay as they are, a few random views of each photo are enough (docs/LOG.md), and cross-source
validation and interpolated weights get them for nothing.
"""

from __future__ import annotations

import dataclasses
import math
import random
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import numpy as np
import torch
from fastai.data.block import CategoryBlock, DataBlock, TransformBlock
from fastai.data.core import DataLoaders
from numpy.typing import NDArray
from torch import Tensor, nn

from bear_classifier.config.settings import Config
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import Photo
from bear_classifier.images import decoder
from bear_classifier.learn.backbone import Classifier
from bear_classifier.learn.data import (
    Augment,
    Unreadable,
    batches,
    dataloaders,
    loaded,
    normalisation,
    stored,
)
from bear_classifier.learn.frozen_forward import frozen
from bear_classifier.learn.inference import outputs
from bear_classifier.learn.mixed_precision import exactly
from bear_classifier.runtime.prefetch import ahead
from bear_classifier.runtime.terminal import progress_bar
from bear_classifier.stats.arrays import Floats32

VIEWS = 3  # random ones of each photo that is learned from, at most, beside the plain one
ROOM = 2_000_000_000  # bytes that views and photos may take
_BATCH = 32
_AHEAD = 2 * _BATCH  # photos decoded while the network works
PartOutputs = tuple[list[int], Floats32, Floats32]


class TrainablePart(Protocol):
    """model: what learns; its modules are those of the network, which learns with it."""

    @property
    def model(self) -> Classifier: ...

    def loaders(
        self, learned: Sequence[Photo], checked: Sequence[Photo], config: Config
    ) -> DataLoaders:
        """Batches for `model`. Raises TrainError (NO_BATCH)."""

    def outputs(self, photos: Sequence[Photo], config: Config) -> PartOutputs:
        """As `outputs.outputs`, of photos to learn from or to check with."""

    def begun(self, network: Classifier) -> TrainablePart:
        """The same part of another network, whose body is untuned as well."""


@dataclass(frozen=True)
class Whole:
    """All of the network."""

    catalog: Catalog
    model: Classifier
    unreadable: Unreadable

    def loaders(
        self, learned: Sequence[Photo], checked: Sequence[Photo], config: Config
    ) -> DataLoaders:
        train, valid = ([(self.catalog.file(p), p.label) for p in s] for s in (learned, checked))
        device = next(self.model.parameters()).device
        return dataloaders(train, valid, config, device, self.unreadable)

    def outputs(self, photos: Sequence[Photo], config: Config) -> PartOutputs:
        return outputs(self.catalog, self.model, photos, config, self.unreadable)

    def begun(self, network: Classifier) -> Whole:
        return dataclasses.replace(self, model=network)


@dataclass(frozen=True)
class LastStage:
    """The pieces of the body from number `cut` on, and the head. row: of each photo by SHA-256 in
    `plain` (n, c, h, w), what comes out before them with the resize of serving; the first of them,
    those to learn from, are the rows of each of `views`, with random crops. Learned from is one or
    the other, by chance."""

    model: Classifier
    cut: int
    row: dict[str, int]
    plain: Floats32
    views: list[NDArray[np.float16]]

    def loaders(
        self, learned: Sequence[Photo], checked: Sequence[Photo], config: Config
    ) -> DataLoaders:
        learned, checked = ([p for p in s if p.sha256 in self.row] for s in (learned, checked))
        rows = [self.row[photo.sha256] for photo in (*learned, *checked)]

        def stored(i: int) -> Tensor:
            choices: list[NDArray[Any]] = [self.plain, *self.views]
            maps = random.choice(choices) if i < len(learned) else self.plain
            return torch.from_numpy(maps[rows[i]]).float()

        labels = [photo.label for photo in (*learned, *checked)]
        block = DataBlock(
            blocks=(TransformBlock(stored), CategoryBlock(vocab=config.labels)),
            get_y=lambda i: labels[i],
            splitter=lambda _: (list(range(len(learned))), list(range(len(learned), len(rows)))),
        )
        device = next(self.model.parameters()).device
        numbers = list(range(len(rows)))
        return loaded(block, labels[: len(learned)], numbers, config, device)

    def outputs(self, photos: Sequence[Photo], config: Config) -> PartOutputs:
        there = [i for i, photo in enumerate(photos) if photo.sha256 in self.row]
        rows = [self.row[photos[i].sha256] for i in there]
        device = next(self.model.parameters()).device
        logits, pools = [], []
        with torch.inference_mode(), exactly():
            self.model.eval()
            for start in range(0, len(rows), _BATCH):
                maps = torch.from_numpy(self.plain[rows[start : start + _BATCH]]).float()
                said, pooled, _ = self.model.outputs(maps.to(device))
                logits.append(said.float().cpu().numpy())
                pools.append(pooled.float().cpu().numpy())
        return there, np.concatenate(logits), np.concatenate(pools)

    def begun(self, network: Classifier) -> LastStage:
        return dataclasses.replace(self, model=end_of(network, self.cut))


def part_of(
    catalog: Catalog,
    config: Config,
    network: Classifier,
    photos: Sequence[Photo],
    unreadable: Unreadable,
) -> tuple[TrainablePart, list[str]]:
    """What of the untuned network learns by `train.layers`, and what there is to say of it.

    photos: to learn from (the training split), and all that will be asked for. The views follow
    from the present random state."""
    whole = Whole(catalog, network, unreadable)
    wanted, cut = config.train.layers, last_stage(network.body, config.learn.size)
    if wanted == "all" or (wanted == "auto" and not _as_a_rule(config)):
        return whole, []
    if not cut:
        note = f"{config.learn.arch} has no last stage of its own: all layers learn"
        return whole, [note] if wanted == "last-stage" else []
    with torch.inference_mode():
        device = next(network.parameters()).device
        size = config.learn.size
        map_ = first_of(network, cut)(torch.zeros(1, 3, size, size, device=device))
    each = math.prod(map_.shape)  # numbers: in single precision, and in half for views
    learned = sum(photo.split == "train" for photo in photos)
    fits = (ROOM // each - 4 * len(photos)) // max(2 * learned, 1)
    if fits < 1:
        return whole, [f"{len(photos)} photos are too many to keep before the last stage: all"
                       " layers learn, which takes longer"]  # fmt: skip
    views = min(VIEWS, config.train.epochs, fits)
    return _stored(whole, config, photos, cut, views), []


def _as_a_rule(config: Config) -> bool:
    """Early layers are right already where they come from somewhere; a recipe of fastai's, which
    begins with a new head, means the whole network."""
    return config.learn.weights != "none" and config.train.head == "probe"


def pieces(body: nn.Module) -> dict[str, nn.Module]:
    """What a body runs one after the other, by name: Sequentials within it taken apart, so that a
    stage differs from the next wherever they stand. Empty where the body is none itself."""
    found: dict[str, nn.Module] = {}
    for name, child in body.named_children() if _sequential(body) else ():
        inner = {f"{name}_{last}": part for last, part in pieces(child).items()}
        found |= inner or {name: child}
    return found


def _sequential(module: nn.Module) -> bool:
    return isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward


def last_stage(body: nn.Module, size: int) -> int:
    """The number of the first of the body's pieces that learns at the resolution of the last that
    does; what follows that, as the pool of vgg, may be smaller. 0: it has no last stage, since
    nothing comes before, or nothing learns. size: pixels, side of the pictures.

    Height is the third axis of a map whether channels come before it or, as in swin, after."""
    modules = list(pieces(body).values())
    learns = [any(True for _ in module.parameters()) for module in modules]
    if not any(learns):
        return 0
    x, sides = torch.zeros(1, 3, size, size, device=next(body.parameters()).device), []
    body.eval()
    with torch.inference_mode():
        for module in modules:
            x = module(x)
            if x.ndim != 4:
                return 0
            sides.append(x.shape[2])
    side = [side for side, able in zip(sides, learns, strict=True) if able][-1]
    cut = next(row for row, able in enumerate(learns) if able and sides[row] == side)
    return cut if any(learns[:cut]) else 0


def first_of(network: Classifier, cut: int) -> nn.Module:
    """What comes before the cut."""
    return nn.Sequential(OrderedDict(list(pieces(network.body).items())[:cut]))


def end_of(network: Classifier, cut: int) -> Classifier:
    """A classifier of what comes out before the cut, made of the network's own modules."""
    rest = nn.Sequential(OrderedDict(list(pieces(network.body).items())[cut:]))
    return network.with_body(rest)


def _stored(
    whole: Whole, config: Config, photos: Sequence[Photo], cut: int, views: int
) -> LastStage:
    """Run what comes before the cut over all photos, and random views of those to learn from."""
    network, bad = whole.model, whole.unreadable
    device = next(network.parameters()).device
    first, size = first_of(network, cut), config.learn.size
    example = torch.zeros(1, 3, size, size, device=device)
    photos = sorted(photos, key=lambda photo: photo.split != "train")
    files = {whole.catalog.file(photo): photo for photo in photos}
    total = len(photos) + views * sum(p.split == "train" for p in photos)
    bar = progress_bar(total=total, desc="before the last stage", unit="photo", leave=None)
    with bar, torch.inference_mode():
        run = frozen(first, example, ["map"], len(photos))
        maps = []
        norm = normalisation(config.learn)
        for batch in batches(list(files), size, _BATCH, bad, norm):
            maps.append(run(batch)[0].numpy())
            bar.update(len(batch))
        there = [photo for file, photo in files.items() if file not in bad.found]
        row = {photo.sha256: number for number, photo in enumerate(there)}
        plain = np.concatenate(maps)
        augment = Augment(config, device)
        learned = [photo for photo in there if photo.split == "train"]
        seen = [np.empty((len(learned), *plain.shape[1:]), np.float16) for _ in range(views)]
        decoded = ahead(
            lambda photo: decoder.decode(stored(whole.catalog.file(photo))),
            learned,
            threads=2,
            room=_AHEAD,
        )
        run = frozen(first, example, ["map"], views * len(learned), exact=False)
        for start in range(0, len(learned), _BATCH):
            some = [image for _, image in islice(decoded, _BATCH)]
            for view in seen:
                view[start : start + _BATCH] = run(augment(some))[0].half().numpy()
                bar.update(len(some))
    return LastStage(end_of(network, cut), cut, row, plain, seen)

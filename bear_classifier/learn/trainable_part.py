"""What is trained: all layers, on images, or the last stage, on cached feature maps.

On a CPU the early layers take most of the time, and pretrained ones are right already. Where they
stay as they are, a few random views of each photo are enough (docs/LOG.md), and cross-source
validation shares them.
"""

from __future__ import annotations

import dataclasses
import random
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from fastai.data.block import TransformBlock
from fastai.data.core import DataLoaders
from numpy.typing import NDArray
from torch import Tensor, nn

from bear_classifier.config.settings import Config
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import Photo
from bear_classifier.learn import data
from bear_classifier.learn.backbone import OUTPUTS, Classifier, Outputs
from bear_classifier.learn.data import PhotoList, Unreadable
from bear_classifier.learn.devices import LoadingWorkers, loading_workers
from bear_classifier.learn.features import cached_features
from bear_classifier.learn.frozen_forward import frozen
from bear_classifier.learn.kept_photos import KeptPhotos, room_for_photos
from bear_classifier.learn.mixed_precision import exactly
from bear_classifier.learn.random_crops import item_random, random_state_of
from bear_classifier.learn.weights import preprocessing
from bear_classifier.runtime.prefetch import ahead
from bear_classifier.runtime.terminal import progress_bar
from bear_classifier.stats.arrays import Floats32

VIEWS = 3  # random ones of each photo that is learned from, at most, beside the plain one
ROOM = 2_000_000_000  # bytes that views and photos may take
_BATCH = 32
_AHEAD = 2 * _BATCH  # photos decoded while the network works
# rows of the photos that can be read, their logits (n, classes), their pooled features (n, f)
PartOutputs = tuple[list[int], Floats32, Floats32]


@dataclass(frozen=True)
class Whole:
    """All of the network."""

    catalog: Catalog
    model: Classifier
    unreadable: Unreadable
    kept: KeptPhotos | None = None  # stay decoded from epoch to epoch, also for `begun`

    def loaders(self, learned: PhotoList, checked: PhotoList, config: Config) -> DataLoaders:
        """Batches for `model`. Raises TrainError (NO_BATCH)."""
        train, valid = ([(self.catalog.file(p), p.label) for p in s] for s in (learned, checked))
        device, bad = self.model.device, self.unreadable
        return data.dataloaders(train, valid, config, device, bad, self.kept)

    def outputs(self, photos: PhotoList, config: Config) -> PartOutputs:
        """In full precision, with the resize of serving."""
        places = {self.catalog.file(photo): row for row, photo in enumerate(photos)}
        bad = self.unreadable.found
        files = [file for file in places if file not in bad]
        shape = preprocessing(config.learn)
        bar = progress_bar(total=len(files), desc="predict", unit="photo", leave=False)
        passes = []
        with bar, torch.inference_mode():
            example = torch.zeros(1, 3, shape.size, shape.size, device=self.model.device)
            run = frozen(Outputs(self.model), example, OUTPUTS, len(files))
            for batch in data.batches(files, shape, _BATCH, self.unreadable):
                passes.append(run(batch)[:2])
                bar.update(len(batch))
        logits, pooled = (torch.cat(parts).numpy() for parts in zip(*passes, strict=True))
        return [places[file] for file in files if file not in bad], logits, pooled

    def begun(self, network: Classifier) -> Whole:
        """The same part of another network, whose body is untuned as well."""
        return dataclasses.replace(self, model=network)


@dataclass(frozen=True)
class LastStage:
    """The pieces of the body from number `cut` on, and the head.

    plain: (n, c, h, w), the feature maps before the cut with the resize of serving; row: of each
    photo in it, by SHA-256. views: the same with random crops, of the photos to learn from alone,
    which are the first rows. Training draws one or the other at random."""

    model: Classifier
    cut: int
    row: dict[str, int]
    plain: Floats32
    views: list[NDArray[np.float16]]

    def loaders(self, learned: PhotoList, checked: PhotoList, config: Config) -> DataLoaders:
        learned, checked = ([p for p in s if p.sha256 in self.row] for s in (learned, checked))
        rows = [self.row[photo.sha256] for photo in (*learned, *checked)]
        labels = [photo.label for photo in (*learned, *checked)]
        n, device = len(learned), self.model.device
        return stored_loaders(self.plain, self.views, rows, labels, n, config, device)

    def outputs(self, photos: PhotoList, config: Config) -> PartOutputs:
        there = [i for i, photo in enumerate(photos) if photo.sha256 in self.row]
        rows = [self.row[photos[i].sha256] for i in there]
        passes = []
        with torch.inference_mode(), exactly():
            self.model.eval()
            for start in range(0, len(rows), _BATCH):
                maps = torch.from_numpy(self.plain[rows[start : start + _BATCH]]).float()
                passes.append(self.model.outputs(maps.to(self.model.device))[:2])
        parts = zip(*passes, strict=True)
        logits, pooled = (torch.cat(part).float().cpu().numpy() for part in parts)
        return there, logits, pooled

    def begun(self, network: Classifier) -> LastStage:
        return dataclasses.replace(self, model=end_of(network, self.cut))


TrainablePart = Whole | LastStage


def stored_loaders(
    plain: Floats32,
    views: Sequence[NDArray[np.float16]],
    rows: Sequence[int],
    labels: Sequence[str],
    learned: int,
    config: Config,
    device: torch.device,
) -> DataLoaders:
    """Batches of stored feature maps. plain, views: as of `LastStage`; rows, labels: (n,) of the
    photos, the first `learned` to learn from. Raises TrainError (NO_BATCH)."""

    def stored(i: int) -> Tensor:
        choices: list[NDArray[Any]] = [plain, *views]
        maps = item_random().choice(choices) if i < learned else plain
        return torch.from_numpy(maps[rows[i]]).float()

    workers = loading_workers(device)
    workers = workers if workers.ahead else LoadingWorkers(1, 0)  # reading a map takes no time
    maps, known = TransformBlock(stored), labels[:learned]
    return data.loaded(
        maps, lambda i: labels[i], range(len(rows)), known, config, device, workers, direct=stored
    )


@dataclass(frozen=True)
class Untrained:
    """No part: outputs follow from the features that the probe left."""

    catalog: Catalog
    model: Classifier

    def outputs(self, photos: PhotoList, config: Config) -> PartOutputs:
        """In full precision, as the published network answers."""
        exact = dataclasses.replace(config.probe, precision="fp32")
        config = dataclasses.replace(config, probe=exact)
        pooled = cached_features(self.catalog, config, photos, self.model.body)
        with torch.inference_mode():
            head, numbers = self.model.eval().head[2:], torch.from_numpy(pooled)
            logits = head(numbers.to(self.model.device)).cpu().numpy()
        return [*range(len(photos))], logits, pooled


def part_of(
    catalog: Catalog, config: Config, network: Classifier, photos: PhotoList, unreadable: Unreadable
) -> tuple[TrainablePart, list[str]]:
    """The part of the untuned network that `train.layers` trains, and notes on that choice.

    photos: the training split, and all whose outputs will be wanted. The views follow from the
    present random state."""
    whole = Whole(catalog, network, unreadable, KeptPhotos(room_for_photos()))
    wanted, size = config.train.layers, preprocessing(config.learn).size
    cut = last_stage(network.body, size)
    # "auto": pretrained early layers are right already, but a recipe of fastai's (a new head) means
    # the whole network
    early_are_right = config.learn.weights != "none" and config.train.head == "probe"
    if wanted == "all" or (wanted == "auto" and not early_are_right):
        return whole, []
    if not cut:
        note = f"{config.learn.arch} has no last stage of its own: all layers learn"
        return whole, [note] if wanted == "last-stage" else []
    with torch.inference_mode():  # numbers of a map: in single precision, and in half for views
        each = first_of(network, cut)(torch.zeros(1, 3, size, size, device=network.device)).numel()
    learned = sum(photo.split == "train" for photo in photos)
    fits = (ROOM // each - 4 * len(photos)) // max(2 * learned, 1)
    if fits < 1:
        note = f"{len(photos)} photos are too many to keep before the last stage: all layers learn"
        return whole, [f"{note}, which takes longer"]
    views = min(VIEWS, config.train.epochs, fits)
    return _stored(whole, config, photos, cut, views), []


def pieces(body: nn.Module) -> dict[str, nn.Module]:
    """The modules that a body runs one after the other, by name, nested Sequentials taken apart.
    Empty where the body is no Sequential itself."""
    modules: dict[str, nn.Module] = {}
    if isinstance(body, nn.Sequential) and type(body).forward is nn.Sequential.forward:
        for name, child in body.named_children():
            inner = {f"{name}_{last}": part for last, part in pieces(child).items()}
            modules |= inner or {name: child}
    return modules


def last_stage(body: nn.Module, size: int) -> int:
    """The number of the first of the body's pieces that has parameters and the resolution of the
    last that has some (a pool after it, as in vgg, may halve that once more). 0: there is none,
    since nothing learns or nothing comes before. size: pixels, side of the pictures.

    A map's third axis is its height or width, whether channels come first or, as in swin, last."""
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
    return nn.Sequential(OrderedDict(list(pieces(network.body).items())[:cut]))


def end_of(network: Classifier, cut: int) -> Classifier:
    """A classifier of the feature maps at the cut, made of the network's own modules."""
    rest = nn.Sequential(OrderedDict(list(pieces(network.body).items())[cut:]))
    return network.with_body(rest)


def _stored(whole: Whole, config: Config, photos: PhotoList, cut: int, views: int) -> LastStage:
    """Feature maps at the cut of all photos, and of random views of those to learn from."""
    file_of, bad, shape = whole.catalog.file, whole.unreadable, preprocessing(config.learn)
    first, device = first_of(whole.model, cut), whole.model.device
    example = torch.zeros(1, 3, shape.size, shape.size, device=device)
    photos = sorted(photos, key=lambda photo: photo.split != "train")
    files = {file_of(photo): photo for photo in photos}
    total = len(photos) + views * sum(p.split == "train" for p in photos)
    bar = progress_bar(total=total, desc="before the last stage", unit="photo", leave=None)
    with bar, torch.inference_mode():
        run = frozen(first, example, ["map"], len(photos))
        maps = []
        for batch in data.batches(list(files), shape, _BATCH, bad):
            maps.append(run(batch)[0].numpy())
            bar.update(len(batch))
        there = [photo for file, photo in files.items() if file not in bad.found]
        row = {photo.sha256: number for number, photo in enumerate(there)}
        plain = np.concatenate(maps)
        augment = data.Augment(config, device)
        learned = [photo for photo in there if photo.split == "train"]
        seen = [np.empty((len(learned), *plain.shape[1:]), np.float16) for _ in range(views)]
        key = random.getrandbits(64)

        def crops(numbered: tuple[int, Photo]) -> list[Tensor]:
            number, photo = numbered
            image = data.opened_to_crop(file_of(photo), shape.size, config.train)
            with random_state_of(key, number):
                return [augment.crop(image) for _ in seen]

        made = ahead(crops, enumerate(learned), _AHEAD)
        run = frozen(first, example, ["map"], views * len(learned), exact=False)
        for start in range(0, len(learned), _BATCH):
            some = [of_photo for _, of_photo in islice(made, _BATCH)]
            for view, of_view in zip(seen, zip(*some, strict=True), strict=True):
                view[start : start + _BATCH] = run(augment.batch(of_view))[0].half().numpy()
                bar.update(len(some))
    return LastStage(end_of(whole.model, cut), cut, row, plain, seen)

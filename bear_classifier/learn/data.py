"""Data loading: photos to tensors, with the decoder and the resize of serving."""

from __future__ import annotations

import hashlib
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fastai.data.block import CategoryBlock, DataBlock, TransformBlock
from fastai.data.core import DataLoaders
from fastai.data.load import SkipItemException
from fastai.data.transforms import IntToFloatTensor, Normalize
from fastai.torch_core import TensorCategory, TensorImage
from fastai.vision.augment import RandomResizedCropGPU, aug_transforms
from fastai.vision.core import PILImage
from fasttransform import Pipeline, Transform
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from bear_classifier.config.settings import Config, TrainConfig
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import Photo
from bear_classifier.errors import DataError, PhotoError, TrainError
from bear_classifier.images import decoder
from bear_classifier.images.preprocessing import Preprocessing
from bear_classifier.learn.devices import LoadingWorkers, loading_workers
from bear_classifier.learn.input_pipeline import PhotoLoader, WeightedPhotoLoader
from bear_classifier.learn.kept_photos import KeptPhotos
from bear_classifier.learn.random_crops import ItemResize, RandomCrop, pixels_for_crops, shrunk
from bear_classifier.learn.weights import preprocessing
from bear_classifier.runtime.prefetch import ahead
from bear_classifier.runtime.terminal import count

_AHEAD = 2  # batches decoded while the network works
_BAD = 0.05  # of all photos; with more unreadable ones it is another dataset
_NAMED = 3  # of the photos that were left out
_HASH = re.compile(r"[0-9a-f]{64}")
_PRESIZED = 460  # pixels, as in fastai's book, before crops of 224

_Pixels = NDArray[np.uint8]
PhotoList = Sequence[Photo]
_Labelled = Sequence[tuple[Path, str]]  # photos with their labels


def learning_photos(catalog: Catalog) -> tuple[list[Photo], list[Photo]]:
    """The photos of the splits train and valid. Raises DataError (NOT_SPLIT)."""
    train, valid = ([p for p in catalog.photos("ok") if p.split == s] for s in ("train", "valid"))
    if not train or not valid:
        raise DataError("NOT_SPLIT", "there are no training or validation photos; run: bears split")
    return train, valid


class DecodedImage(PILImage):  # type: ignore[misc]
    """fastai's picture, opened by our decoder."""

    @classmethod
    def create(cls, path: Path | str) -> DecodedImage:
        return cls(decoder.decode(stored(Path(path))))


def stored(path: Path) -> bytes:
    """The bytes of a photo; a stored one must match the hash it is named by. Raises PhotoError."""
    data = decoder.read_file(path)
    if _HASH.fullmatch(path.stem) and hashlib.sha256(data).hexdigest() != path.stem:
        raise PhotoError("DAMAGED", f"{path.name} is not the picture that was stored")
    return data


class Fit(Transform):  # type: ignore[misc]
    """The resize of serving, for the validation split."""

    split_idx, order = 1, 1

    def __init__(self, shape: Preprocessing) -> None:
        self.shape = shape

    def square(self, image: Image.Image) -> Image.Image:
        return self.shape.square(image)

    def encodes(self, image: DecodedImage) -> DecodedImage:
        return DecodedImage(self.square(image))


class Unreadable:
    """Photos whose files vanished or broke after the screening; found: file -> code.

    Each is left out when it is needed, also in the middle of a training; decoding all beforehand
    would miss that and cost a pass over the photos."""

    def __init__(self, total: int) -> None:
        self.found: dict[Path, str] = {}
        self.total = total
        self._lock = threading.Lock()

    def add(self, path: Path, exc: PhotoError) -> None:
        """Raises TrainError (TOO_MANY_BAD_PHOTOS) unless fewer than 5 % of all are bad."""
        with self._lock:
            self.found[path] = exc.code
            bad = len(self.found)
        if bad >= _BAD * self.total:
            raise TrainError(
                "TOO_MANY_BAD_PHOTOS",
                f"{bad} of {self.total} photos cannot be read any more, such as {path}"
                f" ({exc.code}); put the files back, or begin with a new dataset",
            )

    def note(self) -> list[str]:
        names = [f"{path.name} ({code})" for path, code in self.found.items()]
        more = ", ..." if len(names) > _NAMED else ""
        words = f"{count(len(names), 'photo')} skipped: {', '.join(names[:_NAMED])}{more}"
        return [words] if names else []


def dataloaders(
    train: _Labelled,
    valid: _Labelled,
    config: Config,
    device: torch.device,
    unreadable: Unreadable | None = None,
    kept: KeptPhotos | None = None,
    workers: LoadingWorkers | None = None,
) -> DataLoaders:
    """fastai's DataLoaders over (path, label) pairs; random crops and warps in training only.

    kept: photos that stay decoded. workers: of the device if None. Raises TrainError (NO_BATCH)."""
    labels = [label for _, label in [*train, *valid]]
    numbers = range(len(labels))  # fastai would take pairs apart
    photos = _opener(train, valid, config, unreadable, KeptPhotos(0) if kept is None else kept)
    of_batches = _transforms(config, device)["batch_tfms"]
    return loaded(
        TransformBlock(photos, batch_tfms=IntToFloatTensor),
        lambda i: labels[i],
        numbers,
        labels[: len(train)],
        config,
        device,
        workers or loading_workers(device),
        direct=photos,
        batch_tfms=of_batches,
    )


def portable_dataloaders(
    train: _Labelled, valid: _Labelled, config: Config, device: torch.device
) -> DataLoaders:
    """The same over the paths, for fastai's `predict`, `export` and `Interpretation`.

    Raises TrainError (NO_BATCH); the loaders raise PhotoError at a photo that cannot be read."""
    items = dict([*train, *valid])
    photos = TransformBlock(DecodedImage.create, batch_tfms=IntToFloatTensor)
    learned, transforms = [label for _, label in train], _transforms(config, device)
    workers = loading_workers(device)
    return loaded(
        photos,
        LabelOf(items),
        items,
        learned,
        config,
        device,
        workers,
        item_tfms=transforms["item_tfms"],
        batch_tfms=transforms["batch_tfms"],
    )


class LabelOf:
    """The label of a path. An exported learner carries neither."""

    def __init__(self, labels: Mapping[Path, str]) -> None:
        self.labels = labels

    def __call__(self, path: Path) -> str:
        return self.labels[path]

    def __reduce__(self) -> tuple[type[LabelOf], tuple[dict[Path, str]]]:
        return LabelOf, ({},)


def _transforms(config: Config, device: torch.device) -> dict[str, list[Transform]]:
    shape = preprocessing(config.learn)
    of_items, of_batches = _augmented(shape, config.train)
    of_batches = [*of_batches, _normalise(shape, device)]
    return {"item_tfms": [of_items, Fit(shape)], "batch_tfms": of_batches}


def loaded(
    inputs: TransformBlock,
    label: Callable[[Any], str],
    items: Iterable[Any],
    learned: Sequence[str],
    config: Config,
    device: torch.device,
    workers: LoadingWorkers,
    direct: Callable[[Any], Tensor] | None = None,
    **transforms: list[Transform],
) -> DataLoaders:
    """fastai's DataLoaders of the items; the first are the training set. learned: their labels;
    inputs, label: of an item; transforms: item_tfms and batch_tfms of fastai's DataBlock; direct:
    the same input of an item without fastai's pipelines, whose Python takes a millisecond, in which
    no other thread makes another.

    With `train.balance` "oversample" each of these is drawn with probability 1 / photos of its
    class, with replacement (fastai's WeightedDL): an epoch has as many, all batches are full.

    Raises TrainError (NO_BATCH): fastai would silently train nothing without a full batch."""
    n, items, batch_size = len(learned), list(items), config.train.batch_size
    if n < max(2, batch_size):
        raise TrainError("NO_BATCH", f"{n} training photos do not fill one batch of {batch_size}")
    block = DataBlock(
        blocks=(inputs, CategoryBlock(vocab=config.labels)),
        get_y=label,
        splitter=lambda items: (list(range(n)), list(range(n, len(items)))),
        **transforms,
    )
    options: dict[str, Any] = {"bs": batch_size, "workers": workers, "device": device}
    kind: type[PhotoLoader] = PhotoLoader
    if config.train.balance == "oversample":
        many = Counter(learned)
        weights = {"wgts": np.array([1 / many[label] for label in learned])}
        kind, options["dl_kwargs"] = WeightedPhotoLoader, (weights, {})
    dls = block.dataloaders(items, dl_type=kind, **options)
    if direct is not None:
        number = {name: i for i, name in enumerate(dls.vocab)}
        for loader in dls.loaders:
            loader.direct = lambda item: (direct(item), TensorCategory(number[label(item)]))
    return dls


class Augment:
    """Random views of pictures, as training sees them."""

    def __init__(self, config: Config, device: torch.device) -> None:
        shape = preprocessing(config.learn)
        of_items, of_batches = _augmented(shape, config.train)
        norm = _normalise(shape, device)
        self._device = device
        self._crop = of_items.square
        self._batches = Pipeline([IntToFloatTensor(), *of_batches, norm], split_idx=0)

    def crop(self, image: Image.Image) -> Tensor:
        """A random crop (3, size, size), 0 to 255, by `item_random`; in many threads at once."""
        return _pixels_first(self._crop(image))

    def batch(self, crops: Sequence[Tensor]) -> Tensor:
        """Crops warped and normalised: (n, 3, size, size)."""
        stacked = TensorImage(torch.stack(list(crops)))
        made: Tensor = self._batches(stacked.to(self._device))
        return made.as_subclass(Tensor)


def _normalise(shape: Preprocessing, device: torch.device) -> Normalize:
    """fastai's Normalize with its tensors on the device; fastai itself moves them only to CUDA."""
    norm = Normalize.from_stats(shape.mean, shape.std, cuda=False)
    norm.mean, norm.std = norm.mean.to(device), norm.std.to(device)
    return norm


def _pixels_first(image: Image.Image) -> Tensor:
    """(3, height, width) of uint8, in one piece, so that stacking is quick."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def _augmented(
    shape: Preprocessing, settings: TrainConfig
) -> tuple[RandomCrop | ItemResize, list[Transform]]:
    """`train.resize`: the transforms of training photos, and of batches of them.

    Validation keeps the resize of serving, so it must skip batch transforms that change sizes."""
    of_batches, size = aug_transforms(), shape.size
    resamples = (Image.Resampling[shape.interpolation.upper()], Image.Resampling.NEAREST)
    if settings.resize == "random-crop":
        of_items: RandomCrop | ItemResize = RandomCrop(size, settings.crop, resamples[0])
    elif settings.resize == "presize":
        of_items = ItemResize(max(_PRESIZED, size), resamples=resamples)
        of_batches = aug_transforms(size=size, min_scale=settings.crop)
        for transform in of_batches:
            if isinstance(transform, RandomResizedCropGPU):
                transform.split_idx = 0
    else:
        of_items = ItemResize(size, method=settings.resize, resamples=resamples)
    return of_items, of_batches


def opened_to_crop(path: Path, size: int, settings: TrainConfig) -> Image.Image:
    """A stored photo with enough pixels for random crops: a large JPEG is decoded to 1/2, 1/4 or
    1/8, and what is still much larger is shrunk, so that later crops take less time. size: pixels,
    side of the network's input. Raises PhotoError."""
    by_area = settings.resize == "random-crop"
    least = pixels_for_crops(size, settings.crop) if by_area else max(_PRESIZED, size)
    image, _ = decoder.decode_with_size(stored(path), least)
    return shrunk(image, least)


def _opener(
    train: _Labelled,
    valid: _Labelled,
    config: Config,
    unreadable: Unreadable | None,
    kept: KeptPhotos,
) -> Callable[[int], TensorImage]:
    """A function that gives the pixels (3, size, size) of the photo of a number, counted through
    both splits: a random crop for training, the resize of serving for validation.

    For an unreadable training photo it takes the next of its class, so that batches stay full; an
    unreadable validation photo is left out of its batch."""
    items = [*train, *valid]
    bad = unreadable or Unreadable(len(items))
    of_class: dict[str, list[int]] = {}
    for number, (_, label) in enumerate(train):
        of_class.setdefault(label, []).append(number)

    shape = preprocessing(config.learn)
    crop, fit = _augmented(shape, config.train)[0].square, Fit(shape)

    def made(path: Path, learned: bool) -> Image.Image:
        if learned:
            return opened_to_crop(path, shape.size, config.train)
        return fit.square(decoder.decode(stored(path)))

    def candidates(number: int, learned: bool) -> Iterator[int]:
        yield number
        same = of_class[items[number][1]] if learned else []
        yield from (i for i in same if i > number)
        yield from same

    def opened(number: int) -> TensorImage:
        learned = number < len(train)
        for i in candidates(number, learned):
            path = items[i][0]
            if path not in bad.found:
                try:
                    image = kept.picture((learned, path), partial(made, path, learned))
                    return TensorImage(_pixels_first(crop(image) if learned else image))
                except PhotoError as exc:
                    bad.add(path, exc)
        raise SkipItemException

    return opened


def batches(
    paths: Sequence[Path],
    shape: Preprocessing,
    batch_size: int,
    unreadable: Unreadable | None = None,
) -> Iterator[Tensor]:
    """Normalised batches (n, 3, size, size) in order, decoded ahead by threads.

    A photo that cannot be read is left out and added to `unreadable`; without that, it raises
    DataError (STORED_DAMAGED)."""

    def opened(path: Path) -> _Pixels | PhotoError:
        try:
            return np.asarray(shape.square(decoder.decode(stored(path))))
        except PhotoError as exc:
            return exc

    ready: list[_Pixels] = []
    for path, pixels in ahead(opened, paths, room=_AHEAD * batch_size):
        if not isinstance(pixels, PhotoError):
            ready.append(pixels)
        elif unreadable is None:
            raise DataError(
                "STORED_DAMAGED",
                f"{path} cannot be used any more ({pixels}); to set it aside and fetch it again,"
                " run: bears run --retry",
            )
        else:
            unreadable.add(path, pixels)
        if len(ready) == batch_size:
            yield normalise(np.stack(ready), shape)
            ready = []
    if ready:
        yield normalise(np.stack(ready), shape)


def normalise(pixels: _Pixels, shape: Preprocessing) -> Tensor:
    """pixels (n, h, w, 3) of 0 to 255. Returns (n, 3, h, w)."""
    mean, std = (torch.tensor(part)[:, None, None] for part in (shape.mean, shape.std))
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div_(255)
    return x.sub_(mean).div_(std)

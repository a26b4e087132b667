"""Random crops of training photos that many threads can make at once, and that are always the same
for the same seed: each item has a random state of its own.

fastai's own transforms draw from Python's global random state and keep what they drew in
themselves, so threads would mix up both."""

from __future__ import annotations

import copy
import math
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fastai.vision.augment import Resize
from fastai.vision.core import PILImage
from fasttransform import Transform
from PIL import Image

_RATIOS = (3 / 4, 4 / 3)  # width / height of a crop, as in fastai and torchvision
_TRIES = 10
_LARGER = 1.5  # times the pixels that crops need: from there on shrinking pays
_item = threading.local()


@contextmanager
def random_state_of(key: int, number: int) -> Iterator[None]:
    """Within, in this thread, `item_random` is the random state of one item.

    key: of a pass over the photos; number: of the item in it."""
    before = getattr(_item, "state", None)
    _item.state = random.Random(f"{key}/{number}")
    try:
        yield
    finally:
        _item.state = before


def item_random() -> Any:
    """A `random.Random` for the item that this thread makes; elsewhere the module `random`."""
    return getattr(_item, "state", None) or random


def crop_box(width: int, height: int, least: float, state: Any) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a random crop: its area is uniform from `least` to 1 of the
    picture's, the logarithm of its ratio uniform from that of 3/4 to that of 4/3 (Szegedy and
    others, arXiv 1409.4842, as fastai and torchvision have it). Where none fits in ten tries, the
    largest centred one of an allowed ratio."""
    for _ in range(_TRIES):
        area = state.uniform(least, 1.0) * width * height
        ratio = math.exp(state.uniform(*map(math.log, _RATIOS)))
        across, down = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < across <= width and 0 < down <= height:
            left, top = state.randint(0, width - across), state.randint(0, height - down)
            return left, top, left + across, top + down
    narrow, wide = _RATIOS
    across = min(width, max(1, int(height * wide)))
    down = min(height, max(1, int(width / narrow)))
    left, top = (width - across) // 2, (height - down) // 2
    return left, top, left + across, top + down


class RandomCrop(Transform):  # type: ignore[misc]
    """A random crop, resized to size x size pixels. least: share of the area; see `crop_box`."""

    split_idx, order = 0, 1

    def __init__(self, size: int, least: float, resample: Image.Resampling) -> None:
        self.size, self.least, self.resample = size, least, resample

    def square(self, image: Image.Image) -> Image.Image:
        width, height = image.size
        box = crop_box(width, height, self.least, item_random())
        return image.resize((self.size, self.size), self.resample, box=box)

    def encodes(self, image: PILImage) -> PILImage:
        return type(image)(self.square(image))


class ItemResize(Resize):  # type: ignore[misc]
    """fastai's Resize of training photos; what is random follows from the item's random state."""

    split_idx = 0

    def __call__(self, item: Any, split_idx: int | None = None, **options: Any) -> Any:
        own = copy.copy(self)
        own.pcts = (item_random().random(), item_random().random())
        return Transform.__call__(own, item, split_idx=split_idx, **options)

    def square(self, image: Image.Image) -> Image.Image:
        made: Image.Image = self(PILImage(image.copy()), split_idx=0)  # it changes the type
        return made


def pixels_for_crops(size: int, least: float) -> int:
    """Pixels that suffice for the shorter side of a photo, so that its smallest square crop need
    not be enlarged to size x size. least: share of the area."""
    return math.ceil(size / math.sqrt(least))


def shrunk(image: Image.Image, shorter: int) -> Image.Image:
    """The picture with so many pixels on its shorter side, if that has at least half as many again;
    else the picture itself: shrinking costs as much as what it saves later."""
    least = min(image.size)
    if least < _LARGER * shorter:
        return image
    width, height = (max(1, round(side * shorter / least)) for side in image.size)
    return image.resize((width, height), Image.Resampling.BILINEAR)

"""What single units of a network answer to, and where: kernels.

A unit is one channel of a feature map: the same small detector at every place of the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bear_classifier.dataset.schema import Photo
from bear_classifier.images.preprocessing import Preprocessing
from bear_classifier.learn.data import batches
from bear_classifier.learn.frozen_forward import frozen
from bear_classifier.runtime.terminal import progress_bar
from bear_classifier.stats.arrays import Floats, Ints

_BATCH = 32
_CROP = 6  # places of the map, side of what is shown around the strongest
_SHUFFLES = 1000


def convolve(picture: Floats, kernel: Floats) -> Floats:
    """Each place becomes the sum of its surroundings, each times its number in the kernel.

    picture: (h, w); kernel: (k, k). Returns (h - k + 1, w - k + 1): only where all of it fits."""
    k = len(kernel)
    h, w = picture.shape[0] - k + 1, picture.shape[1] - k + 1
    total = np.zeros((h, w))
    for row in range(k):
        for column in range(k):
            total += kernel[row, column] * picture[row : row + h, column : column + w]
    return total


def padded(photo: Floats, kernel: int, stride: int, side: int) -> Floats:
    """A square photo (channels, n, n) with noughts around it, so that a kernel of this size gives
    `side` places; an odd one lies right and below, as TensorFlow's padding "same" has it."""
    missing = max((side - 1) * stride + kernel - photo.shape[-1], 0)
    ends = (missing // 2, missing - missing // 2)
    return np.pad(photo, ((0, 0), ends, ends))


def convolve_all(pictures: Floats, kernels: Floats, padding: int, stride: int) -> Floats:
    """One unit of a network's layer: a kernel for each channel, summed, at each `stride`-th place.

    pictures: (channels, h, w), with `padding` zeros around; kernels: (channels, k, k)."""
    wide = np.pad(pictures, ((0, 0), (padding, padding), (padding, padding)))
    whole = np.stack([convolve(p, k) for p, k in zip(wide, kernels, strict=True)])
    return np.asarray(whole.sum(axis=0)[::stride, ::stride])


@dataclass(frozen=True)
class Layer:
    """What comes out after the first `end` steps of the body: maps (units, side, side), whose
    places lie `stride` pixels apart in the picture."""

    end: int
    units: int
    side: int
    stride: int


def steps(body: nn.Module) -> list[nn.Module]:
    """The body's parts in their order, those of plain sequences taken out of them."""
    if not isinstance(body, nn.Sequential) or type(body).forward is not nn.Sequential.forward:
        return [body]
    return [step for child in body for step in steps(child)]


def layers(body: nn.Module, size: int) -> list[Layer]:
    """Of each resolution the last step, but for a ReLU: one that cuts off at 6, as MobileNet's,
    would leave many photos with the same largest activation. size: pixels, side of the pictures."""
    x, by_side = torch.zeros(1, 3, size, size), {}
    with torch.inference_mode():
        for number, step in enumerate(steps(body)):
            x = step(x)
            capped = isinstance(step, nn.ReLU | nn.ReLU6)
            if not capped and x.dim() == 4 and x.shape[2] == x.shape[3]:
                side = x.shape[2]
                by_side[side] = Layer(number + 1, x.shape[1], side, round(size / side))
    kept = list(by_side.values())
    return kept[len(kept) > 3 :]  # the first of many is hardly more than the filters themselves


class Peek(nn.Module):
    """Runs the body; returns the largest activation of each layer and unit, and its place."""

    def __init__(self, body: nn.Module, layers: Sequence[Layer]) -> None:
        super().__init__()
        self.steps = nn.ModuleList(steps(body)[: layers[-1].end])
        self.ends = {layer.end for layer in layers}

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """x: (n, 3, size, size). Returns for each layer (n, units) twice."""
        peaks: list[Tensor] = []
        for number, step in enumerate(self.steps):
            x = step(x)
            if number + 1 in self.ends:
                places = x.flatten(2)
                peaks += [places.amax(dim=2), places.argmax(dim=2)]
        return tuple(peaks)


@dataclass(frozen=True)
class Peaks:
    """Of n photos and the units of a layer, both (n, units): the largest activation, and the number
    of its place, counted row by row."""

    most: NDArray[np.float32]
    place: Ints


def peaks(
    body: nn.Module, layers: Sequence[Layer], files: Sequence[Path], shape: Preprocessing
) -> list[Peaks]:
    """Of each layer. Raises DataError (STORED_DAMAGED)."""
    names = [f"{kind}{number}" for number in range(len(layers)) for kind in ("most", "place")]
    run = frozen(Peek(body, layers), torch.zeros(1, 3, shape.size, shape.size), names, len(files))
    passes = batches(files, shape, _BATCH)
    bar = progress_bar(total=len(files), desc="activations", unit="photo", leave=False)
    parts = []
    with bar:
        for batch in passes:
            parts.append([part.numpy() for part in run(batch)])
            bar.update(len(batch))
    whole = [np.concatenate(rows) for rows in zip(*parts, strict=True)]
    pairs = zip(whole[::2], whole[1::2], strict=True)
    return [Peaks(most, place.astype(np.int64)) for most, place in pairs]


def one_per_group(photos: Sequence[Photo]) -> list[Photo]:
    """The first of each group of near-copies: else ten copies of a photo would be ten votes."""
    first: dict[str, Photo] = {}
    for photo in photos:
        first.setdefault(photo.family, photo)
    return list(first.values())


def top(most: NDArray[np.float32], k: int) -> Ints:
    """Rows (units, k) of the photos that excite each unit most, the strongest first."""
    return np.asarray(np.argsort(-most, axis=0, kind="stable")[:k].T)


def purity(labels: Ints) -> Floats:
    """Share (units,) of the commonest class. labels: (units, k), of the photos of each unit."""
    counts = (labels[:, :, None] == np.arange(labels.max() + 1)).sum(axis=1)
    return np.asarray(counts.max(axis=1) / labels.shape[1])


def shuffled_purity(labels: Ints, rows: Ints, seed: int) -> Floats:
    """Mean purities if the photos of all units were photos by lot: with shuffled labels.

    labels: (n,); rows: (units, k). Which units share photos stays as it is."""
    rng = np.random.default_rng(seed)
    return np.array([purity(rng.permutation(labels)[rows]).mean() for _ in range(_SHUFFLES)])


def readable(most: NDArray[np.float32], labels: Ints, k: int, n: int) -> Ints:
    """Ints (n,) of the units whose k strongest photos agree most in class, each class in turn;
    of equals first those whose 3 k agree more. most: (photos, units); labels: (photos,)."""
    near, wide = (labels[top(most, many)] for many in (k, 3 * k))
    order = np.lexsort((-purity(wide), -purity(near)))
    main = [int(np.bincount(row).argmax()) for row in near]
    queues = [[unit for unit in order if main[unit] == c] for c in range(int(labels.max()) + 1)]
    turns = [unit for row in zip_longest(*queues) for unit in row if unit is not None]
    return np.array(turns[:n])


def crop(picture: NDArray[np.uint8], layer: Layer, place: int) -> NDArray[np.uint8]:
    """What lies around a place of the layer's map: a square of six places, moved into the picture.

    picture: (size, size, 3)."""
    size = len(picture)
    wide = min(_CROP * layer.stride, size)
    row, column = divmod(place, layer.side)
    y, x = (int((i + 0.5) * size / layer.side - wide / 2) for i in (row, column))
    y, x = (min(max(start, 0), size - wide) for start in (y, x))
    return picture[y : y + wide, x : x + wide]

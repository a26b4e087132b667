"""What a network's input shows without a network: brightness, sharpness, broken-off transfers."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from bear_classifier.images.preprocessing import Preprocessing
from bear_classifier.stats.arrays import Floats32

# Of a broken-off transfer; grey levels, and shares of the picture's side (docs/LOG.md).
_ONE_COLOUR, _OTHER_COLOUR = 6, 12
_MIXED, _ABOVE, _GOES_ON = 0.03, 0.06, 0.6


def mean_grey(batch: Tensor, shape: Preprocessing) -> Floats32:
    """Mean grey level (0 to 255) of each picture. batch: (n, 3, size, size), normalised."""
    return _means(_grey(batch, shape))


def sharpness(batch: Tensor, shape: Preprocessing) -> Floats32:
    """Root mean square of the Laplacian of grey levels: low in a blurred or empty picture."""
    grey = _grey(batch, shape)
    middle = grey[:, 1:-1, 1:-1]
    around = grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:]
    return np.sqrt(_means((around - 4 * middle).square()))


def _means(planes: Tensor) -> Floats32:
    """Mean (n,) of each plane. By numpy: the last bits of torch's depend on its threads, and a row
    is to be the same bytes on every machine. planes: (n, h, w)."""
    return np.asarray(planes.numpy().mean((1, 2)))


def filled(batch: Tensor, shape: Preprocessing) -> Floats32:
    """Share (n,) of each picture, from its lower edge up, that is one colour across the whole width
    because its transfer broke off there: above it the picture goes on at once. 0 for drawings and
    products on a plain ground, which is seen above such a part as well, and for bars of films,
    which are at the upper edge too. batch: (n, 3, size, size), normalised."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (shape.mean, shape.std))
    pixels = 255 * (batch * std + mean)
    colour = pixels[:, :, -1].median(dim=2).values[:, :, None, None]
    other = (pixels - colour).abs().amax(1)  # (n, size, size), grey levels
    size = other.shape[1]
    plain = other.amax(2).flip(1) <= _ONE_COLOUR
    rows = plain.cumprod(1).sum(1)
    top = size - rows
    # Where it broke off, blocks are mixed: a few rows are passed over.
    first = top - _MIXED * size
    number = torch.arange(size)[None]
    above = (number < first[:, None]) & (number >= (first - _ABOVE * size)[:, None])
    differing = (other > _OTHER_COLOUR).float().mean(2)
    goes_on = (differing * above).sum(1) / above.sum(1).clamp(min=1) >= _GOES_ON
    bar = other[:, : max(1, size // 50)].amax((1, 2)) <= _ONE_COLOUR
    share = torch.where(goes_on & ~bar, rows / size, torch.zeros(()))
    return np.asarray(share.float().numpy())


def _grey(batch: Tensor, shape: Preprocessing) -> Tensor:
    """(n, size, size), 0 to 255, by the weights of ITU-R 601-2."""
    parts = 255 * torch.tensor([0.299, 0.587, 0.114])
    mean, std = map(torch.tensor, (shape.mean, shape.std))
    scale, shift = parts * std, float((parts * mean).sum())
    red, green, blue = (batch[:, n] * scale[n] for n in range(3))  # a convolution's bits vary, too
    return red + green + blue + shift

"""Perceptual hash: 400-bit difference hashes, by which near-copies are found."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

HASH_SIDE = 10  # cells
HASH_BYTES = 4 * HASH_SIDE**2 // 8
HASH_STEP = 4  # grey levels; less is noise, as on a white background


def dhash(image: Image.Image) -> str:
    """Difference hash: whether each cell is clearly brighter, or darker, than the one before it.

    Four planes of 10 x 10 bits: brighter and darker along rows, brighter and darker along columns.
    """
    grey, side = image.convert("L"), HASH_SIDE
    wide = grey.resize((side + 1, side), Image.Resampling.BILINEAR)
    tall = grey.resize((side, side + 1), Image.Resampling.BILINEAR)
    across = np.diff(np.asarray(wide, dtype=np.int16), axis=1)
    down = np.diff(np.asarray(tall, dtype=np.int16), axis=0)
    planes = (across > HASH_STEP, across < -HASH_STEP, down > HASH_STEP, down < -HASH_STEP)
    return np.packbits(np.stack(planes)).tobytes().hex()


def hash_bits(hashes: Sequence[str]) -> np.ndarray:
    """Hashes as rows (n, 50) of uint8; `np.bitwise_count(a ^ b).sum(-1)` is their distance."""
    packed = np.frombuffer(bytes.fromhex("".join(hashes)), dtype=np.uint8)
    return packed.reshape(len(hashes), HASH_BYTES)


def mirrored(packed: np.ndarray) -> np.ndarray:
    """packed: (n, 50) of uint8. The hashes that the pictures would have seen in a mirror."""
    planes = np.unpackbits(packed, axis=1).reshape(-1, 4, HASH_SIDE, HASH_SIDE)
    swapped = planes[:, (1, 0, 2, 3), :, ::-1]
    return np.packbits(swapped.reshape(packed.shape[0], 8 * HASH_BYTES), axis=1)

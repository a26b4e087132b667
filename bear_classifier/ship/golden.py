"""Golden pictures, drawn from a seed, for the self-test of a bundle."""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

_FORMATS = ("jpeg", "png", "webp", "jpeg", "bmp", "gif", "png", "jpeg")
_ORIENTATION = 0x0112  # EXIF tag


@lru_cache(maxsize=256)  # drawn for the bundle, its checks and int8: 10 MB
def draw_picture(number: int, least: int = 0) -> tuple[str, bytes]:
    """Picture `number` as (suffix, file): soft colours, shapes and grain, in all kinds of files.
    least: pixels of the shorter side, at least; the same picture enlarged."""
    rng = np.random.default_rng([number, 20260])
    width, height = (int(n) for n in rng.integers(120, 400, size=2))
    coarse = rng.integers(0, 256, size=(*rng.integers(2, 9, size=2), 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(2, 9))):
        x, y, r = rng.integers(0, width), rng.integers(0, height), rng.integers(8, 80)
        colour = tuple(int(c) for c in rng.integers(0, 256, size=3))
        box = (int(x - r), int(y - r), int(x + r), int(y + r * rng.uniform(0.4, 1.6)))
        (pen.ellipse if rng.random() < 0.6 else pen.rectangle)(box, fill=colour)
    grain = rng.normal(0, rng.uniform(0, 12), size=(height, width, 3))
    pixels = np.clip(np.asarray(image, dtype=np.float64) + grain, 0, 255).astype(np.uint8)
    image = Image.fromarray(pixels)
    if times := -(-least // min(image.size)) * (least > min(image.size)):
        image = image.resize((times * width, times * height), Image.Resampling.BICUBIC)
    suffix = _FORMATS[number % len(_FORMATS)]
    exif = Image.Exif()
    buffer = io.BytesIO()
    if suffix == "jpeg":
        exif[_ORIENTATION] = number % 8 + 1
        image.save(buffer, suffix, quality=88, exif=exif)
    else:
        image.convert("RGBA" if suffix == "png" and number % 2 else "RGB").save(buffer, suffix)
    return suffix, buffer.getvalue()

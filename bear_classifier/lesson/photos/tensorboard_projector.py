"""A cloud of photos as files for the projector of TensorBoard, which has maps of its own.

A tab-separated table of numbers without a head, one of words with a head, small copies of the
photos side by side, and a text that says which file is which.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bear_classifier.errors import PhotoError
from bear_classifier.images import decoder

SPRITE_PIXELS = 56  # pixels of a small copy
HEAD = ("label", "said", "side", "file")
CONFIG = "projector_config.pbtxt"  # the one name that TensorBoard looks for
_GREY = (204, 204, 204)  # stands for a photo that cannot be shown


def middle_square(path: Path) -> Image.Image | None:
    """The middle square of a photo; None if it is missing or broken."""
    try:
        return decoder.fit_square(
            decoder.decode_with_size(path, least=SPRITE_PIXELS)[0], SPRITE_PIXELS
        )
    except PhotoError:
        return None


def sprite(pictures: Sequence[Image.Image | None]) -> bytes:
    """A PNG of as many columns as rows, filled row by row, as the projector wants it."""
    columns = max(1, math.ceil(math.sqrt(len(pictures))))
    whole = Image.new("RGB", (columns * SPRITE_PIXELS, columns * SPRITE_PIXELS), "white")
    for number, picture in enumerate(pictures):
        row, column = divmod(number, columns)
        shown = picture or Image.new("RGB", (SPRITE_PIXELS, SPRITE_PIXELS), _GREY)
        whole.paste(shown, (column * SPRITE_PIXELS, row * SPRITE_PIXELS))
    return decoder.encode(whole, "png")


def tensors(features: NDArray[np.float32]) -> bytes:
    """A row for each photo (n, f): nine digits, from which single precision comes back exactly."""
    file = io.BytesIO()
    np.savetxt(file, features, fmt="%.9g", delimiter="\t")
    return file.getvalue()


def read_tensors(data: bytes) -> NDArray[np.float32]:
    """The numbers (n, f) of such a file."""
    return np.loadtxt(io.BytesIO(data), dtype=np.float32, delimiter="\t", ndmin=2)


def metadata(rows: Sequence[Sequence[str]]) -> bytes:
    """A head, then a row of words for each photo."""
    lines = ["\t".join(map(tsv_cell, row)) for row in (HEAD, *rows)]
    return ("\n".join(lines) + "\n").encode()


def read_metadata(data: bytes) -> list[list[str]]:
    """The rows of such a file without its head."""
    return [line.split("\t") for line in data.decode().removesuffix("\n").split("\n")[1:]]


def tsv_cell(text: str) -> str:
    """Text of unknown origin, without tabs, line ends and signs that are not seen."""
    return "".join(sign if sign.isprintable() else " " for sign in text)


def projector_config(prefix: str) -> bytes:
    """Which file is which. prefix: of their names."""
    return (
        "embeddings {\n"
        '  tensor_name: "photos"\n'
        f'  tensor_path: "{prefix}tensors.tsv"\n'
        f'  metadata_path: "{prefix}metadata.tsv"\n'
        "  sprite {\n"
        f'    image_path: "{prefix}sprite.png"\n'
        f"    single_image_dim: {SPRITE_PIXELS}\n"
        f"    single_image_dim: {SPRITE_PIXELS}\n"
        "  }\n"
        "}\n"
    ).encode()

"""How a picture becomes the input of a network: size, crop, interpolation, normalisation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from bear_classifier.images import decoder

Channels = tuple[float, float, float]  # red, green, blue, of 0 to 1
# Of most weights: torchvision.transforms._presets.ImageClassification, timm.data.constants
IMAGENET_MEAN: Channels = (0.485, 0.456, 0.406)
IMAGENET_STD: Channels = (0.229, 0.224, 0.225)
USUAL_SIZE = 224  # pixels
INTERPOLATIONS = ("bilinear", "bicubic")


@dataclass(frozen=True)
class Preprocessing:
    """size: pixels, side of the square that the network sees; mean, std: that its channels are
    normalised with; crop: share of the shorter side that the centre square keeps, 1.0 for all of
    it (timm's crop_pct, torchvision's crop_size / resize_size); interpolation: "bilinear" or
    "bicubic", of the resize to that square."""

    size: int
    mean: Channels = IMAGENET_MEAN
    std: Channels = IMAGENET_STD
    crop: float = 1.0
    interpolation: str = "bilinear"

    def square(self, image: Image.Image) -> Image.Image:
        """The centre square of a decoded picture at (size, size)."""
        return decoder.fit_square(image, self.size, self.crop, self.interpolation)

    @property
    def is_usual(self) -> bool:
        """Whether all but the size is as in versions that knew nothing else."""
        return self == Preprocessing(self.size)


def of_manifest(table: Mapping[str, Any]) -> Preprocessing:
    """From `preprocessing` of a bundle.json. Bundles of earlier versions say neither crop nor
    interpolation: all of the square, bilinear. Raises KeyError, TypeError, ValueError."""
    (red, green, blue), (r, g, b) = (map(float, table[key]) for key in ("mean", "std"))
    crop, interpolation = float(table.get("crop", 1.0)), str(table.get("interpolation", "bilinear"))
    return Preprocessing(int(table["size"]), (red, green, blue), (r, g, b), crop, interpolation)


def of_bundle(folder: Path) -> Preprocessing | None:
    """That of a bundle, which is not verified; None where there is no bundle. Raises OSError,
    KeyError, TypeError, ValueError."""
    path = folder / "bundle.json"
    if not path.is_file():
        return None
    return of_manifest(json.loads(path.read_text(encoding="utf-8"))["preprocessing"])

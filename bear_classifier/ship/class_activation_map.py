"""Class activation maps (Zhou et al., arXiv 1512.04150): evidence of each place for each class.

The head is pool, BatchNorm, dropout and one linear layer, all linear after the pool. So the
evidence is exact: its mean over all places, plus the layer's bias, is the class's logit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors import SafetensorError
from safetensors.numpy import load as from_safetensors

from bear_classifier.errors import ModelError
from bear_classifier.runtime.npz import Floats32
from bear_classifier.ship.bundle import Bundle, part
from bear_classifier.ship.predict import Model

_EPS = 1e-5  # of torch's BatchNorm
_FOR, _AGAINST = (214, 84, 0), (0, 92, 184)  # orange and blue: distinct for the colour-blind, too
_DEEPEST = 0.75  # of the colour over the photo, which stays to be seen below it


@dataclass(frozen=True)
class CamHead:
    """norm: mean, scale and shift (f,) of the standardised features; weight: (classes, f); bias:
    (classes,)."""

    mean: Floats32
    scale: Floats32
    shift: Floats32
    weight: Floats32
    bias: Floats32


@dataclass(frozen=True)
class Explained:
    """photo: the square that the model saw; maps: the photo under the evidence for each requested
    class; strongest: logits of the deepest colour, the same in all maps; cells: the side of the
    feature map; logits: (classes,); pooled: (f,)."""

    photo: Image.Image
    maps: list[Image.Image]
    strongest: float
    cells: int
    logits: Floats32
    pooled: Floats32


def cam_head(bundle: Bundle) -> CamHead:
    """The head of the bundle's checked weights. Raises ModelError (MODEL_INCOMPLETE, MODEL_CORRUPT,
    BAD_MODEL)."""
    name = "weights.safetensors"
    data = part(bundle, name)
    try:
        values = {k: v for k, v in from_safetensors(data).items() if k.startswith("head.")}
        (norm,) = (k.removesuffix("running_mean") for k in values if k.endswith("running_mean"))
        (linear,) = (k for k, v in values.items() if k.endswith(".weight") and v.ndim == 2)
        weight, bias = values[linear], values[linear.removesuffix("weight") + "bias"]
        scale = values[f"{norm}weight"] / np.sqrt(values[f"{norm}running_var"] + _EPS)
        head = CamHead(values[f"{norm}running_mean"], scale, values[f"{norm}bias"], weight, bias)
    except (SafetensorError, ValueError, KeyError) as exc:
        raise ModelError("BAD_MODEL", f"{name} holds no head of one linear layer ({exc})") from exc
    if weight.shape != (len(bundle.labels), len(head.mean)):
        raise ModelError("BAD_MODEL", f"{name} is of other classes than bundle.json")
    return head


def evidence(head: CamHead, map_: Floats32) -> Floats32:
    """Logits (classes, h, w) that each place of a feature map (f, h, w) gives to each class; 0 is
    the evidence of the average training photo."""
    standard = (map_ - head.mean[:, None, None]) * head.scale[:, None, None]
    return np.asarray(np.tensordot(head.weight, standard + head.shift[:, None, None], axes=1))


def against_others(logits: Floats32) -> Floats32:
    """Evidence minus its mean over the classes, which changes no probability."""
    return np.asarray(logits - logits.mean(axis=0))


def overlay(photo: Image.Image, evidence_map: Floats32, strongest: float) -> Image.Image:
    """The photo, pale and grey, under the evidence (h, w) for one class: orange for it, blue
    against it. strongest: the evidence of the deepest colour; a map of noughts shows no colour."""
    grey = np.asarray(photo.convert("L"), dtype=np.float32)[:, :, None]
    plain = np.repeat(60 + grey * 0.72, 3, axis=2)
    smooth = Image.fromarray(np.asarray(evidence_map, dtype=np.float32))
    wide = np.asarray(smooth.resize(photo.size, Image.Resampling.BILINEAR))[:, :, None]
    depth = np.clip(np.abs(wide) / max(strongest, 1e-9), 0, 1) * _DEEPEST
    colour = np.where(wide > 0, _FOR, _AGAINST)
    mixed = plain * (1 - depth) + colour * depth
    return Image.fromarray(np.clip(mixed, 0, 255).astype(np.uint8))


def explain(
    model: Model, weights: CamHead, source: bytes | Path, classes: Sequence[int]
) -> Explained:
    """The evidence in one photo for each of these class numbers. Raises PhotoError."""
    photo = model.square(source)
    logits, pooled, map_ = model.of_square(np.asarray(photo))
    relative = against_others(evidence(weights, map_))[list(classes)]
    strongest = float(np.abs(relative).max())
    maps = [overlay(photo, one, strongest) for one in relative]
    return Explained(photo, maps, strongest, int(map_.shape[-1]), logits, pooled)

"""Attribution maps in three ways: CAM, occlusion, gradients."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from bear_classifier.learn.backbone import Classifier
from bear_classifier.learn.frozen_forward import frozen
from bear_classifier.lesson.page import Sheet
from bear_classifier.lesson.photos import mosaics as plot
from bear_classifier.runtime.terminal import progress_bar
from bear_classifier.ship.class_activation_map import CamHead, evidence, overlay
from bear_classifier.stats.arrays import Floats
from bear_classifier.stats.intervals import bootstrap_mean

Mask = NDArray[np.bool_]
SALIENCY_SEED = 7
RANDOM_QUARTERS, DRAWN = 4, 6  # random quarters of each photo; photos that are shown
FEW, STEPS = 1, 400  # photos for integrated gradients; steps: of 50 the sum is off by 13 %
_WIDE = 2  # places of the map, side of the square that covers one


def network_head(network: Classifier) -> CamHead:
    """The numbers after the pool, as `ship.class_activation_map` wants them."""
    norm, linear = network.head[2], network.head[-1]
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    parts = (norm.running_mean, scale, norm.bias, linear.weight, linear.bias)
    return CamHead(*(part.detach().numpy() for part in parts))


def windows(size: int, cells: int) -> Mask:
    """Squares (cells * cells, size, size) around the middles of a map's places, row by row, so wide
    as two places: neighbours overlap, so that no edge of a square is special."""
    middles = (np.arange(cells) + 0.5) * size / cells
    near = np.abs(np.arange(size) + 0.5 - middles[:, None]) < _WIDE * size / cells / 2
    both = near[:, None, :, None] & near[None, :, None, :]
    return np.asarray(both.reshape(cells * cells, size, size))


def covered(x: Tensor, masks: Mask) -> Tensor:
    """The picture (3, size, size) with its own mean colour where each mask (n, size, size) is set:
    (n, 3, size, size)."""
    mean = x.mean(dim=(1, 2))[:, None, None]
    return torch.where(torch.from_numpy(masks)[:, None], mean, x)


def logit_drops(run: Callable[[Tensor], Tensor], x: Tensor, target: int, masks: Mask) -> Floats:
    """How far covering each mask (n, size, size) lowers the logit of class `target`: (n,).

    run: from pictures to logits (n, classes); x: (3, size, size)."""
    before = run(x[None])[0, target]
    return np.asarray((before - run(covered(x, masks))[:, target]).numpy(), dtype=np.float64)


def highest(map_: NDArray[Any]) -> Mask:
    """The quarter of the places (cells, cells) where the map is highest."""
    order = np.argsort(-map_.ravel(), kind="stable")
    mask = np.zeros(map_.size, dtype=bool)
    mask[order[: max(1, round(map_.size / 4))]] = True
    return mask.reshape(map_.shape)


def shifted_mask(mask: Mask, rng: np.random.Generator) -> Mask:
    """The same shape at a random place; what leaves on one side comes in on the other."""
    shift = int(rng.integers(1, mask.size))
    return np.roll(mask, divmod(shift, mask.shape[1]), axis=(0, 1))


def grown(mask: Mask, size: int) -> Mask:
    """A mask of places (cells, cells) as one of pixels (size, size)."""
    at = np.arange(size) * len(mask) // size
    return mask[at][:, at]


def rank_correlation(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Spearman's: the correlation of ranks, 1 where both maps put all places in the same order."""
    first, second = (np.argsort(np.argsort(map_.ravel())) for map_ in (a, b))
    return float(np.corrcoef(first, second)[0, 1])


def partners(targets: NDArray[np.int64]) -> list[int]:
    """For each of n photos the next of the same answer, or the next at all where there is none."""
    n = len(targets)
    turns = [[(i + k) % n for k in range(1, n)] for i in range(n)]
    return [
        next((j for j in turn if targets[j] == targets[i]), turn[0]) for i, turn in enumerate(turns)
    ]


@dataclass(frozen=True)
class Predicted:
    """Of n photos: targets (n,), the classes that the network says; logits (n, classes); spoken
    (n, classes, cells, cells), the evidence of each place for each class."""

    targets: NDArray[np.int64]
    logits: Floats
    spoken: Floats

    @property
    def maps(self) -> Floats:
        """(n, cells, cells), for the class that it says."""
        return self.spoken[np.arange(len(self.targets)), self.targets]


def predict(model: Classifier, x: Tensor) -> Predicted:
    """x: (n, 3, size, size)."""
    with torch.inference_mode():
        logits, _, maps = model.outputs(x)
    weights = network_head(model)
    spoken = np.stack([evidence(weights, map_) for map_ in maps.numpy()])
    return Predicted(
        logits.argmax(dim=1).numpy(), logits.double().numpy(), spoken.astype(np.float64)
    )


@dataclass(frozen=True)
class Occluded:
    """Falls of the logit of n photos: drops (n, cells, cells), one place covered; best (n,), the
    highest quarter of the map covered; random (n,), the mean of random quarters."""

    drops: Floats
    best: Floats
    random: Floats


def occlude(run: Callable[[Tensor], Tensor], x: Tensor, predicted: Predicted) -> Occluded:
    """Each photo (n, 3, size, size) covered at each place, and at quarters."""
    size, cells = x.shape[-1], predicted.maps.shape[-1]
    squares, rng, rows = windows(size, cells), np.random.default_rng(SALIENCY_SEED), []
    photos = zip(x, predicted.targets.tolist(), predicted.maps, strict=True)
    bar = progress_bar(photos, "covering", len(x), unit="photo", leave=False)
    for photo, target, map_ in bar:
        best = highest(map_)
        quarters = [best, *(shifted_mask(best, rng) for _ in range(RANDOM_QUARTERS))]
        masks = np.concatenate([squares, np.stack([grown(mask, size) for mask in quarters])])
        rows.append(logit_drops(run, photo, target, masks))
    drops, n = np.stack(rows), len(squares)
    return Occluded(drops[:, :n].reshape(-1, cells, cells), drops[:, n], drops[:, n + 1 :].mean(1))


def section(
    sheet: Sheet, model: Classifier, names: Sequence[str], x: Tensor,
    pixels: Sequence[NDArray[np.uint8]],
) -> None:  # fmt: skip
    """x: (n, 3, size, size), photos as the network takes them; pixels: of each (size, size, 3)."""
    predicted = predict(model, x)
    cells, size = predicted.maps.shape[-1], x.shape[-1]
    _exact(sheet, model, predicted)
    run = frozen(model, torch.zeros(1, 3, size, size), ["logits"], len(x) * cells * cells)
    occluded = occlude(lambda batch: run(batch)[0], x, predicted)
    sheet.say("covering", cells=cells, wide=_WIDE, x=x)
    sheet.code(covered, logit_drops, highest, shifted_mask)
    _shown(sheet, names, pixels, predicted, occluded)
    _checked(sheet, names, predicted, occluded)
    _gradients(sheet, model, predicted, x, pixels)


def _exact(sheet: Sheet, model: Classifier, predicted: Predicted) -> None:
    sheet.say("evidence")
    sheet.code(evidence)
    sheet.say("evidence_formula")
    sums = predicted.spoken.mean(axis=(2, 3)) + network_head(model).bias
    off = float(np.abs(sums - predicted.logits).max())
    spread = float(np.ptp(predicted.spoken, axis=(2, 3)).mean())
    sheet.claim("evidence_sums", off < 1e-3, off=off, predicted=predicted, spread=spread)


def _shown(
    sheet: Sheet, names: Sequence[str], pixels: Sequence[NDArray[np.uint8]], predicted: Predicted,
    occluded: Occluded,
) -> None:  # fmt: skip
    def over(maps: Floats) -> list[NDArray[np.uint8]]:
        pairs = zip(pixels[:DRAWN], maps.astype(np.float32), strict=False)
        return [
            np.asarray(overlay(Image.fromarray(p), m, float(np.abs(m).max()))) for p, m in pairs
        ]

    rows = [list(pixels[:DRAWN]), over(predicted.maps), over(occluded.drops)]
    captions = [f"says {names[target]}" for target in predicted.targets[:DRAWN]]
    sheet.picture(
        "places",
        plot.maps(rows, ["the photo", "evidence\nof places", "fall when\ncovered"], captions),
    )


def _checked(sheet: Sheet, names: Sequence[str], predicted: Predicted, occluded: Occluded) -> None:
    pairs = list(zip(predicted.maps, occluded.drops, strict=True))
    own = np.array([rank_correlation(map_, fall) for map_, fall in pairs])
    others = zip(predicted.maps[partners(predicted.targets)], occluded.drops, strict=True)
    other = np.array([rank_correlation(map_, fall) for map_, fall in others])
    sheet.picture("agreement", plot.agreement(own, other, occluded.best, occluded.random))
    by_class = [(name, own[predicted.targets == number]) for number, name in enumerate(names)]
    by = ", ".join(f"{name} {some.mean():.2f}" for name, some in by_class if len(some))
    mean, low, high = bootstrap_mean(own, SALIENCY_SEED)
    sheet.claim("maps_agree", low > 0, mean=mean, low=low, high=high, own=own, by=by)
    sheet.say("reasons_to_doubt")
    mean, low, high = bootstrap_mean(own - other, SALIENCY_SEED)
    sheet.claim("about_this_photo", low > 0, other=other, mean=mean, low=low, high=high)
    mean, low, high = bootstrap_mean(occluded.best - occluded.random, SALIENCY_SEED)
    more = (occluded.best > occluded.random).sum()
    sheet.claim(
        "best_quarter", low > 0, occluded=occluded, more=more, mean=mean, low=low, high=high
    )


def integrated(model: Classifier, x: Tensor, targets: Tensor) -> Tensor:
    """What each pixel adds to the logit on the straight way from the mean colour to the photo:
    integrated gradients (Sundararajan et al., arXiv 1703.01365), by Captum. x: (n, 3, h, w)."""
    method = importlib.import_module("captum.attr").IntegratedGradients(model)
    parts: Tensor = method.attribute(
        x, baselines=torch.zeros_like(x), target=targets, n_steps=STEPS, internal_batch_size=16
    )
    return parts.detach()


def _gradients(
    sheet: Sheet,
    model: Classifier,
    predicted: Predicted,
    x: Tensor,
    pixels: Sequence[NDArray[np.uint8]],
) -> None:
    captum = importlib.util.find_spec("captum") is not None
    sheet.say("gradients_intro", captum=captum, steps=STEPS)
    if not captum:
        return
    sheet.code(integrated)
    photos, targets = x[:FEW], torch.from_numpy(predicted.targets[:FEW])
    parts = integrated(model, photos, targets)
    pooled = torch.nn.functional.avg_pool2d(parts.sum(dim=1, keepdim=True), 4)[0, 0].numpy()
    strongest = float(np.quantile(np.abs(pooled), 0.99))
    over = overlay(Image.fromarray(pixels[0]), pooled, strongest)
    shown = plot.maps([[pixels[0], np.asarray(over)]], [""], ["the photo", "its parts"])
    sheet.picture("gradients", shown)
    with torch.inference_mode():
        both = model(torch.cat([photos, torch.zeros_like(photos[:1])]))
    rise = both[:-1].gather(1, targets[:, None])[:, 0] - both[-1][targets]
    off = float(((parts.sum(dim=(1, 2, 3)) - rise).abs() / rise.abs().clamp(min=1)).max())
    sheet.claim("complete", off < 0.05, off=off, rises=", ".join(f"{float(v):.2f}" for v in rise))

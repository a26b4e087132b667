"""Features: kernels, units and their strongest inputs, attribution maps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bear_classifier.dataset.schema import Photo
from bear_classifier.images import decoder
from bear_classifier.images.preprocessing import Preprocessing
from bear_classifier.learn.backbone import Classifier
from bear_classifier.learn.data import normalise
from bear_classifier.learn.weights import preprocessing
from bear_classifier.lesson.page import Page, Sheet
from bear_classifier.lesson.photos import activations as kernels
from bear_classifier.lesson.photos import mosaics, saliency
from bear_classifier.lesson.photos.activations import Layer, Peaks
from bear_classifier.lesson.trained_model import Subject, evaluation_network
from bear_classifier.stats.arrays import Floats, Ints

FEATURES_SEED = 7
TOP, SHOWN = 6, 4  # photos of a unit; units of a picture
UNITS, RANDOM_UNITS = 48, 1000  # units chosen and drawn at random: fewer hide the difference
PHOTOS_PER_CLASS = 24  # photos of each class that were not learned from
COVERED = 36  # photos of which each place is covered
KERNELS = {
    "blur": np.full((3, 3), 1 / 9),
    "edges": np.array([[-1.0, -1, -1], [-1, 8, -1], [-1, -1, -1]]),
    "sharpen": np.array([[0.0, -1, 0], [-1, 5, -1], [0, -1, 0]]),
}


@dataclass(frozen=True)
class PhotoSet:
    """Photos, no two of them near-copies, in random order. labels: (n,); pixels: a function from
    a row to (size, size, 3); unseen: whether the network learned from none of them."""

    photos: list[Photo]
    labels: Ints
    pixels: Callable[[int], NDArray[np.uint8]]
    unseen: bool


def photo_set(subject: Subject) -> PhotoSet:
    """Photos of validation and test; all, where these are fewer than ENOUGH of a class."""
    every, names = kernels.one_per_group(subject.catalog.photos("ok")), subject.config.labels
    others = [photo for photo in every if photo.split != "train"]
    enough = min(sum(photo.label == name for photo in others) for name in names) >= PHOTOS_PER_CLASS
    some = others if enough else every
    used = [some[i] for i in np.random.default_rng(FEATURES_SEED).permutation(len(some))]
    labels = np.array([names.index(photo.label) for photo in used])

    shape = preprocessing(subject.config.learn)

    def pixels(row: int) -> NDArray[np.uint8]:
        return np.asarray(shape.square(decoder.decode(subject.catalog.file(used[row]))))

    return PhotoSet(used, labels, pixels, enough)


def page(subject: Subject) -> Page:
    sheet = Sheet("features")
    model, pool = evaluation_network(subject), photo_set(subject)
    sheet.say("intro")
    _kernels(sheet, pool.pixels(0))
    shape = preprocessing(subject.config.learn)
    _filters(sheet, model, pool.pixels(0), shape)
    _units(sheet, subject, model, pool)
    pixels = [pool.pixels(row) for row in _in_turn(pool.labels)]
    x = normalise(np.stack(pixels), shape)
    saliency.section(sheet, model, subject.config.labels, x, pixels)
    return sheet.page()


def _in_turn(labels: Ints) -> list[int]:
    """COVERED rows, as many of each class, the classes in turn."""
    groups = [np.flatnonzero(labels == c).tolist() for c in np.unique(labels)]
    return [row for turn in zip(*groups, strict=False) for row in turn][:COVERED]


def _kernels(sheet: Sheet, pixels: NDArray[np.uint8]) -> None:
    sheet.say("by_hand")
    sheet.code(kernels.convolve)
    grey = pixels.astype(float).mean(axis=2)
    convolved = {name: kernels.convolve(grey, kernel) for name, kernel in KERNELS.items()}
    sheet.picture("kernels", mosaics.kernels(grey, convolved, KERNELS))
    flat = np.full((9, 9), 130.0)
    edge, sharp = (kernels.convolve(flat, KERNELS[name]) for name in ("edges", "sharpen"))
    exact = np.allclose(edge, 0, atol=1e-9) and np.allclose(sharp, 130, rtol=0, atol=1e-9)
    sheet.claim("edge_and_sharpen", exact, edge=edge, sharp=sharp)
    blurred = kernels.convolve(np.pad(grey, 1, mode="wrap"), KERNELS["blur"])
    softer = abs(blurred.mean() - grey.mean()) < 1e-9 and blurred.std() < grey.std()
    sheet.claim("blur", softer, grey=grey, blurred=blurred)


def _filters(
    sheet: Sheet, model: Classifier, pixels: NDArray[np.uint8], shape: Preprocessing
) -> None:
    layer = next(m for m in model.body.modules() if isinstance(m, nn.Conv2d))
    weight = layer.weight.detach().double().numpy()
    total = np.abs(weight).sum(axis=(1, 2, 3))
    used = total > 1e-3 * total.max()
    even = used & (np.abs(weight.sum(axis=(1, 2, 3))) < 0.1 * total)
    sheet.say("found_kernels", weight=weight, even=int(even.sum()), unused=int((~used).sum()))
    sheet.code(kernels.convolve_all)
    sheet.picture("filters", mosaics.filters(weight))
    x = normalise(pixels[None].copy(), shape)  # torch wants arrays that one may write to
    with torch.inference_mode():
        theirs = layer(x)[0].double().numpy()
    bias = 0.0 if layer.bias is None else layer.bias.detach().double().numpy()[:, None, None]
    padding, stride = int(layer.padding[0]), int(layer.stride[0])
    photo = x[0].double().numpy()
    if not padding:
        photo = kernels.padded(photo, weight.shape[-1], stride, theirs.shape[-1])
    each = (kernels.convolve_all(photo, kernel, padding, stride) for kernel in weight)
    ours = np.stack(list(each)) + bias
    off = float(np.abs(ours - theirs).max())
    sheet.claim("same_as_loop", off < 1e-4, off=off, largest=np.abs(theirs).max())


@dataclass(frozen=True)
class Agreement:
    """Of a layer. chosen, random: numbers of units; purities: (units,) of the TOP photos of all;
    main: (units,) their commonest class; chance: (rounds,) means of `random` with shuffled
    classes."""

    layer: Layer
    chosen: Ints
    random: Ints
    purities: Floats
    main: Ints
    chance: Floats

    def mean(self, units: Ints) -> float:
        return float(self.purities[units].mean())

    @property
    def band(self) -> tuple[float, float]:
        low, high = np.quantile(self.chance, [0.025, 0.975])
        return float(low), float(high)


def _units(sheet: Sheet, subject: Subject, model: Classifier, pool: PhotoSet) -> None:
    shape = preprocessing(subject.config.learn)
    layers = kernels.layers(model.body, shape.size)
    files = [subject.catalog.file(photo) for photo in pool.photos]
    layer_peaks = kernels.peaks(model.body, layers, files, shape)
    half = len(files) // 2  # their order is random
    sheet.say("units_intro", files=files, unseen=pool.unseen, half=half)
    sheet.code(kernels.Peek, kernels.top, kernels.purity, kernels.readable)
    rows = []
    for layer, peak in zip(layers, layer_peaks, strict=True):
        rows.append(_agreement(layer, peak, pool.labels, half))
        _show(sheet, subject.config.labels, pool, peak, rows[-1], half)
    _purities(sheet, rows, subject.config.labels)


def _agreement(layer: Layer, peak: Peaks, labels: Ints, half: int) -> Agreement:
    chosen = kernels.readable(peak.most[:half], labels[:half], TOP, UNITS)
    rng = np.random.default_rng([FEATURES_SEED, layer.end])
    random = rng.permutation(layer.units)[:RANDOM_UNITS]
    rows = kernels.top(peak.most[half:], TOP)
    seen = labels[half:][rows]
    main = np.array([np.bincount(row).argmax() for row in seen])
    chance = kernels.shuffled_purity(labels[half:], rows[random], FEATURES_SEED)
    return Agreement(layer, chosen, random, kernels.purity(seen), main, chance)


def _show(
    sheet: Sheet, names: list[str], pool: PhotoSet, peak: Peaks, row: Agreement, half: int
) -> None:
    """Crops around the strongest places, a unit a row."""
    layer, best = row.layer, kernels.top(peak.most[half:], TOP) + half

    def crops(unit: int) -> list[mosaics.Tile]:
        return [
            (kernels.crop(pool.pixels(i), layer, int(peak.place[i, unit])),
             mosaics.colour_of(int(pool.labels[i])))
            for i in best[unit].tolist()
        ]  # fmt: skip

    sides = {
        name: ([crops(unit) for unit in units[:SHOWN].tolist()],
               [f"unit {unit}\n{row.purities[unit]:.0%}" for unit in units[:SHOWN].tolist()])
        for name, units in (("Chosen units", row.chosen), ("Random units", row.random))
    }  # fmt: skip
    sheet.picture("units", mosaics.tops(sides, names), f"-{layer.side}", layer=layer, top=TOP)


def _purities(sheet: Sheet, rows: list[Agreement], labels: list[str]) -> None:
    layers = {f"{row.layer.side} x {row.layer.side} places": row for row in rows}
    chosen, random = ([r.mean(r.chosen) for r in rows], [r.mean(r.random) for r in rows])
    bands = [row.band for row in rows]
    sheet.picture("purity", mosaics.purities([*layers], chosen, random, bands))
    sheet.say("purity_table", layers=layers, labels=labels)
    sheet.say("agreement_limits")
    first, last = rows[0], rows[-1]
    sheet.claim("last_layer_agrees", last.mean(last.random) > last.band[1], last=last)
    rng = np.random.default_rng(FEATURES_SEED)
    draws = [last.purities[rng.permutation(len(last.purities))[:UNITS]].mean() for _ in range(1000)]
    limit = float(np.quantile(draws, 0.975))
    sheet.claim("chosen_agree", last.mean(last.chosen) > limit, last=last, limit=limit)
    if len(rows) > 1:
        gain, low, high = _gain(last.purities[last.random], first.purities[first.random])
        word = "yes" if low > 0 else "no, it lowers it" if high < 0 else "not significantly"
        sheet.say("depth", word=word, names=[*layers], gain=gain, low=low, high=high)


def _gain(late: Floats, early: Floats) -> tuple[float, float, float]:
    """Difference of the means, and the ends of its bootstrap interval over units."""
    rng = np.random.default_rng(FEATURES_SEED)
    means = [v[rng.integers(0, len(v), (2000, len(v)))].mean(axis=1) for v in (late, early)]
    low, high = np.quantile(means[0] - means[1], (0.025, 0.975))
    return float(late.mean() - early.mean()), float(low), float(high)

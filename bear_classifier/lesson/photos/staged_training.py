"""The last stage of a network and a head, and what learns of them, on two kinds of photos: many by
day, as a search finds them, and few of one's own, taken at night."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.optim import Optimizer

from bear_classifier.dataset.schema import Photo
from bear_classifier.errors import ConfigError, DataError
from bear_classifier.images import decoder
from bear_classifier.learn import probe
from bear_classifier.learn.backbone import Classifier
from bear_classifier.learn.data import normalise
from bear_classifier.learn.frozen_forward import frozen
from bear_classifier.learn.mixed_precision import fast_precision
from bear_classifier.learn.trainable_part import end_of, first_of, last_stage
from bear_classifier.learn.weights import preprocessing
from bear_classifier.lesson.photos.mosaics import mosaic
from bear_classifier.lesson.photos.short_trainings import balanced_sample
from bear_classifier.lesson.trained_model import LabelledFeatures, Subject
from bear_classifier.runtime.prefetch import ahead
from bear_classifier.stats.arrays import Floats

MOST, ASKED = 200, 140  # photos: by day to learn from, held back
BATCH, SEED = 16, 42
_SHOWN = 6  # photos in the picture
MOMENTUM, DECAY = 0.9, 1e-2
Rates = tuple[float, float]  # of the head, of the body
Groups = list[dict[str, Any]]  # of parameters, each with its rate


@dataclass(frozen=True)
class Photos:
    """model: the last stage, untuned, and a head. by_day: to learn from; at_night: to draw a few
    from; held_out, held_out_by_day: others, at night and by day; picture: a PNG of some."""

    model: Classifier
    by_day: LabelledFeatures
    at_night: LabelledFeatures
    held_out: LabelledFeatures
    held_out_by_day: LabelledFeatures
    picture: bytes


def at_night(image: Image.Image, seed: int) -> Image.Image:
    """As a camera in the forest sees it: grey, grainy, lit by its own lamp."""
    pixels = np.asarray(image.convert("L"), dtype=np.float32) / 255
    height, width = pixels.shape
    y, x = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    lamp = np.exp(-(x * x + y * y))
    grain = np.random.default_rng(seed).normal(0, 0.02, pixels.shape)
    dark = 255 * np.clip(0.9 * pixels * lamp + 0.04 + grain, 0, 1)
    return Image.fromarray(dark.astype(np.uint8)).convert("RGB")


def photos_of(subject: Subject, each: int) -> Photos:
    """Near-copies are all by day, all at night or all held back. each: photos of a class that are
    needed at night; twice as many are there to draw from.

    Raises ConfigError (BAD_ARCH), DataError (TOO_FEW)."""
    config, network = subject.config, probe.probe_network(subject.config, None).to("cpu")
    cut = last_stage(network.body, preprocessing(config.learn).size)
    if not cut:
        raise ConfigError(
            "BAD_ARCH",
            f"{config.learn.arch} has no last stage of its own, which this page trains; such as"
            " resnet34 and mobilenet_v2 have",
        )
    ready = [photo for photo in subject.catalog.photos("ok") if photo.split]
    night, day = parted([p for p in ready if p.split == "train"], 2 * each)
    held = balanced_sample([photo for photo in ready if photo.split != "train"], ASKED)
    day = balanced_sample(day, MOST)
    for label in config.labels:
        counts = [sum(p.label == label for p in part) for part in (day, night, held)]
        if counts[0] < each or counts[1] < each or not counts[2]:
            raise DataError(
                "TOO_FEW",
                f"of {label} there are {counts[0]} photos by day, {counts[1]} at night and"
                f" {counts[2]} held back; {each}, {each} and 1 are needed: add photos and run bears"
                " split",
            )
    first = first_of(network, cut)

    def seen(chosen: Sequence[Photo], dark: bool) -> LabelledFeatures:
        return _seen(subject, first, chosen, dark)

    return Photos(
        end_of(network, cut), seen(day, False), seen(night, True), seen(held, True),
        seen(held, False), _picture(subject, held[:_SHOWN]),
    )  # fmt: skip


def parted(photos: Sequence[Photo], each: int) -> tuple[list[Photo], list[Photo]]:
    """About `each` of every class, in whole groups, and all others."""
    groups: dict[str, list[Photo]] = {}
    for photo in photos:
        groups.setdefault(photo.family, []).append(photo)
    own: list[Photo] = []
    for place in np.random.default_rng(SEED).permutation(len(groups)).tolist():
        group = list(groups.values())[place]
        if sum(photo.label == group[0].label for photo in own) < each:
            own += group
    chosen = {photo.sha256 for photo in own}
    return own, [photo for photo in photos if photo.sha256 not in chosen]


def _picture(subject: Subject, photos: Sequence[Photo]) -> bytes:
    shape = preprocessing(subject.config.learn)
    by_day = [shape.square(decoder.decode(subject.catalog.file(photo))) for photo in photos]
    dark = [at_night(image, seed) for seed, image in enumerate(by_day)]
    rows = [[(np.asarray(image), None) for image in row] for row in (by_day, dark)]
    file = io.BytesIO()
    Image.fromarray(mosaic(rows, shape.size)).quantize(256).save(file, "PNG", optimize=True)
    return file.getvalue()


def _seen(
    subject: Subject, first: nn.Module, photos: Sequence[Photo], dark: bool
) -> LabelledFeatures:
    """Raises PhotoError."""
    config, shape = subject.config, preprocessing(subject.config.learn)

    def opened(photo: Photo) -> NDArray[np.uint8]:
        image = shape.square(decoder.decode(subject.catalog.file(photo)))
        return np.asarray(at_night(image, int(photo.sha256[:8], 16)) if dark else image)

    run = frozen(first, torch.zeros(1, 3, shape.size, shape.size), ["map"], len(photos))
    maps, ready = [], []
    with torch.inference_mode():
        for number, (_, pixels) in enumerate(ahead(opened, photos, room=64), 1):
            ready.append(pixels)
            if len(ready) == 32 or number == len(photos):
                maps.append(run(normalise(np.stack(ready), shape))[0])
                ready = []
    y = torch.tensor([config.labels.index(photo.label) for photo in photos])
    groups = np.array([photo.family for photo in photos])
    return LabelledFeatures(torch.cat(maps).clone(), y, groups)


# -- learning --------------------------------------------------------------------------------------


def with_new_head(start: Classifier, own: LabelledFeatures, classes: int, seed: int) -> Classifier:
    """A copy with a random head as fastai begins one; the mean and variance of its normalisation
    are those of these photos."""
    model = copy.deepcopy(start).eval()
    model.head[-1] = nn.Linear(model.n_features, classes)
    model.new_head(seed)
    pooled = features(model, own.x)
    with torch.no_grad():
        model.head[2].running_mean.copy_(pooled.mean(0))
        model.head[2].running_var.copy_(pooled.var(0))
    return model


def descent(groups: Groups) -> Optimizer:
    """Its steps are as long as the gradient says."""
    return torch.optim.SGD(groups, momentum=MOMENTUM)


def adam(groups: Groups) -> Optimizer:
    """Its steps are as long as the rate says."""
    return torch.optim.AdamW(groups, weight_decay=DECAY)


def trained(
    start: Classifier,
    own: LabelledFeatures,
    epochs: int,
    rates: Rates,
    seed: int,
    by: Callable[[Groups], Optimizer],
    body: bool = True,
) -> Classifier:
    """A copy that learned from these photos, at falling rates; means and variances of its
    normalisations stay. body: else only the head learns. The seed decides the order."""
    model, rng = copy.deepcopy(start).eval(), torch.Generator().manual_seed(seed)
    x, answer = (own.x, model) if body else (features(model, own.x), model.head[2:])
    groups: Groups = [{"params": list(model.head.parameters()), "lr": rates[0]}]
    if body:
        groups.append({"params": list(model.body.parameters()), "lr": rates[1]})
    optimiser = by(groups)
    steps = epochs * -(-len(x) // BATCH)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    with fast_precision(model):
        for _ in range(epochs):
            for rows in torch.randperm(len(x), generator=rng).split(BATCH):  # type: ignore[no-untyped-call]
                optimiser.zero_grad()
                nn.functional.cross_entropy(answer(x[rows]), own.y[rows]).backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                falling.step()
    return model


def features(model: Classifier, x: Tensor) -> Tensor:
    """Pooled features (n, f)."""
    with torch.inference_mode():
        pooled = [model.outputs(part)[1] for part in x.split(64)]  # type: ignore[no-untyped-call]
    return torch.cat(pooled).clone()


def wrong(model: Classifier, held_out: LabelledFeatures) -> Floats:
    """(n,): 1 where it is."""
    with torch.inference_mode():
        predicted = model.head[2:](features(model, held_out.x)).argmax(1)
    return np.asarray((predicted != held_out.y).double().numpy())


def feature_shift(before: Tensor, after: Tensor) -> float:
    """How far features moved, in terms of how far photos lie apart: root of the mean square of the
    changes over that of the distances from the mean. before, after: (n, f)."""
    return float((after - before).norm() / (before - before.mean(0)).norm())


def few(own: LabelledFeatures, each: int, seed: int) -> LabelledFeatures:
    """At most `each` random photos of every class."""
    rng = np.random.default_rng(seed)
    y = own.y.numpy()
    rows = [rng.permutation(np.flatnonzero(y == label))[:each] for label in np.unique(y)]
    return own.of(np.sort(np.concatenate(rows)))


def with_shuffled_labels(many: LabelledFeatures, seed: int) -> LabelledFeatures:
    """The same photos with each other's labels."""
    order = torch.randperm(len(many.y), generator=torch.Generator().manual_seed(seed))
    return LabelledFeatures(many.x, many.y[order], many.groups)

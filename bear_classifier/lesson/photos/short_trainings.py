"""Short trainings from a new head, and the signs of failure in their histories."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from fastai.torch_core import set_seed

from bear_classifier.config.settings import Config
from bear_classifier.dataset.schema import Photo
from bear_classifier.errors import DataError
from bear_classifier.judge import clean
from bear_classifier.learn import backbone, devices, probe
from bear_classifier.learn.data import Unreadable
from bear_classifier.learn.fit import fit, plan_of
from bear_classifier.learn.trainable_part import LastStage, TrainablePart, part_of
from bear_classifier.lesson.trained_model import Subject
from bear_classifier.stats.metrics import log_loss, softmax

MOST, ASKED = 128, 72  # photos: to learn from, to check with
RATE, EPOCHS, VIEWS = 5e-4, 6, 2
WORSE = 0.03  # share of validation: a photo or two come and go by chance
BATCH, SEED = 16, 42
Row = Mapping[str, float]  # of a history: epoch, train_loss, valid_loss, error
_NOTHING: Row = dict.fromkeys(("epoch", "train_loss", "valid_loss", "error"), math.nan)


@dataclass(frozen=True)
class Recipe:
    """photos: number to learn from; wrong_labels: how many of these have one; crops: whether
    photos are cropped at random; dropout: share of features left out."""

    rate: float = RATE
    epochs: int = EPOCHS
    photos: int = MOST
    wrong_labels: int = 0
    crops: bool = True
    dropout: float = 0.0


@dataclass(frozen=True)
class FailureRun:
    """rows: of its history; start: loss on validation before it; diverged: whether a number was
    none; plain: loss at its end on the photos that it learned from, without crops and dropout."""

    recipe: Recipe
    rows: list[dict[str, float]]
    start: float
    diverged: bool
    plain: float

    @property
    def first(self) -> Row:
        return self.rows[0] if self.rows else _NOTHING

    @property
    def last(self) -> Row:
        return self.rows[-1] if self.rows else _NOTHING

    @property
    def best(self) -> Row:
        """The epoch of the fewest errors, the first of them."""
        return min(self.rows, key=lambda row: row["error"], default=_NOTHING)


# -- symptoms: signs of failure in a history -------------------------------------------------------


def explodes(run: FailureRun) -> bool:
    """The validation loss goes far above where it began, or is no number."""
    worst = max((row["valid_loss"] for row in run.rows), default=math.inf)
    return run.diverged or not worst <= 2 * run.start


def crawls(run: FailureRun) -> bool:
    """The training loss hardly falls. Of a hundred photos in random crops that of an epoch differs
    from another by a tenth by chance: a fifth is what counts."""
    return run.last["train_loss"] > 0.8 * run.first["train_loss"]


def unfinished(run: FailureRun) -> bool:
    """The training loss is higher than that of validation, which still fell in the last epoch."""
    before = [run.start, *(row["valid_loss"] for row in run.rows)][-2:][0]
    falling = run.last["valid_loss"] < 0.9 * before
    return falling and run.last["train_loss"] > run.last["valid_loss"]


def is_overfitting(run: FailureRun) -> bool:
    """The validation metric gets worse while the training loss falls towards 0, to a tenth of that
    of the first epoch: of so few photos that of a single epoch swings."""
    falling = run.last["train_loss"] < 0.1 * min(run.first["train_loss"], 1.0)
    return falling and run.last["error"] > run.best["error"] + WORSE


# -- trainings -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Setup:
    """What all trainings share: photos of both splits, and their maps by the early layers."""

    config: Config
    part: TrainablePart
    train: list[Photo]
    valid: list[Photo]


def balanced_sample(photos: Sequence[Photo], most: int) -> list[Photo]:
    """At most `most`, of each class equally many where there are enough."""
    seen: Counter[str] = Counter()
    ranked = []
    for row in np.random.default_rng(SEED).permutation(len(photos)).tolist():
        ranked.append((seen[photos[row].label], row))
        seen[photos[row].label] += 1
    return [photos[row] for _, row in sorted(ranked)[:most]]


def mislabelled(photos: Sequence[Photo], many: int, labels: Sequence[str]) -> list[Photo]:
    """The first `many` with the label of the next class."""
    after = dict(zip(labels, [*labels[1:], labels[0]], strict=True))
    first = [dataclasses.replace(photo, label=after[photo.label]) for photo in photos[:many]]
    return [*first, *photos[many:]]


def training_setup(subject: Subject) -> Setup:
    """Of photos that cleaning does not suspect, so that whatever goes wrong was done on purpose.

    Raises DataError (NOT_SPLIT, NOT_PROBED)."""
    catalog = subject.catalog
    doubted = clean.suspected(catalog, subject.config)
    ready = [photo for photo in catalog.photos("ok") if photo.sha256 not in doubted]
    learned, checked = (
        balanced_sample([photo for photo in ready if photo.split == split], most)
        for split, most in (("train", MOST), ("valid", ASKED))
    )
    if not learned or not checked:
        raise DataError("NOT_SPLIT", "there are no training or validation photos; run: bears split")
    settings = dataclasses.replace(
        subject.config.train, head="new", layers="last-stage", balance="none", frozen=0, cycles=1,
        epochs=VIEWS,
        dropout=0.0,
    )  # fmt: skip
    config = dataclasses.replace(subject.config, train=settings)
    set_seed(SEED, reproducible=True)
    both = [*learned, *checked]
    part, _ = part_of(catalog, config, fresh(config), both, Unreadable(len(both)))
    return Setup(config, part, learned, checked)


def fresh(config: Config) -> backbone.Classifier:
    """The untuned body with a random head."""
    network = probe.probe_network(config, None).to(devices.pick_device(config.learn.device))
    network.new_head(SEED)
    return network


def train_new_head(setup: Setup, recipe: Recipe) -> FailureRun:
    """From a new head, the same of every recipe."""
    learned = balanced_sample(setup.train, recipe.photos)
    learned = mislabelled(learned, recipe.wrong_labels, setup.config.labels)
    settings = dataclasses.replace(
        setup.config.train, lr=recipe.rate, epochs=recipe.epochs, dropout=recipe.dropout,
        batch_size=max(2, min(BATCH, len(learned) // 3)),
    )  # fmt: skip
    config = dataclasses.replace(setup.config, train=settings)
    part = setup.part.begun(fresh(config))
    if isinstance(part, LastStage) and not recipe.crops:
        part = dataclasses.replace(part, views=[])
    start = loss_of(part, setup.valid, config)
    set_seed(SEED, reproducible=True)
    dls = part.loaders(learned, setup.valid, config)
    end, _ = fit(dls, part.model, plan_of(config, [photo.label for photo in learned]))
    part.model.load_state_dict(end.part("model."))  # the last, not the best
    rows = end.facts["history"]
    return FailureRun(
        recipe, rows, start, len(rows) < recipe.epochs, loss_of(part, learned, config)
    )


def loss_of(part: TrainablePart, photos: Sequence[Photo], config: Config) -> float:
    """Mean loss of what the network says of photos, without dropout and random crops."""
    rows, logits, _ = part.outputs(photos, config)
    targets = np.array([config.labels.index(photos[row].label) for row in rows])
    return log_loss(softmax(logits), targets)

"""The learning-rate finder (Smith, arXiv 1506.01186) over several seeds, and short trainings that
put its suggestions to the test. The dataset and the random state of the process do not change."""

from __future__ import annotations

import dataclasses
import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fastai.torch_core import no_random as no_random  # for the lesson, too
from fastai.torch_core import set_seed
from numpy.typing import NDArray
from torch import Tensor, nn

from bear_classifier.config.settings import Config
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import Photo
from bear_classifier.errors import TrainError
from bear_classifier.learn import backbone, devices
from bear_classifier.learn.data import Unreadable, learning_photos
from bear_classifier.learn.fit import adjusted_settings, lr_ratio_of, make_learner, plan_of
from bear_classifier.learn.lr_finder import STEPS, Curve, Watch, find_lr
from bear_classifier.learn.micro_batches import exhausted
from bear_classifier.learn.mixed_precision import fast_precision
from bear_classifier.learn.train import start
from bear_classifier.learn.trainable_part import TrainablePart, part_of
from bear_classifier.runtime.malloc import pages_kept
from bear_classifier.runtime.terminal import progress_bar
from bear_classifier.stats.metrics import MOST_LOSS

TRIAL = 20  # steps of a short training, at least


@dataclass(frozen=True)
class Trials:
    """Short trainings, judged on validation. losses, wrong: (rates, seeds, photos); diverged:
    (rates, seeds); start_losses, start_wrong: (photos,) of the probe that all begin from; groups:
    (photos,) of near-copies."""

    losses: NDArray[np.float64]
    wrong: NDArray[np.bool_]
    diverged: NDArray[np.bool_]
    start_losses: NDArray[np.float64]
    start_wrong: NDArray[np.bool_]
    steps: int
    groups: list[str]


@dataclass(frozen=True)
class FinderSetup:
    """What every run begins from: the same model, the same photos."""

    config: Config
    part: TrainablePart
    first: dict[str, Tensor]
    train: list[Photo]
    valid: list[Photo]

    @property
    def model(self) -> backbone.Classifier:
        return self.part.model


def finder_setup(catalog: Catalog, config: Config) -> FinderSetup:
    """Raises DataError (NOT_SPLIT, NO_PROBE) and what `start` raises."""
    train, valid = learning_photos(catalog)
    settings, _ = adjusted_settings(config.train, len(train))
    with no_random():
        network = start(catalog, config).to(devices.pick_device(config.learn.device))
        config = dataclasses.replace(config, train=settings)
        set_seed(settings.seed, reproducible=True)
        unreadable = Unreadable(len(catalog.photos("ok")))
        part, _ = part_of(catalog, config, network, [*train, *valid], unreadable)
        if settings.head == "new":
            network.new_head(settings.seed)
    return FinderSetup(config, part, backbone.copied(part.model), train, valid)


def run_finder(setup: FinderSetup, seeds: Sequence[int], steps: int = STEPS) -> list[Curve]:
    """Run the finder once for each seed. Raises TrainError (NOT_FINITE, OUT_OF_MEMORY)."""
    curves = []
    bar = progress_bar(total=steps * len(seeds), desc="LR finder", unit="step")
    with bar, no_random(), _enough_memory(setup):
        for seed in seeds:
            with _learner(setup, setup.train, seed) as learn:
                curves.append(find_lr(learn, bar, steps))
            if not len(curves[-1].rates):
                raise TrainError(
                    "NOT_FINITE", "the loss of the first batch is not a number; check the weights"
                )
    return curves


def trials(
    setup: FinderSetup, rates: Sequence[float], seeds: Sequence[int], steps: int = TRIAL
) -> Trials:
    """Train briefly at each rate with each seed, from the same start on the same photos in the same
    order, and classify all validation photos. Raises TrainError (OUT_OF_MEMORY)."""
    with no_random(), _enough_memory(setup):
        setup.model.load_state_dict(setup.first)
        start_losses, start_wrong, groups = _validate(setup)
        per_epoch = min(len(setup.train) // setup.config.train.batch_size, steps)
        epochs = math.ceil(steps / per_epoch)
        total = len(rates) * len(seeds) * per_epoch * epochs
        results, diverged = [], []
        with progress_bar(total=total, desc="compare", unit="step") as bar:
            for rate in rates:
                for seed in seeds:
                    diverged.append(_trial(setup, rate, seed, per_epoch, epochs, bar))
                    results.append(_validate(setup)[:2])
    shape = (len(rates), len(seeds))
    losses, wrong = (np.stack(part).reshape(*shape, -1) for part in zip(*results, strict=True))
    stopped = np.array(diverged).reshape(shape)
    return Trials(losses, wrong, stopped, start_losses, start_wrong, per_epoch * epochs, groups)


def _trial(
    setup: FinderSetup, rate: float, seed: int, per_epoch: int, epochs: int, bar: Any
) -> bool:
    """Train as `train` would, only shorter. Returns whether it diverged."""
    order = np.random.default_rng(seed).permutation(len(setup.train))
    photos = [setup.train[i] for i in order[: per_epoch * setup.config.train.batch_size]]
    rates = slice(rate / lr_ratio_of(setup.config), rate)
    watch = Watch(bar)
    with _learner(setup, photos, seed) as learn, learn.no_logging():
        learn.fit_one_cycle(epochs, rates, div=5.0, pct_start=0.3, cbs=watch)
    bar.update(per_epoch * epochs - len(watch.losses))
    return not math.isfinite(watch.losses[-1])


def _validate(setup: FinderSetup) -> tuple[NDArray[np.float64], NDArray[np.bool_], list[str]]:
    """Log loss of each validation photo, whether it was wrong, in full precision, and its group."""
    rows, outputs, _ = setup.part.outputs(setup.valid, setup.config)
    logits = torch.from_numpy(outputs).double()
    targets = torch.tensor([setup.config.labels.index(setup.valid[row].label) for row in rows])
    losses = nn.functional.cross_entropy(logits, targets, reduction="none")
    capped = losses.nan_to_num(MOST_LOSS).clamp(max=MOST_LOSS)
    wrong = (logits.argmax(1) != targets) | ~logits.isfinite().all(1)
    return capped.numpy(), wrong.numpy(), [setup.valid[row].family for row in rows]


@contextmanager
def _learner(setup: FinderSetup, photos: Sequence[Photo], seed: int) -> Iterator[Any]:
    """A learner at the start, whose batches and crops (or which views) follow from the seed."""
    config = setup.config
    set_seed(seed, reproducible=True)
    setup.model.load_state_dict(setup.first)
    with tempfile.TemporaryDirectory() as scratch:
        dls = setup.part.loaders(photos, setup.valid[:1], config)
        plan = plan_of(config, [photo.label for photo in setup.train])
        with pages_kept(), fast_precision(setup.model):
            yield make_learner(dls, setup.model, Path(scratch), plan)


@contextmanager
def _enough_memory(setup: FinderSetup) -> Iterator[None]:
    try:
        yield
    except RuntimeError as exc:
        if not exhausted(exc):
            raise
        size = setup.config.train.batch_size
        raise TrainError(
            "OUT_OF_MEMORY",
            f"{size} photos at once do not fit; try --set train.batch_size={max(2, size // 2)},"
            " and train with the same: the rate depends on it",
        ) from exc

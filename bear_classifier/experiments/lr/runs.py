"""The learning-rate finder (Smith, arXiv 1506.01186) over several seeds, and short trainings that
put its suggestions to the test. The dataset and the random state of the process do not change."""

from __future__ import annotations

import dataclasses
import math
import random
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fastai.torch_core import set_seed
from numpy.typing import NDArray
from torch import Tensor, nn

from bear_classifier.config.settings import Config
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import Photo
from bear_classifier.errors import TrainError
from bear_classifier.learn import backbone
from bear_classifier.learn.data import Unreadable, learning_photos
from bear_classifier.learn.fit import adjusted_settings, lr_ratio_of, make_learner, plan_of
from bear_classifier.learn.lr_finder import STEPS, Watch, find_lr
from bear_classifier.learn.micro_batches import exhausted
from bear_classifier.learn.mixed_precision import fast_precision
from bear_classifier.learn.train import start
from bear_classifier.learn.trainable_part import TrainablePart, part_of
from bear_classifier.runtime.malloc import pages_kept
from bear_classifier.runtime.terminal import progress_bar
from bear_classifier.stats.metrics import MOST_LOSS

TRIAL = 20  # steps of a short training, at least


@dataclass(frozen=True)
class Sweep:
    """One run of the finder. rates, losses (of single batches), smoothed (by fastai): (steps,)."""

    seed: int
    rates: NDArray[np.float64]
    losses: NDArray[np.float64]
    smoothed: NDArray[np.float64]
    suggestions: dict[str, float | None]


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

    @property
    def batch_size(self) -> int:
        return self.config.train.batch_size


def finder_setup(catalog: Catalog, config: Config) -> FinderSetup:
    """Raises DataError (NOT_SPLIT, NO_PROBE) and what `start` raises."""
    train, valid = learning_photos(catalog)
    settings, _ = adjusted_settings(config.train, len(train))
    with undisturbed():
        network = start(catalog, config).to(backbone.pick_device(config.learn.device))
        config = dataclasses.replace(config, train=settings)
        set_seed(settings.seed, reproducible=True)
        unreadable = Unreadable(len(catalog.photos("ok")))
        part, _ = part_of(catalog, config, network, [*train, *valid], unreadable)
        if settings.head == "new":
            network.new_head(settings.seed)
    return FinderSetup(config, part, backbone.copied(part.model), train, valid)


def run_finder(made: FinderSetup, seeds: Sequence[int], steps: int = STEPS) -> list[Sweep]:
    """Run the finder once for each seed. Raises TrainError (OUT_OF_MEMORY)."""
    bar = progress_bar(total=steps * len(seeds), desc="LR finder", unit="step")
    with bar, undisturbed(), _enough_memory(made):
        return [_sweep(made, seed, steps, bar) for seed in seeds]


def _sweep(made: FinderSetup, seed: int, steps: int, bar: Any) -> Sweep:
    with _learner(made, made.train, seed) as learn:
        curve = find_lr(learn, bar, steps)
    if not len(curve.rates):
        raise TrainError(
            "NOT_FINITE", "the loss of the first batch is not a number; check the weights"
        )
    return Sweep(seed, curve.rates, curve.losses, curve.smoothed, curve.suggestions())


def trials(
    made: FinderSetup, rates: Sequence[float], seeds: Sequence[int], steps: int = TRIAL
) -> Trials:
    """Train briefly at each rate with each seed, from the same start on the same photos in the same
    order, and ask for all validation photos. Raises TrainError (OUT_OF_MEMORY)."""
    with undisturbed(), _enough_memory(made):
        made.model.load_state_dict(made.first)
        start_losses, start_wrong, groups = _judged(made)
        per_epoch = min(len(made.train) // made.batch_size, steps)
        epochs = math.ceil(steps / per_epoch)
        total = len(rates) * len(seeds) * per_epoch * epochs
        said, diverged = [], []
        with progress_bar(total=total, desc="compare", unit="step") as bar:
            for rate in rates:
                for seed in seeds:
                    diverged.append(_trial(made, rate, seed, per_epoch, epochs, bar))
                    said.append(_judged(made)[:2])
    shape = (len(rates), len(seeds))
    losses, wrong = (np.stack(part).reshape(*shape, -1) for part in zip(*said, strict=True))
    stopped = np.array(diverged).reshape(shape)
    return Trials(losses, wrong, stopped, start_losses, start_wrong, per_epoch * epochs, groups)


def _trial(
    made: FinderSetup, rate: float, seed: int, per_epoch: int, epochs: int, bar: Any
) -> bool:
    """Train the bench's model as `train` would, only shorter. Returns whether it diverged."""
    order = np.random.default_rng(seed).permutation(len(made.train))
    photos = [made.train[i] for i in order[: per_epoch * made.batch_size]]
    spread = lr_ratio_of(made.config)
    watch = Watch(bar)
    with _learner(made, photos, seed) as learn, learn.no_logging():
        learn.fit_one_cycle(epochs, slice(rate / spread, rate), div=5.0, pct_start=0.3, cbs=watch)
    bar.update(per_epoch * epochs - len(watch.losses))
    return not math.isfinite(watch.losses[-1])


def _judged(made: FinderSetup) -> tuple[NDArray[np.float64], NDArray[np.bool_], list[str]]:
    """Log loss of each validation photo, whether it was wrong, in full precision, and its group."""
    rows, said, _ = made.part.outputs(made.valid, made.config)
    logits = torch.from_numpy(said).double()
    targets = torch.tensor([made.config.labels.index(made.valid[row].label) for row in rows])
    losses = nn.functional.cross_entropy(logits, targets, reduction="none")
    capped = losses.nan_to_num(MOST_LOSS).clamp(max=MOST_LOSS)
    wrong = (logits.argmax(1) != targets) | ~logits.isfinite().all(1)
    return capped.numpy(), wrong.numpy(), [made.valid[row].family for row in rows]


@contextmanager
def _learner(made: FinderSetup, photos: Sequence[Photo], seed: int) -> Iterator[Any]:
    """A learner at the start, whose batches and crops (or which views) follow from the seed."""
    config = made.config
    set_seed(seed, reproducible=True)
    made.model.load_state_dict(made.first)
    with tempfile.TemporaryDirectory() as scratch:
        dls = made.part.loaders(photos, made.valid[:1], config)
        plan = plan_of(config, [photo.label for photo in made.train])
        with pages_kept(), fast_precision(made.model):
            yield make_learner(dls, made.model, Path(scratch), plan)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Afterwards all global dice lie as before, and the switches of fastai's `set_seed` too."""
    python, numpy = random.getstate(), np.random.get_state()
    cudnn = torch.backends.cudnn
    switches = cudnn.deterministic, cudnn.benchmark
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        cudnn.deterministic, cudnn.benchmark = switches


@contextmanager
def _enough_memory(made: FinderSetup) -> Iterator[None]:
    try:
        yield
    except RuntimeError as exc:
        if not exhausted(exc):
            raise
        raise TrainError(
            "OUT_OF_MEMORY",
            f"{made.batch_size} photos at once do not fit; try --set train.batch_size="
            f"{max(2, made.batch_size // 2)}, and train with the same: the rate depends on it",
        ) from exc

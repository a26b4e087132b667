"""Trainings of several recipes from the same start, on the same photos in the same order."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fastai.torch_core import no_random, set_seed
from numpy.typing import NDArray
from torch import Tensor

from bear_classifier.config.settings import Config
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.learn import backbone, devices
from bear_classifier.learn.checkpoints import State
from bear_classifier.learn.data import Unreadable, learning_photos
from bear_classifier.learn.fit import adjusted_settings, fit, lasting, plan_of
from bear_classifier.learn.probe import probe_network
from bear_classifier.learn.source_holdout import start_of
from bear_classifier.learn.train import start
from bear_classifier.learn.trainable_part import Whole, part_of
from bear_classifier.runtime.files import write_atomic
from bear_classifier.runtime.npz import as_npz

_FORMAT = 1  # of what is kept; a new number, and all is trained anew


@dataclass(frozen=True)
class Alternative:
    """name: for people; made_from: digest of photos, labels and weights that it starts from; own:
    whether the dataset's probe is of these weights and this size; if not, one is fitted."""

    name: str
    config: Config
    made_from: str
    own: bool = True


@dataclass(frozen=True)
class TrainedAlternative:
    """logits: (photos, classes) on validation, of the epoch that training kept; sha256: (photos,)
    of those that could be read. facts: lr, lr_reason, history, kept_epoch, diverged, seconds."""

    logits: NDArray[np.float32]
    sha256: list[str]
    facts: dict[str, Any]


class TrainingRuns:
    """Trains what is not there yet. Afterwards the dataset is as before, but for `folder`."""

    def __init__(self, catalog: Catalog, folder: Path) -> None:
        """Raises DataError (NOT_SPLIT)."""
        catalog.freeze()
        self.catalog, self.folder = catalog, folder
        self.train, self.valid = learning_photos(catalog)
        self.unreadable = Unreadable(len(catalog.photos("ok")))

    def trained(
        self, one: Alternative, seeds: Sequence[int], bar: Any, first: int | None = None
    ) -> list[TrainedAlternative]:
        """One training for each seed; the LR finder runs once, with the first seed of the study.

        first: that seed, where these are not all; bar: of tqdm, moved by `steps` in all. Raises
        TrainError and DataError as training does."""
        start = _Start(self, one)
        with no_random():
            lr = self.rate(one, seeds[0] if first is None else first, start)
            return [self._trained(start, seed, lr, bar) for seed in seeds]

    def steps(self, one: Alternative, seeds: int) -> int:
        """How many batches `trained` learns from."""
        settings, _ = adjusted_settings(one.config.train, len(self.train))
        return seeds * settings.epochs * (len(self.train) // settings.batch_size)

    def rate(self, one: Alternative, seed: int, start: _Start | None = None) -> tuple[float, str]:
        """The rate of the settings or the LR finder's, and why."""
        if isinstance(one.config.train.lr, float):
            return one.config.train.lr, "given in the settings"
        place = self.folder / f"rate-{_digest(one, seed, one.config.train.lr)}.json"
        try:
            facts = json.loads(place.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            with no_random():
                end = (start or _Start(self, one)).fitted(seed, one.config.train.lr, epochs=0)
            facts = {key: end.facts[key] for key in ("lr", "lr_reason", "finder")}
            write_atomic(place, json.dumps(facts).encode())
        return facts["lr"], facts["lr_reason"]

    def _trained(
        self, start: _Start, seed: int, lr: tuple[float, str], bar: Any
    ) -> TrainedAlternative:
        place = self.folder / f"training-{_digest(start.one, seed, lr[0])}.npz"
        steps = self.steps(start.one, 1)
        if kept := _read(place):
            bar.update(steps)
            return kept
        config, before = start.one.config, bar.n
        began, epochs = time.monotonic(), config.train.epochs
        end = start.fitted(seed, lr[0], epochs, lambda _: bar.update(steps // epochs))
        seconds = round(time.monotonic() - began, 1)
        whole = Whole(self.catalog, start.model, self.unreadable)
        rows, logits, _ = whole.outputs(self.valid, config)
        bar.update(before + steps - bar.n)  # a training that diverged made fewer
        facts = {key: end.facts[key] for key in ("lr", "history", "kept_epoch", "part")}
        facts |= {"lr_reason": lr[1], "seconds": seconds, "seed": seed}
        facts["diverged"] = len(facts["history"]) < epochs
        done = TrainedAlternative(logits, [self.valid[row].sha256 for row in rows], facts)
        arrays = {"logits": logits, "sha256": np.array(done.sha256)}
        write_atomic(place, as_npz(**arrays, facts=np.array(json.dumps(facts))))
        return done


class _Start:
    """The model of an alternative, made when it is first needed, and put back to its start."""

    def __init__(self, runs: TrainingRuns, one: Alternative) -> None:
        settings, _ = adjusted_settings(one.config.train, len(runs.train))
        self.runs = runs
        self.one = dataclasses.replace(one, config=dataclasses.replace(one.config, train=settings))
        self._first: dict[str, Tensor] | None = None

    def fitted(
        self, seed: int, lr: float | str, epochs: int, keep: Any = lambda state: None
    ) -> State:
        """Train from the start; order, crops and a new head follow from the seed alone."""
        runs, config = self.runs, self.one.config
        if self._first is None:
            self.model = self._start()
            self._first = backbone.copied(self.model)
        self.model.load_state_dict(self._first)
        set_seed(seed, reproducible=True)
        if config.train.head == "new":
            self.model.new_head(seed)
        photos = [*runs.train, *runs.valid]
        part, _ = part_of(runs.catalog, config, self.model, photos, runs.unreadable)
        dls = part.loaders(runs.train, runs.valid, config)
        plan = plan_of(config, [photo.label for photo in runs.train])
        return fit(dls, part.model, dataclasses.replace(plan, lr=lr, epochs=epochs), keep=keep)[0]

    def _start(self) -> backbone.Classifier:
        runs, config = self.runs, self.one.config
        device = devices.pick_device(config.learn.device)
        if self.one.own:
            return start(runs.catalog, config).to(device)
        network = probe_network(config, None).to(device)
        if config.train.head == "new":
            return network
        whole = Whole(runs.catalog, network, runs.unreadable)
        rows, _, features = whole.outputs(runs.train, config)
        photos = [runs.train[row] for row in rows]
        return start_of(runs.catalog, config, photos, features).to(device)


def _digest(one: Alternative, seed: int, lr: float | str) -> str:
    """Of all that determines a training. Not the device, nor whether it may be resumed."""
    settings = lasting(one.config.train) | {"seed": seed, "lr": lr}
    text = json.dumps([_FORMAT, one.made_from, settings], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _read(place: Path) -> TrainedAlternative | None:
    """None where it was never trained, or what is there is damaged."""
    try:
        with np.load(place, allow_pickle=False) as file:
            facts = json.loads(str(file["facts"]))
            return TrainedAlternative(file["logits"], file["sha256"].tolist(), facts)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def stack_logits(
    trained: Sequence[Sequence[TrainedAlternative]],
) -> tuple[NDArray[np.float64], list[str]]:
    """Logits (alternatives, seeds, photos, classes) of the photos that all trainings could read,
    and their hashes, in order."""
    order = sorted(set.intersection(*(set(done.sha256) for row in trained for done in row)))

    def ordered(done: TrainedAlternative) -> NDArray[np.float32]:
        place = {sha256: row for row, sha256 in enumerate(done.sha256)}
        return done.logits[[place[sha256] for sha256 in order]]

    return np.array([[ordered(done) for done in row] for row in trained], dtype=np.float64), order

"""Fine-tune a network from its present weights, resuming an interrupted training."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from fastai.torch_core import set_seed
from torch import Tensor

from bear_classifier.config.settings import Config
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.learn import backbone, checkpoints, rank_work
from bear_classifier.learn.backbone import Classifier
from bear_classifier.learn.checkpoints import State
from bear_classifier.learn.data import PhotoList
from bear_classifier.learn.fit import fit, lasting, plan_of
from bear_classifier.learn.trainable_part import TrainablePart, Untrained
from bear_classifier.learn.weight_interpolation import alphas_of, interpolated_state
from bear_classifier.learn.weights import preprocessing
from bear_classifier.runtime import progress_events
from bear_classifier.runtime.terminal import note_above_bars
from bear_classifier.stats.arrays import Floats32, Ints, Strings

_FORMAT = 3  # of checkpoints; older ones are not resumed


@dataclass(frozen=True)
class Tuned:
    """first, last: weights before and after training. notes: what went wrong."""

    first: dict[str, Tensor]
    last: dict[str, Tensor]
    end: State
    notes: list[str]


def tune(
    catalog: Catalog,
    config: Config,
    part: TrainablePart,
    learned: PhotoList,
    checked: PhotoList,
    folder: Path,
) -> Tuned:
    """Learn from some photos; the loss on others, `checked`, decides which epoch is kept.

    part: with the probe as its head; it ends with the tuned weights. folder: of checkpoints. Raises
    DataError (DISK_FULL) and TrainError."""
    settings, network = config.train, part.model
    checkpoints.require_space(folder, network)
    set_seed(settings.seed, reproducible=True)
    first = backbone.copied(network)
    if settings.head == "new":
        network.new_head(settings.seed)
    dls = part.loaders(learned, checked, config)
    made_from = _made_from(catalog, config, network, [*learned, *checked])
    if not settings.resume:
        checkpoints.clear(folder)
    state, notes = checkpoints.newest(folder, made_from)
    if state is None:
        checkpoints.clear(folder)
    else:
        last = state.epoch == settings.epochs
        place = "at the end" if last else f"at epoch {state.epoch + 1}"
        notes.append(f"Resuming {place} of {settings.epochs}")
    for note in notes:
        note_above_bars(note)
    rank_work.share(part, learned, checked, config)
    plan = plan_of(config, [p.label for p in learned])

    def keep(after: State) -> None:
        checkpoints.write_checkpoint(folder, made_from, after)
        for row in after.facts["history"][-1:]:
            progress_events.report("epoch", of=folder.name, epochs=settings.epochs, **row)

    for row in state.facts["history"] if state else ():
        progress_events.report("epoch", of=folder.name, epochs=settings.epochs, **row)
    end, more = fit(dls, network, plan, state, keep)
    return Tuned(first, backbone.copied(network), end, notes + more)


def untuned(network: Classifier) -> Tuned:
    """The weights that it has, for `train.epochs = 0`."""
    return Tuned(backbone.copied(network), backbone.copied(network), checkpoints.begin(network), [])


def interpolated_logits(
    config: Config, part: TrainablePart | Untrained, tuned: Tuned, photos: PhotoList
) -> tuple[list[Floats32], Ints, Strings]:
    """For each of `alphas_of` the logits (n, classes) of the photos that can be
    read; their class numbers and groups (n,). The part ends with the tuned weights."""
    logits = []
    for alpha in alphas_of(config.train):
        part.model.load_state_dict(interpolated_state(tuned.first, tuned.last, alpha))
        rows, some, _ = part.outputs(photos, config)
        logits.append(some)
    there = [photos[row] for row in rows]
    targets = np.array([config.labels.index(photo.label) for photo in there])
    return logits, targets, np.array([photo.family for photo in there])


def _made_from(catalog: Catalog, config: Config, network: Classifier, photos: PhotoList) -> str:
    """Digest of what determines a training: settings, photos, initial weights. Not the device, so
    that a training may be resumed on another."""
    shape = preprocessing(config.learn)
    learn = {"arch": config.learn.arch, "weights": config.learn.weights, "size": shape.size}
    learn |= {} if shape.is_usual else {"preprocessing": dataclasses.asdict(shape)}
    tables, names = [lasting(config.train), learn], [photo.sha256 for photo in photos]
    digests = [catalog.fingerprint(), names, backbone.weights_digest(network)]
    value = [_FORMAT, tables, config.labels, *digests]
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()

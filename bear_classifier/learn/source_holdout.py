"""Cross-source validation: the same training, validated on photos of held-out sources.

A validation split assigned by photo shares its sources with the training photos. So the sources are
divided into two halves; probe and fine-tuning are fitted on each and validated on the other. That
takes about as long as the training itself.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from bear_classifier.config.settings import Config
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import Photo
from bear_classifier.dataset.sources import homes, sites
from bear_classifier.learn import backbone, probe, weight_interpolation
from bear_classifier.learn.finetune import interpolated_logits, tune
from bear_classifier.learn.plan import adjusted_settings
from bear_classifier.learn.trainable_part import TrainablePart
from bear_classifier.runtime.terminal import warn_above_bars
from bear_classifier.stats.arrays import Floats32, Ints, Strings
from bear_classifier.stats.linear_probe import fit_linear

_LEAST = 10  # photos of each class to learn from in each half
_GROUPS = 2  # of near-copies of each class to learn from in each half: its penalty needs folds
_HALVES = 2


@dataclass(frozen=True)
class HeldOutSources:
    """Photos of train and validation whose source is known. half: (n,) 0 or 1; sources: in all."""

    photos: list[Photo]
    half: Ints
    sources: int


def held_out_sources(catalog: Catalog, config: Config) -> HeldOutSources | None:
    """None where there is no such thing as an unseen source: too few of them, or too few photos of
    a class in one half, or the split is by source, so that validation measures it already."""
    if config.split.by == "source" or not config.train.source_validation:
        return None
    photos = [p for p in catalog.photos("ok") if p.split in ("train", "valid")]
    found = sites(catalog, photos, config.split.sources)
    rows = [row for row, source in enumerate(found) if source]
    photos, found = [photos[row] for row in rows], [found[row] for row in rows]
    units = homes([p.family for p in photos], found)
    labels = np.array([config.labels.index(p.label) for p in photos])
    if len(set(units)) < _HALVES:
        return None
    half = np.zeros(len(photos), dtype=np.int64)
    # of validation only the number counts: its labels must not decide who learns from what
    kinds = np.where([p.split == "train" for p in photos], labels, len(config.labels))
    cut = StratifiedGroupKFold(_HALVES).split(kinds, kinds, units)
    half[next(iter(cut))[1]] = 1
    for number in range(_HALVES):
        for split, least in (("train", _LEAST), ("valid", 1)):
            there = (half == number) & np.array([p.split == split for p in photos])
            counts = np.bincount(labels[there], minlength=len(config.labels))
            if (counts.min() if split == "train" else counts.sum()) < least:
                return None
        mine = {
            (p.label, p.family)
            for p, place in zip(photos, half, strict=True)
            if place == number and p.split == "train"
        }
        if min(Counter(label for label, _ in mine).values()) < _GROUPS:
            return None
    return HeldOutSources(photos, half, len(set(found)))


def why_not_validated(catalog: Catalog, config: Config) -> list[str]:
    """Why photos of unseen sources cannot be asked although there are sources; else nothing."""
    if config.split.by == "source" or not config.train.source_validation:
        return []
    photos = [p for p in catalog.photos("ok") if p.split in ("train", "valid")]
    known = set(sites(catalog, photos, config.split.sources)) - {""}
    if not known and not config.split.sources:
        return []
    why = {
        0: f"{config.split.sources} names the source of none of these photos",
        1: "all photos whose source is known come from one",
    }.get(len(known), "half of the sources have too few photos of a class")
    return [f"how the model does on photos of unseen sources cannot be measured: {why}"]


def cross_source_validation(
    catalog: Catalog,
    config: Config,
    actors: HeldOutSources,
    part: TrainablePart,
    features: Floats32,
    lr: float,
) -> dict[str, Any]:
    """Figures of each mixture (`blend`) on photos of sources that it did not learn from.

    part: of the training in earnest; features: (n, f) of the cast's photos by the untuned body; lr:
    of the training in earnest.
    Raises what training raises."""
    config = dataclasses.replace(config, train=dataclasses.replace(config.train, lr=lr))
    parts = [_half(catalog, config, actors, part, features, number) for number in range(_HALVES)]
    said = [np.concatenate(halves) for halves in zip(*(part[0] for part in parts), strict=True)]
    targets, groups = (np.concatenate([part[k] for part in parts]) for k in (1, 2))
    return {
        **weight_interpolation.interpolation_figures(said, targets, groups),
        "sources": actors.sources,
    }


def _half(
    catalog: Catalog,
    config: Config,
    actors: HeldOutSources,
    part: TrainablePart,
    features: Floats32,
    number: int,
) -> tuple[list[Floats32], Ints, Strings]:
    """Learn from one half; logits of each mixture for the other, its classes and groups."""
    mine = actors.half == number
    train = np.array([photo.split == "train" for photo in actors.photos])
    learned, checked, asked = (
        [actors.photos[row] for row in np.flatnonzero(rows)]
        for rows in (mine & train, mine & ~train, ~mine)
    )
    warn_above_bars(
        f"Held-out sources, {number + 1} of {_HALVES}: trains on {mine.sum()} photos and is judged"
        f" on {len(asked)} photos of other sources"
    )
    config = dataclasses.replace(config, train=adjusted_settings(config.train, len(learned))[0])
    network = start_of(catalog, config, learned, features[mine & train])
    part = part.begun(network.to(backbone.pick_device(config.learn.device)))
    tuned = tune(catalog, config, part, learned, checked, checkpoint_folders(catalog)[number])
    return interpolated_logits(config, part, tuned, asked)


def checkpoint_folders(catalog: Catalog) -> list[Path]:
    """Where the checkpoints of the two trainings lie."""
    return [catalog.root / "train" / f"source-half-{number + 1}" for number in range(_HALVES)]


def start_of(
    catalog: Catalog, config: Config, learned: Sequence[Photo], features: Floats32
) -> backbone.Classifier:
    """The untuned body with a probe of these photos as its head. features: (n, f)."""
    labels = np.array([config.labels.index(p.label) for p in learned])
    strength = probe.strength_of(catalog, config, learned, features, labels)
    return probe.probe_network(config, probe.head_of(fit_linear(strength, features, labels)))

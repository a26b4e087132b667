"""Cross-source validation: the same training, validated on photos of held-out sources.

A validation split by photo shares its sources with the training photos. So the sources are divided
into two halves; probe and fine-tuning are fitted on each and validated on the other, which takes
about as long as the training itself.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold
from torch import Tensor, from_numpy

from bear_classifier.config.settings import Config
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import Photo
from bear_classifier.dataset.sources import homes, sites
from bear_classifier.engine.choice import each
from bear_classifier.learn import devices, probe, ranks, weight_interpolation
from bear_classifier.learn.backbone import Classifier
from bear_classifier.learn.data import PhotoList, Unreadable
from bear_classifier.learn.features import cached_features
from bear_classifier.learn.finetune import interpolated_logits, tune
from bear_classifier.learn.fit import adjusted_settings
from bear_classifier.learn.kept_photos import KeptPhotos, room_for_photos
from bear_classifier.learn.trainable_part import TrainablePart, Whole
from bear_classifier.learn.weight_interpolation import interpolated_state
from bear_classifier.runtime.files import write_atomic
from bear_classifier.runtime.npz import as_npz
from bear_classifier.runtime.terminal import note_above_bars
from bear_classifier.stats.arrays import Floats32, Ints, Strings
from bear_classifier.stats.linear_probe import fit_linear

_LEAST = 10  # photos of each class to learn from in each half
_GROUPS = 2  # of near-copies of each class to learn from in each half: its penalty needs folds
_HALVES = 2


_Answers = tuple[list[Floats32], Ints, Strings]  # logits by interpolation, classes, groups


@dataclass(frozen=True)
class HeldOutSources:
    """Photos of train and validation whose source is known. half: (n,) 0 or 1; sources: in all."""

    photos: list[Photo]
    half: Ints
    sources: int


@dataclass(frozen=True)
class HalfTraining:
    """A training on one half of the sources. part: holds its network; first, last: weights before
    and after; learned, unseen: photos that it learned from, and those of the other half."""

    part: TrainablePart
    first: dict[str, Tensor]
    last: dict[str, Tensor]
    learned: list[Photo]
    unseen: list[Photo]


def held_out_sources(catalog: Catalog, config: Config) -> HeldOutSources | None:
    """None where photos of unseen sources cannot be held out: too few sources or photos of a class,
    or the split is by source, so that validation measures it already."""
    if config.split.by == "source" or not config.train.source_validation:
        return None
    photos, sources = _with_sources(catalog, config)
    rows = [row for row, source in enumerate(sources) if source]
    photos, sources = [photos[row] for row in rows], [sources[row] for row in rows]
    units = homes([p.family for p in photos], sources)
    if len(set(units)) < _HALVES:
        return None
    labels = np.array([config.labels.index(p.label) for p in photos])
    train = np.array([p.split == "train" for p in photos])
    # labels of validation must not decide who learns from what: it is a class of its own
    kinds = np.where(train, labels, len(config.labels))
    half = np.zeros(len(photos), dtype=np.int64)
    half[next(StratifiedGroupKFold(_HALVES).split(kinds, kinds, units))[1]] = 1
    for number in range(_HALVES):
        mine = half == number
        learned = [photos[row] for row in np.flatnonzero(mine & train)]
        scenes = Counter(label for label, _ in {(p.label, p.family) for p in learned})
        counts = np.bincount(labels[mine & train], minlength=len(config.labels))
        if counts.min() < _LEAST or min(scenes.values()) < _GROUPS or not (mine & ~train).any():
            return None
    return HeldOutSources(photos, half, len(set(sources)))


def why_not_validated(catalog: Catalog, config: Config) -> list[str]:
    """Why there are no held-out sources although sources are known; else nothing."""
    if config.split.by == "source" or not config.train.source_validation:
        return []
    known = set(_with_sources(catalog, config)[1]) - {""}
    if not known and not config.split.sources:
        return []
    why = {
        0: f"{config.split.sources} names the source of none of these photos",
        1: "all photos whose source is known come from one",
    }.get(len(known), "half of the sources have too few photos of a class")
    return [f"how the model does on photos of unseen sources cannot be measured: {why}"]


def _with_sources(catalog: Catalog, config: Config) -> tuple[list[Photo], list[str]]:
    """Photos of train and validation, and the source of each; "" where it is unknown."""
    photos = [p for p in catalog.photos("ok") if p.split in ("train", "valid")]
    return photos, sites(catalog, photos, config.split.sources)


def cross_source_validation(
    catalog: Catalog,
    config: Config,
    held_out: HeldOutSources,
    part: TrainablePart,
    features: Floats32,
    lr: float,
) -> tuple[dict[str, Any], list[HalfTraining]]:
    """Figures of each interpolation on photos of sources that it did not learn from, and the
    trainings that they are of.

    part, lr: of the training on all sources; features: (n, f) of the photos by the untuned body.
    Raises what training raises."""
    config = dataclasses.replace(config, train=dataclasses.replace(config.train, lr=lr))
    # processes that train together also train the halves together
    if config.engine.name == "local" or ranks.world() > 1 or not isinstance(part, Whole):
        found = [
            _half(catalog, config, held_out, part, features, number) for number in range(_HALVES)
        ]
    else:  # a last stage learns in no time from feature maps that are in memory here
        found = _on_engine(catalog, config, held_out, part)
    halves, measured = [half for half, _ in found], [answers for _, answers in found]
    logits, targets, groups = zip(*measured, strict=True)
    figures = weight_interpolation.interpolation_figures(
        [np.concatenate(both) for both in zip(*logits, strict=True)],
        np.concatenate(targets),
        np.concatenate(groups),
    )
    return {**figures, "sources": held_out.sources}, halves


def held_out_outputs(
    config: Config, halves: Sequence[HalfTraining], alpha: float
) -> dict[str, NDArray[Any]]:
    """What evaluation sets its limits by: of the networks with this alpha, each of one half of the
    sources, the outputs for the photos of the other half, and for those that it learned from.

    Arrays of n rows: held_sha256, held_network (0 or 1), held_learned (bool), held_logits (n,
    classes) and held_pooled (n, f), in half precision."""
    columns: list[tuple[NDArray[Any], ...]] = []
    for number, half in enumerate(halves):
        half.part.model.load_state_dict(interpolated_state(half.first, half.last, alpha))
        photos = [*half.learned, *half.unseen]
        rows, logits, pooled = half.part.outputs(photos, config)
        hashes = np.array([photos[row].sha256 for row in rows])
        learned = np.array(rows) < len(half.learned)
        columns.append((hashes, np.full(len(rows), number), learned, logits, pooled.astype("f2")))
    names = ("sha256", "network", "learned", "logits", "pooled")
    whole = (np.concatenate(parts) for parts in zip(*columns, strict=True))
    return {f"held_{name}": part for name, part in zip(names, whole, strict=True)}


def _half(
    catalog: Catalog,
    config: Config,
    held_out: HeldOutSources,
    part: TrainablePart,
    features: Floats32,
    number: int,
) -> tuple[HalfTraining, _Answers]:
    """Learn from one half; logits of each interpolation for the other, its classes and groups."""
    mine = held_out.half == number
    train = np.array([photo.split == "train" for photo in held_out.photos])
    learned, checked, unseen = _sides(held_out, number)
    note_above_bars(
        f"Held-out sources, {number + 1} of {_HALVES}: trains on {mine.sum()} photos and is judged"
        f" on {len(unseen)} photos of other sources"
    )
    config = dataclasses.replace(config, train=adjusted_settings(config.train, len(learned))[0])
    network = start_of(catalog, config, learned, features[mine & train])
    part = part.begun(network.to(devices.pick_device(config.learn.device)))
    tuned = tune(catalog, config, part, learned, checked, checkpoint_folders(catalog)[number])
    half = HalfTraining(part, tuned.first, tuned.last, learned, unseen)
    return half, interpolated_logits(config, part, tuned, unseen)


def _sides(held_out: HeldOutSources, number: int) -> tuple[list[Photo], list[Photo], list[Photo]]:
    """Photos to learn from and to check with of one half of the sources, and the other half."""
    mine = held_out.half == number
    train = np.array([photo.split == "train" for photo in held_out.photos])
    learned, checked, unseen = (
        [held_out.photos[row] for row in np.flatnonzero(rows)]
        for rows in (mine & train, mine & ~train, ~mine)
    )
    return learned, checked, unseen


@dataclass(frozen=True)
class HalfTask:
    """For an engine: number: of the half; root: of the dataset; copy: of its catalog; place: of the
    file with weights and answers."""

    root: Path
    copy: Path
    config: Config
    number: int
    place: Path


def train_half(task: HalfTask) -> None:
    """Train all layers on one half of the sources and leave a file. Done twice it goes on from the
    last epoch of its checkpoints. Raises what training raises."""
    config = task.config
    with Catalog(task.root, copy=task.copy) as catalog:
        catalog.freeze()
        held_out = held_out_sources(catalog, config)
        if held_out is None:
            raise RuntimeError(f"{task.copy} is of another moment than the task")
        network = probe.probe_network(config, None).to(devices.pick_device(config.learn.device))
        features = cached_features(catalog, config, held_out.photos, network.body)
        bad, kept = Unreadable(len(catalog.photos("ok"))), KeptPhotos(room_for_photos())
        part = Whole(catalog, network, bad, kept)
        half, (logits, targets, groups) = _half(
            catalog, config, held_out, part, features, task.number
        )
    arrays: dict[str, NDArray[Any]] = {"logits": np.stack(logits), "targets": targets}
    arrays["groups"] = groups
    for side, state in (("first", half.first), ("last", half.last)):
        arrays |= {f"{side}/{name}": tensor.cpu().numpy() for name, tensor in state.items()}
    write_atomic(task.place, as_npz(**arrays))


def _on_engine(
    catalog: Catalog, config: Config, held_out: HeldOutSources, part: Whole
) -> list[tuple[HalfTraining, _Answers]]:
    folders = [folder.absolute() for folder in checkpoint_folders(catalog)]
    places = [folder.with_name(f"{folder.name}.npz") for folder in folders]
    with catalog.copied() as copy:
        root, there = catalog.root.absolute(), config.for_workers()
        tasks = [HalfTask(root, copy, there, number, place) for number, place in enumerate(places)]
        note_above_bars(f"Held-out sources: {_HALVES} trainings by workers")
        for _ in each(train_half, tasks, config.engine):
            pass
    found = [_read_half(place, held_out, part, number) for number, place in enumerate(places)]
    for place in places:
        place.unlink()
    return found


def _read_half(
    place: Path, held_out: HeldOutSources, part: Whole, number: int
) -> tuple[HalfTraining, _Answers]:
    device = part.model.device
    with np.load(place, allow_pickle=False) as file:
        first, last = (
            {
                name.partition("/")[2]: from_numpy(file[name]).to(device)
                for name in file.files
                if name.startswith(f"{side}/")
            }
            for side in ("first", "last")
        )
        answers = list(file["logits"]), file["targets"], file["groups"]
    learned, _, unseen = _sides(held_out, number)
    return HalfTraining(part.begun(deepcopy(part.model)), first, last, learned, unseen), answers


def checkpoint_folders(catalog: Catalog) -> list[Path]:
    return [catalog.root / "train" / f"source-half-{number + 1}" for number in range(_HALVES)]


def start_of(
    catalog: Catalog, config: Config, learned: PhotoList, features: Floats32
) -> Classifier:
    """The untuned body with a probe of these photos as its head. features: (n, f)."""
    labels = np.array([config.labels.index(p.label) for p in learned])
    strength = probe.strength_of(catalog, config, learned, features, labels)
    return probe.probe_network(config, probe.head_of(fit_linear(strength, features, labels)))

"""What rank 0 hands to the other processes of a training, and what they do with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from fastai.data.core import DataLoaders
from torch import Tensor

from bear_classifier.config.settings import Config, TrainConfig
from bear_classifier.dataset.schema import Photo
from bear_classifier.learn import backbone, checkpoints, data, devices, ranks
from bear_classifier.learn.backbone import Classifier
from bear_classifier.learn.callbacks import BestCheckpoint, StopOnNonFinite
from bear_classifier.learn.data import PhotoList, Unreadable
from bear_classifier.learn.fit import attempts, plan_of
from bear_classifier.learn.kept_photos import KeptPhotos, room_for_photos
from bear_classifier.learn.trainable_part import LastStage, TrainablePart, end_of, stored_loaders
from bear_classifier.learn.weights import preprocessing

_FIT = "fit"


def share(part: TrainablePart, learned: PhotoList, checked: PhotoList, config: Config) -> None:
    """Rank 0: the other processes make the same loaders and train along. Nothing alone.

    Only names, numbers and feature maps travel, nothing that could be run."""
    if ranks.world() == 1:
        return
    ranks.tell_job(_FIT)
    photos, maps = [*learned, *checked], dict[str, Tensor]()
    if isinstance(part, LastStage):
        photos = [photo for photo in photos if photo.sha256 in part.row]
        maps = _maps(part, photos, sum(photo.sha256 in part.row for photo in learned))
        files = [photo.sha256 for photo in photos]
    else:
        files = [str(part.catalog.file(photo).absolute()) for photo in photos]
    learning = {photo.sha256 for photo in learned}
    ranks.broadcast(
        {
            "train": dataclasses.asdict(config.train),
            "cut": part.cut if isinstance(part, LastStage) else 0,
            "photos": [[file, p.label] for file, p in zip(files, photos, strict=True)],
            "learned": sum(photo.sha256 in learning for photo in photos),
            "total": part.unreadable.total if not isinstance(part, LastStage) else 0,
        }
    )
    ranks.broadcast_tensors(maps)


def _maps(part: LastStage, photos: Sequence[Photo], learned: int) -> dict[str, Tensor]:
    rows = [part.row[photo.sha256] for photo in photos]
    maps = {"plain": torch.from_numpy(part.plain[rows])}
    for number, view in enumerate(part.views):
        maps[f"view.{number}"] = torch.from_numpy(view[rows[:learned]])
    return maps


def train_along(config: Config) -> None:
    """Another rank: train along with rank 0 until it has no more to train. Raises TrainError."""
    device = devices.pick_device(config.learn.device)
    kept = KeptPhotos(room_for_photos() // ranks.local()[1])  # from one training to the next
    while ranks.next_job():
        facts = ranks.broadcast(None)
        maps = ranks.broadcast_tensors({})
        _do_job(config, facts, maps, device, kept)


def _do_job(
    config: Config,
    facts: dict[str, Any],
    maps: dict[str, Tensor],
    device: torch.device,
    kept: KeptPhotos,
) -> None:
    config = dataclasses.replace(config, train=TrainConfig(**facts["train"]))
    size = preprocessing(config.learn).size
    body = backbone.bare_body(config.learn.arch, size)
    model = Classifier(body, len(config.labels), config.train.dropout, size).to(device)
    photos, learned = facts["photos"], facts["learned"]
    if facts["cut"]:
        model = end_of(model, facts["cut"])
    labels = [label for _, label in photos]
    dls = _loaders(config, facts, maps, device, kept)
    keeper = BestCheckpoint(checkpoints.begin(model), lambda state: None)
    attempts(dls, model, plan_of(config, labels[:learned]), keeper, StopOnNonFinite())


def _loaders(
    config: Config,
    facts: dict[str, Any],
    maps: dict[str, Tensor],
    device: torch.device,
    kept: KeptPhotos,
) -> DataLoaders:
    photos, learned = facts["photos"], facts["learned"]
    if facts["cut"]:
        plain, labels = maps.pop("plain").numpy(), [label for _, label in photos]
        views, rows = [view.numpy() for view in maps.values()], list(range(len(photos)))
        return stored_loaders(plain, views, rows, labels, learned, config, device)
    pairs = [(Path(file), label) for file, label in photos]
    bad = Unreadable(facts["total"])
    return data.dataloaders(pairs[:learned], pairs[learned:], config, device, bad, kept)

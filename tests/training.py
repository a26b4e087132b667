"""A dataset small enough to train on in a second, for every test that trains."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bundles import LABELS, tiny_config, trained_dataset
from fastai.torch_core import set_seed
from safetensors.torch import load_file

from bear_classifier.config.settings import Config
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.images import decoder
from bear_classifier.learn.data import dataloaders
from bear_classifier.learn.probe import probe
from bear_classifier.learn.train import start

State = dict[str, torch.Tensor]


def dataset(root: Path, config: Config) -> Catalog:
    """24 drawn photos whose label is what fills most of them: something that can be learned.

    12 to train on, 6 on each other side."""
    catalog = trained_dataset(root, config)
    rows = sorted(catalog.photos("ok"), key=lambda p: p.sha256)
    red = [np.asarray(decoder.decode(catalog.file(p)))[..., 0].mean() for p in rows]
    thirds = np.argsort(np.argsort(red)) * 3 // len(rows)
    sides = ["train", "train", "valid", "test"] * 6
    by_label = sorted(range(len(rows)), key=lambda i: (thirds[i], rows[i].sha256))
    with catalog.transaction():
        catalog.put_photos(
            dataclasses.replace(rows[i], label=LABELS[thirds[i]], split=side)
            for i, side in zip(by_label, sides, strict=True)
        )
    for leftover in ("train", "evaluate"):
        for path in (root / leftover).iterdir():
            path.unlink()
    return catalog


def probed(root: Path, config: Config) -> Catalog:
    """The same with a first model."""
    catalog = dataset(root, config)
    probe(catalog, config)
    return catalog


def pairs_of(catalog: Catalog, side: str) -> list[tuple[Path, str]]:
    return [(catalog.file(p), p.label) for p in catalog.photos("ok") if p.split == side]


def loaders_of(catalog: Catalog, unreadable: Any = None, batch: int = 4) -> Any:
    config = tiny_config(train={"batch_size": batch})
    sides = [pairs_of(catalog, side) for side in ("train", "valid")]
    return dataloaders(*sides, config, torch.device("cpu"), unreadable)


def fresh(catalog: Catalog, config: Config, batch: int = 4) -> tuple[Any, Any]:
    """Loaders and model of a training that begins, the dice set."""
    set_seed(config.train.seed, reproducible=True)
    model = start(catalog, config)
    return loaders_of(catalog, batch=batch), model


def changed(config: Config, **train: Any) -> Config:
    return dataclasses.replace(config, train=dataclasses.replace(config.train, **train))


def weights(catalog: Catalog) -> State:
    return load_file(catalog.root / "train" / "weights.safetensors")


def same(one: State, two: State) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)

"""The trained network as a fastai Learner."""

from __future__ import annotations

import dataclasses

import fastai.callback.schedule  # noqa: F401  # adds lr_find and fit_one_cycle to Learner
import fastai.vision.data  # noqa: F401  # how show_batch and plot_top_losses draw pictures
from fastai.learner import Learner
from fastai.losses import CrossEntropyLossFlat
from fastai.metrics import accuracy, error_rate
from safetensors import SafetensorError
from safetensors.torch import load as from_safetensors

from bear_classifier.config.settings import Config
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.errors import DataError
from bear_classifier.learn import backbone
from bear_classifier.learn.data import learning_photos, portable_dataloaders
from bear_classifier.learn.fit import adjusted_settings


def trained_network(catalog: Catalog, config: Config) -> backbone.Classifier:
    """The network of the last training, on the CPU. Raises DataError (NOT_TRAINED)."""
    body = backbone.bare_body(config.learn.arch)
    network = backbone.Classifier(body, len(config.labels), config.train.dropout)
    try:
        state = from_safetensors((catalog.root / "train" / "weights.safetensors").read_bytes())
        network.load_state_dict(state)
    except (OSError, ValueError, RuntimeError, SafetensorError) as exc:
        raise DataError(
            "NOT_TRAINED", f"{catalog.root} holds no model of these settings; run: bears run"
        ) from exc
    return network


def trained_learner(catalog: Catalog, config: Config) -> Learner:
    """A fastai Learner with the trained weights, and DataLoaders of the train and valid splits.

    What it trains or saves lies in `learner/` of the dataset and changes nothing else there.
    Raises DataError (NOT_TRAINED, NOT_SPLIT) and TrainError (NO_BATCH)."""
    network = trained_network(catalog, config)
    train, valid = ([(catalog.file(p), p.label) for p in s] for s in learning_photos(catalog))
    device = backbone.pick_device(config.learn.device)
    config = dataclasses.replace(config, train=adjusted_settings(config.train, len(train))[0])
    dls = portable_dataloaders(train, valid, config, device)
    place = catalog.root / "learner"
    place.mkdir(exist_ok=True)
    options = {"splitter": backbone.groups, "metrics": [error_rate, accuracy], "path": place}
    return Learner(dls, network.to(device), CrossEntropyLossFlat(), **options)

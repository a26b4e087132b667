"""Fine-tuning from the probe (LP-FT, arXiv 2202.10054), the choice of the model to keep, and the
trained network as a fastai Learner."""

from __future__ import annotations

import dataclasses
import json
import time
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import fastai.callback.schedule  # noqa: F401  # adds lr_find and fit_one_cycle to Learner
import fastai.vision.data  # noqa: F401  # how show_batch and plot_top_losses draw pictures
import numpy as np
import torch
from fastai.learner import Learner
from fastai.losses import CrossEntropyLossFlat
from fastai.metrics import accuracy, error_rate
from fastai.torch_core import set_seed
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load as from_safetensors
from safetensors.torch import save as to_safetensors
from torch import Tensor

from bear_classifier.config.settings import Config
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.errors import DataError, TrainError
from bear_classifier.learn import (
    backbone,
    checkpoints,
    devices,
    source_holdout,
    weight_interpolation,
)
from bear_classifier.learn.backbone import Classifier
from bear_classifier.learn.data import Unreadable, learning_photos, portable_dataloaders
from bear_classifier.learn.diagnose import diagnose, diagnose_interpolated
from bear_classifier.learn.features import cached_features
from bear_classifier.learn.finetune import interpolated_logits, tune, untuned
from bear_classifier.learn.fit import adjusted_settings, lr_ratio_of, unbalanced
from bear_classifier.learn.probe import Head, probe_network
from bear_classifier.learn.trainable_part import LastStage, TrainablePart, Untrained, Whole, part_of
from bear_classifier.learn.weight_interpolation import interpolated_state
from bear_classifier.learn.weights import announce, preprocessing
from bear_classifier.runtime.files import move, write_partial
from bear_classifier.runtime.npz import write_npz
from bear_classifier.stats.intervals import copies_effect

_LAYERS = {Whole: "all", LastStage: "last-stage", Untrained: "none"}


def train(catalog: Catalog, config: Config) -> dict[str, Any]:
    """Fine-tune on the training split; keep the interpolation of the probe's and the tuned weights
    that is best on the harder of validation and, where sources are known, unseen sources.

    Leaves `train/weights.safetensors`, `train/predictions.npz` (logits and pooled features of every
    photo; of tuned weights also by the networks that lacked its source) and `train/history.json`.
    Meanwhile `train/checkpoints` and `train/source-half-*` hold the states that an interrupted
    training resumes from. Raises DataError (NOT_SPLIT, NO_PROBE, BAD_TABLE, DISK_FULL) and
    TrainError."""
    learned, checked = learning_photos(catalog)
    photos = catalog.photos("ok")
    settings, notes = config.train, list[str]()
    if settings.epochs:
        settings, notes = adjusted_settings(settings, len(learned))
        notes += unbalanced([photo.label for photo in learned], settings)
    config = dataclasses.replace(config, train=settings)
    announce(config.learn)
    network = start(catalog, config).to(devices.pick_device(config.learn.device))
    held_out = source_holdout.held_out_sources(catalog, config) if settings.epochs else None
    if held_out:
        features = cached_features(catalog, config, held_out.photos, network.body)
    elif settings.epochs:
        notes += source_holdout.why_not_validated(catalog, config)
    unreadable = Unreadable(len(photos))
    folder = catalog.root / "train" / "checkpoints"
    began = time.monotonic()
    set_seed(settings.seed, reproducible=True)
    part: TrainablePart | Untrained
    if settings.epochs:
        part, part_notes = part_of(catalog, config, network, photos, unreadable)
        notes += part_notes
        tuned = tune(catalog, config, part, learned, checked, folder)
    else:
        part, tuned = Untrained(catalog, network), untuned(network)
    facts, seconds = tuned.end.facts, time.monotonic() - began
    history, lr = facts["history"], facts["lr"]
    logits, targets, groups = interpolated_logits(config, part, tuned, checked)
    valid = weight_interpolation.interpolation_figures(logits, targets, groups)
    figures, halves = {"valid": valid}, list[source_holdout.HalfTraining]()
    if held_out and facts["kept_epoch"] and not isinstance(part, Untrained):
        figures["unseen"], halves = source_holdout.cross_source_validation(
            catalog, config, held_out, part, features, lr
        )
    number = weight_interpolation.best(list(figures.values())) if facts["kept_epoch"] else 0
    alpha = weight_interpolation.ALPHAS[number]
    part.model.load_state_dict(interpolated_state(tuned.first, tuned.last, alpha))
    rows, kept_logits, pooled = part.outputs(photos, config)
    start_error = weight_interpolation.error_of_change(logits[0], logits[-1], targets)
    diverged = len(history) < settings.epochs
    finding = diagnose(history, lr, valid["loss"][0], len(learned), diverged, start_error)
    calibrated = valid["calibrated"]
    finding = diagnose_interpolated(finding, alpha, calibrated[number], calibrated[0])
    kept = {"probe": 0, "tuned": -1, "kept": number}
    named = {
        f"valid_{key}": {name: valid[key][place] for name, place in kept.items()}
        for key in ("loss", "wrong", "intervals")
    }
    record = {
        "chosen": "tuned" if number else "probe",
        "share": alpha,
        "layers": _LAYERS[type(part)],
        "lr": lr,
        "lr_reason": facts["lr_reason"],
        "finder": facts["finder"],
        "spread": lr_ratio_of(config),
        "batch_size": settings.batch_size,
        "epochs": settings.epochs,
        "history": history,
        "kept_epoch": facts["kept_epoch"],
        "diagnosis": dataclasses.asdict(finding),
        "valid": valid["n"],
        **named,
        "valid_copies": copies_effect(groups),
        "mixtures": {"shares": weight_interpolation.alphas_of(settings), **figures},
        "fit_seconds": round(seconds, 1),
        "notes": [*notes, *tuned.notes, *unreadable.note()],
    }
    predictions = {
        "sha256": np.array([photos[row].sha256 for row in rows]),
        "logits": kept_logits,
        "pooled": pooled,
        "chosen": np.array(record["chosen"]),
    }
    if number and halves:  # the probe's evaluation fits its own heads without the held-out sources
        predictions |= source_holdout.held_out_outputs(config, halves, alpha)
    _save(catalog.root / "train", network, predictions, record)
    for done in (folder, *source_holdout.checkpoint_folders(catalog)):
        checkpoints.clear(done)
    return record


def start(catalog: Catalog, config: Config) -> Classifier:
    """The untuned body with the dataset's probe as its head."""
    try:
        with np.load(catalog.root / "probe" / "head.npz", allow_pickle=False) as file:
            head = Head(**{name: file[name] for name in ("mean", "var", "weight", "bias")})
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as exc:
        raise DataError("NO_PROBE", "the probe has not run yet; run: bears probe") from exc
    return probe_network(config, head)


def _save(
    folder: Path, model: Classifier, arrays: dict[str, NDArray[Any]], record: dict[str, Any]
) -> None:
    """Write all three files or none; the weights come last, since they mark the stage complete."""
    state: dict[str, Tensor] = {k: v.cpu().contiguous() for k, v in model.state_dict().items()}
    if not all(bool(torch.isfinite(t).all()) for t in state.values() if t.is_floating_point()):
        raise TrainError(
            "NOT_FINITE", "the trained weights hold NaN or infinite values; nothing was saved"
        )
    parts: dict[Path, Path] = {}
    try:
        for name, data in (
            ("history.json", json.dumps(record, indent=1).encode()),
            ("predictions.npz", partial(write_npz, values=arrays)),
            ("weights.safetensors", to_safetensors(state)),
        ):
            parts[folder / name] = write_partial(folder / name, data)
        for path, half in parts.items():
            move(half, path)
    finally:
        for half in parts.values():
            half.unlink(missing_ok=True)


def trained_network(catalog: Catalog, config: Config) -> Classifier:
    """The network of the last training, on the CPU. Raises DataError (NOT_TRAINED)."""
    size = preprocessing(config.learn).size
    body = backbone.bare_body(config.learn.arch, size)
    network = Classifier(body, len(config.labels), config.train.dropout, size)
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
    device = devices.pick_device(config.learn.device)
    config = dataclasses.replace(config, train=adjusted_settings(config.train, len(train))[0])
    dls = portable_dataloaders(train, valid, config, device)
    place = catalog.root / "learner"
    place.mkdir(exist_ok=True)
    options = {"splitter": backbone.groups, "metrics": [error_rate, accuracy], "path": place}
    return Learner(dls, network.to(device), CrossEntropyLossFlat(), **options)

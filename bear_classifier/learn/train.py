"""Fine-tuning from the probe (LP-FT, arXiv 2202.10054), and the choice of the model to keep."""

from __future__ import annotations

import dataclasses
import json
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fastai.torch_core import set_seed
from numpy.typing import NDArray
from safetensors.torch import save as to_safetensors
from torch import Tensor

from bear_classifier.config.settings import Config
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.errors import DataError, TrainError
from bear_classifier.learn import backbone, checkpoints, probe, weight_interpolation
from bear_classifier.learn.data import Unreadable
from bear_classifier.learn.diagnose import diagnose, diagnose_interpolated
from bear_classifier.learn.finetune import interpolated_logits, tune
from bear_classifier.learn.plan import adjusted_settings, lr_ratio_of, unbalanced
from bear_classifier.learn.probe import Head, cached_features
from bear_classifier.learn.source_holdout import (
    checkpoint_folders,
    cross_source_validation,
    held_out_sources,
    why_not_validated,
)
from bear_classifier.learn.trainable_part import Whole, part_of
from bear_classifier.runtime.files import move, write_partial
from bear_classifier.runtime.npz import as_npz
from bear_classifier.stats.intervals import copies_effect


def train(catalog: Catalog, config: Config) -> dict[str, Any]:
    """Fine-tune on the training split; keep the mixture of the probe's and the tuned weights that
    is best on the harder of validation and, where sources are known, photos of unseen sources.

    Leaves `train/weights.safetensors`, `train/predictions.npz` (logits and pooled features of every
    photo) and `train/history.json`; while it works, `train/checkpoints` and `train/source-half-*`,
    from which it goes on when it was interrupted. Raises DataError (NOT_SPLIT, NO_PROBE, BAD_TABLE,
    DISK_FULL) and TrainError."""
    photos = catalog.photos("ok")
    photos_of = {s: [p for p in photos if p.split == s] for s in ("train", "valid")}
    if not photos_of["train"] or not photos_of["valid"]:
        raise DataError("NOT_SPLIT", "there are no training or validation photos; run: bears split")
    settings, notes = adjusted_settings(config.train, len(photos_of["train"]))
    labels = [p.label for p in photos_of["train"]]
    notes += unbalanced(labels, settings)
    config = dataclasses.replace(config, train=settings)
    network = start(catalog, config).to(backbone.pick_device(config.learn.device))
    actors = held_out_sources(catalog, config)
    notes += [] if actors else why_not_validated(catalog, config)
    pooled = cached_features(catalog, config, photos, network.body)
    unreadable = Unreadable(len(photos))
    folder = catalog.root / "train" / "checkpoints"
    began = time.monotonic()
    set_seed(settings.seed, reproducible=True)
    part, said_of_it = part_of(catalog, config, network, photos, unreadable)
    notes += said_of_it
    tuned = tune(catalog, config, part, photos_of["train"], photos_of["valid"], folder)
    facts, seconds = tuned.end.facts, time.monotonic() - began
    said = interpolated_logits(config, part, tuned, photos_of["valid"])
    asked = {"valid": weight_interpolation.interpolation_figures(*said)}
    if actors and facts["kept_epoch"]:
        rows = {photo.sha256: row for row, photo in enumerate(photos)}
        features = pooled[[rows[photo.sha256] for photo in actors.photos]]
        asked["unseen"] = cross_source_validation(
            catalog, config, actors, part, features, facts["lr"]
        )
    number = weight_interpolation.best(list(asked.values())) if facts["kept_epoch"] else 0
    part.model.load_state_dict(
        weight_interpolation.interpolated_state(
            tuned.first, tuned.last, weight_interpolation.ALPHAS[number]
        )
    )
    there, logits, features = part.outputs(photos, config)
    valid = asked["valid"]
    found = diagnose(
        facts["history"],
        facts["lr"],
        valid["loss"][0],
        len(photos_of["train"]),
        len(facts["history"]) < settings.epochs,
        weight_interpolation.error_of_change(said[0][0], said[0][-1], said[1]),
    )
    kept = valid["calibrated"]
    found = diagnose_interpolated(found, weight_interpolation.ALPHAS[number], kept[number], kept[0])
    record = {
        "chosen": "tuned" if number else "probe",
        "share": weight_interpolation.ALPHAS[number],
        "layers": "all" if isinstance(part, Whole) else "last-stage",
        "lr": facts["lr"],
        "lr_reason": facts["lr_reason"],
        "finder": facts["finder"],
        "spread": lr_ratio_of(config),
        "batch_size": settings.batch_size,
        "epochs": settings.epochs,
        "history": facts["history"],
        "kept_epoch": facts["kept_epoch"],
        "diagnosis": dataclasses.asdict(found),
        "valid": valid["n"],
        "valid_loss": _named(valid["loss"], number),
        "valid_wrong": _named(valid["wrong"], number),
        "valid_intervals": _named(valid["intervals"], number),
        "valid_copies": copies_effect(said[2]),
        "mixtures": {"shares": weight_interpolation.ALPHAS, **asked},
        "fit_seconds": round(seconds, 1),
        "notes": [*notes, *tuned.notes, *unreadable.note()],
    }
    predicted = {
        "sha256": np.array([photos[row].sha256 for row in there]),
        "logits": logits,
        "pooled": features,
        "chosen": np.array(record["chosen"]),
    }
    _save(catalog.root / "train", network, predicted, record)
    for done in (folder, *checkpoint_folders(catalog)):
        checkpoints.clear(done)
    return record


def _named(values: Sequence[Any], number: int) -> dict[str, Any]:
    """Of the untuned model, the fully tuned one, and the mixture of this number, which is kept."""
    return {"probe": values[0], "tuned": values[-1], "kept": values[number]}


def start(catalog: Catalog, config: Config) -> backbone.Classifier:
    """The untuned body with the dataset's probe as its head."""
    try:
        with np.load(catalog.root / "probe" / "head.npz", allow_pickle=False) as file:
            head = Head(*(file[name] for name in ("mean", "var", "weight", "bias")))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as exc:
        raise DataError("NO_PROBE", "the probe has not run yet; run: bears probe") from exc
    return probe.probe_network(config, head)


def _save(
    folder: Path, model: backbone.Classifier, said: dict[str, NDArray[Any]], record: dict[str, Any]
) -> None:
    """All three files, or what was there before; the weights last, since they tell that the stage
    is complete."""
    state: dict[str, Tensor] = {k: v.cpu().contiguous() for k, v in model.state_dict().items()}
    if not all(bool(torch.isfinite(t).all()) for t in state.values() if t.is_floating_point()):
        raise TrainError(
            "NOT_FINITE", "the trained weights hold NaN or infinite values; nothing was saved"
        )
    parts: dict[Path, Path] = {}
    try:
        for name, data in (
            ("history.json", json.dumps(record, indent=1).encode()),
            ("predictions.npz", as_npz(**said)),
            ("weights.safetensors", to_safetensors(state)),
        ):
            parts[folder / name] = write_partial(folder / name, data)
        for path, half in parts.items():
            move(half, path)
    finally:
        for half in parts.values():
            half.unlink(missing_ok=True)

"""Fine-tune the whole network from the probe's head (LP-FT, arXiv 2202.10054) with fastai."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import sys
import time
import zipfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fastai.data.core import DataLoaders
from fastai.torch_core import set_seed
from numpy.typing import NDArray
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn
from tqdm import tqdm

from bear_classifier.catalog import Catalog
from bear_classifier.errors import DataError, TrainError
from bear_classifier.files import move, write_partial
from bear_classifier.learn import backbone, checkpoints
from bear_classifier.learn.checkpoints import State
from bear_classifier.learn.cycle import Plan, fit
from bear_classifier.learn.diagnose import diagnose
from bear_classifier.learn.loaders import Unreadable, batches, dataloaders
from bear_classifier.learn.probe import cached_features
from bear_classifier.schema import Photo
from bear_classifier.settings import Config, TrainConfig

_SPREAD = 2.0  # of rates with pretrained weights; more kept the body from learning (docs/LOG.md)
_FORMAT = 1  # of checkpoints; a new number makes those of before start anew


def train(catalog: Catalog, config: Config) -> dict[str, Any]:
    """Fine-tune on the training side; keep the tuned weights if they beat the probe on validation.

    Leaves `train/weights.safetensors`, `train/predictions.npz` (logits and pooled features of every
    photo) and `train/history.json`; while it works, `train/checkpoints`, from which it goes on when
    it was interrupted. Raises DataError (NOT_SPLIT, NO_PROBE, DISK_FULL) and TrainError."""
    photos = catalog.photos("ok")
    sides = {s: [p for p in photos if p.split == s] for s in ("train", "valid")}
    if not sides["train"] or not sides["valid"]:
        raise DataError("NOT_SPLIT", "there are no training or validation photos; run: bears split")
    settings, notes = fitted(config.train, len(sides["train"]))
    config = dataclasses.replace(config, train=settings)
    set_seed(settings.seed, reproducible=True)
    device = backbone.pick_device(config.learn.device)
    model = start(catalog, config).to(device)
    folder = catalog.root / "train" / "checkpoints"
    checkpoints.require_space(folder, model)
    pooled = cached_features(catalog, config, photos, model.body)
    with torch.inference_mode():
        logits = model.head[2:](torch.from_numpy(pooled).to(device)).cpu().numpy()
    unreadable = Unreadable(len(photos))
    pairs = {s: [(catalog.file(p), p.label) for p in sides[s]] for s in sides}
    dls = dataloaders(pairs["train"], pairs["valid"], config, device, unreadable)
    spread = spread_of(config)
    plan = Plan(settings.epochs, settings.lr, spread)
    began = time.monotonic()
    if not settings.resume:
        checkpoints.clear(folder)
    end, said = _resumed(folder, _made_from(catalog, config, model), dls, model, plan)
    seconds = time.monotonic() - began
    rows, after, features = outputs(catalog, model, photos, config, unreadable)
    photos = [photos[row] for row in rows]
    targets = np.array([config.labels.index(p.label) for p in photos])
    valid = np.array([p.split == "valid" for p in photos])
    before = logits[rows]
    losses = {
        "probe": _loss(before[valid], targets[valid]),
        "tuned": _loss(after[valid], targets[valid]),
    }
    wrong = {
        name: int((by[valid].argmax(1) != targets[valid]).sum())
        for name, by in (("probe", before), ("tuned", after))
    }
    kept, history = end.facts["kept_epoch"], end.facts["history"]
    chosen = "tuned" if kept and losses["tuned"] < losses["probe"] else "probe"
    if chosen == "probe":
        model, after, features = start(catalog, config), before, pooled[rows]
    diverged = len(history) < settings.epochs
    record = {
        "chosen": chosen,
        "lr": end.facts["lr"],
        "lr_reason": end.facts["lr_reason"],
        "spread": spread,
        "batch_size": settings.batch_size,
        "epochs": settings.epochs,
        "history": history,
        "kept_epoch": kept,
        "diagnosis": dataclasses.asdict(
            diagnose(history, end.facts["lr"], losses["probe"], len(sides["train"]), diverged)
        ),
        "valid": int(valid.sum()),
        "valid_loss": losses,
        "valid_wrong": wrong,
        "fit_seconds": round(seconds, 1),
        "notes": [*notes, *said, *unreadable.note()],
    }
    predicted = {
        "sha256": np.array([p.sha256 for p in photos]),
        "logits": after,
        "pooled": features,
        "chosen": np.array(chosen),
    }
    _save(catalog.root / "train", model, predicted, record)
    checkpoints.clear(folder)
    return record


def _resumed(
    folder: Path, made_from: str, dls: DataLoaders, model: backbone.Classifier, plan: Plan
) -> tuple[State, list[str]]:
    """Train, from the last whole checkpoint of this very training on if there is one."""
    state, notes = checkpoints.newest(folder, made_from)
    if state is None:
        checkpoints.clear(folder)
    else:
        place = "at the end" if state.epoch == plan.epochs else f"at epoch {state.epoch + 1}"
        notes.append(f"Resuming {place} of {plan.epochs}")
    for words in notes:
        tqdm.write(words, file=sys.stderr)
    end, more = fit(dls, model, plan, state, partial(checkpoints.write, folder, made_from))
    return end, notes + more


def _made_from(catalog: Catalog, config: Config, model: backbone.Classifier) -> str:
    """Digest of all that determines a training: settings, photos, and the weights it starts from.

    Not the device: a training may go on elsewhere."""
    tables = [dataclasses.asdict(config.train), dataclasses.asdict(config.learn)]
    del tables[0]["resume"], tables[1]["device"]
    value = [_FORMAT, tables, config.labels, catalog.fingerprint(), backbone.digest(model)]
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _loss(logits: NDArray[np.float32], targets: NDArray[np.int64]) -> float:
    """Mean log loss, in nats."""
    return float(nn.functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(targets)))


def spread_of(config: Config) -> float:
    """Rate of the head / rate of the first layers."""
    return config.train.spread or (1.0 if config.learn.weights == "none" else _SPREAD)


def fitted(settings: TrainConfig, n: int) -> tuple[TrainConfig, list[str]]:
    """Settings whose batch fits the data, and what was changed. n: training photos."""
    if n >= settings.batch_size:
        return settings, []
    note = f"{n} training photos: batch size lowered to {n}"
    return dataclasses.replace(settings, batch_size=n), [note]


def start(catalog: Catalog, config: Config) -> backbone.Classifier:
    """The untrained body with the probe as its head."""
    try:
        with np.load(catalog.root / "probe" / "head.npz", allow_pickle=False) as file:
            head = [torch.from_numpy(file[k]).float() for k in ("mean", "var", "weight", "bias")]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as exc:
        raise DataError("NO_PROBE", "the probe has not run yet; run: bears probe") from exc
    body = backbone.build_body(config.learn, config.train.seed)
    model = backbone.Classifier(body, len(config.labels), config.train.dropout)
    model.start_head(*head)
    return model.eval()


def outputs(
    catalog: Catalog,
    model: backbone.Classifier,
    photos: Sequence[Photo],
    config: Config,
    unreadable: Unreadable,
) -> tuple[list[int], NDArray[np.float32], NDArray[np.float32]]:
    """Logits (n, classes) and pooled features (n, f) in full precision, without augmentation; and
    before them the numbers (n,) of the photos that they belong to: all that can be read."""
    device = next(model.parameters()).device
    places = {catalog.file(photo): row for row, photo in enumerate(photos)}
    files = [file for file in places if file not in unreadable.found]
    bar = tqdm(total=len(files), desc="predict", unit="photo", disable=None, leave=False)
    logits, pools = [], []
    with bar, torch.inference_mode():
        model.eval()
        for batch in batches(files, config.learn.size, 32, unreadable):
            said, pooled, _ = model.outputs(batch.to(device))
            logits.append(said.float().cpu().numpy())
            pools.append(pooled.float().cpu().numpy())
            bar.update(len(batch))
    rows = [places[file] for file in files if file not in unreadable.found]
    return rows, np.concatenate(logits), np.concatenate(pools)


def _save(
    folder: Path,
    model: backbone.Classifier,
    said: dict[str, NDArray[Any]],
    record: dict[str, Any],
) -> None:
    """All three files, or what was there before; the weights last, since they tell that the stage
    is complete."""
    state: dict[str, Tensor] = {k: v.cpu().contiguous() for k, v in model.state_dict().items()}
    if not all(bool(torch.isfinite(t).all()) for t in state.values() if t.is_floating_point()):
        raise TrainError("NOT_FINITE", "the trained weights are not all numbers; nothing was saved")
    buffer = io.BytesIO()
    np.savez(buffer, **said)  # type: ignore[arg-type]
    parts: dict[Path, Path] = {}
    try:
        for name, data in (
            ("history.json", json.dumps(record, indent=1).encode()),
            ("predictions.npz", buffer.getvalue()),
            ("weights.safetensors", to_safetensors(state)),
        ):
            parts[folder / name] = write_partial(folder / name, data)
        for path, half in parts.items():
            move(half, path)
    finally:
        for half in parts.values():
            half.unlink(missing_ok=True)

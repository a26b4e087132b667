"""Fine-tune the whole network from the probe's head (LP-FT, arXiv 2202.10054) with fastai."""

from __future__ import annotations

import dataclasses
import io
import json
import tempfile
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fastai.callback.schedule  # noqa: F401  # adds lr_find and fit_one_cycle to Learner
import numpy as np
import torch
from fastai.callback.fp16 import MixedPrecision
from fastai.learner import Learner
from fastai.losses import CrossEntropyLossFlat
from fastai.metrics import error_rate
from fastai.torch_core import set_seed
from numpy.typing import NDArray
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn
from tqdm import tqdm

from bear_classifier.catalog import Catalog
from bear_classifier.errors import DataError, TrainError
from bear_classifier.files import write_atomic
from bear_classifier.learn import backbone
from bear_classifier.learn.callbacks import Finite, Progress
from bear_classifier.learn.loaders import batches, dataloaders
from bear_classifier.learn.probe import cached_features
from bear_classifier.schema import Photo
from bear_classifier.settings import Config, TrainConfig

_FIND_STEPS = 40  # of the LR finder, over 6 decades; fastai takes 100 over 8
_SPREAD = 2.0  # of rates with pretrained weights; more kept the body from learning (docs/LOG.md)
_FALLBACK_LR = 1e-3  # fastai's own default


def train(catalog: Catalog, config: Config) -> dict[str, Any]:
    """Fine-tune on the training side; keep the tuned weights if they beat the probe on validation.

    Leaves `train/weights.safetensors`, `train/predictions.npz` (logits and pooled features of every
    photo) and `train/history.json`. Raises DataError (NOT_SPLIT, NO_PROBE) and TrainError."""
    photos = catalog.photos("ok")
    sides = {s: [p for p in photos if p.split == s] for s in ("train", "valid", "test")}
    if not sides["train"] or not sides["valid"]:
        raise DataError("NOT_SPLIT", "there are no training or validation photos; run: bears split")
    settings, notes = fitted(config.train, len(sides["train"]))
    set_seed(settings.seed, reproducible=True)
    device = backbone.pick_device(config.learn.device)
    model = start(catalog, config).to(device)
    targets = torch.tensor([config.labels.index(p.label) for p in sides["valid"]])
    pooled = cached_features(catalog, config, photos, model.body)
    with torch.inference_mode():
        logits = model.head[2:](torch.from_numpy(pooled).to(device)).cpu().numpy()
    before = logits[[p.split == "valid" for p in photos]]
    pairs = {s: [(catalog.file(p), p.label) for p in sides[s]] for s in ("train", "valid")}
    with tempfile.TemporaryDirectory() as scratch:
        dls = dataloaders(
            pairs["train"],
            pairs["valid"],
            config.labels,
            config.learn.size,
            settings.batch_size,
            settings.crop,
            device,
        )
        learn = learner(dls, model, Path(scratch))
        lr, reason = choose_lr(learn, settings.lr)
        spread = settings.spread or (1.0 if config.learn.weights == "none" else _SPREAD)
        began = time.monotonic()
        history, diverged = fit(learn, settings.epochs, lr, spread)
    seconds = time.monotonic() - began
    after, _ = outputs(catalog, model, sides["valid"], config)
    losses = {
        name: float(nn.functional.cross_entropy(torch.from_numpy(said), targets))
        for name, said in (("probe", before), ("tuned", after))
    }
    wrong = {
        name: int((said.argmax(1) != targets.numpy()).sum())
        for name, said in (("probe", before), ("tuned", after))
    }
    chosen = min(losses, key=lambda name: losses[name])
    if chosen == "probe":
        model = start(catalog, config)
    else:
        logits, pooled = outputs(catalog, model, photos, config)
    record = {
        "chosen": chosen,
        "lr": lr,
        "lr_reason": reason,
        "spread": spread,
        "batch_size": settings.batch_size,
        "epochs": settings.epochs,
        "history": history,
        "valid": len(targets),
        "valid_loss": losses,
        "valid_wrong": wrong,
        "fit_seconds": round(seconds, 1),
        "notes": notes + diverged,
    }
    said = {
        "sha256": np.array([p.sha256 for p in photos]),
        "logits": logits,
        "pooled": pooled,
        "chosen": np.array(chosen),
    }
    _save(catalog.root / "train", model, said, record)
    return record


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


def learner(dls: Any, model: backbone.Classifier, scratch: Path) -> Learner:
    """A fastai Learner with mixed precision: fp16 on CUDA, bfloat16 on a processor that has it."""
    device = next(model.parameters()).device
    cbs = []
    if device.type == "cuda":
        cbs.append(MixedPrecision())
    elif device.type == "cpu" and has_bfloat16():
        model.to(memory_format=torch.channels_last)
        model.precision = torch.bfloat16
    learn = Learner(
        dls,
        model,
        loss_func=CrossEntropyLossFlat(),
        splitter=backbone.groups,
        metrics=error_rate,
        path=scratch,
        cbs=cbs,
    )
    learn.remove_cbs([cb for cb in learn.cbs if cb.name == "progress"])  # ours takes its place
    return learn


def has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 in hardware (x86: AVX512-BF16 or AMX)."""
    has = torch.cpu.get_capabilities()
    return bool(has.get("avx512_bf16") or has.get("amx_bf16"))


def choose_lr(learn: Learner, lr: float | str) -> tuple[float, str]:
    """The rate of the settings, or the LR finder's valley, and why."""
    if isinstance(lr, float):
        return lr, "given in the settings"
    with Progress(_FIND_STEPS, "LR finder").attached(learn), learn.no_logging():
        try:
            found = float(learn.lr_find(1e-6, 1.0, _FIND_STEPS, show_plot=False).valley)
        except (ZeroDivisionError, IndexError, ValueError) as exc:
            return _FALLBACK_LR, f"the LR finder found nothing ({exc}); fastai's default"
    return found, "the LR finder's valley"


def fit(
    learn: Learner, epochs: int, lr: float, spread: float
) -> tuple[list[dict[str, float]], list[str]]:
    """One cycle over all layers. Returns one row per epoch, and what went wrong, if anything.

    Raises TrainError (NOTHING_TRAINED) when no weight changed."""
    first = [p.detach().clone() for p in learn.model.parameters()]
    guard = Finite()
    bar = Progress(epochs * len(learn.dls.train), "train")
    with bar.attached(learn), learn.no_logging():
        learn.fit_one_cycle(epochs, slice(lr / spread, lr), div=5.0, pct_start=0.3, cbs=guard)
    names = ("train_loss", "valid_loss", "error")
    history = [
        {"epoch": i + 1, **dict(zip(names, map(float, row), strict=True))}
        for i, row in enumerate(learn.recorder.values)
    ]
    learn.model.precision = None
    if guard.failed_in is not None:
        kept = f"The model of epoch {guard.good}" if guard.good else "The probe"
        return history[: guard.good], [
            f"Training diverged in epoch {guard.failed_in} (loss is not a number). {kept} was kept."
            f" Try a learning rate of {lr / 10:.1g}: --set train.lr={lr / 10:.1g}"
        ]
    pairs = zip(first, learn.model.parameters(), strict=True)
    if all(torch.equal(a, b) for a, b in pairs):
        raise TrainError("NOTHING_TRAINED", "no weight changed; the learning rate is too low")
    return history, []


def outputs(
    catalog: Catalog, model: backbone.Classifier, photos: Sequence[Photo], config: Config
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Logits (n, classes) and pooled features (n, f) in full precision, without augmentation."""
    device = next(model.parameters()).device
    files = [catalog.file(photo) for photo in photos]
    bar = tqdm(total=len(photos), desc="predict", unit="photo", disable=None, leave=False)
    rows, pools = [], []
    with bar, torch.inference_mode():
        model.eval()
        for batch in batches(files, config.learn.size, 32):
            logits, pooled, _ = model.outputs(batch.to(device))
            rows.append(logits.float().cpu().numpy())
            pools.append(pooled.float().cpu().numpy())
            bar.update(len(batch))
    return np.concatenate(rows), np.concatenate(pools)


def _save(
    folder: Path,
    model: backbone.Classifier,
    said: dict[str, NDArray[Any]],
    record: dict[str, Any],
) -> None:
    """The weights last: they are what tells that the stage is complete."""
    state: dict[str, Tensor] = {k: v.cpu().contiguous() for k, v in model.state_dict().items()}
    if not all(bool(torch.isfinite(t).all()) for t in state.values() if t.is_floating_point()):
        raise TrainError("NOT_FINITE", "the trained weights are not all numbers; nothing was saved")
    buffer = io.BytesIO()
    np.savez(buffer, **said)  # type: ignore[arg-type]
    write_atomic(folder / "history.json", json.dumps(record, indent=1).encode())
    write_atomic(folder / "predictions.npz", buffer.getvalue())
    write_atomic(folder / "weights.safetensors", to_safetensors(state))

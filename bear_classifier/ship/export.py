"""Export the trained model as a bundle, once parity with the trained network is proved."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save as to_safetensors

from bear_classifier import __version__
from bear_classifier.config.settings import Config
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.lock import publishing
from bear_classifier.dataset.schema import Published
from bear_classifier.errors import BearsError, ConfigError, DataError, ModelError
from bear_classifier.judge import membership_inference
from bear_classifier.judge.predictions import load_predictions
from bear_classifier.learn import backbone
from bear_classifier.learn.backbone import OUTPUTS, Outputs
from bear_classifier.learn.data import normalisation
from bear_classifier.learn.frozen_forward import as_onnx
from bear_classifier.learn.train import trained_network
from bear_classifier.runtime.npz import as_npz
from bear_classifier.ship import acceptance, bundle, golden, manifest, nearest_photos
from bear_classifier.ship.model_card import card
from bear_classifier.ship.parity import prove, torch_outputs
from bear_classifier.ship.predict import Model
from bear_classifier.ship.sandbox import remember

_LARGE = (0, 3)  # of the pictures of the self-test: JPEGs
_LIBRARIES = ("torch", "torchvision", "fastai", "onnx", "onnxruntime", "pillow", "numpy")


def export(catalog: Catalog, config: Config, place: Path) -> dict[str, Any]:
    """Write the bundle beside `place`, prove it, then put it there; what stood there stays if not.
    Whoever publishes there meanwhile, from this dataset or another, is waited for.

    What is proved is the network in full precision; then shortcuts are tried and taken or dropped.
    Raises DataError (NOT_TRAINED, DISK_FULL, LOCKED), ModelError (PARITY, PRECISION) and
    ConfigError (NO_NOTE)."""
    with publishing(place):
        return _published(catalog, config, place)


def _published(catalog: Catalog, config: Config, place: Path) -> dict[str, Any]:
    note = _note(config.export.note)
    model, record, judged = _trained(catalog, config)
    temperature = float(judged["temperature"])
    files = _golden()
    files["model.onnx"] = to_onnx(model, config.learn.size)
    trained = _weights_file(catalog).read_bytes()
    files["weights.safetensors"] = (
        trained if config.export.weights == "fp32" else half_precision_state(model)
    )
    files["reference.npz"] = (catalog.root / "evaluate" / "reference.npz").read_bytes()
    shown = _pictures(catalog, config)
    if shown.shown:
        files[nearest_photos.FILE] = shown.as_bytes()
    partial = place.with_name(f".{place.name}.{os.getpid()}.partial")
    bundle.clear_leftovers(place)
    try:
        bundle.write_bundle(partial, files)
        drawn = [partial / name for name in sorted(files) if name.startswith("golden/")]
        expected = torch_outputs(model, drawn, config.learn, temperature)
        files["golden/expected.npz"] = as_npz(**expected)
        about = _about(catalog, config, record, judged)
        about["version"], about["note"] = _next_version(place), note
        about["data"]["pictures"] = len(shown.shown)
        files["README.md"] = card(about).encode()
        names = ("golden/expected.npz", "README.md")
        bundle.write_bundle(partial, {name: files[name] for name in names})
        bundle.write_bundle(partial, {"bundle.json": bundle.describe(files, about)})
        candidate = Model(bundle.load(partial))
        candidate.self_test()
        about["parity"] = prove(catalog, config, model, candidate)
        taken = acceptance.take(catalog, config, candidate)
        about |= {"decoding": taken.decoding, "precision": taken.precision}
        about["preprocessing"] |= taken.preprocessing
        if (about["decoding"]["is"], about["precision"]["is"]) != ("full", "fp32"):
            published = replace(candidate.bundle, onnx=taken.onnx, about=about)
            files |= {"model.onnx": taken.onnx, **_golden(published.least)}
            bundle.write_bundle(partial, files)
            files["golden/expected.npz"] = as_npz(**_outputs(Model(published), drawn))
        files["README.md"] = card(about).encode()
        bundle.write_bundle(partial, files)
        bundle.write_bundle(partial, {"bundle.json": bundle.describe(files, about)})
        proved = bundle.load(partial)
        Model(proved).self_test()
        _remember(catalog, place, about)  # first: no bundle may be out without its list of photos
        bundle.publish(partial, place)
        remember(proved)
    except BearsError as exc:
        kept = f"; {place} is kept as it was" if place.exists() else ""
        raise type(exc)(exc.code, f"model not published: {exc.sentence}{kept}") from exc
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    size = sum(map(len, files.values()))
    return {
        "model": str(place),
        "version": about["version"],
        "bytes": size,
        "parity": about["parity"],
        "decoding": about["decoding"],
        "precision": about["precision"],
        "revision": about["data"]["revision"],
        "latest_revision": about["data"]["latest_revision"],
    }


def _note(name: str) -> str:
    """What the card quotes. Raises ConfigError (NO_NOTE)."""
    try:
        return Path(name).expanduser().read_text(encoding="utf-8").strip() if name else ""
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError("NO_NOTE", f"export.note = {name!r} cannot be read ({exc})") from exc


def _weights_file(catalog: Catalog) -> Path:
    return catalog.root / "train" / "weights.safetensors"


def _trained(
    catalog: Catalog, config: Config
) -> tuple[backbone.Classifier, dict[str, Any], dict[str, Any]]:
    """The model of the last training, its record, and what evaluation said of it."""
    try:
        record = json.loads((catalog.root / "train" / "history.json").read_bytes())
        judged = json.loads((catalog.root / "evaluate" / "report.json").read_bytes())
    except (OSError, ValueError) as exc:
        raise DataError("NOT_TRAINED", "nothing to export yet; run: bears run") from exc
    model = trained_network(catalog, config)
    model.to(memory_format=torch.channels_last)  # much quicker on a processor, for the proof
    return model.eval(), record, judged


def half_precision_state(model: backbone.Classifier) -> bytes:
    """The state of a model, its body in half precision; of the head maps are made, which are to be
    exact. Raises ModelError (TOO_LARGE_FOR_FP16)."""
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    body = [k for k, t in state.items() if k.startswith("body.") and t.is_floating_point()]
    state |= {name: state[name].half() for name in body}
    if not all(bool(state[name].isfinite().all()) for name in body):
        words = "a weight is too large for half precision; use export.weights=fp32"
        raise ModelError("TOO_LARGE_FOR_FP16", words)
    return bytes(to_safetensors(state))


def to_onnx(model: backbone.Classifier, size: int) -> bytes:
    """One file, any number of images, the three outputs."""
    return as_onnx(Outputs(model), torch.zeros(1, 3, size, size), "image", OUTPUTS)


def _golden(least: int | None = None) -> dict[str, bytes]:
    """Files of the self-test. least: as `photos.measure`; some are then so large that it counts."""
    drawn = {
        i: golden.draw_picture(i, 2 * least if least and i in _LARGE else 0)
        for i in range(bundle.GOLDEN)
    }
    return {f"golden/{i:02}.{suffix}": data for i, (suffix, data) in drawn.items()}


def _outputs(model: Model, files: Sequence[Path]) -> dict[str, NDArray[Any]]:
    """What a bundle says to files: logits, pooled and probabilities, (n, ...) each."""
    said = [model.outputs(path) for path in files]
    logits, pooled = (np.stack([outputs[part] for outputs in said]) for part in (0, 1))
    return {"logits": logits, "pooled": pooled, "probabilities": model.probabilities(logits)}


def _pictures(catalog: Catalog, config: Config) -> nearest_photos.SimilarPhotos:
    """Small copies of training photos that may be published, and who made them."""
    if config.export.pictures == "none":
        return nearest_photos.SimilarPhotos(np.zeros((0, 1)), [])
    stored = load_predictions(catalog.root)
    pooled = {sha256: stored.pooled[row] for sha256, row in stored.rows.items()}
    known = {source.sha256: source for source in catalog.sources() if source.sha256}
    free = {sha for sha, source in known.items() if nearest_photos.shareable(source)}
    found = [
        photo
        for photo in catalog.photos("ok")
        if photo.split == "train"
        and photo.sha256 in pooled
        and (config.export.pictures == "all" or photo.sha256 in free)
    ]
    order = np.random.default_rng(config.train.seed).permutation(len(found))[
        : nearest_photos.MAX_PICTURES
    ]
    chosen = [found[row] for row in np.sort(order)]
    shown = []
    for photo in chosen:
        source = known.get(photo.sha256)
        about, page = (nearest_photos.credit_line(source), source.page) if source else ("", "")
        small = nearest_photos.thumbnail(catalog.file(photo).read_bytes())
        shown.append(nearest_photos.SimilarPhoto(photo.label, small, about, page))
    width = next(iter(pooled.values())).shape[0]
    rows = [pooled[photo.sha256] for photo in chosen]
    return nearest_photos.SimilarPhotos(np.array(rows, dtype=np.float32).reshape(-1, width), shown)


def _about(
    catalog: Catalog, config: Config, record: Mapping[str, Any], judged: Mapping[str, Any]
) -> dict[str, Any]:
    photos = catalog.photos("ok")
    mean, std = normalisation(config.learn)
    return {
        "name": config.name,
        "version": 0,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "architecture": config.learn.arch,
        "labels": config.labels,
        "preprocessing": {
            "decoder": manifest.DECODER,
            "decode": "full",
            "fit": "centre square, bilinear",
            "size": config.learn.size,
            "mean": list(mean),
            "std": list(std),
        },
        "temperature": judged["temperature"],
        "rejection": judged["rejection"],
        "metrics": {k: judged[k] for k in ("valid", "test", "elsewhere")},
        "membership": membership_inference.card_sentence(found)
        if (found := judged["membership"])
        else None,
        "training": {
            **{k: record[k] for k in ("chosen", "lr", "lr_reason", "epochs", "batch_size")},
            "weights": hashlib.sha256(_weights_file(catalog).read_bytes()).hexdigest(),
        },
        "data": {
            "fingerprint": catalog.fingerprint(),
            "revision": catalog.revision(),
            "latest_revision": catalog.latest_revision(),
            "test_decisions": judged["test_decisions"],
            "test_looks": judged.get("test_looks"),
            "near_copies": "grouped",  # in all intervals
            "photos": {
                split: sum(p.split == split for p in photos) for split in ("train", "valid", "test")
            },
        },
        "versions": {
            "bear-classifier": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in _LIBRARIES},
        },
    }


def _remember(catalog: Catalog, place: Path, about: Mapping[str, Any]) -> None:
    """Note which photos a bundle is made from, for those who ask later to have theirs taken out."""
    photos = {p.sha256: p.split for p in catalog.photos("ok") if p.split}
    made = Published(str(place.resolve()), about["version"], about["created"], dict(photos))
    with catalog.transaction():
        catalog.put_published(made)


def _next_version(place: Path) -> int:
    try:
        return int(json.loads((place / "bundle.json").read_bytes())["version"]) + 1
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return 1

"""Export the trained model as a bundle, once parity with the trained network is proved."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
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
from bear_classifier.dataset.schema import SPLITS, Published
from bear_classifier.errors import BearsError, ConfigError, DataError, ModelError
from bear_classifier.judge.membership_inference import card_sentence
from bear_classifier.judge.predictions import load_predictions
from bear_classifier.learn import backbone
from bear_classifier.learn.frozen_forward import to_onnx
from bear_classifier.learn.train import trained_network
from bear_classifier.learn.weights import origin, preprocessing
from bear_classifier.runtime.npz import as_npz
from bear_classifier.ship import (
    acceptance,
    bundle,
    complete_export,
    golden,
    manifest,
    nearest_photos,
)
from bear_classifier.ship.example_pictures import examples
from bear_classifier.ship.model_card import card
from bear_classifier.ship.parity import prove, torch_outputs
from bear_classifier.ship.predict import Model
from bear_classifier.ship.sandbox import remember

_LARGE = (0, 3)  # of the pictures of the self-test: JPEGs
_LIBRARIES = ("torch", "torchvision", "timm", "fastai", "onnx", "onnxruntime", "pillow", "numpy")


def export(catalog: Catalog, config: Config, place: Path) -> dict[str, Any]:
    """Write the bundle beside `place`, prove it, then put it there; otherwise the old one stays.
    Others who publish there, from this dataset or another, are waited for. Parity is proved in full
    precision; then int8 and scaled decoding are tried. Raises DataError (NOT_TRAINED, DISK_FULL,
    LOCKED), ModelError (PARITY, PRECISION) and ConfigError (NO_NOTE)."""
    with publishing(place):
        return _published(catalog, config, place)


def _published(catalog: Catalog, config: Config, place: Path) -> dict[str, Any]:
    note = _note(config.export.note)
    model, record, judged = _trained(catalog, config)
    trained = (catalog.root / "train" / "weights.safetensors").read_bytes()
    weights = trained if config.export.weights == "fp32" else half_precision_state(model)
    pictures = _golden()
    files = {
        **pictures,
        "model.onnx": to_onnx(model, preprocessing(config.learn).size),
        "weights.safetensors": weights,
        "reference.npz": (catalog.root / "evaluate" / "reference.npz").read_bytes(),
    }
    shown = _pictures(catalog, config)
    if shown.shown:
        files[nearest_photos.FILE] = shown.as_bytes()
    partial = place.with_name(f".{place.name}.{os.getpid()}.partial")
    bundle.clear_leftovers(place)
    try:
        bundle.write_bundle(partial, pictures)
        drawn = [partial / name for name in sorted(pictures)]
        expected = torch_outputs(model, drawn, config.learn, float(judged["temperature"]))
        files["golden/expected.npz"] = as_npz(**expected)
        about = _about(catalog, config, record, judged)
        about["version"], about["note"] = _next_version(place), note
        about["training"]["weights"] = hashlib.sha256(trained).hexdigest()
        about["data"]["pictures"] = len(shown.shown)
        candidate = _written(partial, files, about)
        about["parity"] = prove(catalog, config, model, candidate)
        complete, about["complete"] = complete_export.part_of_bundle(candidate.bundle)
        files |= {complete_export.FILE: complete} if complete else {}
        taken = acceptance.take(catalog, config, candidate)
        about |= {"decoding": taken.decoding, "precision": taken.precision}
        about["preprocessing"] |= taken.preprocessing
        answering = candidate
        if (about["decoding"]["is"], about["precision"]["is"]) != ("full", "fp32"):
            published = replace(candidate.bundle, onnx=taken.onnx, about=about)
            pictures = _golden(published.least)
            bundle.write_bundle(partial, pictures)
            answering = Model(published)
            expected = _outputs(answering, drawn)
            files |= {"model.onnx": taken.onnx, **pictures}
            files["golden/expected.npz"] = as_npz(**expected)
        to_try = [*examples(config.labels, answering.predict)]
        about["examples"] = [label for label, _ in to_try]
        files |= {manifest.example_name(n): data for n, (_, data) in enumerate(to_try)}
        proved = _written(partial, files, about).bundle
        _remember(catalog, place, about)  # first: no bundle may be out without its list of photos
        bundle.publish(partial, place)
        remember(proved)
    except BearsError as exc:
        kept = f"; {place} is kept as it was" if place.exists() else ""
        raise type(exc)(exc.code, f"model not published: {exc.sentence}{kept}") from exc
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return {
        "model": str(place),
        "version": about["version"],
        "bytes": sum(map(len, files.values())),
        **{name: about[name] for name in ("parity", "decoding", "precision")},
        **{name: about["data"][name] for name in ("revision", "latest_revision")},
    }


def _written(folder: Path, files: dict[str, bytes], about: Mapping[str, Any]) -> Model:
    """The bundle, with its card, as it is read back and passes its self-test."""
    files["README.md"] = card(about).encode()
    bundle.write_bundle(folder, {**files, "bundle.json": bundle.describe(files, about)})
    model = Model(bundle.load(folder))
    model.self_test()
    return model


def _note(name: str) -> str:
    """What the card quotes. Raises ConfigError (NO_NOTE)."""
    try:
        return Path(name).expanduser().read_text(encoding="utf-8").strip() if name else ""
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError("NO_NOTE", f"export.note = {name!r} cannot be read ({exc})") from exc


def _trained(
    catalog: Catalog, config: Config
) -> tuple[backbone.Classifier, dict[str, Any], dict[str, Any]]:
    """The model of the last training, its record, and its evaluation."""
    try:
        record = json.loads((catalog.root / "train" / "history.json").read_bytes())
        judged = json.loads((catalog.root / "evaluate" / "report.json").read_bytes())
    except (OSError, ValueError) as exc:
        raise DataError("NOT_TRAINED", "nothing to export yet; run: bears run") from exc
    model = trained_network(catalog, config)
    model.to(memory_format=torch.channels_last)  # much quicker on a processor, for the proof
    return model.eval(), record, judged


def half_precision_state(model: backbone.Classifier) -> bytes:
    """The state of a model, its body in half precision; class activation maps need the exact head.
    Raises ModelError (TOO_LARGE_FOR_FP16)."""
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    body = [k for k, t in state.items() if k.startswith("body.") and t.is_floating_point()]
    state |= {name: state[name].half() for name in body}
    if not all(bool(state[name].isfinite().all()) for name in body):
        words = "a weight is too large for half precision; use export.weights=fp32"
        raise ModelError("TOO_LARGE_FOR_FP16", words)
    return bytes(to_safetensors(state))


def _golden(least: int | None = None) -> dict[str, bytes]:
    """Pictures of the self-test. least: as of a bundle; some are then large enough for it."""
    sides = dict.fromkeys(_LARGE, 2 * (least or 0))
    drawn = [golden.draw_picture(i, sides.get(i, 0)) for i in range(bundle.GOLDEN)]
    return {f"golden/{i:02}.{suffix}": data for i, (suffix, data) in enumerate(drawn)}


def _outputs(model: Model, files: Sequence[Path]) -> dict[str, NDArray[Any]]:
    """Outputs of a bundle: logits, pooled and probabilities, (n, ...) each."""
    logits, pooled = map(np.stack, zip(*(model.outputs(path)[:2] for path in files), strict=True))
    return {"logits": logits, "pooled": pooled, "probabilities": model.probabilities(logits)}


def _pictures(catalog: Catalog, config: Config) -> nearest_photos.SimilarPhotos:
    """Small copies of training photos that may be published, and who made them."""
    if config.export.pictures == "none":
        return nearest_photos.SimilarPhotos(np.zeros((0, 1)), [])
    stored = load_predictions(catalog.root)
    known = {source.sha256: source for source in catalog.sources() if source.sha256}
    free = {sha256 for sha256, source in known.items() if nearest_photos.shareable(source)}
    allowed = stored.rows.keys() if config.export.pictures == "all" else stored.rows.keys() & free
    photos = [p for p in catalog.photos("ok") if p.split == "train" and p.sha256 in allowed]
    order = np.random.default_rng(config.train.seed).permutation(len(photos))
    chosen = [photos[row] for row in np.sort(order[: nearest_photos.MAX_PICTURES])]
    shown = []
    for photo in chosen:
        source = known.get(photo.sha256)
        about, page = (nearest_photos.credit_line(source), source.page) if source else ("", "")
        small = nearest_photos.thumbnail(catalog.file(photo).read_bytes())
        shown.append(nearest_photos.SimilarPhoto(photo.label, small, about, page))
    rows = np.array([stored.rows[photo.sha256] for photo in chosen], dtype=np.intp)
    return nearest_photos.SimilarPhotos(stored.pooled[rows], shown)


def _about(
    catalog: Catalog, config: Config, record: Mapping[str, Any], judged: Mapping[str, Any]
) -> dict[str, Any]:
    photos = Counter(photo.split for photo in catalog.photos("ok"))
    shape, known = preprocessing(config.learn), origin(config.learn)
    return {
        "name": config.name,
        "version": 0,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "architecture": config.learn.arch,
        "pretrained": asdict(known) if known else None,
        "licence": config.export.licence,
        "labels": config.labels,
        "preprocessing": {
            "decoder": manifest.DECODER,
            "decode": "full",
            "fit": f"centre square, {shape.interpolation}",
            **asdict(shape),
        },
        "temperature": judged["temperature"],
        "rejection": judged["rejection"],
        "metrics": {k: judged[k] for k in ("valid", "test", "elsewhere")},
        "membership": card_sentence(judged["membership"]) if judged["membership"] else None,
        "training": {k: record[k] for k in ("chosen", "lr", "lr_reason", "epochs", "batch_size")},
        "data": {
            "fingerprint": catalog.fingerprint(),
            "revision": catalog.revision(),
            "latest_revision": catalog.latest_revision(),
            "test_decisions": judged["test_decisions"],
            "test_looks": judged.get("test_looks"),
            "near_copies": "grouped",  # in all intervals
            "photos": {split: photos[split] for split in SPLITS},
        },
        "versions": {
            "bear-classifier": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in _LIBRARIES},
        },
    }


def _remember(catalog: Catalog, place: Path, about: Mapping[str, Any]) -> None:
    """Record which photos a bundle is made from, for requests to take one out."""
    photos = {p.sha256: p.split for p in catalog.photos("ok") if p.split}
    made = Published(str(place.resolve()), about["version"], about["created"], dict(photos))
    with catalog.transaction():
        catalog.put_published(made)


def _next_version(place: Path) -> int:
    try:
        return int(json.loads((place / "bundle.json").read_bytes())["version"]) + 1
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return 1

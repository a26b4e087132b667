"""The figures of the report."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bear_classifier.config.settings import Config
from bear_classifier.dataset.catalog import Catalog, now
from bear_classifier.dataset.schema import Photo
from bear_classifier.errors import DataError
from bear_classifier.judge.evaluate import Evaluated
from bear_classifier.judge.predictions import load_predictions
from bear_classifier.report import metrics, sentences
from bear_classifier.report.provenance import origins, story
from bear_classifier.report.schema import ErrorSlice, Facts, Measured, Mistake, OodFigures
from bear_classifier.report.shortcut_learning import looks, shortcuts
from bear_classifier.stats import ood
from bear_classifier.stats.arrays import Bools, Floats, Ints, SomeRows
from bear_classifier.stats.calibration import chance_gap, reliability_bins
from bear_classifier.stats.metrics import softmax

WORST = 8  # mistakes that are shown
_LOOKED_AT = 2000  # photos that are measured for shortcuts; 10 ms each
_SITES = 6  # whose errors are listed one by one


@dataclass(frozen=True)
class JudgedPredictions:
    """Predictions of the last training for the photos that are still in use.

    targets, groups: (n,) numbers; probabilities: (n, classes), calibrated; scores: (n,)
    familiarity; verdicts: (n,) as `ood.accept_reasons`."""

    photos: list[Photo]
    targets: Ints
    groups: Ints
    probabilities: Floats
    scores: Floats
    verdicts: NDArray[np.str_]

    @property
    def right(self) -> Bools:
        return np.asarray(self.probabilities.argmax(axis=1) == self.targets)

    def rows_of(self, *names: str) -> Ints:
        return np.flatnonzero([photo.split in names for photo in self.photos])


def report_facts(catalog: Catalog, config: Config, about: Mapping[str, Any]) -> Facts:
    """The figures of the last training and of its photos. about: the fields of bundle.json.

    Raises DataError (NOT_TRAINED, NOT_JUDGED)."""
    history: dict[str, Any] = training_record(catalog)
    judged: Evaluated = _json(catalog, "evaluate/report.json")
    predictions = read_predictions(catalog, config, judged)
    test, seed = predictions.rows_of("test"), config.train.seed
    seen = _sample(predictions, seed)
    measured = looks(catalog, [predictions.photos[i] for i in seen])
    names = origins(catalog, predictions.photos, config.split.sources)
    table, labels = judged["test"]["confusion"], config.labels
    probabilities, right = predictions.probabilities[test], predictions.right
    targets, groups = predictions.targets, predictions.groups
    confidence, answers = probabilities.max(axis=1), probabilities.argmax(axis=1)
    known = np.concatenate([predictions.rows_of("valid"), test])
    facts: Measured = {
        "name": config.name,
        "made": now(),
        "model": {
            k: about[k] for k in ("name", "version", "created", "architecture", "labels", "data")
        },
        "belongs": belongs(catalog, about),
        "labels": labels,
        "data": story(catalog, config),
        "training": history,
        "temperature": judged["temperature"],
        "test_decisions": judged["test_decisions"],
        "test_looks": judged.get("test_looks") or 1,
        "test": {
            **judged["test"],
            "now": len(test),
            "wrong": int(sum(map(sum, table)) - np.trace(table)),
            "reliability": reliability_bins(confidence, right[test], groups[test]),
            "chance_gap": chance_gap(confidence, seed),
            "pairs": metrics.confused_pairs(targets[test], answers, groups[test], labels),
        },
        "elsewhere": judged.get("elsewhere"),
        "membership": judged.get("membership"),
        "missing": judged.get("missing", {}),
        "mistakes": worst_mistakes(predictions, test, labels, names),
        "rejection": {
            **judged["rejection"],
            "familiarity": metrics.score_histogram(predictions.scores[known], right[known]),
            "measured": _ood(catalog, about),
        },
        "slices": error_slices(predictions, test, seen, measured, names),
        "shortcuts": shortcuts(measured, targets[seen], groups[seen], seed),
        "curve": _curve(catalog),
        "settings": asdict(config),
        "versions": about["versions"],
    }
    return {
        "verdict": sentences.verdict(facts),
        "warnings": sentences.report_warnings(facts),
        **facts,
    }


def training_record(catalog: Catalog) -> Any:
    """The record of the last training. Raises DataError (NOT_TRAINED)."""
    return _json(catalog, "train/history.json")


def _json(catalog: Catalog, name: str) -> Any:
    try:
        return dict(json.loads((catalog.root / name).read_bytes()))
    except (OSError, ValueError) as exc:
        if name.startswith("train"):
            raise _not_trained() from exc
        raise _not_judged() from exc


def _not_trained() -> DataError:
    return DataError("NOT_TRAINED", "there is nothing to report on yet; run: bears run")


def _not_judged() -> DataError:
    return DataError("NOT_JUDGED", "the model was not judged yet; run: bears evaluate")


def read_predictions(catalog: Catalog, config: Config, judged: Evaluated) -> JudgedPredictions:
    """What training and evaluation left. Raises DataError (NOT_TRAINED, NOT_JUDGED)."""
    stored = load_predictions(catalog.root)
    rows, logits, pooled = stored.rows, stored.logits, stored.pooled
    try:
        reference = ood.read_reference((catalog.root / "evaluate" / "reference.npz").read_bytes())
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as exc:
        raise _not_judged() from exc
    labels = config.labels
    photos = [p for p in catalog.photos("ok") if p.sha256 in rows and p.label in labels]
    at = [rows[photo.sha256] for photo in photos]
    if not at or logits.shape[1] != len(labels) or judged["test"]["labels"] != labels:
        raise _not_trained()
    probabilities = softmax(logits[at], judged["temperature"])
    scores = reference.score(SomeRows(pooled, np.array(at)))
    rule = judged["rejection"]
    least = -np.inf if rule["least"] is None else rule["least"]
    return JudgedPredictions(
        photos,
        np.array([labels.index(photo.label) for photo in photos]),
        np.unique([p.family for p in photos], return_inverse=True)[1],
        probabilities,
        scores,
        ood.accept_reasons(probabilities, scores, least, rule["close"]),
    )


def belongs(catalog: Catalog, about: Mapping[str, Any]) -> dict[str, bool]:
    """Whether a bundle is made of the photos as they are now, and is of the last training."""
    path = catalog.root / "train" / "weights.safetensors"
    digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
    published = about["files"]["weights.safetensors"]["sha256"]  # the trained ones unless halved
    return {
        "photos": about["data"]["fingerprint"] == catalog.fingerprint(),
        "weights": about["training"].get("weights", published) == digest,
    }


def worst_mistakes(
    predictions: JudgedPredictions, test: Ints, labels: Sequence[str], names: Mapping[str, str]
) -> list[Mistake]:
    """The wrong answers of the test split, the surest first, at most `WORST`."""
    p, photos, targets = predictions.probabilities, predictions.photos, predictions.targets
    wrong = test[~predictions.right[test]]
    return [
        {
            "sha256": photos[i].sha256,
            "origin": photos[i].origin,
            "site": names[photos[i].sha256],
            "true": labels[targets[i]],
            "said": labels[int(p[i].argmax())],
            "sure": float(p[i].max()),
            "of_true": float(p[i, targets[i]]),
            "verdict": str(predictions.verdicts[i]),
        }
        for i in sorted(wrong, key=lambda i: (-p[i].max(), photos[i].sha256))[:WORST]
    ]


def _sample(predictions: JudgedPredictions, seed: int) -> Ints:
    """The photos to be measured: those of the test split and as many of the others as fit."""
    test, others = predictions.rows_of("test"), predictions.rows_of("train", "valid")
    mixed = np.random.default_rng(seed).permutation(others)
    return np.sort(np.concatenate([test, mixed])[:_LOOKED_AT])


def error_slices(
    predictions: JudgedPredictions,
    test: Ints,
    seen: Ints,
    measured: Mapping[str, Floats],
    names: Mapping[str, str],
) -> list[ErrorSlice]:
    """Errors of the test split by brightness, size and site. seen: the photos of `measured`."""
    brightness, size = measured["brightness"][:, 0], measured["size"][:, 0]
    place = np.flatnonzero(np.isin(seen, test) & np.isfinite(brightness))
    rows = seen[place]
    if not len(rows):
        return []
    parts = []
    for kind, values, words in (
        ("brightness", brightness[place], ("darkest", "middle", "brightest")),
        ("size", size[place], ("smallest", "middle", "largest")),
    ):
        third = metrics.thirds(values)
        for number, word in enumerate(words):
            if (third == number).any():
                name = _range(kind, values[third == number])
                parts.append((name, f"{word} third", third == number))
    site = np.array([names[predictions.photos[i].sha256] for i in rows])
    every, counts = np.unique(site, return_counts=True)
    mixed = len(set(zip(site, predictions.targets[rows].tolist(), strict=True))) > len(every)
    if len(every) > 1 and (
        mixed or len(every) > predictions.probabilities.shape[1]
    ):  # not the classes
        most = [str(every[k]) for k in np.lexsort((every, -counts))][:_SITES]
        parts += [("site", name, site == name) for name in most]
        if len(every) > _SITES:
            parts.append(("site", f"all other {len(every) - _SITES}", ~np.isin(site, most)))
    return metrics.errors_by(parts, ~predictions.right[rows], predictions.groups[rows])


def _range(kind: str, values: Floats) -> str:
    """The values of a third in words."""
    low, high = values.min(), values.max()
    if kind == "brightness":
        return f"grey level {low:.0f} to {high:.0f} of 255"
    return f"{np.exp(low):.2g} to {np.exp(high):.2g} megapixels"


def _curve(catalog: Catalog) -> dict[str, str] | None:
    """The sentence that `bears curve` left."""
    try:
        curve = json.loads((catalog.root / "curve" / "curve.json").read_bytes())
    except (OSError, ValueError):
        return None
    verdict = curve.get("verdict") if isinstance(curve, dict) else None
    return {"verdict": " ".join(sentences.sentences(verdict))}


def _ood(catalog: Catalog, about: Mapping[str, Any]) -> OodFigures | None:
    """What `bears evaluate --ood` left of this very model."""
    folder = catalog.root / "evaluate"
    files = (folder / "ood.json", folder / "strangers.json")  # the second: of version 0.1.0
    try:
        left: OodFigures = json.loads(
            next((f for f in files if f.is_file()), files[0]).read_bytes()
        )
        same = left["weights"] == about["files"]["weights.safetensors"]["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return left if same else None

"""The figures of the report, as plain values."""

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
from bear_classifier.judge.predictions import load_predictions
from bear_classifier.report import metrics, sentences
from bear_classifier.report.provenance import origins, story
from bear_classifier.report.shortcut_learning import Looks, looks, shortcuts
from bear_classifier.stats import ood
from bear_classifier.stats.calibration import softmax

WORST = 8  # mistakes that are shown
_LOOKED_AT = 2000  # photos that are measured for shortcuts; 10 ms each
_SITES = 6  # whose errors are listed one by one


@dataclass(frozen=True)
class JudgedPredictions:
    """What the last training said of the photos that are still in use, in one order for all.

    targets, groups: (n,) numbers; probabilities: (n, classes), calibrated; scores: (n,)
    familiarity; verdicts: (n,) as familiar.verdicts."""

    photos: list[Photo]
    targets: NDArray[np.int64]
    groups: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    scores: NDArray[np.float64]
    verdicts: NDArray[np.str_]

    @property
    def right(self) -> NDArray[np.bool_]:
        return np.asarray(self.probabilities.argmax(axis=1) == self.targets)

    def rows_of(self, *names: str) -> NDArray[np.int64]:
        return np.flatnonzero([photo.split in names for photo in self.photos])


def report_facts(catalog: Catalog, config: Config, about: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of the last training and of its photos. about: the fields of bundle.json.

    Raises DataError (NOT_TRAINED, NOT_JUDGED)."""
    history, judged = training_record(catalog), _json(catalog, "evaluate/report.json")
    said = read_predictions(catalog, config, judged)
    test, seed = said.rows_of("test"), config.train.seed
    seen = _measured(said, seed)
    found_looks = looks(catalog, [said.photos[i] for i in seen])
    names = origins(catalog, said.photos, config.split.sources)
    table, labels = judged["test"]["confusion"], config.labels
    confidence = said.probabilities[test].max(axis=1)
    answers = said.probabilities[test].argmax(axis=1)
    known = np.concatenate([said.rows_of("valid"), test])
    found = {
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
            "reliability": metrics.reliability_bins(
                confidence, said.right[test], said.groups[test]
            ),
            "chance_gap": metrics.chance_gap(confidence, seed),
            "pairs": metrics.confused_pairs(said.targets[test], answers, said.groups[test], labels),
        },
        "elsewhere": judged.get("elsewhere"),
        "membership": judged.get("membership"),
        "missing": judged.get("missing", {}),
        "mistakes": worst_mistakes(said, test, labels, names),
        "rejection": {
            **judged["rejection"],
            "familiarity": metrics.score_histogram(said.scores[known], said.right[known]),
            "measured": _ood(catalog, about),
        },
        "slices": error_slices(said, test, seen, found_looks, names),
        "shortcuts": shortcuts(found_looks, said.targets[seen], said.groups[seen], seed),
        "curve": _curve(catalog),
        "settings": asdict(config),
        "versions": about["versions"],
    }
    return {
        "verdict": sentences.verdict(found),
        "warnings": sentences.report_warnings(found),
        **found,
    }


def training_record(catalog: Catalog) -> dict[str, Any]:
    """The record of the last training. Raises DataError (NOT_TRAINED)."""
    return _json(catalog, "train/history.json")


def _json(catalog: Catalog, name: str) -> dict[str, Any]:
    try:
        return dict(json.loads((catalog.root / name).read_bytes()))
    except (OSError, ValueError) as exc:
        if name.startswith("train"):
            raise _not_trained() from exc
        raise DataError("NOT_JUDGED", "the model was not judged yet; run: bears evaluate") from exc


def _not_trained() -> DataError:
    return DataError("NOT_TRAINED", "there is nothing to report on yet; run: bears run")


def read_predictions(
    catalog: Catalog, config: Config, judged: Mapping[str, Any]
) -> JudgedPredictions:
    """What training and evaluation left. Raises DataError (NOT_TRAINED, NOT_JUDGED)."""
    stored = load_predictions(catalog.root)
    rows, logits, pooled = stored.rows, stored.logits, stored.pooled
    try:
        reference = ood.read_reference((catalog.root / "evaluate" / "reference.npz").read_bytes())
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as exc:
        raise DataError("NOT_JUDGED", "the model was not judged yet; run: bears evaluate") from exc
    labels = config.labels
    photos = [p for p in catalog.photos("ok") if p.sha256 in rows and p.label in labels]
    at = [rows[photo.sha256] for photo in photos]
    if not at or logits.shape[1] != len(labels) or judged["test"]["labels"] != labels:
        raise _not_trained()
    probabilities = softmax(logits[at], judged["temperature"])
    scores = reference.score(pooled[at])
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
    """Whether a bundle is made from the photos as they are now, and is of the last training."""
    path = catalog.root / "train" / "weights.safetensors"
    digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
    published = about["files"]["weights.safetensors"][
        "sha256"
    ]  # of the trained ones, unless halved
    return {
        "photos": about["data"]["fingerprint"] == catalog.fingerprint(),
        "weights": about["training"].get("weights", published) == digest,
    }


def worst_mistakes(
    said: JudgedPredictions,
    test: NDArray[np.int64],
    labels: Sequence[str],
    names: Mapping[str, str],
) -> list[dict[str, Any]]:
    """The wrong answers of the test split, the surest first, at most `WORST`."""
    wrong = test[~said.right[test]]
    order = sorted(wrong, key=lambda i: (-said.probabilities[i].max(), said.photos[i].sha256))
    return [
        {
            "sha256": said.photos[i].sha256,
            "origin": said.photos[i].origin,
            "site": names[said.photos[i].sha256],
            "true": labels[said.targets[i]],
            "said": labels[int(said.probabilities[i].argmax())],
            "sure": float(said.probabilities[i].max()),
            "of_true": float(said.probabilities[i, said.targets[i]]),
            "verdict": str(said.verdicts[i]),
        }
        for i in order[:WORST]
    ]


def _measured(said: JudgedPredictions, seed: int) -> NDArray[np.int64]:
    """The photos to be measured: those of the test split and by chance so many others."""
    test, others = said.rows_of("test"), said.rows_of("train", "valid")
    mixed = np.random.default_rng(seed).permutation(others)
    return np.sort(np.concatenate([test, mixed])[:_LOOKED_AT])


def error_slices(
    said: JudgedPredictions,
    test: NDArray[np.int64],
    seen: NDArray[np.int64],
    found: Looks,
    names: Mapping[str, str],
) -> list[dict[str, Any]]:
    """Errors of the test split by brightness, size and site. seen: the photos of `found`."""
    place = np.flatnonzero(np.isin(seen, test) & np.isfinite(found.brightness))
    rows = seen[place]
    if not len(rows):
        return []
    parts = []
    for kind, values, words in (
        ("brightness", found.brightness[place], ("darkest", "middle", "brightest")),
        ("size", found.size[place], ("smallest", "middle", "largest")),
    ):
        third = metrics.thirds(values)
        for number, word in enumerate(words):
            if (third == number).any():
                name = _range(kind, values[third == number])
                parts.append((name, f"{word} third", third == number))
    of = np.array([names[said.photos[i].sha256] for i in rows])
    every, counts = np.unique(of, return_counts=True)
    mixed = len(set(zip(of, said.targets[rows].tolist(), strict=True))) > len(every)
    if len(every) > 1 and (mixed or len(every) > said.probabilities.shape[1]):  # not the classes
        most = [str(every[k]) for k in np.lexsort((every, -counts))][:_SITES]
        parts += [("site", name, of == name) for name in most]
        if len(every) > _SITES:
            parts.append(("site", f"all other {len(every) - _SITES}", ~np.isin(of, most)))
    return metrics.errors_by(parts, ~said.right[rows], said.groups[rows])


def _range(kind: str, values: NDArray[np.float64]) -> str:
    """The values of a third in words."""
    low, high = values.min(), values.max()
    if kind == "brightness":
        return f"grey level {low:.0f} to {high:.0f} of 255"
    return f"{np.exp(low):.2g} to {np.exp(high):.2g} megapixels"


def _curve(catalog: Catalog) -> dict[str, Any] | None:
    """What `bears curve` left; only its sentence is needed."""
    try:
        found = json.loads((catalog.root / "curve" / "curve.json").read_bytes())
    except (OSError, ValueError):
        return None
    said = found.get("verdict") if isinstance(found, dict) else None
    return {"verdict": " ".join(sentences.sentences(said))}


def _ood(catalog: Catalog, about: Mapping[str, Any]) -> dict[str, Any] | None:
    """What `bears evaluate --ood` found of this very model."""
    folder = catalog.root / "evaluate"
    files = (folder / "ood.json", folder / "strangers.json")  # the second: of version 0.1.0
    try:
        found = json.loads(next((f for f in files if f.is_file()), files[0]).read_bytes())
        same = found["weights"] == about["files"]["weights.safetensors"]["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return dict(found) if same else None

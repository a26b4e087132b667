"""A dataset and its twin, which differs on one side only: other labels, and noise for pixels.

Hashes, order, groups and sides stay the same: a row names a file by the hash that it once had. So
whatever of two results differs has read labels or pixels of that side."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundles import LABELS, tiny_config
from numpy.typing import NDArray
from PIL import Image
from sklearn.linear_model import LogisticRegression
from training import dataset

from bear_classifier.config.settings import Config
from bear_classifier.dataset.catalog import Catalog

OF_THE_TEST_SIDE = {"test", "membership", "test_decisions", "test_digest"}  # of an evaluation


def config_of(root: Path, **tables: dict[str, Any]) -> Config:
    train = {"batch_size": 4, "epochs": 2, "lr": 0.003}
    reject = {"share": 0.5, "close": 0.9}  # so that the rule is a number of these few photos
    return tiny_config(
        train=train | tables.pop("train", {}),
        split={"sources": str(root / "sources.tsv")},
        probe={"folds": 2},
        reject=reject,
        **tables,
    )


def prepare(root: Path) -> None:
    """24 photos, all of three sources, on every side some of each source and some near-copies."""
    with dataset(root / "data", config_of(root)) as catalog:
        seen: dict[tuple[str, str | None], list[str]] = {}
        lines, rows = ["path\tsource"], []
        for photo in catalog.photos("ok"):
            groups = seen.setdefault((photo.label, photo.split), [])
            lines.append(f"{photo.origin}\tsource {len(groups) % 3}")
            copy = len(groups) == 1 and photo.split != "train" and photo.label == LABELS[0]
            groups.append(groups[0] if copy else photo.sha256)
            rows.append(dataclasses.replace(photo, group=groups[-1]))
        with catalog.transaction():
            catalog.put_photos(rows)
    (root / "sources.tsv").write_text("\n".join(lines), encoding="utf-8")


def poisoned(root: Path, twin: Path, side: str, seed: int = 0) -> None:
    """Copy `root` to `twin` and give each photo of a side a wrong label and noise for a picture."""
    shutil.copytree(root, twin)
    dice = np.random.default_rng(seed)
    with Catalog(twin / "data") as catalog, catalog.transaction():
        for photo in catalog.photos("ok"):
            if photo.split == side:
                other = LABELS[(LABELS.index(photo.label) + 1 + dice.integers(2)) % len(LABELS)]
                catalog.put_photos([dataclasses.replace(photo, label=other)])
                pixels = dice.integers(0, 256, (photo.height, photo.width, 3), dtype=np.uint8)
                buffer = io.BytesIO()
                Image.fromarray(pixels).save(buffer, "JPEG" if photo.format == "jpeg" else "PNG")
                catalog.file(photo).write_bytes(buffer.getvalue())


def digest(array: NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


class Fits:
    """What each fit of a linear model learned from, in their order: of its choice among a few
    penalties too little is left to tell a leak by."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[tuple[float, str, str]] = []
        real = LogisticRegression.fit

        def fit(model: Any, x: NDArray[Any], y: NDArray[Any], *more: Any) -> Any:
            self.seen.append((model.C, digest(x), digest(y)))
            return real(model, x, y, *more)

        monkeypatch.setattr(LogisticRegression, "fit", fit)

    def taken(self) -> list[tuple[float, str, str]]:
        seen, self.seen = self.seen, []
        return seen


def of_others(catalog: Catalog, side: str, path: Path) -> dict[str, list[Any]]:
    """The rows of the photos of other sides in an .npz file; what has no rows, as it is."""
    others = {p.sha256 for p in catalog.photos("ok") if p.split != side}
    with np.load(path, allow_pickle=False) as file:
        rows = np.isin(file["sha256"], sorted(others))
        parts = {name: file[name] for name in file.files}
    n = len(rows)
    return {k: (v[rows] if v.shape[:1] == (n,) else v).tolist() for k, v in parts.items()}


def trained(catalog: Catalog, side: str) -> dict[str, Any]:
    """All that probe and train left, but for what was said of the photos of this side."""
    history = json.loads((catalog.root / "train" / "history.json").read_bytes())
    del history["fit_seconds"]
    return {
        "head": (catalog.root / "probe" / "head.npz").read_bytes(),
        "probabilities": of_others(catalog, side, catalog.root / "probe" / "probabilities.npz"),
        "weights": (catalog.root / "train" / "weights.safetensors").read_bytes(),
        "predictions": of_others(catalog, side, catalog.root / "train" / "predictions.npz"),
        "history": history,
    }


def judged(catalog: Catalog, outcome: dict[str, Any]) -> dict[str, Any]:
    """All that evaluation decided: what is left without its figures of the test split."""
    rest = {k: v for k, v in outcome.items() if k not in OF_THE_TEST_SIDE}
    rest["rejection"] = {k: v for k, v in outcome["rejection"].items() if k != "test"}
    reference = (catalog.root / "evaluate" / "reference.npz").read_bytes()
    return {"reference": reference, **json.loads(json.dumps(rest))}


def differing(one: dict[str, Any], two: dict[str, Any]) -> set[str]:
    return {name for name in one.keys() | two.keys() if one.get(name) != two.get(name)}

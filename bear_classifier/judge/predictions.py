"""What the first model and the training left in a dataset: the one reader of their files."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bear_classifier.errors import DataError
from bear_classifier.runtime.npz import mapped_npz
from bear_classifier.runtime.shards import Column, StoredRows
from bear_classifier.stats.arrays import Bools, Floats, Ints
from bear_classifier.stats.metrics import softmax

_EPS = 1e-5  # as torch's BatchNorm adds to a variance
DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)


@dataclass(frozen=True)
class Predictions:
    """Of the last training, for n photos; arrays stay in their file until they are needed.

    rows: sha256 -> row; logits: (n, classes); pooled: (n, f) features; chosen: which of the two
    models was kept; halves: of the networks that learned from one half of the sources, where there
    are such."""

    rows: dict[str, int]
    logits: NDArray[np.float32]
    pooled: NDArray[np.float32]
    chosen: str
    halves: HalfOutputs | None = None


@dataclass(frozen=True)
class HalfOutputs:
    """Of n photos by networks that learned from one half of the sources. network: (n,) 0 or 1;
    learned: (n,) whether from this photo; logits: (n, classes); pooled: (n, f)."""

    sha256: list[str]
    network: Ints
    learned: Bools
    logits: NDArray[np.float32]
    pooled: NDArray[np.float16]


@dataclass(frozen=True)
class Evidence:
    """Of the first model, for the photos `sha256`: probabilities (n, classes) of its second round,
    features (n, f) in their files, light, sharpness and the share below a broken-off transfer (n,),
    the layer (k, f), (k,) by which the weights tell their own classes apart, if they can, and the
    labels that it learned from, unless an earlier version left them out. known: (n,) whether it
    knows the photo;
    the others were dropped before, and its head says what they look like."""

    sha256: list[str]
    probabilities: Floats
    features: Column
    light: NDArray[np.float32]
    sharpness: NDArray[np.float32]
    filled: NDArray[np.float32]
    classifier: tuple[NDArray[np.float32], NDArray[np.float32]] | None
    labels: list[str] | None
    known: Bools


def load_predictions(root: Path) -> Predictions:
    """Raises DataError (NOT_TRAINED)."""
    try:
        stored = mapped_npz(root / "train" / "predictions.npz")
        rows = {sha256: row for row, sha256 in enumerate(stored["sha256"].tolist())}
        return Predictions(
            rows, stored["logits"], stored["pooled"], str(stored["chosen"]), _halves(stored)
        )
    except DAMAGED as exc:
        raise DataError("NOT_TRAINED", "there are no predictions yet; run: bears train") from exc


def load_evidence(root: Path, dropped: Collection[str] = ()) -> Evidence:
    """What the first model left in a dataset. dropped: hashes of photos of which that is wanted,
    too, if their features are still there. Raises DataError (NOT_PROBED)."""
    try:
        stored = arrays_of(root / "probe" / "probabilities.npz")
        rows = stored_rows(root, str(stored["features"]))
        names = stored["sha256"].tolist()
        more = sorted(set(dropped) - set(names))
        more = [name for name, row in zip(more, rows.find(more).tolist(), strict=True) if row >= 0]
        at = rows.find([*names, *more])
        features = Column(rows, "features", at)
        second = stored["second"]
        if more:
            second = np.concatenate([second, _by_the_head(root, features[len(names) :])])
        return Evidence(
            [*names, *more],
            second,
            features,
            rows.take("light", at),
            rows.take("sharpness", at),
            rows.take("filled", at),
            stored_classifier(root),
            [*stored["labels"].tolist(), *[""] * len(more)] if "labels" in stored else None,
            np.arange(len(at)) < len(names),
        )
    except DAMAGED as exc:
        raise not_probed() from exc


def _by_the_head(root: Path, features: NDArray[np.float32]) -> Floats:
    """Probabilities (n, classes) of the first model's head for pooled features (n, f)."""
    head = arrays_of(root / "probe" / "head.npz")
    plain = (features - head["mean"]) / np.sqrt(head["var"] + _EPS)
    return softmax(plain @ head["weight"].T + head["bias"])


def stored_rows(root: Path, name: str) -> StoredRows:
    """The features and facts that a dataset keeps under a name: shards, or a file of version 0.2,
    from before some of the facts as well. Raises OSError and ValueError where they are missing or
    damaged."""
    folder = root / "features" / name.removesuffix(".npz")
    if folder.is_dir():
        return StoredRows(folder)
    file = arrays_of(folder.with_name(f"{folder.name}.npz"))
    names = file.pop("sha256").tolist()
    file.setdefault("filled", np.zeros(len(names), dtype=np.float32))
    return StoredRows.in_memory(names, **file)


def first_model(root: Path, names: Sequence[str]) -> tuple[Floats, float | None] | None:
    """Out-of-fold probabilities (n, classes) of the first model for these photos, and its C, unless
    an earlier version left it out; None where a photo has none."""
    try:
        stored = arrays_of(root / "probe" / "probabilities.npz")
        place = {sha256: row for row, sha256 in enumerate(stored["sha256"].tolist())}
        rows = [place[name] for name in names]
        strength = float(stored["strength"]) if "strength" in stored else None
        return stored["probabilities"][rows], strength
    except DAMAGED:
        return None


def _halves(stored: Mapping[str, NDArray[Any]]) -> HalfOutputs | None:
    if "held_sha256" not in stored:
        return None
    columns = (stored[f"held_{name}"] for name in ("network", "learned", "logits", "pooled"))
    return HalfOutputs(stored["held_sha256"].tolist(), *columns)


def stored_classifier(root: Path) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    """The layer by which the weights tell their own classes apart, if the first model left one."""
    path = root / "probe" / "pretrained.npz"
    if not path.exists():
        return None
    layer = arrays_of(path)
    return layer["weight"], layer["bias"]


def arrays_of(path: Path) -> dict[str, NDArray[Any]]:
    """Of a file of the dataset. Raises one of DAMAGED."""
    with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
        return dict(file)


def not_probed() -> DataError:
    return DataError("NOT_PROBED", "there is no first model of these photos; run: bears probe")

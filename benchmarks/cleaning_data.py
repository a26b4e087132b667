"""The photos of a dataset for `cleaning.py`, wrong labels in it, and what speaks against each."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bear_classifier.dataset.catalog import Catalog
from bear_classifier.judge import clean
from bear_classifier.stats import fault_model, linear_probe

FOLDS = 5


@dataclass(frozen=True)
class Data:
    paths: list[Path]
    features: NDArray[np.float32]
    targets: NDArray[np.int64]
    groups: NDArray[np.int64]
    classifier: tuple[NDArray[np.float32], NDArray[np.float32]] | None


def read(root: Path, most: int | None = None, seed: int = 0, without: Collection[str] = ()) -> Data:
    """most: photos of each class; without: hashes of photos to leave out."""
    with Catalog(root) as catalog:
        photos = catalog.photos("ok")
        photos = [photo for photo in photos if photo.sha256 not in without]
        paths = [catalog.file(photo) for photo in photos]
    evidence = clean.load_evidence(root)
    rows = {sha256: row for row, sha256 in enumerate(evidence.sha256)}
    labels = sorted({photo.label for photo in photos})
    targets = np.array([labels.index(photo.label) for photo in photos])
    kept = np.arange(len(photos))
    if most:
        dice = np.random.default_rng(seed).permutation(len(photos))
        kept = np.sort(np.concatenate([dice[targets[dice] == c][:most] for c in set(targets)]))
    groups = np.unique([p.group for p in photos], return_inverse=True)[1]
    features = evidence.features[[rows[p.sha256] for p in photos]]
    return Data(
        [paths[i] for i in kept], features[kept], targets[kept], groups[kept], evidence.classifier
    )


def plant(
    targets: NDArray[np.int64], rate: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Labels with a share of them changed to another class, and which."""
    dice, classes = np.random.default_rng(seed), int(targets.max()) + 1
    chosen = dice.choice(len(targets), round(rate * len(targets)), replace=False)
    changed = targets.copy()
    changed[chosen] = (targets[chosen] + dice.integers(1, classes, len(chosen))) % classes
    return changed, changed != targets


def doubts(data: Data, strength: float) -> tuple[NDArray[Any], ...]:
    """Out-of-fold probabilities, what speaks against labels and photos, and principal components
    of the features."""
    labels, every = data.targets, np.ones(len(data.targets), dtype=bool)
    fold = (data.features, labels, data.groups, FOLDS, strength)
    one = linear_probe.out_of_fold(*fold)
    two = linear_probe.out_of_fold(*fold, linear_probe.trusted(one, labels))
    small = fault_model.principal_components(data.features, every)
    strange = clean.outlier(data.features, small, labels, data.groups, every, data.classifier)
    return one, 1 - two[np.arange(len(labels)), labels], strange, small

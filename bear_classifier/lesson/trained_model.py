"""The dataset and the trained model that lesson pages look at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from bear_classifier.config.settings import Config
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import Photo
from bear_classifier.judge.predictions import load_predictions
from bear_classifier.learn import backbone
from bear_classifier.learn.train import trained_network


@dataclass(frozen=True)
class Subject:
    """model: the folder of the published bundle, which may be missing."""

    catalog: Catalog
    config: Config
    model: Path


@dataclass(frozen=True)
class NetworkOutputs:
    """What the trained network says of n photos: logits (n, classes), pooled features (n, f);
    targets: numbers of their classes (n,)."""

    photos: list[Photo]
    logits: NDArray[np.float32]
    pooled: NDArray[np.float32]
    targets: NDArray[np.int64]

    def of(self, split: str) -> NDArray[np.intp]:
        """Rows of a split: "train", "valid" or "test"."""
        return np.flatnonzero([photo.split == split for photo in self.photos])


@dataclass(frozen=True)
class LabelledFeatures:
    """x: (n, f) features or (n, c, h, w) maps of photos; y: (n,) class numbers; groups: (n,) of
    near-copies."""

    x: Tensor
    y: Tensor
    groups: NDArray[np.str_]

    def of(self, rows: NDArray[np.intp]) -> LabelledFeatures:
        return LabelledFeatures(self.x[rows], self.y[rows], self.groups[rows])


def network_outputs(subject: Subject) -> NetworkOutputs:
    """Of all usable photos, from the last training. Raises DataError (NOT_TRAINED)."""
    stored = load_predictions(subject.catalog.root)
    rows, logits, pooled = stored.rows, stored.logits, stored.pooled
    photos = [photo for photo in subject.catalog.photos("ok") if photo.sha256 in rows]
    at = [rows[photo.sha256] for photo in photos]
    targets = np.array([subject.config.labels.index(photo.label) for photo in photos])
    return NetworkOutputs(photos, logits[at], pooled[at], targets)


def evaluation_network(subject: Subject) -> backbone.Classifier:
    """The trained network on the processor, in evaluation mode. Raises DataError (NOT_TRAINED)."""
    return trained_network(subject.catalog, subject.config).eval()

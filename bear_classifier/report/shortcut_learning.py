"""Shortcut learning: can the classes be separated without the content of the photos?

If the brightness, the border, the shape or the size of a photo already says much about its class, a
network may have learned that instead, and will fail on photos that are made otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import Photo
from bear_classifier.errors import PhotoError
from bear_classifier.images.decoder import decode_with_size
from bear_classifier.report.schema import LookAccuracy, Shortcut
from bear_classifier.runtime.terminal import progress_bar
from bear_classifier.stats.arrays import Floats, Ints
from bear_classifier.stats.intervals import averaged

CLEARLY = 0.05  # above chance; less would hardly tempt a network that sees the whole photo
_SMALL = 60  # pixels, side of the thumbnail that is measured
_FOLDS, _LEAST = 5, 10  # folds; groups of each class


def looks(catalog: Catalog, photos: Sequence[Photo]) -> dict[str, Floats]:
    """What n photos are like, whatever they show: (n, 1) brightness in grey levels, (n, 3) mean
    colour of the outer tenth, (n, 1) log of width / height, (n, 1) log of megapixels; NaN where a
    file cannot be read."""
    seen = []
    for photo in progress_bar(photos, desc="looks", unit="photo", leave=False):
        try:
            seen.append(look(decode_with_size(catalog.file(photo), least=_SMALL)[0]))
        except PhotoError:
            seen.append(np.full(4, np.nan))
    table = np.array(seen, dtype=np.float64).reshape(-1, 4)
    sides = np.array([(p.width, p.height) for p in photos], dtype=np.float64).reshape(-1, 2)
    return {
        "brightness": table[:, :1],
        "border colour": table[:, 1:],
        "shape": np.log(sides[:, :1] / sides[:, 1:]),
        "size": np.log(sides.prod(axis=1, keepdims=True) / 1e6),
    }


def look(image: Image.Image) -> Floats:
    """Mean grey level, and the mean red, green and blue of the outer tenth."""
    small = np.asarray(image.resize((_SMALL, _SMALL), Image.Resampling.BOX), dtype=np.float64)
    edge = np.ones((_SMALL, _SMALL), dtype=bool)
    tenth = _SMALL // 10
    edge[tenth:-tenth, tenth:-tenth] = False
    grey = float((small @ [0.299, 0.587, 0.114]).mean())
    return np.array([grey, *small[edge].mean(axis=0)])


def shortcuts(
    measured: Mapping[str, Floats], targets: Ints, groups: Ints, seed: int
) -> list[Shortcut]:
    """How well each look alone predicts the class. measured: by `looks`; targets, groups: (n,)."""
    rows: list[Shortcut] = []
    for name, features in measured.items():
        there = np.isfinite(features).all(axis=1)
        rows.append(
            {"look": name, **look_accuracy(features[there], targets[there], groups[there], seed)}
        )
    return rows


def look_accuracy(features: Floats, targets: Ints, groups: Ints, seed: int) -> LookAccuracy:
    """Balanced accuracy of a small logistic regression on features (n, k), each photo judged by a
    model that saw neither it nor its copies, with a 95 % interval.

    clear: whether even the interval's lower end is clearly better than chance; None: too few."""
    classes, numbers = np.unique(targets, return_inverse=True)
    chance = 1 / max(1, len(classes))
    result: LookAccuracy = {
        "n": len(targets),
        "accuracy": None,
        "interval": None,
        "chance": chance,
        "clear": None,
    }
    fewest = min((len(set(groups[numbers == c])) for c in range(len(classes))), default=0)
    if len(classes) < 2 or fewest < _LEAST:
        return result
    predicted = np.empty_like(numbers)
    folds = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=seed)
    for learned, judged in folds.split(features, numbers, groups):
        model = make_pipeline(
            StandardScaler(),
            PolynomialFeatures(2, include_bias=False),
            StandardScaler(),
            LogisticRegression(class_weight="balanced", max_iter=2000),
        )
        model.fit(features[learned], numbers[learned])
        predicted[judged] = model.predict(features[judged])
    right = predicted == numbers
    accuracy = float(np.mean([right[numbers == c].mean() for c in range(len(classes))]))
    interval = averaged(right, numbers, groups) or (0.0, 1.0)
    clear = interval[0] > chance + CLEARLY
    return {**result, "accuracy": accuracy, "interval": interval, "clear": clear}

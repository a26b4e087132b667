"""The first model: a linear classifier on cached features, in seconds."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from bear_classifier.catalog import Catalog
from bear_classifier.errors import DataError
from bear_classifier.files import write_atomic
from bear_classifier.learn import backbone
from bear_classifier.learn.loaders import batches
from bear_classifier.schema import Photo
from bear_classifier.settings import Config

STRENGTHS = np.logspace(-4, 1, 6)  # C of scikit-learn: inverse strength of the L2 penalty
_BATCH = 32
_KEEP_EVERY = 20  # batches; an interrupted pass loses at most so many


@dataclass(frozen=True)
class Head:
    """A linear model on standardised features. mean, var: (f,); weight: (c, f); bias: (c,)."""

    mean: NDArray[np.float64]
    var: NDArray[np.float64]
    weight: NDArray[np.float64]
    bias: NDArray[np.float64]


def probe(catalog: Catalog, config: Config) -> dict[str, Any]:
    """Fit the probe on the training side; give every photo a probability from a model that did
    not see it (grouped folds over train and valid; test from a model of both)."""
    photos = catalog.photos("ok")
    if not photos or any(photo.split is None for photo in photos):
        raise DataError("NOT_SPLIT", "the photos have no sides yet; run: bears split")
    features = cached_features(catalog, config, photos)
    labels = np.array([config.labels.index(photo.label) for photo in photos])
    groups = np.array([photo.group for photo in photos])
    side = np.array([photo.split for photo in photos])
    train, known = side == "train", side != "test"
    folds = n_folds(labels[train], groups[train], config.probe.folds)
    strength = choose_strength(features[train], labels[train], groups[train], folds)
    probabilities = np.empty((len(photos), len(config.labels)))
    probabilities[known] = out_of_fold(
        features[known], labels[known], groups[known], folds, strength
    )
    if not known.all():
        both = model(strength).fit(features[known], labels[known])
        probabilities[~known] = both.predict_proba(features[~known])
    head_model = model(strength).fit(features[train], labels[train])
    _save(
        catalog.root / "probe" / "probabilities.npz",
        sha256=np.array([p.sha256 for p in photos]),
        probabilities=probabilities,
    )
    head = head_of(head_model)
    _save(
        catalog.root / "probe" / "head.npz",
        mean=head.mean,
        var=head.var,
        weight=head.weight,
        bias=head.bias,
    )
    valid = side == "valid"
    wrong = head_model.predict(features[valid]) != labels[valid]
    return {
        "photos": len(photos),
        "strength": strength,
        "out_of_fold_wrong": int((probabilities[known].argmax(1) != labels[known]).sum()),
        "out_of_fold": int(known.sum()),
        "valid_wrong": int(wrong.sum()),
        "valid": int(valid.sum()),
    }


def model(strength: float) -> Pipeline:
    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000, tol=1e-3))


def n_folds(labels: NDArray[np.int64], groups: NDArray[np.str_], folds: int) -> int:
    """As many folds as the class with the fewest groups can fill."""
    fewest = min(len(set(groups[labels == label])) for label in set(labels.tolist()))
    if fewest < 2:
        raise DataError(
            "TOO_FEW_PHOTOS",
            "a class has fewer than two different photos on the training side; add photos",
        )
    return min(folds, fewest)


def choose_strength(
    features: NDArray[np.float32], labels: NDArray[np.int64], groups: NDArray[np.str_], folds: int
) -> float:
    """The C of least log loss over grouped folds. features: (n, f); labels, groups: (n,)."""
    search = GridSearchCV(
        model(1.0),
        {"logisticregression__C": STRENGTHS},
        scoring="neg_log_loss",
        cv=StratifiedGroupKFold(folds),
        refit=False,
    )
    search.fit(features, labels, groups=groups)
    return float(search.best_params_["logisticregression__C"])


def out_of_fold(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    groups: NDArray[np.str_],
    folds: int,
    strength: float,
) -> NDArray[np.float64]:
    """Probabilities (n, classes), each from a model that saw neither the photo nor its group."""
    return np.asarray(
        cross_val_predict(
            model(strength),
            features,
            labels,
            groups=groups,
            cv=StratifiedGroupKFold(folds),
            method="predict_proba",
        )
    )


def head_of(fitted: Pipeline) -> Head:
    """The numbers of a fitted probe; two classes become two rows of opposite sign."""
    scaler, regression = fitted[0], fitted[-1]
    weight, bias = regression.coef_, regression.intercept_
    if len(weight) == 1:
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    return Head(scaler.mean_, scaler.var_, weight, bias)


def cached_features(
    catalog: Catalog, config: Config, photos: Sequence[Photo]
) -> NDArray[np.float32]:
    """Pooled features (n, f) of photos, computed once per photo, weights and size."""
    body = backbone.build_body(config.learn, config.train.seed)
    device = backbone.pick_device(config.learn.device)
    name = f"{config.learn.arch}-{backbone.digest(body)}-{config.learn.size}.npz"
    path = catalog.root / "features" / name
    cache = _load_cache(path)
    todo = [photo for photo in photos if photo.sha256 not in cache]
    body = body.to(device).eval()
    bar = tqdm(total=len(todo), desc="features", unit="photo", disable=None)
    try:
        with bar, torch.inference_mode():
            passes = batches([catalog.file(p) for p in todo], config.learn.size, _BATCH)
            for number, batch in enumerate(passes):
                pooled = body(batch.to(device)).mean((2, 3)).float().cpu().numpy()
                done = todo[number * _BATCH : (number + 1) * _BATCH]
                cache.update(zip((photo.sha256 for photo in done), pooled, strict=True))
                bar.update(len(done))
                if (number + 1) % _KEEP_EVERY == 0:
                    _save_cache(path, cache)
    finally:
        if todo:
            _save_cache(path, cache)
    return np.stack([cache[photo.sha256] for photo in photos])


def _load_cache(path: Path) -> dict[str, NDArray[np.float32]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(zip(file["sha256"].tolist(), file["features"], strict=True))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return {}  # missing or damaged: it is a cache


def _save_cache(path: Path, cache: dict[str, NDArray[np.float32]]) -> None:
    if cache:
        _save(path, sha256=np.array(list(cache)), features=np.stack(list(cache.values())))


def _save(path: Path, **arrays: NDArray[Any]) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    write_atomic(path, buffer.getvalue())

"""The first model: a linear probe on cached features."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.pipeline import Pipeline

from bear_classifier.config.settings import Config
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.sources import homes, sites
from bear_classifier.errors import DataError
from bear_classifier.learn import backbone
from bear_classifier.learn.backbone import Classifier
from bear_classifier.learn.data import PhotoList
from bear_classifier.learn.features import INT8, feature_cache
from bear_classifier.learn.weights import announce, preprocessing
from bear_classifier.runtime.files import write_atomic
from bear_classifier.runtime.npz import as_npz
from bear_classifier.runtime.terminal import count
from bear_classifier.stats.arrays import Floats, Ints, Rows, at_hand
from bear_classifier.stats.intervals import clustered
from bear_classifier.stats.linear_probe import (
    choose_strength,
    chosen_rows,
    fit_linear,
    learning_sample,
    n_folds,
    probabilities_of,
    two_rounds,
)

LEARNED = 200_000  # photos at most that the probe learns from; one penalty took 4 GB


@dataclass(frozen=True)
class Head:
    """A linear model on standardised features. mean, var: (f,); weight: (c, f); bias: (c,)."""

    mean: Floats
    var: Floats
    weight: Floats
    bias: Floats


def probe(catalog: Catalog, config: Config) -> dict[str, Any]:
    """Fit the probe on the training split; give every photo probabilities from a model that did not
    see it (grouped folds over train and valid; test from a model of both). Of more than LEARNED
    photos it learns from a sample, and what is not in it is judged as the test split is.

    `second`, which cleaning ranks by, is from models that did not learn from the least credible
    labels of the first round."""
    photos = catalog.photos("ok")
    if not photos or any(photo.split is None for photo in photos):
        raise DataError("NOT_SPLIT", "the photos have no splits yet; run: bears split")
    _refuse_lone(photos, config.labels)
    announce(config.learn)
    body = backbone.build_body(config.learn, config.train.seed)
    cache, column = feature_cache(catalog, config, photos, body)
    features = at_hand(column)
    labels = np.array([config.labels.index(photo.label) for photo in photos])
    groups = np.unique(np.array([photo.family for photo in photos], "S64"), return_inverse=True)[1]
    splits = np.array([photo.split for photo in photos])
    sample = learning_sample(labels, groups, splits != "test", LEARNED)
    train, known = (splits == "train") & sample, (splits != "test") & sample
    folds = n_folds(labels[train], groups[train], config.probe.folds)
    learned = [photo for photo, used in zip(photos, train, strict=True) if used]
    strength = strength_of(catalog, config, learned, chosen_rows(features, train), labels[train])

    probabilities, second = two_rounds(strength, features, labels, groups, known, folds)
    head_model = fit_linear(strength, chosen_rows(features, train), labels[train])
    folder = catalog.root / "probe"
    (folder / "probabilities.npz").unlink(missing_ok=True)  # of other weights
    _save_classifier(folder / "pretrained.npz", config)
    out = as_npz(
        sha256=np.array([p.sha256 for p in photos]),
        labels=np.array([p.label for p in photos]),
        probabilities=probabilities,
        second=second,
        features=np.array(cache.name),
        strength=np.array(strength),
    )
    write_atomic(folder / "probabilities.npz", out)
    write_atomic(folder / "head.npz", as_npz(**vars(head_of(head_model))))
    valid = splits == "valid"
    answers = probabilities_of(head_model, features, np.flatnonzero(valid))
    wrong = head_model.classes_[answers.argmax(1)] != labels[valid]
    missed = probabilities[known].argmax(1) != labels[known]
    return {
        "photos": len(photos),
        "precision": "int8" if INT8 in cache.name else "fp32",
        "strength": strength,
        "out_of_fold_wrong": int(missed.sum()),
        "out_of_fold_interval": clustered(missed, groups[known]),
        "out_of_fold": int(known.sum()),
        "valid_wrong": int(wrong.sum()),
        "valid_interval": clustered(wrong, groups[valid]),
        "valid": int(valid.sum()),
        **({} if (known == (splits != "test")).all() else {"sampled": int(known.sum())}),
    }


def _refuse_lone(photos: PhotoList, labels: Sequence[str]) -> None:
    """Raises DataError (TOO_FEW_PHOTOS) where a class has fewer than two groups of near-copies in
    train, or nothing is in valid."""
    groups = {(photo.label, photo.family) for photo in photos if photo.split == "train"}
    scenes = Counter(label for label, _ in groups)
    if lone := [label for label in labels if scenes[label] < 2]:
        more = f" (also: {', '.join(lone[1:])})" if len(lone) > 1 else ""
        raise DataError(
            "TOO_FEW_PHOTOS",
            f'class "{lone[0]}" has {count(scenes[lone[0]], "group")} of near-copies in train, and'
            f" two are needed to learn it{more}; add photos of other scenes and run again",
        )
    if all(photo.split != "valid" for photo in photos):
        raise DataError(
            "TOO_FEW_PHOTOS",
            "no photo of any class is in valid, so nothing can be chosen by photos that were not"
            " learned from; add photos of three or more scenes of each class and run again",
        )


def strength_of(
    catalog: Catalog, config: Config, learned: PhotoList, features: Rows, labels: Ints
) -> float:
    """C of least log loss on photos of other sources; where these are unknown or a class has only
    one, on photos that are no near-copies. Folds that share sources choose too weak a penalty for
    new ones (docs/LOG.md). learned: n photos; features: (n, f); labels: (n,)."""
    groups = [photo.family for photo in learned]
    units = homes(groups, sites(catalog, learned, config.split.sources))
    pairs = set(zip(units, labels.tolist(), strict=True))
    fewest = min(Counter(label for _, label in pairs).values())
    by = np.array(units if fewest > 1 else groups)
    return choose_strength(features, labels, by, n_folds(labels, by, config.probe.folds))


def probe_network(config: Config, head: Head | None) -> Classifier:
    """The untuned body with this head, or an untrained one."""
    body = backbone.build_body(config.learn, config.train.seed)
    size = preprocessing(config.learn).size
    made = Classifier(body, len(config.labels), config.train.dropout, size)
    if head:
        arrays = {name: torch.from_numpy(np.asarray(a)).float() for name, a in vars(head).items()}
        made.start_head(**arrays)
    return made.eval()


def head_of(made: Pipeline) -> Head:
    """The numbers of a fitted probe; two classes become two rows of opposite sign."""
    scaler, regression = made[0], made[-1]
    weight, bias = regression.coef_, regression.intercept_
    if len(weight) == 1:
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    return Head(scaler.mean_, scaler.var_, weight, bias)


def _save_classifier(path: Path, config: Config) -> None:
    """Keep the linear layer of the weights' own classes (ImageNet's), if there is one."""
    layer = backbone.weights_classifier(config.learn)
    if layer is None:
        path.unlink(missing_ok=True)
    else:
        write_atomic(path, as_npz(weight=layer[0], bias=layer[1]))

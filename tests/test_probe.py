import dataclasses
import io

import numpy as np
import pytest
import torch
from bundles import LABELS, tiny_config, trained_dataset
from sklearn.model_selection import StratifiedGroupKFold

from bear_classifier.errors import DataError
from bear_classifier.learn import probe as module
from bear_classifier.learn.probe import (
    cached_features,
    choose_strength,
    head_of,
    model,
    n_folds,
    out_of_fold,
    probe,
)
from bear_classifier.learn.train import start


@pytest.fixture
def points():
    """Three noisy clouds in 6 dimensions, each point twice in a group of its own."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 40)
    centres = rng.normal(0, 1.0, size=(3, 6))
    once = centres[labels] + rng.normal(0, 1.0, size=(120, 6))
    features = np.concatenate([once, once]).astype(np.float32)
    groups = np.array([f"g{i}" for i in range(120)] * 2)
    return features, np.concatenate([labels, labels]), groups


def test_probabilities_come_from_models_that_saw_neither_photo_nor_copy(points):
    """A label that only a copy could give away must not be known: random labels stay random."""
    features, _, groups = points
    rng = np.random.default_rng(1)
    labels = np.tile(rng.integers(0, 3, 120), 2)
    wide = np.concatenate([features, np.tile(rng.normal(size=(120, 300)), (2, 1))], axis=1)
    p = out_of_fold(wide.astype(np.float32), labels, groups, 5, 1.0)
    assert (p.argmax(1) == labels).mean() < 0.55
    leaky = out_of_fold(wide.astype(np.float32), labels, np.arange(240).astype(str), 5, 1.0)
    assert (leaky.argmax(1) == labels).mean() > 0.7  # the test would notice


def test_out_of_fold_equals_fitting_each_fold_by_hand(points):
    features, labels, groups = points
    p = out_of_fold(features, labels, groups, 4, 0.1)
    for fit, held in StratifiedGroupKFold(4).split(features, labels, groups):
        by_hand = model(0.1).fit(features[fit], labels[fit]).predict_proba(features[held])
        assert np.allclose(p[held], by_hand)
    assert np.allclose(p.sum(1), 1)


def test_the_strength_is_the_one_of_least_log_loss(points):
    features, labels, groups = points
    losses = {}
    for c in module.STRENGTHS:
        p = out_of_fold(features, labels, groups, 5, c)
        losses[c] = -np.log(p[np.arange(len(labels)), labels]).mean()
    chosen = choose_strength(features, labels, groups, 5)
    assert losses[chosen] <= min(losses.values()) + 1e-3


def test_the_numbers_of_the_head_are_the_model(points):
    features, labels, _ = points
    fitted = model(0.1).fit(features, labels)
    head = head_of(fitted)
    logits = (features - head.mean) / np.sqrt(head.var) @ head.weight.T + head.bias
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert np.allclose(p, fitted.predict_proba(features), atol=1e-5)


def test_two_classes_become_two_rows(points):
    features, labels, _ = points
    two = labels < 2
    fitted = model(0.1).fit(features[two], labels[two])
    head = head_of(fitted)
    assert head.weight.shape == (2, 6)
    logits = (features[two] - head.mean) / np.sqrt(head.var) @ head.weight.T + head.bias
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert np.allclose(p, fitted.predict_proba(features[two]), atol=1e-5)


def test_folds_shrink_to_the_smallest_class():
    labels = np.array([0, 0, 0, 1, 1, 1])
    groups = np.array(["a", "b", "c", "d", "d", "e"])
    assert n_folds(labels, groups, 5) == 2
    with pytest.raises(DataError, match="TOO_FEW_PHOTOS"):
        n_folds(labels, np.array(["a", "b", "c", "d", "d", "d"]), 5)


def test_features_are_computed_once(tmp_path):
    config = tiny_config()
    catalog = trained_dataset(tmp_path, config)
    photos = catalog.photos("ok")
    some = cached_features(catalog, config, photos[:10])
    (cache,) = (tmp_path / "features").iterdir()
    with np.load(cache) as file:
        stored = dict(file)
    stored["features"][0] = 7.0  # a mark that only the cache can have
    buffer = io.BytesIO()
    np.savez(buffer, **stored)
    cache.write_bytes(buffer.getvalue())
    every = cached_features(catalog, config, photos)
    assert (every[0] == 7.0).all()
    assert np.array_equal(every[1:10], some[1:])
    assert len(every) == len(photos)


def test_a_damaged_cache_is_made_again(tmp_path):
    config = tiny_config()
    catalog = trained_dataset(tmp_path, config)
    photos = catalog.photos("ok")
    before = cached_features(catalog, config, photos)
    (cache,) = (tmp_path / "features").iterdir()
    for data in (b"", b"PK\x03\x04noise", cache.read_bytes()[:3000]):
        cache.write_bytes(data)
        assert np.array_equal(cached_features(catalog, config, photos), before)


def test_other_weights_and_other_sizes_have_other_caches(tmp_path):
    config = tiny_config()
    catalog = trained_dataset(tmp_path, config)
    photos = catalog.photos("ok")[:2]
    for learn in ({}, {"size": 96}, {"arch": "squeezenet1_0"}):
        cached_features(catalog, tiny_config(learn=learn), photos)
    cached_features(catalog, tiny_config(train={"seed": 7}), photos)
    assert len(list((tmp_path / "features").iterdir())) == 4


def test_the_stage_leaves_probabilities_for_all_and_a_head_for_training(tmp_path):
    config = tiny_config()
    catalog = trained_dataset(tmp_path, config)
    # labels by side would be a puzzle without an answer: deal them evenly first
    photos = catalog.photos("ok")
    sides = ["train"] * 12 + ["valid"] * 6 + ["test"] * 6
    by_label = sorted(photos, key=lambda p: (LABELS.index(p.label), p.sha256))
    dealt = [by_label[i % 3 * 8 + i // 3] for i in range(24)]
    with catalog.transaction():
        catalog.put_photos(
            dataclasses.replace(p, split=s) for p, s in zip(dealt, sides, strict=True)
        )
    outcome = probe(catalog, config)
    assert (outcome["photos"], outcome["valid"], outcome["out_of_fold"]) == (24, 6, 18)
    with np.load(tmp_path / "probe" / "probabilities.npz") as file:
        assert file["sha256"].tolist() == [p.sha256 for p in photos]
        assert np.allclose(file["probabilities"].sum(1), 1)
    network = start(catalog, config)
    features = torch.from_numpy(cached_features(catalog, config, photos)).double()
    with np.load(tmp_path / "probe" / "head.npz") as head, torch.no_grad():
        scaled = (features - torch.from_numpy(head["mean"])) / (
            torch.from_numpy(head["var"]) + 1e-5
        ).sqrt()
        expected = (
            scaled @ torch.from_numpy(head["weight"]).double().T
            + torch.from_numpy(head["bias"]).double()
        )
        got = network.head[2:](features.float())
    assert torch.allclose(got, expected.float(), atol=1e-2)
    assert (got.argmax(1) == expected.argmax(1)).all()


def test_no_sides_yet(tmp_path):
    from bear_classifier.catalog import Catalog

    with pytest.raises(DataError, match="run: bears split"):
        probe(Catalog(tmp_path), tiny_config())

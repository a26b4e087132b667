"""Features in 8-bit integers: the guard, the kept network, and what a dataset goes on with."""

import dataclasses
import shutil

import numpy as np
import pytest
import torch
from bundles import tiny_config

from bear_classifier.dataset.catalog import Catalog
from bear_classifier.errors import ModelError
from bear_classifier.learn import backbone, int8, int8_features
from bear_classifier.learn.features import cached_features, feature_cache
from bear_classifier.learn.frozen_forward import as_onnx
from bear_classifier.learn.int8_features import Comparison, compare_features, feature_objection
from bear_classifier.learn.probe import probe
from bear_classifier.runtime.npz import as_npz
from bear_classifier.runtime.shards import StoredRows

FINE = Comparison(photos=128, differ=0, cosine=0.99, faster=2.0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, ""),
        ({"differ": 3}, ""),  # 97.7 %
        ({"differ": 4}, "96.9% of 128 photos get the same answer; 97.5% have to"),
        ({"cosine": 0.94}, "mean cosine of 0.940; 0.95 is required"),
        ({"cosine": float("nan")}, "mean cosine of nan"),
        ({"faster": 1.2}, ""),
        ({"faster": 1.19}, "1.19 times as fast here; 1.2 times is required"),
        ({"faster": float("nan")}, "times is required"),
    ],
)
def test_what_speaks_against_integers(change, words):
    why = feature_objection(dataclasses.replace(FINE, **change))
    assert words in why and bool(why) == bool(words)


def test_both_ways_are_compared():
    """One head learns from integers and is asked either kind of features."""
    labels, groups = np.repeat([0, 1], 20), np.arange(40).astype(str)
    spread = np.linspace(1, 2, 40)[:, None]
    full = (np.where(labels, 1.0, -1.0)[:, None] * spread * [1, 0.5]).astype(np.float32)
    same = compare_features(full, full, labels, groups, 5)
    assert (same.photos, same.differ) == (40, 0) and same.cosine == pytest.approx(1)
    scaled = compare_features(full, 3 * full, labels, groups, 5)
    assert scaled.differ == 0 and scaled.cosine == pytest.approx(1, abs=0.01)
    turned = compare_features(full, -full, labels, groups, 5)  # consistent, but of another kind
    assert turned.differ == 40 and turned.cosine < 0
    moved = full.copy()
    moved[7] = -full[7]
    assert compare_features(full, moved, labels, groups, 5).differ == 1


@pytest.fixture
def catalog(drawn_dataset, tmp_path, monkeypatch):
    """24 drawn photos in tmp_path/data, for which integers pass the guard; nothing is kept yet.
    Instead of a network in integers the same one is made, which takes no time."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(int8, "quantised", lambda network, images: network)
    sizes = {"WORTHWHILE": 10, "CALIBRATION": 2, "SAMPLE": 16}
    for name, value in {**sizes, "AGREEMENT": -1.0, "COSINE": -1.0, "FASTER": 0.0}.items():
        monkeypatch.setattr(int8_features, name, value)
    shutil.copytree(drawn_dataset, tmp_path / "data", dirs_exist_ok=True)
    with Catalog(tmp_path / "data") as opened:
        photos = [dataclasses.replace(p, split="train") for p in opened.photos("ok")[:20]]
        with opened.transaction():
            opened.put_photos(photos)
        yield opened


AUTO = tiny_config(probe={"precision": "auto", "folds": 2})


def body_of(config=AUTO):
    return backbone.build_body(config.learn, config.train.seed)


def features_of(catalog, photos=None, config=AUTO):
    photos = catalog.photos("ok") if photos is None else photos
    return feature_cache(catalog, config, photos, body_of(config))


honest = int8.quantised


def never(*_):
    raise AssertionError("quantised once more")


def test_integers_are_made_once_and_have_a_file_of_their_own(
    catalog, tmp_path, monkeypatch, capsys
):
    exact = cached_features(catalog, tiny_config(), catalog.photos("ok"), body_of())
    shutil.rmtree(catalog.root / "features")
    path, features = features_of(catalog)
    assert "-int8-" in path.name and path.is_dir()
    assert "8-bit integers: " in capsys.readouterr().err
    assert not np.array_equal(features, exact)
    assert np.allclose(features, exact, atol=0.2 * exact.max())
    monkeypatch.setattr(int8, "quantised", never)
    again, same = features_of(catalog)  # nothing is to do
    assert again == path and np.array_equal(same, features)
    shutil.rmtree(catalog.root / "features")  # as in another dataset: the kept network is tried
    assert features_of(catalog)[0].name == path.name
    full, _ = features_of(catalog, config=tiny_config())
    assert full.name == path.name.partition("-int8-")[0]


def test_what_was_begun_goes_on_in_its_precision(catalog, monkeypatch, capsys):
    photos = catalog.photos("ok")
    path, some = features_of(catalog, photos[:20])
    assert "-int8-" in path.name
    monkeypatch.setattr(int8_features, "choose", never)  # no second guard
    again, every = features_of(catalog, photos)
    assert again == path and np.array_equal(every[:20], some)
    assert len(StoredRows(path)) == len(photos)
    shutil.rmtree(catalog.root / "features")
    full, _ = features_of(catalog, photos[:20], tiny_config())
    assert features_of(catalog, photos)[0] == full and "-int8-" not in full.name


@pytest.mark.parametrize("data", [b"PK\x03\x04noise", None])
def test_a_damaged_or_foreign_network_is_made_anew(catalog, tmp_path, data):
    path, features = features_of(catalog)
    (kept,) = (tmp_path / "torch").rglob("*.npz")
    whole = kept.read_bytes()
    if data is None:  # a network, but of another body
        other = as_onnx(torch.nn.Conv2d(3, 7, 3), torch.zeros(1, 3, 64, 64), "image", ["map"])
        data = as_npz(format=np.array(1), network=np.frombuffer(other, np.uint8))
    kept.write_bytes(data)
    shutil.rmtree(catalog.root / "features", ignore_errors=True)
    again, same = features_of(catalog)
    assert kept.read_bytes() == whole and again == path and np.array_equal(same, features)


def test_a_kept_network_that_is_another_one_makes_no_more_features(catalog, tmp_path, monkeypatch):
    """Features of two networks never stand in one folder."""
    photos = catalog.photos("ok")
    path, some = features_of(catalog, photos[:20])
    other = dataclasses.replace(AUTO, train=dataclasses.replace(AUTO.train, seed=7))
    network = as_onnx(body_of(other), torch.zeros(1, 3, 64, 64), "image", ["map"])
    (kept,) = (tmp_path / "torch").rglob("*.npz")
    kept.write_bytes(as_npz(format=np.array(1), network=np.frombuffer(network, np.uint8)))
    own = (path / "network.onnx").read_bytes()
    for there in (None, own[:1000]):  # of version 0.2, and a damaged one
        (path / "network.onnx").unlink(missing_ok=True)
        if there:
            (path / "network.onnx").write_bytes(there)
        other, _ = features_of(catalog, photos)
        assert other != path and len(StoredRows(path)) == 20
        shutil.rmtree(other)
    (path / "network.onnx").write_bytes(own)
    again, every = features_of(catalog, photos)
    assert again == path and np.array_equal(every[:20], some)


def test_a_network_that_fails_the_guard_is_not_used(catalog, monkeypatch, capsys):
    monkeypatch.setattr(int8_features, "COSINE", 2.0)
    path, _ = features_of(catalog)
    assert "-int8-" not in path.name
    (line,) = capsys.readouterr().err.splitlines()
    assert "full precision, not in 8-bit integers: features have a mean cosine of" in line
    features_of(catalog)  # full precision, without another word
    assert not capsys.readouterr().err


def test_what_cannot_be_quantised_is_computed_in_full(catalog, monkeypatch, capsys):
    def refused(*_):
        raise ModelError("NOT_QUANTISED", "no integers today")

    monkeypatch.setattr(int8, "quantised", refused)
    assert "-int8-" not in features_of(catalog)[0].name
    assert "integers: no integers today" in capsys.readouterr().err


def test_few_photos_do_not_pay(catalog, monkeypatch, capsys):
    monkeypatch.setattr(int8_features, "WORTHWHILE", 1000)
    assert "-int8-" not in features_of(catalog)[0].name
    assert "24 photos, 22 of training, are too few to gain time" in capsys.readouterr().err


def test_only_training_photos_are_tried(catalog, monkeypatch):
    split = {catalog.file(photo): photo.split for photo in catalog.photos("ok")}
    seen = []
    honest = int8_features.batches

    def watched(files, *words, **options):
        seen.extend(split[file] for file in files)
        return honest(files, *words, **options)

    monkeypatch.setattr(int8_features, "batches", watched)
    features_of(catalog)
    assert set(seen) == {"train"} < set(split.values())


def test_the_first_model_says_its_precision(catalog):
    assert probe(catalog, AUTO)["precision"] == "int8"
    with np.load(catalog.root / "probe" / "probabilities.npz") as file:
        assert (catalog.root / "features" / str(file["features"])).is_dir()
        assert "-int8-" in str(file["features"])
    assert probe(catalog, tiny_config(probe={"folds": 2}))["precision"] == "fp32"

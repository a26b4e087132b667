import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from bundles import LABELS, tiny_config, trained_dataset
from safetensors.torch import load_file

from bear_classifier import photos
from bear_classifier.catalog import Catalog
from bear_classifier.errors import DataError, TrainError
from bear_classifier.learn import backbone
from bear_classifier.learn.loaders import batches, dataloaders
from bear_classifier.learn.probe import probe
from bear_classifier.learn.train import choose_lr, fit, fitted, learner, start, train
from bear_classifier.settings import TrainConfig


def dataset(root: Path, config) -> Catalog:
    """24 drawn photos whose label is what fills most of them: something that can be learned."""
    catalog = trained_dataset(root, config)
    rows = sorted(catalog.photos("ok"), key=lambda p: p.sha256)
    red = [np.asarray(photos.decode(catalog.file(p)))[..., 0].mean() for p in rows]
    thirds = np.argsort(np.argsort(red)) * 3 // len(rows)
    sides = ["train", "train", "valid", "test"] * 6
    by_label = sorted(range(len(rows)), key=lambda i: (thirds[i], rows[i].sha256))
    with catalog.transaction():
        catalog.put_photos(
            dataclasses.replace(rows[i], label=LABELS[thirds[i]], split=side)
            for i, side in zip(by_label, sides, strict=True)
        )
    for leftover in ("train", "evaluate"):
        for path in (root / leftover).iterdir():
            path.unlink()
    return catalog


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    root = tmp_path_factory.mktemp("train")
    config = tiny_config(train={"epochs": 2, "batch_size": 4, "lr": 0.003})
    catalog = dataset(root, config)
    probe(catalog, config)
    return catalog, config


def loaders_of(catalog: Catalog):
    train_side, valid_side = (
        [(catalog.file(p), p.label) for p in catalog.photos("ok") if p.split == side]
        for side in ("train", "valid")
    )
    return dataloaders(train_side, valid_side, LABELS, 64, 4, 0.5, torch.device("cpu"))


def weights(catalog: Catalog) -> dict[str, torch.Tensor]:
    return load_file(catalog.root / "train" / "weights.safetensors")


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[k], two[k]) for k in one)


def test_training_is_repeatable_and_another_seed_is_another_training(prepared):
    catalog, config = prepared
    first = train(catalog, config)
    one = weights(catalog)
    second = train(catalog, config)
    assert same(one, weights(catalog))
    assert first["history"] == second["history"]
    assert len(first["history"]) == 2
    assert {"epoch", "train_loss", "valid_loss", "error"} == set(first["history"][0])
    other = dataclasses.replace(config, train=dataclasses.replace(config.train, seed=7))
    third = train(catalog, other)
    assert third["history"] != first["history"]


def test_predictions_are_those_of_the_weights_that_were_saved(prepared):
    catalog, config = prepared
    record = train(catalog, config)
    model = backbone.Classifier(backbone.bare_body(config.learn.arch), 3, config.train.dropout)
    model.load_state_dict(weights(catalog))
    judged = catalog.photos("ok")
    with np.load(catalog.root / "train" / "predictions.npz") as file:
        said = dict(zip(file["sha256"].tolist(), file["logits"], strict=True))
        pooled = dict(zip(file["sha256"].tolist(), file["pooled"], strict=True))
        assert str(file["chosen"]) == record["chosen"]
    assert set(said) == {p.sha256 for p in judged}
    with torch.inference_mode():
        (batch,) = batches([catalog.file(p) for p in judged], 64, 32)
        fresh, features, _ = (part.numpy() for part in model.eval().outputs(batch))
    assert np.allclose(fresh, [said[p.sha256] for p in judged], atol=1e-4)
    assert np.allclose(features, [pooled[p.sha256] for p in judged], atol=1e-4)
    valid = [p for p in judged if p.split == "valid"]
    wrong = sum(LABELS[said[p.sha256].argmax()] != p.label for p in valid)
    assert record["valid_wrong"][record["chosen"]] == wrong


def test_the_model_with_less_validation_loss_is_kept(prepared):
    catalog, config = prepared
    ruinous = dataclasses.replace(config, train=dataclasses.replace(config.train, lr=0.3))
    record = train(catalog, ruinous)
    assert record["valid_loss"]["tuned"] > record["valid_loss"]["probe"]
    assert record["chosen"] == "probe"
    assert same(weights(catalog), start(catalog, config).state_dict())


def test_a_rate_that_explodes_stops_keeps_finite_weights_and_says_so(prepared):
    catalog, config = prepared
    wild = dataclasses.replace(config, train=dataclasses.replace(config.train, lr=1e30))
    record = train(catalog, wild)
    assert record["chosen"] == "probe"
    (note,) = record["notes"]
    assert note.startswith(
        "Training diverged in epoch 1 (loss is not a number). The probe was kept."
    )
    assert "--set train.lr=1e+29" in note
    assert all(t.isfinite().all() for t in weights(catalog).values() if t.is_floating_point())
    json.loads((catalog.root / "train" / "history.json").read_text(), parse_constant=pytest.fail)


def test_a_loss_that_is_not_a_number_stops_within_one_batch(prepared, tmp_path):
    """At batch 2 of epoch 2 the loss turns to NaN: the weights of epoch 1 come back."""
    catalog, config = prepared
    model = start(catalog, config)
    dls = loaders_of(catalog)
    learn = learner(dls, model, tmp_path)
    honest, seen, after_one = learn.loss_func, [], {}

    class Poisoned:
        def __call__(self, logits, targets):
            if learn.model.training:
                seen.append(1)
                if len(seen) == 4:
                    after_one.update({k: v.clone() for k, v in model.state_dict().items()})
                if len(seen) == 5:
                    return honest(logits, targets) * math.nan
            return honest(logits, targets)

    learn.loss_func = Poisoned()
    history, notes = fit(learn, 3, 1e-3, 1.0)
    assert len(seen) == 5
    assert [row["epoch"] for row in history] == [1]
    assert "diverged in epoch 2" in notes[0]
    assert "The model of epoch 1 was kept" in notes[0]
    changed = next(v for k, v in after_one.items() if k.startswith("head.") and v.ndim == 2)
    assert torch.isfinite(changed).all()
    assert all(t.isfinite().all() for t in model.state_dict().values() if t.is_floating_point())


def test_every_layer_learns_and_the_early_ones_slowly(prepared, tmp_path):
    catalog, config = prepared
    model = start(catalog, config)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    dls = loaders_of(catalog)
    learn = learner(dls, model, tmp_path)
    fit(learn, 1, 1e-3, 100.0)
    rates = [h["lr"] for h in learn.opt.hypers]
    assert rates[0] < rates[1] < rates[2]
    assert rates[2] / rates[0] == pytest.approx(100, rel=1e-3)
    moved = {k: (v - before[k]).abs().max() for k, v in model.state_dict().items() if "weight" in k}
    assert all(distance > 0 for distance in moved.values())


def test_a_rate_of_zero_trains_nothing_and_says_so(prepared, tmp_path):
    catalog, config = prepared
    still = dataclasses.replace(config, train=dataclasses.replace(config.train, lr=0.0))
    with pytest.raises(TrainError, match="NOTHING_TRAINED"):
        train(catalog, still)


def test_the_finder_finds_a_rate_and_restores_the_model(prepared, tmp_path):
    catalog, config = prepared
    model = start(catalog, config)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    dls = loaders_of(catalog)
    lr, why = choose_lr(learner(dls, model, tmp_path), "find")
    assert 1e-7 <= lr <= 1
    assert why == "the LR finder's valley"
    assert same(before, model.state_dict())
    assert choose_lr(None, 0.02) == (0.02, "given in the settings")


def test_the_batch_fits_the_data():
    settings, notes = fitted(TrainConfig(batch_size=64), 5)
    assert settings.batch_size == 5
    assert notes == ["5 training photos: batch size lowered to 5"]
    assert fitted(TrainConfig(batch_size=64), 64)[1] == []


def test_fewer_photos_than_a_batch_are_refused(prepared):
    catalog, _ = prepared
    pairs = [(catalog.file(p), p.label) for p in catalog.photos("ok")[:3]]
    with pytest.raises(TrainError, match="NO_BATCH: 3 training photos do not fill one batch of 4"):
        dataloaders(pairs, pairs, LABELS, 64, 4, 0.5, torch.device("cpu"))


def test_five_photos_and_a_batch_of_64_really_train(prepared, tmp_path):
    _, config = prepared
    config = dataclasses.replace(
        config, train=dataclasses.replace(config.train, batch_size=64, epochs=1)
    )
    catalog = dataset(tmp_path, config)
    probe(catalog, config)
    record = train(catalog, config)
    assert record["batch_size"] == 12
    assert record["notes"] == ["12 training photos: batch size lowered to 12"]
    assert math.isfinite(record["history"][0]["train_loss"])


def test_validation_sees_the_pixels_of_serving(prepared):
    catalog, config = prepared
    valid = [(catalog.file(p), p.label) for p in catalog.photos("ok") if p.split == "valid"]
    dls = dataloaders(valid, valid, LABELS, 64, 2, 0.5, torch.device("cpu"))
    theirs = torch.cat([x.as_subclass(torch.Tensor) for x, _ in dls.valid])
    ours = torch.cat(list(batches([path for path, _ in valid], 64, 4)))
    assert torch.allclose(theirs, ours, atol=1e-4)  # a grey level is 0.017
    targets = torch.cat([y for _, y in dls.valid])
    assert [LABELS[int(t)] for t in targets] == [label for _, label in valid]


def test_training_sees_other_pixels_each_time(prepared):
    catalog, _ = prepared
    pairs = [(catalog.file(p), p.label) for p in catalog.photos("ok")[:4]]
    dls = dataloaders(pairs, pairs, LABELS, 64, 4, 0.5, torch.device("cpu"))
    one, two = (next(iter(dls.train))[0] for _ in range(2))
    assert not torch.allclose(one, two)


def test_nothing_to_start_from(tmp_path):
    config = tiny_config()
    with pytest.raises(DataError, match="run: bears split"):
        train(Catalog(tmp_path / "empty"), config)
    with pytest.raises(DataError, match="NO_PROBE: .* run: bears probe"):
        train(dataset(tmp_path / "data", config), config)

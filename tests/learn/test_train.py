import contextlib
import dataclasses
import json
import math
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from bundles import LABELS, tiny_config
from training import changed, dataset, fresh, loaders_of, pairs_of, probed, same, weights
from watching import watched

from bear_classifier.config.settings import TrainConfig
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.errors import DataError, PhotoError, TrainError
from bear_classifier.images.preprocessing import Preprocessing
from bear_classifier.learn import backbone, lr_finder
from bear_classifier.learn import train as train_module
from bear_classifier.learn.data import Unreadable, batches, dataloaders
from bear_classifier.learn.finetune import tune
from bear_classifier.learn.fit import Plan, choose_lr, fit, make_learner
from bear_classifier.learn.train import adjusted_settings, start, train
from bear_classifier.plots import charts
from bear_classifier.report import sentences, stage_lines


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    root = tmp_path_factory.mktemp("train")
    config = tiny_config(train={"epochs": 2, "batch_size": 4, "lr": 0.003})
    catalog = probed(root, config)
    return catalog, config


def test_training_is_repeatable_and_another_seed_is_another_training(
    prepared, tmp_path, monkeypatch
):
    catalog, config = prepared
    with watched(tmp_path / "progress.jsonl", monkeypatch) as lines:
        first = train(catalog, config)
    rows = [line for line in lines() if line["kind"] == "epoch"]
    assert [line["epochs"] for line in rows] == [2, 2]
    added = {"at", "kind", "of", "epochs"}
    reported = [{key: row[key] for key in row if key not in added} for row in rows]
    assert reported == first["history"]
    one = weights(catalog)
    second = train(catalog, config)
    assert same(one, weights(catalog))
    assert first["history"] == second["history"]
    assert len(first["history"]) == 2
    assert {"epoch", "train_loss", "train_error", "valid_loss", "error"} == set(first["history"][0])
    third = train(catalog, changed(config, seed=7))
    assert third["history"] != first["history"]


def test_what_is_made_before_training_follows_from_the_seed_too(prepared, monkeypatch):
    """Random views of photos are drawn by the present random state."""
    catalog, config = prepared
    states, real = [], train_module.part_of

    def noted(*words):
        states.append((random.getstate(), torch.get_rng_state().tolist()))
        return real(*words)

    monkeypatch.setattr(train_module, "part_of", noted)
    for state in (5, 99):
        random.seed(state)
        torch.manual_seed(state)
        train(catalog, changed(config, epochs=1))
    assert states[0] == states[1]


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
        (batch,) = batches([catalog.file(p) for p in judged], Preprocessing(64), 32)
        fresh, features, _ = (part.numpy() for part in model.eval().outputs(batch))
    assert np.allclose(fresh, [said[p.sha256] for p in judged], atol=1e-4)
    assert np.allclose(features, [pooled[p.sha256] for p in judged], atol=1e-4)
    valid = [p for p in judged if p.split == "valid"]
    wrong = sum(LABELS[said[p.sha256].argmax()] != p.label for p in valid)
    assert record["valid_wrong"]["kept"] == wrong


def test_without_epochs_the_first_model_is_kept_and_nothing_is_trained(prepared, monkeypatch):
    catalog, config = prepared
    monkeypatch.setattr(train_module, "tune", lambda *words: pytest.fail("it trains"))
    record = train(catalog, changed(config, epochs=0, lr="find"))
    assert same(weights(catalog), start(catalog, config).state_dict())
    assert record["history"] == [] and record["lr"] is None and record["finder"] is None
    assert record["chosen"] == "probe" and record["layers"] == "none" and record["notes"] == []
    assert record["mixtures"]["shares"] == (0.0,)
    assert record["diagnosis"]["code"] == "untuned"
    said = stage_lines.stage_text("train", {"outcome": "done", "seconds": 1.0, **record})
    assert "learning rate" not in said and "probe" not in said
    assert said.endswith("run: bears compare train.epochs=0 train.epochs=4")
    assert sentences.kept_model(record) == "The first model (a linear probe) was kept as it is."
    figure = charts.training_history(record)
    first = record["valid_wrong"]["probe"] / record["valid"]
    assert figure.axes[1].get_ylim()[1] >= first


def test_the_model_with_less_validation_loss_is_kept(prepared, monkeypatch):
    """Training that ended with the probe's head turned round, 40 times as sure."""
    catalog, config = prepared

    def spoiled(*words):
        tuned = tune(*words)
        last = {k: -40 * v if v.shape[:1] == (len(LABELS),) else v for k, v in tuned.first.items()}
        return dataclasses.replace(tuned, last=last)

    monkeypatch.setattr(train_module, "tune", spoiled)
    record = train(catalog, config)
    assert record["valid_loss"]["tuned"] > record["valid_loss"]["probe"]
    assert record["chosen"] == "probe"
    assert same(weights(catalog), start(catalog, config).state_dict())


def test_a_rate_that_explodes_stops_keeps_finite_weights_and_says_so(prepared):
    catalog, config = prepared
    record = train(catalog, changed(config, lr=1e30))
    assert record["chosen"] == "probe"
    (note,) = record["notes"]
    assert note.startswith(
        "Training diverged in epoch 1 (loss is not a number). The probe was kept."
    )
    assert "--set train.lr=1e+29" in note
    assert all(t.isfinite().all() for t in weights(catalog).values() if t.is_floating_point())
    json.loads(
        (catalog.root / "train" / "history.json").read_text(encoding="utf-8"),
        parse_constant=pytest.fail,
    )


def test_a_loss_that_is_not_a_number_stops_within_one_batch(prepared):
    """At batch 2 of epoch 2 the loss turns to NaN: the weights of epoch 1 come back."""
    catalog, config = prepared
    dls, model = fresh(catalog, config)
    honest, seen, after_one = Plan.loss, [], {}

    def poisoned(logits, targets):
        if model.training:
            seen.append(1)
            if len(seen) == 4:
                after_one.update({k: v.clone() for k, v in model.named_parameters()})
            if len(seen) == 5:
                return honest(logits, targets) * math.nan
        return honest(logits, targets)

    end, (note,) = fit(dls, model, Plan(3, 1e-3, 1.0, poisoned))
    assert len(seen) == 5
    assert [row["epoch"] for row in end.facts["history"]] == [1]
    assert "diverged in epoch 2" in note
    assert "The model of epoch 1 was kept" in note
    assert same(after_one, dict(model.named_parameters()))
    assert all(t.isfinite().all() for t in model.state_dict().values() if t.is_floating_point())


def test_a_loss_on_validation_that_is_not_a_number_stops_too(prepared):
    catalog, config = prepared
    dls, model = fresh(catalog, config)
    honest = Plan.loss

    def poisoned(logits, targets):
        return honest(logits, targets) * (1.0 if model.training else math.inf)

    end, (note,) = fit(dls, model, Plan(2, 1e-3, 1.0, poisoned))
    assert end.facts["history"] == []
    assert "diverged in epoch 1" in note
    assert same(start(catalog, config).state_dict(), model.state_dict())


def test_the_epoch_with_the_fewest_errors_is_kept(prepared):
    """On validation all answers are right in epoch 1 and wrong from then on: epoch 1 remains."""
    catalog, config = prepared
    dls, model = fresh(catalog, config)
    truth = [torch.nn.functional.one_hot(y.as_subclass(torch.Tensor), 3) for _, y in dls.valid]
    states, passes = [], []

    def as_told(module, _, logits):
        if module.training:
            return logits
        passes.append(1)
        right = truth[(len(passes) - 1) % len(truth)].float()
        return right if len(passes) <= len(truth) else -right

    model.register_forward_hook(as_told)
    end, _ = fit(dls, model, Plan(3, 1e-3, 1.0), keep=states.append)
    assert [row["error"] for row in end.facts["history"]] == [0, 1, 1]
    assert end.facts["kept_epoch"] == 1
    assert same(states[0].part("model."), model.state_dict())
    assert not same(states[2].part("model."), model.state_dict())


def test_the_training_loss_is_that_of_its_epoch(prepared):
    catalog, config = prepared
    dls, model = fresh(catalog, config)
    honest, seen = Plan.loss, []

    def noted(logits, targets):
        loss = honest(logits, targets)
        if model.training:
            seen.append(float(loss.detach()))
        return loss

    end, _ = fit(dls, model, Plan(2, 1e-3, 1.0, noted))
    losses = [row["train_loss"] for row in end.facts["history"]]
    assert losses == pytest.approx([np.mean(seen[:3]), np.mean(seen[3:])], rel=1e-5)


@pytest.mark.parametrize("spread", [1.0, 100.0])
def test_every_layer_learns_and_the_early_ones_slowly(prepared, spread):
    """A step of Adam is about as long as the rate, whatever the gradient."""
    catalog, config = prepared
    dls, model = fresh(catalog, config)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    fit(dls, model, Plan(1, 1e-3, spread))
    moved = {k: (v - before[k]).abs().max() for k, v in model.state_dict().items() if "weight" in k}
    assert all(distance > 0 for distance in moved.values())
    ratio = float(moved["head.3.weight"] / moved["body.0.weight"])
    assert spread / 3 < ratio < spread * 3


def test_photos_that_vanish_in_the_middle_are_left_out_and_recorded(prepared, tmp_path):
    """One of training and one of validation, after epoch 1; of 48, since two of 24 are too many."""
    catalog, config = prepared
    dls_photos = {side: pairs_of(catalog, side) for side in ("train", "valid")}
    places = {}
    for side, pairs in dls_photos.items():
        copies = [(tmp_path / f"{side}-{path.name}", label) for path, label in pairs]
        for (path, _), (copy, _) in zip(pairs, copies, strict=True):
            shutil.copy(path, copy)
        places[side] = copies
    unreadable = Unreadable(48)
    settings = tiny_config(train={"batch_size": 12})
    dls = dataloaders(places["train"], places["valid"], settings, torch.device("cpu"), unreadable)
    gone, broken = places["train"][0][0], places["valid"][1][0]

    def harm(state):
        gone.unlink(missing_ok=True)
        broken.write_bytes(b"<html>not found</html>")

    _, model = fresh(catalog, config)
    end, _ = fit(dls, model, Plan(3, 1e-3, 1.0), keep=harm)
    assert unreadable.found == {gone: "UNREADABLE", broken: "NOT_AN_IMAGE"}
    (note,) = unreadable.note()
    assert note.startswith("2 photos skipped: ")
    assert gone.name in note
    assert "NOT_AN_IMAGE" in note
    assert [row["epoch"] for row in end.facts["history"]] == [1, 2, 3]
    assert len({row["train_loss"] for row in end.facts["history"]}) == 3  # the one batch was full
    shares = [round(row["error"] * 5, 6) for row in end.facts["history"][1:]]
    assert all(share == int(share) for share in shares)  # of five photos


def test_more_than_a_few_bad_photos_end_the_training(prepared):
    unreadable = Unreadable(40)
    unreadable.add(Path("a.jpg"), PhotoError("DAMAGED", "x"))
    with pytest.raises(TrainError, match=r"TOO_MANY_BAD_PHOTOS: 2 of 40 .*b\.jpg \(UNREADABLE\)"):
        unreadable.add(Path("b.jpg"), PhotoError("UNREADABLE", "x"))
    catalog, config = prepared
    pairs = [(Path("gone.jpg"), LABELS[0]), *pairs_of(catalog, "train")]
    dataloaders(pairs, pairs, config, torch.device("cpu"), Unreadable(21))
    with pytest.raises(TrainError, match=r"TOO_MANY_BAD_PHOTOS: 1 of 20 .*gone\.jpg"):
        dataloaders(pairs, pairs, config, torch.device("cpu"), Unreadable(20))


def test_a_photo_that_is_gone_is_in_no_prediction(prepared, tmp_path):
    _, config = prepared
    catalog = probed(tmp_path, config)
    lost = next(p for p in catalog.photos("ok") if p.split == "test")
    catalog.file(lost).unlink()
    record = train(catalog, changed(config, epochs=1))
    assert any(note.startswith("1 photo skipped") for note in record["notes"])
    with np.load(catalog.root / "train" / "predictions.npz") as file:
        assert len(file["sha256"]) == len(file["logits"]) == len(file["pooled"]) == 23
        assert lost.sha256 not in file["sha256"]


def test_a_stand_in_has_the_same_class(prepared):
    catalog, _ = prepared
    pairs = pairs_of(catalog, "train")
    unreadable = Unreadable(100)
    dls = loaders_of(catalog, unreadable)
    unreadable.found[pairs[0][0]] = "UNREADABLE"
    with_label = [path for path, label in pairs[1:] if label == pairs[0][1]]
    random.seed(1)
    image, label = dls.train_ds[0]
    assert LABELS[int(label)] == pairs[0][1]
    random.seed(1)  # the same crop of the next of its class
    other, _ = dls.train_ds[[path for path, _ in pairs].index(with_label[0])]
    assert torch.equal(image, other)


def test_a_rate_of_zero_trains_nothing_and_says_so(prepared, tmp_path):
    catalog, config = prepared
    with pytest.raises(TrainError, match="NOTHING_TRAINED"):
        train(catalog, changed(config, lr=0.0))


def test_the_finder_finds_a_rate_and_restores_the_model(prepared, tmp_path, monkeypatch):
    monkeypatch.setattr(lr_finder.Curve, "falls", lambda _: True)
    catalog, config = prepared
    model = start(catalog, config)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    plan = Plan(1, "find", 1.0)
    learn = make_learner(loaders_of(catalog), model, tmp_path, plan)
    lr, why, curve = choose_lr(learn, "find")
    assert 1e-7 <= lr <= 1
    assert why == "the LR finder's valley"
    assert same(before, model.state_dict())
    assert len(curve["rates"]) == len(curve["losses"]) == len(curve["smoothed"]) > 10
    assert curve["rates"][:2] == pytest.approx([lr_finder.FIRST, lr_finder.FIRST * 10 ** (6 / 40)])
    seen = [np.array(curve[name]) for name in ("rates", "smoothed")]
    assert lr == lr_finder.suggest(*seen, lr_finder.STEPS)["valley"]
    assert choose_lr(None, 0.02) == (0.02, "given in the settings", None)


@pytest.mark.long
def test_one_lucky_batch_does_not_end_the_finder(prepared, tmp_path):
    """fastai compares with the least loss so far and would stop at the second step."""
    catalog, config = prepared
    _, model = fresh(catalog, config)
    seen = []

    def lucky(logits, targets):
        seen.append(1)
        return Plan.loss(logits, targets) * (0.001 if len(seen) == 1 else 1.0)

    plan = Plan(1, "find", 1.0, lucky)
    _, _, curve = choose_lr(make_learner(loaders_of(catalog), model, tmp_path, plan), "find")
    assert len(curve["rates"]) > 10


@pytest.mark.long
def test_the_record_holds_the_finder_s_curve_if_it_ran(prepared, monkeypatch):
    monkeypatch.setattr(lr_finder.Curve, "falls", lambda _: True)
    catalog, config = prepared
    assert train(catalog, changed(config, epochs=1))["finder"] is None
    record = train(catalog, changed(config, epochs=1, lr="find"))
    assert record["lr_reason"] == "the LR finder's valley"
    saved = json.loads((catalog.root / "train" / "history.json").read_text(encoding="utf-8"))[
        "finder"
    ]
    assert saved == record["finder"]
    assert set(saved) == {"rates", "losses", "smoothed"}
    assert saved["rates"][0] <= record["lr"] <= saved["rates"][-1]


def test_the_batch_fits_the_data():
    settings, notes = adjusted_settings(TrainConfig(batch_size=64), 5)
    assert settings.batch_size == 5
    assert notes == ["5 training photos: batch size lowered to 5"]
    assert adjusted_settings(TrainConfig(batch_size=64), 64)[1] == []


def test_fewer_photos_than_a_batch_are_refused(prepared):
    catalog, _ = prepared
    config, pairs = tiny_config(train={"batch_size": 4}), pairs_of(catalog, "train")[:3]
    with pytest.raises(TrainError, match="NO_BATCH: 3 training photos do not fill one batch of 4"):
        dataloaders(pairs, pairs, config, torch.device("cpu"))


def test_five_photos_and_a_batch_of_64_really_train(prepared, tmp_path):
    _, config = prepared
    config = changed(config, batch_size=64, epochs=1)
    catalog = probed(tmp_path, config)
    record = train(catalog, config)
    assert record["batch_size"] == 12
    assert record["notes"] == ["12 training photos: batch size lowered to 12"]
    assert math.isfinite(record["history"][0]["train_loss"])


def test_validation_sees_the_pixels_of_serving(prepared):
    catalog, config = prepared
    valid = pairs_of(catalog, "valid")
    dls = loaders_of(catalog)
    theirs = torch.cat([x.as_subclass(torch.Tensor) for x, _ in dls.valid])
    ours = torch.cat(list(batches([path for path, _ in valid], Preprocessing(64), 4)))
    assert torch.allclose(theirs, ours, atol=1e-4)  # a grey level is 0.017
    targets = torch.cat([y for _, y in dls.valid])
    assert [LABELS[int(t)] for t in targets] == [label for _, label in valid]


def test_training_sees_other_pixels_each_time(prepared):
    catalog, _ = prepared
    dls = loaders_of(catalog)
    dls.train.shuffle = False
    one, two = (next(iter(dls.train))[0] for _ in range(2))
    assert not torch.allclose(one, two)


def test_the_weights_stand_last(tmp_path, monkeypatch):
    """They say that the stage is complete: broken off at any of the three files, there are none."""
    real, left = train_module.move, 0

    def moved(partial, path):
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError("no space left on device")
        real(partial, path)

    monkeypatch.setattr(train_module, "move", moved)
    model = torch.nn.Linear(1, 1)
    for whole in range(4):
        left = whole
        folder = tmp_path / str(whole)
        with contextlib.suppress(OSError):
            train_module._save(folder, model, {"a": np.ones(1)}, {})
        assert (folder / "weights.safetensors").exists() == (whole == 3)
        assert len(list(folder.iterdir())) == whole


def test_nothing_to_start_from(tmp_path):
    config = tiny_config()
    with pytest.raises(DataError, match="run: bears split"):
        train(Catalog(tmp_path / "empty"), config)
    with pytest.raises(DataError, match="NO_PROBE: .* run: bears probe"):
        train(dataset(tmp_path / "data", config), config)

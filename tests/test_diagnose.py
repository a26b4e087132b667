"""What a history says: by rows made by hand, and by trainings that really go wrong that way."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from bundles import LABELS, tiny_config
from training import dataset, fresh, pairs_of

from bear_classifier import telling
from bear_classifier.catalog import Catalog
from bear_classifier.learn.cycle import Plan, fit
from bear_classifier.learn.diagnose import Finding, diagnose, kept_epoch, mixed
from bear_classifier.learn.loaders import dataloaders
from bear_classifier.learn.probe import probe
from bear_classifier.settings import Config


def rows(train: list[float], valid: list[float], errors: list[float] | None = None) -> list[Any]:
    errors = errors or [0.1] * len(train)
    return [
        {"epoch": n + 1, "train_loss": t, "valid_loss": v, "error": e}
        for n, (t, v, e) in enumerate(zip(train, valid, errors, strict=True))
    ]


@pytest.mark.parametrize(
    ("train", "valid", "code", "way"),
    [
        ([1.0, 1.2, 0.9], [1.0, 1.1, 0.9], "rate_too_high", "train.lr=0.0001"),
        ([1.0, 1.0, 0.99], [1.0, 2.5, 1.0], "rate_too_high", "train.lr=0.0001"),  # leaps
        ([1.0, 0.6, 0.3], [1.0, 2.5, 1.2], "over_trained", "train.epochs=1"),  # by heart, at once
        ([1.0, 0.99, 0.98], [1.0, 0.99, 0.99], "rate_too_low", "train.lr=0.01"),
        ([0.05, 0.05, 0.05], [0.1, 0.1, 0.1], "fine", "levelled off"),  # nothing left to learn
        ([0.01, 0.01], [0.01, 0.025], "fine", "levelled off"),  # of no account
        ([1.0, 0.8, 0.6], [1.0, 0.8, 0.6], "under_trained", "train.epochs=6"),
        ([1.0], [0.8], "under_trained", "train.epochs=2"),
        ([1.0], [1.0], "fine", "levelled off"),
        ([1.0, 0.5, 0.2, 0.1], [0.9, 0.5, 0.6, 0.7], "over_trained", "train.epochs=2"),
        ([1.0, 0.5, 0.3, 0.2], [0.9, 0.5, 0.45, 0.44], "fine", "levelled off"),
        ([1.0, 0.5, 0.4, 0.4], [0.9, 0.5, 0.45, 0.46], "fine", "levelled off"),
    ],
)
def test_rows_by_hand(train: list[float], valid: list[float], code: str, way: str) -> None:
    found = diagnose(rows(train, valid), lr=0.001, start=1.0, photos=400)
    assert found.code == code
    assert way in found.sentence


@pytest.mark.parametrize(
    ("train", "valid", "code"),
    [
        ([0.146, 0.118, 0.086, 0.070], [0.127, 0.135, 0.135, 0.138], "harmful"),
        ([0.290], [0.242], "harmful"),
        ([0.29, 0.20], [0.24, 0.15], "under_trained"),  # on its way back
        ([0.146, 0.118, 0.086], [0.098, 0.095, 0.096], "fine"),
    ],
)
def test_a_training_that_only_did_harm(train: list[float], valid: list[float], code: str) -> None:
    """The first two were seen on real photos."""
    found = diagnose(rows(train, valid), lr=0.001, start=0.099, photos=837)
    assert found.code == code
    assert ("train.lr=0.0001" in found.sentence) == (code == "harmful")


def test_a_training_that_diverged_had_too_high_a_rate() -> None:
    assert diagnose([], lr=1.0, start=1.0, photos=9, diverged=True).code == "rate_too_high"
    assert "train.lr=0.1" in diagnose([], lr=1.0, start=1.0, photos=9, diverged=True).sentence


def test_the_kept_epoch_has_the_fewest_errors_and_then_the_least_loss() -> None:
    assert kept_epoch(rows([1, 1, 1], [0.5, 0.4, 0.3], [0.1, 0.2, 0.3])) == 1
    assert kept_epoch(rows([1, 1, 1], [0.5, 0.3, 0.4], [0.2, 0.1, 0.1])) == 2
    assert kept_epoch(rows([1, 1], [0.5, 0.3], [0.2, 0.2 + 1e-9])) == 2  # the same number
    assert kept_epoch(rows([1, 1], [0.5, 0.5], [0.2, 0.2])) == 1


# -- real trainings ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Catalog, Config]:
    config = tiny_config(train={"batch_size": 4})
    catalog = dataset(tmp_path_factory.mktemp("diagnose"), config)
    probe(catalog, config)
    return catalog, config


def told(dls: Any, model: Any, epochs: int, lr: float) -> str:
    end, _ = fit(dls, model, Plan(epochs, lr, 1.0))
    for row in end.facts["history"]:
        print({k: round(v, 3) for k, v in row.items()})
    diverged = end.epoch < epochs
    return diagnose(end.facts["history"], lr, math.log(3), 12, diverged).code


def knowing_nothing(model: Any) -> Any:
    with torch.no_grad():
        model.head[-1].weight.zero_()
        model.head[-1].bias.zero_()
    return model


def on_its_own_photos(catalog: Catalog, config: Config) -> tuple[Any, Any]:
    """Validation on the photos of training: there is nothing in them that cannot be learned."""
    _, model = fresh(catalog, config)
    pairs = pairs_of(catalog, "train")
    whole = tiny_config(train={"batch_size": 4, "crop": 1.0})
    return dataloaders(pairs, pairs, whole, torch.device("cpu")), knowing_nothing(model)


@pytest.mark.parametrize("lr", [0.1, 1e30])
def test_a_rate_that_is_too_high(prepared: tuple[Catalog, Config], lr: float) -> None:
    assert told(*fresh(*prepared), epochs=3, lr=lr) == "rate_too_high"


def test_a_rate_that_is_too_low(prepared: tuple[Catalog, Config]) -> None:
    assert told(*fresh(*prepared), epochs=4, lr=1e-8) == "rate_too_low"


def test_too_few_epochs_and_enough(prepared: tuple[Catalog, Config]) -> None:
    assert told(*on_its_own_photos(*prepared), epochs=6, lr=1e-3) == "under_trained"
    assert told(*on_its_own_photos(*prepared), epochs=12, lr=3e-4) == "fine"


def test_too_many_epochs(prepared: tuple[Catalog, Config], tmp_path: Path) -> None:
    """Labels by lot: whatever is learned by heart of some is wrong of the others."""
    _, config = prepared
    catalog = dataset(tmp_path, config)
    probe(catalog, config)
    by_lot = sorted(catalog.photos("ok"), key=lambda p: p.sha256)
    with catalog.transaction():
        catalog.put_photos(
            dataclasses.replace(p, label=LABELS[n % 3]) for n, p in enumerate(by_lot)
        )
    dls, model = fresh(catalog, config, batch=12)
    assert told(dls, knowing_nothing(model), epochs=20, lr=1e-3) == "over_trained"


def test_what_is_told() -> None:
    history = rows([1.0, 0.5, 0.2], [0.9, 0.5, 0.7], [0.2, 0.1, 0.1])
    found = diagnose(history, lr=0.001, start=1.0, photos=400)
    outcome = {
        "outcome": "done",
        "seconds": 1.0,
        "chosen": "tuned",
        "history": history,
        "kept_epoch": 2,
        "valid": 10,
        "valid_wrong": {"probe": 2, "tuned": 1, "kept": 1},
        "share": 0.5,
        "mixtures": {
            "shares": [0.0, 0.5, 1.0],
            "valid": {"n": 10, "wrong": [2, 1, 1]},
            "unseen": {"n": 20, "wrong": [5, 3, 4]},
        },
        "lr": 0.001,
        "lr_reason": "given in the settings",
        "notes": ["Resuming at epoch 3 of 3"],
        "diagnosis": dataclasses.asdict(found),
    }
    said = telling.stage("train", outcome).splitlines()
    assert [line.strip() for line in said[-3:]] == [
        "the weights of epoch 2 were kept",
        "note: Resuming at epoch 3 of 3",
        found.sentence,
    ]
    again = telling.stage("train", outcome | {"kept_epoch": 3})
    assert "were kept" not in again


def test_a_mixture_that_is_better_than_its_start_takes_the_edge_off_a_wrong_rate() -> None:
    wrong = Finding("rate_too_high", "too high; try less")
    said = mixed(wrong, 0.25, 0.018, 0.023).sentence
    assert said.startswith("too high; try less. What is kept, 25% of the way, is better than")
    assert "0.018 instead of 0.023" in said
    assert mixed(wrong, 0.25, 0.03, 0.023) == wrong  # it is not
    assert mixed(wrong, 0.0, 0.02, 0.023) == mixed(wrong, 1.0, 0.02, 0.023) == wrong
    fine = Finding("fine", "fits")
    assert mixed(fine, 0.25, 0.018, 0.023) == fine

"""What a history says: by rows made by hand, and by trainings that really go wrong that way."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from bundles import tiny_config
from training import fresh, probed

from bear_classifier.config.settings import Config
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.learn.diagnose import Finding, diagnose, diagnose_interpolated, kept_epoch
from bear_classifier.learn.fit import Plan, fit
from bear_classifier.report import stage_lines


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


def standing_still(seed: int, photos: int, epochs: int, wrong: float) -> list[Any]:
    """A history in which nothing is learned, at a rate of 1e-6: every epoch draws other crops of
    the same photos, most of which are easy, while of some a model is sure that they are others."""
    rng = np.random.default_rng(seed)
    hard = rng.random(photos) < wrong
    valid = np.where(rng.random(photos // 3) < wrong, 3.0, 0.05)
    history, before = [], None
    for epoch in range(epochs):
        crops = np.where(hard, rng.exponential(3.0, photos), rng.exponential(0.05, photos))
        crops = np.where(rng.random(photos) < 0.05, rng.exponential(2.0, photos), crops)
        now = valid * (1 + 0.01 * rng.normal(size=len(valid)))
        row = {
            "epoch": epoch + 1,
            "train_loss": crops.mean(),
            "valid_loss": now.mean(),
            "error": (now > 1).mean(),
            "train_error": crops.std(ddof=1) / photos**0.5,
        }
        if before is not None:
            row["valid_error"] = (now - before).std(ddof=1) / len(now) ** 0.5
        history.append(row)
        before = now
    return history


@pytest.mark.parametrize("photos", [12, 30, 60, 150])
@pytest.mark.parametrize("wrong", [0.0, 0.1, 0.3])
def test_small_sets_on_which_nothing_is_learned_alarm_nobody(photos: int, wrong: float) -> None:
    """At most 5 % of 400: 20, and three standard deviations of that number more."""
    codes = []
    for seed in range(400):
        history = standing_still(seed, photos, 4, wrong)
        start = history[0]["valid_loss"]
        codes.append(diagnose(history, 1e-6, start, photos).code)
    alarms = [code for code in codes if code not in ("rate_too_low", "fine")]
    assert len(alarms) <= 20 + 3 * (400 * 0.05 * 0.95) ** 0.5


def measured(train: list[float], valid: list[float], error: float) -> list[Any]:
    return [row | {"train_error": error, "valid_error": error} for row in rows(train, valid)]


@pytest.mark.parametrize(
    ("train", "valid", "code"),
    [
        ([1.0, 1.4, 1.3], [1.0, 1.0, 1.0], "rate_too_high"),
        ([1.0, 0.6, 0.4], [1.0, 0.8, 0.6], "under_trained"),
        ([1.0, 0.5, 0.2], [0.6, 0.5, 0.8], "over_trained"),
        ([1.0, 0.9, 0.8], [1.5, 1.5, 1.5], "harmful"),
    ],
)
def test_what_lies_within_the_spread_of_the_losses_is_not_said(
    train: list[float], valid: list[float], code: str
) -> None:
    clear, blurred = measured(train, valid, 0.02), measured(train, valid, 0.3)
    assert diagnose(clear, 0.001, 1.0, 400, start_error=0.02).code == code
    assert diagnose(blurred, 0.001, 1.0, 400, start_error=0.3).code in ("fine", "rate_too_low")


def test_the_spread_is_measured_while_training(prepared: tuple[Catalog, Config]) -> None:
    dls, model = fresh(*prepared)
    end, _ = fit(dls, model, Plan(2, 1e-8, 1.0))
    first, second = end.facts["history"]
    assert first["train_error"] > 0
    assert "valid_error" not in first
    assert 0 <= second["valid_error"] < 0.5 * second["train_error"]  # the same photos


# -- trainings of given losses: what a small network would learn differs by processor ------------


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Catalog, Config]:
    config = tiny_config(train={"batch_size": 4})
    catalog = probed(tmp_path_factory.mktemp("diagnose"), config)
    return catalog, config


def told(dls: Any, model: Any, plan: Plan) -> tuple[list[Any], str]:
    """Its history, and what is said of it."""
    end, _ = fit(dls, model, plan)
    history, diverged = end.facts["history"], end.epoch < plan.epochs
    assert isinstance(plan.lr, float)
    return history, diagnose(history, plan.lr, math.log(3), 400, diverged).code


def scripted(model: Any, train: list[float], valid: list[float]) -> Any:
    """A loss with these values, one an epoch, whatever the network says; its slope is not 0."""
    epoch, before = -1, False

    def loss(logits: Any, targets: Any) -> Any:
        nonlocal epoch, before
        epoch += model.training and not before  # the first batch after validation
        before = model.training
        said = logits.as_subclass(torch.Tensor).sum()
        return said - said.detach() + (train if model.training else valid)[epoch]

    return loss


@pytest.mark.series
@pytest.mark.parametrize(
    ("train", "valid", "code"),
    [
        ([1.0, 1.3, 1.6], [1.0, 1.1, 1.2], "rate_too_high"),
        ([1.0, 0.999, 0.998], [1.0, 0.999, 0.998], "rate_too_low"),
        ([1.0, 0.8, 0.6], [1.0, 0.8, 0.6], "under_trained"),
        ([1.0, 0.5, 0.3, 0.2], [0.9, 0.5, 0.45, 0.44], "fine"),
        ([1.0, 0.5, 0.2, 0.1], [0.9, 0.5, 0.6, 0.7], "over_trained"),
    ],
)
def test_what_a_training_keeps_is_what_is_diagnosed(
    prepared: tuple[Catalog, Config], train: list[float], valid: list[float], code: str
) -> None:
    dls, model = fresh(*prepared)
    history, found = told(dls, model, Plan(len(train), 1e-6, 1.0, scripted(model, train, valid)))
    assert [row["train_loss"] for row in history] == pytest.approx(train)
    assert [row["valid_loss"] for row in history] == pytest.approx(valid)
    assert found == code


def test_a_rate_without_measure_diverges(prepared: tuple[Catalog, Config]) -> None:
    history, found = told(*fresh(*prepared), Plan(3, 1e30, 1.0))
    assert (history, found) == ([], "rate_too_high")


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
        "valid_intervals": {"probe": [0.1, 0.5], "tuned": [0.0, 0.4], "kept": [0.0, 0.4]},
        "share": 0.5,
        "mixtures": {
            "shares": [0.0, 0.5, 1.0],
            "valid": {"n": 10, "wrong": [2, 1, 1], "intervals": [[0.0, 0.5]] * 3},
            "unseen": {"n": 20, "wrong": [5, 3, 4], "intervals": [[0.1, 0.5]] * 3},
        },
        "lr": 0.001,
        "lr_reason": "given in the settings",
        "notes": ["Resuming at epoch 3 of 3"],
        "diagnosis": dataclasses.asdict(found),
    }
    said = stage_lines.stage_text("train", outcome).splitlines()
    assert [line.strip() for line in said[-3:]] == [
        "the weights of epoch 2 were kept",
        "note: Resuming at epoch 3 of 3",
        found.sentence,
    ]
    again = stage_lines.stage_text("train", outcome | {"kept_epoch": 3})
    assert "were kept" not in again


def test_a_mixture_that_is_better_than_its_start_takes_the_edge_off_a_wrong_rate() -> None:
    wrong = Finding("rate_too_high", "too high; try less")
    said = diagnose_interpolated(wrong, 0.25, 0.018, 0.023).sentence
    assert said.startswith("too high; try less. What is kept, 25% of the way, is better than")
    assert "0.018 instead of 0.023" in said
    assert diagnose_interpolated(wrong, 0.25, 0.03, 0.023) == wrong  # it is not
    assert (
        diagnose_interpolated(wrong, 0.0, 0.02, 0.023)
        == diagnose_interpolated(wrong, 1.0, 0.02, 0.023)
        == wrong
    )
    fine = Finding("fine", "fits")
    assert diagnose_interpolated(fine, 0.25, 0.018, 0.023) == fine

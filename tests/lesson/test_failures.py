"""The four things that go wrong: each symptom by a history made by hand, and by real trainings."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from bundles import LABELS, tiny_config
from fastai.torch_core import no_random
from training import dataset

from bear_classifier.lesson.page import Page
from bear_classifier.lesson.photos import failures
from bear_classifier.lesson.photos import short_trainings as runs
from bear_classifier.lesson.photos.short_trainings import (
    FailureRun,
    Recipe,
    crawls,
    explodes,
    is_overfitting,
    unfinished,
)
from bear_classifier.lesson.trained_model import Subject


def run(
    train: list[float], valid: list[float], errors: list[float] | None = None, **facts: Any
) -> FailureRun:
    errors = errors or [0.1] * len(train)
    rows = [
        {"epoch": n + 1, "train_loss": t, "valid_loss": v, "error": e}
        for n, (t, v, e) in enumerate(zip(train, valid, errors, strict=True))
    ]
    usual: dict[str, Any] = {"recipe": Recipe(), "start": 1.0, "diverged": False, "plain": 0.05}
    return FailureRun(rows=rows, **usual | facts)


RIGHT = run([1.0, 0.5, 0.2, 0.1], [0.8, 0.4, 0.25, 0.248], [0.3, 0.2, 0.1, 0.1])
HIGH = run([1.0, 3.0], [50.0, 9.0])
LOW = run([1.0, 0.99, 0.98], [1.0, 0.99, 0.98])
FEW = run([1.0, 0.6], [0.7, 0.4])
MANY = run([1.0, 0.5, 0.1, 0.01], [0.8, 0.5, 0.6, 0.9], [0.3, 0.2, 0.2, 0.3])
NONE = run([], [], diverged=True)


# symptoms


@pytest.mark.parametrize(
    ("symptom", "shown", "missing"),
    [
        (explodes, [HIGH, NONE, run([1.0], [math.nan])], [RIGHT, LOW, FEW, MANY, run([1], [2.0])]),
        (crawls, [LOW, run([1.0, 0.81], [1, 1])], [RIGHT, FEW, MANY, NONE, run([1, 0.79], [1, 1])]),
        (unfinished, [FEW, run([1.0], [0.5])], [RIGHT, LOW, MANY, NONE, run([1.0], [0.95])]),
        (unfinished, [], [run([1.0, 0.8], [0.7, 0.65])]),  # hardly falling
        (unfinished, [], [run([1.0, 0.39], [0.7, 0.4])]),  # falling, and below
        (is_overfitting, [MANY], [RIGHT, HIGH, LOW, FEW, NONE]),
        (is_overfitting, [], [run([1, 0.5, 0.01], [1, 0.5, 2.0], [0.3, 0.2, 0.22])]),  # by chance
        (
            is_overfitting,
            [],
            [run([1, 0.5, 0.4], [1, 0.5, 2.0], [0.3, 0.2, 0.3])],
        ),  # nor by heart yet
    ],
)
def test_symptoms_by_hand(symptom: Any, shown: list[FailureRun], missing: list[FailureRun]) -> None:
    assert [symptom(one) for one in shown] == [True] * len(shown)
    assert [symptom(one) for one in missing] == [False] * len(missing)


def test_the_best_epoch_is_the_first_with_the_fewest_errors() -> None:
    assert MANY.best["epoch"] == 2
    assert math.isnan(NONE.best["error"])


# the page, of histories made by hand


EASY = run([1.0, 0.05], [0.8, 0.25], plain=0.04)
HARD = run([1.0, 0.3], [0.8, 0.22], plain=0.1)
MADE = {
    name: one for name, one in zip(failures.RECIPES, (RIGHT, HIGH, LOW, FEW, MANY), strict=True)
}


def page(monkeypatch: pytest.MonkeyPatch, changed: dict[Recipe, FailureRun] | None = None) -> Page:
    histories = {failures.RECIPES[name]: one for name, one in MADE.items()}
    histories |= {
        Recipe(epochs=failures.SHORT, crops=False): FEW,
        Recipe(epochs=failures.SHORT, dropout=failures.DROPOUT): FEW,
        Recipe(crops=False): EASY,
        Recipe(dropout=failures.DROPOUT): HARD,
    } | (changed or {})
    setup = dataclasses.make_dataclass("Setup", ["train", "valid"])([0] * 192, [0] * 120)
    monkeypatch.setattr(failures, "training_setup", lambda subject: setup)
    monkeypatch.setattr(
        failures,
        "train_new_head",
        lambda _, recipe: dataclasses.replace(histories[recipe], recipe=recipe),
    )
    return failures.page(None)  # type: ignore[arg-type]


def failed(page: Page) -> list[str]:
    return [claim.said for claim in page.claims if not claim.holds]


def test_every_claim_holds_of_trainings_that_went_that_way(monkeypatch: pytest.MonkeyPatch) -> None:
    made = page(monkeypatch)
    assert failed(made) == []
    assert len(made.claims) == 9
    assert "[[" not in made.body.replace("[[term]]", "")


@pytest.mark.series
@pytest.mark.parametrize(
    ("recipe", "instead", "words"),
    [
        (failures.RECIPES["rate too high"], RIGHT, "rate too high"),
        (failures.RECIPES["rate too low"], RIGHT, "rate too low"),
        (failures.RECIPES["too few epochs"], RIGHT, "too few epochs (underfitting)"),
        (failures.RECIPES["too many epochs"], RIGHT, "too many epochs on 36 photos, 12 with"),
        (failures.RECIPES["too many epochs"], FEW, "the diagnosis that follows"),
        (failures.RECIPES["right"], FEW, "shows none of the four"),
        (failures.RECIPES["right"], HIGH, "shows none of the four"),
        (
            failures.RECIPES["right"],
            dataclasses.replace(MANY, plain=0.01),
            "as few errors as it ever had",
        ),
        (failures.RECIPES["right"], dataclasses.replace(RIGHT, plain=0.2), "far below that of"),
        (Recipe(epochs=failures.SHORT, crops=False), RIGHT, "without any of them too"),
        (Recipe(dropout=failures.DROPOUT), EASY, "dropout alone raise the training loss"),
        (Recipe(dropout=failures.DROPOUT), dataclasses.replace(HARD, plain=0.29), "dropout alone"),
        (failures.RECIPES["rate too high"], NONE, ""),  # no number at all is a symptom as well
    ],
)
def test_a_training_that_went_otherwise_turns_its_claim_red(
    monkeypatch: pytest.MonkeyPatch, recipe: Recipe, instead: FailureRun, words: str
) -> None:
    found = failed(page(monkeypatch, {recipe: instead}))
    assert any(words in said for said in found) == bool(words)


def test_a_diagnosis_that_says_the_same_of_all_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    right = failures.diagnose
    monkeypatch.setattr(failures, "diagnose", lambda *_: right([{**RIGHT.last}], 0.1, 1.0, 192))
    assert any("the diagnosis that follows" in said for said in failed(page(monkeypatch)))


# real trainings of a tiny network


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subject]:
    root, config = tmp_path_factory.mktemp("wrong"), tiny_config()
    with dataset(root, config) as catalog, pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs.clean, "suspected", lambda *_: set())
        yield Subject(catalog, config, root / "none")


@pytest.mark.long
def test_real_trainings_show_it_and_leave_the_dice_alone(subject: Subject) -> None:
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # type: ignore[index]
    with no_random():
        made = runs.training_setup(subject)
        high = runs.train_new_head(made, Recipe(rate=1e3, epochs=2))
        low = runs.train_new_head(made, Recipe(rate=1e-7, epochs=2, crops=False))
        few = runs.train_new_head(made, Recipe(epochs=1, photos=6, dropout=0.5))
    after = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # type: ignore[index]
    assert before == after
    assert (len(made.train), len(made.valid)) == (12, 6)
    assert explodes(high) and not explodes(low)
    chance = math.hypot(low.first["train_error"], low.last["train_error"])
    assert low.first["train_loss"] - low.last["train_loss"] < 3 * chance
    assert low.start == high.start  # the same new head
    assert low.plain == pytest.approx(low.last["train_loss"], rel=0.5)  # nothing was made harder
    assert len(few.rows) == 1


def test_the_same_recipe_gives_the_same_history(subject: Subject) -> None:
    with no_random():
        made = runs.training_setup(subject)
        one, two = (runs.train_new_head(made, Recipe(rate=1e-3, epochs=2)) for _ in range(2))
    assert one == two


def test_some_photos_are_of_all_classes(subject: Subject) -> None:
    few = runs.balanced_sample(subject.catalog.photos("ok"), 6)
    assert sorted(photo.label for photo in few) == ["black"] * 2 + ["grizzly"] * 2 + ["teddy"] * 2
    assert few == runs.balanced_sample(subject.catalog.photos("ok"), 6)
    assert len(runs.balanced_sample(few, 100)) == 6


def test_photos_that_cleaning_suspects_are_left_out(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (p for p in [p for p in subject.catalog.photos("ok") if p.split == "train"][:2])
    monkeypatch.setattr(runs.clean, "suspected", lambda *_: {first.sha256})
    with no_random():
        learned = runs.training_setup(subject).train
    assert first not in learned and second in learned


def test_a_wrong_label_is_that_of_the_next_class(subject: Subject) -> None:
    few = runs.balanced_sample(subject.catalog.photos("ok"), 6)
    changed = runs.mislabelled(few, 3, LABELS)
    after = {"black": "grizzly", "grizzly": "teddy", "teddy": "black"}
    assert [p.label for p in changed] == [after[p.label] for p in few[:3]] + [
        p.label for p in few[3:]
    ]
    assert [p.sha256 for p in changed] == [p.sha256 for p in few]


def test_a_rate_too_low_that_is_called_otherwise_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rise on validation by the averages of a new head alone, as seen on real photos."""
    odd = run([1.78, 1.7, 1.6], [1.25, 1.28, 1.35], start=1.25)
    made = page(monkeypatch, {failures.RECIPES["rate too low"]: odd})
    assert failed(made) == []
    assert "it calls <code>over_trained</code> here" in made.body
    assert "names the rate that is too low as well" in page(monkeypatch).body

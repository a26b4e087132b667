"""Teams of models: the arithmetic by hand, and claims that fall when what they claim is broken."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bundles import tiny_config
from corpus import seeded
from torch import nn
from training import dataset

from bear_classifier.errors import DataError
from bear_classifier.lesson.page import Page
from bear_classifier.lesson.photos import ensembles, small_networks
from bear_classifier.lesson.trained_model import LabelledFeatures, Subject

MIDDLES = 2.0 * np.eye(3, 8)
ERROR = 1.5  # length of a member's own error; the right weights have one of 3.5
REPEATS = 8


def some(seed: int, n: int, astray: float) -> LabelledFeatures:
    """Three clouds in eight dimensions, a share of the labels wrong, every two photos a group."""
    dice = np.random.default_rng(seeded(seed))
    y = dice.integers(3, size=n)
    x = MIDDLES[y] + dice.normal(0, 0.8, (n, 8))
    said = np.where(dice.random(n) < astray, (y + 1) % 3, y)
    groups = np.array([f"g{number // 2}" for number in range(n)])
    return LabelledFeatures(torch.from_numpy(x).float(), torch.from_numpy(said), groups)


LEARNED, ASKED = some(1, 120, 0.3), some(2, 400, 0.0)
SUBJECT: Any = type("Any", (), {"config": tiny_config()})()
Trained = dict[str, dict[int, list[nn.Sequential]]]


def linear(weight: Any, bias: Any) -> nn.Sequential:
    """The network that says weight (3, 8) times x, plus bias (3,): its units hold x and -x."""
    found = small_networks.small_network(8, 3, 0)
    layers = [layer for layer in found if isinstance(layer, nn.Linear)]
    with torch.no_grad():
        for layer in layers:
            layer.weight.zero_()
            layer.bias.zero_()
        layers[0].weight[:16] = torch.cat([torch.eye(8), -torch.eye(8)])
        for layer in layers[1:-1]:
            layer.weight[:16, :16] = torch.eye(16)
        layers[-1].weight[:, :16] = torch.cat([weight, -weight], 1)
        layers[-1].bias[:] = bias
    return found


def given(kind: str, seed: int) -> list[nn.Sequential]:
    """A team as training would make it, without what a training happens to learn: the likeliest
    cloud's scores with an error of each member's own, the first one's larger; units in an order of
    its own, unless it began with the others, whose errors are nearly the same then."""
    dice = np.random.default_rng(seeded(seed) + sum(kind.encode()))

    def error(length: float) -> Any:
        found = dice.normal(size=(3, 8))
        return length * found / np.linalg.norm(found)

    weight, bias = MIDDLES, -(MIDDLES**2).sum(1) / 2
    if kind == "together":
        weight = weight + error(ERROR)
    own = 0.1 * ERROR if kind == "together" else ERROR
    team = []
    for number in range(small_networks.TEAM):
        off = weight + error(own * (1 if number else 1.2))
        member = linear(torch.from_numpy(off).float(), torch.from_numpy(bias).float())
        team.append(
            member if kind == "together" else small_networks.reordered(member, seed + number)
        )
    return team


@pytest.fixture(scope="module")
def trained() -> Trained:
    return {
        kind: {1000 * repeat: given(kind, 1000 * repeat) for repeat in range(REPEATS)}
        for kind in ensembles.TRAINED
    }


@pytest.fixture
def made(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(ensembles, "REPEATS", REPEATS)
    monkeypatch.setattr(ensembles, "train_and_held_out", lambda _: (LEARNED, ASKED))
    for kind, (words, _) in ensembles.TRAINED.items():
        again = partial(_again, trained[kind])
        monkeypatch.setitem(ensembles.TRAINED, kind, (words, again))
    return monkeypatch


def _again(of_seed: dict[int, list[nn.Sequential]], *asked: Any) -> list[nn.Sequential]:
    return of_seed[asked[2]]


def fallen(page: Page) -> list[str]:
    return [claim.said for claim in page.claims if not claim.holds]


def test_every_claim_holds(made: pytest.MonkeyPatch) -> None:
    page = ensembles.page(SUBJECT)
    assert fallen(page) == []
    assert len(page.claims) == 6
    assert "[[" not in page.body
    assert {"ensemble-errors.png", "ensemble-between.png"} == set(page.files)


@pytest.mark.series
@pytest.mark.parametrize(
    ("name", "instead", "words"),
    [
        (
            "mean_answer",
            lambda team, x: small_networks.probabilities(team[0], x),
            "lower than that of its",
        ),
        ("mean_weights", lambda team, shares=None: team[0], "reordered it says the same, and"),
        ("mean_weights", lambda team, shares=None: team[0], "trained separately is wrong more"),
        (
            "mean_weights",
            lambda t, shares=None: small_networks.small_network(8, 3, 5),
            "it does no harm",
        ),
        ("reordered", lambda model, seed: model, "reordered it says the same, and the mean"),
        (
            "reordered",
            lambda model, seed: small_networks.small_network(8, 3, 77),
            "reordered it says the same",
        ),
    ],
)
def test_a_claim_falls_with_what_it_claims(
    made: pytest.MonkeyPatch, name: str, instead: Any, words: str
) -> None:
    made.setattr(small_networks, name, instead)
    if hasattr(ensembles, name):
        made.setattr(ensembles, name, instead)
    assert any(words in said for said in fallen(ensembles.page(SUBJECT)))


@pytest.mark.series
@pytest.mark.parametrize(
    ("kind", "instead", "words"),
    [
        ("separate", lambda t, seed: [t["separate"][seed][0]] * 5, "lower than that of its member"),
        (
            "separate",
            lambda t, seed: [t["separate"][seed][0]] * 5,
            "separately is wrong more often",
        ),
        (
            "folds",
            lambda t, seed: [small_networks.small_network(8, 3, k) for k in range(5)],
            "do better together",
        ),
        ("together", lambda t, seed: t["folds"][seed], "the less they differ"),
        ("together", lambda t, seed: t["separate"][seed], "it does no harm"),
    ],
)
def test_a_claim_falls_with_its_team(
    made: pytest.MonkeyPatch, trained: Trained, kind: str, instead: Any, words: str
) -> None:
    train = partial(_instead, instead, trained)
    made.setitem(ensembles.TRAINED, kind, (ensembles.TRAINED[kind][0], train))
    assert any(words in said for said in fallen(ensembles.page(SUBJECT)))


def _instead(instead: Any, trained: Trained, *asked: Any) -> list[nn.Sequential]:
    found: list[nn.Sequential] = instead(trained, asked[2])
    return found


# arithmetic


def test_reordering_changes_the_numbers_and_not_the_function() -> None:
    model = small_networks.small_network(8, 3, 0)
    other = small_networks.reordered(model, 1)
    assert not torch.equal(model[0].weight, other[0].weight)
    assert np.abs(
        small_networks.probabilities(model, ASKED.x) - small_networks.probabilities(other, ASKED.x)
    ).max() < 1e-6  # fmt: skip
    assert torch.equal(
        model[0].weight.sum(), small_networks.small_network(8, 3, 0)[0].weight.sum()
    )  # untouched


def test_the_mean_of_weights_is_that_of_each_parameter() -> None:
    one, two = small_networks.small_network(8, 3, 0), small_networks.small_network(8, 3, 1)
    mean, mostly = (
        small_networks.mean_weights([one, two]),
        small_networks.mean_weights([one, two], [0.75, 0.25]),
    )
    for a, b, m, q in zip(*(n.parameters() for n in (one, two, mean, mostly)), strict=True):
        assert torch.allclose(m, (a + b) / 2)
        assert torch.allclose(q, 0.75 * a + 0.25 * b)


def test_the_mean_of_answers_is_that_of_probabilities() -> None:
    team = [small_networks.small_network(8, 3, seed) for seed in range(3)]
    said = np.stack([small_networks.probabilities(model, ASKED.x) for model in team])
    assert np.allclose(small_networks.mean_answer(team, ASKED.x), said.mean(0))
    assert np.allclose(small_networks.mean_answer(team, ASKED.x).sum(1), 1)


def test_each_of_the_folds_leaves_out_other_groups_as_a_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[LabelledFeatures] = []
    monkeypatch.setattr(
        small_networks, "train_copy", lambda model, s, epochs, seed: seen.append(s) or model
    )
    small_networks.by_folds(LEARNED, 3, 0)
    out = [set(LEARNED.groups) - set(one.groups) for one in seen]
    assert set.union(*out) == set(LEARNED.groups)
    assert sum(map(len, out)) == len(set(LEARNED.groups))
    assert all(len(one.y) + 2 * len(o) == len(LEARNED.y) for one, o in zip(seen, out, strict=True))


def test_a_training_leaves_the_start_alone_and_can_be_repeated() -> None:
    start = small_networks.small_network(8, 3, 0)
    before = start[0].weight.clone()
    one, two, other = (small_networks.train_copy(start, LEARNED, 2, seed) for seed in (5, 5, 6))
    assert torch.equal(start[0].weight, before)
    assert torch.equal(one[0].weight, two[0].weight)
    assert not torch.equal(one[0].weight, other[0].weight)


def test_losses_and_wrongs_by_hand() -> None:
    asked = LabelledFeatures(torch.zeros(3, 8), torch.tensor([0, 1, 2]), np.array(["a", "b", "c"]))
    said = np.array([[0.5, 0.25, 0.25], [0.5, 0.25, 0.25], [0.0, 0.5, 0.5]])
    losses, wrong = ensembles.score_answers(said, asked)
    assert np.allclose(losses, -np.log([0.5, 0.25, 0.5]))
    assert wrong.tolist() == [0, 1, 1]


def test_the_worst_of_a_team_is_the_one_that_is_wrong_most_often() -> None:
    team = [small_networks.small_network(8, 3, seed) for seed in range(3)]
    each = [
        ensembles.score_answers(small_networks.probabilities(m, ASKED.x), ASKED)[1].mean()
        for m in team
    ]
    assert ensembles.ensemble_figures(team, ASKED).worst == max(each)


def test_sides_of_a_dataset_and_too_few_photos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config()
    with dataset(tmp_path, config) as catalog:
        subject = Subject(catalog, config, tmp_path / "none")
        ready = catalog.photos("ok")
        dice = np.random.default_rng(0)
        known: Any = type("Known", (), {})()
        known.photos, known.groups = ready, np.array([photo.family for photo in ready])
        known.features = dice.normal(5, 3, (len(ready), 7)).astype(np.float32)
        known.targets = np.array([config.labels.index(photo.label) for photo in ready])
        monkeypatch.setattr(ensembles, "probed_photos", lambda _: known)
        with pytest.raises(DataError, match="TOO_FEW.*4 different photos.*12 are held back"):
            ensembles.train_and_held_out(subject)
        monkeypatch.setattr(ensembles, "TEAM", 3)
        learned, asked = ensembles.train_and_held_out(subject)
    assert (len(learned.y), len(asked.y)) == (12, 12)
    assert torch.allclose(learned.x.mean(0), torch.zeros(7), atol=1e-5)
    assert torch.allclose(learned.x.std(0, correction=0), torch.ones(7), atol=1e-3)
    assert not set(learned.groups) & set(asked.groups)

"""Strangers are told by how little they are like the photos that were learned from."""

import dataclasses

import numpy as np
import pytest

from bear_classifier.stats import arrays, ood
from bear_classifier.stats.arrays import SomeRows
from bear_classifier.stats.ood import (
    accept_reasons,
    make_reference,
    read_reference,
    reference_rows,
    threshold,
)

RNG = np.random.default_rng(0)
CENTRES = np.abs(RNG.normal(size=(3, 64)))
CLASSIFIER = RNG.normal(size=(20, 64)), RNG.normal(size=20)


def crowd(n, seed, centres=CENTRES):
    """Features (n, 64), all positive as pooled ones are, around the centres."""
    rng = np.random.default_rng(seed)
    return np.abs(centres[np.arange(n) % len(centres)] + 0.3 * rng.normal(size=(n, 64)))


def strangers(n, seed=9):
    return crowd(n, seed, np.abs(np.random.default_rng(seed).normal(size=(4, 64))))


@pytest.fixture(params=[None, CLASSIFIER], ids=["features alone", "and kinds"])
def reference(request):
    return make_reference(crowd(300, 1), np.arange(300), request.param, seed=0)


def test_strangers_are_less_familiar_than_new_photos_of_known_kinds(reference):
    known, strange = reference.score(crowd(200, 2)), reference.score(strangers(200))
    assert strange.max() < known.min()
    assert abs(reference.own().mean()) < 1e-6
    assert abs(known.mean()) < 0.5


def test_by_hand():
    """Cosines with the five nearest, in deviations of the photos' own."""
    features = crowd(12, 3)
    made = make_reference(features, np.arange(12), None, seed=0)
    unit = features.astype(np.float16).astype(float)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    own = [np.sort(np.delete(unit @ row, i))[-5:].mean() for i, row in enumerate(unit)]
    assert made.own() == pytest.approx((own - np.mean(own)) / np.std(own), abs=1e-3)
    (asked,) = crowd(1, 4)
    nearest = np.sort(unit @ (asked / np.linalg.norm(asked)))[-5:].mean()
    (score,) = made.score(asked[None])
    assert score == pytest.approx((nearest - np.mean(own)) / np.std(own), abs=1e-3)


def test_the_kinds_count_as_much_as_the_features():
    features, asked = crowd(60, 5), crowd(7, 6)
    both = make_reference(features, np.arange(60), CLASSIFIER, seed=0)
    alone = make_reference(features, np.arange(60), None, seed=0)
    kinds = dataclasses.replace(both, scale=np.array([np.inf, both.scale[1]])).score(asked)
    assert both.score(asked) == pytest.approx(alone.score(asked) / 2 + kinds, abs=1e-4)


def test_a_near_copy_makes_nobody_familiar():
    features = np.concatenate([crowd(30, 1), strangers(1), strangers(1)])
    groups = np.arange(32)
    alone = make_reference(features, groups, None, seed=0)
    groups[-1] = groups[-2]
    tied = make_reference(features, groups, None, seed=0)
    gap = alone.own() * alone.scale + alone.centre - tied.own() * tied.scale - tied.centre
    assert gap[:-2] == pytest.approx(np.zeros(30), abs=1e-6)
    assert (gap[-2:] > 0.02).all()


def test_it_is_kept_as_it_is(reference):
    again = read_reference(reference.as_bytes())
    assert (again.score(crowd(5, 7)) == reference.score(crowd(5, 7))).all()
    assert (again.own() == reference.own()).all()


@pytest.mark.parametrize(
    "change",
    [
        {"features": np.zeros((0, 64), np.float16), "groups": np.zeros(0, int)},
        {"features": np.zeros(64, np.float16)},
        {"groups": np.arange(3)},
        {"features": np.full((300, 64), np.nan, np.float16)},
        {"scale": np.zeros(2)},
        {"scale": np.ones(3)},
        {"classifier": (np.zeros((4, 63), np.float16), np.zeros(4, np.float16))},
    ],
)
def test_what_is_no_reference_is_refused(change):
    made = make_reference(crowd(300, 1), np.arange(300), CLASSIFIER, seed=0)
    with pytest.raises(ValueError, match="do not fit"):
        read_reference(dataclasses.replace(made, **change).as_bytes())
    with pytest.raises((ValueError, EOFError)):
        read_reference(b"")


def test_only_so_many_photos_are_kept(monkeypatch):
    monkeypatch.setattr(ood, "MAX_REFERENCE", 100)
    features = crowd(300, 1)
    made = make_reference(features, np.arange(300), None, seed=3)
    assert made.features.shape == (100, 64)
    assert set(made.groups.tolist()) < set(range(300))
    again = make_reference(features, np.arange(300), None, seed=3)
    assert (again.groups == made.groups).all()
    assert (made.features == features.astype(np.float16)[made.groups]).all()


def test_the_threshold_refuses_as_often_as_it_says():
    """Over many samples: at most 3 % of new photos, and hardly less than that."""
    rng = np.random.default_rng(0)
    refused = [
        (rng.normal(size=500) < threshold(rng.normal(size=200), 0.03)).mean() for _ in range(2000)
    ]
    assert 0.02 < np.mean(refused) < 0.0305


def test_too_few_to_say_refuses_nobody():
    assert threshold(np.zeros(32), 0.03) == -np.inf
    assert threshold(np.zeros(33), 0.03) == 0.0
    assert threshold(np.arange(1000.0), 0.0) == -np.inf
    assert threshold(np.zeros(0), 0.5) == -np.inf


def test_what_is_no_number_is_refused():
    """Of comparisons with it none holds, so that it would pass all of them."""
    nan = float("nan")
    sure = np.array([[0.9, 0.1]] * 3)
    said = accept_reasons(sure, np.array([nan, -np.inf, 0.0]), -1.0, 0.2)
    assert said.tolist() == ["unlike_training", "unlike_training", "ok"]
    assert accept_reasons(sure[:1], np.array([nan]), -np.inf, 0.2).tolist() == ["unlike_training"]
    assert accept_reasons(np.array([[nan, nan]]), np.zeros(1), -1.0, 0.2).tolist() == ["too_close"]
    scores = np.r_[[nan] * 10, np.arange(89.0)]
    assert threshold(scores, 0.2) == 9.0  # ten of the twenty that may be refused are no numbers


def test_verdicts():
    p = np.array([[0.9, 0.05, 0.05], [0.45, 0.5, 0.05], [0.45, 0.5, 0.05], [0.4, 0.2, 0.4]])
    scores = np.array([0.0, 0.0, -3.0, 1.0])
    said = ["ok", "too_close", "unlike_training", "too_close"]
    assert accept_reasons(p, scores, -2.0, 0.2).tolist() == said
    assert accept_reasons(p, scores, -np.inf, 0.0).tolist() == ["ok"] * 4


def test_photos_in_files_are_scored_in_blocks(reference, monkeypatch):
    photos = crowd(23, 5)
    at_once = reference.score(photos)
    monkeypatch.setattr(arrays, "BLOCK_ROWS", 7)
    turned = np.arange(23)[::-1]
    found = reference.score(SomeRows(photos, turned))
    assert found == pytest.approx(at_once[turned], abs=1e-3)


def test_of_many_photos_only_those_of_the_reference_are_read():
    read = []

    class Noted:
        shape = (9000, 6)

        def __len__(self):
            return 9000

        def __getitem__(self, rows):
            read.extend(rows)
            return crowd(len(rows), 1)[:, :6]

    make_reference(Noted(), np.arange(9000), None, seed=0)
    assert read == reference_rows(9000, 0).tolist()

"""The rule for giving no answer, fitted and measured."""

import numpy as np
import pytest
from test_familiar import crowd, strangers

from bear_classifier.familiar import make, verdicts
from bear_classifier.judge.intervals import wilson
from bear_classifier.judge.reject import left_out, let_through, refusals, rule

SURE, CLOSE = [0.98, 0.01, 0.01], [0.5, 0.45, 0.05]


@pytest.fixture(scope="module")
def reference():
    return make(crowd(300, 1), np.arange(300), None, seed=0)


def fitted(reference, n_close, refused=0.03, seen=False, n=400):
    """The rule of 400 validation photos, the first of them too close to call."""
    p = np.array([CLOSE] * n_close + [SURE] * (n - n_close))
    right = np.ones(n, dtype=bool)
    scores = reference.score(crowd(n, 5))
    return rule(reference, p, right, scores, refused, 0.2, seen), p, scores


@pytest.mark.parametrize("seen", [False, True])
def test_new_photos_of_known_classes_are_refused_as_seldom_as_asked(reference, seen):
    least, _, _ = fitted(reference, 0, seen=seen)
    new = reference.score(crowd(3000, 77))
    assert 0.005 < (new < least).mean() < 0.05
    assert (reference.score(strangers(200)) < least).all()


def test_what_is_too_close_is_counted_in(reference):
    """8 of 400 right answers are too close already, 2 %: 1 % is left for the unfamiliar."""
    least, p, scores = fitted(reference, 8, seen=True)
    assert (scores < least).sum() == np.floor(401 * 0.01) - 1
    assert (verdicts(p, scores, least, 0.2) != "ok").mean() <= 0.03
    none, _, _ = fitted(reference, 40, seen=True)
    assert none == -np.inf


def test_wrong_answers_that_are_too_close_cost_nothing(reference):
    p = np.array([CLOSE] * 40 + [SURE] * 360)
    right = np.arange(400) >= 40
    scores = reference.score(crowd(400, 5))
    assert rule(reference, p, right, scores, 0.03, 0.2, True) == fitted(reference, 0, seen=True)[0]


def test_the_photos_of_the_reference_count_unless_the_network_learned_from_them(reference):
    low = np.full(400, -50.0)
    p, right = np.array([SURE] * 400), np.ones(400, dtype=bool)
    both = rule(reference, p, right, low, 0.6, 0.2, False)
    alone = rule(reference, p, right, low, 0.6, 0.2, True)
    assert alone == -50.0
    assert both > -50.0


def test_a_share_of_zero_refuses_nobody(reference):
    assert fitted(reference, 0, refused=0.0)[0] == -np.inf


def test_refusals_by_hand():
    said = np.array(["ok", "ok", "ok", "too_close", "unlike_training", "unlike_training"])
    right = np.array([True, True, False, False, True, False])
    found = refusals(said, right)
    assert found == {
        "n": 6,
        "accepted": 3,
        "accepted_share": 0.5,
        "accepted_interval": wilson(3, 6),
        "unlike_training": 2,
        "too_close": 1,
        "wrongly_refused": 1,
        "answered_wrong": 1,
    }
    nobody = refusals(said[:0], right[:0])
    assert (nobody["n"], nobody["accepted_share"], nobody["accepted_interval"]) == (0, None, None)


def test_let_through_by_hand():
    assert let_through(np.array(["ok", "unlike_training", "too_close", "too_close"])) == {
        "n": 4,
        "let_through": 1,
        "share": 0.25,
        "interval": wilson(1, 4),
    }


def test_each_class_once_as_a_stranger():
    """Two classes that look alike take each other in; the third is a stranger to both."""
    centres = np.abs(np.random.default_rng(1).normal(size=(3, 64)))
    centres[1] = centres[0]
    features, targets = crowd(300, 1, centres), np.arange(300) % 3
    found = left_out(features, targets, np.arange(300), None, ["a", "b", "c"], 0.03)
    assert found["a"]["share"] > 0.9
    assert found["b"]["share"] > 0.9
    assert found["c"] == let_through(np.array(["unlike_training"] * 100))

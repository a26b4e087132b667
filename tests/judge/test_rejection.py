"""The rule for giving no answer, fitted and measured."""

import numpy as np
import pytest
from scipy.stats import beta, norm
from test_ood import crowd, strangers

from bear_classifier.judge.rejection import false_accepts, left_out_classes, refusals, rule
from bear_classifier.stats.intervals import wilson
from bear_classifier.stats.ood import accept_reasons, make_reference

SURE, CLOSE = [0.98, 0.01, 0.01], [0.5, 0.45, 0.05]


@pytest.fixture(scope="module")
def reference():
    return make_reference(crowd(300, 1), np.arange(300), None, seed=0)


def fitted(reference, n_close, refused=0.03, n=400):
    """The rule of 400 validation photos, the first of them too close to call."""
    p = np.array([CLOSE] * n_close + [SURE] * (n - n_close))
    right = np.ones(n, dtype=bool)
    scores = reference.score(crowd(n, 5))
    least, close = rule(reference, p, right, scores, np.arange(len(p)), refused, 0.2)
    return least, close, p, scores


def test_new_photos_of_known_classes_are_refused_as_seldom_as_asked(reference):
    least, close, _, _ = fitted(reference, 0)
    assert close == 0.2
    new = reference.score(crowd(3000, 77))
    assert 0.005 < (new < least).mean() < 0.05
    assert (reference.score(strangers(200)) < least).all()


def test_what_is_too_close_is_counted_in(reference):
    """4 of 400 right answers are too close, 1 %: 2 % are left for the unfamiliar."""
    least, close, p, scores = fitted(reference, 4)
    assert close == 0.2
    every = np.concatenate([scores, reference.own()])
    assert (every < least).sum() == np.floor(701 * 0.02) - 1
    assert 4 / 400 + (every < least).mean() <= 0.03


def test_a_weak_model_still_answers(reference):
    """40 of 400 right answers have a margin of 0.05: no more than 1.5 % may be lost to that."""
    least, close, p, scores = fitted(reference, 40)
    assert close == pytest.approx(0.05)
    said = accept_reasons(p, scores, least, close)
    assert (said == "ok").mean() >= 0.97
    assert least > -np.inf


def test_wrong_answers_that_are_too_close_cost_nothing(reference):
    p = np.array([CLOSE] * 40 + [SURE] * 360)
    right = np.arange(400) >= 40
    scores = reference.score(crowd(400, 5))
    found = rule(reference, p, right, scores, np.arange(len(p)), 0.03, 0.2)
    assert found == fitted(reference, 0)[:2]


def test_a_few_odd_validation_photos_do_not_decide(reference):
    """3 of 60 are nothing of the kind: alone, they would let everything through."""
    scores = np.concatenate([np.full(3, -50.0), reference.score(crowd(57, 5))])
    p, right = np.array([SURE] * 60), np.ones(60, dtype=bool)
    least, _ = rule(reference, p, right, scores, np.arange(len(p)), 0.03, 0.2)
    assert (reference.score(strangers(200)) < least).all()


def test_a_network_that_knows_the_reference_too_well_is_found_out(reference):
    """To it, photos that it learned from are far more familiar than new ones of the same kind."""
    scores = reference.score(crowd(400, 5)) - 3.0
    p, right = np.array([SURE] * 400), np.ones(400, dtype=bool)
    least, _ = rule(reference, p, right, scores, np.arange(len(p)), 0.03, 0.2)
    new = reference.score(crowd(3000, 77)) - 3.0
    assert 0.005 < (new < least).mean() < 0.05


def test_a_share_of_zero_refuses_nobody(reference):
    least, close, p, scores = fitted(reference, 8, refused=0.0)
    assert least == -np.inf
    assert (accept_reasons(p, scores, least, close) == "ok").all()


class Likeness:
    """A reference whose photos are as familiar as new ones, without features."""

    def __init__(self, rng, n, copies=1):
        self.groups = np.repeat(np.arange(n), copies)
        self.scores = np.repeat(rng.normal(size=n), copies)

    def own(self):
        return self.scores


@pytest.mark.series
@pytest.mark.parametrize("copies", [1, 5])
@pytest.mark.parametrize("n", [5, 20, 40, 67, 200])
def test_however_few_validation_photos_at_most_the_share_is_refused(n, copies):
    """Of new photos that would be answered rightly: on average over validation splits, since one
    small side may be lucky. n: groups of validation photos."""
    rng, refused = np.random.default_rng(n), []
    for _ in range(400):
        margins = np.repeat(rng.beta(2, 0.7, size=n), copies)  # 3.5 % below 0.1, 9 % below 0.2
        p = np.stack([1 + margins, 1 - margins], axis=1) / 2
        scores, groups = np.repeat(rng.normal(size=n), copies), np.repeat(np.arange(n), copies)
        reference = Likeness(rng, 3 * n, copies)
        right = np.ones(len(p), dtype=bool)
        least, close = rule(reference, p, right, scores, groups, 0.03, 0.2)
        unlike, near = norm.cdf(least), beta.cdf(close, 2, 0.7)
        refused.append(unlike + near - unlike * near)
    assert np.mean(refused) <= 0.03 + 3 * np.std(refused) / 400**0.5


@pytest.mark.parametrize("close", [0.25, 0.9])
def test_what_the_lead_may_take_by_rank_is_not_taken_again(close):
    """Leads of 5 photos, and a half may be refused: for the lead a quarter, which is the first of
    6 places, so that 1/2 - 1/6 is left. Of 12 likenesses and a new one that is the fourth of 13.
    The least lead is 1/4, which may also be just what is too close."""
    leads = np.array([0.25, 0.5, 0.5, 0.75, 1.0])
    p = np.stack([1 + leads, 1 - leads], axis=1) / 2
    reference = Likeness(np.random.default_rng(0), 7)
    reference.scores = np.arange(5.0, 12.0)
    scores, right = np.arange(5.0), np.ones(5, dtype=bool)
    least, margin = rule(reference, p, right, scores, np.arange(5), 0.5, close)
    assert (least, margin) == (3.0, 0.25)


def test_refusals_by_hand():
    said = np.array(["ok", "ok", "ok", "too_close", "unlike_training", "unlike_training"])
    right = np.array([True, True, False, False, True, False])
    found = refusals(said, right, np.arange(6))
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
    nobody = refusals(said[:0], right[:0], np.arange(0))
    assert (nobody["n"], nobody["accepted_share"], nobody["accepted_interval"]) == (0, None, None)


def test_let_through_by_hand():
    said = np.array(["ok", "unlike_training", "too_close", "too_close"])
    assert false_accepts(said, np.arange(4)) == {
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
    found = left_out_classes(features, targets, np.arange(300), None, ["a", "b", "c"], 0.03)
    assert found["a"]["share"] > 0.9
    assert found["b"]["share"] > 0.9
    assert found["c"] == false_accepts(np.array(["unlike_training"] * 100), np.arange(100))

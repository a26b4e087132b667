"""The rule for giving no answer, fitted and measured."""

import numpy as np
import pytest
from scipy.stats import beta, norm
from test_ood import crowd, strangers

from bear_classifier.judge.out_of_sample import Answers, OutOfSample
from bear_classifier.judge.rejection import (
    RejectionLimits,
    false_accepts,
    left_out_classes,
    refusals,
    refused_elsewhere,
    set_limits,
)
from bear_classifier.stats.calibration import LEAST_ERRORS
from bear_classifier.stats.intervals import clustered, wilson
from bear_classifier.stats.metrics import log_loss, softmax
from bear_classifier.stats.ood import make_reference

SURE, CLOSE = [0.98, 0.01, 0.01], [0.5, 0.45, 0.05]


@pytest.fixture(scope="module")
def reference():
    return make_reference(crowd(300, 1), np.arange(300), None, seed=0)


def answers(p, scores, right=None, groups=None, parts="one"):
    """The likeliest class is the true one where `right`."""
    p, n = np.array(p, dtype=np.float64), len(p)
    right = np.ones(n, dtype=bool) if right is None else right
    targets = np.where(right, p.argmax(axis=1), (p.argmax(axis=1) + 1) % p.shape[1])
    groups = np.arange(n) if groups is None else groups
    return Answers(np.log(p), np.asarray(scores), targets, groups, np.broadcast_to(parts, n))


def near(*given, **more):
    return OutOfSample(None, answers(*given, **more), "folds")


def elsewhere(*given, **more):
    return OutOfSample(answers(*given, **more), None, "folds")


def fitted(reference, n_close, refused=0.03, n=400):
    """The rule of 400 photos, the first of them too close to call."""
    p = np.array([CLOSE] * n_close + [SURE] * (n - n_close))
    scores = reference.score(crowd(n, 5))
    return set_limits(elsewhere(p, scores), refused, 0.2), p, scores


def test_new_photos_of_known_sources_are_refused_half_as_often_as_allowed(reference):
    limits = set_limits(near([SURE] * 400, reference.score(crowd(400, 5))), 0.03, 0.2)
    assert limits.close == 0.2
    new = reference.score(crowd(3000, 77))
    assert 0.004 < (new < limits.least).mean() < 0.03
    assert (reference.score(strangers(200)) < limits.least).all()


def test_what_is_too_close_is_counted_in(reference):
    """4 of 400 right answers are too close, 1 %: 2 % are left for the unfamiliar."""
    limits, _, scores = fitted(reference, 4)
    assert limits.close == 0.2
    assert (scores < limits.least).sum() == np.floor(401 * 0.02) - 1


def test_a_weak_model_still_answers(reference):
    """40 of 400 right answers have a margin of 0.05: no more than 1.5 % may be lost to that."""
    limits, p, scores = fitted(reference, 40)
    assert limits.close == pytest.approx(0.05, rel=1e-3)
    assert (limits.reasons(np.log(p), scores) == "ok").mean() >= 0.97
    assert limits.least > -np.inf


def test_wrong_answers_cost_nothing(reference):
    """Neither those that are too close nor those that are unfamiliar; so few set no temperature."""
    p = np.array([CLOSE] * 9 + [SURE] * 400)
    right = np.arange(409) >= 9
    scores = np.concatenate([np.full(9, -50.0), reference.score(crowd(400, 5))])
    found = set_limits(elsewhere(p, scores, right), 0.03, 0.2)
    assert found.least == fitted(reference, 0)[0].least
    assert found.close == 0.2


def test_the_laxer_of_both_limits_counts():
    """3 % of other sources, and half of that of known ones, none being too close."""
    dice = np.random.default_rng(0)
    usual, others = dice.normal(size=999), dice.normal(size=999)
    known = answers([SURE] * 999, usual)
    for shift, expected in ((-3.0, np.sort(others - 3.0)[29]), (1.0, np.sort(usual)[14])):
        far = answers([SURE] * 999, others + shift)
        limits = set_limits(OutOfSample(far, known, "folds"), 0.03, 0.2)
        assert limits.least == expected


def test_scores_of_other_networks_set_no_limit_of_a_tuned_one():
    """Of 303 pictures of something else a quarter was answered; the whole share is its own."""
    dice = np.random.default_rng(0)
    usual, others = dice.normal(size=999), dice.normal(size=999) - 3.0
    both = answers([SURE] * 999, others), answers([SURE] * 999, usual)
    limits = set_limits(OutOfSample(*both, "valid"), 0.03, 0.2)
    assert limits.least == np.sort(usual)[29]


def test_temperature_and_lead_are_those_of_other_sources():
    far, known = (
        answers([[0.6, 0.4]] * 200, np.zeros(200)),
        answers([SURE[:2]] * 200, np.zeros(200)),
    )
    limits = set_limits(OutOfSample(far, known, "folds"), 0.03, 0.9)
    assert limits.close == pytest.approx(0.2, rel=1e-3)
    assert set_limits(OutOfSample(None, known, "folds"), 0.03, 0.9).close == 0.9


def test_a_share_of_zero_refuses_nobody(reference):
    limits, p, scores = fitted(reference, 8, refused=0.0)
    assert limits.least == -np.inf
    assert (limits.reasons(np.log(p), scores) == "ok").all()


def test_an_odd_one_of_few_validation_photos_does_not_decide(reference):
    """Among 60 it would let everything through."""
    scores = np.concatenate([[-50.0], reference.score(crowd(59, 5))])
    known = OutOfSample(None, answers([SURE] * 60, scores), "valid", own=reference.own())
    assert (reference.score(strangers(200)) < set_limits(known, 0.03, 0.2).least).all()


def test_a_network_that_knows_the_reference_too_well_is_found_out(reference):
    """To it, photos that it learned from are far more familiar than new ones of the same kind."""
    scores, own = reference.score(crowd(400, 5)) - 3.0, np.tile(reference.own(), 6)
    known = OutOfSample(None, answers([SURE] * 400, scores), "valid", own=own)
    least = set_limits(known, 0.03, 0.2).least
    assert 0.004 < (reference.score(crowd(3000, 77)) - 3.0 < least).mean() < 0.03


def test_no_photo_sets_no_limit():
    assert set_limits(OutOfSample(None, None, "valid"), 0.03, 0.2) == RejectionLimits(
        1.0, -np.inf, 0.0
    )


@pytest.mark.series
@pytest.mark.parametrize("copies", [1, 5])
@pytest.mark.parametrize("n", [5, 20, 40, 67, 200])
def test_however_few_photos_at_most_the_share_is_refused(n, copies):
    """Of new photos that would be answered rightly: on average over splits, since one small side
    may be lucky. n: groups of photos."""
    rng, refused = np.random.default_rng(n), []
    for _ in range(100):
        margins = np.repeat(rng.beta(2, 0.7, size=n), copies)  # 3.5 % below 0.1, 9 % below 0.2
        p = np.stack([1 + margins, 1 - margins], axis=1) / 2
        scores, groups = np.repeat(rng.normal(size=n), copies), np.repeat(np.arange(n), copies)
        limits = set_limits(near(p, scores, groups=groups), 0.03, 0.2)
        # all are right, so that the temperature is 1
        unlike, close = norm.cdf(limits.least), beta.cdf(limits.close, 2, 0.7)
        refused.append(unlike + close - unlike * close)
    assert np.mean(refused) <= 0.03 + 3 * np.std(refused) / 100**0.5


def test_what_the_lead_may_take_by_rank_is_not_taken_again():
    """Leads of 5 photos, and a half may be refused: for the lead a quarter, which is the first of
    6 places, so that 1/2 - 1/6 is left, the second of 6. The least lead is 1/4, which may also be
    just what is too close."""
    leads = np.array([0.25, 0.5, 0.5, 0.75, 1.0 - 1e-9])
    p = np.stack([1 + leads, 1 - leads], axis=1) / 2
    limits = set_limits(elsewhere(p, np.arange(5.0)), 0.5, 0.9)
    assert limits.least == 1.0
    assert limits.close == pytest.approx(0.25, rel=1e-3)
    assert set_limits(elsewhere(p, np.arange(5.0)), 0.5, limits.close) == limits


def three_sources(odd=-9.0):
    """Two of 200 photos like known ones, and one of 100 that are unlike all others."""
    dice = np.random.default_rng(1)
    scores = np.concatenate([dice.normal(size=400), odd + dice.normal(size=100)])
    parts = np.repeat(["first", "second", "odd"], [200, 200, 100])
    return answers([SURE] * 500, scores, parts=parts)


def test_a_source_is_measured_by_the_limits_of_the_others():
    """Its own photos would make the limit so lax that three of them are refused."""
    known = OutOfSample(three_sources(), None, "folds")
    inside = set_limits(known, 0.03, 0.2)
    assert (three_sources().scores < inside.least).mean() < 0.03
    found = refused_elsewhere(known, 0.03, 0.2, 0)
    assert found["by_source"]["odd"]["refused_share"] == 1.0
    assert found["right"] == 500
    assert found["wrongly_refused"] == sum(
        p["wrongly_refused"] for p in found["by_source"].values()
    )
    assert found["refused_interval"] == pytest.approx(
        clustered(np.arange(500) < found["wrongly_refused"], np.arange(500))
    )


def test_a_source_that_is_held_out_is_in_no_reference_of_the_others():
    """Photos of known sources are scored anew, in the deviations of a reference without it."""
    far = three_sources(odd=-4.0)
    usual = answers([SURE] * 500, far.scores + 1.0, parts=far.parts)
    known = OutOfSample(far, usual, "folds", {"odd": usual.scores - 9.0})
    assert refused_elsewhere(known, 0.03, 0.2, 0)["by_source"]["odd"]["refused_share"] == 0.0
    assert known.apart_from("odd", np.arange(400, 500)).near.scores.max() < -4.0


def test_near_copies_of_a_source_do_not_set_its_limits():
    far = three_sources()
    copied = Answers(far.logits, far.scores, far.targets, np.arange(500) % 400, far.parts)
    left = OutOfSample(copied, copied, "folds").apart_from("odd", copied.groups[400:])
    for some in (left.sources, left.near):
        assert set(some.groups.tolist()) == set(range(100, 400))


def test_without_known_sources_nothing_is_measured_elsewhere():
    assert refused_elsewhere(near([SURE] * 9, np.arange(9.0)), 0.03, 0.2, 0) is None


def overconfident(n, seed):
    """Answers that claim half as much again as they should, a few per cent of them wrong."""
    dice = np.random.default_rng(seed)
    logits = 9 * np.eye(3)[np.arange(n) % 3] + dice.normal(0, 2.5, size=(n, 3))
    p = softmax(logits)
    return 1.5 * logits, (p.cumsum(axis=1) < dice.random((n, 1))).sum(axis=1)


@pytest.mark.parametrize("seed", range(3))
def test_few_photos_without_a_mistake_make_no_model_surer(seed):
    """254 out-of-fold answers: the temperature is not below 1 while fewer than ten are wrong. Of
    1,043 other photos no more are wrong with 99.5 % and more than at temperature 1."""
    logits, targets = overconfident(254, seed)
    wrong = int((logits.argmax(axis=1) != targets).sum())
    assert wrong < LEAST_ERRORS
    given = Answers(logits, np.zeros(254), targets, np.arange(254), np.full(254, "one"))
    found = set_limits(OutOfSample(None, given, "folds"), 0.03, 0.2).temperature
    others, truth = overconfident(1043, 100 + seed)

    def false_certainty(temperature):
        p = softmax(others, temperature)
        return int(((p.max(axis=1) >= 0.995) & (p.argmax(axis=1) != truth)).sum())

    assert found >= 1
    assert false_certainty(found) <= max(1, false_certainty(1.0))
    assert log_loss(softmax(others, found), truth) <= log_loss(softmax(others), truth)


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
        "right": 3,
        "refused_share": 1 / 3,
        "refused_interval": wilson(1, 3),
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

"""Intervals and paired tests where photos come in groups of near-copies, checked by simulation."""

import numpy as np
import pytest
from scipy.stats import binomtest

from bear_classifier.stats.intervals import (
    _correlation,
    averaged,
    clustered,
    copies_effect,
    design_effect,
    wilson,
)
from bear_classifier.stats.paired import difference, paired_comparison, sign_flip

SIZES = (1, 2, 5, 10)
ALIKE = (0.0, 0.4, 1.0)  # chance that a photo answers as its whole group does


def drawn(rng, rate, groups, size, alike):
    """Whether each photo is wrong, (groups * size,), and its group."""
    own, shared = rng.random((groups, size)) < rate, rng.random((groups, 1)) < rate
    wrong = np.where(rng.random((groups, size)) < alike, shared, own)
    return wrong.ravel(), np.repeat(np.arange(groups), size)


@pytest.mark.series
@pytest.mark.parametrize("alike", ALIKE)
@pytest.mark.parametrize("size", SIZES)
def test_of_95_percent_intervals_95_percent_hold_the_truth(size, alike):
    rng, rate, rounds = np.random.default_rng(100 * size + int(10 * alike)), 0.1, 1500
    held = 0
    for _ in range(rounds):
        low, high = clustered(*drawn(rng, rate, 100, size, alike))
        held += low <= rate <= high
    assert 0.93 <= held / rounds <= 0.975  # of 1500 a rate of 0.95 gives 0.939 to 0.961


@pytest.mark.parametrize("size", SIZES[1:])
def test_photos_without_copies_covered_less(size):
    """What is mended: the same intervals as if photos were independent."""
    rng, held = np.random.default_rng(size), 0
    for _ in range(500):
        wrong, _ = drawn(rng, 0.1, 100, size, 1.0)
        low, high = wilson(int(wrong.sum()), len(wrong))
        held += low <= 0.1 <= high
    assert held / 500 < {2: 0.89, 5: 0.68, 10: 0.54}[size]


def test_photos_of_their_own_have_wilsons_interval():
    wrong = np.arange(60) % 7 == 0
    assert clustered(wrong, np.arange(60)) == wilson(9, 60)
    assert clustered(wrong, np.array([f"photo {n}" for n in range(60)])) == wilson(9, 60)
    assert clustered(wrong[:0], np.arange(0)) is None


def test_copies_that_always_agree_count_once():
    wrong, groups = np.repeat(np.arange(40) % 8 == 0, 5), np.repeat(np.arange(40), 5)
    low, high = clustered(wrong, groups)
    assert (low, high) == pytest.approx(wilson(5, 40))
    mixed = np.random.default_rng(0).permutation(200)  # in any order
    assert clustered(wrong[mixed], groups[mixed]) == pytest.approx((low, high))


def test_few_mistakes_do_not_pass_for_independent_photos():
    """0 of 100 photos in 10 groups tell no more than 0 of 10, and 1 little more."""
    groups = np.repeat(np.arange(10), 10)
    _, high = clustered(np.zeros(100, dtype=bool), groups)
    assert high == pytest.approx(wilson(0, 10)[1])
    low, _ = clustered(np.ones(100, dtype=bool), groups)
    assert low == pytest.approx(1 - high)
    _, high = clustered(np.arange(100) == 0, groups)
    assert high > 3 * wilson(1, 100)[1]


def effect_of(hits, groups):
    return design_effect(_correlation(hits, groups), groups)


def test_copies_that_differ_by_chance_cost_little():
    rng = np.random.default_rng(3)
    effects = [effect_of(*drawn(rng, 0.3, 100, 5, 0.0)) for _ in range(200)]
    assert 1 <= np.mean(effects) < 1.35
    wrong, groups = drawn(rng, 0.3, 100, 5, 1.0)
    assert effect_of(wrong, groups) == pytest.approx(5.0)


def test_groups_of_many_sizes():
    groups = np.repeat(np.arange(5), [10, 1, 1, 4, 4])
    assert copies_effect(groups) == pytest.approx((100 + 1 + 1 + 16 + 16) / 20)
    assert copies_effect(np.arange(0)) == 1.0
    rng, held = np.random.default_rng(5), 0
    groups = np.repeat(np.arange(100), [1] * 60 + [2] * 30 + [10] * 10)
    for _ in range(1000):
        wrong = (rng.random(100) < 0.15)[groups]
        low, high = clustered(wrong, groups)
        held += low <= 0.15 <= high
    assert 0.93 <= held / 1000 <= 0.97


UNEVEN = {  # sizes of groups that always agree, and the rate
    "four scenes of ten": ([1] * 40 + [10] * 4, 0.03),  # 88 % before its skewness was heeded
    "one scene of thirty": ([1] * 170 + [30], 0.1),  # 90 %
    "three scenes of twenty": ([1] * 300 + [20] * 3, 0.03),
    "one to ten": (list(range(1, 11)) * 3, 0.1),
    "ten scenes of five": ([1] * 100 + [5] * 10, 0.1),
}


@pytest.mark.series
@pytest.mark.parametrize("sizes", UNEVEN)
def test_uneven_groups_have_95_percent_intervals_too(sizes):
    many, rate = UNEVEN[sizes]
    rng, groups, held = np.random.default_rng(9), np.repeat(np.arange(len(many)), many), 0
    for _ in range(1500):
        wrong = (rng.random(len(many)) < rate)[groups]
        low, high = clustered(wrong, groups)
        held += low <= rate <= high
    assert 0.93 <= held / 1500 <= 0.98


def test_both_ends_heed_uneven_groups_alike():
    groups = np.repeat(np.arange(44), [1] * 40 + [10] * 4)
    wrong = groups > 42  # one group of ten
    low, high = clustered(wrong, groups)
    effect = effect_of(wrong, groups)
    score = wilson(10 / effect, 80 / effect)
    assert 0.6 * score[0] < low < 0.8 * score[0]
    assert high == pytest.approx(score[1])
    assert clustered(~wrong, groups) == pytest.approx((1 - high, 1 - low))


@pytest.mark.series
@pytest.mark.parametrize("size", SIZES)
def test_the_mean_of_classes_has_a_95_percent_interval(size):
    rng, held = np.random.default_rng(size), 0
    kinds = np.repeat([0, 0, 0, 1, 2, 2], 15 * size)
    truth = np.array([0.1, 0.3, 0.2])
    groups = np.repeat(np.arange(90), size)
    for _ in range(600):
        wrong = (rng.random(90)[groups]) < truth[kinds]
        low, high = averaged(wrong, kinds, groups)
        held += low <= truth.mean() <= high
    assert 0.93 <= held / 600 <= 0.98
    assert averaged(wrong[:0], kinds[:0], groups[:0]) is None


# two models


@pytest.mark.series
@pytest.mark.parametrize("sizes", UNEVEN)
def test_of_equal_models_few_are_told_apart_by_uneven_groups(sizes):
    many, _ = UNEVEN[sizes]
    rng, groups, claims = np.random.default_rng(4), np.repeat(np.arange(len(many)), many), 0
    for _ in range(600):
        one, other = ((rng.random(len(many)) < 0.15)[groups] for _ in range(2))
        claims += paired_comparison(one, other, groups)["verdict"] != "no difference"
    assert claims / 600 <= 0.06


@pytest.mark.series
@pytest.mark.parametrize("alike", ALIKE)
@pytest.mark.parametrize("size", SIZES)
def test_of_equal_models_few_are_told_apart(size, alike):
    rng, rounds = np.random.default_rng(7 * size + int(10 * alike)), 800
    claims = 0
    for _ in range(rounds):
        one, groups = drawn(rng, 0.15, 80, size, alike)
        other, _ = drawn(rng, 0.15, 80, size, alike)
        claims += paired_comparison(one, other, groups)["verdict"] != "no difference"
    assert claims / rounds <= 0.06


@pytest.mark.series
@pytest.mark.parametrize("measure", ["error", "macro"])
@pytest.mark.parametrize("size", SIZES)
def test_of_equal_recipes_few_are_told_apart(size, measure):
    """Few photos differ, and always whole groups: the hardest case. Seeds agree with each other."""
    rng, rounds, claims = np.random.default_rng(size), 400, 0
    targets = np.repeat(np.arange(60) % 3, size)
    for _ in range(rounds):
        one, groups = drawn(rng, 0.05, 60, size, 1.0)
        other, _ = drawn(rng, 0.05, 60, size, 1.0)
        found = difference(
            np.tile(one, (3, 1)), np.tile(other, (3, 1)), targets, groups, measure
        )  # fmt: skip
        claims += abs(found.mean) > found.half(0.05)
    assert claims / rounds <= 0.06


def test_without_copies_it_is_mcnemars_exact_test():
    for better, worse in ((0, 0), (3, 3), (15, 9), (0, 6), (8, 1), (40, 12)):
        apart = np.repeat([1, -1, 0], [better, worse, 10])
        n = better + worse
        theirs = binomtest(better, n).pvalue if n else 1.0
        assert sign_flip(apart, np.arange(n + 10)) == pytest.approx(theirs)
    assert sign_flip(np.zeros(0, dtype=int), np.arange(0)) == 1.0


def test_ten_frames_of_a_scene_are_one_piece_of_evidence():
    apart = np.ones(60, dtype=int)
    assert sign_flip(apart, np.arange(60)) < 1e-15
    assert sign_flip(apart, np.repeat(np.arange(6), 10)) == pytest.approx(2 / 2**6)
    assert sign_flip(apart, np.zeros(60, dtype=int)) == 1.0
    # groups of 3, 2 and 1: of the 8 signs, 6 and -6 are as far from 0
    assert sign_flip(np.ones(6, dtype=int), np.array([0, 0, 0, 1, 1, 2])) == pytest.approx(2 / 8)
    # 3 against 2 and 1: a sum of 0 is never far
    assert sign_flip(np.array([1, 1, 1, -1, -1, -1]), np.array([0, 0, 0, 1, 1, 2])) == 1.0


def test_what_differs_within_a_group_cancels():
    apart = np.tile([1, -1], 20)
    assert sign_flip(apart, np.repeat(np.arange(20), 2)) == 1.0


def test_models_that_differ_are_told_apart():
    rng = np.random.default_rng(11)
    one, groups = drawn(rng, 0.4, 100, 5, 0.8)
    other, _ = drawn(rng, 0.1, 100, 5, 0.8)
    found = paired_comparison(one, other, groups)
    assert (found["verdict"], found["n"]) == ("better", 500)
    assert found["p"] < 1e-3

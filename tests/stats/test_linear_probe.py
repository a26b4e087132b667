import warnings

import numpy as np
import pytest
from sklearn.model_selection import StratifiedGroupKFold

from bear_classifier.errors import DataError
from bear_classifier.stats import arrays
from bear_classifier.stats import linear_probe as module
from bear_classifier.stats.arrays import moments
from bear_classifier.stats.linear_probe import (
    choose_strength,
    fit_linear,
    grouped_folds,
    learning_sample,
    model,
    n_folds,
    out_of_fold,
    probabilities_of,
    trusted,
)


@pytest.fixture
def points():
    """Three noisy clouds in 6 dimensions, each point twice in a group of its own."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 40)
    centres = rng.normal(0, 1.0, size=(3, 6))
    once = centres[labels] + rng.normal(0, 1.0, size=(120, 6))
    features = np.concatenate([once, once]).astype(np.float32)
    groups = np.array([f"g{i}" for i in range(120)] * 2)
    return features, np.concatenate([labels, labels]), groups


def test_probabilities_come_from_models_that_saw_neither_photo_nor_copy(points):
    """A label that only a copy could give away must not be known: random labels stay random."""
    features, _, groups = points
    rng = np.random.default_rng(1)
    labels = np.tile(rng.integers(0, 3, 120), 2)
    wide = np.concatenate([features, np.tile(rng.normal(size=(120, 300)), (2, 1))], axis=1)
    p = out_of_fold(wide.astype(np.float32), labels, groups, 5, 1.0)
    assert (p.argmax(1) == labels).mean() < 0.55
    leaky = out_of_fold(wide.astype(np.float32), labels, np.arange(240).astype(str), 5, 1.0)
    assert (leaky.argmax(1) == labels).mean() > 0.7  # the test would notice


def test_out_of_fold_equals_fitting_each_fold_by_hand(points):
    features, labels, groups = points
    p = out_of_fold(features, labels, groups, 4, 0.1)
    for fit, held in StratifiedGroupKFold(4).split(features, labels, groups):
        by_hand = model(0.1).fit(features[fit], labels[fit]).predict_proba(features[held])
        assert np.allclose(p[held], by_hand)
    assert np.allclose(p.sum(1), 1)


def test_the_strength_is_the_one_of_least_log_loss(points):
    features, labels, groups = points
    losses = {}
    for c in module.STRENGTHS:
        p = out_of_fold(features, labels, groups, 5, c)
        losses[c] = -np.log(p[np.arange(len(labels)), labels]).mean()
    chosen = choose_strength(features, labels, groups, 5)
    assert losses[chosen] <= min(losses.values()) + 1e-3


def test_the_strength_is_not_chosen_by_copies(points):
    """Random labels are known from copies only: a strong penalty must win, as it does not there."""
    features, _, groups = points
    rng = np.random.default_rng(1)
    labels = np.tile(rng.integers(0, 3, 120), 2)
    wide = np.concatenate([features, np.tile(rng.normal(size=(120, 300)), (2, 1))], axis=1)
    leaky = choose_strength(wide, labels, np.arange(240).astype(str), 5)
    assert choose_strength(wide, labels, groups, 5) == module.STRENGTHS[0] < leaky


def test_where_no_fold_learns_from_all_classes_each_group_is_a_fold(points, monkeypatch):
    features, labels, groups = points
    judged = []
    monkeypatch.setattr(module, "grouped_folds", lambda *_: [])
    monkeypatch.setattr(module, "_losses", lambda *given: judged.append(given[-1]) or np.zeros(1))
    choose_strength(features, labels, groups, 5)
    assert len(judged) == len(set(groups)) * len(module.STRENGTHS)
    assert not [1 for learning, held in judged if set(groups[learning]) & set(groups[held])]


def test_folds_shrink_to_the_smallest_class():
    labels = np.array([0, 0, 0, 1, 1, 1])
    groups = np.array(["a", "b", "c", "d", "d", "e"])
    assert n_folds(labels, groups, 5) == 2
    assert n_folds(labels[:3], groups[:3], 2) == 2
    with pytest.raises(DataError, match="TOO_FEW_PHOTOS"):
        n_folds(labels, np.array(["a", "b", "c", "d", "d", "d"]), 5)


def test_doubtful_labels_are_asked_but_not_learned_from(points):
    features, labels, groups = points
    learned = np.arange(240) % 120 % 5 != 0
    p = out_of_fold(features, labels, groups, 4, 0.1, learned)
    for fit, held in StratifiedGroupKFold(4).split(features, labels, groups):
        rows = fit[learned[fit]]
        by_hand = model(0.1).fit(features[rows], labels[rows]).predict_proba(features[held])
        assert np.allclose(p[held], by_hand)
    moved = features.copy()
    moved[~learned] *= 100
    again = out_of_fold(moved, labels, groups, 4, 0.1, learned)
    assert np.array_equal(again[learned], p[learned])


def test_a_class_that_is_doubtful_as_a_whole_is_learned_all_the_same(points):
    features, labels, groups = points
    p = out_of_fold(features, labels, groups, 4, 0.1, labels != 1)
    assert np.allclose(p, out_of_fold(features, labels, groups, 4, 0.1))
    assert (p[labels == 1].argmax(1) == 1).mean() > 0.5


def test_labels_are_trusted_up_to_three_to_one():
    probabilities = np.array(
        [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.25, 0.7, 0.05], [0.2, 0.7, 0.1], [0.0, 0.5, 0.5]]
    )
    assert trusted(probabilities, np.zeros(5, int)).tolist() == [True, False, True, False, False]
    assert trusted(probabilities, np.array([0, 1, 1, 1, 2])).all()
    edge = np.array([[0.25, 0.75]])
    assert trusted(edge, np.array([0])).tolist() == [False]  # three to one is too much


@pytest.mark.parametrize("seed", range(3))
def test_the_second_round_finds_more_of_the_wrong_labels(seed):
    rng = np.random.default_rng(seed)
    truth = np.repeat([0, 1, 2], 100)
    features = (4 * np.eye(60)[truth] + rng.normal(size=(300, 60))).astype(np.float32)
    planted = rng.random(300) < 0.3
    labels = np.where(planted, (truth + rng.integers(1, 3, 300)) % 3, truth)
    groups = np.arange(300).astype(str)
    first = out_of_fold(features, labels, groups, 5, 0.1)
    second = out_of_fold(features, labels, groups, 5, 0.1, trusted(first, labels))

    def found(p):
        doubt = 1 - p[np.arange(300), labels]
        return planted[np.argsort(-doubt)[: planted.sum()]].mean()

    def loss(p):
        return -np.log(p[np.arange(300), truth]).mean()

    assert found(second) >= found(first) + 0.05
    assert loss(second) < 0.8 * loss(first)


def three_sources(seed, photos=60):
    """Easy classes, most photos of each from a source of its own, at least two sources a class."""
    rng = np.random.default_rng(seed)
    labels = np.arange(photos) % 3
    homes = [rng.choice(3, p=np.roll([0.75, 0.2, 0.05], label)) for label in labels]
    homes[:6] = [0, 1, 2, 1, 2, 0]
    features = 2 * rng.normal(size=(3, 8))[labels] + 0.5 * rng.normal(size=(photos, 8))
    return features.astype(np.float32), labels, np.array([f"s{home}" for home in homes])


@pytest.mark.parametrize("seed", range(5))
def test_easy_classes_of_few_sources_are_not_flattened(seed):
    """A fold without a class gave no score, and no score the strongest penalty, without a word."""
    features, labels, units = three_sources(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        chosen = choose_strength(features, labels, units, n_folds(labels, units, 5))
    assert chosen >= 0.01


def lacking(labels, units, folds):
    """Whether scikit-learn's own deal puts a class as a whole into one of the folds."""
    deal = StratifiedGroupKFold(folds).split(labels, labels, units)
    return any(set(labels[learning]) != set(labels) for learning, _ in deal)


def test_folds_keep_all_classes_where_a_deal_can_be_had():
    """Of random photos of few sources: where the first deal fails, another is sought."""
    failed, whole = 0, 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        labels = np.arange(50) % 3
        chances = np.array([0.6, 0.3, 0.025, 0.025, 0.025, 0.025])  # of each source
        units = np.array([rng.choice(6, p=np.roll(chances, label)) for label in labels])
        if min(len(set(units[labels == label])) for label in range(3)) < 2:
            continue
        folds = n_folds(labels, units, 5)
        if not lacking(labels, units, folds):
            continue
        failed += 1
        parts = grouped_folds(labels, units, folds)
        assert sorted(row for _, asked in parts for row in asked) == list(range(50))
        assert not any(set(units[learning]) & set(units[asked]) for learning, asked in parts)
        whole += all(set(labels[learning]) == set(labels) for learning, _ in parts)
    assert failed >= 3
    assert whole >= 0.5 * failed


def test_where_no_deal_keeps_all_classes_what_can_be_scored_is():
    """Two sources a class, and two folds: one of these classes always lies in one of them."""
    labels = np.array([0, 0, 1, 1, 2, 2] * 4)
    units = np.array(["a", "b", "b", "c", "c", "a"] * 4)
    rng = np.random.default_rng(0)
    features = (3 * np.eye(3)[labels] + 0.3 * rng.normal(size=(24, 3))).astype(np.float32)
    assert any(
        set(labels[learning]) != {0, 1, 2} for learning, _ in grouped_folds(labels, units, 2)
    )
    assert choose_strength(features, labels, units, 2) >= 0.1


def test_where_no_fold_can_be_scored_each_group_is_one(monkeypatch):
    features, labels, units = three_sources(0)
    rows = np.arange(len(labels))
    monkeypatch.setattr(
        module, "grouped_folds", lambda *_: [(rows[labels != 0], rows[labels == 0])]
    )
    assert choose_strength(features, labels, units, 2) >= 0.01


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_no_score_that_is_none_chooses(points, monkeypatch, bad):
    """A strength at which the model breaks is not taken; nor is the first one, where all break."""
    features, labels, groups = points
    honest = module._losses

    def broken(strength, *rest):
        return honest(strength, *rest) if strength == 1.0 else np.array([bad, 0.0])

    monkeypatch.setattr(module, "_losses", broken)
    assert choose_strength(features, labels, groups, 5) == 1.0
    monkeypatch.setattr(module, "_losses", lambda *_: np.array([bad]))
    with pytest.raises(DataError, match="NOT_FINITE"):
        choose_strength(features, labels, groups, 5)


def test_a_class_that_no_part_could_learn_gets_no_probability_there():
    """All photos of a class in one part: the others are told apart without it, and nothing ends."""
    labels = np.array([0, 1, 2, 0, 1, 2, 0, 1, 0, 1, 0, 1])
    units = np.array(["a", "b", "c", "d", "e", "c", "f", "g", "h", "i", "j", "k"])
    features = np.eye(3)[labels].astype(np.float32)
    p = out_of_fold(features, labels, units, 2, 1.0)
    assert np.allclose(p.sum(1), 1)
    assert p[labels == 2, 2].tolist() == [0, 0]
    assert (p[labels != 2].argmax(1) == labels[labels != 2]).all()


# -- samples of many photos ----------------------------------------------------------------------


def crowd(n=3000):
    """labels: nine in ten of one class, and 30 of a third; groups of one to four; known: most."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(n), rng.integers(1, 5, n))[:n]
    labels = (rng.random(n) < 0.1).astype(int)[groups]
    labels[np.isin(groups, np.unique(groups)[:15])] = 2
    return labels, groups, rng.random(n)[groups] < 0.8


def test_a_sample_holds_whole_groups_and_only_known_rows():
    labels, groups, known = crowd()
    sample = learning_sample(labels, groups, known, 1000)
    assert 990 <= sample.sum() <= 1000 and not (sample & ~known).any()
    assert not set(groups[sample]) & set(groups[known & ~sample])
    assert (sample == learning_sample(labels, groups, known, 1000)).all()


def test_a_sample_keeps_small_classes_and_is_even_otherwise():
    labels, groups, known = crowd()
    sample = learning_sample(labels, groups, known, 1000)
    assert (sample[known & (labels == 2)]).all()
    rates = [sample[known & (labels == one)].mean() for one in (0, 1)]
    assert 0.35 < rates[0] < 0.5 and rates[1] > rates[0] - 0.1


def test_all_are_learned_from_where_they_are_few():
    labels, groups, known = crowd(300)
    assert (learning_sample(labels, groups, known, known.sum()) == known).all()


def test_probabilities_of_rows_are_those_of_all(points, monkeypatch):
    features, labels, _ = points
    made = fit_linear(0.1, features, labels)
    rows = np.arange(239, -1, -7)
    monkeypatch.setattr(arrays, "BLOCK_ROWS", 10)
    found = probabilities_of(made, features, rows)
    assert np.allclose(found, made.predict_proba(features)[rows])
    assert probabilities_of(made, features, rows[:0]).shape == (0, 3)


def test_moments_in_blocks_are_those_of_all(monkeypatch):
    values = np.random.default_rng(0).normal(1000, 2, (500, 7)).astype(np.float32)
    rows = np.arange(1, 500, 3)
    whole = moments(values, rows)
    monkeypatch.setattr(arrays, "BLOCK_ROWS", 16)
    for one, all_ in zip(moments(values, rows), whole, strict=True):
        assert np.allclose(one, all_, rtol=1e-4)


def test_many_rows_are_scaled_in_blocks_and_alike(points, monkeypatch):
    features, labels, groups = points
    whole = fit_linear(0.1, features, labels)
    out = out_of_fold(features, labels, groups, 4, 0.1)
    monkeypatch.setattr(module, "_SCALED_AT_ONCE", 10)
    monkeypatch.setattr(arrays, "BLOCK_ROWS", 32)
    by_blocks = fit_linear(0.1, features, labels)
    assert np.allclose(by_blocks[0].var_, whole[0].var_, rtol=1e-5)
    assert np.allclose(by_blocks[-1].coef_, whole[-1].coef_, atol=1e-3)
    assert np.allclose(out_of_fold(features, labels, groups, 4, 0.1), out, atol=1e-3)


def test_many_rows_are_fitted_and_judged_in_blocks(monkeypatch):
    """From files as from memory, and as of few rows at once."""
    dice = np.random.default_rng(0)
    labels = np.arange(90) % 3
    features = (3 * np.eye(8)[labels] + dice.normal(size=(90, 8))).astype(np.float32)
    groups = np.arange(90).astype(str)
    whole = out_of_fold(features, labels, groups, 5, 0.1)
    monkeypatch.setattr(module, "_SCALED_AT_ONCE", 20)
    monkeypatch.setattr(module, "BLOCK_ROWS", 7)
    monkeypatch.setattr(arrays, "BLOCK_ROWS", 7)
    stored = arrays.SomeRows(features[::-1], np.arange(90)[::-1])
    for rows in (features, stored):
        found = out_of_fold(rows, labels, groups, 5, 0.1)
        assert found == pytest.approx(whole, abs=1e-3)
        assert choose_strength(rows, labels, groups, 5) in module.STRENGTHS

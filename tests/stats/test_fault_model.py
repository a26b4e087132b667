"""Which photos are faults, learned from decisions."""

from __future__ import annotations

import numpy as np
import pytest

from bear_classifier.stats import fault_model
from bear_classifier.stats.fault_model import (
    expit,
    learned_log_odds,
    logit,
    principal_components,
    unit,
    within_class,
)


@pytest.fixture
def photos():
    """200 photos of two classes in 12 dimensions; prior log odds from -4 to 1."""
    rng = np.random.default_rng(3)
    features = unit(rng.normal(size=(200, 12)).astype(np.float32))
    return rng.uniform(-4, 1, 200), features, rng.integers(0, 2, 200)


def gradient(prior, features, classes, taught, faults):
    """Of the log posterior by the weights of each class and the three constants, at the log odds
    found: written down from the formula, with the prior precision of each."""
    odds = learned_log_odds(prior, features, classes, taught, faults)
    rest = (1 + (fault_model.FAULT_WEIGHT - 1) * faults) * (faults - expit(odds[taught]))
    moved = odds - fault_model.PRIOR_SHARE * prior
    found = []
    for one in (0, 1):
        rows = classes == one
        design = np.column_stack([features[rows], np.ones(rows.sum())])
        weights = np.linalg.lstsq(design, moved[rows], rcond=None)[0]
        mine = classes[taught] == one
        pull = features[taught[mine]].T @ rest[mine]
        found.append(pull - weights[:-1] / fault_model._OF_FEATURES**2)
    return np.concatenate(found)


def test_the_most_probable_weights_are_found(photos):
    prior, features, classes = photos
    rng = np.random.default_rng(5)
    for many in (1, 7, 150):
        taught = np.sort(rng.choice(200, many, replace=False))
        found = gradient(prior, features, classes, taught, rng.random(many) < 0.4)
        assert np.abs(found).max() < 1e-3


def test_without_decisions_the_prior_is_kept(photos):
    prior, features, classes = photos
    none = np.zeros(0, np.int64)
    odds = learned_log_odds(prior, features, classes, none, none.astype(bool))
    assert odds == pytest.approx(fault_model.PRIOR_SHARE * prior)


def test_the_like_of_faults_rise_and_the_like_of_kept_ones_fall():
    """On a line: a fault to the right, a kept one to the left; the other class hears little."""
    features = np.array([[1], [-1], [1], [-1], [1], [-1]], np.float32)
    classes = np.array([0, 0, 0, 0, 1, 1])
    odds = learned_log_odds(
        np.zeros(6), features, classes, np.array([0, 1]), np.array([True, False])
    )
    assert odds[2] > 1 > -1 > odds[3]
    assert odds[2] == pytest.approx(odds[0])
    assert abs(odds[4]) < 0.3
    assert odds[4] == pytest.approx(odds[5])


def test_faults_of_one_class_make_another_a_little_more_suspect(photos):
    prior, features, classes = photos
    taught = np.flatnonzero(classes == 0)[:30]
    wrong, right = (
        learned_log_odds(prior, features, classes, taught, np.full(30, fault))[classes == 1]
        for fault in (True, False)
    )
    assert (wrong > right).all()


def test_the_order_of_decisions_is_no_matter(photos):
    prior, features, classes = photos
    taught = np.arange(40)
    faults = taught % 3 == 0
    turn = np.random.default_rng(1).permutation(40)
    one = learned_log_odds(prior, features, classes, taught, faults)
    two = learned_log_odds(prior, features, classes, taught[turn], faults[turn])
    assert one == pytest.approx(two, abs=1e-4)


@pytest.mark.parametrize("prior", [-6.9, 6.9])
def test_decisions_against_all_expectations(photos, prior):
    """Steps of Newton's method that are too long are shortened."""
    _, features, classes = photos
    taught = np.arange(200)
    faults = np.full(200, prior < 0)
    odds = learned_log_odds(np.full(200, prior), features, classes, taught, faults)
    assert np.isfinite(odds).all()
    assert (odds > fault_model.PRIOR_SHARE * prior).all() == (prior < 0)


def test_principal_components_are_those_of_the_covariance():
    rng = np.random.default_rng(2)
    scales = np.r_[np.geomspace(9, 2, 10), np.full(190, 0.05)]
    mixed = rng.normal(size=(400, 200)) * scales @ np.linalg.qr(rng.normal(size=(200, 200)))[0]
    features, known = mixed.astype(np.float32), np.arange(400) < 300
    found = principal_components(features, known)
    assert found.shape == (400, fault_model.COMPONENTS)
    base = features[known]
    plain = (features - base.mean(0)) / (base.std(0) + 1e-6)
    values, axes = np.linalg.eigh(np.cov(plain[known].T, bias=True))
    assert (found[known] ** 2).mean(0)[:10] == pytest.approx(values[::-1][:10], rel=1e-3)
    exact = plain @ axes[:, ::-1][:, :10]
    assert np.abs(found[:, :10]) == pytest.approx(np.abs(exact), abs=0.05)
    other = features.copy()
    other[~known] *= 7
    assert (principal_components(other, known)[known] == found[known]).all()


def test_fewer_photos_than_components():
    features = np.random.default_rng(0).normal(size=(5, 9)).astype(np.float32)
    assert principal_components(features, np.ones(5, bool)).shape == (5, 5)


def test_directions_from_the_mean_of_the_class():
    scores = np.array([[0, 0], [4, 0], [9, 9], [9, 5], [2, 3]], np.float32)
    known = np.array([True, True, True, True, False])
    found = within_class(scores, np.array([0, 0, 1, 1, 0]), known)
    assert found.tolist() == [[-1, 0], [1, 0], [0, 1], [0, -1], [0, 1]]


def test_log_odds_and_chances():
    assert logit(np.array([0.5, 0.9, 0, 1])) == pytest.approx(
        [0, np.log(9), -np.log(999), np.log(999)]
    )
    assert expit(logit(np.array([0.2, 0.7]))) == pytest.approx([0.2, 0.7])
    assert expit(np.array([-1e4, 1e4])).tolist() == [0, 1]

"""How alike photos are by their features."""

import numpy as np
import pytest

from bear_classifier.stats.likeness import most_alike, unit_rows


def test_the_most_alike_come_first_and_ties_by_number() -> None:
    features = np.array([[1.0, 0], [0, 1], [1, 0], [-1, 0], [0, -1], [0.9, 0.2]])
    unit = unit_rows(features)
    assert np.linalg.norm(unit[:], axis=1) == pytest.approx(np.ones(6))
    order, cosines = most_alike(unit, 2)
    assert order.tolist()[:3] == [0, 2, 5]
    assert order.tolist()[-1] == 3
    assert cosines[2] == 1
    assert (np.diff(cosines[order]) <= 0).all()


def test_a_feature_that_never_changes_says_nothing() -> None:
    features = np.array([[1.0, 7], [2, 7], [3, 7]])
    assert unit_rows(features)[:][:, 1].tolist() == [0, 0, 0]

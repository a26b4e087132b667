"""Groups of points that are alike among themselves and unlike the rest."""

import numpy as np
import pytest

from bear_classifier.stats import clusters
from bear_classifier.stats.clusters import LEAST, point_groups


def planted(seed: int, many: int = 200, same: int = 12, wide: int = 20) -> np.ndarray:
    """(many, wide) points without structure, and far from them `same` that are nearly one."""
    rng = np.random.default_rng(seed)
    points = rng.standard_normal((many, wide))
    points[:same] = 6 * np.eye(wide)[0] + 0.2 * rng.standard_normal((same, wide))
    return points


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_planted_group_is_the_clearest(seed: int) -> None:
    found = point_groups(planted(seed))
    best = max(found, key=lambda group: group.separation)
    assert best.rows.tolist() == list(range(12))
    assert best.separation > 0.95


def test_groups_share_no_point_and_none_is_too_large_or_too_small() -> None:
    found = point_groups(planted(4))
    rows = np.concatenate([group.rows for group in found])
    assert len(rows) == len(set(rows.tolist()))
    assert all(LEAST <= len(group.rows) <= 50 for group in found)
    assert all(0.35 <= group.separation <= 1 for group in found)


def test_the_same_points_give_the_same_groups() -> None:
    one, two = point_groups(planted(5)), point_groups(planted(5))
    assert [group.rows.tolist() for group in one] == [group.rows.tolist() for group in two]


def test_few_points_have_no_groups() -> None:
    assert point_groups(planted(6, 2 * LEAST - 1, 2)) == []
    assert point_groups(np.zeros((30, 4))) == []


def test_of_many_points_parts_are_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "_POINTS", 60)
    found = point_groups(planted(7))
    best = max(found, key=lambda group: group.separation)
    assert set(best.rows.tolist()) <= set(range(12))
    rows = np.concatenate([group.rows for group in found])
    assert len(rows) == len(set(rows.tolist()))


def test_separation_is_variance_within_over_distance_of_the_rest() -> None:
    points = np.array([[0.0, 0], [0, 2], [10, 0], [10, 2]])
    branches = clusters._Branches(points, np.arange(4))
    pair = next(b for b in range(4, 7) if sorted(branches.members(b)) == [0, 1])
    # within: ((-1)² + 1²) / (2 - 1) = 2; outside: both others are at 10² + 1² from (0, 1)
    assert branches.separation[pair] == pytest.approx(1 - 2 / 101)

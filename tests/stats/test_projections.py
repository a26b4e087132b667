"""Maps of features: bounded, the same each time, look-alikes together."""

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from bear_classifier.stats import projections
from bear_classifier.stats.projections import embedding_map, flat_map, scaled


def clumps(count: int = 240, many: int = 6, wide: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """(count, wide) points in clumps, and the clump of each."""
    rng = np.random.default_rng(2)
    which = np.arange(count) % many
    middles = 4 * rng.standard_normal((many, wide))
    return (middles[which] + rng.standard_normal((count, wide))).astype(np.float32), which


def share_of_own(at: np.ndarray, which: np.ndarray) -> float:
    near = NearestNeighbors(n_neighbors=6).fit(at).kneighbors(at, return_distance=False)[:, 1:]
    return float((which[near] == which[:, None]).mean())


def test_look_alikes_lie_together_and_all_within_the_map() -> None:
    features, which = clumps()
    for at in (flat_map(features), embedding_map(features)):
        assert at.shape == (240, 2)
        assert np.abs(at).max() == pytest.approx(1)
    assert share_of_own(embedding_map(features), which) > 0.95


def test_the_map_is_the_same_each_time() -> None:
    features, _ = clumps(90)
    assert (embedding_map(features) == embedding_map(features)).all()


def test_more_than_the_landmarks_lie_between_them(monkeypatch: pytest.MonkeyPatch) -> None:
    placed: list[int] = []
    right = projections.tsne

    def counted(at: np.ndarray, dims: int, steps: int) -> np.ndarray:
        placed.append(len(at))
        return right(at, dims, steps)

    monkeypatch.setattr(projections, "tsne", counted)
    monkeypatch.setattr(projections, "LANDMARKS", 100)
    features, which = clumps()
    at = embedding_map(features)
    assert placed == [100]  # t-SNE saw no more, whatever there is
    assert at.shape == (240, 2)
    assert share_of_own(at, which) > 0.9


def test_few_or_equal_photos_have_a_map_too() -> None:
    for features in (np.ones((12, 5)), np.eye(3), np.ones((1, 1))):
        at = embedding_map(features)
        assert at.shape == (len(features), 2)
        assert np.isfinite(at).all()


def test_scaled() -> None:
    assert scaled(np.array([[0.0, 0], [4, 2]])).tolist() == [[-1, -0.5], [1, 0.5]]
    assert scaled(np.zeros((2, 2))).tolist() == [[0, 0], [0, 0]]

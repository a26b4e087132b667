"""Which photos are asked about: those that cover all first, then doubtful ones."""

import numpy as np

from bear_classifier.stats import active_learning
from bear_classifier.stats.active_learning import covering, directions, margins, uncertain


def heaps(sizes, seed=0):
    """Points around as many corners as there are sizes, (n, 6), and their corners, (n,)."""
    dice = np.random.default_rng(seed)
    of = np.repeat(np.arange(len(sizes)), sizes)
    return (9 * np.eye(6)[of] + dice.normal(size=(len(of), 6))).astype(np.float32), of


def test_directions_have_length_one():
    unit = directions(heaps([5, 7])[0])
    assert np.allclose(np.linalg.norm(unit, axis=1), 1, atol=1e-5)
    assert np.isfinite(directions(np.ones((3, 4), np.float32))).all()


def test_margins():
    assert margins(np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])).round(6).tolist() == [0.2, 0.7]
    assert margins(np.ones((2, 1))).tolist() == [1, 1]


def test_the_first_photos_are_of_as_many_heaps_the_largest_first():
    features, of = heaps([30, 20, 10, 8])
    chosen = covering(directions(features), np.zeros(len(of), dtype=bool), 4)
    assert of[chosen].tolist() == [0, 1, 2, 3]


def test_heaps_with_a_label_come_last():
    features, of = heaps([30, 20, 10, 8])
    labelled = np.zeros(len(of), dtype=bool)
    labelled[[0, 35]] = True  # of the two largest
    chosen = covering(directions(features), labelled, 2)
    assert of[chosen].tolist() == [2, 3]
    assert not labelled[chosen].any()


def test_the_first_photo_is_not_one_at_the_edge():
    features, _ = heaps([40, 40])
    unit = directions(features)
    (one,) = covering(unit, np.zeros(80, dtype=bool), 1)
    mine = unit[one] @ unit.T
    usual = np.sort(unit @ unit.T, axis=1)[:, -20:].mean(1)
    assert np.sort(mine)[-20:].mean() > np.median(usual)


def test_of_many_photos_a_part_is_looked_at(monkeypatch):
    monkeypatch.setattr(active_learning, "_SEEN", 30)
    features, of = heaps([300, 200, 100])
    labelled = np.zeros(600, dtype=bool)
    labelled[0] = True
    chosen = covering(directions(features), labelled, 3)
    assert len(chosen) == len(set(chosen.tolist())) == 3
    assert not labelled[chosen].any()
    labelled[:] = True
    labelled[[5, 6, 7]] = False  # none of them in the part that is to be covered
    assert sorted(covering(directions(features), labelled, 2).tolist()) == [5, 6]


def test_fewer_than_wanted_are_all():
    features, _ = heaps([3, 2])
    unit, labelled = directions(features), np.array([True, False, False, False, False])
    assert sorted(covering(unit, labelled, 9).tolist()) == [1, 2, 3, 4]
    alike = np.repeat(unit[:1], 4, axis=0)
    assert sorted(covering(alike, np.zeros(4, dtype=bool), 3).tolist()) == [0, 1, 2]
    assert sorted(uncertain(unit, np.linspace(0, 1, 5), 9).tolist()) == [0, 1, 2, 3, 4]


def test_doubtful_photos_of_different_heaps():
    """All of the first heap are the most doubtful; two of them would be one question twice."""
    features, of = heaps([5, 5, 5, 30])
    doubt = np.select([of == 0, of == 1, of == 2], [1.0, 0.9, 0.8], 0.1)
    chosen = uncertain(directions(features), doubt, 3)
    assert of[chosen].tolist() == [0, 1, 2]


def test_the_same_again():
    features, of = heaps([30, 20, 10])
    unit, doubt = directions(features), np.linspace(0, 1, 60)
    none = np.zeros(60, dtype=bool)
    assert uncertain(unit, doubt, 5).tolist() == uncertain(unit, doubt, 5).tolist()
    assert covering(unit, none, 5).tolist() == covering(unit, none, 5).tolist()

"""Photos of sources that were never seen, against photos of all sources mixed."""

import dataclasses

import numpy as np
import pytest
from test_clean import leave_probe

from bear_classifier.config.project_file import build
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.judge.leave_source_out import (
    NotMeasured,
    compare_folds,
    leave_sources_out,
    partition,
)
from bear_classifier.stats.intervals import wilson

CLASSES = 3
CONFIG = build({"classes": {name: [name] for name in ("black", "grizzly", "teddy")}}, where="test")


def world(n, shift, seed=0, sites=4):
    """Classes that the features tell apart, and sites that shift them: by `shift` times the
    distance of the classes, each in a direction of its own."""
    rng = np.random.default_rng(seed)
    targets, place = np.arange(n) % CLASSES, (np.arange(n) // CLASSES) % sites
    centres, offsets = 4 * np.eye(12)[:CLASSES], rng.normal(size=(sites, CLASSES, 12))
    features = centres[targets] + shift * offsets[place, targets] + rng.normal(size=(n, 12))
    return features.astype(np.float32), targets, [f"site {p}" for p in place]


def test_sources_that_differ_make_it_harder():
    features, targets, names = world(480, shift=2.5)
    found = compare_folds(features, targets, np.arange(480), names, 5)
    assert found["left_out"]["error"] > found["random"]["error"] + 0.05
    assert found["paired"]["p"] < 0.01
    assert set(found["by_source"]) == {f"site {p}" for p in range(4)}
    total = sum(row["wrong"] for row in found["by_source"].values())
    assert total == found["left_out"]["wrong"] == found["paired"]["wrong_after"]
    assert found["left_out"]["interval"] == wilson(total, 480)


def test_sources_that_do_not_differ_make_no_difference():
    features, targets, names = world(480, shift=0.0)
    found = compare_folds(features, targets, np.arange(480), names, 5)
    assert found["paired"]["p"] > 0.05
    assert found["left_out"]["n"] == found["random"]["n"] == 480


def test_copies_that_stand_on_other_sites_give_nothing_away():
    """Labels are pure chance, but each photo of two sites has a copy that knows it on the other."""
    rng = np.random.default_rng(1)
    numbers = np.array([*np.repeat(np.arange(120), 2), *range(120, 240)])
    features = rng.normal(size=(240, 600))[numbers].astype(np.float32)
    targets = rng.integers(0, 3, 240)[numbers]
    names = ["one", "two"] * 120 + ["three"] * 120
    known = compare_folds(features, targets, np.arange(360), names, 5)["by_source"]
    tied = compare_folds(features, targets, numbers, names, 5)["by_source"]
    assert max(known["one"]["error"], known["two"]["error"]) < 0.1
    assert min(tied["one"]["error"], tied["two"]["error"]) > 0.4


def test_sites_that_hold_the_same_photos_say_nothing():
    features, targets, _ = world(60, shift=0.0)
    twice, names = np.tile(np.arange(60), 2), ["one"] * 60 + ["two"] * 60
    with pytest.raises(NotMeasured, match="a class that no other source has"):
        compare_folds(features[twice], targets[twice], twice, names, 5)


def test_a_source_that_alone_has_a_class_cannot_be_judged():
    features, targets, names = world(240, shift=0.0)
    names = ["zoo" if t == 2 else name for t, name in zip(targets, names, strict=True)]
    found = compare_folds(features, targets, np.arange(240), names, 5)
    assert "zoo" not in found["by_source"]
    assert found["random"]["n"] == found["left_out"]["n"] == 160


def test_small_sources_are_left_out_together():
    names = ["large"] * 20 + [f"small {i}" for i in range(40)]
    parts = partition(names)
    assert parts[:20] == ["large"] * 20
    assert 2 <= len(set(parts[20:])) <= 10
    assert all(part.startswith("small sources, part ") for part in parts[20:])
    assert partition(names[::-1]) == parts[::-1]


def test_twenty_photos_are_enough_for_a_part_of_its_own():
    parts = partition(["twenty"] * 20 + ["nineteen"] * 19)
    assert parts[:20] == ["twenty"] * 20
    assert parts[20].startswith("small sources, part ")


@pytest.fixture
def dataset(tmp_path, make):
    """A catalog of 96 photos of two sites; features as above."""
    features, targets, _ = world(96, shift=0.5)
    labels = CONFIG.labels
    photos = [
        make(i + 1, label=labels[targets[i]], split=("train", "valid", "test")[i // 3 % 3],
             origin=f"https://{'ab'[i % 2]}.org/{i}.jpg")
        for i in range(96)
    ]  # fmt: skip
    with Catalog(tmp_path) as catalog:
        with catalog.transaction():
            catalog.put_photos(photos)
        even = np.full((96, 3), 1 / 3)
        light = np.full(96, 99.0)
        leave_probe(tmp_path, [p.sha256 for p in photos], even, features, light, light, None)
        yield catalog


def test_the_test_side_stays_out_of_it(dataset):
    found = leave_sources_out(dataset, CONFIG)
    assert found["left_out"]["n"] == sum(p.split != "test" for p in dataset.photos()) == 66
    assert set(found["by_source"]) == {"a.org", "b.org"}


def test_nothing_is_said_where_sources_are_not_known(dataset):
    with dataset.transaction():
        rows = dataset.photos()
        dataset.put_photos(dataclasses.replace(p, origin=f"/p/{p.sha256}.png") for p in rows)
    with pytest.raises(NotMeasured, match="split.sources"):
        leave_sources_out(dataset, CONFIG)


def unknown(dataset, *labels, but=()):
    """Take the source of the photos of these classes away, but of the first `but` of each."""
    kept = dict(but)
    with dataset.transaction():
        for photo in dataset.photos():
            if photo.label in labels and photo.split != "test":
                kept[photo.label] = kept.get(photo.label, 0) - 1
                if kept[photo.label] < 0:
                    origin = f"/p/{photo.sha256}.png"
                    dataset.put_photos([dataclasses.replace(photo, origin=origin)])


@pytest.mark.parametrize("label", CONFIG.labels)
def test_sources_that_are_known_for_some_classes_only(dataset, label):
    """A class in the middle was a hole in the numbers of classes: the run ended there."""
    unknown(dataset, label)
    found = leave_sources_out(dataset, CONFIG)
    assert found["without"] == [label]
    assert 40 <= found["left_out"]["n"] <= 44


@pytest.mark.parametrize("left", [1, 2])
def test_a_class_with_one_or_two_photos_of_known_sources_stops_nothing(dataset, left):
    unknown(dataset, "grizzly", but={"grizzly": left})
    found = leave_sources_out(dataset, CONFIG)
    assert found["without"] == (["grizzly"] if left == 1 else [])
    assert found["left_out"]["n"] >= 20


def test_sources_of_a_single_class_tell_nothing(dataset):
    unknown(dataset, "black", "teddy")
    with pytest.raises(NotMeasured, match="two classes"):
        leave_sources_out(dataset, CONFIG)

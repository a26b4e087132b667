"""Proposals for photos without a label: from what was confirmed, and never from the test split."""

import dataclasses
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from bundles import LABELS, tiny_config
from training import dataset

from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.decisions import decide
from bear_classifier.dataset.schema import Decision
from bear_classifier.errors import DataError
from bear_classifier.judge import label
from bear_classifier.judge.label import FEW, Pool, asked, load_pool, make_pool, proposals
from bear_classifier.runtime.shards import StoredRows


def photos_of(make, counts, unlabelled, **facts):
    """So many labelled photos of each class, then so many without a label."""
    named = [name for name, n in counts.items() for _ in range(n)]
    rows = [make(n, label=name, **facts) for n, name in enumerate(named)]
    return rows + [
        make(len(named) + n, label="", status="unlabelled", split=None) for n in range(unlabelled)
    ]


def pool_of(photos, classes):
    """Features by which the class (n,) can be seen."""
    dice = np.random.default_rng(0)
    features = 30 * np.eye(8)[classes] + dice.normal(size=(len(photos), 8))
    return pool_with(photos, features)


def pool_with(photos, features):
    names = [photo.sha256 for photo in photos]
    return Pool(StoredRows.in_memory(names, features=features.astype(np.float32)))


def proposed(photos, pool, n):
    """Of these photos, in a catalog of their own."""
    with TemporaryDirectory() as folder, Catalog(Path(folder)) as catalog:
        with catalog.transaction():
            catalog.put_photos(photos)
        return proposals(asked(catalog, LABELS), LABELS, pool, n)


def test_nothing_is_proposed_before_two_classes_have_a_label(make):
    photos = photos_of(make, {"black": 2}, 9)
    found = proposed(photos, pool_of(photos, np.arange(11) % 3), 4)
    assert len(found) == 4
    assert {(one.suggested, one.score, one.why) for one in found} == {
        ("", 1.0, "it is like many others")
    }
    assert all(one.probabilities == {} for one in found)


@pytest.mark.parametrize("few", [FEW - 1, FEW])
def test_the_model_chooses_once_each_class_has_a_few(make, few):
    classes = np.concatenate([np.repeat([0, 1, 2], few), np.arange(12) % 3])
    photos = photos_of(make, dict.fromkeys(LABELS, few), 12)
    found = proposed(photos, pool_of(photos, classes), 5)
    assert len({one.sha256 for one in found}) == 5
    for one in found:
        assert one.suggested == LABELS[classes[int(one.sha256, 16)]]
        assert sum(one.probabilities.values()) == pytest.approx(1)
        assert one.score == pytest.approx(1 - one.probabilities[one.suggested])
    why = "the model is not sure of it" if few == FEW else "it is like many others"
    assert {one.why for one in found} == {why}


def test_labels_of_the_test_split_change_nothing(make):
    """Nor do photos that are set aside, or of a class that the project gave up."""
    classes = np.concatenate([np.repeat([0, 1, 2], 4), np.arange(9) % 3])
    photos = photos_of(make, dict.fromkeys(LABELS, 4), 9, split="train")
    pool = pool_of(photos, classes)
    before = proposed(photos, pool, 3)
    more = [make(99, label="teddy", split="test"), make(98, label="teddy", status="dropped"),
            make(97, label="gone", split="train")]  # fmt: skip
    known = pool.stored.take("features", np.arange(21))
    pool = pool_with(photos + more, np.vstack([known, np.full((3, 8), 40)]))
    assert proposed(photos + more, pool, 3) == before
    train = dataclasses.replace(more[0], split="train")
    assert proposed([*photos, train], pool, 3) != before


def test_all_labelled(make):
    photos = photos_of(make, dict.fromkeys(LABELS, 4), 0)
    assert proposed(photos, pool_of(photos, np.zeros(12, int)), 3) == []


# features


@pytest.fixture
def some(tmp_path):
    """Drawn photos, of which a third has no label."""
    with dataset(tmp_path / "data", tiny_config()) as catalog:
        with catalog.transaction():
            catalog.put_photos(
                dataclasses.replace(photo, label="", status="unlabelled", split=None)
                for photo in catalog.photos("ok")[::3]
            )
        yield catalog


def test_features_are_computed_once_and_found_again(some, monkeypatch):
    config = tiny_config()
    with pytest.raises(DataError, match=r"NO_FEATURES.*run: bears label"):
        load_pool(some, config)
    made = make_pool(some, config)
    wanted = {p.sha256 for p in some.photos() if p.status == "unlabelled"
              or (p.status == "ok" and p.split != "test")}  # fmt: skip
    assert set(made.stored.names()) == wanted
    from bear_classifier.learn import features

    monkeypatch.setattr(features, "feature_cache", lambda *_: pytest.fail("computed again"))
    again = make_pool(some, config)
    assert again.stored.names() == made.stored.names()
    with pytest.raises(DataError, match="NO_FEATURES"):
        load_pool(some, tiny_config(learn={"size": 96}))
    (some.root / "label" / "features.json").write_text(
        json.dumps({"settings": 1}), encoding="utf-8"
    )
    with pytest.raises(DataError, match="NO_FEATURES"):
        load_pool(some, config)


def test_what_is_confirmed_stays_in_the_pool(some):
    config = tiny_config()
    pool = make_pool(some, config)
    first = proposals(asked(some, config.labels), config.labels, pool, 3)
    decide(some, config.labels, [Decision(first[0].sha256, "relabel", "black")], "ann", "r")
    after = proposals(asked(some, config.labels), config.labels, load_pool(some, config), 3)
    assert first[0].sha256 not in {one.sha256 for one in after}


def test_without_photos_to_label(tmp_path):
    with dataset(tmp_path / "data", tiny_config()) as catalog:
        words = "NO_UNLABELLED: there is no photo without a label; .*unlabelled:PATH"
        with pytest.raises(DataError, match=words):
            make_pool(catalog, tiny_config())
        assert isinstance(catalog, Catalog)
        assert label.asked_of(catalog.photos(), ["black"])


def test_of_many_photos_some_are_looked_at(make, tmp_path, monkeypatch):
    """As many as there are: the first of each kind, in the order of their hashes."""
    photos = photos_of(make, dict.fromkeys(LABELS, 20), 40, split="train")
    monkeypatch.setattr(label, "_MOST_ASKED", 8)
    with Catalog(tmp_path) as catalog:
        with catalog.transaction():
            catalog.put_photos(photos)
        waiting = asked(catalog, LABELS)
        assert waiting.names == [f"{n:064x}" for n in [*range(8), *range(60, 68)]]
        assert waiting.labels == ["black"] * 8 + [""] * 8
        decide(catalog, LABELS, [Decision(f"{60:064x}", "relabel", "teddy")], "ann", "r")
        assert asked(catalog, LABELS).names[8:] == [f"{n:064x}" for n in range(61, 69)]

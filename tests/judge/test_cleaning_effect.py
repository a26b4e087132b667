import dataclasses

import numpy as np
import pytest
from test_clean import CONFIG, LABELS, leave_probe

from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.decisions import decide, history, undo
from bear_classifier.dataset.schema import Decision
from bear_classifier.errors import DataError
from bear_classifier.judge.cleaning_effect import effect
from bear_classifier.stats.paired import paired_comparison


@pytest.mark.parametrize(
    ("fixed", "broken", "p", "verdict"),
    [
        (0, 0, 1.0, "no difference"),
        (3, 3, 1.0, "no difference"),
        (0, 5, 2 / 2**5, "no difference"),
        (0, 6, 2 / 2**6, "worse"),
        (5, 0, 2 / 2**5, "no difference"),
        (6, 0, 2 / 2**6, "better"),
        (7, 1, 2 * (1 + 8) / 2**8, "no difference"),
        (8, 1, 2 * (1 + 9) / 2**9, "better"),
        (2, 10, 2 * (1 + 12 + 66) / 2**12, "worse"),
    ],
)
def test_two_models_on_the_same_photos(fixed, broken, p, verdict):
    both, neither = 4, 7
    before = np.repeat([True, False, True, False], [fixed, broken, both, neither])
    after = np.repeat([False, True, True, False], [fixed, broken, both, neither])
    assert paired_comparison(before, after, np.arange(len(before))) == {
        "n": fixed + broken + 11,
        "wrong_before": fixed + 4,
        "wrong_after": broken + 4,
        "put_right": fixed,
        "newly_wrong": broken,
        "p": pytest.approx(p),
        "verdict": verdict,
    }


TRUTH = [LABELS[i % 3] for i in range(150)]
WRONG = [i for i in range(90) if i % 3 == 0 and i % 10 != 0]  # 27 of 30 black bears
SIDES = ["train"] * 75 + ["valid"] * 15 + ["test"] * 60


@pytest.fixture
def dataset(tmp_path, make):
    """Three clear clouds. Nearly all black bears that are learned from stand under teddy."""
    rng = np.random.default_rng(3)
    targets = np.arange(150) % 3
    features = 4 * np.eye(6)[targets] + rng.normal(size=(150, 6))
    rows = [make(i, label="teddy" if i in WRONG else TRUTH[i], split=SIDES[i]) for i in range(150)]
    leave_probe(tmp_path, [p.sha256 for p in rows], np.full((150, 3), 1 / 3), features)
    with Catalog(tmp_path) as catalog:
        with catalog.transaction():
            catalog.put_photos(rows)
        yield catalog


def on(catalog, *wanted, request):
    named = [Decision(f"{i:064x}", action, *label) for i, action, *label in wanted]
    return decide(catalog, LABELS, named, "ann", request)


def put_right(catalog):
    on(catalog, *((i, "relabel", TRUTH[i]) for i in WRONG), request="right")


def test_labels_that_were_put_right_help(dataset):
    put_right(dataset)
    before = dataset.photos(), history(dataset)
    found = effect(dataset, CONFIG)
    assert found["n"] == 60
    assert found["wrong_before"] >= 15
    assert found["wrong_after"] <= 2
    assert found["put_right"] - found["newly_wrong"] == found["wrong_before"] - found["wrong_after"]
    assert found["p"] < 0.001
    assert found["verdict"] == "better"
    assert effect(dataset, CONFIG) == found
    assert (dataset.photos(), history(dataset)) == before


def test_dropping_them_helps_as_well(dataset):
    on(dataset, *((i, "drop") for i in WRONG), request="gone")
    found = effect(dataset, CONFIG)
    assert found["wrong_before"] >= 15
    assert found["verdict"] == "better"


def test_decisions_that_do_harm(dataset):
    with dataset.transaction():
        dataset.put_photos(
            dataclasses.replace(dataset.photo(f"{i:064x}"), label=TRUTH[i]) for i in WRONG
        )
    on(dataset, *((i, "relabel", "teddy") for i in WRONG), request="harm")
    found = effect(dataset, CONFIG)
    assert found["verdict"] == "worse"
    assert found["wrong_before"] <= 2


def test_only_photos_that_nobody_touched_are_asked(dataset):
    put_right(dataset)
    plain = effect(dataset, CONFIG)
    on(dataset, (90, "keep"), (91, "relabel", "teddy"), (92, "drop"), request="test split")
    assert effect(dataset, CONFIG)["n"] == 57
    undo(dataset, "ann")  # whoever decided and took it back has looked at it
    assert effect(dataset, CONFIG)["n"] == 57
    with dataset.transaction():
        photo = dataset.photo(f"{94:064x}")
        dataset.put_photos([dataclasses.replace(photo, status="unusable", reason="EMPTY")])
    again = effect(dataset, CONFIG)
    assert again["n"] == 56
    assert again["wrong_before"] <= plain["wrong_before"]


def test_nothing_was_changed_by_keeping(dataset):
    on(dataset, *((i, "keep") for i in range(90)), request="kept")
    found = effect(dataset, CONFIG)
    assert (found["put_right"], found["newly_wrong"]) == (0, 0)
    assert found["wrong_before"] >= 15
    assert (found["p"], found["verdict"]) == (1.0, "no difference")


def test_what_was_before_the_first_decision_counts(dataset):
    put_right(dataset)
    once = effect(dataset, CONFIG)
    on(dataset, *((i, "relabel", "grizzly") for i in WRONG), request="a second mind")
    on(dataset, *((i, "relabel", "black") for i in WRONG), request="a third")
    assert effect(dataset, CONFIG) == once


def refused(catalog, code):
    with pytest.raises(DataError) as caught:
        effect(catalog, CONFIG)
    return caught.value.code == code


def test_without_decisions(dataset):
    assert refused(dataset, "NO_DECISIONS")
    put_right(dataset)
    on(dataset, (90, "keep"), request="kept")
    undo(dataset, "ann")
    assert effect(dataset, CONFIG)["verdict"] == "better"
    undo(dataset, "ann")
    assert refused(dataset, "NO_DECISIONS")


def test_without_photos_to_ask(dataset):
    on(dataset, *((i, "keep") for i in range(90, 150)), request="kept")
    assert refused(dataset, "NO_PHOTOS")


def test_without_a_first_model(dataset):
    put_right(dataset)
    (dataset.root / "probe" / "probabilities.npz").unlink()
    assert refused(dataset, "NOT_PROBED")

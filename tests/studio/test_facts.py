"""The facts that advice is given by: counted in the catalog, as it is now."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bear_classifier.dataset import decisions
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import Decision, Photo, StageRun
from bear_classifier.studio.facts import confused, decisions_since, facts_of
from bear_classifier.studio.projects import Place, make_project
from bear_classifier.studio.state import document

ROW = {"usable": 12, "train": 8, "valid": 2, "test": 2}


@pytest.fixture
def place(tmp_path: Path, make: Callable[..., Photo]) -> Place:
    """Red photos in pairs of near-copies, blue ones alone."""
    made = make_project(tmp_path, "c", {"red": ["red"], "blue": ["blue"]})
    photos = [make(n, label="red", group=f"{n // 2:064x}") for n in range(100, 112)]
    photos += [make(n, label="blue") for n in range(200, 212)]
    with Catalog(made.data) as catalog, catalog.transaction():
        catalog.put_photos(photos)
    return made


def state(**more: Any) -> dict[str, Any]:
    photos = {
        "by_class": {"red": ROW, "blue": ROW}, "by_source": {"red": {"": 9, "a.org": 3}},
        "refused": {"BLANK": {"n": 2, "sentence": "empty"}}, "unlabelled": 1,
        "drawn": False,
    }  # fmt: skip
    return {"photos": photos, "first": None, "model": None, "suspects": None, **more}


def test_photos_are_counted_by_class_and_group(place: Place) -> None:
    with Catalog(place.data) as catalog:
        facts = facts_of(place, catalog, state(), 0)
    red, blue = facts.classes["red"], facts.classes["blue"]
    assert (red.groups, red.largest, red.effect, red.sources) == (6, 2, 2.0, {"a.org": 3})
    assert (blue.groups, blue.largest, blue.effect, blue.sources) == (12, 1, 1.0, {})
    assert (facts.test, facts.refused, facts.unlabelled) == (4, {"BLANK": 2}, 1)
    assert facts.first is facts.model is facts.likely is None


def test_before_there_is_a_catalog(place: Place) -> None:
    empty = {"usable": 0, "train": 0, "valid": 0, "test": 0}
    given = state()
    given["photos"]["by_class"] = {"red": empty, "blue": empty}
    facts = facts_of(place, None, given, 0)
    assert facts.test is None and facts.classes["red"].effect == 1.0


def decide(catalog: Catalog, photo: Photo, action: str, request: str) -> None:
    asked = Decision(photo.sha256, action)  # type: ignore[arg-type]
    decisions.decide(catalog, ["red", "blue"], [asked], "me", request)


def test_decisions_since_the_training(place: Place) -> None:
    with Catalog(place.data) as catalog:
        one, two = catalog.photos()[:2]
        decide(catalog, one, "keep", "before")
        assert decisions_since(catalog) == 0  # there was no training
        catalog.add_run(StageRun("train", "2020-01-01T10:00:00+00:00", 5.0, "i", {}))
        assert decisions_since(catalog) == 1
        decide(catalog, one, "drop", "a")
        decide(catalog, two, "drop", "b")
        assert decisions_since(catalog) == 2
        decisions.undo(catalog, "me")
        assert decisions_since(catalog) == 1
        catalog.add_run(StageRun("train", "2999-01-01T10:00:00+00:00", 5.0, "i", {}))
        assert decisions_since(catalog) == 0


def test_suspects_wait_until_somebody_has_decided_on_these_very_photos(place: Place) -> None:
    """Whenever that was: a clock that was put right makes no decision undone."""

    def waiting() -> int:
        found = document(place, catalog, [], {}, 0)["suspects"]
        assert (found["expected_faults"], found["looks"], found["can_look_again"]) == (
            2.5,
            1,
            False,
        )
        return int(found["waiting"])

    with Catalog(place.data) as catalog:
        one, two, *others = catalog.photos()
        (place.data / "clean").mkdir()
        summary = {"photos": 24, "suspects": 2, "expected": 2.5, "kinds": {}}
        file = place.data / "clean" / "summary.json"
        file.write_text(json.dumps(summary), encoding="utf-8")
        for number, other in enumerate(others[:3]):
            decide(catalog, other, "keep", f"other {number}")
        assert waiting() == 2  # as an earlier version has left it
        likely = {"likely": [one.sha256, two.sha256]}
        file.write_text(json.dumps(summary | likely), encoding="utf-8")
        assert waiting() == 2
        asked = Decision(one.sha256, "keep", at="1999-01-01T00:00:00+00:00")
        decisions.decide(catalog, ["red", "blue"], [asked], "me", "a")
        assert waiting() == 1
        decide(catalog, two, "drop", "b")
        assert waiting() == 0
        (undone,) = decisions.undo(catalog, "me")
        assert waiting() == 1
        decisions.undo(catalog, "me", undone.id)
        assert waiting() == 0
        with catalog.transaction():
            decisions.bar(catalog, one, "me", "TAKEN_DOWN: asked for")
        decisions.undo(catalog, "me")
        assert waiting() == 1  # the dropped one; nobody may look at the other


@pytest.mark.parametrize(
    ("probe", "counted"),
    [("2020-01-01T10:00:00", 0), ("2998-12-31T23:59:00", 0), ("1990-01-01T10:00:00", 0)],
)
def test_a_first_model_of_long_ago_is_no_part_of_the_run(
    place: Place, probe: str, counted: int
) -> None:
    with Catalog(place.data) as catalog:
        decide(catalog, catalog.photos()[0], "drop", "a")
        catalog.add_run(StageRun("probe", f"{probe}+00:00", 5.0, "i", {}))
        catalog.add_run(StageRun("train", "2999-01-01T00:00:00+00:00", 5.0, "i", {}))
        assert decisions_since(catalog) == counted


def test_photos_are_taken_before_the_first_stage_of_a_run(place: Place) -> None:
    """What was decided while the first model learned is for the next training."""
    with Catalog(place.data) as catalog:
        decide(catalog, catalog.photos()[0], "drop", "a")
        catalog.add_run(StageRun("probe", "2020-01-01T10:00:00+00:00", 4e10, "i", {}))
        catalog.add_run(StageRun("train", "2999-01-01T00:00:00+00:00", 5.0, "i", {}))
        assert decisions_since(catalog) == 1


@pytest.mark.parametrize(("later", "found"), [(1, 2), (-1, 0)])
def test_confused_classes_are_those_of_the_training_that_was_judged(
    place: Place, later: int, found: int
) -> None:
    """later: seconds from the predictions to the report."""
    report, predictions = (
        place.data / name for name in ("evaluate/report.json", "train/predictions.npz")
    )
    for path in (report, predictions):
        path.parent.mkdir()
    test = {"confusion": [[5, 1], [3, 6]], "labels": ["blue", "red"]}
    report.write_text(json.dumps({"test": test}), encoding="utf-8")
    predictions.write_bytes(b"")
    at = predictions.stat().st_mtime
    os.utime(report, (at + later, at + later))
    pairs = confused(place, trained=True)
    assert [(pair.true, pair.said, pair.n, pair.of) for pair in pairs] == [
        ("red", "blue", 3, 9),
        ("blue", "red", 1, 6),
    ][:found]
    assert confused(place, trained=False) == []

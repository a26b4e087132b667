"""What the studio says of a project: each sentence where its figure is, and nowhere else."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from bear_classifier.studio.advice import (
    Advice,
    advice,
    meaning,
    next_step,
)
from bear_classifier.studio.facts import ClassFacts, ConfusedClasses, JudgedModel, ProjectFacts

GOOD = {
    "black": ClassFacts(300, 290, 4, 1.1, {"a.org": 150, "b.org": 150}),
    "teddy": ClassFacts(400, 390, 4, 1.1, {"a.org": 200, "b.org": 200}),
}
BASE = ProjectFacts(GOOD, least=10, test_share=0.15, test=105)
SURE = JudgedModel(0.02, (0.01, 0.04), 105)


def said(facts: ProjectFacts, step: str = "photos") -> list[Advice]:
    return [row for row in advice(facts) if row["step"] == step]


def with_class(**more: Any) -> ProjectFacts:
    """BASE, and of teddy other facts."""
    teddy = dataclasses.replace(GOOD["teddy"], **more)
    return dataclasses.replace(BASE, classes={**GOOD, "teddy": teddy})


def test_of_good_photos_nothing_is_said() -> None:
    assert said(BASE) == []


@pytest.mark.parametrize(
    ("usable", "sentence"),
    [
        (0, "teddy has no photo yet; 10 are needed before anything can be learned: add 10."),
        (1, "teddy has 1 photo; 10 are needed before anything can be learned: add 9 more."),
        (9, "teddy has 9 photos; 10 are needed before anything can be learned: add 1 more."),
    ],
)
def test_too_few_of_a_class(usable: int, sentence: str) -> None:
    facts = with_class(usable=usable, sources={})
    (row,) = said(facts)
    assert (row["level"], row["sentence"]) == ("warn", sentence)
    assert row["action"] == {
        "words": f"Add {10 - usable} of teddy", "step": "photos", "label": "teddy",
    }  # fmt: skip
    assert said(facts, "learn") == []


@pytest.mark.parametrize(
    ("effect", "largest", "words"),
    [
        (1.9, 30, ""),
        (2.0, 30, "show 60 scenes: near-copies count as about 200."),
        (1.9, 390, ""),
        (8.0, 390, "are mostly one scene (390 photos): near-copies count as about 50."),
    ],
)
def test_too_alike(effect: float, largest: int, words: str) -> None:
    rows = said(with_class(effect=effect, largest=largest, groups=60))
    assert [row["sentence"] for row in rows] == (
        [f"The 400 photos of teddy {words} Add photos of other scenes."] if words else []
    )


@pytest.mark.parametrize(
    ("sources", "start"),
    [
        ({"a.org": 390, "b.org": 10}, None),
        ({"a.org": 391, "b.org": 9}, "391 of 400 photos of teddy come from a.org"),
        ({"a.org": 400}, "All 400 photos of teddy come from a.org"),
        ({"a.org": 200}, None),  # half of them are of unknown sources
        ({}, None),
    ],
)
def test_all_of_one_source(sources: dict[str, int], start: str | None) -> None:
    rows = [row["sentence"] for row in said(with_class(sources=sources))]
    assert [row.startswith(start or "?") for row in rows] == ([True] if start else [])


@pytest.mark.parametrize(("black", "warned"), [(41, False), (40, True)])
def test_unequal_classes(black: int, warned: bool) -> None:
    classes = {**GOOD, "black": ClassFacts(black)}
    rows = said(dataclasses.replace(BASE, classes=classes))
    assert [row["sentence"] for row in rows] == (
        ["teddy has 400 photos, black 40: 10 times as many. More photos of black would help most."]
        if warned
        else []
    )


@pytest.mark.parametrize(
    ("test", "level", "high"),
    [(100, None, ""), (99, "info", "3.7%"), (35, "info", "9.9%"), (34, "warn", "10.2%")],
)
def test_too_few_to_judge_with(test: int, level: str | None, high: str) -> None:
    rows = said(dataclasses.replace(BASE, test=test))
    assert [row["level"] for row in rows] == ([level] if level else [])
    for row in rows:
        assert f"{test} photos of 700 are set aside" in row["sentence"]
        assert f"its error could be {high}. With 667 photos it could be 3.7%" in row["sentence"]


def test_before_the_split_its_size_is_expected() -> None:
    classes = {"a": ClassFacts(100), "b": ClassFacts(100)}
    (row,) = said(dataclasses.replace(BASE, classes=classes, test=None))
    assert row["sentence"].startswith("30 photos of 200 are set aside")


@pytest.mark.parametrize(
    ("refused", "level", "sentence"),
    [
        ({}, None, ""),
        ({"CLASS_REMOVED": 900}, None, ""),
        ({"TOO_SMALL": 1}, "info", "1 file was left out: 1 too small or too narrow."),
        (
            {"DAMAGED": 600, "TRUNCATED": 99, "BLANK": 1, "DUPLICATE": 900},
            "info",
            "1600 files were left out: 900 already there, 699 damaged, 1 empty.",
        ),
        (
            {"HTTP_404": 600, "TLS_ERROR": 101},
            "warn",
            "701 files were left out: 701 that could not be fetched.",
        ),
    ],
)
def test_refusals(refused: dict[str, int], level: str | None, sentence: str) -> None:
    rows = said(dataclasses.replace(BASE, refused=refused))
    assert [(row["level"], row["sentence"]) for row in rows] == (
        [(level, sentence)] if level else []
    )


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        (
            ProjectFacts({}, 10, 0.15, first=JudgedModel(0.048, (0.03, 0.08), 255)),
            "The first model gets about 1 photo in 21 wrong: 4.8% (3.0% to 8.0%), measured on 255"
            " photos, each judged by a model that had not seen it.",
        ),
        (
            ProjectFacts({}, 10, 0.15, model=JudgedModel(0.6, (0.5, 0.7), 90), is_tuned=True),
            "The fine-tuned model gets about 6 photos in 10 wrong: 60.0% (50.0% to 70.0%), measured"
            " on 90 test photos.",
        ),
        (
            ProjectFacts({}, 10, 0.15, model=JudgedModel(0.0, (0.0, 0.08), 45)),
            "The first model made no mistake on 45 test photos; its true error may still be as high"
            " as 8.0%, about 1 photo in 12.",
        ),
        (
            ProjectFacts({}, 10, 0.15, model=JudgedModel(0.009, (0.001, 0.02), 450)),
            "The first model gets fewer than 1 photo in 100 wrong: 0.9% (0.1% to 2.0%), measured on"
            " 450 test photos.",
        ),
    ],
)
def test_what_an_error_means(facts: ProjectFacts, sentence: str) -> None:
    assert facts.shown and meaning(facts.shown, facts) == sentence


def curve(worth: str, most: str | None = None) -> dict[str, Any]:
    row = {"more": 60, "gain": 0.012, "gain_interval": [0.002, 0.02], "worth": worth}
    return {"all": {**row, "more": 500, "gain": 0.03}, "most": most,
            "classes": {"black": row, "teddy": row}}  # fmt: skip


@pytest.mark.parametrize(
    ("likely", "expected", "made", "start", "words"),
    [
        (12, 8.2, "helps", "Next, clean: 12 of 700 photos are more likely", "Clean 12 photos"),
        (4, 8.2, None, "Next, clean: 4 of 700 photos are more likely", "Clean 4 photos"),
        (3, 3.4, "helps", "Next, 500 more photos: they would", "Add 500 photos"),
        (0, 0.2, "hardly", "This is enough: 500 more photos would take at most 2.0", "Publish"),
        (0, 0.2, None, "Most mistakes: 7 of 80 photos of black taken for teddy.", "Measure it"),
        (None, None, None, "Most mistakes:", "Measure it"),
    ],
)
def test_what_to_do_next(
    likely: int | None, expected: float | None, made: str | None, start: str, words: str
) -> None:
    facts = dataclasses.replace(
        BASE,
        first=SURE,
        likely=likely,
        expected=expected,
        curve=curve(made) if made else None,
        confused=[ConfusedClasses("black", "teddy", 7, 80)],
    )
    row = next_step(facts)
    assert row["sentence"].startswith(start)
    assert row["action"] and row["action"]["words"] == words


@pytest.mark.parametrize(
    ("likely", "decisions", "start"),
    [
        (20, 5, "Next, clean: 20"),
        (0, 5, "Next, train again with 5 decisions made since: the figures"),
        (0, 0, "Next, train again with the photos that came or left since: the figures"),
    ],
)
def test_after_changes_the_figures_are_of_the_model_before(
    likely: int, decisions: int, start: str
) -> None:
    facts = dataclasses.replace(
        BASE, model=SURE, changed=True, likely=likely, decisions=decisions, curve=curve("helps")
    )
    assert next_step(facts)["sentence"].startswith(start)


def test_sixty_more_of_one_class() -> None:
    row = next_step(dataclasses.replace(BASE, curve=curve("helps", "black"), likely=0))
    assert row["sentence"] == (
        "Next, 60 more photos of black: they would take about 1.2 points off the error."
    )
    assert row["action"] == {
        "words": "Add 60 photos of black", "step": "photos", "label": "black",
    }  # fmt: skip


@pytest.mark.parametrize("changed", [False, True])
@pytest.mark.parametrize("n", [99, 100])
def test_what_is_said_before_publishing(changed: bool, n: int) -> None:
    facts = dataclasses.replace(BASE, model=JudgedModel(0.02, (0.01, 0.06), n), changed=changed)
    rows = [row["sentence"] for row in said(facts, "publish")]
    assert any("was not made from the photos" in row for row in rows) is changed
    assert any("cannot measure the error well" in row for row in rows) is (n < 100)


@pytest.mark.parametrize(
    ("likely", "decisions", "buttons"),
    [
        (None, 3, []),
        (0, 0, [None]),
        (1, 0, ["Look at 1 photo"]),
        (5, 2, ["Look at 5 photos", "Train again with 2 decisions"]),
    ],
)
def test_what_is_said_of_faults(
    likely: int | None, decisions: int, buttons: list[str | None]
) -> None:
    facts = dataclasses.replace(BASE, first=SURE, likely=likely, expected=4.0, decisions=decisions)
    rows = said(facts, "clean")
    assert [row["action"] and row["action"]["words"] for row in rows] == buttons


@pytest.mark.parametrize("can", [True, False])
def test_a_second_look_is_offered_where_it_is_to_be_had(can: bool) -> None:
    facts = dataclasses.replace(BASE, first=SURE, likely=3, expected=4.0, can_look_again=can)
    jobs = [row["action"].get("job") for row in said(facts, "clean") if row["action"]]
    assert ("look" in jobs) is can

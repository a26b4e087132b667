"""Each kind of job is a command line that the command line understands."""

from __future__ import annotations

from typing import Any

import pytest

from bear_classifier.cli.options import parse
from bear_classifier.errors import ConfigError
from bear_classifier.studio.commands import JobSubject, job_words

SUBJECT = JobSubject("mine", "models/mine", "studio")
ALL: list[tuple[str, dict[str, Any]]] = [
    ("search", {"source": "openverse", "licence": "share", "per_class": 20}),
    ("search", {"per_class": 60, "only_class": "--serve"}),
    ("search", {}),
    ("draw", {}),
    ("take-in", {}),
    ("take-in-unlabelled", {}),
    ("take-in-zip", {"file": "a1.zip"}),
    ("learn", {}),
    ("look", {}),
    ("train", {}),
    ("report", {}),
    ("static", {}),
    ("space", {}),
    ("export-dataset", {"format": "parquet", "licence": "commercial"}),
]


@pytest.mark.parametrize(("kind", "choices"), ALL)
def test_the_command_line_takes_the_words(kind: str, choices: dict[str, Any]) -> None:
    options = parse(job_words(kind, choices, SUBJECT))
    if kind not in ("static", "space"):
        assert options.project == "mine.toml"


def test_what_the_words_say() -> None:
    said = {
        kind: " ".join(job_words(kind, choices, SUBJECT))
        for kind, choices in ALL
        if choices and "only_class" not in choices
    }
    assert said == {
        "search": "run --project mine.toml --source openverse --licence share --per-class 20"
        " --until screen",
        "take-in-zip": "run --project mine.toml --source zip:studio/uploads/zips/a1.zip"
        " --until screen",
        "export-dataset": "dataset export studio/results/dataset-parquet --project mine.toml"
        " --format parquet --licence commercial",
    }
    named = {"only_class": "--serve", "per_class": 60}  # a name that looks like an option stays one
    assert job_words("search", named, SUBJECT)[-3:] == ["--only-class=--serve", "--until", "screen"]
    assert "train.epochs=0" in job_words("learn", {}, SUBJECT)
    assert job_words("look", {}, SUBJECT) == ["run", "--project", "mine.toml", "--until", "clean"]
    assert job_words("train", {}, SUBJECT) == ["run", "--project", "mine.toml"]


@pytest.mark.parametrize(
    ("kind", "choices"),
    [
        ("serve", {}),
        ("search", {"source": "folder:/etc"}),
        ("search", {"licence": "--set"}),
        ("search", {"only_class": ["teddy"]}),
        ("search", {"only_class": "a" * 101}),
        ("search", {"per_class": True}),
        ("search", {"per_class": 0}),
        ("search", {"per_class": 10**9}),
        ("search", {"per_class": "20; rm -r /"}),
        ("take-in-zip", {}),
        ("take-in-zip", {"file": "../../x.zip"}),
        ("take-in-zip", {"file": ["x.zip"]}),
        ("export-dataset", {"format": "../x"}),
    ],
)
def test_no_choice_becomes_another_word(kind: str, choices: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="^BAD_JOB"):
        job_words(kind, choices, SUBJECT)

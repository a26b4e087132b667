"""Classes of a project file are added, taken out, put back and given other queries."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from bear_classifier.config import project_edits
from bear_classifier.config.project_edits import with_queries
from bear_classifier.config.project_file import read_project
from bear_classifier.errors import ConfigError

TEXT = """# mine
name = "c"

[classes]  # label = search queries
red = ["red fox"]  # the usual one
blue = [
  "blue fox",  # arctic
  "white fox",
]
"light green" = ["green"]

[split]
least = 10
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "c.toml"
    path.write_bytes(codecs.BOM_UTF8 + TEXT.encode())
    return path


@pytest.mark.parametrize(("label", "lines"), [("red", 1), ("blue", 4), ("light green", 1)])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_other_queries_change_the_lines_of_their_class_only(
    label: str, lines: int, ends: str
) -> None:
    text = TEXT.replace("\n", ends)
    after = with_queries(text, label, ["one", 'the "other"'], "c.toml")
    new = [line for line in after.splitlines() if line not in text.splitlines()]
    assert len(new) == 1 and len(after.splitlines()) == len(text.splitlines()) - lines + 1
    assert list(filter(after.splitlines().__contains__, text.splitlines()))[:4] == [
        *text.splitlines()[:4]
    ]
    assert ends == "\n" or "\n" not in after.replace("\r\n", "")


def test_queries_that_are_there_already_leave_the_comment() -> None:
    assert with_queries(TEXT, "red", ["red fox"], "c.toml") == TEXT


@pytest.mark.parametrize(
    ("label", "queries", "code"),
    [("pink", ["a"], "UNKNOWN_CLASS"), ("red", [""], "BAD_CLASS"), ("red", [" "], "BAD_CLASS")],
)
def test_queries_that_cannot_be(label: str, queries: list[str], code: str) -> None:
    with pytest.raises(ConfigError, match=code):
        with_queries(TEXT, label, queries, "c.toml")


def test_queries_written_in_another_way_are_left_to_a_person() -> None:
    text = 'name = "c"\nclasses = {red = ["a"], blue = ["b"]}\n'
    with pytest.raises(ConfigError, match="by hand"):
        with_queries(text, "red", ["c"], "c.toml")


def test_a_class_is_added_and_one_that_was_taken_out_is_put_back(file: Path) -> None:
    project_edits.set_queries(file, "red", ["red fox", "vulpes"])
    project_edits.remove_class(file, "red")
    assert read_project(file).labels == ["blue", "light green"]
    project_edits.add_class(file, "red")
    project_edits.add_class(file, "pink")
    found = read_project(file)
    assert found.labels == ["blue", "light green", "pink", "red"]
    assert found.classes["red"] == ["red fox", "vulpes"] and found.classes["pink"] == ["pink"]
    assert file.read_bytes().startswith(codecs.BOM_UTF8)


def test_two_classes_stay(file: Path) -> None:
    project_edits.remove_class(file, "red")
    before = file.read_bytes()
    with pytest.raises(ConfigError, match="TOO_FEW_CLASSES"):
        project_edits.remove_class(file, "blue")
    with pytest.raises(ConfigError, match="UNKNOWN_CLASS"):
        project_edits.remove_class(file, "pink")
    assert file.read_bytes() == before

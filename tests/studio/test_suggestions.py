"""Queries that are suggested for the name of a class."""

from __future__ import annotations

import pytest
from corpus import ROOT

from bear_classifier.config.project_file import read_project
from bear_classifier.studio.projects import BEARS
from bear_classifier.studio.suggestions import suggested_queries


@pytest.mark.parametrize(
    ("label", "first", "among"),
    [
        ("fly agaric", "fly agaric", "fly agaric close up"),
        ("Fly_Agarics", "fly agarics", "fly agaric in the wild"),
        ("n02132136 brownBear", "n02132136 brown bear", "n02132136 brown bear photo"),
        ("1 Bär", "bär", "bär close up"),
        ("grizzlies", "grizzly bear", "grizzly in the wild"),
        ("Teddy Bear", "teddy bear", "teddy bear toy"),
    ],
)
def test_the_plainest_query_comes_first(label: str, first: str, among: str) -> None:
    found = suggested_queries(label)
    assert found[0] == first and among in found
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("label", ["black mamba", "blackbird", "polar bear"])
def test_other_animals_are_no_bears_of_ours(label: str) -> None:
    assert suggested_queries(label)[0] == label


@pytest.mark.parametrize("label", ["", "  ", "12", "-_-"])
def test_a_name_without_a_letter_has_none(label: str) -> None:
    assert suggested_queries(label) == []


def test_the_bears_have_the_queries_of_the_repository() -> None:
    assert read_project(ROOT / "bears.toml").classes == BEARS

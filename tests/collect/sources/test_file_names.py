"""Which file a cell of a table means."""

from __future__ import annotations

import unicodedata

import pytest

from bear_classifier.collect.sources.file_names import FileNames

FILES = ["a/001.jpg", "b/001.jpg", "b/002.PNG", "b/002.txt", "c/d/003.jpeg", "top.jpg", "ä/é.jpg"]


def found(name: str, files: list[str] = FILES) -> list[str]:
    return [files[number] for number in FileNames(files).find(name)]


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("a/001.jpg", ["a/001.jpg"]),  # a path from the folder
        ("./a/001.jpg", ["a/001.jpg"]),
        (r"a\001.jpg", ["a/001.jpg"]),
        ("a/001", ["a/001.jpg"]),
        ("/kaggle/input/bears/a/001.jpg", ["a/001.jpg"]),  # of another computer
        (r"C:\bears\b\001.JPG", ["b/001.jpg"]),
        ("002", ["b/002.PNG"]),  # and not the text beside it
        ("002.txt", ["b/002.txt"]),
        ("002.png", ["b/002.PNG"]),
        ("003", ["c/d/003.jpeg"]),
        ("photos/003", ["c/d/003.jpeg"]),
        (" top.jpg ", ["top.jpg"]),
        (unicodedata.normalize("NFD", "é"), ["ä/é.jpg"]),
        ("001", ["a/001.jpg", "b/001.jpg"]),
        ("x/001.jpg", ["a/001.jpg", "b/001.jpg"]),
        ("a/003", []),  # the folder is there, and the file is not in it
        ("01", []),
        ("", []),
        ("..", []),
        ("a/", []),
        ("jpg", []),
        (".jpg", []),
    ],
)
def test_what_a_name_means(name: str, files: list[str]) -> None:
    assert found(name) == files


def test_a_name_at_the_top_is_exact() -> None:
    assert found("1.jpg", ["1.jpg", "more/1.jpg"]) == ["1.jpg"]


def test_case_decides_where_nothing_else_does() -> None:
    assert found("x/a.jpg", ["p/A.jpg", "q/a.jpg"]) == ["q/a.jpg"]
    assert found("x/A.JPG", ["p/A.jpg", "q/a.jpg"]) == ["p/A.jpg", "q/a.jpg"]


def test_several_pictures_of_a_name() -> None:
    assert found("1", ["1.jpg", "1.png", "1.xml"]) == ["1.jpg", "1.png"]


def test_a_name_with_full_stops() -> None:
    assert found("v1.2", ["v1.2.jpg", "v1.3.jpg"]) == ["v1.2.jpg"]

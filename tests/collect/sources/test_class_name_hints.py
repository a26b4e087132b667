"""Names of folders that are nearly those of the classes."""

from __future__ import annotations

import unicodedata

import pytest

from bear_classifier.collect.sources.class_name_hints import meant


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("black", "Black_bears"),
        ("grizzly", "grizzly bear"),
        ("grizzly", "Grizzlies"),
        ("grizzly", "01 - GRIZZLY"),
        ("grizzly", "grizly"),
        ("death cap", "death_cap"),
        ("death cap", "DeathCaps"),
        ("death cap", "cap, death"),
        ("black bear", "black"),
        ("fly agaric", "flyagaric"),
        ("fox", "foxes"),
        ("Bär", "Baeren"),
        ("Bär", "bar"),
        ("Maus", "Mäuse"),
        ("Vogel", "Vögel"),
        ("Straße", "strasse"),
        ("ours à lunettes", "ours a lunettes"),
        ("blåbær", "blaabaer"),
        ("茸", "茸 photos"),
        ("2", "2"),
    ],
)
def test_what_looks_meant(label: str, name: str) -> None:
    assert meant(label, ["something else", name]) == [name]
    assert meant(label, [unicodedata.normalize("NFD", name)])
    assert meant(name, [label])


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("black bear", "polar bear"),
        ("black bear", "black bird"),
        ("grizzly", "teddy"),
        ("teddy", "unsorted"),
        ("cat", "catalogue"),
        ("cat", "car"),
        ("death cap", "fly agaric"),
        ("class 1", "class 2"),
        ("a", "b"),
        ("bear", "..."),
        ("🐻", "🐼"),
    ],
)
def test_what_does_not(label: str, name: str) -> None:
    assert meant(label, [name]) == []

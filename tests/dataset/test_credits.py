"""What a licence allows, by its name or address as sources write it."""

from __future__ import annotations

import pytest

from bear_classifier.dataset.credits import allows, best_source, public
from bear_classifier.dataset.schema import Source

USES = ("share", "commercial", "public")


@pytest.mark.parametrize(
    ("licence", "reach"),
    [
        ("", 0), ("unknown", 0), ("All rights reserved", 0), ("photo by Ann", 0), ("MIT", 0),
        ("public (search filter)", 0), ("commercial (search filter)", 0),
        ("CC BY 4.0 (search filter)", 0),
        ("not in the public domain", 0),
        ("CC BY-NC 4.0", 1), ("cc by nc sa 2.0", 1), ("by-nc-nd", 1), ("CC BY-NC-SA 2.0 DE", 1),
        ("Creative Commons Attribution-NonCommercial 4.0", 1),
        ("https://creativecommons.org/licenses/by-nc/4.0/", 1),
        ("CC BY 4.0", 2), ("CC-BY-SA-3.0", 2), ("by-nd", 2),
        ("Creative Commons Attribution 4.0", 2), ("https://creativecommons.org/licenses/by/4.0", 2),
        ("CC0 1.0", 3), ("cc0", 3), ("Public Domain Mark 1.0", 3), ("pdm", 3), ("Public domain", 3),
        ("https://creativecommons.org/publicdomain/zero/1.0/", 3),
    ],
)  # fmt: skip
def test_what_a_licence_allows(licence: str, reach: int) -> None:
    assert [allows(licence, use) for use in USES] == [n < reach for n in range(3)]  # type: ignore[arg-type]
    assert allows(licence, "any")


def test_one_source_speaks_for_a_photo(make) -> None:
    """The author of one with the licence of another would be a lie."""
    full = Source("a", "x", "web", title="t", author="Ann", page="https://a.org")
    other = Source("b", "x", "web", licence="CC BY 4.0")
    assert best_source(make(1), [other, full]) is full
    assert best_source(make(1), []).origin == "/photos/1.png"


def test_no_password_and_no_path_of_this_computer() -> None:
    assert public("https://ann:pw@a.org/x?y=1") == "https://a.org/x?y=1"
    assert public("/home/ann/photos/grizzly/1.jpg") == "grizzly/1.jpg"

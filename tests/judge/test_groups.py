"""Groups of photos of a class that are unlike the rest of it, and their names."""

import numpy as np
from looks import SAME, WIDE, looks

from bear_classifier.judge.groups import PhotoGroup, group_words, photo_groups

LABELS = ["black", "grizzly", "teddy"] * 40
NAMES = [f"thing {n}" for n in range(WIDE)]
OWN = (np.eye(WIDE, dtype=np.float32), np.zeros(WIDE, np.float32))
ALIKE = [3 * n for n in range(SAME)]


def test_a_sub_group_comes_first_named_by_what_it_shows_and_where_it_is_from() -> None:
    sites = ["a.example" if n in ALIKE else "" for n in range(120)]
    found = photo_groups(looks(120), LABELS, sites, OWN, NAMES)
    first = found[0]
    assert (first.label, sorted(first.rows)) == ("black", ALIKE)
    assert first.seen[0][0] == "thing 6"
    assert first.lacks is not None
    assert first.lacks[0] == "thing 0"
    assert first.sources == [("a.example", SAME)]
    assert first.unlike > 0.5
    assert all(LABELS[row] == group.label for group in found for row in group.rows)


def test_without_own_classes_the_clearest_group_comes_first() -> None:
    first = photo_groups(looks(120), LABELS, [""] * 120, None, None)[0]
    assert (first.label, sorted(first.rows)) == ("black", ALIKE)
    assert (first.seen, first.lacks, first.sources) == ([], None, [])


def test_own_classes_without_names_order_and_say_nothing() -> None:
    first = photo_groups(looks(120), LABELS, [""] * 120, OWN, None)[0]
    assert sorted(first.rows) == ALIKE
    assert first.seen == []


def test_the_order_of_photos_changes_no_group() -> None:
    turned = np.arange(120)[::-1]
    plain = photo_groups(looks(120), LABELS, [""] * 120, OWN, NAMES)[0]
    labels = [LABELS[n] for n in turned]
    other = photo_groups(looks(120)[turned], labels, [""] * 120, OWN, NAMES)[0]
    assert sorted(turned[other.rows]) == sorted(plain.rows)


def test_words() -> None:
    rows = list(range(31))
    seen, lacks = [("sloth bear", 0.654)], ("American black bear", 0.1, 0.52)
    group = PhotoGroup("black", rows, 0.3, seen, lacks, [("a.example", 12), ("b.example", 8)])
    assert group_words(group) == (
        "31 photos of black",
        [
            "Looks like sloth bear (65%)",
            "Hardly like American black bear (10%, the rest of black 52%)",
            "Mostly from a.example (12), b.example (8)",
        ],
    )
    few = PhotoGroup("black", rows, 0.3, [], None, [("a.example", 12)])
    assert group_words(few) == ("31 photos of black", [])

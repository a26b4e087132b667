"""What stages say in words: one photo is no "1 photos", and no name of a file breaks the line."""

from __future__ import annotations

import re

import pytest

from bear_classifier.cli import predict
from bear_classifier.report import stage_lines

SEARCH = {"ignored": {}, "gone": 1, "found": 1, "new": 1, "spare": 1, "shared": 1}
DOWNLOAD = {
    "failed_now": {}, "exact_duplicates": 1, "label_conflicts": 1, "replaced": 1, "thumbnails": 1,
    "passing": 1, "photos": 1, "failed": {"HTTP_404": 1},
}  # fmt: skip
SCREEN = {"unusable": {}, "ok": 1, "groups": 1, "duplicate": 1, "near_copies": 1}
CLEAN = {"kinds": {}, "suspects": 1, "photos": 1}
EXPORT = {
    "parity": {"n": 1, "largest_difference": 1e-6}, "latest_revision": 3, "revision": 2,
    "model": "m", "version": 1, "bytes": 1,
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "outcome"),
    [("search", SEARCH), ("download", DOWNLOAD), ("screen", SCREEN), ("clean", CLEAN),
     ("export", EXPORT)],
)  # fmt: skip
def test_one_is_singular(name, outcome):
    said = stage_lines.stage_text(name, {"outcome": "done", "seconds": 1.0, **outcome})
    nouns = "photo|candidate|duplicate|file|thumbnail|failure|group|decision|picture"
    assert not re.search(rf"\b1 (\w+ )?({nouns})s\b", said), said
    assert not re.search(r"\b1 (\w+ ){1,3}(are|were)\b", said), said


@pytest.mark.parametrize(
    ("name", "outcome"), [("download", DOWNLOAD), ("clean", CLEAN), ("export", EXPORT)]
)
def test_a_hint_ends_its_line(name, outcome):
    """The seconds that a stage took end its first line, and are no part of a command."""
    said = stage_lines.stage_text(name, {"outcome": "done", "seconds": 1.0, **outcome})
    hints = [line for line in said.splitlines() if "run: bears" in line]
    assert hints
    assert not [line for line in hints if line.endswith("s]")]


def test_what_a_folder_holds_besides_photos_is_one_line():
    def lines(ignored):
        said = stage_lines.stage_text(
            "search", {"outcome": "done", "seconds": 1.0, **SEARCH, "ignored": ignored}
        )
        return [line.strip() for line in said.splitlines() if "ignored" in line]

    many = {f"/p/{n}.txt": "not in a class folder" for n in range(500)}
    assert lines({}) == []
    assert lines({"/p/panda": "not a class of this project"}) == [
        "ignored /p/panda: not a class of this project"
    ]
    assert lines({**many, "/p/panda": "not a class of this project"}) == [
        "ignored: 500 not in a class folder, 1 not a class of this project (panda);"
        " all names with --json"
    ]
    assert lines({f"list.tsv:{n}": f"'{n}' is no class" for n in range(9)}) == [
        "ignored 9, such as list.tsv:0: '0' is no class; all names with --json"
    ]


def test_names_of_files_stay_in_their_line():
    failed = {"/photos/a\n\x1b[31m.jpg": "EMPTY_FILE: 0 bytes"}
    said = stage_lines.stage_text(
        "download", {"outcome": "done", "seconds": 1.0, **DOWNLOAD, "failed_now": failed}
    )
    assert "/photos/a\\n\\x1b[31m.jpg: EMPTY_FILE: 0 bytes" in said
    row = {"path": "b\nsecond.jpg", "error": {"code": "UNREADABLE", "message": "\x07"}}
    assert predict.line(row) == "b\\nsecond.jpg: UNREADABLE: \\x07"


def test_a_failure_that_may_have_passed_can_be_asked_again_as_it_stands():
    said = stage_lines.stage_text("download", {"outcome": "done", "seconds": 1.0, **DOWNLOAD})
    assert "run: bears run --retry" in {line[-22:] for line in said.splitlines()}

"""A class is taken out of a project file and put back, and the file is otherwise as it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bear_classifier.cli import main
from bear_classifier.config.project_edits import again, without
from bear_classifier.config.project_file import read_project
from bear_classifier.dataset.catalog import Catalog

Fill = Callable[[Path, dict[str, "int | bytes"]], None]
TEXT = """# mine
name = "c"

[classes]  # label = search queries
red = ["red fox"]  # the usual one
# blue = ["not this one"]
blue = [
  "blue fox",  # arctic
  "white fox",
]
"light green" = ["green"]

[split]
least = 10
"""


@pytest.mark.parametrize("label", ["red", "blue", "light green"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_taken_out_and_put_back_is_as_it_was(tmp_path: Path, label: str, ends: str) -> None:
    text = TEXT.replace("\n", ends)
    shorter = without(text, label)
    assert shorter is not None
    (tmp_path / "c.toml").write_bytes(shorter.encode())
    assert read_project(tmp_path / "c.toml").labels == sorted(
        {"red", "blue", "light green"} - {label}
    )
    assert len(shorter.splitlines()) == len(text.splitlines())
    if label != "blue":  # of two comments the first would be taken
        assert again(shorter, label) == text


def test_what_is_written_in_another_way_is_left_to_a_person() -> None:
    text = 'classes = {red = ["a"], blue = ["b"], green = ["c"]}\n'
    assert without(text, "red") is None
    assert again(text, "yellow") is None


@pytest.fixture
def place(tmp_path: Path, fill: Fill, monkeypatch: pytest.MonkeyPatch) -> Path:
    fill(
        tmp_path,
        {f"photos/{c}/{n}.png": 40 * k + n for k, c in enumerate("rgb") for n in range(12)},
    )
    (tmp_path / "c.toml").write_text(
        'name = "c"\n[classes]\nr = ["r"]\ng = ["g"]\nb = ["b"]\n', encoding="utf-8"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


RUN = ["run", "--project", "c.toml", "--source", "folder:photos", "--until", "split"]


def test_a_class_given_up_and_taken_back_by_the_command(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main([*RUN, "--quiet"]) == 0
    with Catalog(place / "data" / "c") as catalog:
        before = catalog.photos()
    assert main.main(["classes", "--project", "c.toml", "--remove", "b"]) == 0
    assert main.main(RUN) == 0
    output = capsys.readouterr().out
    assert (
        '12 photos of "b" set aside: no class of the project file; put it back into [classes] and'
        " they come back, with their splits and decisions"
    ) in output
    with Catalog(place / "data" / "c") as catalog:
        assert {photo.label for photo in catalog.photos("ok")} == {"g", "r"}
    assert main.main(["classes", "--project", "c.toml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "b": {"photos": 12, "in_project": False},
        "g": {"photos": 12, "in_project": True},
        "r": {"photos": 12, "in_project": True},
    }
    assert main.main(["classes", "--project", "c.toml", "--restore", "b"]) == 0
    assert main.main([*RUN, "--quiet"]) == 0
    with Catalog(place / "data" / "c") as catalog:
        assert catalog.photos() == before


def test_a_class_that_is_deleted_with_its_folder(place: Path) -> None:
    assert main.main([*RUN, "--quiet"]) == 0
    (place / "c.toml").write_text('name = "c"\n[classes]\nr = ["r"]\ng = ["g"]\n', encoding="utf-8")
    (place / "photos" / "b").rename(place / "away")
    assert main.main([*RUN, "--quiet"]) == 0
    (place / "away").rename(place / "photos" / "b")
    (place / "c.toml").write_text(
        'name = "c"\n[classes]\nr = ["r"]\ng = ["g"]\nb = ["b"]\n', encoding="utf-8"
    )
    assert main.main([*RUN, "--quiet"]) == 0
    with Catalog(place / "data" / "c") as catalog:
        assert len(catalog.photos("ok")) == 36
        assert {source.code for source in catalog.sources()} == {"OK"}


def test_a_class_that_gets_another_name_with_its_folder_takes_its_photos_along(place: Path) -> None:
    assert main.main([*RUN, "--quiet"]) == 0
    with Catalog(place / "data" / "c") as catalog:
        splits = {photo.sha256: photo.split for photo in catalog.photos()}
    (place / "c.toml").write_text(
        'name = "c"\n[classes]\nr = ["r"]\ng = ["g"]\nblue = ["b"]\n', encoding="utf-8"
    )
    (place / "photos" / "b").rename(place / "photos" / "blue")
    assert main.main([*RUN, "--quiet"]) == 0
    with Catalog(place / "data" / "c") as catalog:
        assert {p.sha256: p.split for p in catalog.photos("ok")} == splits
        assert sum(p.label == "blue" for p in catalog.photos("ok")) == 12


def test_what_cannot_be_taken_out(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (place / "c.toml").read_text(encoding="utf-8")
    assert main.main(["classes", "--project", "c.toml", "--remove", "x"]) == 2
    assert "UNKNOWN_CLASS: c.toml: 'x' is no class; there are b, g, r" in capsys.readouterr().err
    assert main.main(["classes", "--project", "c.toml", "--remove", "b"]) == 0
    assert main.main(["classes", "--project", "c.toml", "--remove", "g"]) == 2  # the last but one
    assert "TOO_FEW_CLASSES" in capsys.readouterr().err
    assert main.main(["classes", "--project", "c.toml", "--restore", "b"]) == 0
    assert (place / "c.toml").read_text(encoding="utf-8") == text
    assert main.main(["classes", "--project", "starter", "--remove", "teddy"]) == 2

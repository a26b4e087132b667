"""What systems leave in folders: known by name, and nothing else is taken for it."""

from __future__ import annotations

import re

import pytest
from corpus import ROOT

from bear_classifier.runtime import system_files
from bear_classifier.runtime.system_files import is_system_file, is_system_folder, left_by_system


@pytest.mark.parametrize(
    "name",
    [
        *(".DS_Store", ".ds_store", "Thumbs.db", "THUMBS.DB", "thumbs.db", "desktop.ini"),
        *("Desktop.ini", "ehthumbs.db", "._000.jpg", "._.DS_Store", ".directory", "Icon\r"),
        *(".localized", ".nfs000000000001", ".fuse_hidden0000", "Thumbs.db:encryptable"),
        "._two\nlines.jpg",
    ],
)
def test_a_file_of_a_system_is_known(name: str) -> None:
    assert is_system_file(name)
    assert left_by_system([name])
    assert left_by_system(["album", "summer", name])


@pytest.mark.parametrize(
    "name",
    [
        *("__MACOSX", ".ipynb_checkpoints", ".AppleDouble", ".Spotlight-V100", ".Trashes"),
        *("@eaDir", "$RECYCLE.BIN", "System Volume Information", ".Trash-1000", ".fseventsd"),
        *(".thumbnails", "lost+found", "__macosx"),
    ],
)
def test_all_in_a_folder_of_a_system_is_the_systems(name: str) -> None:
    assert is_system_folder(name)
    assert left_by_system([name, "000.jpg"])
    assert left_by_system(["album", name, "deep", "000.jpg"])


@pytest.mark.parametrize(
    "name",
    [
        *("000.jpg", ".hidden.jpg", "_DSC0123.JPG", "._", "_", "thumbs.jpg", "desktop.jpg"),
        *("DS_Store", "icon", "extra.py", "MACOSX", "Thumbs.db.jpg", "a.nfs0", "nomedia"),
    ],
)
def test_a_photo_is_no_system_file_by_its_name(name: str) -> None:
    assert not left_by_system([name])
    assert not left_by_system(["album", name])
    assert not is_system_folder(name)


def test_a_file_is_not_known_by_the_name_of_a_folder_nor_the_other_way_round() -> None:
    assert not left_by_system(["__MACOSX"])
    assert not left_by_system([".DS_Store", "000.jpg"])


def test_the_page_knows_the_same_names() -> None:
    """What is dropped on it is looked through by the browser."""
    script = (ROOT / "bear_classifier" / "serve" / "static" / "page_parts.js").read_text("utf-8")
    for name in ("_FILES", "_FOLDERS"):
        (listed,) = re.findall(rf"LEFT{name} = new Set\(\[(.*?)\]\)", script, re.DOTALL)
        words = {word.replace("\\r", "\r") for word in re.findall(r'"([^"]+)"', listed)}
        assert words == set(getattr(system_files, name))
    for name in ("_FILE_KINDS", "_FOLDER_KINDS"):
        (pattern,) = re.findall(rf"LEFT{name} = /\^\((.*)\)\$/s?;", script)
        assert pattern == getattr(system_files, name).pattern

"""Folders that are splits, and folders that only look so."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from bear_classifier.collect.sources.local_files import Listing, list_folder
from bear_classifier.errors import DataError

RED = ["red", "green"]


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir() if name.endswith("/") else path.write_bytes(b"x")


def found(root: Path, labels: Sequence[str]) -> list[tuple[str, str, str]]:
    """Split, class and path of every candidate."""
    listed = list_folder(root, labels).candidates
    return [(c.split, c.label, str(Path(c.origin).relative_to(root))) for c in listed]


def ignored(root: Path, listing: Listing) -> dict[str, str]:
    return {path.removeprefix(f"{root}/"): why for path, why in listing.ignored.items()}


@pytest.mark.parametrize("train", ["train", "Training", "TRAIN"])
@pytest.mark.parametrize("valid", ["valid", "val", "Validation"])
@pytest.mark.parametrize("test", ["test", "Testing"])
def test_the_names_of_splits(tmp_path: Path, train: str, valid: str, test: str) -> None:
    touch(tmp_path, f"{train}/red/a", f"{valid}/Green/b", f"{test}/red/deep/c")
    assert found(tmp_path, RED) == [
        ("train", "red", f"{train}/red/a"),
        ("valid", "green", f"{valid}/Green/b"),
        ("test", "red", f"{test}/red/deep/c"),
    ]


def test_folders_that_are_classes_have_no_split(tmp_path: Path) -> None:
    touch(tmp_path, "red/train/a", "green/test/b")
    assert {split for split, _, _ in found(tmp_path, RED)} == {""}


def test_one_split_that_is_named_is_a_folder_of_classes(tmp_path: Path) -> None:
    touch(tmp_path, "test/red/a", "test/green/b")
    assert {split for split, _, _ in found(tmp_path / "test", RED)} == {""}


def test_what_is_beside_the_splits_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "train/red/a", "train/blue/b", "train/loose.jpg", "README.md", "labels/x")
    touch(tmp_path, "test/0001.jpg")  # of a competition that keeps the answers
    listing = list_folder(tmp_path, RED)
    assert [c.split for c in listing.candidates] == ["train"]
    assert ignored(tmp_path, listing) == {
        "README.md": "not in a class folder",
        "labels": "no split with class folders in it",
        "test": "no split with class folders in it",
        "train/blue": "not a class of this project",
        "train/loose.jpg": "not in a class folder",
    }
    assert listing.unknown == ["blue"]


def test_a_class_may_be_called_as_a_split(tmp_path: Path) -> None:
    labels = ["train", "test station"]
    plain, layout = tmp_path / "plain", tmp_path / "layout"
    touch(plain, "train/a", "test station/b")
    assert found(plain, labels) == [
        ("", "test station", "test station/b"),
        ("", "train", "train/a"),
    ]
    for split in ("train", "val", "test"):
        touch(layout, f"{split}/train/a", f"{split}/test station/b")
    assert found(layout, labels)[:3] == [
        ("train", "test station", "train/test station/b"),
        ("train", "train", "train/train/a"),
        ("valid", "test station", "val/test station/b"),
    ]


def test_classes_that_are_both_called_as_splits(tmp_path: Path) -> None:
    touch(tmp_path, "train/a", "test/deep/b")
    assert found(tmp_path, ["train", "test"]) == [
        ("", "test", "test/deep/b"),
        ("", "train", "train/a"),
    ]


@pytest.mark.parametrize(
    ("labels", "files", "words"),
    [
        (RED, ["train/red/a", "red/b"], "'red' beside it is a class"),
        (["train", "red"], ["train/red/a", "train/b"], "'train' is a class of this project"),
        (["train", "red"], ["test/red/a", "train/b"], "'train' is a class of this project"),
        (["train", "test"], ["train/test/a", "test/test/b"], "all of these names are classes"),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(
    tmp_path: Path, labels: list[str], files: list[str], words: str
) -> None:
    touch(tmp_path, *files)
    with pytest.raises(DataError, match="AMBIGUOUS_FOLDERS") as caught:
        list_folder(tmp_path, labels)
    assert words in str(caught.value) and "csv:FILE" in str(caught.value)


def test_two_folders_of_one_split(tmp_path: Path) -> None:
    touch(tmp_path, "train/red/a", "val/red/b", "valid/red/c")
    with pytest.raises(DataError, match="SPLIT_CLASH.*val and .*valid are both valid; join them"):
        list_folder(tmp_path, RED)


def test_two_folders_of_one_class_within_a_split(tmp_path: Path) -> None:
    touch(tmp_path, "train/red/a", "train/Red/b")
    with pytest.raises(DataError, match="CLASS_CLASH"):
        list_folder(tmp_path, RED)


def test_a_split_that_lacks_a_class_and_an_empty_class_folder(tmp_path: Path) -> None:
    touch(tmp_path, "train/red/a", "train/green/b", "test/red/c", "test/green/")
    assert found(tmp_path, RED) == [
        ("train", "green", "train/green/b"),
        ("train", "red", "train/red/a"),
        ("test", "red", "test/red/c"),
    ]


def test_splits_with_other_classes_are_shown_with_what_is_in_them(tmp_path: Path) -> None:
    touch(tmp_path, "train/rot/a", "val/gelb/b")
    with pytest.raises(DataError, match=r"NO_CLASS_FOLDERS.*train \(in it: rot\), val \(in it: g"):
        list_folder(tmp_path, RED)

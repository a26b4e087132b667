"""Names in an export: those of the classes where that is safe, and never two alike."""

from __future__ import annotations

import re
import unicodedata

import pytest

from bear_classifier.dataset.formats.names import class_folders, file_names, split_names


@pytest.mark.parametrize(
    ("label", "folder"),
    [
        ("grizzly", "grizzly"), ("Bär & Co", "Bär & Co"), ("contest", "contest"),
        ("trainee", "trainee"), ("detest it", "detest it"), ("eval", "(eval)"),
        ("train", "(train)"), ("Test station", "(Test) station"), ("my-dev_set", "my-(dev)_set"),
        ("train.test", "(train).(test)"), ("val2", "(val)2"), ("validation", "(validation)"),
    ],
)  # fmt: skip
def test_words_that_are_splits_elsewhere(label: str, folder: str) -> None:
    assert class_folders([label], no_splits=True) == {label: folder}
    assert class_folders([label]) == {label: label}


def test_folders_are_short_enough_and_differ() -> None:
    long = ["熊" * 99 + end for end in "ab"]
    folders = class_folders(long)
    assert len(set(folders.values())) == 2
    assert all(len(name.encode()) <= 255 for name in folders.values())
    decomposed = unicodedata.normalize("NFD", "Bär")
    assert class_folders([decomposed])[decomposed] == unicodedata.normalize("NFC", "Bär")


def test_files_are_called_by_class_and_hash() -> None:
    photos = [
        ("1" * 64, "Brown bear", "jpeg"), ("2" * 64, "Bär & Co", "png"), ("3" * 64, "熊", "webp"),
        ("4" * 64, "test station", "heic"), ("5" * 64, "a" * 100, "gif"),
    ]  # fmt: skip
    names = file_names(photos)
    assert [names[sha256] for sha256, *_ in photos] == [
        "brown-bear-1111111111111111.jpg", "bar-co-2222222222222222.png", "3333333333333333.webp",
        "4444444444444444.heic", f"{'a' * 60}-5555555555555555.gif",
    ]  # fmt: skip
    assert all(re.fullmatch(r"[a-z0-9-]+\.[a-z]+", name) for name in names.values())


def test_photos_whose_hashes_begin_alike_keep_all_of_it() -> None:
    one, other = "a" * 16 + "b" * 48, "a" * 16 + "c" * 48
    names = file_names([(one, "x", "png"), (other, "x", "png"), (other[::-1], "x", "png")])
    assert names[one] == f"x-{one}.png"
    assert names[other] == f"x-{other}.png"
    assert names[other[::-1]] == f"x-{'c' * 16}.png"


def test_names_of_splits() -> None:
    assert split_names(("train", "valid", "test"), "val") == {
        "train": "train", "valid": "val", "test": "test",
    }  # fmt: skip

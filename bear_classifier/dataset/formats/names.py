"""Names of the files and folders of an export: readable, unique, and safe on every system."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256 as digest_of

# Words that the Hugging Face library takes for splits where one of these signs, or nothing, stands
# on both sides (`SPLIT_KEYWORDS` and `NON_WORDS_CHARS` in datasets/data_files.py, version 5.2).
_SPLIT_WORD = re.compile(
    r"(?<![^-._ 0-9])(train(?:ing)?|valid(?:ation)?|val|dev|test(?:ing)?|eval(?:uation)?)"
    r"(?![^-._ 0-9])",
    re.IGNORECASE,
)
_MOST_BYTES = 200  # of a folder's name; file systems take 255
_DIGITS = 16  # of a photo's hash: among a billion photos two alike have a chance of 3 %
_SUFFIX = {"jpeg": "jpg"}


def class_folders(labels: Sequence[str], no_splits: bool = False) -> dict[str, str]:
    """label -> the name of its folder: the label itself, but for two cases. The rules of project
    files keep it from being no folder, and two from being one.

    A name of more than 200 bytes is cut and gets a part of its digest. no_splits: a word that would
    make a split of it for the Hugging Face library is put in parentheses."""
    return {label: _folder(label, no_splits) for label in labels}


def _folder(label: str, no_splits: bool) -> str:
    name = unicodedata.normalize("NFC", label)
    if no_splits:
        name = _SPLIT_WORD.sub(r"(\1)", name)
    data = name.encode()
    if len(data) <= _MOST_BYTES:
        return name
    return f"{data[:_MOST_BYTES].decode(errors='ignore')}~{digest_of(data).hexdigest()[:8]}"


def file_names(photos: Iterable[tuple[str, str, str]]) -> dict[str, str]:
    """sha256 -> file name, of photos given as (sha256, label, format): the label in plain letters,
    16 digits of the hash, and the usual ending of the format.

    Where two are alike, all of the hash stands in both. Words that would be taken for splits are
    left out."""
    short: dict[str, list[str]] = {}
    names = {}
    for sha256, label, format in photos:
        stem = "-".join(filter(None, (_plain(label), sha256[:_DIGITS])))
        names[sha256] = f"{stem}.{suffix(format)}"
        short.setdefault(stem, []).append(sha256)
    for alike in short.values():
        if len(alike) > 1:
            names |= {sha256: _longer(names[sha256], sha256) for sha256 in alike}
    return names


def _longer(name: str, sha256: str) -> str:
    return name.replace(sha256[:_DIGITS], sha256)


def suffix(format: str) -> str:
    """What names of files of this format end with."""
    return _SUFFIX.get(format, format)


def _plain(label: str) -> str:
    """Small ASCII letters and digits, with - between them; "" where none are left."""
    letters = unicodedata.normalize("NFKD", label).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9]+", "-", letters).strip("-")[:60].strip("-")
    return "" if _SPLIT_WORD.search(words) else words


def split_names(splits: Iterable[str], valid: str) -> Mapping[str, str]:
    """split -> its name in the export. valid: what validation is called: valid or val."""
    return {split: valid if split == "valid" else split for split in splits}

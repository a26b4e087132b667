"""Hints for misnamed classes: which folder or word was probably meant."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import product

_ALIKE = 0.8  # of difflib's ratio: one wrong letter in five
_LEAST = 4  # letters of a word that is looked for inside another
_SPELT = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ø": "oe", "å": "aa", "æ": "ae"})


def meant(label: str, names: Iterable[str]) -> list[str]:
    """The names that probably stand for the class: another case or plural, other signs between
    words, more or fewer words, a wrong letter, accents left out or spelt out."""
    return [name for name in names if _is_alike(label, name)]


def _is_alike(label: str, name: str) -> bool:
    return any(
        _are_alike(mine, theirs) or _are_alike(singular(mine), singular(theirs))
        for mine, theirs in product(_spellings(label), _spellings(name))
        if mine and theirs
    )


def _are_alike(mine: Sequence[str], theirs: Sequence[str]) -> bool:
    if any(word.isdigit() for word in mine) != any(word.isdigit() for word in theirs):
        mine, theirs = _unnumbered(mine), _unnumbered(theirs)  # as of a list
    elif [w for w in mine if w.isdigit()] != [w for w in theirs if w.isdigit()]:
        return False
    if set(mine) <= set(theirs) or set(theirs) <= set(mine):
        return True
    short, long = sorted(("".join(mine), "".join(theirs)), key=len)
    if len(short) >= _LEAST and (long.startswith(short) or long.endswith(short)):
        return True
    return difflib.SequenceMatcher(None, short, long, autojunk=False).ratio() >= _ALIKE


def spoken_words(label: str) -> list[str]:
    """The words of a name in small letters, as one says it: without the number of a list, and
    without the signs that stand for spaces in names of folders."""
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", unicodedata.normalize("NFC", label))
    words = re.findall(r"[^\W_]+(?:['\u2019.][^\W_]+)*", parted.casefold())
    return [word for word in words if not word.isdigit()]


def _spellings(text: str) -> list[list[str]]:
    """Words without accents, and with them spelt out as in German and the North."""
    composed = unicodedata.normalize("NFC", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)).casefold()
    decomposed = (unicodedata.normalize("NFKD", t) for t in (composed, composed.translate(_SPELT)))
    bare = ("".join(c for c in parts if not unicodedata.combining(c)) for parts in decomposed)
    return [re.findall(r"[^\W_]+", spelling) for spelling in bare]


def _unnumbered(words: Sequence[str]) -> list[str]:
    return [word for word in words if not word.isdigit()] or list(words)


def singular(words: Sequence[str]) -> list[str]:
    """Words without the ending of a plural in English."""
    return [
        re.sub(r"(?<=..)ies$", "y", word)
        if word.endswith("ies")
        else re.sub(r"(?<=[sxz])es$|(?<=[cs]h)es$|(?<=[^s]{3})s$", "", word)
        for word in words
    ]

"""Columns of all photos of a catalog, without an object for each: some 150 bytes a photo."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bear_classifier.dataset.backups import damage_explained
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import TAKEN_DOWN, Photo

_AT_ONCE = 20_000  # rows
_NAMES = ("sha256", "label", "split", "status", "format", "group", "reason")
_Array = NDArray[Any]


@dataclass(frozen=True)
class Words:
    """A column of few distinct words. numbers: (n,) of `words`."""

    words: tuple[str, ...]
    numbers: NDArray[np.int32]

    def is_(self, word: str) -> NDArray[np.bool_]:
        """(n,) which rows have this word."""
        number = self.words.index(word) if word in self.words else -1
        return np.asarray(self.numbers == number)

    def at(self, row: int) -> str:
        return self.words[int(self.numbers[row])]

    def some(self, rows: NDArray[np.int64]) -> list[str]:
        """The words (m,) of some rows."""
        return [self.words[number] for number in self.numbers[rows].tolist()]

    def at_rows(self, rows: NDArray[np.int64]) -> Words:
        """The column of some rows (m,); anything where a row is -1."""
        numbers = self.numbers if len(self.numbers) else np.zeros(1, dtype=np.int32)
        return Words(self.words, numbers[rows])

    def numbered(self, words: Sequence[str]) -> NDArray[np.int32]:
        """(n,) the place of each word among these, -1: none."""
        place = {word: number for number, word in enumerate(words)}
        return np.array([place.get(word, -1) for word in self.words] or [-1], np.int32)[
            self.numbers
        ]

    def changed(self, rows: Sequence[int], words: Sequence[str]) -> Words:
        """The column with other words (m,) in some rows (m,)."""
        known = tuple(dict.fromkeys([*self.words, *words]))
        numbers = self.numbers.copy()
        numbers[list(rows)] = [known.index(word) for word in words]
        return Words(known, numbers)


@dataclass(frozen=True)
class Hashes:
    """SHA-256 (n,), each 64 letters. Lookup takes time log n."""

    names: NDArray[np.bytes_]
    _order: NDArray[np.int64] | None = None  # that they rise in; None: they do as they stand

    @classmethod
    def of(cls, names: Iterable[str] | NDArray[np.bytes_]) -> Hashes:
        found = names if isinstance(names, np.ndarray) else np.array(list(names), dtype="S64")
        rising = bool((found[:-1] <= found[1:]).all())
        return cls(found, None if rising else np.argsort(found, kind="stable"))

    def __len__(self) -> int:
        return len(self.names)

    def at(self, row: int) -> str:
        return bytes(self.names[row]).decode()

    def some(self, rows: NDArray[np.int64]) -> list[str]:
        """The hashes (m,) of some rows."""
        return [name.decode() for name in self.names[rows].tolist()]

    def find(self, names: Sequence[str] | NDArray[np.bytes_]) -> NDArray[np.int64]:
        """The row (m,) of each name, -1 where there is none."""
        if not isinstance(names, np.ndarray):
            names = np.array([_letters(name) for name in names], dtype="S64")
        if not len(self.names):
            return np.full(len(names), -1, dtype=np.int64)
        place = np.searchsorted(self.names, names, sorter=self._order)
        place = np.minimum(place, len(self.names) - 1)
        rows = place if self._order is None else self._order[place]
        return np.asarray(np.where(self.names[rows] == names, rows, -1), dtype=np.int64)

    def sorted_by(self, keys: NDArray[np.float64]) -> NDArray[np.int64]:
        """The rows by rising keys (n,), and by their hashes where keys are the same."""
        if self._order is None:
            return np.argsort(keys, kind="stable")
        return self._order[np.argsort(keys[self._order], kind="stable")]

    def row(self, name: str) -> int | None:
        row = int(self.find([name])[0])
        return None if row < 0 else row

    def __contains__(self, name: str) -> bool:
        return self.row(name) is not None


def _letters(name: str) -> bytes:
    """What can be a hash; "" for what cannot, so that a longer name is not cut to one."""
    return name.encode() if len(name) <= 64 and name.isascii() and "\0" not in name else b""


@dataclass(frozen=True)
class PhotoColumns:
    """Of n photos in the order of their hashes: label, split ("": none yet), status and format;
    family: (n,) names of groups of near-copies; taken_down: (n,)."""

    hashes: Hashes
    label: Words
    split: Words
    status: Words
    format: Words
    family: NDArray[np.bytes_]
    taken_down: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.hashes)

    def changed(self, photos: Sequence[Photo]) -> PhotoColumns:
        """The columns with these photos as they are now; all of them are among the rows."""
        rows = self.hashes.find([photo.sha256 for photo in photos]).tolist()
        taken_down = self.taken_down.copy()
        taken_down[rows] = [_taken_down(photo.status, photo.reason) for photo in photos]
        return PhotoColumns(
            self.hashes,
            self.label.changed(rows, [photo.label for photo in photos]),
            self.split.changed(rows, [photo.split or "" for photo in photos]),
            self.status.changed(rows, [photo.status for photo in photos]),
            self.format,
            self.family,
            taken_down,
        )


def photo_columns(catalog: Catalog) -> PhotoColumns:
    """The columns of all photos, read some rows at a time, as they lie in the file: in the order of
    their hashes a million take twice as long."""
    words: list[dict[str, int]] = [{} for _ in range(4)]
    numbers: list[list[NDArray[np.int32]]] = [[] for _ in words]
    names, families, taken = list[_Array](), list[_Array](), list[NDArray[np.bool_]]()
    with damage_explained(catalog.path):
        rows = _rows(catalog)
        while part := list(islice(rows, _AT_ONCE)):
            sha256, *few, group, reason = zip(*part, strict=True)
            names.append(np.array(sha256, dtype="S64"))
            families.append(np.array([g or s for g, s in zip(group, sha256, strict=True)], "S64"))
            down = [_taken_down(s, r) for s, r in zip(few[2], reason, strict=True)]
            taken.append(np.array(down, dtype=bool))
            for known, column, found in zip(words, few, numbers, strict=True):
                some = [known.setdefault(word or "", len(known)) for word in column]
                found.append(np.array(some, dtype=np.int32))
    empty = np.zeros(0, dtype="S64")
    hashes = np.concatenate([empty, *names])
    order = np.argsort(hashes, kind="stable")
    label, split, status, form = (
        Words(tuple(known), np.concatenate([np.zeros(0, np.int32), *found])[order])
        for known, found in zip(words, numbers, strict=True)
    )
    return PhotoColumns(
        Hashes.of(hashes[order]),
        label,
        split,
        status,
        form,
        np.concatenate([empty, *families])[order],
        np.concatenate([np.zeros(0, dtype=bool), *taken])[order],
    )


def _rows(catalog: Catalog) -> Iterator[tuple[Any, ...]]:
    if catalog.is_frozen:
        return (tuple(getattr(p, name) for name in _NAMES) for p in catalog.photos())
    return catalog.stream(_NAMES, "photo")


def _taken_down(status: str, reason: str) -> bool:
    return status == "dropped" and reason.startswith(TAKEN_DOWN)

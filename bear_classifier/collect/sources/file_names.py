"""The file that a cell of a table means: by its path, its name, or its name without the ending."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Sequence

_PICTURES = frozenset(
    {
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".avif"),
        *(".heic", ".heif", ".tif", ".tiff"),
    }
)


class FileNames:
    """Files below a folder, to be found by what tables call them.

    A path from the folder is exact. Otherwise the last part of the name decides, with or without
    its ending, in any case, and then the folders before it, from the right: tables often hold paths
    of another computer. A folder of the name that is here, too, has to be the file's."""

    def __init__(self, paths: Sequence[str]) -> None:
        """paths: (n,) from the folder, with /."""
        self.paths = paths
        self._exact = {path: number for number, path in enumerate(paths)}
        self._by_name: dict[str, list[int]] = defaultdict(list)
        self._by_stem: dict[str, list[int]] = defaultdict(list)
        self._folders: set[str] = set()
        for number, path in enumerate(paths):
            *folders, name = _key(path).split("/")
            self._by_name[name].append(number)
            self._by_stem[_stem(name)].append(number)
            self._folders.update(folders)

    def find(self, name: str) -> list[int]:
        """The numbers of the files that a name fits best: one, none, or several alike."""
        name = name.strip()
        if name in self._exact:
            return [self._exact[name]]
        *folders, last = _key(name.replace("\\", "/")).rstrip("/").split("/")
        if not last or last in (".", ".."):
            return []
        found = self._by_name.get(last) or self._pictures(self._by_stem.get(last, []))
        scores = [self._shared(folders, number) for number in found]
        best = max(scores, default=-1)
        if 0 <= best < len(folders) and folders[-1 - best] in self._folders:
            return []  # that folder is here, and the file is not in it
        found = [number for number, score in zip(found, scores, strict=True) if score == best]
        same = [n for n in found if self.paths[n].rpartition("/")[2] == name.rpartition("/")[2]]
        return same if len(same) == 1 else found

    def _pictures(self, numbers: list[int]) -> list[int]:
        """Those with the ending of a picture, where there are any: others lie beside them."""
        pictures = [n for n in numbers if is_picture(self.paths[n])]
        return pictures or numbers

    def _shared(self, folders: Sequence[str], number: int) -> int:
        """How many folders a name has in common with a file, from the right."""
        of_file = _key(self.paths[number]).split("/")[-2::-1]
        pairs = list(zip(reversed(folders), of_file, strict=False))
        return next((n for n, (one, other) in enumerate(pairs) if one != other), len(pairs))


def is_picture(path: str) -> bool:
    """Whether the file has the ending of one."""
    return _ending(path.casefold()) in _PICTURES


def _key(path: str) -> str:
    return unicodedata.normalize("NFC", path).casefold()


def _stem(name: str) -> str:
    ending = _ending(name)
    return name.removesuffix(ending) if ending else name


def _ending(name: str) -> str:
    """.jpg of a.jpg; nothing of .hidden and of a name without a full stop."""
    before, dot, after = name.rpartition(".")
    return f".{after}" if dot and before and "/" not in after else ""

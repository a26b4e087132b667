"""Files for workers that share no folder: below an address of fsspec, such as s3://bucket/bears."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from uuid import uuid4

from bear_classifier.errors import ConfigError
from bear_classifier.runtime.files import move

_TOGETHER = 256  # files that are sent or fetched with one call


class Storage:
    """Names of files are relative, with slashes."""

    def __init__(self, address: str) -> None:
        """Raises ConfigError (NO_STORAGE)."""
        import fsspec  # only now: it comes with torch, or with Ray

        try:
            self._fs, root = fsspec.core.url_to_fs(address, skip_instance_cache=True)
            self._root = root.rstrip("/")
            self._fs.makedirs(self._root, exist_ok=True)
        except (OSError, ImportError, ValueError) as exc:
            raise ConfigError(
                "NO_STORAGE",
                f"engine.storage = {address!r} cannot be used ({exc}); every machine needs the"
                " package of its kind (s3fs for s3://, gcsfs for gs://) and may have to be let in",
            ) from exc

    def has(self, name: str) -> bool:
        return bool(self._fs.exists(f"{self._root}/{name}"))

    def send(self, folder: Path, names: Sequence[str]) -> int:
        """Send the files of a folder that are not there, or not whole. Returns how many."""
        there = self._sizes({name.partition("/")[0] for name in names})
        left = [name for name in names if there.get(name) != (folder / name).stat().st_size]
        for part in _parts(left):
            self._put(folder, part, part)
        return len(left)

    def publish(self, folder: Path, name: str) -> None:
        """Send one file, which nobody sees before it is whole."""
        mark = f"{name}.{uuid4().hex}.partial"
        self._put(folder, [name], [mark])
        self._fs.mv(f"{self._root}/{mark}", f"{self._root}/{name}")

    def _put(self, folder: Path, names: Sequence[str], marks: Sequence[str]) -> None:
        for parent in sorted({mark.rpartition("/")[0] for mark in marks}):
            self._fs.makedirs(f"{self._root}/{parent}", exist_ok=True)
        places = [f"{self._root}/{mark}" for mark in marks]
        self._fs.put([str(folder / name) for name in names], places)

    def fetch(self, folder: Path, names: Sequence[str]) -> None:
        """Fetch files into a folder. Raises OSError where one is missing."""
        for part in _parts(names):
            places = [folder / name for name in part]
            for parent in {place.parent for place in places}:
                parent.mkdir(parents=True, exist_ok=True)
            marks = [place.with_name(f".{place.name}.{uuid4().hex}.partial") for place in places]
            self._fs.get([f"{self._root}/{name}" for name in part], [str(mark) for mark in marks])
            for place, mark in zip(places, marks, strict=True):
                move(mark, place)

    def _sizes(self, folders: Collection[str]) -> dict[str, int]:
        found: dict[str, int] = {}
        for folder in sorted(folders):
            path = f"{self._root}/{folder}"
            if self._fs.exists(path):
                listed = self._fs.find(path, detail=True)
                found |= {name[len(self._root) + 1 :]: row["size"] for name, row in listed.items()}
        return found


def _parts(names: Sequence[str]) -> Iterable[Sequence[str]]:
    return (names[first : first + _TOGETHER] for first in range(0, len(names), _TOGETHER))

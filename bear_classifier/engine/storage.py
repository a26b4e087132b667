"""Files for machines that share no folder: below an address of fsspec, as s3://bucket/bears."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from uuid import uuid4

from bear_classifier.errors import ConfigError
from bear_classifier.runtime.files import move

_TOGETHER = 256  # files that are sent or fetched with one call
_PARTIAL = ".partial"
_KINDS = (  # of exceptions: of S3, of Google and of Azure
    ("botocore.exceptions", "BotoCoreError"),
    ("botocore.exceptions", "ClientError"),
    ("google.auth.exceptions", "GoogleAuthError"),
    ("azure.core.exceptions", "AzureError"),
)


class Storage:
    """Names of files are relative, with slashes."""

    def __init__(self, address: str, what: str = "") -> None:
        """what: in place of the setting `engine.storage`. Raises ConfigError (NO_STORAGE)."""
        import fsspec  # only now: it comes with torch, or with Ray

        try:
            self._fs, root = fsspec.core.url_to_fs(address, skip_instance_cache=True)
            self._root = root.rstrip("/")
            self._fs.makedirs(self._root, exist_ok=True)
        except _refusals() as exc:
            raise ConfigError(
                "NO_STORAGE",
                f"{what or f'engine.storage = {address!r}'} cannot be used ({exc}); every machine"
                " needs the package of its kind (s3fs for s3://, gcsfs for gs://) and may have to"
                " be let in",
            ) from exc

    def has(self, name: str) -> bool:
        return bool(self._fs.exists(f"{self._root}/{name}"))

    def names(self, folder: str) -> list[str]:
        """The whole files in a folder, in their order; none where it is not there."""
        return sorted(name for name in self._sizes([folder]) if not name.endswith(_PARTIAL))

    def read(self, name: str) -> bytes:
        """Raises OSError."""
        return bytes(self._fs.cat_file(f"{self._root}/{name}"))

    def remove(self, folder: str) -> None:
        """A folder with all in it, if it is there."""
        if self.has(folder):
            self._fs.rm(f"{self._root}/{folder}", recursive=True)

    def send(self, folder: Path, names: Sequence[str]) -> int:
        """Send the files of a folder that are not there, or not whole. Returns how many."""
        return self.send_as({name: folder / name for name in names})

    def send_as(self, files: Mapping[str, Path]) -> int:
        """As `send`, for files that have other names here. files: name there -> file."""
        there = self._sizes({name.partition("/")[0] for name in files})
        left = [name for name, path in files.items() if there.get(name) != path.stat().st_size]
        for part in _parts(left):
            self._put([files[name] for name in part], part)
        return len(left)

    def publish(self, file: Path, name: str) -> None:
        """Send one file, which nobody sees before it is whole."""
        mark = f"{name}.{uuid4().hex}{_PARTIAL}"
        self._put([file], [mark])
        self._fs.mv(f"{self._root}/{mark}", f"{self._root}/{name}")

    def _put(self, files: Sequence[Path], marks: Sequence[str]) -> None:
        for parent in sorted({mark.rpartition("/")[0] for mark in marks}):
            self._fs.makedirs(f"{self._root}/{parent}", exist_ok=True)
        self._fs.put(list(map(str, files)), [f"{self._root}/{mark}" for mark in marks])

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


def _refusals() -> tuple[type[BaseException], ...]:
    """What the packages of addresses raise; those that were imported have kinds of their own."""
    found = ((sys.modules.get(module), name) for module, name in _KINDS)
    return OSError, ImportError, ValueError, *(getattr(m, name) for m, name in found if m)


def _parts(names: Sequence[str]) -> Iterable[Sequence[str]]:
    return (names[first : first + _TOGETHER] for first in range(0, len(names), _TOGETHER))

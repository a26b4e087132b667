"""Uploads: each photo is decoded in another process and stored whole, or refused with a reason.

`studio/uploads/` of a project holds `photos/CLASS/HASH.KIND`, `unlabelled/HASH.KIND` and
`zips/HASH.zip`. They are sources of the dataset and stay: the command line finds there what the
studio took in. A job takes them into the catalog once they have rested for a moment.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import secrets
import shutil
import time
import zipfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from bear_classifier.dataset.backups import damage_explained
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import PENDING
from bear_classifier.errors import ConfigError, DataError, PhotoError
from bear_classifier.images import decoder
from bear_classifier.runtime.files import clear_partial, move, write_errors
from bear_classifier.runtime.process_pool import Workers
from bear_classifier.runtime.processors import processors
from bear_classifier.studio.commands import LABELLED, UNLABELLED, ZIPS
from bear_classifier.studio.projects import Place
from bear_classifier.web.guard import Refused

RESTED = 1.5  # seconds without an upload until they are taken in
MAX_ZIP = 4_000_000_000  # bytes
_SPARE = 500_000_000  # bytes that stay free on the disk beside a ZIP
_AT_ONCE = 4  # photos whose bytes are in memory
_SECONDS = 20.0  # of a processor for one photo
_WORKER = "bear_classifier.collect.http.ingest"
FOLDERS = {"take-in": LABELLED, "take-in-unlabelled": UNLABELLED, "take-in-zip": ZIPS}
_HASH = re.compile(r"[0-9a-f]{64}")


class Uploads:
    """Of all projects. Use it as a context: its worker processes end with it."""

    def __init__(self) -> None:
        most = max(1, min(2, processors()))
        self._workers = Workers(_WORKER, most, _SECONDS)
        self._stack = AsyncExitStack()
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self.last: dict[str, float] = {}  # project -> when its last upload came, monotonic
        self.at: dict[str, float] = {}  # the same, seconds since 1970
        self.stored: dict[str, int] = {}  # project -> uploads stored since the start

    async def __aenter__(self) -> Uploads:
        await self._stack.enter_async_context(self._workers)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def photo(self, place: Place, label: str, body: AsyncIterator[bytes]) -> dict[str, str]:
        """Store one photo; "known" where this class has it already.

        Raises PhotoError, Refused (404, 409, 413) and DataError (DISK_FULL, CANNOT_WRITE)."""
        if label and label not in place.config.classes:
            raise Refused(404, "NO_CLASS", f"this project has no class {label[:100]!r}")
        self.last[place.name] = time.monotonic()
        async with self._turns:
            return await self._stored(place, label, await _whole(body))

    async def _stored(self, place: Place, label: str, data: bytes) -> dict[str, str]:
        folder = uploads_folder(place) / (f"{LABELLED}/{label}" if label else UNLABELLED)
        with write_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        facts = await self._workers.ask({"folder": str(folder), "own": True}, data)
        partial = Path(facts["partial"])
        name = f"{facts['sha256']}.{facts['format']}"
        target = folder / name
        try:
            if target.exists():
                return {"file": name, "outcome": "known"}
            if other := _other_class(place, label, name):
                raise Refused(409, "OTHER_CLASS", f"this very photo is already in class {other}")
            move(partial, target)
        finally:
            partial.unlink(missing_ok=True)
        self.came(place)
        return {"file": name, "outcome": "stored"}

    async def zip(self, place: Place, body: AsyncIterator[bytes]) -> str:
        """Store an archive, which is read by the job that takes it in. Raises as `received_zip`."""
        name = (await received_zip(uploads_folder(place) / ZIPS, body)).name
        self.came(place)
        return name

    def came(self, place: Place) -> None:
        self.last[place.name] = time.monotonic()
        self.at[place.name] = time.time()
        self.stored[place.name] = self.stored.get(place.name, 0) + 1

    def have_rested(self, project: str) -> bool:
        return time.monotonic() - self.last.get(project, float("-inf")) >= RESTED


async def received_zip(folder: Path, body: AsyncIterator[bytes]) -> Path:
    """Store an archive in a folder under a name made from its content.

    Raises Refused (413, 415) and DataError (DISK_FULL, CANNOT_WRITE)."""
    partial = folder / f".{secrets.token_hex(8)}.partial"
    sha, size = hashlib.sha256(), 0
    with write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free - _SPARE
        try:
            with partial.open("wb") as file:
                async for part in body:
                    size += len(part)
                    if size > MAX_ZIP:
                        raise Refused(413, "TOO_LARGE", _limit("the ZIP", MAX_ZIP))
                    if size > free:
                        raise DataError("DISK_FULL", f"no space left for a ZIP in {folder}")
                    sha.update(part)
                    await asyncio.to_thread(file.write, part)
                await asyncio.to_thread(_flush, file.fileno(), file)
            if not zipfile.is_zipfile(partial):
                raise Refused(415, "NOT_A_ZIP", "this file is no ZIP")
            move(partial, folder / f"{sha.hexdigest()}.zip")
        finally:
            partial.unlink(missing_ok=True)
    return folder / f"{sha.hexdigest()}.zip"


def _flush(number: int, file: Any) -> None:
    file.flush()
    os.fsync(number)


async def _whole(body: AsyncIterator[bytes]) -> bytes:
    """The bytes of a photo; reading ends at the limit, whatever Content-Length says."""
    data = bytearray()
    async for part in body:
        data += part
        if len(data) > decoder.MAX_BYTES:
            raise Refused(413, "TOO_LARGE", _limit("the photo", decoder.MAX_BYTES))
    if not data:
        raise PhotoError("EMPTY_FILE", "0 bytes")
    return bytes(data)


def _limit(what: str, limit: int) -> str:
    return f"{what} is larger than the limit of {limit // 1_000_000:,} MB"


def uploads_folder(place: Place) -> Path:
    return place.own / "uploads"


def _other_class(place: Place, label: str, name: str) -> str:
    """Another class that has this very photo; a photo of two classes would be used for none."""
    if not label:
        return ""
    folder = uploads_folder(place) / LABELLED
    others = (other for other in place.config.classes if other != label)
    return next((other for other in others if (folder / other / name).exists()), "")


def clear_cut_off(place: Place) -> None:
    """Remove what a killed studio left half-written."""
    if uploads_folder(place).is_dir():
        clear_partial(uploads_folder(place))


def waiting(place: Place, catalog: Catalog | None) -> dict[str, list[str]]:
    """Uploads that no job has taken in yet, by kind of job: names, or "CLASS/NAME" of photos."""
    folder = uploads_folder(place)
    found = {
        "take-in": [
            f"{label}/{name}"
            for label in place.config.classes
            for name in _files(folder / LABELLED / label)
        ],
        "take-in-unlabelled": _files(folder / UNLABELLED),
        "take-in-zip": _files(folder / ZIPS),
    }
    if not any(found.values()):
        return {}
    read = catalog.once("uploads read", lambda: _read(catalog)) if catalog else (set(), set())
    done = {"take-in-zip": read[1]}
    left = {
        kind: [name for name in names if name.rpartition("/")[2] not in done.get(kind, read[0])]
        for kind, names in found.items()
    }
    return {kind: names for kind, names in left.items() if names}


def _files(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in os.scandir(folder) if entry.name[0] != ".")
    except OSError:
        return []


def _read(catalog: Catalog) -> tuple[set[str], set[str]]:
    """Names of files in the catalog that were read, and of the archives that hold some."""
    which = f"source WHERE code <> '{PENDING}' AND kind IN ('folder', 'unlabelled', 'zip')"
    with damage_explained(catalog.path):
        rows = catalog.stream(["origin", "listed_in"], which).fetchall()
    names = (Path(origin).name for origin, _ in rows)
    archives = (Path(listed_in).name for _, listed_in in rows if listed_in)
    hashes = {name for name in names if _HASH.match(name)}
    return hashes, {name for name in archives if _HASH.match(name)}


def choices_of(kind: str, names: list[str]) -> list[dict[str, str]]:
    """The choices of the jobs that take these uploads in."""
    if kind == "take-in-zip":
        return [{"file": name} for name in names]
    if kind not in ("take-in", "take-in-unlabelled"):
        raise ConfigError("BAD_JOB", f"{kind} takes no uploads in")
    return [{}]

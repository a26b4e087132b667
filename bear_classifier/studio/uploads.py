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
from collections import Counter
from collections.abc import AsyncIterator, Container, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

from bear_classifier.dataset.backups import damage_explained
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import GONE, PENDING
from bear_classifier.errors import ConfigError, DataError, PhotoError
from bear_classifier.images import decoder
from bear_classifier.runtime.files import move, write_errors
from bear_classifier.runtime.process_pool import Workers
from bear_classifier.runtime.processors import processors
from bear_classifier.studio.commands import LABELLED, UNLABELLED, ZIPS
from bear_classifier.studio.projects import Place, refuse_moved
from bear_classifier.web.guard import Refused

RESTED = 1.5  # seconds without an upload until they are taken in
MAX_ZIP = 4_000_000_000  # bytes
_SPARE = 500_000_000  # bytes that stay free on the disk beside a ZIP
_AT_ONCE = 4  # photos whose bytes are in memory
_SILENT = 60.0  # seconds without a byte until an upload is given up
_SECONDS = 20.0  # of a processor for one photo
_WORKER = "bear_classifier.collect.http.ingest"
FOLDERS = {"take-in": LABELLED, "take-in-unlabelled": UNLABELLED, "take-in-zip": ZIPS}
_BY_KIND = dict(zip(("folder", "unlabelled", "zip"), FOLDERS, strict=True))  # of a source
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
        self.coming = Counter[str]()  # project -> uploads that have begun and are not over
        self.moving: Container[str] = ()  # projects that are being renamed or deleted

    async def __aenter__(self) -> Uploads:
        await self._stack.enter_async_context(self._workers)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def photo(self, place: Place, label: str, body: AsyncIterator[bytes]) -> dict[str, str]:
        """Store one photo; "known" where this class has it already.

        Raises PhotoError, Refused (404, 408, 409, 413, 503) and DataError (DISK_FULL,
        CANNOT_WRITE)."""
        if label and label not in place.config.classes:
            raise Refused(404, "NO_CLASS", f"this project has no class {label[:100]!r}")
        with self._coming(place):
            self.last[place.name] = time.monotonic()
            async with self._turns:
                return await self._stored(place, label, await _whole(body))

    @contextmanager
    def _coming(self, place: Place) -> Iterator[None]:
        """Within, something is written into a project, which does not move meanwhile. Raises
        Refused (404, 503)."""
        refuse_moved(place, self.moving)
        self.coming[place.name] += 1
        try:
            yield
        finally:
            self.coming[place.name] -= 1

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
        """Store an archive, which is read by the job that takes it in. Raises as `received_zip`,
        and Refused (404, 503)."""
        with self._coming(place):
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

    Raises Refused (408, 413, 415) and DataError (DISK_FULL, CANNOT_WRITE)."""
    partial = folder / f".{secrets.token_hex(8)}.partial"
    sha, size = hashlib.sha256(), 0
    with write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free - _SPARE
        try:
            with partial.open("wb") as file:
                async for part in _steady(body):
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
    async for part in _steady(body):
        data += part
        if len(data) > decoder.MAX_BYTES:
            raise Refused(413, "TOO_LARGE", _limit("the photo", decoder.MAX_BYTES))
    if not data:
        raise PhotoError("EMPTY_FILE", "0 bytes")
    return bytes(data)


async def _steady(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Its parts. One of which nothing comes for a minute would hold its turn for ever. Raises
    Refused (408)."""
    parts = aiter(body)
    while True:
        try:
            part = await asyncio.wait_for(anext(parts), _SILENT)
        except StopAsyncIteration:
            return
        except asyncio.TimeoutError as exc:
            words = f"nothing came for {_SILENT:.0f} seconds; send it again"
            raise Refused(408, "TOO_SLOW", words) from exc
        yield part


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
    read: dict[str, set[str]] = {}
    if catalog:
        labels = list(place.config.classes)
        read = catalog.once(f"uploads read of {labels}", lambda: _read(catalog, labels))
    left = {
        kind: [name for name in names if name not in read.get(kind, ())]
        for kind, names in found.items()
    }
    return {kind: names for kind, names in left.items() if names}


def _files(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in os.scandir(folder) if entry.name[0] != ".")
    except OSError:
        return []


def _read(catalog: Catalog, labels: Sequence[str]) -> dict[str, set[str]]:
    """What the catalog has read, named as `waiting` does: photos in their class, and archives of
    which nothing is left. labels: of the project; photos of other classes are not taken in."""
    which = f"source WHERE code <> '{GONE}' AND kind IN ('folder', 'unlabelled', 'zip')"
    with damage_explained(catalog.path):
        rows = catalog.stream(["kind", "label", "origin", "listed_in", "code"], which).fetchall()
    read: dict[str, set[str]] = {kind: set() for kind in FOLDERS}
    begun = set()
    for kind, label, origin, listed_in, code in rows:
        name = Path((listed_in or "") if kind == "zip" else origin).name
        if code == PENDING:
            begun |= {name} if kind == "zip" and label in ("", *labels) else set()
        elif _HASH.match(name):
            read[_BY_KIND[kind]].add(f"{label}/{name}" if kind == "folder" else name)
    read["take-in-zip"] -= begun
    return read


def came_at(place: Place, archive: str) -> float:
    """When an archive was uploaded, seconds since 1970; 0.0 where it is not there."""
    try:
        return (uploads_folder(place) / ZIPS / archive).stat().st_mtime
    except OSError:
        return 0.0


def choices_of(kind: str, names: list[str]) -> list[dict[str, str]]:
    """The choices of the jobs that take these uploads in."""
    if kind == "take-in-zip":
        return [{"file": name} for name in names]
    if kind not in ("take-in", "take-in-unlabelled"):
        raise ConfigError("BAD_JOB", f"{kind} takes no uploads in")
    return [{}]

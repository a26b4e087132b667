"""The projects that are open in the studio: their catalogs, jobs, uploads and states."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import threading
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from bear_classifier.errors import BearsError, ConfigError
from bear_classifier.runtime.files import clear_old_partial, clear_partial
from bear_classifier.studio import uploads
from bear_classifier.studio.commands import COLLECTING, LEARNING, TAKE_IN, ZIPS
from bear_classifier.studio.folders import finish_moves
from bear_classifier.studio.jobs import BEAT, Jobs
from bear_classifier.studio.journal import Job
from bear_classifier.studio.photo_facts import OpenCatalog
from bear_classifier.studio.projects import Place, file_of, names, own_folder, place_of
from bear_classifier.studio.results import answers_folder, keep_result
from bear_classifier.studio.state import document
from bear_classifier.studio.surviving import Surviving
from bear_classifier.studio.uploads import Uploads
from bear_classifier.web.guard import Refused

_LOOKS = 5  # beats between two looks at uploads that rest
_IDLE = 30.0  # seconds until a catalog that nobody asks for is closed
_OPEN = 16  # catalogs; each takes three files


class Workspace:
    """root: the folder of projects."""

    def __init__(self, root: Path) -> None:
        self.root = root
        finish_moves(root)
        self.moving: set[str] = set()  # projects that are being renamed or deleted
        self.jobs, self.uploads = Jobs(root, finished=self.keep_result), Uploads()
        self._catalogs: dict[str, OpenCatalog] = {}  # those asked for last are the last ones
        self._used: dict[str, float] = {}  # project -> when its catalog was asked for, monotonic
        self._lock = threading.Lock()
        self._requested: dict[str, int] = {}  # project -> uploads that jobs were requested for
        self.closing = asyncio.Event()
        self.jobs.moving = self.uploads.moving = self.moving

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Within, jobs run and uploads are taken in."""
        async with AsyncExitStack() as stack:
            await asyncio.to_thread(self._tidy)
            await stack.enter_async_context(self.uploads)
            await stack.enter_async_context(self.jobs.working())
            task = asyncio.create_task(self._take_in_rested())
            try:
                yield
            finally:
                self.closing.set()
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
                for name in list(self._catalogs):
                    self.release(name)

    def _tidy(self) -> None:
        """Remove what a killed studio left half-done: archives of no project yet, cut-off files."""
        shutil.rmtree(self.root / ".studio" / ZIPS, ignore_errors=True)
        with contextlib.suppress(OSError):
            clear_partial(self.root / ".studio")
            clear_old_partial(self.root)
        for name in names(self.root):
            home = file_of(self.root, name).parent
            own = own_folder(self.root, name, home != self.root)
            with contextlib.suppress(OSError):
                clear_old_partial(home)
                for folder in (own / "uploads", own / "jobs", answers_folder(own)):
                    clear_partial(folder)  # jobs that outlived a studio do not write there

    def place(self, name: str) -> Place:
        """Raises Refused (404 NO_PROJECT, 503 MOVING) and ConfigError."""
        if name in self.moving:
            raise Refused(503, "MOVING", f"{name} is being renamed or deleted", 1)
        try:
            return place_of(self.root, name)
        except ConfigError as exc:
            if exc.code in ("NO_PROJECT", "BAD_NAME"):
                raise Refused(404, "NO_PROJECT", f"there is no project {name[:80]!r}") from exc
            raise

    def catalog(self, place: Place) -> OpenCatalog:
        """Opened once for all pages of a project, and closed while nobody asks for it."""
        with self._lock:
            known = self._catalogs.pop(place.name, None)
            if known is None or known.root != place.data:
                known = OpenCatalog(place.data)
            self._catalogs[place.name] = known
            self._used[place.name] = time.monotonic()
            too_many = list(self._catalogs.values())[:-_OPEN]
        for one in too_many:
            one.close()
        return known

    def close_idle(self) -> None:
        """Close the catalogs that nobody has asked for lately; whoever asks again opens them."""
        since = time.monotonic() - _IDLE
        with self._lock:
            idle = [one for name, one in self._catalogs.items() if self._used[name] < since]
        for one in idle:
            one.close()

    def release(self, name: str) -> None:
        """Close what is open of a project, before its folder is moved."""
        with self._lock:
            known = self._catalogs.pop(name, None)
        if known:
            known.close()

    def keep_result(self, project: str) -> None:
        """Keep what the last training of a project answered, before the next one replaces it."""
        with contextlib.suppress(BearsError, OSError):  # at the next look at the project
            place = self.place(project)
            with self.catalog(place).turn() as catalog:
                if catalog:
                    keep_result(catalog, answers_folder(place.own))

    # -- states --------------------------------------------------------------------------------

    def state(self, place: Place) -> dict[str, Any]:
        """The whole document of a project; call it in a thread. Raises DataError."""
        with self.catalog(place).turn() as catalog:
            waiting = uploads.waiting(place, catalog)
            left = self._left(place, waiting)
            return document(place, catalog, self.jobs.shown(place.name), waiting, left)

    def token(self, place: Place) -> tuple[Any, ...]:
        """Changes whenever the document of a project may have changed; call it in a thread."""
        stamps = []
        for path in (place.file, place.model / "bundle.json", place.data / "clean/summary.json"):
            try:
                stamps.append(path.stat().st_mtime_ns)
            except OSError:
                stamps.append(0)
        catalog = self.catalog(place).token()
        came = self.uploads.stored.get(place.name, 0), self._requested.get(place.name)
        return (*stamps, catalog, came, self.jobs.token(place.name))

    # -- requests ------------------------------------------------------------------------------

    def request(
        self, place: Place, kind: str, choices: dict[str, Any], request: str, after: str
    ) -> Job:
        """A job that a page asks for. What was uploaded until now is taken in before it learns; a
        training that runs is the one that is asked for, unless it would be another by now. Raises
        as `Jobs.submit`."""
        if kind in (*LEARNING, "search"):
            self.take_in(place)
        running = [job for job in self.jobs.busy(place.name) if job.state == "running"]
        same = [job.id for job in running if kind in LEARNING and not self._is_outdated(job, place)]
        return self.jobs.submit(place, kind, choices, request, after, same=next(iter(same), ""))

    def _is_outdated(self, job: Job, place: Place) -> bool:
        """Whether photos, decisions or settings came after a job had begun, or photos will."""
        began = job.begun or 0.0
        if any(other.kind in COLLECTING for other in self.jobs.busy(place.name)):
            return True
        if self.uploads.at.get(place.name, 0.0) > began or place.file.stat().st_mtime > began:
            return True
        at = datetime.fromtimestamp(began, timezone.utc).isoformat(timespec="seconds")
        with self.catalog(place).turn() as catalog:
            recent = "WHERE at >= ? AND request <> '' LIMIT 1"
            return catalog is not None and bool(catalog.events(recent, (at,)))

    # -- uploads -------------------------------------------------------------------------------

    async def _take_in_rested(self) -> None:
        """Request jobs for uploads that rest, and at the start for those of an earlier studio."""
        looks, takes = Surviving("a look at the uploads"), dict[str, Surviving]()
        while True:
            with looks:
                await asyncio.to_thread(self.close_idle)
                for name in names(self.root):
                    with takes.setdefault(name, Surviving(f"taking the uploads of {name} in")):
                        await self._take_in_once(name)  # a full disk: at the next look again
            await asyncio.sleep(BEAT * _LOOKS)

    async def _take_in_once(self, name: str) -> None:
        """What came since the last time, once it rests."""
        came = self.uploads.stored.get(name, 0)
        if self._requested.get(name) == came or not self.uploads.have_rested(name):
            return
        if any(job.kind in TAKE_IN for job in self.jobs.busy(name)):
            return  # once that is over, only what came meanwhile is left
        await asyncio.to_thread(self.take_in, self.place(name))
        self._requested[name] = came

    def take_in(self, place: Place, again: bool = False) -> list[Job]:
        """Jobs for all uploads that wait and that no running job reads. again: also for archives
        whose job failed. Raises DataError."""
        since = self.uploads.at.get(place.name, 0.0)
        reading = {job.kind for job in self.jobs.busy(place.name) if (job.begun or 0.0) > since}
        with self.catalog(place).turn() as catalog:
            waiting = uploads.waiting(place, catalog)
        tried = self._tried(place, again)
        return [
            self.jobs.submit(place, kind, choices)
            for kind, found in waiting.items()
            if kind == "take-in-zip" or kind not in reading
            for choices in uploads.choices_of(kind, found)
            if choices.get("file") not in tried
        ]

    def _tried(self, place: Place, again: bool = False) -> set[str]:
        """Archives of which a job is not over, or was done or failed since they were uploaded.
        again: only the former."""

        def counts(job: Job) -> bool:
            if not job.is_over or again or job.state not in ("done", "failed"):
                return not job.is_over
            return job.asked >= uploads.came_at(place, job.choices["file"])

        jobs = [job for job in self.jobs.journal.of(place.name) if job.kind == "take-in-zip"]
        return {job.choices["file"] for job in jobs if counts(job)}

    def _left(self, place: Place, waiting: Mapping[str, Sequence[str]]) -> int:
        """Of the uploads that wait, those that nothing takes in by itself: a job of them has ended,
        and nothing came since. waiting: as `uploads.waiting`."""
        if self._requested.get(place.name) != self.uploads.stored.get(place.name, 0):
            failed = self._tried(place) - self._tried(place, again=True)
            return len(failed.intersection(waiting.get("take-in-zip", ())))
        jobs = [job for job in self.jobs.busy(place.name) if job.kind in TAKE_IN]
        taken = {job.choices.get("file", job.kind) for job in jobs}
        pairs = [(kind, name) for kind, names in waiting.items() for name in names]
        return sum(taken.isdisjoint(pair) for pair in pairs)

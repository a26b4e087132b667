"""The queue of jobs: one command at a time, in the order of the requests.

What a job does is what its command does, and the lock of the dataset decides who may work on it: a
job that finds it taken waits and is tried again. Jobs outlive the studio that started them.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from bear_classifier.errors import BearsError, ConfigError, DataError
from bear_classifier.runtime.files import os_error
from bear_classifier.studio import job_process
from bear_classifier.studio.commands import JobSubject, job_words
from bear_classifier.studio.job_process import LOG, PROGRESS, JobProcess
from bear_classifier.studio.job_progress import Progress, log_lines
from bear_classifier.studio.journal import Job, Journal, in_turn, new_id
from bear_classifier.studio.projects import Place, file_of, names, own_folder, refuse_moved
from bear_classifier.studio.surviving import Surviving
from bear_classifier.web.guard import Refused

BEAT = 0.2  # seconds between two looks at the running job
_PATIENCE = 30.0  # seconds after Ctrl-C until a job is ended
_AGAIN = 4.0  # seconds until a job whose dataset is taken is tried again
_INTERRUPTED, _FAILED_FILES = 130, 1  # exit codes
_SHOWN = 10  # ended jobs


class Jobs:
    """root: the folder of projects; program: what takes the words of a job; finished: called with
    the project of each job that is over, by a thread that holds nothing."""

    def __init__(
        self,
        root: Path,
        program: Sequence[str] = job_process.COMMAND_LINE,
        finished: Callable[[str], None] = lambda project: None,
    ) -> None:
        self.program, self.patience = program, _PATIENCE
        self.root, self.journal = root, Journal()
        self.lock = self.journal.lock
        self._children: dict[str, JobProcess] = {}
        self._progress: dict[str, Progress] = {}
        self._stopping: dict[str, float] = {}  # since when, by the monotonic clock
        self.not_before: dict[str, float] = {}  # job -> when it is tried again
        self.moving: set[str] = set()  # projects that are being renamed or deleted
        self._closed = False
        self._finished, self._over_now = finished, list[str]()
        for name in names(root):
            self.read(name)

    @in_turn
    def read(self, project: str) -> None:
        """The jobs of a project that is there, or there again."""
        self.journal.forget(project)
        self.journal.read(project, self._folder(project))

    def _folder(self, project: str) -> Path:
        home = file_of(self.root, project).parent
        return own_folder(self.root, project, home != self.root) / "jobs"

    # -- requests ------------------------------------------------------------------------------

    @in_turn
    def submit(
        self,
        place: Place,
        kind: str,
        choices: Mapping[str, Any],
        request: str = "",
        after: str = "",
        was: str = "",
        same: str = "",
    ) -> Job:
        """A new job, on the disk before this returns; the same request twice is one job, and so are
        two of the same words that wait. after: a job that has to be done first; was: one that this
        goes on with; same: one that runs, and that this is no other than, if its words are equal.

        Raises ConfigError (BAD_JOB), Refused (404, 503) and DataError (DISK_FULL, CANNOT_WRITE)."""
        if known := self.journal.requested(place.name, request):
            return known
        refuse_moved(place, self.moving)
        own = place.own.relative_to(place.home).as_posix()
        model = place.model.relative_to(place.home).as_posix()
        words = job_words(kind, choices, JobSubject(place.name, model, own))
        if after and self._of(place.name, after) is None:
            raise ConfigError(
                "BAD_JOB", f"there is no job {after[:50]!r} of this project to wait for"
            )
        for job in self.journal.of(place.name):
            waits = job.state == "waiting" and job.after == after
            runs = job.state == "running" and job.id == same and after in ("", job.after)
            if (waits or runs) and job.words == words:
                return self._put(job, also=(*job.also, request)) if request else job
        job = Job(
            new_id(), place.name, kind, dict(choices), words, request, _now(),
            after, was,
        )  # fmt: skip
        self.journal.clear_old(place.name, kind)
        return self.journal.put(job, self._folder(place.name))

    @in_turn
    def get(self, number: str) -> Job:
        """Raises Refused (404, NO_JOB)."""
        if number not in self.journal.jobs:
            raise Refused(404, "NO_JOB", f"there is no job {number[:50]!r}")
        return self.journal.jobs[number]

    def _of(self, project: str, number: str) -> Job | None:
        job = self.journal.jobs.get(number)
        return job if job and job.project == project else None

    @in_turn
    def cancel(self, number: str) -> Job:
        """Stop a job as Ctrl-C does; one that is over stays as it is."""
        job = self.get(number)
        if job.state == "waiting":
            return self._put(job, state="stopped", ended=_now())
        if job.state == "running":
            self._stop(job)
            job = self._keep(job, state="stopping")
        return job

    @in_turn
    def resume(self, number: str, place: Place, request: str) -> Job:
        """The same command again, which goes on where it was stopped. Raises Refused (409)."""
        job = self.get(number)
        if not job.is_over:
            raise Refused(409, "NOT_OVER", f"job {number} is {job.state}")
        return self.submit(place, job.kind, job.choices, request, was=job.id)

    # -- what runs -----------------------------------------------------------------------------

    @in_turn
    def busy(self, project: str) -> list[Job]:
        """Of a project, the jobs that are not over."""
        return [job for job in self.journal.of(project) if not job.is_over]

    def row(self, job: Job) -> dict[str, Any]:
        """What the page shows of a job."""
        progress = self._read(job)
        folder = self.journal.folders[job.id]
        stages = [{"name": name, **facts} for name, facts in progress.stages.items()]
        return {
            "id": job.id,
            "kind": job.kind,
            "choices": job.choices,
            "request": job.request,
            "after": job.after,
            "command": job.command,
            "state": job.state,
            "asked": job.asked,
            "begun": job.begun,
            "ended": job.ended,
            "stage": "" if job.is_over else progress.stage,
            "stages": stages,
            "bar": None if job.is_over else progress.bar,
            "epochs": progress.epochs,
            "error": job.error,
            "not_begun": job.not_begun,
            "held_by": job.held_by,
            "resumable": self._may_go_on(job),
            "log": log_lines(folder / LOG),
        }

    def _may_go_on(self, job: Job) -> bool:
        """Whether it ended early and nobody has gone on with it."""
        later = {one.was for one in self.journal.of(job.project)}
        ended_early = job.is_over and job.state != "done" and not job.not_begun
        return ended_early and job.id not in later

    @in_turn
    def shown(self, project: str) -> list[dict[str, Any]]:
        """Jobs that are not over and the last ones that are, the oldest first; of each kind at
        least the last one that was done and the last one that was not."""
        return [self.row(job) for job in self._shown(project)]

    def _shown(self, project: str) -> list[Job]:
        jobs = self.journal.of(project)
        over = [job for job in jobs if job.is_over]
        last = {(job.kind, job.state == "done", job.not_begun): job.id for job in over}
        kept = {*last.values(), *(job.id for job in over[-_SHOWN:])}
        return [job for job in jobs if not job.is_over or job.id in kept]

    @in_turn
    def token(self, project: str) -> tuple[Any, ...]:
        """Changes whenever what is shown of the project's jobs may have changed."""
        jobs = self._shown(project)
        return tuple((job.id, job.state, self._read(job).at, job.held_by) for job in jobs)

    def _read(self, job: Job) -> Progress:
        progress = self._progress.get(job.id)
        if progress is None:
            progress = Progress(self.journal.folders[job.id] / PROGRESS)
            self._progress[job.id] = progress
            progress.read()
        elif not job.is_over:
            progress.read()
        return progress

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Within, jobs are run. At the end the one that runs is interrupted and waited for."""
        task = asyncio.create_task(self._work())
        try:
            yield
        finally:
            self._closed = True
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await self._leave()

    async def _work(self) -> None:
        beats, news = Surviving("a look at the jobs"), Surviving("what follows a job")
        while True:
            with beats:  # a full disk: at the next beat again
                await asyncio.to_thread(self.beat)
            while self._over_now:
                with news:
                    await asyncio.to_thread(self._finished, self._over_now.pop())
            await asyncio.sleep(BEAT)

    async def _leave(self) -> None:
        beats = Surviving("the end of a job")
        for job in self._running():
            with beats:
                self.cancel(job.id)
        while self._any_alive():
            with beats:
                self.beat()
            await asyncio.sleep(BEAT)
        with beats:
            self.beat()  # how they ended

    def _running(self) -> list[Job]:
        return [job for job in self.journal.all() if job.state in ("running", "stopping")]

    def _is_alive(self, job: Job) -> bool:
        """Whether its process runs, whoever started it. Raises OSError."""
        if child := self._children.get(job.id):
            return child.poll() is None
        return job_process.is_alive(self.journal.folders[job.id])

    def _any_alive(self) -> bool:
        try:
            return any(map(self._is_alive, self._running()))
        except OSError:  # nobody can see it, so nobody waits for it
            return False

    @in_turn
    def beat(self) -> None:
        """Look after the running jobs, and start the next one if none runs."""
        self.journal.write_rest()
        for job in self._running():
            self._look_after(job)
        if self._closed or self._running():
            return
        now = time.monotonic()
        blocked: set[str] = set()
        for job in self.journal.all():
            if job.state != "waiting" or job.project in blocked:
                continue
            if self.not_before.get(job.id, now) > now:
                blocked.add(job.project)  # in their order, within a project
            elif self._may_begin(job):
                self._start(job)
                return

    def _may_begin(self, job: Job) -> bool:
        first = self.journal.jobs.get(job.after)
        if not job.after or (first and first.state == "done"):
            return True
        if first is None or first.is_over:
            error = DataError("NOT_BEGUN", "the job before it was not done, so this was not begun")
            ended = {"state": "stopped", "ended": _now(), "error": _row_of(error)}
            self._keep(job, **ended, not_begun=True)
        return False

    def _start(self, job: Job) -> None:
        folder = self.journal.folders[job.id]
        for name in (PROGRESS, LOG):
            (folder / name).unlink(missing_ok=True)  # of a try that found the dataset taken
        self._progress.pop(job.id, None)
        job = self._put(job, state="running", begun=_now(), pid=None)
        home = (
            folder.parents[2]
            if (folder.parents[2] / f"{job.project}.toml").is_file()
            else self.root
        )
        try:
            child = job_process.start_job(job.words, home, folder, self.program)
        except OSError as exc:
            self._keep(job, state="failed", ended=_now(), error=_row_of(os_error(exc)))
            return
        self._children[job.id] = child
        self._keep(job, pid=child.pid)

    def _look_after(self, job: Job) -> None:
        child = self._children.get(job.id)
        if self._is_alive(job):
            if job.state == "stopping":
                self._stop(job)
            return
        progress = self._read(job)
        code = progress.code
        if child is None and job.pid is None and not progress.at:
            self._keep(job, state="waiting", begun=None)  # the studio died before it was begun
            return
        if code is None and child is not None:
            code = child.returncode
        self._over(job, code, progress)
        self._children.pop(job.id, None)

    def _over(self, job: Job, code: int | None, progress: Progress) -> None:
        """Write how a job ended. code: None where nobody knows it."""
        wanted, self_said = job.state == "stopping", progress.code is not None
        locked = progress.error is not None and progress.error["code"] == "LOCKED"
        if locked and not wanted:
            self.not_before[job.id] = time.monotonic() + _AGAIN
            assert progress.error
            self._keep(
                job, state="waiting", begun=None, pid=None, held_by=progress.error["sentence"]
            )
            return
        error = progress.error
        if code == 0 or (code == _FAILED_FILES and self_said):  # Python, too, ends with 1
            state = "done"
        elif wanted or code == _INTERRUPTED:
            state = "stopped"
        elif self_said or code is not None:
            state = "failed"
            error = error or _row_of(DataError("ENDED", _ending(code)))
        else:
            state = "interrupted"
        self._stopping.pop(job.id, None)
        self._keep(job, state=state, code=code, error=error, ended=_now(), held_by="")
        self._over_now.append(job.project)

    def _stop(self, job: Job) -> None:
        """Ctrl-C once, and after a while an end."""
        pid = job.pid or self._read(job).pid
        if pid is None:
            return  # it has only just begun
        now, since = time.monotonic(), self._stopping.get(job.id)
        if since is None:
            self._stopping[job.id] = now
            job_process.interrupt(pid)
        elif now - since > self.patience:
            self._stopping[job.id] = now
            job_process.terminate(pid)

    def _put(self, job: Job, **changes: Any) -> Job:
        return self.journal.put(replace(job, **changes))

    def _keep(self, job: Job, **changes: Any) -> Job:
        return self.journal.keep(replace(job, **changes))


def _now() -> float:
    return round(time.time(), 3)


def _row_of(exc: BearsError) -> dict[str, str]:
    return {"code": exc.code, "sentence": exc.sentence}


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        return f"the command was ended by signal {-code}; its last lines are in its log"
    return f"the command ended with exit code {code}; its last lines are in its log"

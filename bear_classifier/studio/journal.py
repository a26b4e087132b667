"""Jobs on the disk: what was requested, and what came of it. A job is there once it is written.

`studio/jobs/ID/` of a project holds `job.json`, `log.txt` (what the command prints) and
`progress.jsonl` (see `runtime.progress_events`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, ParamSpec, Protocol, TypeVar, cast, get_args

from bear_classifier.errors import BearsError
from bear_classifier.runtime.files import write_atomic
from bear_classifier.runtime.terminal import command

JobState = Literal["waiting", "running", "stopping", "done", "failed", "stopped", "interrupted"]
ENDED = ("done", "failed", "stopped", "interrupted")
_KEPT = 200  # ended jobs of a project and kind; of older ones nothing is kept
_FILE = "job.json"


@dataclass(frozen=True)
class Job:
    """One command of a project, as it is written. words: after `bears`; request: a number that a
    page gives each click, so that it counts once; also: those of other clicks that meant the same;
    after: a job that has to be done first; asked,
    begun, ended: seconds since 1970; code: its exit code; error: code and sentence; held_by: who
    holds the dataset that it waits for; was: the job that it goes on with; not_begun: it was
    dropped, because the one before it was not done."""

    id: str
    project: str
    kind: str
    choices: dict[str, Any]
    words: list[str]
    request: str
    asked: float
    after: str = ""
    was: str = ""
    also: tuple[str, ...] = ()
    state: JobState = "waiting"
    begun: float | None = None
    ended: float | None = None
    pid: int | None = None
    code: int | None = None
    error: dict[str, str] | None = None
    held_by: str = ""
    not_begun: bool = False

    @property
    def is_over(self) -> bool:
        return self.state in ENDED

    @property
    def command(self) -> str:
        """The line that does the same in a terminal, in the folder of the project."""
        return command(*self.words)


class _Locked(Protocol):
    lock: threading.RLock


_P = ParamSpec("_P")
_R = TypeVar("_R")


def in_turn(method: Callable[_P, _R]) -> Callable[_P, _R]:
    """Of what has a `lock`: one thread at a time."""

    @functools.wraps(method)
    def alone(*words: _P.args, **named: _P.kwargs) -> _R:
        with cast(_Locked, words[0]).lock:
            return method(*words, **named)

    return alone


@dataclass
class Journal:
    """The jobs of all projects, in the order in which they were requested."""

    jobs: dict[str, Job] = field(default_factory=dict)
    folders: dict[str, Path] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)
    unwritten: set[str] = field(default_factory=set)  # jobs that the disk had no space for

    @in_turn
    def read(self, project: str, folder: Path) -> None:
        """The jobs of a project. folder: `studio/jobs`."""
        for path in sorted(folder.glob(f"*/{_FILE}")) if folder.is_dir() else ():
            if job := _read(path, project):
                self.jobs[job.id], self.folders[job.id] = job, path.parent
        self.jobs = dict(sorted(self.jobs.items()))

    @in_turn
    def forget(self, project: str) -> None:
        """Whose folder was moved."""
        for job in self.of(project):
            self._drop(job)

    def _drop(self, job: Job) -> Path:
        self.unwritten.discard(job.id)
        del self.jobs[job.id]
        return self.folders.pop(job.id)

    @in_turn
    def all(self) -> list[Job]:
        return list(self.jobs.values())

    def of(self, project: str) -> list[Job]:
        return [job for job in self.all() if job.project == project]

    @in_turn
    def put(self, job: Job, folder: Path | None = None) -> Job:
        """Write a job, whole and flushed to the disk, before anybody hears of it. folder:
        `studio/jobs`, of a new one. Raises DataError (DISK_FULL, CANNOT_WRITE)."""
        place = folder / job.id if folder else self.folders[job.id]
        text = json.dumps(dataclasses.asdict(job), indent=1)
        write_atomic(place / _FILE, text.encode())
        self.jobs[job.id], self.folders[job.id] = job, place
        self.unwritten.discard(job.id)
        return job

    @in_turn
    def keep(self, job: Job) -> Job:
        """Take down what has happened to a job. It has happened though the disk is full: then it
        is written later, by `write_rest`, and a later studio sees it from what the job left."""
        self.jobs[job.id] = job
        self.unwritten.add(job.id)
        self.write_rest()
        return job

    @in_turn
    def write_rest(self) -> None:
        """What the disk had no space for."""
        for number in list(self.unwritten):
            with contextlib.suppress(BearsError):
                self.put(self.jobs[number])

    def requested(self, project: str, request: str) -> Job | None:
        """The job of this request, if it came before."""
        jobs = (job for job in self.of(project) if request in (job.request, *job.also))
        return next(jobs, None) if request else None

    @in_turn
    def clear_old(self, project: str, kind: str) -> None:
        over = [job for job in self.of(project) if job.is_over and job.kind == kind]
        for job in over[:-_KEPT]:
            shutil.rmtree(self._drop(job), ignore_errors=True)


def new_id() -> str:
    """Sorted as text, ids are in the order of time."""
    return f"{time.time_ns():016x}-{secrets.token_hex(3)}"


def _read(path: Path, project: str) -> Job | None:
    """None for a folder whose job was never confirmed, or that is none. project: its name now."""
    try:
        row = json.loads(path.read_text(encoding="utf-8"))
        job = Job(**{**row, "also": tuple(row.get("also", ()))})
    except (OSError, ValueError, TypeError):
        return None
    good = isinstance(job.words, list) and isinstance(job.choices, Mapping)
    if not good or job.state not in get_args(JobState) or path.parent.name != job.id:
        return None
    return dataclasses.replace(job, project=project)

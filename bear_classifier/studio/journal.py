"""Jobs on the disk: what was requested, and what came of it. A job is there once it is written.

`studio/jobs/ID/` of a project holds `job.json`, `log.txt` (what the command prints) and
`progress.jsonl` (see `runtime.progress_events`).
"""

from __future__ import annotations

import dataclasses
import json
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from bear_classifier.runtime.files import write_atomic
from bear_classifier.runtime.terminal import command

JobState = Literal["waiting", "running", "stopping", "done", "failed", "stopped", "interrupted"]
ENDED = ("done", "failed", "stopped", "interrupted")
_KEPT = 200  # ended jobs of a project; of older ones nothing is kept
_FILE = "job.json"


@dataclass(frozen=True)
class Job:
    """One command of a project, as it is written. words: after `bears`; request: a number that a
    page gives each click, so that it counts once; also: those of other clicks that meant the same;
    after: a job that has to be done first; asked,
    begun, ended: seconds since 1970; code: its exit code; error: code and sentence; held_by: who
    holds the dataset that it waits for; was: the job that it goes on with."""

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

    @property
    def is_over(self) -> bool:
        return self.state in ENDED

    @property
    def command(self) -> str:
        """The line that does the same in a terminal, in the folder of the project."""
        return command(*self.words)


@dataclass
class Journal:
    """The jobs of all projects, in the order in which they were requested."""

    jobs: dict[str, Job] = field(default_factory=dict)
    folders: dict[str, Path] = field(default_factory=dict)

    def read(self, project: str, folder: Path) -> None:
        """The jobs of a project. folder: `studio/jobs`."""
        for path in sorted(folder.glob(f"*/{_FILE}")) if folder.is_dir() else ():
            if job := _read(path, project):
                self.jobs[job.id], self.folders[job.id] = job, path.parent
        self.jobs = dict(sorted(self.jobs.items()))

    def forget(self, project: str) -> None:
        """Whose folder was moved."""
        for job in list(self.of(project)):
            del self.jobs[job.id], self.folders[job.id]

    def of(self, project: str) -> Iterator[Job]:
        return (job for job in self.jobs.values() if job.project == project)

    def put(self, job: Job, folder: Path | None = None) -> Job:
        """Write a job, whole and flushed to the disk, before anybody hears of it. folder:
        `studio/jobs`, of a new one. Raises DataError (DISK_FULL, CANNOT_WRITE)."""
        place = folder / job.id if folder else self.folders[job.id]
        text = json.dumps(dataclasses.asdict(job), indent=1)
        write_atomic(place / _FILE, text.encode())
        self.jobs[job.id], self.folders[job.id] = job, place
        return job

    def requested(self, project: str, request: str) -> Job | None:
        """The job of this request, if it came before."""
        jobs = (job for job in self.of(project) if request in (job.request, *job.also))
        return next(jobs, None) if request else None

    def clear_old(self, project: str) -> None:
        over = [job for job in self.of(project) if job.is_over]
        for job in over[:-_KEPT]:
            shutil.rmtree(self.folders.pop(job.id), ignore_errors=True)
            del self.jobs[job.id]


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

"""Jobs in trouble: a full disk, a fault of the studio's own, a crash, two pages that click."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from test_jobs import PROGRAM, comes_to, end_all, queue, stored
from waiting import STUCK, until

from bear_classifier.dataset.catalog import Catalog, now
from bear_classifier.dataset.schema import Event, Photo
from bear_classifier.errors import DataError
from bear_classifier.studio import job_process, journal, workspace
from bear_classifier.studio.jobs import Jobs
from bear_classifier.studio.journal import Job
from bear_classifier.studio.projects import Place, make_project
from bear_classifier.studio.workspace import Workspace

__all__ = ["queue"]  # the fixture


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = make_project(tmp_path, "mine", {"a": ["a"], "b": ["b"]})
    os.utime(made.file, (1.0, 1.0))
    return made


def do(place: Place, what: str) -> None:
    (place.home / "do").write_text(what, encoding="utf-8")


@contextmanager
def full_disk() -> Iterator[None]:
    def full(path: Path, data: bytes) -> None:
        raise DataError("DISK_FULL", f"no space left to write {path}")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(journal, "write_atomic", full)
        yield


def test_a_full_disk_keeps_nobody_from_stopping_a_job(queue: Jobs, place: Place) -> None:
    do(place, "wait")
    job = comes_to(queue, queue.submit(place, "train", {}), "running")
    until(lambda: queue.row(queue.get(job.id))["bar"])
    with full_disk():
        assert queue.cancel(job.id).state == "stopping"
        assert comes_to(queue, job, "stopped").code == 130
        assert stored(queue, job)["state"] == "running"
        later = Jobs(place.root, PROGRAM)  # it sees what the job left
        later.beat()
        assert later.get(job.id).state == "stopped"
    queue.beat()
    assert stored(queue, job)["state"] == "stopped"


def test_a_full_disk_keeps_the_studio_from_ending_no_longer_than_its_job(place: Place) -> None:
    do(place, "wait")
    queue = Jobs(place.root, PROGRAM)
    job = queue.submit(place, "train", {})

    async def run() -> None:
        async with queue.working():
            while not queue.row(queue.get(job.id))["bar"]:
                await asyncio.sleep(0.01)
            full.__enter__()

    full = full_disk()
    try:
        asyncio.run(asyncio.wait_for(run(), STUCK))
    finally:
        full.__exit__(None, None, None)
    assert queue.get(job.id).state == "stopped"
    assert not job_process.is_alive(queue.journal.folders[job.id])


def tasks() -> list[str]:
    return [getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()]


def test_a_fault_after_a_job_ends_neither_the_next_one_nor_the_studio(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    do(place, "quick")
    asked: list[str] = []

    def finished(project: str) -> None:
        asked.append(project)
        raise IndexError("list index out of range")

    queue = Jobs(place.root, PROGRAM, finished)
    jobs = [queue.submit(place, kind, {}) for kind in ("learn", "train")]

    async def run() -> None:
        async with queue.working():
            while len(asked) < 2 and "Jobs._work" in tasks():
                await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(run(), STUCK))
    assert [queue.get(job.id).state for job in jobs] == ["done", "done"]
    (said,) = [row.getMessage() for row in caplog.records]  # once
    assert said.startswith("what follows a job failed") and "IndexError" in said


def test_a_fault_of_one_project_keeps_no_other_uploads_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("bad", "mine"):
        make_project(tmp_path, name, {"a": ["a"], "b": ["b"]})
    space = Workspace(tmp_path)
    tried: list[str] = []
    faults = [OSError("the folder of projects is away for a moment")]

    def names(root: Path) -> list[str]:
        if faults:
            raise faults.pop()
        return ["bad", "mine"]

    def take_in(place: Place) -> list[Job]:
        tried.append(place.name)
        if place.name == "bad":
            raise KeyError("a fault")
        return []

    monkeypatch.setattr(workspace, "names", names)
    monkeypatch.setattr(workspace, "_LOOKS", 0.05)
    monkeypatch.setattr(space, "take_in", take_in)

    async def run() -> None:
        looking = asyncio.create_task(space._take_in_rested())
        while len(tried) < 2 and not looking.done():
            await asyncio.sleep(0.01)
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)

    asyncio.run(asyncio.wait_for(run(), STUCK))
    assert tried[:2] == ["bad", "mine"]


def test_jobs_may_come_while_somebody_reads_them(queue: Jobs, place: Place) -> None:
    do(place, "quick")
    queue.submit(place, "learn", {})
    read = []
    for job in queue.journal.of("mine"):
        read.append(job.kind)
        queue.submit(place, "train", {})
    for job in queue.journal.all():
        read.append(job.kind)
        queue.submit(place, "curve", {})
    assert read == ["learn", "learn", "train"]


@pytest.mark.parametrize(("what", "state"), [("crash", "failed"), ("partly", "done")])
def test_python_that_ends_with_1_is_no_command_that_did(
    queue: Jobs, place: Place, what: str, state: str
) -> None:
    do(place, what)
    ended = comes_to(queue, queue.submit(place, "train", {}), "failed", "done")
    assert (ended.state, ended.code) == (state, 1)
    assert ended.error is None or ended.error["code"] == "ENDED"


def test_a_job_whose_folder_was_deleted_is_over(place: Place) -> None:
    assert not job_process.is_alive(place.own / "jobs" / "none")


@pytest.mark.parametrize("nested", [True, False], ids=["a folder each", "beside each other"])
def test_what_a_killed_studio_left_half_written_is_removed(tmp_path: Path, nested: bool) -> None:
    """Also of a project whose file is damaged; never what somebody else may be writing."""
    home = tmp_path / "mine" if nested else tmp_path
    own = tmp_path / ("mine/studio" if nested else "studio/mine")
    left = [
        tmp_path / ".studio" / "address",
        tmp_path / ".delete-mine.json",
        own / "jobs" / "1-a" / "job.json",
        own / "uploads" / "photos" / "a" / "0.jpeg",
        own / "results" / "answers" / "1.json",
        home / "mine.toml",
    ]
    others = [own / "results" / "static" / "index.html", home / "data" / "mine" / "lock.json"]
    for n, path in enumerate([*left, *others, home / "mine.toml"]):
        partial = path.with_name(f".{path.name}.{n}-7.partial")
        partial.parent.mkdir(parents=True, exist_ok=True)
        partial.touch()
        if n in (1, 5):
            os.utime(partial, (1.0, 1.0))
    (home / "mine.toml").write_text("name = ", encoding="utf-8")

    async def run() -> None:
        async with Workspace(tmp_path).working():
            pass

    asyncio.run(asyncio.wait_for(run(), STUCK))
    there = {path.name for path in tmp_path.rglob("*.partial")}
    assert there == {".index.html.6-7.partial", ".lock.json.7-7.partial", ".mine.toml.8-7.partial"}


def test_a_half_written_file_of_somebody_else_keeps_no_studio_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    (tmp_path / ".studio").mkdir()
    for path in (tmp_path / ".a.1-1.partial", tmp_path / ".studio" / ".b.1-1.partial"):
        path.touch()
        os.utime(path, (1.0, 1.0))
    monkeypatch.setattr(Path, "unlink", refused)
    Workspace(tmp_path)._tidy()
    assert (tmp_path / ".a.1-1.partial").exists()


# -- what is shown -----------------------------------------------------------------------------


def test_many_jobs_of_a_kind_hide_no_training(queue: Jobs, place: Place) -> None:
    do(place, "quick")
    ended = [comes_to(queue, queue.submit(place, "train", {}, "1"), "done")]
    ended += [queue.cancel(queue.submit(place, "train", {}, request).id) for request in "23"]
    many = [queue.cancel(queue.submit(place, "search", {"per_class": n}).id) for n in range(1, 13)]
    wanted = [ended[0], ended[2], *many[-10:]]
    assert [row["id"] for row in queue.shown("mine")] == [job.id for job in wanted]


def test_every_job_that_is_shown_changes_what_is_sent(queue: Jobs, place: Place) -> None:
    do(place, "quick")
    jobs = [queue.submit(place, "search", {"per_class": n}) for n in range(1, 33)]
    before = queue.token("mine")
    queue.cancel(jobs[0].id)
    assert queue.token("mine") != before


# -- two pages ---------------------------------------------------------------------------------


@pytest.fixture
def space(place: Place) -> Iterator[Workspace]:
    made = Workspace(place.root)
    made.jobs.program = PROGRAM
    yield made
    end_all(made.jobs, place)


def soon() -> float:
    return time.time() + 1.0  # clocks of file systems are coarse


def decided(space: Workspace, place: Place, photo: Photo) -> None:
    with Catalog(place.data) as catalog, catalog.transaction():
        catalog.put_photos([photo])
        catalog.add_event(Event(0, now(), "me", "keep", photo.sha256, "", "", "", request="1"))


def test_a_training_that_runs_is_the_one_that_another_page_asks_for(
    space: Workspace, place: Place
) -> None:
    do(place, "wait")
    first = space.request(place, "learn", {}, "1", "")
    second = space.request(place, "train", {}, "2", first.id)
    comes_to(space.jobs, first, "running")
    assert space.request(place, "learn", {}, "3", "").id == first.id
    assert space.request(place, "train", {}, "4", first.id).id == second.id
    (place.home / "go").touch()
    comes_to(space.jobs, first, "done")
    for click, job in (("3", first), ("4", second)):  # their answers were lost
        assert space.request(place, job.kind, {}, click, "").id == job.id
    (place.home / "go").unlink()
    comes_to(space.jobs, second, "running")
    assert space.request(place, "train", {}, "5", "").id == second.id
    assert space.request(place, "train", {}, "6", space.jobs.submit(place, "learn", {}).id).after


@pytest.mark.parametrize(
    "change",
    [
        lambda space, place, photo: os.utime(place.file, (soon(), soon())),
        lambda space, place, photo: space.uploads.at.update(mine=soon()),
        lambda space, place, photo: space.jobs.submit(place, "draw", {}),
        decided,
    ],
    ids=["settings", "photos", "photos that will come", "decisions"],
)
def test_a_training_of_what_came_since_is_another_one(
    space: Workspace,
    place: Place,
    make: Callable[..., Photo],
    change: Callable[[Workspace, Place, Photo], object],
) -> None:
    do(place, "wait")
    first = comes_to(space.jobs, space.request(place, "train", {}, "1", ""), "running")
    change(space, place, make(1))
    second = space.request(place, "train", {}, "2", "")
    assert second.id != first.id
    assert space.request(place, "train", {}, "3", "").id == second.id

"""Jobs: one at a time, stopped as by Ctrl-C, found again by a later studio, never begun twice."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from test_results import LABELS, after_training
from waiting import STUCK, until

from bear_classifier.dataset.schema import Photo
from bear_classifier.errors import ConfigError, DataError
from bear_classifier.studio import job_process, journal
from bear_classifier.studio.jobs import Jobs
from bear_classifier.studio.journal import Job
from bear_classifier.studio.projects import Place, make_project
from bear_classifier.studio.results import answers_folder, kept_results
from bear_classifier.studio.workspace import Workspace
from bear_classifier.web.guard import Refused

PROGRAM = (sys.executable, str(Path(__file__).with_name("program.py")))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return make_project(tmp_path, "mine", {"a": ["a"], "b": ["b"]})


@pytest.fixture
def do(place: Place) -> Callable[[str], None]:
    return lambda what: (place.home / "do").write_text(what, encoding="utf-8") and None


@pytest.fixture
def queue(place: Place) -> Iterator[Jobs]:
    made = Jobs(place.root, PROGRAM)
    yield made
    end_all(made, place)


def end_all(queue: Jobs, place: Place) -> None:
    (place.home / "go").touch()
    for job in queue.journal.all():
        queue.cancel(job.id)
    queue.patience = 0.0
    until(lambda: queue.beat() or all(job.is_over for job in queue.journal.all()))


def comes_to(queue: Jobs, job: Job, *states: str) -> Job:
    return until(lambda: queue.beat() or (queue.get(job.id).state in states and queue.get(job.id)))


def stored(queue: Jobs, job: Job) -> dict[str, Any]:
    return json.loads((queue.journal.folders[job.id] / "job.json").read_text(encoding="utf-8"))


def test_a_job_is_on_the_disk_before_anybody_hears_of_it(queue: Jobs, place: Place, do) -> None:
    do("quick")
    job = queue.submit(place, "report", {}, "click 1")
    assert stored(queue, job)["state"] == "waiting"
    assert Jobs(place.root, PROGRAM).get(job.id) == job
    done = comes_to(queue, job, "done")
    assert (done.code, done.error) == (0, None)
    row = queue.row(done)
    assert row["log"] == ["doing quick: report --project mine.toml"]
    assert row["command"] == "bears report --project mine.toml"
    assert [(s["name"], s["state"]) for s in row["stages"]] == [("probe", "done")]
    assert Jobs(place.root, PROGRAM).get(job.id) == done


def test_the_answers_of_a_training_are_kept_though_no_page_is_open(
    tmp_path: Path, make: Callable[..., Photo]
) -> None:
    """The next training in the queue replaces them."""
    place = make_project(tmp_path, "mine", {label: [label] for label in LABELS})
    (place.home / "do").write_text("quick", encoding="utf-8")
    after_training(place.data, make).close()
    space = Workspace(tmp_path)
    space.jobs.program = PROGRAM
    space.jobs.submit(place, "report", {})

    async def wait() -> None:
        async with space.jobs.working():
            while not kept_results(answers_folder(place.own)):
                await asyncio.sleep(0.05)

    asyncio.run(asyncio.wait_for(wait(), STUCK))


def test_who_hears_that_a_job_is_over_may_ask_for_jobs(place: Place, do) -> None:
    do("quick")
    states: list[str] = []

    def finished(project: str) -> None:
        asking = threading.Thread(target=lambda: states.append(made.shown(project)[0]["state"]))
        asking.start()
        asking.join(STUCK)

    made = Jobs(place.root, PROGRAM, finished)
    made.submit(place, "report", {})

    async def wait() -> None:
        async with made.working():
            while not states:
                await asyncio.sleep(0.05)

    asyncio.run(asyncio.wait_for(wait(), STUCK))
    assert states == ["done"]


def test_the_same_click_is_one_job_and_so_are_the_same_words_that_wait(
    queue: Jobs, place: Place, do
) -> None:
    do("wait")
    first = queue.submit(place, "train", {}, "click 1")
    assert queue.submit(place, "train", {}, "click 1") == first
    assert queue.submit(place, "train", {}, "click of another tab").id == first.id
    running = comes_to(queue, first, "running")
    assert queue.submit(place, "train", {}, "click 1") == running
    again = Jobs(place.root, PROGRAM)  # of requests whose answers were lost with the studio
    for click in ("click 1", "click of another tab"):
        assert again.submit(place, "train", {}, click).id == first.id


def test_one_at_a_time_in_the_order_of_the_requests(queue: Jobs, place: Place, do) -> None:
    do("wait")
    other = make_project(place.root, "other", {"a": ["a"], "b": ["b"]})
    (other.home / "do").write_text("quick", encoding="utf-8")
    first, second = queue.submit(place, "learn", {}), queue.submit(place, "train", {})
    third = queue.submit(other, "train", {})
    comes_to(queue, first, "running")
    assert [queue.get(job.id).state for job in (second, third)] == ["waiting", "waiting"]
    (place.home / "go").touch()
    for job in (first, second, third):
        comes_to(queue, job, "done")
    assert queue.get(first.id).ended <= queue.get(second.id).begun
    assert queue.get(second.id).ended <= queue.get(third.id).begun


def test_a_job_waits_for_the_one_before_it_and_is_dropped_with_it(
    queue: Jobs, place: Place, do
) -> None:
    do("fail")
    first = queue.submit(place, "learn", {})
    second = queue.submit(place, "train", {}, after=first.id)
    assert comes_to(queue, first, "failed").error == {
        "code": "TOO_FEW", "sentence": "too few photos"
    }  # fmt: skip
    dropped = comes_to(queue, second, "stopped")
    assert (dropped.error["code"], dropped.not_begun) == ("NOT_BEGUN", True)
    rows = queue.shown("mine")
    assert [(row["not_begun"], row["resumable"]) for row in rows] == [(False, True), (True, False)]
    with pytest.raises(ConfigError, match="^BAD_JOB"):
        queue.submit(place, "train", {}, after="none")


def test_ctrl_c_stops_it_and_the_same_command_goes_on(queue: Jobs, place: Place, do) -> None:
    do("wait")
    job = comes_to(queue, queue.submit(place, "train", {}), "running")
    until(lambda: queue.row(queue.get(job.id))["bar"])
    assert queue.cancel(job.id).state == "stopping"
    with pytest.raises(Refused, match="^NOT_OVER"):
        queue.resume(job.id, place, "")
    stopped = comes_to(queue, job, "stopped")
    assert (stopped.code, queue.row(stopped)["resumable"]) == (130, True)
    assert queue.cancel(job.id) == stopped
    do("quick")
    again = queue.resume(job.id, place, "click 2")
    assert (again.words, again.was) == (job.words, job.id)
    assert queue.resume(job.id, place, "click 2") == again
    assert not queue.row(stopped)["resumable"]
    comes_to(queue, again, "done")


def test_a_job_that_hears_nothing_is_ended(queue: Jobs, place: Place, do) -> None:
    do("deaf")
    job = comes_to(queue, queue.submit(place, "train", {}), "running")
    until(lambda: (place.home / "deaf").exists())
    queue.cancel(job.id)
    queue.beat()
    assert queue.get(job.id).state == "stopping"
    queue.patience = 0.0
    assert comes_to(queue, job, "stopped").code < 0


def test_a_dataset_that_is_taken_is_waited_for(queue: Jobs, place: Place, do) -> None:
    do("locked")
    job = queue.submit(place, "train", {})
    held = until(lambda: queue.beat() or (queue.get(job.id).held_by and queue.get(job.id)))
    assert (held.state, held.held_by) == ("waiting", "Another run (pid 7) is running")
    (place.home / "free").touch()
    queue.beat()
    assert queue.get(job.id).state == "waiting"  # for a moment
    queue.not_before.clear()
    assert comes_to(queue, job, "done").held_by == ""


def test_a_command_that_crashes_says_so(queue: Jobs, place: Place, do) -> None:
    do("die")
    failed = comes_to(queue, queue.submit(place, "train", {}), "failed")
    assert "signal 9" in failed.error["sentence"]
    assert queue.row(failed)["resumable"]


def test_a_later_studio_finds_what_an_earlier_one_began(place: Place, do) -> None:
    do("wait")
    killed = Jobs(place.root, PROGRAM)
    job = comes_to(killed, killed.submit(place, "train", {}), "running")
    until(lambda: killed.row(killed.get(job.id))["bar"])
    second = killed.submit(place, "learn", {})
    later = Jobs(place.root, PROGRAM)
    for _ in range(3):
        later.beat()
    assert later.get(job.id).state == "running"
    assert later.get(second.id).state == "waiting"
    assert later.cancel(job.id).state == "stopping"
    assert comes_to(later, job, "stopped").code == 130  # nobody is its parent any more
    (place.home / "go").touch()
    comes_to(later, second, "done")


def test_what_died_unseen_is_interrupted_and_what_never_began_waits(place: Place, do) -> None:
    do("quick")
    queue = Jobs(place.root, PROGRAM)
    job, other = queue.submit(place, "train", {}), queue.submit(place, "learn", {})
    folder = queue.journal.folders
    for one, pid in ((job, 4_000_000), (other, None)):
        row = stored(queue, one) | {"state": "running", "begun": 1.0, "pid": pid}
        (folder[one.id] / "job.json").write_text(json.dumps(row), encoding="utf-8")
    later = Jobs(place.root, PROGRAM)
    later.beat()
    assert later.get(job.id).state == "interrupted"
    assert later.row(later.get(job.id))["resumable"]
    comes_to(later, other, "done")


def test_no_job_is_begun_twice(place: Place, do) -> None:
    do("wait")
    queue = Jobs(place.root, PROGRAM)
    job = comes_to(queue, queue.submit(place, "train", {}), "running")
    folder = queue.journal.folders[job.id]
    with pytest.raises(BlockingIOError):
        job_process.start_job(["train"], place.home, folder, PROGRAM)
    assert job_process.is_alive(folder)
    (place.home / "go").touch()
    comes_to(queue, job, "done")
    assert not job_process.is_alive(folder)


def test_a_full_disk_loses_no_job_and_begins_none(
    queue: Jobs, place: Place, do, monkeypatch: pytest.MonkeyPatch
) -> None:
    do("quick")
    job = queue.submit(place, "train", {})

    def full(path: Path, data: bytes) -> None:
        raise DataError("DISK_FULL", f"no space left to write {path}")

    with monkeypatch.context() as patched:
        patched.setattr(journal, "write_atomic", full)
        with pytest.raises(DataError, match="^DISK_FULL"):
            queue.submit(place, "learn", {})
        with pytest.raises(DataError, match="^DISK_FULL"):
            queue.beat()
        assert [one.id for one in queue.journal.jobs.values()] == [job.id]
        assert queue.get(job.id).state == "waiting"
    comes_to(queue, job, "done")


def test_uploads_that_a_job_is_reading_are_not_taken_in_twice(place: Place, do) -> None:
    do("wait")
    space = Workspace(place.root)
    space.jobs.program = PROGRAM
    stored = place.own / "uploads" / "photos" / "a" / f"{'0' * 64}.jpeg"
    stored.parent.mkdir(parents=True)
    stored.touch()
    space.uploads.at["mine"] = time.time()
    (job,) = space.take_in(place)
    assert space.take_in(place) == [job]
    comes_to(space.jobs, job, "running")
    assert space.take_in(place) == []
    space.uploads.at["mine"] = time.time() + 1
    (second,) = space.take_in(place)
    (place.home / "go").touch()
    for one in (job, second):
        comes_to(space.jobs, one, "done")


def test_folders_that_hold_no_job_are_passed_over(place: Place) -> None:
    folder = place.own / "jobs"
    for name, text in (("cut", ""), ("odd", '{"id": 1}'), ("list", "[]")):
        (folder / name).mkdir(parents=True)
        (folder / name / "job.json").write_text(text, encoding="utf-8")
    (folder / "empty").mkdir()
    assert Jobs(place.root, PROGRAM).journal.jobs == {}
    with pytest.raises(Refused, match="^NO_JOB"):
        Jobs(place.root, PROGRAM).get("empty")


def test_old_jobs_are_cleared(
    queue: Jobs, place: Place, do, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "_KEPT", 2)
    """Each kind by itself: many of one kind take the place of no other."""
    do("quick")
    ended = []
    for n, kind in enumerate(["train", *["report"] * 4]):
        job = queue.submit(place, kind, {}, str(n))
        queue.cancel(job.id)
        ended.append(job.id)
    kept = [ended[0], *ended[2:]]
    assert list(queue.journal.jobs) == kept
    assert sorted(path.name for path in (place.own / "jobs").iterdir()) == kept

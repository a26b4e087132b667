"""Uploads are taken in by jobs: each once by itself, and again when somebody asks for it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from corpus import drawn, saved
from fastapi.testclient import TestClient
from waiting import until

from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import Source
from bear_classifier.studio import uploads
from bear_classifier.studio.app import make_app
from bear_classifier.studio.journal import Job
from bear_classifier.studio.projects import Place, make_project
from bear_classifier.studio.workspace import Workspace

PROGRAM = (sys.executable, str(Path(__file__).with_name("program.py")))
ZIP, OTHER, PHOTO = f"{'0' * 64}.zip", f"{'1' * 64}.zip", f"{'2' * 64}.jpeg"
OURS = {"X-Bears": "1"}
BYTES = {**OURS, "Content-Type": "application/octet-stream"}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return make_project(tmp_path, "mine", {"a": ["a"], "b": ["b"]})


@pytest.fixture
def space(place: Place) -> Iterator[Workspace]:
    """Whose uploads are at rest."""
    made = Workspace(place.root)
    made.jobs.program = PROGRAM
    yield made
    made.release(place.name)


@pytest.fixture
def put(place: Place, space: Workspace) -> Callable[..., None]:
    """Upload archives and photos by their names; later: seconds after now."""

    def upload(*names: str, later: float = -1) -> None:
        for name in names:
            below = "zips" if name.endswith("zip") else "photos/a"
            path = place.own / "uploads" / below / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            now = path.stat().st_mtime
            os.utime(path, (now + later, now + later))
            space.uploads.came(place)

    return upload


def ended(space: Workspace, place: Place, how: str) -> Job:
    """The job of the uploads that wait, once it is over."""
    (place.home / "do").write_text("fail" if how == "failed" else "quick", encoding="utf-8")
    (job,) = space.take_in(place)
    space._requested[place.name] = space.uploads.stored[place.name]
    if how == "stopped":
        space.jobs.cancel(job.id)
    return until(
        lambda: space.jobs.beat() or (space.jobs.get(job.id).is_over and space.jobs.get(job.id))
    )


def counts(space: Workspace, place: Place) -> tuple[int, int]:
    photos = space.state(place)["photos"]
    return photos["uploads_waiting"], photos["uploads_left"]


@pytest.mark.parametrize(("how", "by_itself"), [("done", 0), ("failed", 0), ("stopped", 1)])
def test_an_archive_whose_job_ended_is_tried_again(
    space: Workspace, place: Place, put: Callable[..., None], how: str, by_itself: int
) -> None:
    """One that failed by nobody but who uploads or asks for it again."""
    put(ZIP)
    assert counts(space, place) == (1, 0)  # at rest it will be looked at
    job = ended(space, place, how)
    assert job.state == how
    assert counts(space, place) == (1, 1)
    jobs = space.take_in(place)
    assert len(jobs) == by_itself
    (again,) = jobs or space.take_in(place, again=True)
    assert again.choices == job.choices and not again.is_over
    assert counts(space, place) == (1, 0)
    assert space.take_in(place, again=True) == []  # it waits already
    space.jobs.cancel(again.id)


@pytest.mark.parametrize("how", ["done", "failed"])
def test_an_archive_that_comes_again_is_taken_in_again(
    space: Workspace, place: Place, put: Callable[..., None], how: str
) -> None:
    put(ZIP)
    ended(space, place, how)
    put(PHOTO)
    assert [job.kind for job in space.take_in(place)] == ["take-in"]
    put(ZIP, later=9)
    assert counts(space, place) == (2, 0)
    assert {job.kind for job in space.take_in(place)} == {"take-in", "take-in-zip"}
    before = space.token(place)
    space._requested[place.name] = 9
    assert space.token(place) != before


def test_uploads_that_nothing_takes_in_are_told_from_those_on_their_way(
    space: Workspace, place: Place, put: Callable[..., None]
) -> None:
    put(ZIP)
    ended(space, place, "failed")
    put(OTHER, PHOTO)
    assert counts(space, place) == (3, 1)
    space.take_in(place)
    space._requested[place.name] = space.uploads.stored[place.name]
    assert counts(space, place) == (3, 1)
    for job in space.jobs.busy(place.name):
        space.jobs.cancel(job.id)
    assert counts(space, place) == (3, 3)


def test_an_upload_that_is_being_taken_in_counts_once(
    space: Workspace, place: Place, put: Callable[..., None]
) -> None:
    put(PHOTO)
    origin = str(place.own / "uploads" / "photos" / "a" / PHOTO)
    with Catalog(place.data) as catalog, catalog.transaction():
        catalog.put_sources([Source(origin, "a", "folder"), Source("/own/1.jpeg", "a", "folder")])
    photos = space.state(place)["photos"]
    assert (photos["uploads_waiting"], photos["by_class"]["a"]["waiting"]) == (1, 2)
    origin = origin.replace("/", "\\")  # as Windows has them
    with Catalog(place.data) as catalog, catalog.transaction():
        catalog.put_sources([Source(origin, "a", "folder")])
    assert space.state(place)["photos"]["by_class"]["a"]["waiting"] == 2


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setattr(uploads, "RESTED", 0.1)
    with TestClient(make_app(tmp_path), "http://localhost", headers=OURS) as opened:
        yield opened


@pytest.mark.long
def test_photos_of_a_class_that_was_misspelt_come_to_the_right_one(page: TestClient) -> None:
    page.post("/api/projects", json={"name": "mine", "classes": ["grizly", "black", "teddy"]})

    def photos(label: str) -> dict[str, Any]:
        return page.get("/api/projects/mine").json()["photos"]["by_class"][label]

    def send(label: str) -> str:
        data, to = saved(drawn(seed=1), "JPEG"), f"/api/projects/mine/photos?label={label}"
        return page.post(to, content=data, headers=BYTES).json()["outcome"]

    assert send("grizly") == "stored"
    until(lambda: photos("grizly")["usable"] == 1)
    for change in ({"remove": "grizly"}, {"add": "grizzly"}):
        assert page.post("/api/projects/mine/classes", json=change).status_code == 200
    assert send("grizzly") == "stored"
    until(lambda: photos("grizzly")["usable"] == 1)


def test_the_page_asks_for_what_is_left(page: TestClient) -> None:
    page.post("/api/projects", json={"name": "mine", "classes": ["a", "b"]})
    assert page.post("/api/projects/mine/take-in", json={}).json() == {"ids": []}
    workspace = page.app.state.workspace  # type: ignore[attr-defined]
    workspace.jobs._closed = True  # nothing begins
    place = workspace.place("mine")
    (place.own / "uploads" / "zips").mkdir(parents=True)
    (place.own / "uploads" / "zips" / ZIP).touch()
    answer = page.post("/api/projects/mine/take-in", json={})
    assert (answer.status_code, len(answer.json()["ids"])) == (202, 1)
    assert page.post("/api/projects/none/take-in", json={}).status_code == 404

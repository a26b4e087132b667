"""The studio's API: projects, uploads, jobs, and the state as it comes to every open page."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from corpus import drawn, saved
from fastapi.testclient import TestClient
from waiting import until

from bear_classifier.config import project_file
from bear_classifier.dataset.backups import CATALOG
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.lock import hold
from bear_classifier.studio import jobs, uploads, workspace
from bear_classifier.studio.app import make_app
from bear_classifier.studio.events import Channel
from bear_classifier.studio.projects import make_project
from bear_classifier.studio.workspace import Workspace

OURS = {"X-Bears": "1"}
BYTES = {**OURS, "Content-Type": "application/octet-stream"}


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setattr(jobs, "_AGAIN", 0.1)
    monkeypatch.setattr(uploads, "RESTED", 0.1)
    with TestClient(make_app(tmp_path), "http://localhost", headers=OURS) as opened:
        yield opened


def new(page: TestClient, name: str = "mine") -> str:
    asked = {"name": name, "classes": ["a", "b"]}
    return page.post("/api/projects", json=asked).json()["id"]


def photo(seed: int) -> bytes:
    return saved(drawn(seed=seed), "JPEG")


def send(page: TestClient, label: str, data: bytes) -> Any:
    return page.post(f"/api/projects/mine/photos?label={label}", content=data, headers=BYTES)


def state(page: TestClient) -> dict[str, Any]:
    return page.get("/api/projects/mine").json()


def test_projects_are_those_of_the_command_line(page: TestClient, tmp_path: Path) -> None:
    assert new(page) == "mine"
    text = (tmp_path / "mine" / "mine.toml").read_text(encoding="utf-8")
    assert 'a = ["a"]' in text
    (tmp_path / "loose.toml").write_text(text.replace('"mine"', '"loose"'), encoding="utf-8")
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "odd.toml").write_text("nonsense", encoding="utf-8")
    listed = page.get("/api/projects").json()["projects"]
    assert [row["id"] for row in listed] == ["loose", "mine", "odd"]
    assert "is not valid TOML" in listed[2]["fault"]
    assert page.get("/api/projects/odd").json()["error"]["code"] == "BAD_TOML"


@pytest.mark.parametrize(
    ("asked", "status", "code"),
    [
        ({"name": "mine", "classes": ["a", "b"]}, 409, "EXISTS"),
        ({"name": "data", "classes": ["a", "b"]}, 409, "EXISTS"),
        ({"name": "../x", "classes": ["a", "b"]}, 400, "BAD_NAME"),
        ({"name": "x", "classes": ["a"]}, 400, "TOO_FEW_CLASSES"),
        ({"name": "x", "classes": ["a", "../b"]}, 400, "BAD_CLASS"),
        ({"name": "x"}, 400, "BAD_REQUEST"),
        ({"name": "x", "begin": "cats"}, 400, "BAD_REQUEST"),
    ],
)
def test_what_makes_no_project(
    page: TestClient, tmp_path: Path, asked: dict[str, Any], status: int, code: str
) -> None:
    new(page)
    answer = page.post("/api/projects", json=asked)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine"]


def test_one_may_begin_with_the_bears(page: TestClient) -> None:
    made = [page.post("/api/projects", json={"begin": "bears"}).json()["id"] for _ in range(2)]
    assert made == ["bears", "bears2"]
    assert page.get("/api/projects/bears").json()["labels"] == ["grizzly", "black", "teddy"]


@pytest.mark.long
def test_one_may_begin_with_drawings(page: TestClient) -> None:
    """Without a photo and without a network; what they are worth is said from then on."""
    name = page.post("/api/projects", json={"begin": "drawn"}).json()["id"]
    assert name == "drawn-bears"
    file = Path(page.get(f"/api/projects/{name}").json()["folder"]) / f"{name}.toml"
    text = file.read_text(encoding="utf-8")
    assert "per_class = 220" in text
    file.write_text(text.replace("per_class = 220", "per_class = 20"), encoding="utf-8")
    answer = page.post(f"/api/projects/{name}/jobs", json={"kind": "draw"})
    assert answer.status_code == 202, answer.text
    state = until(
        lambda: (
            (now := page.get(f"/api/projects/{name}").json())["jobs"][0]["state"] == "done" and now
        )
    )
    assert state["photos"]["usable"] >= 40
    (said,) = [row for row in state["advice"] if "drawings that code made" in row["sentence"]]
    assert (said["step"], said["level"]) == ("photos", "info")
    config = project_file.read_project(file)
    starter = project_file.read_project(project_file.STARTER)
    assert (config.learn, config.train) == (starter.learn, starter.train)
    assert config.search.source == ""  # what it has is its own; nothing is drawn anew


def test_uploads_are_taken_in_and_shown(page: TestClient) -> None:
    new(page)
    pictures = [photo(seed) for seed in range(3)]
    for number, data in enumerate(pictures):
        answer = send(page, "ab"[number % 2], data)
        assert (answer.status_code, answer.json()["outcome"]) == (201, "stored")
    assert send(page, "a", b"no photo").json()["error"]["code"] == "NOT_AN_IMAGE"
    assert state(page)["photos"]["uploads_waiting"] in (3, 0)
    taken = until(lambda: (now := state(page))["photos"]["usable"] == 3 and now)
    assert taken["photos"]["by_class"]["a"]["usable"] == 2
    until(lambda: [job["state"] for job in state(page)["jobs"]] == ["done"])
    assert state(page)["photos"]["uploads_waiting"] == 0
    rows = page.get("/api/projects/mine/photos?label=a").json()
    assert rows["total"] == 2
    small = page.get(f"/api/projects/mine/photo/{rows['rows'][0]['sha256']}?size=160")
    assert (small.status_code, small.headers["content-type"]) == (200, "image/jpeg")
    assert page.get(f"/api/projects/mine/photo/{'0' * 64}").status_code == 404
    (line,) = page.get("/api/projects/mine/commands").json()
    assert line["command"].startswith("bears run --project mine.toml --source folder:")


def test_a_lock_of_the_command_line_is_waited_for(page: TestClient, tmp_path: Path) -> None:
    new(page)
    send(page, "a", photo(1))
    with hold(tmp_path / "mine" / "data" / "mine", "run"):
        held = until(lambda: next((j for j in state(page)["jobs"] if j["held_by"]), None))
        assert held["state"] == "waiting"
        assert "Another run (pid" in held["held_by"]
    until(lambda: state(page)["photos"]["usable"] == 1)


def test_jobs_by_the_api(page: TestClient) -> None:
    new(page)
    asked = {"kind": "report", "request": "click"}
    answers = [page.post("/api/projects/mine/jobs", json=asked) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json() == answers[1].json()
    failed = until(lambda: next((j for j in state(page)["jobs"] if j["state"] == "failed"), None))
    assert failed["error"]["code"] == "NO_DATA"
    assert "there is no dataset" in failed["error"]["sentence"]
    again = page.post(f"/api/jobs/{failed['id']}/resume", json={"request": "second"})
    assert again.status_code == 202
    stopped = page.post(f"/api/jobs/{again.json()['id']}/cancel", json={})
    assert stopped.json()["state"] in ("stopped", "stopping", "failed")
    assert page.post("/api/jobs/none/cancel", json={}).status_code == 404
    for wrong in ({"kind": "serve"}, {}, {"kind": ["run"]}, {"kind": "train", "after": "x"}):
        assert page.post("/api/projects/mine/jobs", json=wrong).status_code == 400
    assert page.post("/api/projects/none/jobs", json=asked).status_code == 404


def test_every_page_hears_of_every_change(tmp_path: Path) -> None:
    """Two tabs, of which one changes something."""
    space = Workspace(tmp_path)
    page = TestClient(make_app(tmp_path), "http://localhost", headers=OURS)
    new(page)

    async def listen() -> list[Any]:
        channel = Channel(space, "mine")
        channel.pages = 2
        watching = asyncio.create_task(channel.watch())
        first = await asyncio.gather(channel.after(0), channel.after(0))
        place = space.place("mine")
        job = await asyncio.to_thread(space.jobs.submit, place, "report", {})
        second = await asyncio.gather(*(channel.after(number) for number, _ in first))
        space.closing.set()
        ended = await channel.after(second[0][0])
        channel.pages = 0
        await watching
        return [first, second, ended, job.id]

    first, second, ended, job = asyncio.run(listen())
    assert first[0] == first[1] and second[0] == second[1]
    lines = [dict(line.split(": ", 1) for line in text.split("\n") if line)
             for ((_, text), _) in (first, second)]  # fmt: skip
    assert [line["event"] for line in lines] == ["state", "state"]
    before, after = (json.loads(line["data"]) for line in lines)
    assert [row["id"] for row in after["jobs"]] == [job]
    assert {**before, "jobs": after["jobs"], "steps": after["steps"]} == after
    assert ended == (2, "event: ping\ndata: \n\n")


def test_a_look_at_the_projects_changes_nothing_and_keeps_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace, "_OPEN", 2)
    monkeypatch.setattr(workspace, "_LOOKS", 0.05)
    monkeypatch.setattr(Workspace, "take_in", lambda space, place: [])  # which looks, too
    logs = []
    for name in ("one", "two", "three"):
        place = make_project(tmp_path, name, {"a": ["a"], "b": ["b"]})
        Catalog(place.data).close()
        for path in (place.file, place.data / CATALOG):
            os.utime(path, (1_000.0, 1_000.0))
        logs.append(place.data / f"{CATALOG}-wal")  # is there while the catalog is open
    with TestClient(make_app(tmp_path), "http://localhost", headers=OURS) as page:
        for _ in range(2):
            listed = page.get("/api/projects").json()["projects"]
            assert [row["changed"] for row in listed] == [1_000.0] * 3
            assert sum(log.exists() for log in logs) == 2
        monkeypatch.setattr(workspace, "_IDLE", 0.0)
        until(lambda: not any(log.exists() for log in logs))
        assert page.get("/api/projects/one").status_code == 200


def test_an_archive_of_a_killed_studio_is_removed(tmp_path: Path) -> None:
    left = tmp_path / ".studio" / "zips" / f"{'0' * 64}.zip"
    left.parent.mkdir(parents=True)
    left.touch()
    with TestClient(make_app(tmp_path), "http://localhost", headers=OURS):
        assert not left.exists()


def test_requests_at_once_are_all_kept(page: TestClient) -> None:
    new(page)
    answers = []

    def click(number: int) -> None:
        asked = {"kind": "report", "request": f"click {number // 2}"}
        answers.append(page.post("/api/projects/mine/jobs", json=asked).json()["id"])

    threads = [threading.Thread(target=click, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    known = {job["id"] for job in state(page)["jobs"]}
    assert len(answers) == 8 and set(answers) <= known
    assert len(set(answers)) <= 4

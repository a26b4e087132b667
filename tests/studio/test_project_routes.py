"""Projects by their routes: begun from an archive, renamed, deleted, restored, taken away."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio
import pytest
from corpus import drawn, saved
from fastapi.testclient import TestClient
from places import Fill, with_photos

from bear_classifier.cli import main
from bear_classifier.config.project_file import read_project
from bear_classifier.dataset import decisions
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.studio.app import make_app
from bear_classifier.studio.projects import make_project, place_of
from bear_classifier.web.guard import Refused

PAGE = {"X-Bears": "1"}
CLASSES = {"red": ["red fox"], "blue": ["blue fox"]}


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    """Without its lifespan: no job begins by itself."""
    with TestClient(make_app(tmp_path), base_url="http://localhost", headers=PAGE) as client:
        client.app.state.workspace.jobs._closed = True  # type: ignore[attr-defined]
        yield client


def archive(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        for n, name in enumerate(names):
            packed.writestr(name, saved(drawn(seed=n), "PNG"))
    return file.getvalue()


def test_renamed_deleted_and_restored(client: TestClient, tmp_path: Path) -> None:
    make_project(tmp_path, "old", CLASSES)
    assert client.post("/api/projects/old/rename", json={"name": "new"}).json() == {"id": "new"}
    assert client.get("/api/projects/old").status_code == 404
    assert client.get("/api/projects/new").json()["title"] == "new"
    number = client.post("/api/projects/new/delete", json={}).json()["bin"]
    listed = client.get("/api/projects").json()
    assert listed["projects"] == []
    assert [(one["id"], one["title"]) for one in listed["bin"]] == [(number, "new")]
    assert client.post(f"/api/bin/{number}/restore", json={}).json() == {"id": "new"}
    assert client.get("/api/projects").json()["bin"] == []
    again = client.post(f"/api/bin/{number}/restore", json={})
    assert (again.status_code, again.json()["error"]["code"]) == (400, "NO_PROJECT")


def test_the_jobs_of_a_project_come_with_it(client: TestClient, tmp_path: Path) -> None:
    make_project(tmp_path, "old", CLASSES)
    job = client.post("/api/projects/old/jobs", json={"kind": "learn"}).json()["id"]
    for what, body in (("rename", {"name": "new"}), ("delete", {})):
        answer = client.post(f"/api/projects/old/{what}", json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "BUSY")
    client.post(f"/api/jobs/{job}/cancel", json={})
    client.post("/api/projects/old/rename", json={"name": "new"})
    (line,) = client.get("/api/projects/new/commands").json()
    assert line["state"] == "stopped" and line["cwd"] == str(tmp_path / "new")
    resumed = client.post(f"/api/jobs/{job}/resume", json={"request": "r"}).json()["id"]
    last = client.get("/api/projects/new/commands").json()[-1]
    assert resumed != job and "--project new.toml" in last["command"]


@pytest.mark.parametrize(("what", "body"), [("rename", {"name": "new"}), ("delete", {})])
@pytest.mark.parametrize("kind", ["photo", "zip"])
def test_no_project_moves_while_files_are_uploaded_to_it(
    client: TestClient, tmp_path: Path, kind: str, what: str, body: dict[str, str]
) -> None:
    """And what comes from a page that knows it by its old place makes its folder anew no more."""
    place = make_project(tmp_path, "old", CLASSES)
    own = client.app.state.workspace  # type: ignore[attr-defined]
    sent = saved(drawn(seed=1), "PNG") if kind == "photo" else archive("red/a.png")

    async def body_of(parts: int) -> AsyncIterator[bytes]:
        for n in range(parts):
            yield sent[n * len(sent) // parts : (n + 1) * len(sent) // parts]
            if n == 0 and parts > 1:
                await anyio.to_thread.run_sync(in_between)

    def in_between() -> None:
        answer = client.post(f"/api/projects/old/{what}", json=body)
        answers.append((answer.status_code, answer.json()["error"]["code"]))

    async def upload(parts: int) -> object:
        if kind == "photo":
            return await own.uploads.photo(place, "red", body_of(parts))
        return await own.uploads.zip(place, body_of(parts))

    answers: list[tuple[int, str]] = []
    assert client.portal is not None
    client.portal.call(upload, 2)
    assert answers == [(409, "BUSY")]
    assert len([path for path in tmp_path.rglob("uploads/**/*") if path.is_file()]) == 1
    assert client.post(f"/api/projects/old/{what}", json=body).status_code == 200
    for late in (
        lambda: client.portal.call(upload, 1),
        lambda: own.jobs.submit(place, "learn", {}),
    ):
        with pytest.raises(Refused, match="NO_PROJECT"):
            late()
        own.moving.add("old")
        with pytest.raises(Refused, match="MOVING"):
            late()
        own.moving.clear()
    assert not (tmp_path / "old").exists()


@pytest.mark.parametrize("name", ["", "a/b", "..", None, 3])
def test_names_that_cannot_be(client: TestClient, tmp_path: Path, name: object) -> None:
    make_project(tmp_path, "old", CLASSES)
    assert client.post("/api/projects/old/rename", json={"name": name}).status_code == 400
    assert place_of(tmp_path, "old").config.name == "old"


def test_classes_are_added_removed_and_get_other_queries(
    client: TestClient, tmp_path: Path
) -> None:
    file = make_project(tmp_path, "c", CLASSES).file
    url = "/api/projects/c/classes"
    assert client.post(url, json={"add": " green "}).json()["labels"] == ["red", "blue", "green"]
    client.post(url, json={"queries": {"green": ["green fox", " moss "]}})
    assert read_project(file).classes["green"] == ["green fox", "moss"]
    assert client.post(url, json={"remove": "green"}).json()["labels"] == ["red", "blue"]
    again = client.post(url, json={"add": "green"}).json()
    assert again["queries"]["green"] == ["green fox", "moss"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "BAD_REQUEST"),
        ({"add": "x", "remove": "red"}, "BAD_REQUEST"),
        ({"add": 3}, "BAD_REQUEST"),
        ({"add": "red"}, "BAD_CLASS"),
        ({"add": "a/b"}, "BAD_CLASS"),
        ({"remove": "red"}, "TOO_FEW_CLASSES"),
        ({"remove": "pink"}, "UNKNOWN_CLASS"),
        ({"queries": {"red": "fox"}}, "BAD_REQUEST"),
        ({"queries": {"red": [""]}}, "BAD_CLASS"),
        ({"queries": ["red"]}, "BAD_REQUEST"),
    ],
)
def test_changes_of_classes_that_cannot_be(
    client: TestClient, tmp_path: Path, body: dict[str, object], code: str
) -> None:
    file = make_project(tmp_path, "c", CLASSES).file
    before = file.read_bytes()
    answer = client.post("/api/projects/c/classes", json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    "names",
    [
        ["red/a.png", "blue/b.png"],
        ["foxes/red/a.png", "foxes/blue/b.png", "__MACOSX/red/._a.png"],
        ["train/red/a.png", "train/blue/b.png", "test/red/c.png"],
    ],
)
def test_a_project_of_the_folders_in_an_archive(
    client: TestClient, tmp_path: Path, names: list[str]
) -> None:
    data = archive(*names)
    kind = {"Content-Type": "application/octet-stream"}
    answer = client.post("/api/from-zip?name=foxes", content=data, headers=kind)
    assert answer.status_code == 201 and sorted(answer.json()["labels"]) == ["blue", "red"]
    place = place_of(tmp_path, "foxes")
    assert place.config.classes["red"] == ["red"]
    (kept,) = (place.own / "uploads" / "zips").iterdir()
    assert kept.read_bytes() == data
    assert client.get("/api/projects/foxes").json()["photos"]["uploads_waiting"] == 1


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"no archive", "NOT_A_ZIP"),
        (archive("a.png", "b.png"), "NO_CLASS_FOLDERS"),
        (archive("red/a.png", "c.png"), "TOO_FEW_CLASSES"),
    ],
)
def test_an_archive_that_makes_no_project(
    client: TestClient, tmp_path: Path, data: bytes, code: str
) -> None:
    kind = {"Content-Type": "application/octet-stream"}
    answer = client.post("/api/from-zip?name=foxes", content=data, headers=kind)
    assert answer.status_code in (400, 415) and answer.json()["error"]["code"] == code
    assert client.get("/api/projects").json()["projects"] == []
    assert not list(tmp_path.rglob("*.zip"))


def test_suggestions(client: TestClient) -> None:
    found = client.get("/api/suggestions?label=Fly_Agarics").json()
    assert found["queries"][0] == "fly agarics"


def test_a_project_that_was_downloaded_opens_elsewhere(
    tmp_path: Path, fill: Fill, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root, away = tmp_path / "here", tmp_path / "away"
    place = with_photos(root, "foxes", fill, monkeypatch)
    with Catalog(place.data) as catalog:
        one = catalog.photos("ok")[0]
        decisions.drop(catalog, one, "me", "not a fox")
        photos = catalog.photos()
    fill(place.own / "uploads" / "photos", {f"red/{'a' * 64}.png": 999})
    client = TestClient(make_app(root), base_url="http://localhost")
    answer = client.get("/api/projects/foxes/download")
    assert answer.headers["content-disposition"] == 'attachment; filename="foxes-project.zip"'
    names = zipfile.ZipFile(io.BytesIO(answer.content)).namelist()
    assert [name for name in names if "uploads" in name] == [
        f"foxes/studio/uploads/photos/red/{'a' * 64}.png"
    ]
    zipfile.ZipFile(io.BytesIO(answer.content)).extractall(away)
    assert not list(place.data.glob("*.partial")) and not list(place.data.glob(".*.partial"))
    place.home.rename(tmp_path / "gone")
    monkeypatch.chdir(away / "foxes")
    with Catalog(away / "foxes" / "data" / "foxes") as catalog:
        assert catalog.photos() == photos
    capsys.readouterr()
    assert main.main(["run", "--project", "foxes.toml", "--until", "split", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["stages"]["split"]["photos"]
    assert sum(n for row in found.values() for n in row.values()) == len(photos) - 1
    assert place_of(away, "foxes").config == place.config

"""The pages of a project below p/ID/: made when they are opened, made anew, closed."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from corpus import drawn, saved
from fastapi import FastAPI
from fastapi.testclient import TestClient
from places import Fill, with_photos

from bear_classifier.dataset.catalog import Catalog
from bear_classifier.errors import DataError
from bear_classifier.studio import mounts
from bear_classifier.studio.app import make_app
from bear_classifier.studio.mounts import Mounts
from bear_classifier.studio.projects import Place, make_project

PAGE = {"X-Bears": "1"}


@pytest.fixture
def place(tmp_path: Path, fill: Fill, monkeypatch: pytest.MonkeyPatch) -> Place:
    return with_photos(tmp_path / "root", "foxes", fill, monkeypatch)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    """Of a studio that asks for a token, as if others reached it, too."""
    app = make_app(tmp_path / "root", "0.0.0.0", "secret")
    headers = {"Authorization": "Bearer secret"}
    with TestClient(app, base_url="http://studio.lan:7862", headers=headers) as client:
        yield client


def mounted(client: TestClient) -> Mounts:
    found: Mounts = client.app.state.mounts  # type: ignore[attr-defined]
    return found


def test_the_review_page_lies_below_a_path(client: TestClient, place: Place) -> None:
    page = client.get("/p/foxes/review/")
    assert (
        page.status_code == 200
        and "frame-ancestors 'self'" in (page.headers["content-security-policy"])
    )
    for address in ("review.js", "review.css", "views/grid.js", "favicon.ico"):
        assert client.get(f"/p/foxes/review/{address}").status_code in (200, 204), address
    assert client.get("/p/foxes/review/api/project").json()["labels"] == ["red", "blue"]
    row = client.get("/p/foxes/review/api/gallery?limit=1").json()["rows"][0]
    assert client.get(f"/p/foxes/review/photo/{row['sha256']}?size=160").status_code == 200
    there = client.get("/p/foxes/review", follow_redirects=False)
    assert there.headers["location"] == "review/"


def test_decisions_reach_the_catalog_and_keep_their_guard(client: TestClient, place: Place) -> None:
    row = client.get("/p/foxes/review/api/gallery?limit=1").json()["rows"][0]
    item = {"sha256": row["sha256"], "action": "drop"}
    body = {"request": "r1", "items": [item], "test_side": int(row["split"] == "test")}
    url = "/p/foxes/review/api/decide"
    assert client.post(url, json=body).status_code == 403  # it is not the page
    elsewhere = {**PAGE, "Origin": "http://evil.example"}
    assert client.post(url, json=body, headers=elsewhere).status_code == 403
    assert client.post(url, json=body, headers=PAGE).status_code == 200
    with Catalog(place.data) as catalog:
        assert [event.action for event in catalog.events()] == ["drop"]
        assert len(catalog.photos("dropped")) == 1


def test_without_the_token_nothing_is_shown(client: TestClient, place: Place) -> None:
    answer = client.get("/p/foxes/review/", headers={"Authorization": ""})
    assert answer.status_code == 401


@pytest.mark.parametrize(
    ("address", "status", "words"),
    [
        ("nobody/review/", 404, "there is no project"),
        ("foxes/elsewhere/", 404, "nothing here"),
        ("foxes/try/", 404, "no model yet"),
        ("foxes/report/", 404, "no report yet"),
        ("..%2Ffoxes/review/", 404, ""),
        ("empty/review/", 404, "no photos yet"),
    ],
)
def test_what_is_not_there_is_said(
    client: TestClient, place: Place, address: str, status: int, words: str
) -> None:
    make_project(place.root, "empty", {"red": ["red"], "blue": ["blue"]})
    answer = client.get(f"/p/{address}")
    assert answer.status_code == status and words in answer.text.lower()
    as_page = client.get(f"/p/{address}", headers={"Accept": "text/html"})
    assert as_page.headers["content-type"].startswith("text/plain") or not words


def test_the_report_is_shown_and_handed_out(client: TestClient, place: Place) -> None:
    report = place.data / "report" / "report.html"
    report.parent.mkdir()
    report.write_text("<p>figures", encoding="utf-8")
    shown = client.get("/p/foxes/report/")
    assert (shown.text, shown.headers["content-type"]) == ("<p>figures", "text/html; charset=utf-8")
    assert "frame-ancestors 'self'" in shown.headers["content-security-policy"]
    assert "script-src" not in shown.headers["content-security-policy"]
    taken = client.get("/p/foxes/files/foxes-report.html")
    assert taken.headers["content-disposition"].startswith("attachment")


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What began and what ended, of pages that take the place of the real ones."""
    return []


def in_place_of(monkeypatch: pytest.MonkeyPatch, said: list[str], kind: str) -> None:
    """Pages that write down that they begin and end, and answer with their number."""

    async def maker(place: Place) -> Any:
        number = len([word for word in said if word.startswith("begun")])

        @contextlib.asynccontextmanager
        async def lifespan(_: FastAPI) -> Any:
            said.append(f"begun {number}")
            yield
            said.append(f"ended {number}")

        app = FastAPI(lifespan=lifespan)

        @app.get("/number")
        def answer() -> int:
            return number

        return app

    monkeypatch.setitem(mounts._MAKERS, kind, maker)


@pytest.mark.parametrize(
    ("kind", "file"),
    [
        ("review", "probe/probabilities.npz"),
        ("review", "clean/second_look.npz"),
        ("try", "bundle.json"),
    ],
)
def test_a_page_is_made_anew_when_what_it_shows_has_changed(
    client: TestClient, place: Place, monkeypatch: pytest.MonkeyPatch, made: list[str],
    kind: str, file: str,
) -> None:  # fmt: skip
    in_place_of(monkeypatch, made, kind)
    number: Callable[[], Any] = lambda: client.get(f"/p/foxes/{kind}/number").json()  # noqa: E731
    assert [number(), number()] == [0, 0] and made == ["begun 0"]
    path = (place.data if kind == "review" else place.model) / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"new")
    assert [number(), number()] == [1, 1]
    client.portal.call(mounted(client).close, "foxes")  # type: ignore[union-attr]
    assert sorted(made) == ["begun 0", "begun 1", "ended 0", "ended 1"]
    assert number() == 2


def test_a_page_that_nobody_uses_is_closed(
    client: TestClient, place: Place, monkeypatch: pytest.MonkeyPatch, made: list[str]
) -> None:
    in_place_of(monkeypatch, made, "try")
    client.get("/p/foxes/try/number")
    at = mounted(client)

    async def close(after: float) -> None:
        at.close_idle(time.monotonic() + after)

    client.portal.call(close, 299)  # type: ignore[union-attr]
    assert at.is_open("foxes", "try")
    client.portal.call(close, 301)  # type: ignore[union-attr]
    assert not at.is_open("foxes", "try")
    assert client.get("/p/foxes/try/number").json() == 1


def test_what_cannot_begin_is_said_and_tried_again(
    client: TestClient, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    async def maker(place: Place) -> Any:
        tries.append(place)
        raise DataError("CATALOG_BUSY", "somebody is writing")

    monkeypatch.setitem(mounts._MAKERS, "review", maker)
    for n in (1, 2):
        assert client.get("/p/foxes/review/").json()["error"]["code"] == "CATALOG_BUSY"
        assert len(tries) == n


def test_a_redirect_of_a_page_stays_below_its_path(
    client: TestClient, place: Place, monkeypatch: pytest.MonkeyPatch, made: list[str]
) -> None:
    in_place_of(monkeypatch, made, "try")
    there = client.get("/p/foxes/try/number/?a=b", follow_redirects=False)
    assert there.headers["location"] == "../number?a=b"
    assert client.get("/p/foxes/try/number/").json() == 0


@pytest.mark.long  # the worker processes of a model
def test_the_model_answers_below_a_path(client: TestClient, place: Place, model_dir: Path) -> None:
    """With its worker processes, which end with the page."""
    shutil.copytree(model_dir, place.model)
    page = client.get("/p/foxes/try/")
    assert page.status_code == 200
    assert "frame-ancestors 'self'" in page.headers["content-security-policy"]
    assert client.get("/p/foxes/try/readyz").status_code == 200
    assert client.get("/p/foxes/try/gradio/").status_code == 404
    photo = saved(drawn(seed=5), "JPEG")
    answer = client.post("/p/foxes/try/api/v1/classify", content=photo)
    assert answer.json()["label"] in ("black", "grizzly", "teddy")
    assert client.get("/p/foxes/files/foxes-model.zip").status_code == 200
    client.portal.call(mounted(client).close, "foxes")  # type: ignore[union-attr]
    assert not mounted(client).is_open("foxes", "try")

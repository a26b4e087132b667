"""The gallery, photos without a label, new classes and who decides: the server's side."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from test_review import CONFIG, LABELS, PAGE, dataset, ranking

from bear_classifier.config.project_file import class_names, create
from bear_classifier.dataset import decisions
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.photo_columns import photo_columns
from bear_classifier.dataset.schema import Source
from bear_classifier.errors import DataError
from bear_classifier.judge import label as label_module
from bear_classifier.judge.label import Pool
from bear_classifier.report.provenance import origins
from bear_classifier.review.app import make_app
from bear_classifier.review.gallery import source_column
from bear_classifier.runtime.shards import StoredRows

Post = Callable[..., Any]
IDS = (f"request-{n}" for n in itertools.count())
SITES = ["https://a.example/", "https://b.example/"]


def not_probed(*_: object) -> list[Any]:
    raise DataError("NOT_PROBED", "there is no first model of these photos; run: bears probe")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """24 photos of two sites; the last six have no label."""
    root = tmp_path / "data"
    order = dataset(root)
    with Catalog(root) as catalog, catalog.transaction():
        rows = {photo.sha256: photo for photo in catalog.photos()}
        for n, sha in enumerate(order):
            photo = dataclasses.replace(rows[sha], origin=f"{SITES[n % 2]}{n}.png")
            if n >= 18:
                photo = dataclasses.replace(photo, label="", status="unlabelled", split=None)
            catalog.put_photos([photo])
            catalog.put_sources([Source(photo.origin, photo.label, "web", code="OK", sha256=sha)])
    return root


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return create("tiny", {label: [label] for label in LABELS}, tmp_path, "test")


@pytest.fixture
def page(root: Path, file: Path) -> Iterator[TestClient]:
    app = make_app(root, CONFIG, not_probed, file=file, who="ann")
    with TestClient(app, "http://127.0.0.1:7861", raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def post(page: TestClient) -> Post:
    def send(path: str, **body: Any) -> Any:
        return page.post(path, json=body, headers=PAGE)

    return send


def rows(page: TestClient, **chosen: Any) -> dict[str, Any]:
    answer = page.get("/api/gallery", params=chosen)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def decide(post: Post, sha: str, action: str, label: str = "", **more: Any) -> Any:
    items = [{"sha256": sha, "action": action, "label": label}]
    return post("/api/decide", request=next(IDS), items=items, test_side=1, **more)


# the gallery


def test_without_a_first_model_the_page_opens_and_says_why_nothing_is_ranked(
    page: TestClient,
) -> None:
    project = page.get("/api/project").json()
    assert project["unranked"].endswith("run: bears probe")
    assert (project["who"], project["unlabelled"]) == ("ann", 6)
    assert page.get("/api/queue").json()["total"] == 0
    assert page.get("/api/progress").status_code == 200


def test_other_errors_of_the_ranking_end_the_program(root: Path) -> None:
    def damaged(*_: object) -> list[Any]:
        raise DataError("CATALOG_DAMAGED", "damaged")

    with pytest.raises(DataError, match="CATALOG_DAMAGED"):
        make_app(root, CONFIG, damaged)


def test_all_photos_by_class_and_source_page_by_page(page: TestClient) -> None:
    whole = rows(page, limit=200)
    assert (whole["total"], len(whole["rows"])) == (24, 24)
    keys = [(row["label"], row["source"]) for row in whole["rows"]]
    assert keys == sorted(keys)
    first, second = rows(page, limit=10), rows(page, limit=10, offset=10)
    assert first["rows"] + second["rows"] == whole["rows"][:20]
    assert whole["labels"] == {"black": 6, "grizzly": 6, "teddy": 6}
    assert dict(whole["sources"]) == {"a.example": 12, "b.example": 12}
    assert whole["uses"] == {"in use": 18, "unlabelled": 6, "all": 24}


def test_filters(page: TestClient, post: Post) -> None:
    some = rows(page, label="teddy", source="a.example")
    assert {(r["label"], r["source"]) for r in some["rows"]} == {("teddy", "a.example")}
    assert {r["status"] for r in rows(page, use="unlabelled")["rows"]} == {"unlabelled"}
    decide(post, some["rows"][0]["sha256"], "drop")
    (gone,) = rows(page, use="dropped")["rows"]
    assert gone["sha256"] == some["rows"][0]["sha256"]
    assert page.get("/api/gallery", params={"use": "burnt"}).status_code == 400


def test_decisions_and_undo_are_those_of_the_queue(
    page: TestClient, post: Post, root: Path
) -> None:
    row = rows(page, label="teddy")["rows"][0]
    answer = decide(post, row["sha256"], "relabel", "black").json()
    assert [(r["sha256"], r["label"]) for r in answer["rows"]] == [(row["sha256"], "black")]
    assert answer["progress"]["undo"]["words"] == "relabel of 1 photo to black"
    assert post("/api/undo", shown=answer["progress"]["undo"]["event"]).status_code == 200
    assert rows(page, label="teddy")["rows"][0]["label"] == "teddy"
    with Catalog(root) as catalog:
        assert [event.who for event in decisions.history(catalog)] == ["ann", "ann"]


# who decides


def test_the_page_says_who_decides(page: TestClient, post: Post, root: Path) -> None:
    row = rows(page, label="teddy")["rows"][0]
    decide(post, row["sha256"], "keep", who=" Bob\n ")
    decide(post, row["sha256"], "drop", who="")
    post("/api/undo", who="Eve")
    with Catalog(root) as catalog:
        assert [event.who for event in decisions.history(catalog)] == ["Bob", "ann", "Eve"]
    assert decide(post, row["sha256"], "drop", who=3).status_code == 400


# photos without a label


@pytest.fixture
def pool(root: Path, monkeypatch: pytest.MonkeyPatch) -> Pool:
    """Features by which the number of a photo's class can be seen."""
    with Catalog(root) as catalog:
        photos = catalog.photos()
    numbers = {photo.sha256: int(photo.origin.rsplit("/")[-1][:-4]) % 3 for photo in photos}
    dice = np.random.default_rng(0)
    features = np.array([5 * np.eye(8)[numbers[p.sha256]] for p in photos])
    features += dice.normal(size=features.shape) / 3
    names = [photo.sha256 for photo in photos]
    made = Pool(StoredRows.in_memory(names, features=features.astype(np.float32)))
    monkeypatch.setattr(label_module, "load_pool", lambda *_: made)
    return made


def test_a_batch_has_the_photos_without_a_label_with_proposals(
    page: TestClient, post: Post, pool: Pool
) -> None:
    batch = page.get("/api/label", params={"limit": 4}).json()
    assert (batch["left"], len(batch["rows"])) == (6, 4)
    assert batch["confirmed"] == {"black": 6, "grizzly": 6, "teddy": 6}
    for row in batch["rows"]:
        number = int(row["origin"].rsplit("/")[-1][:-4])
        assert (row["label"], row["status"]) == ("", "unlabelled")
        assert row["suggested"] == LABELS[number % 3]
        assert sum(row["chances"].values()) == pytest.approx(1)
    assert page.get("/api/label", params={"limit": 4}).json() == batch
    sha = batch["rows"][0]["sha256"]
    answer = decide(post, sha, "relabel", batch["rows"][0]["suggested"]).json()
    assert answer["events"][0]["action"] == "confirm"
    after = page.get("/api/label").json()
    assert after["left"] == 5 and sha not in [row["sha256"] for row in after["rows"]]
    post("/api/undo")
    assert page.get("/api/label").json()["left"] == 6


def test_photos_whose_features_are_not_there_yet(page: TestClient) -> None:
    batch = page.get("/api/label").json()
    assert batch["rows"] == []
    assert batch["why_none"].endswith("run: bears label")


def test_keep_is_no_first_label(page: TestClient, post: Post) -> None:
    sha = rows(page, use="unlabelled")["rows"][0]["sha256"]
    answer = decide(post, sha, "keep")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "NO_LABEL")


# new classes


def test_a_new_class_is_written_used_and_undone(page: TestClient, post: Post, file: Path) -> None:
    before = file.read_bytes()
    made = post("/api/class", request="one", label=" polar ").json()
    assert made["labels"] == [*LABELS, "polar"] == class_names(file.read_text(encoding="utf-8"))
    assert made["progress"]["undo"]["words"] == "new class polar"
    assert post("/api/class", request="one", label="polar").json()["labels"] == made["labels"]
    sha = rows(page, label="teddy")["rows"][0]["sha256"]
    assert decide(post, sha, "relabel", "polar").json()["rows"][0]["label"] == "polar"
    undone = post("/api/undo").json()
    assert undone["rows"][0]["label"] == "teddy"
    assert undone["progress"]["undo"]["event"] < 0
    last = post("/api/undo", shown=undone["progress"]["undo"]["event"]).json()
    assert (last["labels"], last["events"], last["rows"]) == (LABELS, [], [])
    assert file.read_bytes() == before
    assert decide(post, sha, "relabel", "polar").status_code == 400


@pytest.mark.parametrize("label", ["", "../x", "black", "BLACK", 3, None])
def test_bad_names(page: TestClient, post: Post, label: object) -> None:
    assert post("/api/class", request="one", label=label).status_code == 400
    assert page.get("/api/project").json()["labels"] == LABELS


def test_a_class_needs_the_page_and_a_request(page: TestClient, post: Post) -> None:
    assert post("/api/class", label="polar").status_code == 400
    body = {"request": "one", "label": "polar"}
    assert page.post("/api/class", json=body).status_code == 403


def test_a_page_without_a_project_file_makes_none(root: Path) -> None:
    with TestClient(make_app(root, CONFIG, not_probed), "http://127.0.0.1:7861") as client:
        body = {"request": "one", "label": "polar"}
        answer = client.post("/api/class", json=body, headers=PAGE)
    assert answer.json()["error"]["code"] == "CANNOT_EDIT"


def test_with_a_ranking_rows_of_the_queue_come_back(root: Path, file: Path) -> None:
    with Catalog(root) as catalog:
        order = [photo.sha256 for photo in catalog.photos("ok")]
    app = make_app(root, CONFIG, ranking(order), file=file)
    with TestClient(app, "http://127.0.0.1:7861") as client:
        assert client.get("/api/project").json()["unranked"] == ""
        items = [{"sha256": order[0], "action": "keep"}]
        body = {"request": "r", "items": items}
        (row,) = client.post("/api/decide", json=body, headers=PAGE).json()["rows"]
    assert row["reasons"] == ["reason 0"]


def test_sources_as_a_column_are_those_of_the_photos(root: Path) -> None:
    folders = ["/home/ann/bears/wild/{}.jpg", "/home/ann/bears/toys/{}.jpg", "C:\\x\\y\\{}.jpg"]
    with Catalog(root) as catalog:
        photos = catalog.photos()
        with catalog.transaction():
            catalog.put_photos(
                dataclasses.replace(photo, origin=folders[n % 3].format(n))
                for n, photo in enumerate(photos)
                if n % 2
            )
        wanted = origins(catalog, catalog.photos(), "")
        column = source_column(catalog, photo_columns(catalog).hashes, "")
    assert [column.at(n) for n in range(len(photos))] == [wanted[p.sha256] for p in photos]
    assert len(column.words) == len(set(column.words))

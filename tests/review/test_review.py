"""The cleaning page's server: what it shows, what it stores, and whom it refuses."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import random
import re
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from corpus import ROOT, drawn, exif, lfs_pointer, saved
from fastapi import FastAPI
from fastapi.testclient import TestClient
from judging import Listed, words
from PIL import Image

from bear_classifier.config.project_file import build
from bear_classifier.dataset import decisions
from bear_classifier.dataset.backups import made
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.photo_columns import Hashes
from bear_classifier.dataset.schema import Decision, Event, Photo, Suspect
from bear_classifier.errors import ConfigError, DataError
from bear_classifier.judge.judged import KINDS as CAUSES
from bear_classifier.judge.judged import Judged
from bear_classifier.judge.learned_order import LIKE_FAULTS, OrderEvidence
from bear_classifier.pipeline import Project
from bear_classifier.review.app import make_app, serve_review
from bear_classifier.review.progress import (
    batch_text,
    chances_left,
    stop_sentence,
    suspicion_factor,
)
from bear_classifier.web.static_files import files_of_page

LABELS = ["black", "grizzly", "teddy"]
CONFIG = build({"name": "tiny", "classes": {label: [label] for label in LABELS}}, where="test")
SIDES = ["train", "valid", "test", "train"]
KINDS = ["label", "outlier", "duplicate", "quality"]
EVIL = "<img src=x onerror=\"document.title='broken'\"><script>document.title='broken'</script>"
PAGE = {"X-Bears": "1"}
Post = Callable[..., Any]


@functools.cache
def picture(number: int) -> bytes:
    return saved(drawn(60, 48, seed=number), "PNG")


def dataset(root: Path, count: int = 24) -> list[str]:
    """A catalog of drawn photos, each file there. Returns their hashes, most suspect first."""
    rows = []
    with Catalog(root) as catalog:
        for n in range(count):
            data = picture(n)
            sha = hashlib.sha256(data).hexdigest()
            photo = Photo(sha, f"/photos/{n}.png", LABELS[n % 3], "png", 60, 48, len(data), "00",
                          50.0, group=sha, split=SIDES[n % 4])  # type: ignore[arg-type]  # fmt: skip
            catalog.file(photo).parent.mkdir(parents=True, exist_ok=True)
            catalog.file(photo).write_bytes(data)
            rows.append(photo)
        with catalog.transaction():
            catalog.put_photos(rows)
    return [photo.sha256 for photo in rows]


def ranking(order: list[str], evil: str = "") -> Callable[..., Listed]:
    """load(catalog, config): in this order, with scores from 0.9 down; evil: text of strangers."""

    def load(catalog: Catalog, _: object) -> Listed:
        photos = {photo.sha256: photo for photo in catalog.photos("ok")}
        found = []
        for n, sha in enumerate(order):
            if sha not in photos:
                continue
            photo, score = photos[sha], 0.9 * (1 - n / len(order))
            other = LABELS[(LABELS.index(photo.label) + 1) % 3]
            found.append(Suspect(
                sha, evil or photo.origin, photo.label, photo.split or "", other, score,
                [evil or f"reason {n}"], {kind: score if i == n % 4 else 0.0
                                          for i, kind in enumerate(KINDS)},
                {photo.label: 1 - score, other: score}, [s for s in order if s != sha][:8],
            ))  # fmt: skip
        return Listed(found)

    return load


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def order(root: Path) -> list[str]:
    return dataset(root)


@pytest.fixture
def page(root: Path, order: list[str]) -> Iterator[TestClient]:
    app = make_app(root, CONFIG, ranking(order))
    with TestClient(app, "http://127.0.0.1:7861", raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def decide(page: TestClient, order: list[str]) -> Post:
    """decide((sha, "relabel", "black"), ...): in one request; more facts by their names.

    Changes on the test split are confirmed, unless test_side says otherwise."""
    tests = {sha for n, sha in enumerate(order) if SIDES[n % 4] == "test"}

    def post(*items: tuple[Any, ...], request: str = "", **facts: Any) -> Any:
        based = facts.pop("based", None)
        facts.setdefault("test_side", sum(i[0] in tests and i[1] != "keep" for i in items))
        rows = [
            {"sha256": i[0], "action": i[1], "label": i[2] if len(i) > 2 else "", "based": based}
            for i in items
        ]
        name = request or hashlib.sha256(repr((items, facts)).encode()).hexdigest()
        body = {"request": name, "items": rows, **facts}
        return page.post("/api/decide", json=body, headers=PAGE)

    return post


def undo(page: TestClient, **body: Any) -> Any:
    return page.post("/api/undo", json=body, headers=PAGE)


def rows(page: TestClient, **wanted: Any) -> list[Any]:
    return list(page.get("/api/queue", params=wanted).json()["rows"])


def hashes(page: TestClient, **wanted: Any) -> list[str]:
    return [row["sha256"] for row in rows(page, **wanted)]


def state(root: Path, sha256: str) -> tuple[str, str]:
    with Catalog(root) as catalog:
        photo = catalog.photo(sha256)
    assert photo
    return photo.label, photo.status


# -- the queue -------------------------------------------------------------------------------------


def test_the_most_suspect_come_first_with_all_that_a_row_shows(page, order):
    answer = page.get("/api/queue", params={"limit": 5}).json()
    assert [row["sha256"] for row in answer["rows"]] == order[:5]
    assert (answer["total"], answer["of"], answer["offset"]) == (24, 24, 0)
    assert answer["rows"][1] == {
        "sha256": order[1], "rank": 1, "place": 2, "label": "grizzly", "suggested": "teddy",
        "score": pytest.approx(0.8625), "reasons": ["reason 1"], "kind": "outlier",
        "scores": {"label": 0, "outlier": pytest.approx(0.8625), "duplicate": 0, "quality": 0},
        "split": "valid", "status": "ok", "decision": None, "width": 60, "height": 48, "based": 0,
    }  # fmt: skip


def test_pages_follow_each_other_though_photos_leave_the_filter(page, order, decide):
    assert hashes(page, offset=20, limit=10) == order[20:]
    first = rows(page, limit=6)
    decide(*((sha, "keep") for sha in order[:5]))
    assert hashes(page, limit=3, offset=6) == order[11:14]  # an offset would skip five
    assert hashes(page, limit=3, after=first[-1]["rank"]) == order[6:9]
    assert hashes(page, limit=3, before=9) == order[6:9]
    assert hashes(page, limit=3, before=5) == []
    assert hashes(page, limit=2, at=order[7]) == order[7:9]
    assert hashes(page, limit=2, at=order[2]) == order[5:7]  # decided: the next that is open
    assert hashes(page, limit=2, at="0" * 64) == order[5:7]


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        ({"label": "teddy"}, lambda n: n % 3 == 2),
        ({"side": "test"}, lambda n: n % 4 == 2),
        ({"reason": "quality"}, lambda n: n % 4 == 3),
        ({"label": "black", "side": "train"}, lambda n: n % 3 == 0 and n % 4 in (0, 3)),
        ({"label": "no such class"}, lambda n: False),
    ],
)
def test_filters(page, order, wanted, chosen):
    expected = [sha for n, sha in enumerate(order) if chosen(n)]
    assert hashes(page, **wanted) == expected
    progress = page.get("/api/progress", params=wanted).json()
    assert progress["of"] == len(expected)


def test_states(page, order, decide):
    decide((order[0], "keep"), (order[1], "drop"), (order[2], "relabel", "black"))
    assert hashes(page, state="decided") == order[:3]
    assert hashes(page, state="open") == order[3:]
    assert hashes(page, state="all") == order
    found = rows(page, state="decided")
    assert [row["decision"]["action"] for row in found] == ["keep", "drop", "relabel"]
    assert [row["status"] for row in found] == ["ok", "dropped", "ok"]
    assert found[2]["label"] == "black"


def test_a_relabelled_photo_is_found_under_both_classes(page, order, decide):
    decide((order[0], "relabel", "teddy"))
    assert order[0] in hashes(page, label="teddy", state="all")
    assert order[0] in hashes(page, label="black", state="all")
    assert page.get("/api/progress", params={"label": "black"}).json()["looked"] == 1


def test_what_others_did_is_seen_at_once(page, root, order):
    with Catalog(root) as catalog, catalog.transaction():
        photo = catalog.photo(order[0])
        assert photo
        decisions.relabel(catalog, photo, "teddy", "import", "moved")
    row = rows(page, limit=1)[0]
    assert (row["label"], row["based"]) == ("teddy", 1)
    assert row["decision"] is None  # nobody has looked at it
    assert page.get("/api/progress").json()["undo"]["words"] == (
        "relabel of 1 photo to teddy (by a run: import)"
    )


@pytest.mark.parametrize(
    "wanted",
    [{"side": "left"}, {"state": "maybe"}, {"limit": 0}, {"limit": 201}, {"offset": -1},
     {"after": "x"}],
)  # fmt: skip
def test_a_filter_that_makes_no_sense_is_a_sentence(page, wanted):
    answer = page.get("/api/queue", params=wanted)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]


def test_one_photo_in_full(page, order, decide):
    decide((order[3], "keep"))
    found = page.get(f"/api/photo/{order[3]}").json()
    assert found["origin"] == "/photos/3.png"
    assert found["probabilities"] == {
        "black": pytest.approx(0.2125),
        "grizzly": pytest.approx(0.7875),
    }
    assert [near["label"] for near in found["neighbours"]] == (LABELS * 4)[:3] + LABELS[1:] + LABELS
    assert [(e["action"], e["who"]) for e in found["history"]] == [("keep", decisions.user_name())]
    assert found["based"] == 1


@pytest.mark.parametrize("sha256", ["0" * 64, "x", "%00", "..%2fcatalog.sqlite", "a" * 5000])
@pytest.mark.parametrize("where", ["/api/photo/", "/photo/"])
def test_an_unknown_photo_is_404(page, where, sha256):
    assert page.get(where + sha256).status_code == 404


# -- deciding --------------------------------------------------------------------------------------


def test_every_action_reaches_the_catalog(page, root, order, decide):
    answer = decide((order[0], "keep"), (order[1], "drop"), (order[2], "relabel", "black")).json()
    assert [state(root, sha) for sha in order[:3]] == [
        ("black", "ok"), ("grizzly", "dropped"), ("black", "ok"),
    ]  # fmt: skip
    assert [(e["action"], e["sha256"] if "sha256" in e else e["id"]) for e in answer["events"]] == [
        ("keep", 1), ("drop", 2), ("relabel", 3),
    ]  # fmt: skip
    assert [row["sha256"] for row in answer["rows"]] == order[:3]
    assert answer["progress"]["looked"] == 3
    assert decide((order[1], "restore")).json()["rows"][0]["status"] == "ok"
    with Catalog(root) as catalog:
        event = decisions.history(catalog, order[1])[0]
    assert (event.who, event.why, event.score) == (
        decisions.user_name(),
        "reason 1",
        pytest.approx(0.8625),
    )


def test_the_same_request_counts_once(root, order, decide):
    first = decide((order[0], "drop"), request="twice").json()
    assert decide((order[0], "drop"), request="twice").json()["events"] == first["events"]
    with Catalog(root) as catalog:
        assert len(decisions.history(catalog)) == 1


def test_two_windows(page, root, order, decide):
    based = rows(page, limit=1)[0]["based"]
    decide((order[0], "relabel", "teddy"), based=based)
    late = decide((order[1], "drop"), (order[0], "drop"), based=based, request="late")
    assert late.status_code == 409
    assert late.json()["error"]["code"] == "CONFLICT"
    assert 'Another window changed this photo from "black" to "teddy" at' in late.text.replace(
        "\\", ""
    )
    assert state(root, order[0]) == ("teddy", "ok")
    assert state(root, order[1]) == ("grizzly", "ok")  # all or nothing
    assert decide((order[0], "drop"), based=based, overwrite=True).status_code == 200
    assert state(root, order[0])[1] == "dropped"


@pytest.mark.parametrize("label", ["", "panda", "../x", "x" * 300, EVIL, "black ", "\0"])
def test_only_known_labels(page, root, order, label):
    item = {"sha256": order[0], "action": "relabel", "label": label}
    body = json.dumps({"request": "r", "items": [item]})
    head = {**PAGE, "Content-Type": "application/json"}
    answer = page.post("/api/decide", content=body, headers=head)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "UNKNOWN_CLASS")
    assert state(root, order[0]) == ("black", "ok")


@pytest.mark.parametrize(
    ("items", "code"),
    [
        ([("0" * 64, "keep")], "NO_SUCH_PHOTO"),
        ([("", "keep")], "NO_SUCH_PHOTO"),
        ([(0, "restore")], "NOT_DROPPED"),
        ([(0, "drop"), ("0" * 64, "keep")], "NO_SUCH_PHOTO"),
        ([(0, "delete")], "BAD_REQUEST"),
        ([(0, ["keep"])], "BAD_REQUEST"),
        ([(0, "keep", 7)], "BAD_REQUEST"),
        ([(7, "keep")], "BAD_REQUEST"),
        ([], "BAD_REQUEST"),
        ([("0" * 64, "keep")] * 1001, "BAD_REQUEST"),
    ],
)
def test_what_cannot_be_decided_changes_nothing(root, order, decide, items, code):
    items = [(order[0] if item[0] == 0 else item[0], *item[1:]) for item in items]
    answer = decide(*items)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)
    with Catalog(root) as catalog:
        assert decisions.history(catalog) == []


@pytest.mark.parametrize(
    "body",
    ["", "[]", "null", "{", "\xff", "[" * 100_000, '{"request": "r"}', '{"items": []}',
     '{"request": "", "items": [{"sha256": "0", "action": "keep"}]}',
     '{"request": "\\ud800", "items": [{"sha256": "0", "action": "keep"}]}',
     '{"request": "r", "items": [7]}', '{"request": "r", "items": {"sha256": "0"}}',
     '{"request": "r", "items": [{"sha256": "0", "action": "keep", "based": true}]}',
     '{"request": "r", "items": [{"sha256": "0", "action": "keep", "based": "1"}]}'],
)  # fmt: skip
def test_a_body_that_makes_no_sense(page, body):
    head = {**PAGE, "Content-Type": "application/json"}
    answer = page.post("/api/decide", content=body.encode("latin-1"), headers=head)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "BAD_REQUEST")


@pytest.mark.parametrize("what", ["decide", "undo"])
def test_a_copy_of_the_catalog_is_kept_before_something_is_written(page, root, order, decide, what):
    with Catalog(root) as catalog:
        decisions.decide(catalog, LABELS, [Decision(order[0], "keep")], "ann", "before")
    assert not made(root)
    done = decide((order[1], "keep")) if what == "decide" else undo(page)
    assert done.status_code == 200
    (copy,) = made(root)
    with closing(sqlite3.connect(copy)) as db:
        assert db.execute("SELECT count(*) FROM event").fetchone() == (1,)


def test_undo_takes_back_a_batch_and_says_so_before(page, root, order, decide):
    decide((order[0], "keep"))
    decide(*((sha, "drop") for sha in order[1:4]))
    assert page.get("/api/progress").json()["undo"]["words"] == "drop of 3 photos"
    answer = undo(page).json()
    assert [row["sha256"] for row in answer["rows"]] == order[3:0:-1]
    assert {state(root, sha)[1] for sha in order} == {"ok"}
    assert answer["progress"]["undo"]["words"] == "keep of 1 photo"
    assert undo(page).status_code == 200
    nothing = undo(page)
    assert (nothing.status_code, nothing.json()["error"]["code"]) == (400, "NOTHING_TO_UNDO")
    assert page.get("/api/progress").json()["undo"] is None
    assert hashes(page, state="open") == order


def test_undo_takes_back_what_the_page_said_or_nothing(page, root, order, decide):
    decide((order[0], "drop"))
    shown = page.get("/api/progress").json()["undo"]["event"]
    decide((order[1], "drop"))  # in another window
    moved = undo(page, shown=shown)
    assert moved.status_code == 409
    assert "undo would now take back: drop of 1 photo" in moved.json()["error"]["message"]
    assert [state(root, sha)[1] for sha in order[:2]] == ["dropped", "dropped"]
    assert undo(page, event=shown).status_code == 200
    assert [state(root, sha)[1] for sha in order[:2]] == ["ok", "dropped"]


@pytest.mark.parametrize("event", [999, -1, 2**70, "1", True, 1.5])
def test_undo_of_what_is_not_there(page, event):
    assert undo(page, event=event).status_code == 400


def test_progress(page, order, decide):
    decide(*((sha, "keep") for sha in order[:12]))
    found = page.get("/api/progress").json()
    assert (found["looked"], found["of"]) == (12, 24)
    chances = [0.9 * (1 - n / 24) for n in range(24)]  # of which none came true
    prior = 2 * (1 - 12 / 40)
    less = prior / (sum(chances[:12]) + prior)
    assert found["faults"] == pytest.approx(less * sum(chances[12:]))
    assert found["counts"]["state"] == {"all": 24, "open": 12, "decided": 12}
    assert found["counts"]["label"] == {"black": 4, "grizzly": 4, "teddy": 4}
    assert found["counts"]["side"] == {"train": 6, "valid": 3, "test": 3}
    nothing = "The next 12 photos hold probably no fault: looking on is hardly worth it"
    assert (found["stop"], found["enough"]) == (nothing, True)
    decide(*((sha, "drop") for sha in order[:12]), overwrite=True)
    found = page.get("/api/progress").json()
    assert found["faults"] == pytest.approx((12 + prior) / prior * less * sum(chances[12:]))
    assert found["stop"] == "The next 12 photos hold about 4 faults: looking on is worth it"
    assert found["enough"] is False
    found = page.get("/api/progress", params={"label": "black"}).json()
    assert (found["looked"], found["of"]) == (4, 8)
    assert found["counts"]["label"] == {"black": 4, "grizzly": 4, "teddy": 4}


@pytest.mark.parametrize(
    ("scores", "sentence"),
    [
        ([], "Every photo here is decided"),
        ([0.5] * 30, "The next 20 photos hold about 10 faults: looking on is worth it"),
        ([0.05] * 30, "The next 20 photos hold about 1 fault: looking on is hardly worth it"),
        ([0.01] * 30, "The next 20 photos hold probably no fault: looking on is hardly worth it"),
        ([0.5], "The last photo holds about 1 fault: looking on is hardly worth it"),
    ],
)
def test_when_to_stop(scores, sentence):
    assert stop_sentence(np.array(scores)) == sentence


def test_what_undo_takes_back_in_words():
    def event(action: str, new: str) -> Event:
        return Event(1, "", "review", action, "0", "black", new, "", request="r")

    assert batch_text([event("relabel", "teddy")] * 2) == "relabel of 2 photos to teddy"
    assert (
        batch_text([event("relabel", "teddy"), event("relabel", "black")]) == "relabel of 2 photos"
    )
    assert batch_text([event("keep", ""), event("drop", "")]) == "decision of 2 photos"


# -- the test split --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("items", "tests"),
    [
        ([(2, "drop")], 1),
        ([(2, "relabel", "black")], 1),
        ([(2, "relabel", "teddy")], 1),  # what it is already, but asked for as a change
        ([(0, "drop"), (2, "drop"), (6, "relabel", "black"), (10, "keep")], 2),
    ],
)
def test_the_test_side_changes_only_if_somebody_says_how_many(root, order, decide, items, tests):
    items = [(order[n], *rest) for n, *rest in items]
    for said in (None, 0, tests + 1):
        answer = decide(*items, test_side=said)
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "TEST_SIDE")
        which = f"change {tests} photo{'s' if tests > 1 else ''} of the test split, which judges"
        assert which in answer.json()["error"]["message"]
    for said in ("1", True, 1.0):
        assert decide(*items, test_side=said).json()["error"]["code"] == "BAD_REQUEST"
    with Catalog(root) as catalog:
        assert decisions.history(catalog) == []
    assert len(decide(*items, test_side=tests).json()["events"]) == len(items)


def test_restoring_on_the_test_side_is_a_change_and_keeping_is_none(root, order, decide):
    assert decide((order[2], "drop")).status_code == 200
    refused = decide((order[2], "restore"), test_side=None)
    assert refused.json()["error"]["code"] == "TEST_SIDE"
    assert state(root, order[2]) == ("teddy", "dropped")
    assert decide((order[6], "keep"), (order[0], "drop"), test_side=None).status_code == 200


def test_a_request_that_was_carried_out_is_answered_without_asking_again(root, order, decide):
    first = decide((order[2], "drop"), request="twice").json()
    again = decide((order[2], "drop"), request="twice", test_side=None)
    assert (again.status_code, again.json()) == (200, first)
    decide((order[0], "keep"))
    late = decide((order[2], "drop"), request="twice", test_side=None).json()
    assert late["events"] == first["events"]
    assert late["rows"][0]["based"] == late["progress"]["revision"] == 2  # it is as new as that
    with Catalog(root) as catalog:
        assert len(decisions.history(catalog)) == 2


# -- others write at the same time -----------------------------------------------------------------


def elsewhere(root: Path, sha256: str, **fields: Any) -> None:
    """Another program changes a photo, without a word about it in the events."""
    with Catalog(root) as catalog, catalog.transaction():
        photo = catalog.photo(sha256)
        assert photo
        catalog.put_photos([dataclasses.replace(photo, **fields)])


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Fills with the hashes of the photos whose rows are read from the catalog."""
    found: list[str] = []
    stream = Catalog.stream

    def noted(catalog: Catalog, columns: Any, rest: str, values: Any = ()) -> Iterator[Any]:
        cursor = stream(catalog, columns, rest, values)
        if not (rest.startswith("photo ") and columns[0] == "sha256"):
            return cursor
        rows = cursor.fetchall()
        found.extend(row[0] for row in rows)
        return FetchedRows(rows)

    monkeypatch.setattr(Catalog, "stream", noted)
    return found


class FetchedRows(list[Any]):
    """What a cursor would give; an iterator as it is one."""

    def __next__(self) -> Any:
        if not self:
            raise StopIteration
        return self.pop(0)

    def __iter__(self) -> Iterator[Any]:
        return self

    def fetchall(self) -> list[Any]:
        return list(self[:])


def test_after_a_decision_only_its_photo_is_read_again(page, order, decide, monkeypatch, read):
    decide(*((sha, "keep") for sha in order[:12]))
    connect, opened = Catalog.__init__, []
    monkeypatch.setattr(Catalog, "__init__", lambda *a, **b: opened.append(a) or connect(*a, **b))
    read.clear()
    number = decide((order[15], "drop")).json()["events"][0]["id"]
    assert undo(page, event=number).status_code == 200
    assert page.get("/api/progress").json()["looked"] == 12
    assert (set(read), opened) == ({order[15], *order[:12]}, [])  # 12: what undo takes back next


def test_a_page_reads_the_photos_that_it_shows_and_no_others(page, order, decide, read):
    """The list, the gallery, one photo, its picture and progress."""
    decide((order[3], "keep"))
    wanted = {
        "/api/queue?limit=5": 5,
        "/api/queue?limit=5&offset=7&side=train": 5,
        "/api/gallery?limit=4": 4,
        "/api/gallery?limit=4&label=black&use=in use": 4,
        f"/api/photo/{order[0]}": 2 + 8,  # it twice, and its neighbours
        f"/photo/{order[0]}": 0,
        "/api/progress": 1,  # what undo takes back
        "/api/project": 0,
    }
    for address, most in wanted.items():
        read.clear()
        assert page.get(address).status_code == 200
        assert len(read) <= most, address


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_write_around_a_decision_is_seen_at_once(page, root, order, decide, monkeypatch, when):
    """Just before or after the page's own, with no request between them."""
    really = decisions.decide

    def crowded(*args: Any) -> list[Event]:
        if when == "after":
            events = really(*args)
        elsewhere(root, order[5], label="black")
        return events if when == "after" else really(*args)

    decide((order[1], "keep"))
    monkeypatch.setattr(decisions, "decide", crowded)
    decide((order[0], "drop"))
    row = rows(page, state="all")[5]
    assert (row["sha256"], row["label"], row["based"]) == (order[5], "black", 2)


def test_what_was_stored_is_seen_though_the_decision_failed(page, order, decide, monkeypatch):
    really = decisions.decide

    def failing(*args: Any) -> list[Event]:
        really(*args)
        raise DataError("DISK_FULL", "no space left")

    monkeypatch.setattr(decisions, "decide", failing)
    assert decide((order[0], "drop")).status_code == 503
    assert hashes(page, state="decided") == [order[0]]


@pytest.mark.parametrize("steps", [8, pytest.param(40, marks=pytest.mark.long)])
def test_the_page_says_after_every_step_what_a_new_one_would_say(root, order, steps):
    """Decisions, undos, repeated requests and changes by others, in an order drawn by chance."""
    with Catalog(root) as catalog:
        found = ranking(order)(catalog, None)
    dice = random.Random(7)
    filters = [{}, {"label": "teddy"}, {"side": "valid", "state": "all"}, {"reason": "outlier"}]

    def told(app: FastAPI) -> list[Any]:
        client = TestClient(app, "http://localhost")
        return [[client.get(f"/api/{what}", params=wanted).json() for wanted in filters]
                for what in ("queue", "progress")]  # fmt: skip

    app = make_app(root, CONFIG, lambda *_: found)
    client = TestClient(app, "http://localhost")
    for step in range(steps):
        deed = dice.choice(["keep", "drop", "relabel", "restore", "undo", "undo one", "elsewhere"])
        some = dice.sample(order, dice.choice([1, 1, 3]))
        if deed == "elsewhere":
            elsewhere(root, some[0], status=dice.choice(["ok", "duplicate"]))
        elif deed.startswith("undo"):
            undo(client, **({"event": dice.randint(1, step + 1)} if deed == "undo one" else {}))
        else:
            items = [{"sha256": sha, "action": deed, "label": dice.choice(LABELS)} for sha in some]
            body = {"request": f"r{dice.randint(0, step)}", "items": items}
            tests = sum(SIDES[order.index(sha) % 4] == "test" for sha in some)
            client.post("/api/decide", json={**body, "test_side": tests}, headers=PAGE)
        assert told(app) == told(make_app(root, CONFIG, lambda *_: found)), (step, deed)
    with Catalog(root) as catalog:
        assert len(decisions.history(catalog)) > steps // 2


def test_windows_at_the_same_time_take_turns(root, order, monkeypatch):
    """Each decides on a photo of its own, and all on one: that succeeds once; nothing is lost."""
    really, inside, most = decisions.decide, [], []

    def slowly(*args: Any) -> list[Event]:
        inside.append(args)
        most.append(len(inside))
        time.sleep(0.01)  # so that another would come in
        try:
            return really(*args)
        finally:
            inside.pop()

    monkeypatch.setattr(decisions, "decide", slowly)
    app = make_app(root, CONFIG, ranking(order))
    windows = [TestClient(app, "http://localhost") for _ in range(8)]

    def post(client: TestClient, sha256: str, request: str) -> int:
        item = {"sha256": sha256, "action": "keep", "based": 0}
        body = {"request": request, "items": [item]}
        return int(client.post("/api/decide", json=body, headers=PAGE).status_code)

    def work(n: int) -> tuple[int, int, int]:
        own = post(windows[n], order[n + 1], f"own{n}")
        return own, post(windows[n], order[0], f"same{n}"), len(rows(windows[n], state="decided"))

    with ThreadPoolExecutor(8) as crowd:
        found = list(crowd.map(work, range(8)))
    assert most == [1] * 16
    assert [own for own, _, _ in found] == [200] * 8
    assert sorted(same for _, same, _ in found) == [200] + [409] * 7
    assert all(2 <= seen <= 9 for _, _, seen in found)
    assert hashes(windows[0], state="decided") == order[:9]


def test_what_undo_announces_leaves_out_take_downs_and_joins_no_runs(page, root, order, decide):
    def next_one() -> str:
        return str(page.get("/api/progress").json()["undo"]["words"])

    decide((order[0], "drop"), (order[1], "drop"))
    with Catalog(root) as catalog, catalog.transaction():
        decisions.bar(catalog, catalog.photo(order[1]), "take-down", "TAKEN_DOWN: asked to")
    assert next_one() == "drop of 1 photo"
    with Catalog(root) as catalog, catalog.transaction():
        for sha in order[4:6]:
            decisions.relabel(catalog, catalog.photo(sha), "teddy", "import", "moved")
    assert next_one() == "relabel of 1 photo to teddy (by a run: import)"
    assert [row["sha256"] for row in undo(page).json()["rows"]] == [order[5]]


# -- pictures --------------------------------------------------------------------------------------


def put(root: Path, data: bytes, format: str) -> str:
    sha = hashlib.sha256(data).hexdigest()
    photo = Photo(sha, "new", "black", format, 9, 9, len(data), "00", 50.0, split="train")
    with Catalog(root) as catalog:
        catalog.file(photo).parent.mkdir(parents=True, exist_ok=True)
        catalog.file(photo).write_bytes(data)
        with catalog.transaction():
            catalog.put_photos([photo])
    return sha


@pytest.mark.parametrize("size", [160, 400, 1000])
def test_a_photo_comes_shrunk_upright_and_bare(page, root, size):
    sha = put(root, saved(drawn(1500, 1200), "JPEG", exif=exif(6)), "jpeg")
    for _ in range(2):  # decoded, then from memory
        answer = page.get(f"/photo/{sha}", params={"size": size})
        assert answer.headers["content-type"] == "image/jpeg"
        assert "immutable" in answer.headers["cache-control"]
        assert b"Exif" not in answer.content
        with Image.open(BytesIO(answer.content)) as image:
            assert (image.format, image.size) == ("JPEG", (size * 4 // 5, size))


def test_a_small_photo_is_not_blown_up(page, order):
    with Image.open(BytesIO(page.get(f"/photo/{order[0]}?size=400").content)) as image:
        assert image.size == (60, 48)


@pytest.mark.parametrize("size", ["0", "161", "100000", "-1", "x"])
def test_no_other_sizes(page, order, size):
    assert page.get(f"/photo/{order[0]}?size={size}").status_code == 400


def test_a_dataset_that_was_cloned_without_git_lfs(
    page: TestClient, root: Path, order: list[str]
) -> None:
    """Its photos are pointers; the answer to each picture says so."""
    (root / "photos" / order[0][:2] / f"{order[0]}.png").write_bytes(lfs_pointer())
    answer = page.get(f"/photo/{order[0]}?size=400")
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "NOT_AN_IMAGE")
    assert "git lfs pull" in answer.json()["error"]["message"]


def test_a_damaged_file_is_a_sentence_and_can_still_be_decided(page, root, order, decide):
    path = next(root.glob(f"photos/*/{order[0]}.png"))
    path.write_bytes(path.read_bytes()[:200])
    answer = page.get(f"/photo/{order[0]}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "TRUNCATED")
    assert answer.headers["cache-control"] == "no-store"
    assert decide((order[0], "drop")).status_code == 200


def test_a_removed_file_is_not_shown_from_memory_and_no_path_is_told(page, root, order):
    assert page.get(f"/photo/{order[0]}").status_code == 200
    next(root.glob(f"photos/*/{order[0]}.png")).unlink()
    answer = page.get(f"/photo/{order[0]}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "UNREADABLE")
    assert str(root) not in answer.text


@pytest.mark.parametrize("number", [2**63, -(2**63), 2**64, 10**400, 1.5, True, "7", [], 1e308])
@pytest.mark.parametrize("where", ["based", "test_side", "event", "shown"])
def test_numbers_beyond_64_bits(page, order, where, number):
    """And what is no whole number: 400, and nothing has changed."""
    item = {"sha256": order[0], "action": "keep", "label": ""}
    if where in ("event", "shown"):
        answer = page.post("/api/undo", json={where: number}, headers=PAGE)
    elif where == "based":
        body = {"request": "a", "items": [{**item, "based": number}]}
        answer = page.post("/api/decide", json=body, headers=PAGE)
    else:
        body = {"request": "a", "items": [item], "test_side": number}
        answer = page.post("/api/decide", json=body, headers=PAGE)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["code"] == "BAD_REQUEST"


@pytest.mark.parametrize(
    "body",
    [b'{"request": "a", "items": [{"sha256": "\\ud800", "action": "keep"}]}',
     b'{"request": "a", "items": NaN}', b'{"event": 1e999}', b'{"event": -Infinity}',
     b'{"request": "a", "items": [{"sha256": "a", "action": "relabel", "label": "\\udfff"}]}'],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/api/decide", "/api/undo"])
def test_json_that_is_none_by_the_standard(page, path, body):
    headers = {**PAGE, "Content-Type": "application/json"}
    answer = page.post(path, content=body, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "BAD_REQUEST")


# -- whom it refuses -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bound", "host", "good"),
    [
        ("127.0.0.1", "127.0.0.1:7861", True),
        ("127.0.0.1", "LOCALHOST:7861", True),
        ("127.0.0.1", "[::1]:7861", True),
        ("127.0.0.1", "evil.example", False),
        ("127.0.0.1", "evil.example:7861", False),
        ("127.0.0.1", "127.0.0.1.evil.example", False),
        ("127.0.0.1", "127.0.0.1@evil.example", False),
        ("127.0.0.1", "localhost.evil.example", False),
        ("127.0.0.1", "192.168.0.7", False),
        ("127.0.0.1", "[::1", False),
        ("127.0.0.1", "", False),
        ("192.168.0.7", "192.168.0.7:7861", True),
        ("cleaner.lan", "cleaner.lan", True),
        ("0.0.0.0", "192.168.0.7", True),
        ("0.0.0.0", "evil.example", False),
    ],
)
def test_only_under_its_own_name(root, order, bound, host, good):
    client = TestClient(make_app(root, CONFIG, ranking(order), host=bound))
    for path in ("/", "/api/queue", f"/photo/{order[0]}"):
        answer = client.get(path, headers={"Host": host})
        assert answer.status_code == (200 if good else 400)
    if not good:
        assert answer.json()["error"]["code"] == "WRONG_HOST"


@pytest.mark.parametrize("path", ["/api/decide", "/api/undo"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "application/json"}, 403),
        ({"Content-Type": "application/json", "X-Bears": "0"}, 403),
        ({"Content-Type": "text/plain", "X-Bears": "1"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded", "X-Bears": "1"}, 415),
        ({"Content-Type": "application/json", "X-Bears": "1", "Host": "evil.example"}, 400),
    ],
)
def test_no_other_website_can_change_anything(page, root, order, decide, path, headers, status):
    decide((order[0], "keep"))
    body = json.dumps({"request": "r", "items": [{"sha256": order[0], "action": "drop"}]})
    assert page.post(path, content=body, headers=headers).status_code == status
    with Catalog(root) as catalog:
        assert len(decisions.history(catalog)) == 1


def test_no_preflight_is_answered(page):
    asks = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "x-bears"}  # fmt: skip
    answer = page.options("/api/decide", headers=asks)
    assert answer.status_code in (403, 405)
    assert not any(name.startswith("access-control") for name in answer.headers)


@pytest.mark.parametrize("known", [True, False])
def test_a_body_has_a_limit(page, known):
    data = b'{"x": "' + b"a" * 1_100_000 + b'"}'
    content = data if known else (data[i : i + 50_000] for i in range(0, len(data), 50_000))
    head = {**PAGE, "Content-Type": "application/json"}
    answer = page.post("/api/decide", content=content, headers=head)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "TOO_LARGE")


@pytest.mark.parametrize(
    "path",
    ["/", "/review.js", "/review.css", "/api/project", "/api/queue", "/api/decide", "/nothing"],
)
def test_head_is_answered_wherever_get_is(page, path):
    found, wanted = page.head(path), page.get(path)
    assert (found.status_code, found.content) == (wanted.status_code, b"")
    assert found.status_code == 200 or path in ("/api/decide", "/nothing")
    assert found.headers["content-type"] == wanted.headers["content-type"]
    assert found.headers["content-security-policy"] == wanted.headers["content-security-policy"]


@pytest.mark.parametrize("path", ["/", "/review.js", "/api/queue", "/photo/x", "/nothing"])
def test_every_answer_carries_the_security_headers(page, path):
    for headers in ({}, {"Host": "evil.example"}):
        found = page.get(path, headers=headers).headers
        assert found["content-security-policy"].startswith("default-src 'self';")
        assert "frame-ancestors 'none'" in found["content-security-policy"]
        assert found["x-content-type-options"] == "nosniff"
        assert found["referrer-policy"] == "no-referrer"
        assert found["cross-origin-resource-policy"] == "same-origin"


def test_the_page_is_whole_and_asks_nobody_else(page):
    kinds = {"html": "text/html", "css": "text/css", "js": "javascript"}
    folder = ROOT / "bear_classifier" / "review" / "static"
    for path in ["/", *(f"/{name}" for name in files_of_page(folder))]:
        answer = page.get(path)
        assert (
            kinds[path.rpartition(".")[2] if path[1:] else "html"] in answer.headers["content-type"]
        )
        namespaces = "http://www.w3.org/"  # names, not addresses
        own = answer.text.replace(namespaces, "")
        assert re.findall(r"(?:https?:)?//[a-z]", own if "/vendor/" not in path else "") == []
    wanted = re.findall(r'(?:href|src)="([^"]+)"', page.get("/").text)
    assert sorted(wanted) == ["base.css", "review.css", "review.js"]
    assert page.get("/docs").status_code == page.get("/openapi.json").status_code == 404


def test_the_page_sets_texts_as_texts():
    scripts = sorted((ROOT / "bear_classifier" / "review" / "static").rglob("*.js"))
    assert len(scripts) > 8
    for script in scripts:
        for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
            assert way not in script.read_text(encoding="utf-8"), script


def test_texts_of_strangers_are_passed_on_as_they_are(root, order):
    elsewhere(root, order[0], origin=EVIL)
    client = TestClient(make_app(root, CONFIG, ranking(order, EVIL)), "http://localhost")
    answer = client.get(f"/api/photo/{order[0]}")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["origin"] == EVIL


def test_a_taken_port_is_a_sentence(root, order):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"PORT_TAKEN: cannot listen on 127.0.0.1:{port}"):
            serve_review(Project(CONFIG, root, root), "127.0.0.1", port)


def test_a_photo_dropped_earlier_can_still_be_found_and_restored(page, root, order, decide):
    decide((order[2], "drop"))
    again = TestClient(make_app(root, CONFIG, ranking(order)), "http://localhost")
    found = again.get("/api/queue", params={"state": "decided"}).json()["rows"]
    assert [(row["sha256"], row["status"]) for row in found] == [(order[2], "dropped")]
    assert hashes(again, state="all") == order  # in its place
    assert again.get("/api/progress").json()["of"] == 24
    item = {"sha256": order[2], "action": "restore"}
    body = {"request": "r", "items": [item], "test_side": 1}
    assert again.post("/api/decide", json=body, headers=PAGE).status_code == 200
    assert state(root, order[2]) == ("teddy", "ok")


@pytest.fixture
def learning(root: Path, order: list[str]) -> Iterator[TestClient]:
    """A page whose order learns: photos 0, 3, 6 ... of each side of a circle, all as suspect."""
    angle = 2 * np.pi * np.arange(24) / 24
    features = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    numbers, tenth = np.arange(24), np.full(24, 0.1)
    splits = words([SIDES[n % 4] for n in range(24)])
    classes, every = tuple(LABELS), np.ones(24, dtype=bool)
    evidence = OrderEvidence(
        Hashes.of(order), classes, numbers % 3, tenth, tenth, numbers, every, features,
        ~splits.is_("test"),
    )  # fmt: skip
    judged = Judged(
        classes, evidence, words([LABELS[n % 3] for n in range(24)]), splits,
        tenth[:, None] * np.eye(1, len(CAUSES)), np.eye(3)[numbers % 3], 100 * np.ones(24, "f4"),
        np.zeros(24, "f4"), np.zeros(0, int), np.zeros((0, 8), int), 1,
    )  # fmt: skip
    with TestClient(make_app(root, CONFIG, lambda *_: judged), "http://127.0.0.1:7861") as client:
        yield client


def test_the_order_is_made_anew_after_each_decision(
    learning: TestClient, root: Path, order: list[str]
) -> None:
    """Photo 0 is black, as are 3, 6, ... : those near it on the circle are most like it."""
    before = hashes(learning)
    assert before == sorted(order)  # all as suspect as another
    body: dict[str, Any] = {"request": "a", "items": [{"sha256": order[0], "action": "drop"}]}
    answer = learning.post("/api/decide", json=body, headers=PAGE)
    assert answer.status_code == 200
    after = learning.get("/api/queue").json()["rows"]
    assert [row["sha256"] for row in after[:2]] == sorted(
        [order[3], order[21]]
    )  # 0 is no more open
    assert after[0]["reasons"][0] == LIKE_FAULTS
    assert [row["score"] for row in after] == sorted((row["score"] for row in after), reverse=True)
    every = learning.get("/api/queue", params={"state": "all"}).json()["rows"]
    assert [row["rank"] for row in every] == list(range(24))
    black = [row["sha256"] for row in after if row["label"] == "black" and row["split"] != "test"]
    assert black[-1] in (order[9], order[12], order[15])  # across from it
    full = learning.get(f"/api/photo/{after[0]['sha256']}").json()
    assert (full["sha256"], full["score"]) == (after[0]["sha256"], after[0]["score"])
    undone = learning.post("/api/undo", json={}, headers=PAGE)
    assert undone.status_code == 200
    assert hashes(learning) == before


def test_decisions_of_others_make_the_order_anew(
    learning: TestClient, root: Path, order: list[str]
) -> None:
    before = hashes(learning)
    with Catalog(root) as catalog:
        decisions.decide(catalog, LABELS, [Decision(order[4], "drop")], "ann", "1")
    assert hashes(learning)[:2] == sorted([order[1], order[7]])
    with Catalog(root) as catalog:
        decisions.undo(catalog, "ann")
    assert hashes(learning) == before


def test_the_last_chances_are_trusted_as_far_as_they_came_true() -> None:
    early, late = [(0.9, True)] * 70, [(0.9, False)] * 50
    factor = 0.25 / (40 * 0.9 + 0.25)
    assert chances_left([*early, *late], np.array([0.4, 0.2])) == pytest.approx(
        [factor * 0.4, factor * 0.2]
    )
    assert chances_left([(0.1, True)] * 20, np.array([0.9, 0.1])) == pytest.approx(
        [1.0, 21 / 3 * 0.1]
    )
    assert chances_left([], np.array([0.4])).tolist() == [0.4]


def test_decisions_without_a_chance_say_nothing_of_the_order(
    page: TestClient, root: Path, order: list[str]
) -> None:
    """A table of faults that somebody found elsewhere."""
    before = page.get("/api/progress").json()["faults"]
    with Catalog(root) as catalog:
        score = next(r["score"] for r in page.get("/api/queue").json()["rows"]
                     if r["sha256"] == order[4])  # fmt: skip
        decisions.decide(catalog, LABELS, [Decision(order[4], "drop")], "ann", "1")
    after = page.get("/api/progress").json()
    assert after["looked"] == 1
    assert after["faults"] == pytest.approx(before - score)


def test_chances_are_trusted_as_far_as_they_came_true() -> None:
    assert suspicion_factor([]) == 1
    assert suspicion_factor([(0.5, True)] * 10) == pytest.approx(11.5 / 6.5)
    assert suspicion_factor([(0.9, False)]) == pytest.approx(1.95 / 2.85)  # one does not decide
    assert suspicion_factor([(0.9, False)] * 100) == pytest.approx(0.25 / 90.25)
    assert suspicion_factor([(0.8, True)] * 80 + [(0.8, False)] * 20) == pytest.approx(1)

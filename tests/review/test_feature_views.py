"""The routes of "more like this", groups and map, and decisions about many photos at once."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from looks import SAME, looks, write_evidence
from test_review import CONFIG, LABELS, PAGE, dataset, ranking

from bear_classifier.dataset import decisions
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.review import feature_views, map_places
from bear_classifier.review.app import make_app
from bear_classifier.review.map_places import MapPlaces
from bear_classifier.stats.projections import flat_map

COUNT = 96
ALIKE = [3 * n for n in range(SAME)]  # of the class black
STATIC = Path(feature_views.__file__).parent / "static"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def order(root: Path) -> list[str]:
    hashes = dataset(root, COUNT)
    write_evidence(root, hashes, looks(COUNT))
    return hashes


@pytest.fixture
def page(root: Path, order: list[str]) -> Iterator[TestClient]:
    app = make_app(root, CONFIG, ranking(order))
    with TestClient(app, "http://127.0.0.1:7861", raise_server_exceptions=False) as client:
        yield client


def decide(
    page: TestClient, hashes: list[str], action: str, label: str = "", name: str = "r"
) -> Any:
    found = page.post("/api/rows", json={"sha256": hashes}, headers=PAGE).json()["rows"]
    items = [
        {"sha256": r["sha256"], "action": action, "label": label, "based": r["based"]}
        for r in found
    ]
    tests = sum(r["split"] == "test" and action != "keep" for r in found)
    body = {"request": name, "items": items, "test_side": tests}
    return page.post("/api/decide", json=body, headers=PAGE)


def test_more_like_this_is_of_all_classes_the_nearest_first(
    page: TestClient, order: list[str]
) -> None:
    found = page.get(f"/api/alike/{order[0]}", params={"limit": 40}).json()
    shown = [row["sha256"] for row in found["rows"]]
    assert shown[0] == order[0]
    assert set(shown[:SAME]) == {order[n] for n in ALIKE}
    assert len(shown) == len(set(shown)) == 41
    assert found["likeness"] == sorted(found["likeness"], reverse=True)
    assert {row["label"] for row in found["rows"]} == set(LABELS)
    features = looks(COUNT)
    plain = (features - features.mean(0)) / features.std(0)
    plain /= np.linalg.norm(plain, axis=1, keepdims=True)
    assert shown == [order[n] for n in np.argsort(-plain @ plain[0], kind="stable")[:41]]
    assert page.get("/api/alike/none").status_code == 404


def test_groups_say_what_they_are_and_what_is_open(page: TestClient, order: list[str]) -> None:
    found = page.get("/api/groups").json()
    first = found["groups"][0]
    assert (first["title"], first["label"], first["open"]) == ("6 photos of black", "black", SAME)
    assert set(first["sha256"]) == {order[n] for n in ALIKE}
    assert {row["sha256"] for row in first["rows"]} == set(first["sha256"])
    assert not found["making"]
    assert decide(page, first["sha256"], "drop").status_code == 200
    after = page.get("/api/groups").json()["groups"]
    assert after[-1]["number"] == first["number"]  # those with open photos come first
    assert after[-1]["states"] == {"dropped": SAME}
    only = page.get("/api/groups", params={"label": "teddy"}).json()["groups"]
    assert {group["label"] for group in only} <= {"teddy"}
    whole = page.get("/api/groups", params={"limit": 100}).json()["groups"]
    some = page.get("/api/groups", params={"limit": 1, "offset": 1}).json()
    assert [g["number"] for g in some["groups"]] == [whole[1]["number"]]
    assert some["total"] == len(whole)


def test_one_decision_about_a_group_and_one_undo(
    page: TestClient, root: Path, order: list[str]
) -> None:
    hashes = [order[n] for n in ALIKE]
    answer = decide(page, hashes, "relabel", "teddy").json()
    assert answer["progress"]["undo"]["words"] == "relabel of 6 photos to teddy"
    event = answer["progress"]["undo"]["event"]
    with Catalog(root) as catalog:
        assert {catalog.photo(sha).label for sha in hashes} == {"teddy"}  # type: ignore[union-attr]
    undone = page.post("/api/undo", json={"shown": event}, headers=PAGE).json()
    assert {row["sha256"] for row in undone["rows"]} == set(hashes)
    with Catalog(root) as catalog:
        assert {catalog.photo(sha).label for sha in hashes} == {"black"}  # type: ignore[union-attr]


def test_the_map_has_a_place_and_the_state_of_each_photo(
    page: TestClient, root: Path, order: list[str]
) -> None:
    decide(page, [order[0]], "drop", name="a")
    decide(page, [order[1]], "relabel", "teddy", name="b")
    decide(page, [order[4]], "keep", name="c")
    found = page.get("/api/map").json()
    assert found["sha256"] == order
    at = {sha: n for n, sha in enumerate(found["sha256"])}
    states = [found["states"][found["state"][at[order[n]]]] for n in (0, 1, 2, 4)]
    assert states == ["dropped", "relabelled", "open", "kept"]
    assert found["labels"][found["label"][at[order[1]]]] == "teddy"
    places = np.array([found["x"], found["y"]])
    assert places.shape == (2, COUNT)
    assert np.abs(places).max() == 10_000
    assert found["score"][at[order[0]]] == pytest.approx(0.9, abs=1e-3)


def test_the_map_is_made_once_and_kept_beside_the_features(
    page: TestClient, root: Path, order: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    features = looks(COUNT)
    places = MapPlaces(root / "features", order, features)
    method, at = places.now()
    assert method in ("PCA", "t-SNE")
    if method == "PCA":
        assert (at == flat_map(features)).all()
    places.wait()
    method, at = places.now()
    assert (method, places.making) == ("t-SNE", False)
    monkeypatch.setattr(map_places, "embedding_map", lambda _: pytest.fail("made anew"))
    again = MapPlaces(root / "features", order, features).now()
    assert again[0] == "t-SNE"
    assert again[1] == pytest.approx(at, abs=1e-6)
    monkeypatch.setattr(map_places, "embedding_map", lambda x: np.zeros((len(x), 2)))
    other = MapPlaces(root / "features", order, features + 1)  # of other features
    assert other.now()[0] == "PCA"
    other.wait()
    kept = next((root / "features").glob("map-*.npz"))
    kept.write_bytes(kept.read_bytes()[:50])  # a damaged file is made anew
    MapPlaces(root / "features", order, features).now()


def test_rows_of_many_photos_have_a_limit(page: TestClient, order: list[str]) -> None:
    def post(hashes: Any) -> Any:
        return page.post("/api/rows", json={"sha256": hashes}, headers=PAGE)

    assert [row["sha256"] for row in post([order[3], "none", order[1]]).json()["rows"]] == [
        order[3], order[1]]  # fmt: skip
    assert post(["x"] * 1001).status_code == post("x").status_code == post([1]).status_code == 400
    assert page.post("/api/rows", json={"sha256": []}).status_code == 403


def test_without_a_first_model_the_views_say_so(root: Path) -> None:
    order = dataset(root, 12)
    client = TestClient(make_app(root, CONFIG, ranking(order)), "http://localhost")
    for path in (f"/api/alike/{order[0]}", "/api/groups", "/api/map"):
        answer = client.get(path)
        assert answer.json()["error"]["code"] == "NOT_PROBED"
        assert "bears probe" in answer.json()["error"]["message"]


def test_photos_that_came_or_left_since_are_passed_over(
    page: TestClient, root: Path, order: list[str]
) -> None:
    write_evidence(root, [*order[:-1], "f" * 64], looks(COUNT))  # one is not in the catalog
    found = page.get("/api/map").json()
    assert found["sha256"] == order[:-1]
    assert page.get(f"/api/alike/{order[-1]}").status_code == 404  # no features of it
    assert "f" * 64 not in str(page.get(f"/api/alike/{order[0]}", params={"limit": 999}).json())


def test_libraries_of_others_are_as_they_were_published() -> None:
    text = (STATIC / "vendor" / "README.md").read_text(encoding="utf-8")
    sums = dict(
        reversed(line.split()) for line in text.splitlines() if re.match(r" {4}[0-9a-f]{64} ", line)
    )
    files = {
        path.relative_to(STATIC / "vendor").as_posix(): path
        for path in (STATIC / "vendor").rglob("*")
        if path.is_file() and path.name != "README.md"
    }
    assert set(files) == set(sums)
    found = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}
    assert found == sums
    assert sum(path.stat().st_size for path in files.values()) < 1_000_000
    scripts = [path for name, path in files.items() if name.endswith(".js")]
    assert all(b"new Function" not in path.read_bytes() for path in scripts)
    folders = {name.partition("/")[0] for name in files}
    assert all((STATIC / "vendor" / folder / "LICENSE").exists() for folder in folders)


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("steps", "seed"), [(300, 1), pytest.param(10_000, 2, marks=pytest.mark.long)]
)
def test_random_decisions_about_many_photos_lose_nothing(
    root: Path, order: list[str], steps: int, seed: int
) -> None:
    """Keep, drop, relabel and restore of one to forty photos, undo, requests sent twice; at the end
    every batch is taken back, and the photos are as they were."""
    state = random.Random(seed)

    def photos() -> dict[str, tuple[str, str, str]]:
        with Catalog(root) as catalog:
            return {p.sha256: (p.label, p.status, p.reason) for p in catalog.photos()}

    before = photos()
    expected = dict(before)
    stack: list[dict[str, tuple[str, str, str]]] = []  # what each batch in force changed
    with Catalog(root, shared=True) as catalog:
        for step in range(steps):
            if stack and state.random() < 0.5:
                decisions.undo(catalog, "review")
                expected |= stack.pop()
                continue
            action = state.choice(["keep", "drop", "relabel", "restore"])
            status = "dropped" if action == "restore" else "ok"
            fit = [sha for sha in order if expected[sha][1] == status]
            if not fit:
                continue
            chosen = state.sample(fit, min(len(fit), state.choice([1] * 30 + [3] * 10 + [40])))
            label = state.choice(LABELS) if action == "relabel" else ""
            batch = [decisions.Decision(sha, action, label) for sha in chosen]  # type: ignore[arg-type]
            for _ in range(state.choice([1, 1, 2])):  # a request that is sent twice counts once
                decisions.decide(catalog, LABELS, batch, "review", f"r{step}")
            stack.append({sha: expected[sha] for sha in chosen})
            for sha in chosen:
                old_label, old_status, reason = expected[sha]
                if action == "relabel":
                    expected[sha] = (label, old_status, reason)
                elif action == "drop":
                    expected[sha] = (old_label, "dropped", "dropped by review")
                elif action == "restore":
                    expected[sha] = (old_label, "ok", before[sha][2])
            if step % 500 == 0:
                assert photos() == expected, step
        assert photos() == expected
        while stack:
            decisions.undo(catalog, "review")
            expected |= stack.pop()
    assert photos() == expected == before


def test_undo_is_offered_however_much_was_undone(page: TestClient, order: list[str]) -> None:
    """Batches that were taken back stand between the newest event and the one to undo next."""
    hashes = order[:90]
    assert decide(page, [order[95]], "keep", name="first").status_code == 200
    for n in range(20):
        answer = decide(page, hashes, "keep", name=f"r{n}").json()
        shown = answer["progress"]["undo"]["event"]
        page.post("/api/undo", json={"shown": shown}, headers=PAGE)
    assert page.get("/api/progress").json()["undo"]["words"] == "keep of 1 photo"

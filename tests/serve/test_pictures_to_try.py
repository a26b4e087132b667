"""Pictures to try reach the page from the bundle, and nothing else does."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from bundles import rewrite
from corpus import drawn, saved
from starlette.testclient import TestClient

from bear_classifier.errors import ModelError
from bear_classifier.serve.app import make_app
from bear_classifier.serve.queue import Service, served_models
from bear_classifier.ship import bundle

PICTURES = {f"example-{n:02}.jpeg": saved(drawn(90, 60, seed=n), "JPEG") for n in range(2)}


@pytest.fixture
def model(model_dir: Path, tmp_path: Path) -> Path:
    """A bundle with two pictures; which ones a tiny network gets right is left to chance."""
    place = Path(shutil.copytree(model_dir, tmp_path / "tiny"))
    for old in place.glob("example-*.jpeg"):
        old.unlink()
    for name, data in PICTURES.items():
        (place / name).write_bytes(data)
    rewrite(place, examples=["teddy", "black"])
    return place


def client(model: Path) -> TestClient:
    service = Service(served_models(model), 1)
    return TestClient(make_app(service), base_url="http://localhost")


def test_the_page_is_told_where_they_are(model: Path) -> None:
    here = client(model)
    (about,) = here.get("/api/v1/models").json()["models"]
    assert [one["label"] for one in about["examples"]] == ["teddy", "black"]
    for one, data in zip(about["examples"], PICTURES.values(), strict=True):
        answer = here.get(f"/{one['image']}")
        assert (answer.content, answer.headers["content-type"]) == (data, "image/jpeg")
    for number in ("2", "-1", "x"):
        assert here.get(f"/api/v1/models/tiny/examples/{number}.jpeg").status_code != 200


@pytest.mark.parametrize(
    ("named", "found"),
    [(["teddy"], ["teddy"]), ([7, "black"], ["black"]), (["koala", "black"], ["black"]),
     (["black"] * 4, ["black"] * 2), ("black", []), (None, [])],
)  # fmt: skip
def test_what_a_bundle_says_of_them_may_be_odd(model: Path, named: Any, found: list[str]) -> None:
    rewrite(model, examples=named)
    assert [label for label, _ in bundle.pictures_to_try(bundle.load(model))] == found


def test_one_that_was_changed_is_refused(model: Path) -> None:
    opened = bundle.load(model)
    (model / "example-00.jpeg").write_bytes(b"another")
    with pytest.raises(ModelError, match="MODEL_CORRUPT"):
        bundle.pictures_to_try(opened)

"""What the service hands out so that a model runs in a visitor's browser: made once, when somebody
first asks, and checked before it is handed out."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from corpus import ROOT
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.testclient import TestClient
from waiting import until

from bear_classifier.config.settings import ServeConfig
from bear_classifier.images import decoder
from bear_classifier.serve import device_model, on_device
from bear_classifier.serve.app import make_app
from bear_classifier.serve.on_device import OnDevice, device_routes
from bear_classifier.serve.queue import ServedModel, Service, served_models
from bear_classifier.ship.complete_onnx import Complete
from bear_classifier.web.guard import Refused
from bear_classifier.web.page_assets import ASSETS

MODELS, DEVICE = "/api/v1/models", "/api/v1/models/tiny/device"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With something under the names of the libraries."""
    for asset in ASSETS:
        for name in asset.files.values():
            path = tmp_path / "cache" / "assets" / asset.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(f"this is {name}".encode())
    monkeypatch.setenv("BEARS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def served(model_dir: Path) -> ServedModel:
    return served_models(model_dir)[0]


@contextlib.contextmanager
def service(served: ServedModel) -> Iterator[TestClient]:
    """The routes alone, in an application that starts and stops."""

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> Any:
        yield
        await device.close()

    def refusal(_: Request, exc: Any) -> JSONResponse:
        return JSONResponse({"code": exc.code, "message": exc.sentence}, exc.status)

    device = OnDevice({served.name: served}, True)
    app = FastAPI(lifespan=lifespan, exception_handlers={Refused: refusal})
    app.include_router(device_routes({served.name: served}, device))
    with TestClient(app) as client:
        yield client


def made(client: TestClient) -> Any:
    """The answer once nothing is being made any more."""

    def answer() -> Any:
        found = client.get(DEVICE)
        return None if found.json().get("code") == "MAKING" else found

    return until(answer, "the model was not made")


def pages(served: ServedModel, **settings: Any) -> TestClient:
    """The whole application, which is not started."""
    app = make_app(Service([served], 8), ServeConfig(**settings))
    return TestClient(app, base_url="http://localhost")


def test_the_model_is_made_once_and_is_the_bundle_s(
    served: ServedModel, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with service(served) as client:
        facts = made(client).json()
        data = client.get(facts["model"]["name"]).content
    assert hashlib.sha256(data).hexdigest() == facts["model"]["sha256"]
    assert (len(data), Complete(data).labels) == (facts["model"]["bytes"], facts["labels"])
    wasm = f"this is {Path(facts['wasm']['name']).name}".encode()
    assert hashlib.sha256(wasm).hexdigest() == facts["wasm"]["sha256"]
    monkeypatch.setattr(on_device, "_make", None)  # nothing is made a second time
    with service(served) as client:
        assert client.get(DEVICE).json() == facts
        assert client.get(facts["model"]["name"]).content == data


@pytest.fixture
def by_hand(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Models are made in this process, of few bytes; names of those that were."""
    made = []

    async def make(model: ServedModel, folder: Path) -> None:
        made.append(model.name)
        file = device_model.file_facts("device/x.onnx", b"a model")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "x.onnx").write_bytes(b"a model")
        (folder / "facts.json").write_text(
            json.dumps({"model": file, "labels": []}), encoding="utf-8"
        )

    monkeypatch.setattr(on_device, "_make", make)
    return made


def test_a_file_that_was_changed_is_made_anew(
    served: ServedModel, cache: Path, by_hand: list[str]
) -> None:
    for _ in range(2):
        with service(served) as client:
            assert client.get("/device/x.onnx").status_code == 404  # nobody has asked for it
            assert client.get(DEVICE).status_code == 200
            assert client.get("/device/x.onnx").content == b"a model"
    assert by_hand == ["tiny"]
    (file,) = cache.glob("device/*/x.onnx")
    file.write_bytes(b"another")
    with service(served) as client:
        assert client.get(DEVICE).status_code == 200
        assert client.get("/device/x.onnx").content == b"a model"
    assert by_hand == ["tiny", "tiny"]


def test_the_cache_keeps_few_models(served: ServedModel, cache: Path, by_hand: list[str]) -> None:
    for number in range(12):
        old = cache / "device" / f"old{number}" / "facts.json"
        old.parent.mkdir(parents=True)
        old.write_text("{}", encoding="utf-8")
        os.utime(old, (number, number))
    with service(served) as client:
        assert client.get(DEVICE).status_code == 200
    left = sorted(path.name for path in (cache / "device").iterdir() if path.name[:3] == "old")
    assert left == sorted(f"old{number}" for number in range(5, 12))


def test_why_it_cannot_be_made_is_said(
    served: ServedModel, cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copytree(served.path, tmp_path / "copy")
    (tmp_path / "copy" / "README.md").write_text("changed", encoding="utf-8")
    there = ServedModel(served.name, tmp_path / "copy", served.about, "")
    with service(there) as client:
        answer = made(client)
    assert (answer.status_code, answer.json()["code"]) == (503, "NOT_ON_DEVICE")
    assert "README.md" in answer.json()["message"]
    monkeypatch.setattr(on_device, "cache_folder", lambda: None)
    with service(served) as client:
        assert "set BEARS_CACHE to one" in made(client).json()["message"]


def test_who_does_not_want_it_offers_nothing(served: ServedModel, cache: Path) -> None:
    client = pages(served, on_device=False)
    assert client.get(MODELS).json()["on_device"] is False
    assert client.get(DEVICE).status_code == 404
    assert client.get("/ort/ort.wasm.min.mjs").status_code == 404
    assert client.get("/heif/libheif-bundle.mjs").status_code == 200  # keeps HEIC from the server


def test_without_the_libraries_nothing_is_offered(
    served: ServedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEARS_CACHE", str(tmp_path))
    client = pages(served)
    about = client.get(MODELS).json()
    assert (about["on_device"], about["heic"]) == (False, False)
    assert about["models"][0]["device_bytes"] is None
    for path in (DEVICE, "/ort/ort.wasm.min.mjs", "/heif/libheif-bundle.mjs"):
        assert client.get(path).status_code == 404, path


def test_only_workers_may_run_webassembly(served: ServedModel, cache: Path) -> None:
    client = pages(served)
    assert client.get(MODELS).json()["on_device"] is True
    for path in ("/", "/page.js", "/page_device.js", MODELS, "/ort/ort.wasm.min.mjs"):
        assert "wasm" not in client.get(path).headers["content-security-policy"], path
    for path in ("/page_worker.js", "/ort/ort-wasm-simd-threaded.mjs"):  # and its threads
        policy = client.get(path).headers["content-security-policy"]
        assert "script-src 'self' 'wasm-unsafe-eval';" in policy and "'unsafe-eval'" not in policy


def test_every_answer_lets_the_page_be_isolated(served: ServedModel, cache: Path) -> None:
    """Else a browser gives it no memory that threads share."""
    client = pages(served)
    for path in ("/", "/page.js", "/page_worker.js", "/ort/ort-wasm-simd-threaded.mjs", "/nothing"):
        headers = client.get(path).headers
        assert headers["cross-origin-opener-policy"] == "same-origin", path
        assert headers["cross-origin-embedder-policy"] == "require-corp", path
        assert headers["cross-origin-resource-policy"] == "same-origin", path


def test_heads_and_files_that_did_not_change(served: ServedModel, cache: Path) -> None:
    client = pages(served)
    for path in ("/ort/ort-wasm-simd-threaded.wasm", "/heif/libheif-bundle.mjs", "/page_worker.js"):
        whole, head = client.get(path), client.head(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == str(len(whole.content))
    known = client.get("/ort/ort.wasm.min.mjs")
    assert known.headers["content-type"].startswith("text/javascript")
    again = client.get("/ort/ort.wasm.min.mjs", headers={"If-None-Match": known.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_limits_of_photos_are_the_decoder_s(served: ServedModel, cache: Path) -> None:
    limits = pages(served).get(MODELS).json()["limits"]
    assert limits["bytes"] == decoder.MAX_BYTES
    assert limits["megapixels"] == {**decoder.MEGAPIXELS, "deep": decoder.DEEP_AVIF}
    assert (limits["side"], limits["aspect"]) == ([*decoder.PIXEL_LIMITS], decoder.MAX_ASPECT)


def test_the_service_loads_nothing_more_for_it() -> None:
    """What makes the file is another process's business."""
    code = "import sys; import bear_classifier.serve.uvicorn_server; print(*sys.modules)"
    words = [sys.executable, "-c", code]
    loaded = subprocess.run(words, cwd=ROOT, capture_output=True, encoding="utf-8", check=True)
    assert {"torch", "onnx", "bear_classifier.serve.device_model"}.isdisjoint(loaded.stdout.split())

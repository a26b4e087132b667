"""Below a path behind a proxy: gradio's addresses begin with it, and the rest works as before."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from bear_classifier.config.settings import ServeConfig
from bear_classifier.serve.app import make_app
from bear_classifier.serve.queue import Service, served_models

SAID = {"X-Forwarded-Prefix": "/said"}


def client(model_dir: Path, **settings: str) -> TestClient:
    service = Service(served_models(model_dir), 1)
    service.checked = True
    app = make_app(service, ServeConfig(**settings))  # type: ignore[arg-type]
    return TestClient(app, base_url="http://localhost")


@pytest.fixture(scope="module")
def behind_proxy(model_dir: Path) -> Iterator[TestClient]:
    yield client(model_dir, proxy="testclient")


def root_of(answer: str) -> str:
    return str(json.loads(answer)["root"])


def test_gradio_s_addresses_begin_with_the_path(model_dir: Path, behind_proxy: TestClient) -> None:
    """The root is what its page and its client put before all that they ask for."""
    fixed = client(model_dir, root_path="bears/")
    for asked, headers, prefix in (
        (fixed, {}, "/bears"),
        (fixed, SAID, "/bears"),
        (behind_proxy, SAID, "/said"),
        (behind_proxy, {}, ""),
        (behind_proxy, {"X-Forwarded-Prefix": "/a/../b\r\n"}, ""),
        (behind_proxy, {"X-Forwarded-Prefix": "https://elsewhere.example"}, ""),
        (client(model_dir), SAID, ""),  # nobody is believed
    ):
        root = f"http://localhost{prefix}/gradio"
        config = asked.get("/gradio/config", headers=headers)
        assert config.status_code == 200
        assert root_of(config.text) == root
        page = asked.get("/gradio/", headers=headers).text
        assert f'"root":"{root}"' in page


def test_the_rest_is_found_as_before(model_dir: Path, behind_proxy: TestClient) -> None:
    for asked, headers in ((client(model_dir, root_path="/bears"), {}), (behind_proxy, SAID)):
        for path in ("/", "/page.css", "/livez", "/api/v1/models", "/api/v1/models/tiny/card"):
            assert asked.get(path, headers=headers).status_code == 200, path
        assert asked.get("/nothing", headers=headers).status_code == 404
        upload = "/gradio/gradio_api/upload"
        sent = asked.post(upload, headers=headers, files={"files": ("a.txt", b"no photo")})
        assert sent.status_code == 200, sent.text

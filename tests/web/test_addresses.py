"""Which names a page answers to: a name is what DNS rebinding needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from corpus import drawn, saved
from fastapi.testclient import TestClient

from bear_classifier.config.settings import ServeConfig
from bear_classifier.serve import uvicorn_server
from bear_classifier.serve.app import make_app
from bear_classifier.serve.queue import Service, served_models
from bear_classifier.web.addresses import HostNames, is_loopback

PHOTO = saved(drawn(seed=3), "JPEG")


@pytest.mark.parametrize(
    ("bound", "names", "host", "good"),
    [
        ("127.0.0.1", "", "127.0.0.1:7860", True),
        ("127.0.0.1", "", "LOCALHOST", True),
        ("127.0.0.1", "", "localhost.", True),
        ("127.0.0.1", "", "[::1]:7860", True),
        ("127.0.0.1", "", "evil.example:7860", False),
        ("127.0.0.1", "", "localhost.evil.example", False),
        ("127.0.0.1", "", "localhost@evil.example", False),
        ("127.0.0.1", "", "evil.example/@localhost", False),
        ("127.0.0.1", "", "192.168.0.7", False),
        ("127.0.0.1", "", "[::1", False),
        ("127.0.0.1", "", "", False),
        ("127.8.9.1", "", "evil.example", False),
        ("::1", "", "evil.example", False),
        ("127.0.0.1", "bears.example *.example.org", "bears.example", True),
        ("127.0.0.1", "bears.example *.example.org", "BEARS.example.:443", True),
        ("127.0.0.1", "bears.example *.example.org", "a.bears.example", False),
        ("127.0.0.1", "bears.example *.example.org", "a.b.example.org", True),
        ("127.0.0.1", "bears.example *.example.org", "example.org", False),
        ("127.0.0.1", "bears.example *.example.org", "evilexample.org", False),
        ("127.0.0.1", "*", "evil.example", False),
        ("0.0.0.0", "", "anything.example", True),
        ("0.0.0.0", "bears.example", "anything.example", False),
        ("0.0.0.0", "bears.example", "10.0.0.7:7860", True),
        ("192.168.0.7", "bears.example", "192.168.0.7", True),
        ("192.168.0.7", "bears.example", "10.0.0.7", False),
    ],
)
def test_names(bound: str, names: str, host: str, good: bool) -> None:
    assert HostNames(bound, names.split()).answers(host) == good


def test_what_only_this_computer_reaches() -> None:
    assert all(map(is_loopback, ("localhost", "127.0.0.1", "127.3.2.1", "::1")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "bears.example", "")))


def client(model_dir: Path, bound: str, **settings: Any) -> TestClient:
    service = Service(served_models(model_dir), 1)
    service.checked = True
    return TestClient(make_app(service, ServeConfig(**settings), bound), "http://localhost")


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/"), ("GET", "/livez"), ("HEAD", "/"), ("GET", "/gradio/config"),
     ("POST", "/api/v1/classify"), ("POST", "/api/v1/corrections?right=teddy")],
)  # fmt: skip
def test_a_page_elsewhere_cannot_name_itself(
    model_dir: Path, tmp_path: Path, method: str, path: str
) -> None:
    asked = client(model_dir, "127.0.0.1", corrections=str(tmp_path / "kept"))
    headers = {"Host": "evil.example:7860", "Origin": "http://evil.example:7860",
               "Sec-Fetch-Site": "same-origin"}  # fmt: skip
    answer = asked.request(method, path, headers=headers, content=PHOTO)
    assert answer.status_code == 400
    assert method == "HEAD" or answer.json()["code"] == "WRONG_HOST"
    assert not (tmp_path / "kept").exists()


def test_x_forwarded_host_reaches_nobody_but_from_the_proxy(model_dir: Path) -> None:
    """gradio would tell its page to go there."""
    forwarded = {"X-Forwarded-Host": "evil.example"}
    plain = client(model_dir, "0.0.0.0").get("/gradio/config", headers=forwarded)
    assert plain.status_code == 200 and "evil.example" not in plain.text
    behind = client(model_dir, "127.0.0.1", proxy="testclient", names="bears.example")
    assert behind.get("/livez", headers=forwarded).json()["code"] == "WRONG_HOST"
    named = behind.get("/gradio/config", headers={"X-Forwarded-Host": "bears.example"})
    assert named.status_code == 200 and "bears.example" in named.text


def test_the_start_says_who_reaches_it_and_which_names_it_lacks() -> None:
    assert uvicorn_server.reachable("127.0.0.1", ServeConfig()) == []
    (open_to,) = uvicorn_server.reachable("0.0.0.0", ServeConfig())
    assert "Everybody who reaches 0.0.0.0 can ask it" in open_to
    (lacking,) = uvicorn_server.reachable("127.0.0.1", ServeConfig(proxy="127.0.0.1"))
    assert "serve.names is not" in lacking and "is refused" in lacking
    assert uvicorn_server.reachable("::1", ServeConfig(proxy="::1", names="bears.example")) == []
    assert len(uvicorn_server.reachable("::", ServeConfig(proxy="10.0.0.1"))) == 2

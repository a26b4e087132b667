"""Who gets into the studio: the page itself on this computer; elsewhere whoever has the token."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from bear_classifier.studio.app import make_app
from bear_classifier.studio.guard import StudioGate

OURS = {"X-Bears": "1", "Content-Type": "application/json"}
NEW = {"name": "mine", "classes": ["a", "b"]}


def client(tmp_path: Path, host: str = "127.0.0.1", at: str = "http://localhost") -> TestClient:
    return TestClient(make_app(tmp_path, host, "secret"), at, follow_redirects=False)


def test_on_this_computer_no_token_is_asked_for(tmp_path: Path) -> None:
    page = client(tmp_path)
    assert page.get("/").status_code == 200
    assert page.get("/api/projects").json()["who_can_reach"].startswith("Only this computer")
    assert page.post("/api/projects", json=NEW, headers=OURS).status_code == 201


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Content-Type": "application/json"}, "NOT_THE_PAGE"),
        ({**OURS, "Content-Type": "text/plain"}, "NOT_JSON"),
        ({**OURS, "Content-Type": "multipart/form-data"}, "NOT_JSON"),
        ({**OURS, "Origin": "http://evil.example"}, "OTHER_SITE"),
        ({**OURS, "Origin": "null"}, "OTHER_SITE"),
        ({**OURS, "Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"}, "OTHER_SITE"),
        ({**OURS, "Host": "evil.example"}, "NO_TOKEN"),
        ({**OURS, "Host": "evil.example", "Origin": "http://evil.example"}, "NO_TOKEN"),
    ],
)
def test_other_pages_change_nothing(tmp_path: Path, headers: dict[str, str], code: str) -> None:
    answer = client(tmp_path).post("/api/projects", content='{"name":"x"}', headers=headers)
    assert answer.json()["error"]["code"] == code
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("bound", "at"),
    [("0.0.0.0", "http://192.168.0.7:7862"), ("0.0.0.0", "http://localhost:7862"),
     ("127.0.0.1", "http://hub.example.org")],
)  # fmt: skip
def test_the_token_opens_it_elsewhere(tmp_path: Path, bound: str, at: str) -> None:
    page = client(tmp_path, bound, at)
    asked = page.get("/")
    assert asked.status_code == 401 and 'name="token"' in asked.text
    assert page.get("/api/projects").json()["error"]["code"] == "NO_TOKEN"
    assert page.get("/studio.js").status_code == 401
    assert page.get("/?token=wrong").status_code == 401
    entered = page.get("/?token=secret")
    assert 'content="0;url=./"' in entered.text  # a relative address, below whatever proxy
    cookie = entered.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and "Path" not in cookie
    assert "secret" not in entered.text
    assert page.get("/").status_code == 200
    assert page.get("/api/projects").status_code == 200


def test_programs_show_it_in_a_header(tmp_path: Path) -> None:
    page = client(tmp_path, "0.0.0.0")
    wrong = {"Authorization": "Bearer wrong"}
    assert page.get("/api/projects", headers=wrong).status_code == 401
    right = {"Authorization": "Bearer secret"}
    assert page.get("/api/projects", headers=right).status_code == 200


def test_few_tokens_are_tried_in_a_minute(tmp_path: Path) -> None:
    now = [0.0]
    app = StudioGate(client(tmp_path).app, "0.0.0.0", "secret", "/p/", lambda: now[0])
    page = TestClient(app, "http://10.0.0.1")
    codes = [page.get(f"/?token={n}").status_code for n in range(12)]
    assert codes == [401] * 10 + [429] * 2
    assert page.get("/?token=secret").status_code == 429
    now[0] = 61.0
    assert page.get("/?token=secret").status_code == 200


def test_the_page_may_load_from_itself_alone(tmp_path: Path) -> None:
    headers = client(tmp_path).get("/").headers
    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy and "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy and headers["x-frame-options"] == "DENY"
    assert client(tmp_path).get("/api/projects").headers["cache-control"] == "no-store"
    assert client(tmp_path).head("/").status_code == 200

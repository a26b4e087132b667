"""How many photos one address may send, and who an address is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from bear_classifier.config.settings import ServeConfig
from bear_classifier.serve import limits
from bear_classifier.serve.app import make_app
from bear_classifier.serve.limits import Fair
from bear_classifier.serve.queue import Service, served_models
from bear_classifier.web.guard import Refused


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def scope(host: str, forwarded: str = "") -> dict[str, Any]:
    headers = [(b"x-forwarded-for", forwarded.encode())] if forwarded else []
    return {"type": "http", "client": (host, 5000), "headers": headers}


def taken(fair: Fair, who: str, times: int) -> int:
    count = 0
    for _ in range(times):
        try:
            fair.take(who)
            count += 1
        except Refused:
            pass
    return count


def test_a_minutes_photos_at_once_and_then_as_time_goes_on() -> None:
    clock = Clock()
    fair = Fair(30, clock=clock)
    assert taken(fair, "a", 100) == 30
    with pytest.raises(Refused, match="30 a minute are answered. Try again in 2 seconds") as told:
        fair.take("a")
    assert (told.value.status, told.value.code, told.value.after) == (429, "TOO_MANY_REQUESTS", 2)
    clock.now += 2
    assert taken(fair, "a", 100) == 1
    clock.now += 20
    assert taken(fair, "a", 100) == 10
    clock.now += 3600
    assert taken(fair, "a", 100) == 30


def test_one_address_takes_nothing_from_another() -> None:
    fair = Fair(5, clock=Clock())
    assert taken(fair, "a", 100) == 5
    assert taken(fair, "b", 100) == 5


def test_a_batch_is_answered_whole_and_the_next_wait_for_it() -> None:
    clock = Clock()
    fair = Fair(60, clock=clock)
    fair.take("a")
    fair.charge("a", 199)
    with pytest.raises(Refused) as told:
        fair.take("a")
    assert told.value.after == 141
    clock.now += 140
    assert taken(fair, "a", 1) == 0
    clock.now += 1
    assert taken(fair, "a", 2) == 1


def test_without_a_number_nobody_is_counted() -> None:
    fair = Fair()
    assert taken(fair, "a", 10_000) == 10_000


def test_addresses_that_are_silent_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_KNOWN", 3)
    fair = Fair(1, clock=Clock())
    for who in "abcd":
        fair.take(who)
    assert [taken(fair, who, 1) for who in "bcd"] == [0, 0, 0]
    assert taken(fair, "a", 1) == 1


@pytest.mark.parametrize(
    ("host", "forwarded", "who"),
    [
        ("203.0.113.9", "", "203.0.113.9"),
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),
        ("10.0.0.2", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.2", "made up, 198.51.100.1", "198.51.100.1"),
        ("10.0.0.2", "", "10.0.0.2"),
        ("10.0.0.2", "no address" * 20, ("no address" * 20)[:50]),
        ("2001:db8:1:2:3:4:5:6", "", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "", "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.9", "", "203.0.113.9"),
    ],
)
def test_who_it_is(host: str, forwarded: str, who: str) -> None:
    """Only the proxy is believed, and of what it forwards only what it has seen itself."""
    assert Fair(1, proxy="10.0.0.2").who(scope(host, forwarded)) == who


@pytest.fixture
def client(model_dir: Path) -> TestClient:
    service = Service(served_models(model_dir), 1)
    service.checked = True
    return TestClient(make_app(service, ServeConfig(per_minute=2, proxy="testclient")))


API = "/api/v1/"


@pytest.mark.series
@pytest.mark.parametrize(
    "path",
    [API + "classify", API + "classify-many", API + "corrections", "/gradio/gradio_api/upload"],
)
def test_the_service_refuses_with_429(client: TestClient, path: str) -> None:
    """On every route that takes a photo, and only those who sent so many; health is never asked."""

    def sent(address: str) -> Any:
        return client.post(path, content=b"x", headers={"X-Forwarded-For": address})

    first = [sent("198.51.100.1").status_code for _ in range(3)]
    assert 429 not in first[:2]
    assert first[2] == 429
    said = sent("198.51.100.1")
    assert said.json()["code"] == "TOO_MANY_REQUESTS"
    assert 1 <= int(said.headers["retry-after"]) <= 30
    assert "198.51.100.1" not in said.text
    assert sent("198.51.100.2").status_code != 429
    assert client.get("/livez").status_code == 200


def test_gradio_is_counted_once_for_a_photo(client: TestClient) -> None:
    statuses = [
        client.post("/gradio/gradio_api/queue/join", content=b"{}").status_code for _ in range(5)
    ]
    assert 429 not in statuses

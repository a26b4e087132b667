"""What every request passes first: limits, other websites, headers, numbers, the log."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest

from bear_classifier.config.settings import ServeConfig
from bear_classifier.serve import limits, request_guard
from bear_classifier.serve.monitoring import Metrics
from bear_classifier.web.guard import Refused

Headers = list[tuple[bytes, bytes]]


async def plain(scope: Any, receive: Any, send: Any) -> None:
    """Reads all, then says how much it was."""
    total, more = 0, True
    while more:
        message = await receive()
        total += len(message.get("body", b""))
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(total).encode()})


class Asked:
    """What came back. read: parts that were taken from the client."""

    def __init__(self, app: Any, parts: list[bytes | float], headers: Headers, method: str,
                 refuse: Callable[[Any, int], None]) -> None:  # fmt: skip
        self.messages: list[dict[str, Any]] = []
        self.read = 0
        self.metrics = Metrics(lambda: 0)
        self.door = request_guard.Door(app, self.metrics, ServeConfig(), "0.0.0.0", refuse)
        scope = {"type": "http", "method": method, "path": "/a", "headers": headers}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(limits, "SMALL", 100)
            asyncio.run(self.door(scope, lambda: self._receive(parts), self._send))

    async def _receive(self, parts: list[bytes | float]) -> dict[str, Any]:
        part = parts[self.read] if self.read < len(parts) else b""
        self.read += 1
        if isinstance(part, float):
            await asyncio.sleep(part)
            part = b""
        return {"type": "http.request", "body": part, "more_body": self.read < len(parts)}

    async def _send(self, message: Any) -> None:
        self.messages.append(message)

    @property
    def status(self) -> int:
        return int(self.messages[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        return {k.decode().lower(): v.decode() for k, v in self.messages[0]["headers"]}

    @property
    def body(self) -> Any:
        return json.loads(b"".join(m.get("body", b"") for m in self.messages[1:]))


def asked(app: Any = plain, parts: list[bytes | float] | None = None, method: str = "POST",
          headers: dict[str, str] | None = None,
          refuse: Callable[[Any, int], None] = lambda *_: None) -> Asked:  # fmt: skip
    listed = [(k.encode(), v.encode()) for k, v in (headers or {}).items()]
    return Asked(app, parts or [b"hello"], listed, method, refuse)


def test_a_request_within_limits_passes_and_is_dressed() -> None:
    found = asked()
    assert (found.status, found.body) == (200, 5)
    assert found.headers["x-content-type-options"] == "nosniff"
    assert found.headers["content-security-policy"].endswith("frame-ancestors 'none'")
    assert found.headers["cache-control"] == "no-store"
    assert len(found.headers["x-request-id"]) == 16
    assert found.door.held == 0 and not found.door.inside


def test_an_announced_size_is_refused_before_it_comes() -> None:
    found = asked(headers={"content-length": "101"})
    assert (found.status, found.body["code"], found.read) == (413, "TOO_LARGE", 0)
    assert found.body["request_id"] == found.headers["x-request-id"]


def test_an_unannounced_size_is_refused_at_the_limit() -> None:
    found = asked(parts=[b"x" * 60] * 1000)
    assert (found.status, found.body["code"], found.read) == (413, "TOO_LARGE", 2)
    assert found.door.held == 0


def test_an_application_that_swallows_the_refusal_cannot_answer_otherwise() -> None:
    async def careless(scope: Any, receive: Any, send: Any) -> None:
        try:
            await plain(scope, receive, send)
        except Refused:
            await send({"type": "http.response.start", "status": 500, "headers": []})
            await send({"type": "http.response.body", "body": b"oops"})

    found = asked(careless, parts=[b"x" * 101])
    assert (found.status, found.body["code"]) == (413, "TOO_LARGE")


def test_the_sentence_names_size_and_limit_of_a_picture() -> None:
    limit = limits.MAX_PHOTO_BYTES + limits.AROUND
    assert (
        request_guard.too_large(27_000_000, limit).sentence
        == "The picture is 27 MB; the limit is 20 MB"
    )
    assert "64 KB" in request_guard.too_large(70_000, limits.SMALL).sentence


def test_a_body_that_does_not_end_in_time_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BODY_SECONDS", 0.05)
    found = asked(parts=[b"a", 5.0, b"b"])
    assert (found.status, found.body["code"]) == (408, "TOO_SLOW")


def test_bodies_of_all_together_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_guard, "HELD", 80)
    found = asked(parts=[b"x" * 90])
    assert (found.status, found.body["code"], found.headers["retry-after"]) == (503, "BUSY", "5")


@pytest.mark.parametrize(
    "headers, fine",
    [
        ({}, True),  # a program
        ({"origin": "http://here", "host": "here"}, True),
        ({"origin": "http://other", "host": "here"}, False),
        ({"origin": "null", "host": "here"}, False),
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "none"}, True),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "same-site"}, False),
        ({"sec-fetch-site": "cross-site", "origin": "http://here", "host": "here"}, False),
    ],
)
def test_other_websites_pages_may_not_send(headers: dict[str, str], fine: bool) -> None:
    assert asked(headers=headers).status == (200 if fine else 403)
    assert asked(headers=headers, method="GET").status == 200


def test_a_refusal_is_told_with_the_time_to_come_again() -> None:
    def refuse(scope: Any, inside: int) -> None:
        assert (scope["method"], scope["path"], inside) == ("POST", "/a", 0)
        raise Refused(503, "BUSY", "The service is busy", 7)

    found = asked(refuse=refuse)
    assert (found.status, found.headers["retry-after"], found.read) == (503, "7", 0)


def test_a_mistake_of_ours_is_answered_logged_and_not_hidden(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise KeyError("no such thing")

    with pytest.raises(KeyError):
        asked(broken)
    assert "a mistake of ours" in caplog.text


def test_the_log_has_no_name_and_no_address(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "bears")
    found = asked(headers={"x-file": "holiday.jpg", "x-forwarded-for": "203.0.113.9"})
    row = next(r for r in caplog.records if r.message == "request")
    assert (row.request, row.status, row.bytes) == (found.headers["x-request-id"], 200, 5)
    assert "holiday" not in str(row.__dict__) and "203.0" not in str(row.__dict__)
    assert "/a" not in row.route


def test_requests_are_counted() -> None:
    text = asked().metrics.text().decode()
    assert 'bears_requests_total{route="none",status="200"} 1.0' in text
    assert "bears_request_seconds_bucket" in text

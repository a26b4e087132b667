"""HEAD is answered wherever GET is, with the same headers and no body."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.types import Message, Scope

from bear_classifier.web.guard import Heads


def met(app: Any, method: str, path: str = "/x") -> tuple[list[Message], Scope]:
    """What is sent to whoever asks, and the scope as it is afterwards."""
    sent: list[Message] = []
    scope: Scope = {"type": "http", "method": method, "path": path}

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent, scope


async def page(scope: Scope, receive: Any, send: Any) -> None:
    """Known to GET alone, in two parts; leaves a note in the scope, as a router does."""
    scope["route"] = "the page's"
    status = 200 if scope["method"] == "GET" else 405
    await send({"type": "http.response.start", "status": status, "headers": [(b"etag", b"7")]})
    await send({"type": "http.response.body", "body": b"ab", "more_body": True})
    await send({"type": "http.response.body", "body": b"cd"})


def test_the_headers_are_those_of_get_and_no_byte_follows() -> None:
    (start, *rest), scope = met(Heads(page), "HEAD")
    assert (start["status"], start["headers"]) == (200, [(b"etag", b"7")])
    assert b"".join(message["body"] for message in rest) == b""
    assert [message.get("more_body", False) for message in rest] == [True, False]
    assert (scope["method"], scope["route"]) == ("HEAD", "the page's")


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_other_methods_pass_as_they_are(method: str) -> None:
    assert met(Heads(page), method) == met(page, method)


def test_what_never_ends_is_not_begun() -> None:
    sent, _ = met(Heads(page, endless=lambda path: path == "/stream"), "HEAD", "/stream")
    assert sent[0]["status"] == 405

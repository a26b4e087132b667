"""Common parts of the request guards: refusals, headers for browsers, HEAD, strict JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bear_classifier.errors import BearsError

MAX_BODY = 1_000_000  # bytes of JSON
BROWSER_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Refused(BearsError):
    """A request that is not answered. status: of HTTP; after: seconds until it may be again."""

    def __init__(self, status: int, code: str, sentence: str, after: int | None = None) -> None:
        super().__init__(code, sentence)
        self.status, self.after = status, after


def invalid_request(exc: RequestValidationError, status: int) -> Refused:
    """The first wrong parameter of a request, with its place."""
    first = exc.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return Refused(status, "BAD_REQUEST", f"{where}: {first['msg']}")


def refuse_other_sites(headers: Headers, method: str, what: str) -> None:
    """Other websites' pages may not send anything through their visitors' browsers. what: that they
    may not, in words. Raises Refused (403, OTHER_SITE)."""
    if method in ("GET", "HEAD"):
        return
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        foreign = site not in ("same-origin", "none")
    else:
        foreign = origin is not None and origin.partition("://")[2] != headers.get("host")
    if foreign:
        raise Refused(403, "OTHER_SITE", f"Another website's page may not {what}")


def refuse_other_programs(headers: Headers, kinds: Sequence[str]) -> None:
    """What changes something comes from the page's own program, not from a form. kinds: of content
    that it may have. Raises Refused (403 NOT_THE_PAGE, 415 NOT_JSON)."""
    if headers.get("x-bears") != "1":
        raise Refused(
            403, "NOT_THE_PAGE", "only the page itself may change something: X-Bears is missing"
        )
    if headers.get("content-type", "").partition(";")[0].strip() not in kinds:
        raise Refused(415, "NOT_JSON", f"what is sent has to be {' or '.join(kinds)}")


def strict_json(data: bytes) -> Any:
    """Raises ValueError for what is no JSON by the standard: also for NaN, Infinity and 1e999, for
    halves of a surrogate pair, and for what is nested too deeply."""
    try:
        value = json.loads(data)
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except RecursionError as exc:
        raise ValueError("nested too deeply") from exc
    return value


async def read_json(request: Request) -> dict[str, Any]:
    """The body of a request; reading ends at the limit, whatever Content-Length says."""
    data = b""
    async for part in request.stream():
        data += part
        if len(data) > MAX_BODY:
            raise Refused(413, "TOO_LARGE", f"more than {MAX_BODY // 1_000_000} MB at once")
    try:
        body = strict_json(data)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise Refused(400, "BAD_REQUEST", "what was sent is not a JSON object")
    return body


class Heads:
    """ASGI middleware: HEAD requests are answered as GET without a body (RFC 9110, 9.3.2).

    endless: whether the answer of this path is a stream, which a HEAD would wait for in vain."""

    def __init__(self, app: ASGIApp, endless: Callable[[str], bool] = lambda path: False) -> None:
        self.app, self.endless = app, endless

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD" or self.endless(scope["path"]):
            await self.app(scope, receive, send)
            return

        async def without_body(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        as_get = {**scope, "method": "GET"}
        try:
            await self.app(as_get, receive, without_body)
        finally:
            scope.update({**as_get, "method": "HEAD"})  # the route that answered, for the log

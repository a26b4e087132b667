"""ASGI middleware of the review page: who may send requests, and errors as JSON.

The page answers on this computer and to itself only: no other host name (DNS rebinding), no form or
script of another website, nothing embedded elsewhere, nothing longer than a limit.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bear_classifier.errors import BearsError, PhotoError
from bear_classifier.web.addresses import HostNames
from bear_classifier.web.guard import BROWSER_HEADERS, Heads, Refused, invalid_request, strict_json

MAX_BODY = 1_000_000  # bytes
_WAIT = {"CATALOG_BUSY", "CATALOG_DAMAGED", "CATALOG_UNUSABLE", "DISK_FULL", "LOCKED"}
_HEADERS = BROWSER_HEADERS | {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; object-src 'none'",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Guard:
    """Only this page may send: no other host name (DNS rebinding), no other website's form."""

    def __init__(self, app: ASGIApp, host: str) -> None:
        self.app, self.names = app, HostNames(host, strict=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            self._check(Headers(scope=scope), scope["method"])
        except Refused as exc:
            await _error(exc, exc.sentence)(scope, receive, answer)
        else:
            await self.app(scope, receive, answer)

    def _check(self, headers: Headers, method: str) -> None:
        host = headers.get("host", "")
        if not self.names.answers(host):
            raise Refused(
                400, "WRONG_HOST", f"this page does not answer to the name {host[:100]!r}; "
                "open it under the address that `bears review` printed"
            )  # fmt: skip
        if method in ("GET", "HEAD"):
            return
        if headers.get("x-bears") != "1":
            raise Refused(
                403, "NOT_THE_PAGE", "only the page itself may change something: X-Bears is missing"
            )
        if headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            raise Refused(415, "NOT_JSON", "what is sent has to be application/json")


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


def _error(exc: BearsError, message: str) -> JSONResponse:
    return JSONResponse({"error": {"code": exc.code, "message": message}}, _status(exc))


def _status(exc: BearsError) -> int:
    """Of HTTP. 503: nothing was stored, and trying again may help."""
    if isinstance(exc, Refused):
        return exc.status
    if isinstance(exc, PhotoError):
        return 422
    return 409 if exc.code == "CONFLICT" else 503 if exc.code in _WAIT else 400


def protect(app: FastAPI, host: str, root: Path) -> None:
    """Put the guard in front of an app that is bound to `host`; no error tells where root is."""

    def explain(_: Request, exc: Exception) -> Response:
        error = exc if isinstance(exc, BearsError) else invalid_request(exc, 400)
        return _error(error, error.sentence.replace(str(root), root.name))

    app.add_middleware(Heads)
    app.add_middleware(Guard, host=host)
    app.add_exception_handler(BearsError, explain)
    app.add_exception_handler(RequestValidationError, explain)

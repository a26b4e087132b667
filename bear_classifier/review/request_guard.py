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
from bear_classifier.web.head_requests import Heads
from bear_classifier.web.host_names import HostNames
from bear_classifier.web.strict_json import strict_json

MAX_BODY = 1_000_000  # bytes
_WAIT = {"CATALOG_BUSY", "CATALOG_DAMAGED", "CATALOG_UNUSABLE", "DISK_FULL", "LOCKED"}
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; object-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class RequestRefused(BearsError):
    """A request that is not answered. status: of HTTP."""

    def __init__(self, status: int, code: str, sentence: str) -> None:
        super().__init__(code, sentence)
        self.status = status


class Guard:
    """Only this page may ask: no other host name (DNS rebinding), no other website's form."""

    def __init__(self, app: ASGIApp, host: str) -> None:
        self.app, self.names = app, HostNames(host, strict=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            self._check(Headers(scope=scope), scope["method"])
        except RequestRefused as exc:
            await _said(exc.status, exc.code, exc.sentence)(scope, receive, answer)
            return
        await self.app(scope, receive, answer)

    def _check(self, headers: Headers, method: str) -> None:
        host = headers.get("host", "")
        if not self.names.answers(host):
            raise RequestRefused(
                400, "WRONG_HOST", f"this page does not answer to the name {host[:100]!r}; "
                "open it under the address that `bears review` printed"
            )  # fmt: skip
        if method in ("GET", "HEAD"):
            return
        if headers.get("x-bears") != "1":
            raise RequestRefused(
                403, "NOT_THE_PAGE", "only the page itself may change something: X-Bears is missing"
            )
        if headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            raise RequestRefused(415, "NOT_JSON", "what is sent has to be application/json")


async def read_json(request: Request) -> dict[str, Any]:
    """What was sent; reading ends at the limit, whatever Content-Length says."""
    data = b""
    async for part in request.stream():
        data += part
        if len(data) > MAX_BODY:
            raise RequestRefused(413, "TOO_LARGE", f"more than {MAX_BODY // 1_000_000} MB at once")
    try:
        body = strict_json(data)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise RequestRefused(400, "BAD_REQUEST", "what was sent is not a JSON object")
    return body


def _said(status: int, code: str, sentence: str) -> JSONResponse:
    return JSONResponse({"error": {"code": code, "message": sentence}}, status)


def _status(exc: BearsError) -> int:
    """Of HTTP. 503: nothing was stored, and trying again may help."""
    if isinstance(exc, RequestRefused):
        return exc.status
    if isinstance(exc, PhotoError):
        return 422
    return 409 if exc.code == "CONFLICT" else 503 if exc.code in _WAIT else 400


def _not_understood(_: Request, exc: Exception) -> Response:
    assert isinstance(exc, RequestValidationError)
    where = ".".join(str(part) for part in exc.errors()[0]["loc"])
    return _said(400, "BAD_REQUEST", f"{where}: {exc.errors()[0]['msg']}")


def protect(app: FastAPI, host: str, root: Path) -> None:
    """Put the guard in front of an app that is bound to `host`; no error tells where root is."""

    def explained(_: Request, exc: Exception) -> Response:
        assert isinstance(exc, BearsError)
        return _said(_status(exc), exc.code, exc.sentence.replace(str(root), root.name))

    app.add_middleware(Heads)
    app.add_middleware(Guard, host=host)
    app.add_exception_handler(BearsError, explained)
    app.add_exception_handler(RequestValidationError, _not_understood)

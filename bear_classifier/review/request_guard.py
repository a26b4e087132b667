"""Middleware of the review page: who may send requests, and errors as JSON.

The page answers on this computer and to itself only: no other host name (DNS rebinding), no form or
script of another website, nothing embedded elsewhere, nothing longer than a limit.
"""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint

from bear_classifier.errors import BearsError, PhotoError
from bear_classifier.web.addresses import HostNames
from bear_classifier.web.guard import (
    BROWSER_HEADERS,
    Heads,
    Refused,
    invalid_request,
    refuse_other_programs,
)

_WAIT = {"CATALOG_BUSY", "CATALOG_DAMAGED", "CATALOG_UNUSABLE", "DISK_FULL", "LOCKED"}
_POLICY = "default-src 'self'; base-uri 'none'; form-action 'none'; object-src 'none'"


def headers_of(framed: bool = False) -> dict[str, str]:
    """Of every answer. framed: pages from here may show this one inside theirs."""
    by = "'self'" if framed else "'none'"
    return BROWSER_HEADERS | {
        "Content-Security-Policy": f"{_POLICY}; frame-ancestors {by}",
        "X-Frame-Options": "SAMEORIGIN" if framed else "DENY",
        "Cross-Origin-Opener-Policy": "same-origin",
    }


def check_request(request: Request, names: HostNames) -> None:
    """Only this page may send: no other host name (DNS rebinding), no other website's form."""
    headers, host = request.headers, request.headers.get("host", "")
    if not names.answers(host):
        raise Refused(
            400, "WRONG_HOST", f"this page does not answer to the name {host[:100]!r}; "
            "open it under the address that `bears review` printed"
        )  # fmt: skip
    if request.method not in ("GET", "HEAD"):
        refuse_other_programs(headers, ["application/json"])


def _status(exc: BearsError) -> int:
    """Of HTTP. 503: nothing was stored, and trying again may help."""
    if isinstance(exc, Refused):
        return exc.status
    if isinstance(exc, PhotoError):
        return 422
    return 409 if exc.code == "CONFLICT" else 503 if exc.code in _WAIT else 400


def protect(app: FastAPI, host: str, root: Path, framed: bool = False) -> None:
    """Put the guard in front of an app that is bound to `host`; no error tells where root is.
    framed: as of `headers_of`."""
    names, added = HostNames(host, strict=True), headers_of(framed)

    def explain(_: Request, exc: Exception) -> Response:
        if isinstance(exc, RequestValidationError):
            exc = invalid_request(exc, 400)
        assert isinstance(exc, BearsError)
        message = exc.sentence.replace(str(root), root.name)
        return JSONResponse({"error": {"code": exc.code, "message": message}}, _status(exc))

    async def guard(request: Request, call_next: RequestResponseEndpoint) -> Response:
        try:
            check_request(request, names)
            response = await call_next(request)
        except Refused as exc:
            response = explain(request, exc)
        response.headers.update(added)
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    app.add_middleware(Heads)
    app.add_middleware(BaseHTTPMiddleware, dispatch=guard)
    app.add_exception_handler(BearsError, explain)
    app.add_exception_handler(RequestValidationError, explain)

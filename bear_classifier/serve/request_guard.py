"""ASGI middleware: size and time limits, cross-site checks, headers, logging.

Requests of other websites, too many bytes and too slow ones are refused here, each with a sentence;
every answer gets a number, headers for browsers, a line in the log, and is counted. Neither the
log nor the metrics hold a photo, a name or an address.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import Counter
from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bear_classifier.config.settings import ServeConfig
from bear_classifier.runtime.terminal import one_line
from bear_classifier.serve import limits
from bear_classifier.serve.monitoring import Metrics
from bear_classifier.web.addresses import HostNames
from bear_classifier.web.guard import BROWSER_HEADERS, Refused, refuse_other_sites

HELD = 400_000_000  # bytes of bodies at once
_PARTS = (b"range", b"if-range")  # of a file: ours are small, odd ones would have no code
_SLOW = "not all of the request came in {:.0f} s"
_LOG = logging.getLogger("bears")
_SOURCES = "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:"
_WASM_SOURCES = f"{_SOURCES}; script-src 'self' 'wasm-unsafe-eval'"  # of workers, no page
_GRADIO_SOURCES = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:"  # of its page
RESPONSE_HEADERS = BROWSER_HEADERS | {
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    # Isolated pages may share memory between threads, with which a model answers in the browser.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}


class Door:
    """host: what the service is bound to; refuse: raises Refused by the request and by how many for
    its path are inside already."""

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        settings: ServeConfig,
        host: str,
        refuse: Callable[[Scope, int], None],
    ) -> None:
        self.app, self.metrics, self.settings, self.refuse = app, metrics, settings, refuse
        self.names = HostNames(host, settings.names.split())
        self.inside: Counter[str] = Counter()
        self.held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        visit = Visit(self, scope, receive, send)
        path = scope["path"]
        self.inside[path] += 1
        try:
            await visit.through()
        finally:
            self.inside[path] -= 1
            if not self.inside[path]:
                del self.inside[path]
            self.held -= visit.read
            visit.log()


class Visit:
    """One request and its answer."""

    def __init__(self, door: Door, scope: Scope, receive: Receive, send: Send) -> None:
        self.door, self.scope = door, scope
        self._receive, self._send = receive, send
        self.number = secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = self.number
        self.began = time.monotonic()
        self.limit = limits.body_limit(scope["path"])
        self.read = 0
        self.refused: Refused | None = None
        self.status = 0
        self.whole = False

    async def through(self) -> None:
        try:
            headers = self._named()
            refuse_other_sites(headers, self.scope["method"], "send photos here")
            self.door.refuse(self.scope, self.door.inside[self.scope["path"]] - 1)
            announced = headers.get("content-length", "")
            size = int(announced) if announced.isdecimal() else 0
            self._fits(size, size)
            await self.door.app(self.scope, self.receive, self.send)
        except Refused as exc:  # also by `receive`, through an application that knows nothing of it
            if not self.status:
                await self._answer(exc)
        except Exception:
            if not self.status:
                words = "Something went wrong here; it was written down"
                await self._answer(Refused(500, "INTERNAL", words))
            _LOG.error("a mistake of ours", exc_info=True, extra={"request": self.number})
            raise

    def _named(self) -> Headers:
        """Refuse other host names than ours. Only the proxy may forward one: gradio would send its
        visitors to any. Programs may name none at all, browsers may not."""
        proxy = self.door.settings.proxy
        is_proxy = bool(proxy) and limits.client_of(self.scope) == proxy
        left_out = _PARTS if is_proxy else (*_PARTS, b"x-forwarded-host")
        given = self.scope["headers"]
        self.scope["headers"] = [item for item in given if item[0] not in left_out]
        headers = Headers(scope=self.scope)
        for name in (*headers.getlist("host"), *headers.getlist("x-forwarded-host")):
            if not self.door.names.answers(name):
                raise Refused(
                    400, "WRONG_HOST",
                    f"This service does not answer to the name {one_line(name[:100])!r}; its owner"
                    " can list it in serve.names",
                )  # fmt: skip
        return headers

    def _fits(self, size: int, expected: int = 0) -> None:
        """size: bytes of the body as far as they are known; expected: those that are to come."""
        if size > self.limit:
            raise too_large(size, self.limit)
        if self.door.held + expected > HELD:
            raise Refused(503, "BUSY", "The service is busy. Try again in 5 seconds", 5)

    async def receive(self) -> Message:
        if self.whole or self.refused:
            return await self._receive()
        left = self.began + limits.BODY_SECONDS - time.monotonic()
        try:
            message = await asyncio.wait_for(self._receive(), max(left, 0.001))
        except asyncio.TimeoutError:
            self.refused = Refused(408, "TOO_SLOW", _SLOW.format(limits.BODY_SECONDS))
            raise self.refused from None
        if message["type"] == "http.request":
            self.read += len(message.get("body", b""))
            self.door.held += len(message.get("body", b""))
            self.whole = not message.get("more_body")
            try:
                self._fits(self.read)
            except Refused as exc:
                self.refused = exc
                raise
        return message

    async def send(self, message: Message) -> None:
        """What was refused while it came is answered so, whatever an application made of it."""
        if self.refused and message["type"] == "http.response.start" and not self.status:
            await self._answer(self.refused)
        if not self.refused:
            await self._pass(message)

    async def _answer(self, exc: Refused) -> None:
        await error_response(self.scope, exc)(self.scope, self._receive, self._pass)

    async def _pass(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers.update(RESPONSE_HEADERS)
            del headers["Access-Control-Allow-Credentials"]  # gradio's
            framed_by = self.door.settings.framed_by or "'none'"
            headers["Content-Security-Policy"] = (
                f"{_sources(self.scope['path'])}; object-src 'none'; base-uri 'none';"
                f" form-action 'none'; frame-ancestors {framed_by}"
            )
            headers["X-Request-Id"] = self.number
            headers.setdefault("Cache-Control", "no-store")
        await self._send(message)

    def log(self) -> None:
        seconds = time.monotonic() - self.began
        route = _route(self.scope)
        self.door.metrics.count(route, self.status, seconds)
        facts = {
            "request": self.number,
            "method": self.scope["method"],
            "route": route,
            "status": self.status,
            "code": self.scope.get("code", ""),
            "bytes": self.read,
            "ms": round(1000 * seconds, 1),
        }
        _LOG.info("request", extra=facts)


def error_response(scope: Scope, exc: Refused) -> JSONResponse:
    """The answer to a request that is refused, whose code is kept for the log."""
    scope["code"] = exc.code
    headers = {} if exc.after is None else {"Retry-After": str(exc.after)}
    if exc.status == 408:  # the rest of the request is waited for no more
        headers["Connection"] = "close"
    number = scope["state"]["request_id"]
    body = {"code": exc.code, "message": exc.sentence, "request_id": number}
    return JSONResponse(body, exc.status, headers)


def too_large(size: int, limit: int) -> Refused:
    """size: bytes, as far as they are known."""
    if limit == limits.SMALL:
        return Refused(413, "TOO_LARGE", f"The request is larger than {limit // 1024} KB")
    most = limit if limit == limits.MAX_BATCH_BYTES else limits.MAX_PHOTO_BYTES
    words = f"The picture is {size / 1e6:.0f} MB; the limit is {most / 1e6:.0f} MB"
    return Refused(413, "TOO_LARGE", words)


def _sources(path: str) -> str:
    """What a page or a script of this path may load and run."""
    if path.startswith(limits.GRADIO):
        return _GRADIO_SOURCES
    return _WASM_SOURCES if path in limits.WORKERS else _SOURCES


def _route(scope: Scope) -> str:
    """The pattern that answered, never the requested path: that may hold a name."""
    if scope["path"].startswith(limits.GRADIO):
        return limits.GRADIO
    return str(getattr(scope.get("route"), "path", "none"))

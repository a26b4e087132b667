"""ASGI middleware: size and time limits, cross-site checks, headers, logging.

Requests of other websites, too many bytes and too slow ones are refused here, each with a sentence;
every answer gets a number, headers for browsers, a line in the log, and is counted. Neither the
log nor the metrics hold a photo, a name or an address.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import time
from collections import Counter
from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bear_classifier.runtime.terminal import one_line
from bear_classifier.serve import limits
from bear_classifier.serve.metrics import Metrics
from bear_classifier.serve.queue import Refused
from bear_classifier.serve.rate_limit import client_of
from bear_classifier.web.host_names import HostNames

HELD = 400_000_000  # bytes of bodies at once
_PARTS = (b"range", b"if-range")  # of a file: ours are small, odd ones would have no code
_SLOW = "not all of the request came in {:.0f} s"
_LOG = logging.getLogger("bears")
POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; object-src 'none';"
    " base-uri 'none'; form-action 'none'"
)
RESPONSE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
}


class Door:
    """limit: bytes of the body by path; framed_by: who may show the page inside another one;
    policy: of the content, by path; names: that are answered to; proxy: the address that is
    believed under which name it was asked (X-Forwarded-Host), "": nobody is; refuse: what is to be
    refused now, by the request and how many for its path are inside already."""

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        limit: Callable[[str], int],
        policy: Callable[[str], str],
        framed_by: str,
        names: HostNames,
        proxy: str,
        refuse: Callable[[Scope, int], None],
    ) -> None:
        self.app, self.metrics, self.limit = app, metrics, limit
        self.policy, self.framed_by, self.refuse = policy, framed_by, refuse
        self.names, self.proxy = names, proxy
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
        self.limit = door.limit(scope["path"])
        self.read = 0
        self.refused: Refused | None = None
        self.status = 0
        self.whole = False

    async def through(self) -> None:
        headers = Headers(scope=self.scope)
        try:
            self._named(headers)
            _own(headers, self.scope["method"])
            self.door.refuse(self.scope, self.door.inside[self.scope["path"]] - 1)
            self._fits(headers.get("content-length"))
        except Refused as exc:
            await self._say(exc)
            return
        try:
            await self.door.app(self.scope, self.receive, self.send)
        except Refused as exc:  # by `receive`, through an application that knows nothing of it
            if not self.status:
                await self._say(exc)
        except Exception:
            if not self.status:
                await self._say(_broken())
            _LOG.error("a mistake of ours", exc_info=True, extra={"request": self.number})
            raise

    def _named(self, headers: Headers) -> None:
        """Refuse other names than ours. Only the proxy is believed which one it was asked under:
        gradio would send its visitors to any. Programs may name none at all, browsers may not."""
        forwarded, left_out = headers.getlist("x-forwarded-host"), set(_PARTS)
        if not self.door.proxy or client_of(self.scope) != self.door.proxy:
            forwarded = []
            left_out.add(b"x-forwarded-host")
        given = self.scope["headers"]
        self.scope["headers"] = [item for item in given if item[0] not in left_out]
        for name in (*headers.getlist("host"), *forwarded):
            if not self.door.names.answers(name):
                raise Refused(
                    400, "WRONG_HOST",
                    f"This service does not answer to the name {one_line(name[:100])!r}; its owner"
                    " can list it in serve.names",
                )  # fmt: skip

    def _fits(self, announced: str | None) -> None:
        length = int(announced) if announced and announced.isdecimal() else 0
        if length > self.limit:
            raise too_large(length, self.limit)
        if self.door.held + length > HELD:
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
                if self.read > self.limit:
                    raise too_large(self.read, self.limit)
                self._fits(None)
            except Refused as exc:
                self.refused = exc
                raise
        return message

    async def send(self, message: Message) -> None:
        """What was refused while it came is answered so, whatever an application made of it."""
        if self.refused and message["type"] == "http.response.start" and not self.status:
            await self._say(self.refused)
        if self.refused:
            return
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._dress(MutableHeaders(scope=message))
        await self._send(message)

    def _dress(self, headers: MutableHeaders) -> None:
        for name, value in RESPONSE_HEADERS.items():
            headers[name] = value
        del headers["Access-Control-Allow-Credentials"]  # gradio's
        framed = self.door.framed_by or "'none'"
        policy = self.door.policy(self.scope["path"])
        headers["Content-Security-Policy"] = f"{policy}; frame-ancestors {framed}"
        headers["X-Request-Id"] = self.number
        headers.setdefault("Cache-Control", "no-store")

    async def _say(self, exc: Refused) -> None:
        body = json.dumps(error(exc.code, exc.sentence, self.number)).encode()
        start: Message = {
            "type": "http.response.start",
            "status": exc.status,
            "headers": [(b"content-type", b"application/json")],
        }
        headers = MutableHeaders(scope=start)
        headers["Content-Length"] = str(len(body))
        if exc.after is not None:
            headers["Retry-After"] = str(exc.after)
        if exc.status == 408:  # the rest of the request is waited for no more
            headers["Connection"] = "close"
        self.status, self.scope["code"] = exc.status, exc.code
        self._dress(headers)
        await self._send(start)
        await self._send({"type": "http.response.body", "body": body})

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


def error(code: str, sentence: str, number: str) -> dict[str, str]:
    return {"code": code, "message": sentence, "request_id": number}


def too_large(size: int, limit: int) -> Refused:
    """size: bytes, as far as they are known."""
    if limit == limits.SMALL:
        return Refused(413, "TOO_LARGE", f"The request is larger than {limit // 1024} KB")
    most = {limits.MAX_BATCH_BYTES: limits.MAX_BATCH_BYTES}.get(limit, limits.MAX_PHOTO_BYTES)
    return Refused(
        413, "TOO_LARGE", f"The picture is {size / 1e6:.0f} MB; the limit is {most / 1e6:.0f} MB"
    )


def _broken() -> Refused:
    return Refused(500, "INTERNAL", "Something went wrong here; it was written down")


def _own(headers: Headers, method: str) -> None:
    """Other websites' pages may not send anything through their visitors' browsers."""
    if method in ("GET", "HEAD"):
        return
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        foreign = site not in ("same-origin", "none")
    else:
        foreign = origin is not None and origin.partition("://")[2] != headers.get("host")
    if foreign:
        raise Refused(403, "OTHER_SITE", "Another website's page may not send photos here")


def _route(scope: Scope) -> str:
    """The pattern that answered, never what was asked for: that may hold a name."""
    if scope["path"].startswith("/gradio"):
        return "/gradio"
    return str(getattr(scope.get("route"), "path", "none"))

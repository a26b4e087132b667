"""ASGI middleware of the studio: who may send requests, the token, headers and errors as JSON.

On this computer, under its own names, it answers to whoever is there. Under any other name (of
another host, of a proxy) it answers only to browsers that have shown the token, so that no website
can point a name of its own here (DNS rebinding).
"""

from __future__ import annotations

import hmac
import time
from collections import OrderedDict
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bear_classifier.web.addresses import HostNames, is_loopback
from bear_classifier.web.guard import (
    BROWSER_HEADERS,
    Refused,
    refuse_other_programs,
    refuse_other_sites,
)

_TRIES, _MINUTE = 10, 60.0  # wrong tokens from one address
_KNOWN = 1000  # addresses
_CSP = (
    "default-src 'self'; img-src 'self' data: blob:; frame-src 'self'; base-uri 'none';"
    " form-action 'self'; frame-ancestors 'none'; object-src 'none'"
)
_HEADERS = BROWSER_HEADERS | {
    "Content-Security-Policy": _CSP,
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
}
_TYPES = ("application/json", "application/octet-stream")
_ASK = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Studio</title>
<meta name="viewport" content="width=device-width">{refresh}<body><main><h1>Studio</h1>
<p>{words}</p>{form}</main></html>"""
_FORM = """<form action="./"><label>Token <input name="token" type="password" required
autocomplete="off"></label> <button>Open</button></form>"""


class StudioGate:
    """host: what the studio is bound to; token: that it has printed; mounted: the start of paths
    whose applications have guards and headers of their own."""

    def __init__(
        self,
        app: ASGIApp,
        host: str,
        token: str,
        mounted: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.app, self.token, self.mounted, self.clock = app, token, mounted, clock
        self.local = HostNames("127.0.0.1", strict=True)
        self.is_local = is_loopback(host)
        self._wrong: OrderedDict[str, list[float]] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        is_mounted = scope["path"].startswith(self.mounted)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    if not (is_mounted and name in headers):
                        headers[name] = value
                if is_mounted and "content-security-policy" in headers:
                    del headers["X-Frame-Options"]  # its own policy says who may frame it
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        try:
            answer = self._checked(scope, is_mounted)
        except Refused as exc:
            answer = refused_response(exc)
        await (answer or self.app)(scope, receive, with_headers)

    def _checked(self, scope: Scope, is_mounted: bool) -> Response | None:
        """None: the request goes on. Raises Refused."""
        headers = Headers(scope=scope)
        method, path = scope["method"], scope["path"]
        refuse_other_sites(headers, method, "change anything here")
        if not (self.is_local and self.local.answers(headers.get("host", ""))):
            given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [])
            if given and path == "/" and method in ("GET", "HEAD"):
                return self._entered(scope, given[0])
            if not self._has_token(scope, headers):
                if path == "/":
                    words = "This studio asks for the token that it printed in its terminal."
                    return HTMLResponse(_ASK.format(refresh="", words=words, form=_FORM), 401)
                raise Refused(
                    401, "NO_TOKEN", "open the address that the studio printed in its terminal"
                )
        if method in ("GET", "HEAD") or is_mounted:
            return None
        refuse_other_programs(headers, _TYPES)
        return None

    def _entered(self, scope: Scope, given: str) -> Response:
        """The cookie, and the page without the token in its address. It is a page that leads there:
        a browser that came from elsewhere would not send the cookie after a redirect."""
        self._try(scope, given)
        refresh = '<meta http-equiv="refresh" content="0;url=./">'
        words = 'Opening <a href="./">the studio</a>.'
        page = HTMLResponse(_ASK.format(refresh=refresh, words=words, form=""))
        # without a path it holds for the folder of this address, also below a proxy's
        cookie = f"{self._cookie(scope)}={self.token}; HttpOnly; SameSite=Strict"
        page.headers["Set-Cookie"] = cookie
        return page

    def _try(self, scope: Scope, given: str) -> None:
        """Raises Refused (401 NO_TOKEN, 429 TOO_MANY_TRIES)."""
        who = str((scope.get("client") or ("",))[0])
        now = self.clock()
        recent = [at for at in self._wrong.pop(who, []) if now - at < _MINUTE]
        self._wrong[who] = recent
        while len(self._wrong) > _KNOWN:
            self._wrong.popitem(last=False)
        if len(recent) >= _TRIES:
            raise Refused(429, "TOO_MANY_TRIES", "too many wrong tokens; wait a minute", 60)
        if not self._is_token(given):
            recent.append(now)
            raise Refused(
                401, "NO_TOKEN", "this is not the token that the studio printed in its terminal"
            )

    def _has_token(self, scope: Scope, headers: Headers) -> bool:
        """In the cookie, or for programs in the header Authorization: Bearer TOKEN."""
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            self._try(scope, given.strip())
            return True
        cookies: SimpleCookie = SimpleCookie()
        try:
            cookies.load(headers.get("cookie", ""))
        except CookieError:
            return False
        name = self._cookie(scope)
        return name in cookies and self._is_token(cookies[name].value)

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode("utf-8", "replace"), self.token.encode())

    def _cookie(self, scope: Scope) -> str:
        """Cookies know no ports: two studios of a host have each its own."""
        return f"bears-studio-{(scope.get('server') or ('', 0))[1]}"


def refused_response(exc: Refused) -> JSONResponse:
    body: dict[str, Any] = {"error": {"code": exc.code, "message": exc.sentence}}
    headers = {} if exc.after is None else {"Retry-After": str(exc.after)}
    return JSONResponse(body, exc.status, headers)

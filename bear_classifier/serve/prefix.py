"""ASGI middleware: the path below which a proxy shows the service; gradio asks for it."""

from __future__ import annotations

import re

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from bear_classifier.config.settings import ServeConfig
from bear_classifier.serve import limits

_PLAIN = re.compile(r"(/[A-Za-z0-9._~-]+)+")  # RFC 3986: characters that are never escaped


class Prefix:
    """The innermost middleware: what stands before it sees the path that the proxy asked for."""

    def __init__(self, app: ASGIApp, settings: ServeConfig) -> None:
        self._app, self._settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and (prefix := self._prefix(scope)):
            path = prefix + scope["path"]
            scope = {**scope, "root_path": prefix, "path": path, "raw_path": path.encode()}
        await self._app(scope, receive, send)

    def _prefix(self, scope: Scope) -> str:
        """Of the setting, or as the believed proxy says (X-Forwarded-Prefix); empty: none."""
        given = self._settings.root_path
        proxy = self._settings.proxy
        if not given and proxy and limits.client_of(scope) == proxy:
            given = Headers(scope=scope).get("x-forwarded-prefix", "")
        plain = "/" + given.strip("/")
        return plain if _PLAIN.fullmatch(plain) else ""

"""ASGI middleware: HEAD requests are answered as GET without a body (RFC 9110, 9.3.2)."""

from __future__ import annotations

from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Heads:
    """endless: whether the answer of this path is a stream, which a HEAD would wait for in vain."""

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

        asked = {**scope, "method": "GET"}
        try:
            await self.app(asked, receive, without_body)
        finally:
            scope.update({**asked, "method": "HEAD"})  # the route that answered, for the log

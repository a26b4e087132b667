"""Server-sent events: the whole state of a project whenever it has changed, for all pages open."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter
from fastapi.responses import StreamingResponse
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event

from bear_classifier.errors import BearsError
from bear_classifier.studio.workspace import Workspace

PAUSE = 0.25  # seconds between two looks, or twice what the last one took
_WAIT = 0.05  # seconds between two looks at whether there is an event to send
_PING = 10.0  # seconds without an event until a line is sent that keeps the connection open
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class Channel:
    """What one project shows, made once for all of its pages."""

    def __init__(self, space: Workspace, project: str) -> None:
        self.space, self.project = space, project
        self.text, self.number = "", 0
        self.pages = 0
        self._token: tuple[Any, ...] | None = None

    async def watch(self) -> None:
        """Make the text anew when something has changed, until no page is open."""
        while self.pages:
            began = time.monotonic()
            text = await asyncio.to_thread(self._next)
            if text and text != self.text:
                self.text, self.number = text, self.number + 1
            await asyncio.sleep(max(PAUSE, 2 * (time.monotonic() - began)))

    def _next(self) -> str:
        """The text of the event, "" where it is the same as before."""
        try:
            place = self.space.place(self.project)
            token = self.space.token(place)
            if token == self._token:
                return ""
            text = _event("state", self.space.state(place))
            self._token = token
            return text
        except BearsError as exc:
            return _event("fault", {"error": {"code": exc.code, "message": exc.sentence}})

    async def after(self, number: int) -> tuple[int, str]:
        """The newest event once it is another than this one; "" after a while without one, and at
        the end of the studio."""
        end = time.monotonic() + _PING
        while self.number == number and not self.space.closing.is_set():
            if time.monotonic() > end:
                return number, ""
            await asyncio.sleep(_WAIT)
        return (number, "") if self.number == number else (self.number, self.text)


def _event(name: str, value: Any) -> str:
    return format_sse_event(event=name, data_str=json.dumps(value), retry=1000).decode()


def event_routes(space: Workspace) -> APIRouter:
    routes = APIRouter()
    channels: dict[str, Channel] = {}

    async def stream(project: str) -> AsyncIterator[bytes]:
        channel = channels.setdefault(project, Channel(space, project))
        channel.pages += 1
        if channel.pages == 1:
            task = asyncio.create_task(channel.watch())
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        number = 0
        try:
            while not space.closing.is_set():
                number, text = await channel.after(number)
                yield text.encode() or KEEPALIVE_COMMENT
        finally:
            channel.pages -= 1

    tasks: set[asyncio.Task[None]] = set()

    @routes.get("/api/projects/{project}/events")
    async def events(project: str) -> StreamingResponse:
        await asyncio.to_thread(space.place, project)
        return StreamingResponse(stream(project), media_type="text/event-stream", headers=_HEADERS)

    return routes

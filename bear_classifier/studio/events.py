"""Server-sent events: the whole state of a project whenever it has changed, for all pages open."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

from fastapi import APIRouter
from fastapi.responses import StreamingResponse
from fastapi.sse import format_sse_event

from bear_classifier.errors import BearsError
from bear_classifier.runtime.files import os_error
from bear_classifier.studio.surviving import Surviving
from bear_classifier.studio.workspace import Workspace

PAUSE = 0.25  # seconds between two looks, or twice what the last one took
_WAIT = 0.05  # seconds between two looks at whether there is an event to send
PING = 5.0  # seconds without a state until a page hears that the studio is there
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class Channel:
    """What one project shows, made once for all of its pages, from the first to the last."""

    def __init__(self, space: Workspace, project: str) -> None:
        self.space, self.project = space, project
        self.text, self.number = "", 0
        self.pages = 0
        self._token: tuple[Any, ...] | None = None

    async def watch(self) -> None:
        """Make the text anew when something has changed, until no page is open."""
        looks = Surviving(f"a look at {self.project}")
        while self.pages:
            began = time.monotonic()
            text = _FAILED
            with looks:
                text = await asyncio.to_thread(self._next)
            if text and text != self.text:
                self.text, self.number = text, self.number + 1
            await asyncio.sleep(max(PAUSE, 2 * (time.monotonic() - began)))

    def _next(self) -> str:
        """The text of the event, "" where it is the same as before; after a fault all is new."""
        known, self._token = self._token, None
        try:
            place = self.space.place(self.project)
            token = self.space.token(place)
            text = "" if token == known else _event("state", self.space.state(place))
            self._token = token
            return text
        except (BearsError, OSError) as exc:
            said = os_error(exc) if isinstance(exc, OSError) else exc
            return _fault(said.code, said.sentence)

    async def after(self, number: int) -> tuple[int, str]:
        """The newest event once it is another than this one; a ping after a while without one, and
        at the end of the studio."""
        end = time.monotonic() + PING
        while self.number == number and not self.space.closing.is_set():
            if time.monotonic() > end:
                break
            await asyncio.sleep(_WAIT)
        return (number, _PINGED) if self.number == number else (self.number, self.text)


def _event(name: str, value: Any) -> str:
    return format_sse_event(event=name, data_str=json.dumps(value), retry=1000).decode()


def _fault(code: str, sentence: str) -> str:
    return _event("fault", {"error": {"code": code, "message": sentence}})


_PINGED = format_sse_event(event="ping", data_str="").decode()
_FAILED = _fault("INTERNAL", "the studio met a fault of its own, which its terminal names")


class PageChannels:
    """Of the projects that pages are open of, each with the task that watches it."""

    def __init__(self, space: Workspace) -> None:
        self.space = space
        self._open: dict[str, tuple[Channel, asyncio.Task[None]]] = {}

    @contextmanager
    def joined(self, project: str) -> Iterator[Channel]:
        """The channel of a project, for one page. With the last page it ends, so that the next
        one hears nothing old."""
        if project not in self._open:
            made = Channel(self.space, project)
            self._open[project] = made, asyncio.create_task(made.watch())
        channel, watching = self._open[project]
        channel.pages += 1
        try:
            yield channel
        finally:
            channel.pages -= 1
            if not channel.pages:
                watching.cancel()
                del self._open[project]


def event_routes(space: Workspace) -> APIRouter:
    routes, channels = APIRouter(), PageChannels(space)

    async def stream(project: str) -> AsyncIterator[bytes]:
        with channels.joined(project) as channel:
            number = 0
            while not space.closing.is_set():
                number, text = await channel.after(number)
                yield text.encode()

    @routes.get("/api/projects/{project}/events")
    async def events(project: str) -> StreamingResponse:
        await asyncio.to_thread(space.place, project)
        return StreamingResponse(stream(project), media_type="text/event-stream", headers=_HEADERS)

    return routes

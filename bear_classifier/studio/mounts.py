"""Pages of one project below `p/ID/`: the review page, the page of the published model, the report.

ASGI application. Each page is an application of its own, which is made when it is first asked for,
sees its own paths only, and keeps its guards. It is made anew once what it shows has changed, and
closed when nobody has used it for a while, so that its memory is bounded.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import (
    FileResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
)
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bear_classifier.config.settings import ServeConfig
from bear_classifier.errors import BearsError, DataError
from bear_classifier.judge.second_look import LOOK_FILE
from bear_classifier.runtime.usable_memory import usable_memory
from bear_classifier.serve.queue import Service, served_models
from bear_classifier.studio.projects import Place
from bear_classifier.web.guard import BROWSER_HEADERS, Refused

_IDLE = {"review": 1800.0, "try": 300.0}  # seconds without a request, then it is closed
_SWEEP = 15.0  # seconds between two looks at that
_LAST = 30.0  # seconds that requests to a page that is closed may still take
_MEMORY = 4  # a part of so many of the memory that may be used, for the processes that answer
_LEAST_MEMORY = 1000  # MB of these processes
_WAITING = 20  # photos that wait for an answer
_REPORT_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'self'"
)
_HERE = "localhost"  # what the applications are asked as
_ITSELF = f"http://{_HERE}/"
_MISSING = ("NO_PROJECT", "BAD_NAME", "NO_DATA", "NO_MODEL", "NO_REPORT")
Find = Callable[[str], Place]  # raises ConfigError
# What a page is made from: another value, another page.
PageVersion = tuple[object, ...]


@dataclass(eq=False)
class MountedPage:
    """An application while it is served. inside: requests that it is answering; stop: set to end
    it; task: that serves its lifespan."""

    app: ASGIApp
    version: PageVersion
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    inside: int = 0
    used: float = field(default_factory=time.monotonic)


class Mounts:
    """find: a project by its id.

    The studio's own guard has looked at names and origins of requests. Whatever name the studio was
    asked under, these applications are asked as this computer."""

    def __init__(self, find: Find) -> None:
        self._find = find
        self._pages: dict[tuple[str, str], MountedPage] = {}
        self._turns: dict[tuple[str, str], asyncio.Lock] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._sweeper: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Mounts:
        self._sweeper = asyncio.create_task(self._sweep())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._sweeper:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)
        for key in list(self._pages):
            self._end(self._pages.pop(key))
        await asyncio.gather(*self._ending, return_exceptions=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """scope: of a request whose path below the mount is `/ID/PAGE/...`."""
        below = scope["path"][len(scope.get("root_path", "")) :].lstrip("/")
        name, _, rest = below.partition("/")
        kind, slash, path = rest.partition("/")
        try:
            place = self._find(name)
            if kind not in (*_MAKERS, "report"):
                raise Refused(404, "NOT_FOUND", "There is nothing here")
            if not slash:
                await RedirectResponse(f"{kind}/")(scope, receive, send)
            elif kind == "report":
                await _report(place)(scope, receive, send)
            else:
                await self._through(place, kind, f"/{path}", scope, receive, send)
        except BearsError as exc:
            await _refusal(exc, Headers(scope=scope))(scope, receive, send)

    async def _through(
        self, place: Place, kind: str, path: str, scope: Scope, receive: Receive, send: Send
    ) -> None:
        page = await self._page(place, kind)
        page.inside += 1
        headers = [item for item in scope["headers"] if item[0] not in (b"host", b"origin")]
        headers.append((b"host", _HERE.encode()))
        inner = {
            **scope, "scheme": "http", "headers": headers,
            "path": path, "raw_path": path.encode(), "root_path": "",
        }  # fmt: skip

        async def below(message: Message) -> None:
            if message["type"] == "http.response.start":
                target = MutableHeaders(scope=message)
                if target.get("location", "").startswith(_ITSELF):
                    up = "../" * (path.count("/") - 1)
                    target["location"] = up + target["location"][len(_ITSELF) :]
            await send(message)

        try:
            await page.app(inner, receive, below)
        finally:
            page.inside -= 1
            page.used = time.monotonic()

    async def _page(self, place: Place, kind: str) -> MountedPage:
        """The page of a project, of what lies there now. Raises BearsError."""
        key = (place.name, kind)
        async with self._turns.setdefault(key, asyncio.Lock()):
            version = _VERSIONS[kind](place)
            page = self._pages.get(key)
            if page and page.version == version:
                page.used = time.monotonic()
                return page
            if page:
                self._end(self._pages.pop(key))
            made = MountedPage(await _MAKERS[kind](place), version)
            await _begin(made)
            self._pages[key] = made
            return made

    async def close(self, name: str) -> None:
        """End the pages of a project, before its folder moves."""
        for key in [key for key in self._pages if key[0] == name]:
            self._end(self._pages.pop(key))
        await asyncio.gather(*self._ending, return_exceptions=True)

    def is_open(self, name: str, kind: str) -> bool:
        return (name, kind) in self._pages

    def _end(self, page: MountedPage) -> None:
        task = asyncio.create_task(_ended(page))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP)
            self.close_idle(time.monotonic())

    def close_idle(self, now: float) -> None:
        """End the pages that nobody has used for a while. now: of the monotonic clock, seconds."""
        for key, page in list(self._pages.items()):
            if not page.inside and now - page.used > _IDLE[key[1]]:
                self._end(self._pages.pop(key))


async def _begin(page: MountedPage) -> None:
    """Start what the application does as long as it is served; in a task of its own, since what a
    task begins it has to end."""
    app = page.app
    assert isinstance(app, FastAPI)
    begun = asyncio.Event()

    async def serve() -> None:
        async with app.router.lifespan_context(app):
            begun.set()
            await page.stop.wait()

    page.task = asyncio.create_task(serve())
    waiting = asyncio.create_task(begun.wait())
    await asyncio.wait({page.task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if page.task.done():
        await page.task  # raises why it could not begin


async def _ended(page: MountedPage) -> None:
    """Once its last requests are answered."""
    until = time.monotonic() + _LAST
    while page.inside and time.monotonic() < until:
        await asyncio.sleep(0.05)
    page.stop.set()
    if page.task:
        with contextlib.suppress(asyncio.CancelledError):
            await page.task


# -- the pages -----------------------------------------------------------------------------------


def _stamp(path: Path) -> object:
    """What shows that a file is another one."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_mtime_ns, facts.st_size, facts.st_ino


def _inode(path: Path) -> int:
    return path.stat().st_ino if path.exists() else 0


async def _review(place: Place) -> ASGIApp:
    from bear_classifier.review.app import make_app

    if not (place.data / "catalog.sqlite").is_file():
        raise DataError("NO_DATA", "there are no photos yet; add some in the step Photos")
    return await asyncio.to_thread(
        lambda: make_app(place.data, place.config, file=place.file, framed=True)
    )


def _review_version(place: Place) -> PageVersion:
    """A new first model and a second look rank anew, other classes are shown anew."""
    return (_stamp(place.data / "probe" / "probabilities.npz"), tuple(place.config.classes),
            _stamp(place.data / LOOK_FILE), _inode(place.data / "catalog.sqlite"))  # fmt: skip


async def _try(place: Place) -> ASGIApp:
    from bear_classifier.serve.app import make_app

    if not (place.model / "bundle.json").is_file():
        raise DataError("NO_MODEL", "there is no model yet; make one in the step Learn")
    memory = max(_LEAST_MEMORY, usable_memory() // _MEMORY // 1_000_000)
    models = await asyncio.to_thread(served_models, place.model)
    service = Service(models, _WAITING, memory)
    try:
        await service.check()
    except BaseException:
        await service.__aexit__()
        raise
    settings = ServeConfig(max_waiting=_WAITING, framed_by="'self'", memory=memory)
    return make_app(service, settings, _HERE, gradio=False)


def _try_version(place: Place) -> PageVersion:
    return (_stamp(place.model / "bundle.json"),)


_MAKERS: dict[str, Callable[[Place], Awaitable[ASGIApp]]] = {"review": _review, "try": _try}
_VERSIONS: dict[str, Callable[[Place], PageVersion]] = {
    "review": _review_version,
    "try": _try_version,
}


def _report(place: Place) -> Response:
    path = place.data / "report" / "report.html"
    if not path.is_file():
        raise DataError("NO_REPORT", "there is no report yet; make one in the step Publish")
    headers = BROWSER_HEADERS | {"Content-Security-Policy": _REPORT_POLICY,
                                 "Cache-Control": "no-cache"}  # fmt: skip
    return FileResponse(path, media_type="text/html", headers=headers)


def _refusal(exc: BearsError, headers: Headers) -> Response:
    """A sentence for a person in a frame, JSON for a page's program."""
    status = exc.status if isinstance(exc, Refused) else 404 if exc.code in _MISSING else 503
    kept = {"Cache-Control": "no-store"} | BROWSER_HEADERS
    if "text/html" in headers.get("accept", ""):
        sentence = f"{exc.sentence[:1].upper()}{exc.sentence[1:]}."
        return PlainTextResponse(sentence, status, kept)
    return JSONResponse({"error": {"code": exc.code, "message": exc.sentence}}, status, kept)

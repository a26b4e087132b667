"""The uvicorn server: one port, slow clients, graceful shutdown.

It extends classes of uvicorn, checked with uvicorn 0.54.0; what it relies on is
listed in tests/test_library_internals.py, which fails when uvicorn changes it."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
import sys
import time
from pathlib import Path
from types import FrameType

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from bear_classifier.config.settings import ServeConfig
from bear_classifier.runtime.heartbeat import heartbeat
from bear_classifier.runtime.terminal import one_line, say
from bear_classifier.serve import limits
from bear_classifier.serve.app import make_app
from bear_classifier.serve.monitoring import logging_to_stderr
from bear_classifier.serve.queue import Service, served_models
from bear_classifier.web.addresses import browser_url, is_loopback, listening

UNREAD = 30.0  # seconds in which a client takes something of what waits for it, or is given up
HURRIED = 4.0  # the same once the service is stopping
NOTICE = 1.0  # seconds between "not ready" and closing the port, for whoever balances the load
GRACE = 17.0  # seconds at most until the end, beside uvicorn's 2 and a second for the processes
_LATE = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_AT_A_TIME = 16  # connections that are taken before whoever is inside has a turn
_QUEUED = 2048  # connections that the system may hold until they are taken
_FILES = 4096  # open files at most, connections among them


class Patient(H11Protocol):
    """A connection that is closed when a request does not come to its end in time, or when nobody
    takes the answer."""

    _due: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None
    _hurried = False

    @property
    def is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    @property
    def is_open_page(self) -> bool:
        """Whether this is the stream by which a page of gradio's says that it is still there."""
        return "/heartbeat/" in self.cycle.scope["path"]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait_for_request()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._due, self._unread):
            if timer:
                timer.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()
        if not self.transport.is_closing():
            self._wait_for_request()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch()

    def _watch(self) -> None:
        """Give the client up if it takes nothing of what waits for it. A stream that went on would
        hold its place for ever, and so would closing, which first sends what waits."""
        if self._unread:
            self._unread.cancel()
        waits = self.transport.get_write_buffer_size()
        seconds = min(UNREAD, HURRIED) if self._hurried else UNREAD
        self._unread = self.loop.call_later(seconds, self._taken, waits) if waits else None

    def hurry(self) -> None:
        """The service is stopping: it waits for whoever reads, and not long for others."""
        if not self._hurried:
            self._hurried = True
            self._watch()

    def _taken(self, before: int) -> None:
        if self.transport.get_write_buffer_size() >= before:
            self.transport.abort()
        else:
            self._watch()

    def _wait_for_request(self) -> None:
        if self._due:
            self._due.cancel()
        self._due = self.loop.call_later(limits.HEADER_SECONDS, self._late)

    def _late(self) -> None:
        if self.transport.is_closing() or self.is_answering:  # a slow body is the door's business
            return
        if self.conn.their_state is h11.IDLE and self.conn.our_state is h11.IDLE:
            part, _ = self.conn.trailing_data
            if part or self.cycle is None:
                self.transport.write(_LATE)
        self.transport.close()


class Server(uvicorn.Server):
    """On the first signal no new photo is taken, and it ends when all others are answered; on the
    second it ends."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self.service = service
        self.signals: list[int] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listener in sockets or []:  # asyncio takes as many at a time as it lets the system hold
            listener.listen(_QUEUED)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.signals.append(sig)
        self.service.stop()
        if len(self.signals) > 1:
            self.should_exit = self.force_exit = True

    async def on_tick(self, counter: int) -> bool:
        since = self.service.stopping_since
        if since is not None:
            for connection in self._connections:
                connection.hurry()
            waited = time.monotonic() - since
            busy = self.service.admitted or self._answering(open_pages=False)
            if waited > GRACE or (waited > NOTICE and not busy):
                self.should_exit = True
        return bool(await super().on_tick(counter))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Pages that are only open are closed first: uvicorn would wait for them, and call it an
        error that they did not end."""
        for connection in self._answering(open_pages=True):
            connection.transport.abort()
        await super().shutdown(sockets)

    @property
    def _connections(self) -> list[Patient]:
        return [one for one in self.server_state.connections if isinstance(one, Patient)]

    def _answering(self, open_pages: bool) -> list[Patient]:
        answering = [one for one in self._connections if one.is_answering]
        return [one for one in answering if one.is_open_page == open_pages]


def serve(place: Path, host: str, port: int, settings: ServeConfig) -> None:
    """Offer the model at this place, or all models in it, until a signal ends it.

    Raises ModelError, SelfTestError and ConfigError (PORT_TAKEN) before the port is open."""
    with heartbeat("serve: self-test"):
        models = served_models(place)
    _raise_file_limit()
    with listening(host, port) as listener:
        service = Service(models, settings.max_waiting, settings.memory)
        app = make_app(service, settings, host)
        serving = one_line(f"Serving {place} on {browser_url(host, listener)} (Ctrl-C stops)")
        with logging_to_stderr():
            asyncio.run(_run(app, service, listener, [serving, *reachable(host, settings)]))


def reachable(host: str, settings: ServeConfig) -> list[str]:
    """What its owner should know about who reaches it, and under which names."""
    lines = []
    effect = "what the proxy passes on under another name than localhost is refused"
    if not is_loopback(host):
        effect = "it answers to every name"
        lines.append(
            f"Everybody who reaches {host} can ask it; there is no password. For this computer"
            " only, add --host 127.0.0.1"
        )
    if settings.proxy and not settings.names:
        lines.append(
            f"serve.proxy is set and serve.names is not: {effect}; add --set"
            " serve.names=YOUR.DOMAIN"
        )
    return lines


def cut_off(slowest: float) -> str:
    """What a stop may do to the answer that takes longest; empty where it waits for that. slowest:
    seconds. Waiting longer is not promised: whoever balances the load kills after 20 s or 30 s."""
    if slowest <= GRACE:
        return ""
    return (
        f"The slowest answer takes {slowest:.0f} s here, and a stop waits {GRACE:.0f} s at most:"
        " photos that are being answered then may get no answer; serve a smaller model"
    )


async def _run(app: FastAPI, service: Service, listener: socket.socket, lines: list[str]) -> None:
    with heartbeat("serve: self-test"):
        await service.check()
    gc.collect()
    gc.freeze()  # else everybody stands still for 0.2 s whenever all that is imported is searched
    say("\n".join(filter(None, [*lines, cut_off(service.slowest)])))
    server = Server(uvicorn_config(app), service)
    await server.serve(sockets=[listener])
    if server.signals[:1] == [signal.SIGINT]:
        raise KeyboardInterrupt


def uvicorn_config(app: FastAPI) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=Patient,
        ws="none",
        log_level="error",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=_AT_A_TIME,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=2,
        limit_concurrency=_FILES // 2,
    )


def _raise_file_limit() -> None:
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))

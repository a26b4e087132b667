"""Running the studio: its folder, its port, the browser, and how it ends."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
import sys
import webbrowser
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

import uvicorn
from fastapi import FastAPI

from bear_classifier.dataset.lock import hold
from bear_classifier.errors import ConfigError, DataError
from bear_classifier.runtime.files import write_atomic, write_errors
from bear_classifier.runtime.terminal import one_line, say
from bear_classifier.studio.app import make_app
from bear_classifier.studio.workspace import Workspace
from bear_classifier.web.addresses import browser_url, is_loopback, listening

FOLDER = Path("bears-studio")  # in the user's home
_PLACE, _ADDRESS = ".studio", "address"
_PORTS = 50  # after the one that was asked for


class StudioServer(uvicorn.Server):
    """Ends the streams of open pages first: uvicorn would wait for them."""

    def __init__(self, config: uvicorn.Config, space: Workspace) -> None:
        super().__init__(config)
        self.space = space
        self.signals: list[int] = []

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.signals.append(sig)
        self.space.closing.set()
        running = [job for job in self.space.jobs.journal.all() if job.state == "running"]
        for job in running if len(self.signals) == 1 else ():
            say(one_line(f"Stopping {job.command}; the studio offers to go on with it"))
        if len(self.signals) > 1:
            self.space.jobs.patience = 0.0  # who presses it twice does not want to wait
        super().handle_exit(sig, frame)


def serve_studio(folder: Path, host: str, port: int, browser: bool) -> None:
    """Open the studio on the projects of a folder and wait.

    browser: open it there. Raises ConfigError (PORT_TAKEN) and DataError (LOCKED, CANNOT_WRITE)."""
    root = folder.expanduser().absolute()
    with write_errors(root):
        (root / _PLACE).mkdir(parents=True, exist_ok=True)
    with _only_one(root), free_port(host, port) as listener:
        listener.listen(128)
        token = secrets.token_urlsafe(32)
        app = make_app(root, host, token)
        at = browser_url(host, listener)
        taken = listener.getsockname()[1]
        if port and taken != port:
            say(f"Port {port} is taken; {taken} takes its place")
        address = at if is_loopback(host) else f"{at}/?token={token}"
        say(one_line(f"Studio of {root} on {address} (Ctrl-C stops)"))
        if is_loopback(host):
            say(f"Through a proxy it asks for this token: {token}")
        else:
            say(
                f"Everybody who reaches {host} and has this address can use it; keep it to yourself"
            )
        write_atomic(root / _PLACE / _ADDRESS, at.encode())
        if browser and has_screen():
            webbrowser.open(address)
        asyncio.run(_run(app, listener))


@contextmanager
def _only_one(root: Path) -> Iterator[None]:
    """Two studios of a folder would begin its jobs twice. Raises DataError (LOCKED)."""
    with ExitStack() as stack:
        try:
            stack.enter_context(hold(root / _PLACE, "studio"))
        except DataError as exc:
            if exc.code != "LOCKED":
                raise
            at = (root / _PLACE / _ADDRESS).read_text(encoding="utf-8")
            words = (
                f"a studio of {root} runs already; open its page, {at}, or end it and start again"
            )
            raise DataError("LOCKED", words) from exc
        yield


async def _run(app: FastAPI, listener: socket.socket) -> None:
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, proxy_headers=False,
        ws="none", timeout_graceful_shutdown=5,
    )  # fmt: skip
    server = StudioServer(config, app.state.workspace)
    await server.serve(sockets=[listener])
    if server.signals[:1] == [signal.SIGINT]:
        raise KeyboardInterrupt


def free_port(host: str, port: int) -> socket.socket:
    """The port, or the next one that is free. Raises ConfigError (PORT_TAKEN)."""
    for number in range(port, min(port + _PORTS, 65_536)) if port else (0,):
        try:
            return listening(host, number)
        except ConfigError as exc:
            last = exc
    raise last


def has_screen() -> bool:
    """Whether a browser that is opened here would be seen: not over ssh, not without a display."""
    if os.environ.get("SSH_CONNECTION") or os.environ.get("SSH_TTY"):
        return False
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))

"""Listening sockets, and the URL of a page."""

from __future__ import annotations

import socket

from bear_classifier.errors import ConfigError


def listening(host: str, port: int) -> socket.socket:
    """The port, taken but not open yet: nobody can connect before `listen`.

    port: 0 takes any that is free. Raises ConfigError (PORT_TAKEN)."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named, as asyncio else takes its connections for others than TCP, and leaves Nagle's algorithm
    # on: 40 ms for every answer but the first of a connection.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as exc:
        listener.close()
        raise ConfigError(
            "PORT_TAKEN", f"cannot listen on {host}:{port} ({exc}); choose another with --port"
        ) from exc
    return listener


def browser_url(host: str, listener: socket.socket) -> str:
    """Where a browser on this computer finds it."""
    shown = "127.0.0.1" if host == "0.0.0.0" else "[::1]" if host == "::" else host
    return f"http://{shown}:{listener.getsockname()[1]}"

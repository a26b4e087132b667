"""Addresses of a web application: its socket, its URL, and the host names it answers to.

A page elsewhere may point a name of its own at this computer (DNS rebinding); its visitors'
browsers then take what it sends here for its own. It cannot do so without a name.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

from bear_classifier.errors import ConfigError

EVERYWHERE = "0.0.0.0"
_LOCAL = ("localhost", "127.0.0.1", "::1")


def parse_ip(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def is_loopback(host: str) -> bool:
    """Whether only this computer reaches what is bound to this address or name."""
    address = parse_ip(host)
    return address.is_loopback if address else host.lower() == "localhost"


class HostNames:
    """host: what the page is bound to. names: further names, `*.example.com` for all below one.

    A page that others reach too answers to any name, unless `names` are given or it is `strict`.
    Bound to all addresses of a machine, it answers to each."""

    def __init__(self, host: str, names: Sequence[str] = (), strict: bool = False) -> None:
        self.names = {*_LOCAL, host.lower(), *(name.lower() for name in names)}
        self.any = not (strict or names or is_loopback(host))
        self.addresses = host in (EVERYWHERE, "::")

    def answers(self, header: str) -> bool:
        """header: the value of Host, or of X-Forwarded-Host."""
        try:
            name = (urlsplit(f"//{header}").hostname or "").rstrip(".")
        except ValueError:
            return False
        if not name or set(header) & set("/?#@\\"):
            return False
        parts = name.split(".")
        above = {f"*.{'.'.join(parts[n:])}" for n in range(1, len(parts))}
        known = self.any or not self.names.isdisjoint({name, *above})
        return known or (self.addresses and parse_ip(name) is not None)


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
    """The URL for a browser on this computer."""
    shown = "127.0.0.1" if host == EVERYWHERE else "[::1]" if host == "::" else host
    return f"http://{shown}:{listener.getsockname()[1]}"

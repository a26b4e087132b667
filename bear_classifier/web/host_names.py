"""Allowed host names of a web application.

A page elsewhere may point a name of its own at this computer (DNS rebinding); its visitors'
browsers then take what it sends here for its own. It cannot do so without a name.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

EVERYWHERE = "0.0.0.0"
_LOCAL = ("localhost", "127.0.0.1", "::1")


def is_loopback(host: str) -> bool:
    """Whether only this computer reaches what is bound to this address or name."""
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class HostNames:
    """host: what the page is bound to. names: further names, `*.example.com` for all below one.

    strict: only those names, also where others reach it; otherwise any name is answered to that
    reaches a page bound to more than this computer, unless some are given. Bound to all addresses
    of a machine, it answers to each."""

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
        known = self.any or name in self.names or self._below(name)
        return known or (self.addresses and _is_address(name))

    def _below(self, name: str) -> bool:
        parts = name.split(".")
        return any(f"*.{'.'.join(parts[n:])}" in self.names for n in range(1, len(parts)))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True

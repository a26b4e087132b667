"""SSRF guard: connections to public addresses only, and network errors as sentences.

A name is resolved once per connection; one address among its answers that is not public refuses
them all. The socket is opened to the very address that was checked, and its peer is compared
before a byte is sent. Proxies of the environment are not used: through one, nothing of this could
be known.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any, TypeVar

import aiohttp
import certifi
from aiohttp.abc import AbstractResolver, ResolveResult

from bear_classifier.errors import PhotoError

# IANA IPv4 Special-Purpose Address Registry (RFC 6890 and later), and multicast (RFC 5771). Ranges
# that are reachable but serve no web page (AS112, AMT) are refused too: nobody's photo is there.
_REFUSED_IPV4 = [
    *map(IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")),  # private, RFC 1918
    *map(IPv4Network, ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")),  # examples, RFC 5737
    *map(IPv4Network, ("192.31.196.0/24", "192.175.48.0/24")),  # AS112, RFC 7535 and RFC 7534
    IPv4Network("0.0.0.0/8"),  # this network, RFC 791
    IPv4Network("100.64.0.0/10"),  # shared by carriers, RFC 6598
    IPv4Network("127.0.0.0/8"),  # loopback, RFC 1122
    IPv4Network("169.254.0.0/16"),  # link-local, RFC 3927; clouds answer secrets here
    IPv4Network("192.0.0.0/24"),  # protocol assignments, RFC 6890
    IPv4Network("192.52.193.0/24"),  # AMT, RFC 7450
    IPv4Network("192.88.99.0/24"),  # 6to4 relays, RFC 7526
    IPv4Network("198.18.0.0/15"),  # benchmarking, RFC 2544
    IPv4Network("224.0.0.0/4"),  # multicast, RFC 5771
    IPv4Network("240.0.0.0/4"),  # reserved and broadcast, RFC 1112 and RFC 919
]
# IANA IPv6 Address Space: only 2000::/3 is unicast for everybody. Within it, the registry of
# special-purpose addresses, and what carries an IPv4 address to a relay.
_UNICAST_IPV6 = IPv6Network("2000::/3")
_REFUSED_IPV6 = [
    IPv6Network("2001::/23"),  # protocol assignments, RFC 2928: Teredo, ORCHID, benchmarking
    IPv6Network("2001:db8::/32"),  # documentation, RFC 3849
    IPv6Network("2002::/16"),  # 6to4, RFC 3056
    IPv6Network("2620:4f:8000::/48"),  # AS112, RFC 7534
    IPv6Network("3fff::/20"),  # documentation, RFC 9637
]
_MAPPED = IPv6Network("::ffff:0:0/96")  # RFC 4291
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: how an IPv6-only network reaches IPv4
_ISATAP = (0x5EFE, 0x0200_5EFE)  # RFC 5214: the half of the interface before the IPv4 address

_T = TypeVar("_T")
_Address = IPv4Address | IPv6Address
_NUMBER = re.compile(r"0[xX][0-9a-fA-F]*|[0-9]+")  # a part of an IPv4 address
# As many threads as there may be connections: a slow name holds one.
_resolvers = ThreadPoolExecutor(128, thread_name_prefix="resolver")


def is_public(address: _Address) -> bool:
    """Whether a photo may be fetched from there. The same for every version of Python.

    An IPv6 address that only carries an IPv4 address is judged by that one.
    """
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _REFUSED_IPV4)
    if address.scope_id is not None:
        return False
    bits = int(address)
    carried = IPv4Address(bits & 0xFFFF_FFFF)
    if address in _MAPPED or address in _NAT64:
        return is_public(carried)
    if address not in _UNICAST_IPV6 or any(address in network for network in _REFUSED_IPV6):
        return False
    return (bits >> 32) & 0xFFFF_FFFF not in _ISATAP or is_public(carried)


@dataclass(frozen=True)
class Limits:
    """bytes of a body, decompressed; those kept in memory; seconds."""

    bytes: int = 20_000_000
    in_memory: int = 500_000
    connect: float = 5.0
    read: float = 5.0
    total: float = 20.0


async def look_up(host: str, port: int) -> list[tuple[str, int]]:
    """(address, port) pairs as the system's resolver knows them. Raises OSError."""
    try:
        entries = await asyncio.get_running_loop().run_in_executor(
            _resolvers, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        )
    except UnicodeError as exc:  # a label that is too long
        raise OSError(f"{host!r} is no host name") from exc
    return [(str(entry[4][0]), int(entry[4][1])) for entry in entries]


@dataclass(frozen=True)
class World:
    """How names become addresses, which of them may be reached, and who vouches for hosts."""

    resolve: Callable[[str, int], Awaitable[list[tuple[str, int]]]] = look_up
    allowed: Callable[[_Address], bool] = is_public
    tls: ssl.SSLContext | None = None  # None: the system's and certifi's authorities


OPEN = World()


class Blocked(OSError):
    """Raised in the middle of connecting; an OSError, so that no library takes it for a bug."""


def check(address: _Address, host: str, allowed: Callable[[_Address], bool]) -> None:
    if not allowed(address):
        raise Blocked(f"{host} leads to {address}, which is not a public address")


def literal_of(host: str) -> _Address | None:
    """The address that a host is, in any spelling that a system's resolver would understand."""
    if ":" not in host and not _NUMBER.fullmatch(host.rpartition(".")[2]):
        return None
    with suppress(ValueError):
        return ip_address(host)
    with suppress(OSError):
        return IPv4Address(socket.inet_aton(host))  # 2130706433, 0x7f.1, 0177.0.0.1, 127.1
    return None


class Resolver(AbstractResolver):
    """aiohttp's seam for names: every answer is judged, and one bad one refuses all."""

    def __init__(self, world: World, seconds: float) -> None:
        self._world, self._seconds = world, seconds

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        try:
            answers = await asyncio.wait_for(self._world.resolve(host, port), self._seconds)
        except asyncio.TimeoutError as exc:
            raise OSError(f"no name server answered in {self._seconds:g} s") from exc
        for address, _ in answers:
            check(ip_address(address), host, self._world.allowed)
        return [
            ResolveResult(
                hostname=host,
                host=str(ip_address(address)),
                port=real_port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address, real_port in answers
        ]

    async def close(self) -> None:
        pass


def checked_request(allowed: Callable[[_Address], bool]) -> type[aiohttp.ClientRequest]:
    class Checked(aiohttp.ClientRequest):
        """Compares the peer of the open connection before the request is written to it.

        No documentation promises `send` and what it is given; checked with aiohttp 3.14.5, and
        tests/test_library_internals.py fails when they change."""

        async def send(self, conn: Any) -> aiohttp.ClientResponse:
            peername = conn.transport and conn.transport.get_extra_info("peername")
            if not peername:
                raise ConnectionResetError("closed as soon as it was open")
            peer = str(peername[0])
            check(ip_address(peer), "the open connection", allowed)
            if self.headers.get("Connection") == "close":
                conn.protocol.force_close()  # aiohttp would keep it unless the server agrees
            response = await super().send(conn)
            response.peer = peer  # type: ignore[attr-defined]
            return response

    return Checked


def authorities() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context


@contextmanager
def network_errors(host: str, limits: Limits) -> Iterator[None]:
    """What the network and its libraries raise, as a PhotoError."""
    try:
        yield
    except (Blocked, aiohttp.ClientError, ConnectionError, ValueError) as exc:
        raise _photo_error(exc, host, limits) from exc


def _photo_error(exc: Exception, host: str, limits: Limits) -> PhotoError:
    os_error = getattr(exc, "os_error", None)
    for error in (exc, os_error, exc.__cause__):
        if isinstance(error, Blocked):
            return PhotoError("BLOCKED_ADDRESS", str(error))
    text = " ".join(str(getattr(exc, "message", exc)).split()) or type(exc).__name__
    short = text if len(text) <= 120 else f"{text[:120]}..."
    if isinstance(exc, aiohttp.ClientConnectorDNSError):
        return PhotoError("NAME_ERROR", f"{host} cannot be found ({os_error})")
    if isinstance(exc, aiohttp.ClientSSLError):
        return PhotoError("TLS_ERROR", f"no safe connection to {host} ({short})")
    if isinstance(exc, aiohttp.ConnectionTimeoutError):
        return PhotoError("TIMEOUT_CONNECT", f"no connection in {limits.connect:g} s")
    if isinstance(exc, aiohttp.SocketTimeoutError):
        return PhotoError("TIMEOUT_READ", f"nothing came for {limits.read:g} s")
    if isinstance(exc, aiohttp.ClientConnectorError):
        return PhotoError("CONNECT_ERROR", f"no connection to {host} ({short})")
    if isinstance(exc, (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError, ConnectionError)):
        return PhotoError("CONNECT_ERROR", f"the connection broke ({short})")
    if isinstance(exc, aiohttp.InvalidURL):
        return PhotoError("BAD_ADDRESS", f"{host} is no host that can be asked")
    return PhotoError("BAD_ANSWER", f"not a usable answer ({short})")


async def in_time(work: Awaitable[_T], seconds: float, left: float | None = None) -> _T:
    """The result, or PhotoError TIMEOUT_TOTAL. left: of these seconds, for this part."""
    try:
        return await asyncio.wait_for(work, seconds if left is None else left)
    except asyncio.TimeoutError as exc:
        raise PhotoError("TIMEOUT_TOTAL", f"no complete answer in {seconds:.0f} s") from exc

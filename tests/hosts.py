"""Hosts that misbehave: the photo side of a small internet on loopback, HTTP/1.1 byte by byte.

    with Hosts({("a.example", "/bear.jpg"): photo(1), ("a.example", "*"): status(410)}) as hosts:
        world = World(hosts.resolve, hosts.allowed, hosts.tls)   # URLs keep ports 80 and 443
        hosts.add("b.example", "/x.jpg", in_turn(status(503), photo(2)))
        ...
        hosts.quiet()       # until nobody is served any more
        hosts.log           # one Visit per request; hosts.most_busy("a.example")

A behaviour is `async (request, wire) -> None`; many are in `answers.py`. What it raises, besides a
broken connection, fails the test when the hosts close. A path is looked up with its query, without
it, and as "*", which does not stand for /robots.txt; what is not found is a 404.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Address, IPv6Address

from waiting import STUCK, until

from bear_classifier.collect.http.ssrf_guard import is_public

LOOPBACK = "127.0.0.1"
BLOCK = 64 * 1024  # bytes written at once by what is long
SLICE = 0.05  # seconds after which a waiting behaviour looks whether the client is still there
Headers = Iterable[tuple[str, str]]


@dataclass(frozen=True)
class Request:
    """path: with the query; headers: names in lower case, the last of equal ones."""

    method: str
    host: str
    path: str
    headers: Mapping[str, str]
    tls: bool


@dataclass
class Visit:
    """One request. start, end: time.monotonic() of its last byte in and of our last one out; sent:
    bytes given to the network."""

    request: Request
    start: float
    end: float = float("inf")
    sent: int = 0


@dataclass
class Connection:
    host: str
    opened: float
    closed: float = float("inf")


class Wire:
    """What a behaviour writes to. keep: set it where the client can know that the answer ended."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.sent, self.keep = 0, False

    async def send(self, data: bytes) -> None:
        """Raises ConnectionResetError if the client has left."""
        self.sent += len(data)
        self.writer.write(data)
        await asyncio.sleep(0)  # else a writer that is never paused would not learn of it
        await self.writer.drain()
        self._look()

    async def wait(self, seconds: float) -> None:
        """Raises ConnectionResetError as soon as the client has left."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            await asyncio.sleep(min(left, SLICE))
            self._look()

    def _look(self) -> None:
        if self.reader.at_eof() or self.writer.transport.is_closing():
            raise ConnectionResetError

    def reset(self) -> None:
        """RST instead of FIN."""
        linger = struct.pack("ii", 1, 0)
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.writer.transport.abort()


Behaviour = Callable[[Request, Wire], Awaitable[None]]


class Hosts:
    """names: host -> its answers, each a list of addresses, one per question, the last for good."""

    def __init__(self, table: Mapping[tuple[str, str], Behaviour] | None = None, tls: bool = False,
                 latency: Callable[[Request], float] | None = None) -> None:  # fmt: skip
        self.table = dict(table or {})
        self.names = {host: [[LOOPBACK]] for host, _ in self.table}
        self.wrong_certificate: set[str] = set()
        self.log: list[Visit] = []
        self.connections: list[Connection] = []
        self.asked: Counter[str] = Counter()  # how often a name was resolved
        self.faults: list[BaseException] = []
        self.latency = latency
        self.tls: ssl.SSLContext | None = None  # what a client needs to believe us
        self._ports: dict[bool, int] = {}
        self._context = self._certified() if tls else None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._started = threading.Event()

    def add(self, host: str, path: str, behaviour: Behaviour) -> str:
        """The address, for http."""
        self.table[host, path] = behaviour
        self.names.setdefault(host, [[LOOPBACK]])
        return f"http://{host}{path}"

    async def resolve(self, host: str, port: int) -> list[tuple[str, int]]:
        """Loopback stands for us, whatever the port; 443 and 8443 are spoken with TLS."""
        if host not in self.names:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        answers = self.names[host]
        found = answers[min(self.asked[host], len(answers) - 1)]
        self.asked[host] += 1
        ours = self.port(tls=port in (443, 8443))
        return [(address, ours if address == LOOPBACK else port) for address in found]

    def allowed(self, address: IPv4Address | IPv6Address) -> bool:
        return is_public(address) or str(address) == LOOPBACK

    def port(self, tls: bool = False) -> int:
        """The real one. Without TLS, who asks for it meets plain HTTP."""
        return self._ports[tls and self._context is not None]

    def visits(self, host: str) -> list[Visit]:
        return [visit for visit in self.log if visit.request.host == host]

    def most_busy(self, *hosts: str) -> int:
        """Requests of these hosts, or of all, that were being answered at the same time."""
        spans = [(v.start, v.end) for v in self.log if not hosts or v.request.host in hosts]
        return most_at_once(spans)

    def most_open(self, *hosts: str) -> int:
        """Connections, also idle ones. One on which nothing was asked belongs to the host ""."""
        spans = [(c.opened, c.closed) for c in self.connections if not hosts or c.host in hosts]
        return most_at_once(spans)

    def quiet(self) -> None:
        until(lambda: all(v.end < float("inf") for v in list(self.log)), "still serving")

    def __enter__(self) -> Hosts:
        self._thread.start()
        assert self._started.wait(STUCK), "the hosts did not start"
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        assert not self.faults, self.faults

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        servers = {}
        for tls in (False, True)[: 1 if self._context is None else 2]:
            servers[tls] = await asyncio.start_server(
                self._connected, LOOPBACK, 0, ssl=self._context if tls else None, backlog=1000
            )
            self._ports[tls] = servers[tls].sockets[0].getsockname()[1]
        self._started.set()
        await self._stop.wait()
        for server in servers.values():
            server.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection("", time.monotonic())
        self.connections.append(connection)
        try:
            sock = writer.get_extra_info("socket")  # a small buffer: what is sent is soon received
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BLOCK)
            while await self._answered(connection, Wire(reader, writer)):
                pass
        except (OSError, asyncio.IncompleteReadError):  # the client has left
            pass
        except Exception as exc:  # noqa: BLE001  # told at the end
            self.faults.append(exc)
        finally:
            connection.closed = time.monotonic()
            writer.close()

    async def _answered(self, connection: Connection, wire: Wire) -> bool:
        """Whether the connection stays open for another request."""
        request = parsed(await wire.reader.readuntil(b"\r\n\r\n"), wire)
        connection.host = request.host
        visit = Visit(request, time.monotonic())
        self.log.append(visit)
        try:
            if self.latency:
                await wire.wait(self.latency(request))
            await self._behaviour(request)(request, wire)
            return wire.keep and request.headers.get("connection", "").lower() != "close"
        finally:
            visit.sent = wire.sent - wire.writer.transport.get_write_buffer_size()
            visit.end = time.monotonic()

    def _behaviour(self, request: Request) -> Behaviour:
        bare = request.path.partition("?")[0]
        for path in (request.path, bare, "" if bare == "/robots.txt" else "*"):
            if (request.host, path) in self.table:
                return self.table[request.host, path]
        return not_found

    def _certified(self) -> ssl.SSLContext:
        """One authority; certificates are made for the names that clients ask for."""
        import trustme

        authority = trustme.CA()
        self.tls = ssl.create_default_context()
        authority.configure_trust(self.tls)

        @cache
        def context(name: str) -> ssl.SSLContext:
            made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            authority.issue_cert(name).configure_cert(made)
            return made

        def choose(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
            if name and name not in self.wrong_certificate:
                connection.context = context(name)

        first = context("wrong.example")
        first.sni_callback = choose
        return first


async def not_found(_: Request, wire: Wire) -> None:
    await wire.send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nnot found")
    wire.keep = True


def most_at_once(spans: Iterable[tuple[float, float]]) -> int:
    """What ends in the moment in which another begins does not overlap it."""
    marks = sorted(mark for start, end in spans for mark in ((start, 1), (end, -1)))
    open_now = most = 0
    for _, step in marks:
        open_now += step
        most = max(most, open_now)
    return most


def parsed(head: bytes, wire: Wire) -> Request:
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
    host, _, port = headers.get("host", "").rpartition(":")
    host = host if port.isdigit() else headers.get("host", "")
    tls = wire.writer.get_extra_info("ssl_object") is not None
    return Request(method, host, path, headers, tls)

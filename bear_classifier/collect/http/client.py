"""The guarded HTTP client: the address is checked when the connection is made."""

from __future__ import annotations

import asyncio
import re
import socket
import tempfile
import zlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from pathlib import Path
from typing import IO, Any, TypeVar

import aiohttp
from yarl import URL

from bear_classifier import __version__
from bear_classifier.collect.http import ssrf_guard
from bear_classifier.collect.http.ssrf_guard import OPEN, Limits, World, in_time
from bear_classifier.collect.http.url import Target, parse_url, shorten
from bear_classifier.errors import PhotoError
from bear_classifier.runtime import files

_T = TypeVar("_T")
_CHUNK = 64 * 1024
_BUFFER = 256 * 1024  # bytes; most pictures fit, and need no pause in between
_HEAD = 512  # bytes that tell the format, and a web page from a picture
REDIRECTS = (301, 302, 303, 307, 308)
_SMALL = Limits(bytes=2_000_000)  # of an answer of a search service


@dataclass(frozen=True)
class Reply:
    """A whole answer, in memory."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def agent(contact: str = "") -> str:
    """Who we are and where to complain, for the User-Agent header."""
    way = " ".join(contact.split()) or "no contact given"  # a line break would end the header
    return f"bear-classifier/{__version__} (collects pictures for an image classifier; {way})"


class _Broken(Exception):
    """Carries a connection error past aiohttp, which would send the request again."""


async def _send_once(
    request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """aiohttp middleware: no second attempt after a broken connection, which would be made at once
    and count for no limit."""
    try:
        return await send(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as exc:
        raise _Broken(exc) from exc


@dataclass
class Client:
    """One session. Usage: `async with Client(world) as client, client.open(target) as answer`."""

    world: World
    limits: Limits
    contact: str = ""
    spool: str | None = None

    async def __aenter__(self) -> Client:
        connector = aiohttp.TCPConnector(
            resolver=ssrf_guard.Resolver(self.world, self.limits.connect),
            use_dns_cache=False,
            limit=0,
            keepalive_timeout=2,
            ssl=self.world.tls or ssrf_guard.authorities(),
            socket_factory=self._socket,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            request_class=ssrf_guard.checked_request(self.world.allowed),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            middlewares=(_send_once,),
            read_bufsize=_BUFFER,
            headers={
                "User-Agent": agent(self.contact),
                "Accept": "image/jpeg,image/png,image/webp,image/*;q=0.8,*/*;q=0.5",
                "Accept-Encoding": "identity",
            },
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=self.limits.connect, sock_read=self.limits.read
            ),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    @asynccontextmanager
    async def open(self, target: Target, keep: bool = True) -> AsyncIterator[HttpResponse]:
        """The head of one answer; redirects are not followed. Leaving early hangs up.

        keep: leave the connection open for the next request, if the answer was read whole."""
        with ssrf_guard.network_errors(target.host, self.limits):
            url = URL(target.url, encoded=True)
            if (literal := ssrf_guard.literal_of(target.host)) is not None:
                ssrf_guard.check(literal, target.host, self.world.allowed)
            headers = {} if keep else {"Connection": "close"}
            try:
                response = await self._session.get(url, headers=headers, allow_redirects=False)
            except _Broken as exc:
                error: aiohttp.ClientError = exc.args[0]
                raise error from error.__cause__
            async with response:
                yield HttpResponse(target, response, self.limits, self.spool)

    def _socket(self, info: tuple[Any, ...]) -> socket.socket:
        """The last look before connecting, whatever way the address came here."""
        ssrf_guard.check(ip_address(info[4][0]), "the connection", self.world.allowed)
        return socket.socket(family=info[0], type=info[1], proto=info[2])


class HttpResponse:
    """status, headers, peer (IP address) at once; the body when it is asked for."""

    def __init__(
        self, target: Target, response: aiohttp.ClientResponse, limits: Limits, spool: str | None
    ) -> None:
        self.target, self.status, self.headers = target, response.status, response.headers
        self.peer: str = getattr(response, "peer", "")
        self.type = shorten(response.headers.get("Content-Type", ""), 100)
        self.received = 0  # bytes of the body, decompressed
        self._response, self._limits, self._spool = response, limits, spool

    async def read(
        self, judge: Callable[[bytes], object] = lambda head: None, most: int | None = None
    ) -> IO[bytes]:
        """The body as a file at its start, at most the first `most` bytes. judge: sees the first
        512 bytes, if there are so many; what it raises ends the reading."""
        announced = int(self.headers.get("Content-Length", 0))
        if most is None and announced > self._limits.bytes:
            raise self._too_large()
        with ExitStack() as until_whole:
            body: IO[bytes] = until_whole.enter_context(
                tempfile.SpooledTemporaryFile(self._limits.in_memory, dir=self._spool)
            )
            await self._copy(body, announced, judge, most)
            until_whole.pop_all()
        body.seek(0)
        return body

    def _too_large(self) -> PhotoError:
        return PhotoError("TOO_LARGE", f"more than {self._limits.bytes / 1e6:.0f} MB")

    async def _copy(
        self, body: IO[bytes], announced: int, judge: Callable[[bytes], object], most: int | None
    ) -> None:
        inflate = _inflater(self.headers.get("Content-Encoding", ""))
        arrived, head = 0, b""
        try:
            async for chunk in self._response.content.iter_any():
                arrived += len(chunk)
                if arrived > self._limits.bytes:
                    raise self._too_large()
                for piece in inflate(chunk):
                    self.received += len(piece)
                    if most is not None and self.received >= most:
                        body.write(piece[: len(piece) - (self.received - most)])
                        return
                    if self.received > self._limits.bytes:
                        raise self._too_large()
                    if len(head) < _HEAD and len(head := head + piece[:_HEAD]) >= _HEAD:
                        judge(head)
                    with files.write_errors(Path(self._spool or "the temporary folder")):
                        body.write(piece)
        except aiohttp.ClientPayloadError as exc:
            whole = f"{announced} bytes" if announced else "an unknown number of bytes"
            raise PhotoError("TRUNCATED", f"{arrived} of {whole} arrived") from exc


def _inflater(encoding: str) -> Callable[[bytes], Iterator[bytes]]:
    """Pieces of at most 64 KB, so that a small body cannot become a huge one unseen."""
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return lambda chunk: iter((chunk,))
    if name not in ("gzip", "x-gzip", "deflate"):
        raise PhotoError(
            "BAD_ENCODING",
            f"the server compressed the picture ({encoding[:60]!r}), though asked not to",
        )
    stream = zlib.decompressobj(wbits=47)  # 47: gzip or zlib, whichever it is

    def inflate(chunk: bytes) -> Iterator[bytes]:
        try:
            while chunk and not stream.eof:
                yield stream.decompress(chunk, _CHUNK)
                chunk = stream.unconsumed_tail
        except zlib.error as exc:
            raise PhotoError("BAD_ENCODING", f"the compressed body is damaged: {exc}") from exc

    return inflate


def retry_after(text: str) -> float | None:
    """Seconds from a Retry-After header, which holds seconds or a date (RFC 9110, 10.2.3)."""
    if re.fullmatch(r"\s*\d+\s*", text):
        return float(text.strip()[:15])  # a longer wait is as long as for ever
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return max(0.0, (moment - datetime.now(timezone.utc)).total_seconds())


def get_text(url: str, world: World = OPEN, limits: Limits = _SMALL) -> Reply:
    """One guarded request from ordinary code, for a search service: no redirects, no robots.txt."""

    async def get() -> Reply:
        async with Client(world, limits) as client, client.open(parse_url(url)) as answer:
            with await answer.read() as body:
                return Reply(answer.status, dict(answer.headers), body.read())

    return in_own_loop(in_time(get(), limits.total))


def in_own_loop(work: Coroutine[Any, Any, _T]) -> _T:
    """Its result; also where a loop runs already, as in every notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()

"""What the hosts of `hosts.py` answer: behaviours, each made by a function.

plain       photo answer status later redirect chain in_turn; chunked; foreign, empty: no pictures
slow        silent after drip_head drip_body chunked_forever hints
large       big announced endless many_headers long_header
encoded     encoded gzip_bomb
wrong       lying cut cut_chunks bad_chunks reset garbage; raw, script for anything else

A robots.txt is answer(text, type="text/plain"), or any other of them.
"""

from __future__ import annotations

import gzip
import itertools
import random
import zlib
from collections.abc import Callable, Iterable
from email.utils import formatdate
from functools import cache
from http import HTTPStatus
from time import time

from corpus import drawn, lfs_pointer, saved, zipped
from hosts import BLOCK, Behaviour, Headers, Hosts, Request, Wire

HOUR = 3600.0
END = b"\r\n"
REASONS = {status.value: status.phrase for status in HTTPStatus}
Pieces = Iterable["bytes | float"]
FOREIGN = {  # name -> bytes and the type that an honest server gives
    "html": (b"<!doctype html><html><body><h1>Not here</h1>" + b"<p>Gone.</p>" * 99, "text/html"),
    "php": (b"<?php system($_GET['c']); ?>" + b"\n// " * 200, "application/x-httpd-php"),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg"><script>1</script></svg>', "image/svg+xml"),
    "pdf": (b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\n%%EOF" * 20, "application/pdf"),
    "zip": (zipped("a.jpg", b"a" * 999), "application/zip"),
    "mp4": (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + b"\0" * 999, "video/mp4"),
    "text": (b"no such picture", "text/plain"),
    "lfs": (lfs_pointer(), "text/plain"),
}


@cache
def picture(seed: int = 0, format: str = "JPEG", width: int = 96, height: int = 64) -> bytes:
    return saved(drawn(width, height, seed), format)


def head(status: int = 200, type: str | None = "image/jpeg", length: int | None = None,
         headers: Headers = ()) -> bytes:  # fmt: skip
    """None: that header is left out."""
    lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Odd')}"]
    lines += [f"Content-Type: {type}"] if type is not None else []
    lines += [f"Content-Length: {length}"] if length is not None else []
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


# The plain ones.


def answer(body: bytes = b"", status: int = 200, type: str | None = "image/jpeg",
           headers: Headers = (), close: bool = False) -> Behaviour:  # fmt: skip
    """Well formed. close: the connection is not kept, and that is said."""
    headers = [*headers, ("Connection", "close")] if close else headers
    data = head(status, type, len(body), headers) + body

    async def behave(_: Request, wire: Wire) -> None:
        await wire.send(data)
        wire.keep = not close

    return behave


def photo(seed: int = 0, format: str = "JPEG", type: str | None = None, headers: Headers = (),
          close: bool = False) -> Behaviour:  # fmt: skip
    """format: Pillow's name, whatever the address ends with."""
    type = type or f"image/{format.lower()}"
    return answer(picture(seed, format), type=type, headers=headers, close=close)


def status(code: int, body: bytes = b"", headers: Headers = ()) -> Behaviour:
    return answer(body, code, "text/html", headers)


def later(code: int, seconds: float, as_date: bool = False) -> Behaviour:
    """With Retry-After."""
    text = formatdate(time() + seconds, usegmt=True) if as_date else f"{seconds:.0f}"
    return status(code, headers=[("Retry-After", text)])


def redirect(location: str | None, code: int = 302) -> Behaviour:
    return status(code, headers=[("Location", location)] if location is not None else [])


def chain(hosts: Hosts, host: str, count: int, last: Behaviour) -> str:
    """The address from which count redirects lead to the last."""
    for n in range(count, 0, -1):
        hosts.add(host, f"/hop/{n}", redirect(f"/hop/{n - 1}"))
    hosts.add(host, "/hop/0", last)
    return f"http://{host}/hop/{count}"


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """One per request, the last for all others: in_turn(status(503), status(503), photo())."""
    left = list(behaviours)

    async def behave(request: Request, wire: Wire) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(request, wire)

    return behave


def after(seconds: float, behaviour: Behaviour) -> Behaviour:
    """The first byte comes late."""

    async def behave(request: Request, wire: Wire) -> None:
        await wire.wait(seconds)
        await behaviour(request, wire)

    return behave


# The odd ones are scripts: bytes to send and seconds to wait, and then an end.


def script(pieces: Callable[[], Pieces], then: str = "close") -> Behaviour:
    """then: close, keep, reset, or silent for good."""

    async def behave(_: Request, wire: Wire) -> None:
        for piece in pieces():
            await (wire.send(piece) if isinstance(piece, bytes) else wire.wait(piece))
        if then == "silent":
            await wire.wait(HOUR)
        elif then == "reset":
            wire.reset()
        wire.keep = then == "keep"

    return behave


def raw(*pieces: bytes | float, then: str = "close") -> Behaviour:
    return script(lambda: pieces, then)


def dripped(data: bytes, every: float, step: int = 1) -> Pieces:
    for start in range(0, len(data), step):
        yield data[start : start + step]
        yield every


def silent() -> Behaviour:
    """The request is taken and nothing said."""
    return raw(then="silent")


def drip_head(every: float, body: bytes | None = None) -> Behaviour:
    """A good answer, its head one byte at a time."""
    body = picture() if body is None else body
    start = head(length=len(body))
    return script(lambda: itertools.chain(dripped(start, every), [body]), "keep")


def drip_body(every: float, body: bytes | None = None, step: int = 1) -> Behaviour:
    body = picture() if body is None else body
    start = head(length=len(body))
    return script(lambda: itertools.chain([start], dripped(body, every, step)), "keep")


CHUNKED = (("Transfer-Encoding", "chunked"),)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def chunked(body: bytes, size: int = 1000, headers: Headers = ()) -> Behaviour:
    """Well formed."""
    chunks = b"".join(chunk(body[n : n + size]) for n in range(0, len(body), size))
    return raw(head(headers=[*CHUNKED, *headers]) + chunks + chunk(b""), then="keep")


def chunked_forever(every: float, data: bytes = b"a") -> Behaviour:
    """A good beginning, then a small chunk now and then."""
    start = head(headers=CHUNKED) + chunk(picture()[:-2])
    return script(lambda: itertools.chain([start], itertools.cycle([every, chunk(data)])))


def blocks(total: int, start: bytes) -> Pieces:
    yield start
    block = b"\0" * BLOCK
    for left in range(total - len(start), 0, -BLOCK):
        yield block[:left]


def big(total: int = 200_000_000, code: int = 404, length: bool = True) -> Behaviour:
    """A body that long, sent as fast as it is taken; it begins like a JPEG."""
    start = head(code, length=total if length else None)
    return script(lambda: itertools.chain([start], blocks(total, picture()[:-2])))


def announced(total: int = 200_000_000) -> Behaviour:
    """Content-Length says so; the beginning of a JPEG comes and then nothing."""
    return raw(head(length=total) + picture()[:-2], then="silent")


def endless(start: bytes | None = None) -> Behaviour:
    """No length and no end: what begins like a JPEG; with start=b"" noise."""
    noise = random.Random(0).randbytes(BLOCK)
    first = head() + (picture()[:-2] if start is None else start)
    return script(lambda: itertools.chain([first], itertools.repeat(noise)))


def foreign(name: str, honest: bool = False) -> Behaviour:
    """One of FOREIGN, which calls itself a JPEG unless it is honest."""
    data, type = FOREIGN[name]
    return answer(data, type=type if honest else "image/jpeg")


def empty(length: bool = True) -> Behaviour:
    return answer(b"") if length else raw(head())


def brotli(body: bytes) -> bytes:
    """Stored, not compressed, at most 65,536 bytes: RFC 7932, sections 9.1 and 9.2."""
    return ((len(body) - 1) << 4 | 1 << 20).to_bytes(3, "little") + body + b"\x03"


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli,
}


def encoded(body: bytes, *encodings: str) -> Behaviour:
    """One after the other, as Content-Encoding lists them: encoded(data, *["gzip"] * 10)."""
    for encoding in encodings:
        body = PACKERS[encoding](body)
    return answer(body, headers=[("Content-Encoding", ", ".join(encodings))])


@cache
def bomb(total: int) -> bytes:
    packer = zlib.compressobj(9, wbits=31)  # 31: gzip
    packed = [packer.compress(p) for p in blocks(total, picture()[:-2]) if isinstance(p, bytes)]
    return b"".join(packed) + packer.flush()


def gzip_bomb(total: int = 50_000_000) -> Behaviour:
    """So many bytes once unpacked, a thousandth of that to send. It begins like a JPEG."""
    return answer(bomb(total), headers=[("Content-Encoding", "gzip")])


def lying(body: bytes, length: int) -> Behaviour:
    """Content-Length is too long or too short; the connection closes after the body."""
    return raw(head(length=length) + body)


def cut(body: bytes, share: float, length: bool = True, then: str = "close") -> Behaviour:
    """Only that share comes. length: whether the whole length was announced."""
    part = body[: int(len(body) * share)]
    return raw(head(length=len(body) if length else None) + part, then=then)


def cut_chunks(body: bytes, share: float, inside: bool = True) -> Behaviour:
    """Chunked without the last chunk; inside: cut within a chunk, else after one."""
    part = body[: int(len(body) * share)]
    sent = chunk(body)[: -2 - len(body) + len(part)] if inside else chunk(part)
    return raw(head(headers=CHUNKED) + (sent if part else b""))


def bad_chunks(size: bytes = b"xyz") -> Behaviour:
    """size: what stands where the size of the second chunk belongs."""
    body = picture()
    return raw(head(headers=CHUNKED) + chunk(body[:99]) + size + END + body[99:] + END + chunk(b""))


def reset(data: bytes = b"") -> Behaviour:
    """The connection breaks after these bytes of the answer."""
    return raw(data, 0.02, then="reset") if data else raw(then="reset")


def garbage() -> Behaviour:
    """Not HTTP at all."""
    return raw(b"SSH-2.0-OpenSSH_9.9\r\n" + bytes(range(256)) * 4)


def many_headers(count: int = 10_000) -> Behaviour:
    return photo(headers=[(f"X-{n}", "a") for n in range(count)])


def long_header(length: int = 1_000_000) -> Behaviour:
    return photo(headers=[("X-Long", "a" * length)])


def hints(every: float) -> Behaviour:
    """103 Early Hints, again and again, and never an answer."""
    return script(lambda: itertools.cycle([head(103, type=None), every]))

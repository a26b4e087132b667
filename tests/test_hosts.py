"""The misbehaving hosts do what they claim, seen through a bare socket."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import closing
from ipaddress import ip_address

import answers as a
import pytest
from hosts import Behaviour, Hosts, Request, Wire, most_at_once
from waiting import STUCK

HOST = "a.example"
BODY = a.picture()


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    with Hosts() as running:
        yield running


def asking(path: str = "/", host: str = HOST, close: bool = True) -> bytes:
    end = "close" if close else "keep-alive"
    return f"GET {path} HTTP/1.1\r\nHost: {host}:80\r\nConnection: {end}\r\n\r\n".encode()


def call(hosts: Hosts, path: str = "/", host: str = HOST, tls: bool = False,
         close: bool = True) -> socket.socket:  # fmt: skip
    line = socket.create_connection(("127.0.0.1", hosts.port(tls)), timeout=STUCK)
    if tls:
        assert hosts.tls is not None
        line = hosts.tls.wrap_socket(line, server_hostname=host)
    line.sendall(asking(path, host, close))
    return line


def everything(line: socket.socket, most: int = 10**9) -> bytes:
    """What comes until the end, or 1 s of silence, or most bytes."""
    line.settimeout(1)
    parts, size = [], 0
    with closing(line):
        try:
            while size < most and (part := line.recv(1 << 16)):
                parts.append(part)
                size += len(part)
        except TimeoutError:
            parts.append(b"<silence>")
        except ConnectionResetError:
            parts.append(b"<reset>")
    return b"".join(parts)


def seen(
    hosts: Hosts, behaviour: Behaviour, most: int = 10**9
) -> tuple[str, dict[str, str], bytes]:
    """Status line, headers with names in lower case, and what follows."""
    hosts.add(HOST, "/", behaviour)
    start, _, body = everything(call(hosts), most).partition(b"\r\n\r\n")
    first, *lines = start.decode("latin-1").split("\r\n")
    return first, {k.lower(): v for k, _, v in (line.partition(": ") for line in lines)}, body


def test_good_pictures_and_the_log(hosts: Hosts) -> None:
    """Two on one connection, another host beside it."""
    hosts.add(HOST, "/a?b", a.photo(1, "PNG", headers=[("X-Robots-Tag", "noai")]))
    hosts.add(HOST, "*", a.photo(2))
    hosts.add("b.example", "/b.jpg", a.photo(3, "WEBP", close=True))
    before = time.monotonic()
    with call(hosts, "/a?b", close=False) as line:
        assert line.recv(100).startswith(b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n")
        line.sendall(asking("/c", close=False))
        everything(call(hosts, "/b.jpg", "b.example"))
        assert everything(line).endswith(a.picture(2) + b"<silence>")
    assert everything(call(hosts, "/robots.txt")).startswith(b"HTTP/1.1 404")
    assert everything(call(hosts, "/c", "b.example")).startswith(b"HTTP/1.1 404")
    hosts.quiet()
    first, second = hosts.visits(HOST)[:2]
    assert (first.request.path, second.request.path) == ("/a?b", "/c")
    assert first.request.headers == {"host": HOST + ":80", "connection": "keep-alive"}
    assert before < first.start <= first.end <= second.start <= second.end < time.monotonic()
    assert len(a.picture(2)) < second.sent < len(a.picture(2)) + 200
    assert len(hosts.log) == 5
    assert (hosts.most_busy(), hosts.most_open(HOST), hosts.most_open()) == (1, 1, 2)


def test_how_many_at_once() -> None:
    assert most_at_once([]) == 0
    assert most_at_once([(0, 1), (1, 2)]) == 1
    assert most_at_once([(0, 2), (1, 3), (1.5, float("inf")), (4, 5)]) == 3
    with Hosts({(HOST, "/"): a.photo()}, latency=lambda request: 0.2) as hosts:
        lines = [call(hosts) for _ in range(5)]
        for line in lines:
            assert line.recv(9) == b"HTTP/1.1 "
            line.close()
    assert (hosts.most_busy(HOST), hosts.most_open(HOST)) == (5, 5)
    assert all(0.19 < visit.end - visit.start < 1 for visit in hosts.log)


def test_names(hosts: Hosts) -> None:
    def resolve(host: str, port: int) -> list[tuple[str, int]]:
        return asyncio.run(hosts.resolve(host, port))

    hosts.add(HOST, "/", a.photo())
    hosts.names["turns.example"] = [["93.184.215.14", "2606:4700::1"], ["127.0.0.1"]]
    assert resolve(HOST, 80) == resolve(HOST, 443) == [("127.0.0.1", hosts.port())]
    assert resolve("turns.example", 80) == [("93.184.215.14", 80), ("2606:4700::1", 80)]
    assert resolve("turns.example", 80) == [("127.0.0.1", hosts.port())]
    assert resolve("turns.example", 80) == [("127.0.0.1", hosts.port())]
    assert hosts.asked == {HOST: 2, "turns.example": 3}
    with pytest.raises(socket.gaierror):
        resolve("b.example", 80)
    allowed = ("127.0.0.1", "8.8.8.8", "127.0.0.2", "10.0.0.1")
    assert [hosts.allowed(ip_address(text)) for text in allowed] == [True, True, False, False]


def test_tls() -> None:
    with Hosts({(HOST, "/"): a.photo()}, tls=True) as hosts:
        hosts.wrong_certificate.add("b.example")
        assert everything(call(hosts, tls=True)).startswith(b"HTTP/1.1 200 OK")
        assert everything(call(hosts)).startswith(b"HTTP/1.1 200 OK")
        with pytest.raises(ssl.SSLCertVerificationError):
            call(hosts, host="b.example", tls=True)
        assert asyncio.run(hosts.resolve(HOST, 443)) == [("127.0.0.1", hosts.port(tls=True))]
        assert [visit.request.tls for visit in hosts.log] == [True, False]
        hosts.add(HOST, "/", a.big())
        assert everything(call(hosts, tls=True), most=1) != b""
        hosts.quiet()
        assert hosts.log[-1].sent < 10_000_000


def test_a_fault_of_a_behaviour_is_not_swallowed() -> None:
    async def broken(_: Request, wire: Wire) -> None:
        raise KeyError("here")

    with pytest.raises(AssertionError, match="here"), Hosts({(HOST, "/"): broken}) as hosts:
        everything(call(hosts))


def test_closing_ends_what_is_silent() -> None:
    with Hosts({(HOST, "/"): a.silent()}) as hosts:
        line = call(hosts)
        time.sleep(0.1)
        before = time.monotonic()
    line.close()
    assert time.monotonic() - before < STUCK
    assert hosts.log[0].end < time.monotonic()


def test_statuses(hosts: Hosts) -> None:
    first, headers, body = seen(hosts, a.status(410, b"gone"))
    assert (first, headers["content-length"], body) == ("HTTP/1.1 410 Gone", "4", b"gone")
    hosts.add(
        HOST, "/", a.in_turn(a.status(503), a.later(429, 7), a.later(503, 60, True), a.photo())
    )
    answers = [everything(call(hosts)) for _ in range(5)]
    assert [answer[9:12] for answer in answers] == [b"503", b"429", b"503", b"200", b"200"]
    assert b"\r\nRetry-After: 7\r\n" in answers[1]
    assert b" GMT\r\n" in answers[2]
    hosts.add(HOST, "/", a.redirect("file:///etc/passwd"))
    assert (
        b"302 Found\r\nContent-Type: text/html\r\nContent-Length: 0\r\nLocation: file:"
        in everything(call(hosts))
    )
    assert "location" not in seen(hosts, a.redirect(None, 301))[1]
    assert len(seen(hosts, a.redirect("/" + "a" * 100_000))[1]["location"]) == 100_001
    assert a.chain(hosts, HOST, 3, a.photo()) == "http://a.example/hop/3"
    assert b"Location: /hop/2\r\n" in everything(call(hosts, "/hop/3"))
    assert b"image/jpeg" in everything(call(hosts, "/hop/0"))


def test_what_is_no_picture(hosts: Hosts) -> None:
    for name, (data, honest) in a.FOREIGN.items():
        assert seen(hosts, a.foreign(name))[1:] == ({"content-type": "image/jpeg",
            "content-length": str(len(data))}, data)  # fmt: skip
        assert seen(hosts, a.foreign(name, honest=True))[1]["content-type"] == honest
    assert seen(hosts, a.empty())[1]["content-length"] == "0"
    assert seen(hosts, a.empty(length=False))[1:] == ({"content-type": "image/jpeg"}, b"")


@pytest.mark.long
def test_slow_ones(hosts: Hosts) -> None:
    assert seen(hosts, a.silent()) == ("<silence>", {}, b"")
    assert seen(hosts, a.after(60, a.photo())) == ("<silence>", {}, b"")
    assert seen(hosts, a.after(0.1, a.photo()))[2] == BODY
    assert seen(hosts, a.drip_head(0.001, b"ab"))[2] == b"ab"
    assert seen(hosts, a.drip_body(0.01, b"abcd", step=2))[2] == b"abcd"
    for slow in (a.drip_head(0.02), a.drip_body(0.02), a.chunked_forever(0.02), a.hints(0.02)):
        hosts.add(HOST, "/", slow)
        with call(hosts) as line:
            parts = [line.recv(1 << 16) for _ in range(4)]
        assert all(0 < len(part) < 100 for part in parts[1:])
    hosts.quiet()  # each noticed that the client left


@pytest.mark.long
def test_large_ones_stop_when_the_client_leaves(hosts: Hosts) -> None:
    noise = a.endless(b"")
    for large in (a.big(), a.big(code=200, length=False), a.endless(), noise):
        body = seen(hosts, large, most=1_000_000)[2]
        assert len(body) > 900_000
        assert body.startswith(BODY[:-2]) or large is noise
        hosts.quiet()
        assert hosts.log[-1].sent < 10_000_000
    assert seen(hosts, a.big(3_000_000))[1]["content-length"] == "3000000"
    assert len(seen(hosts, a.big(3_000_000))[2]) == 3_000_000
    assert seen(hosts, a.announced())[1]["content-length"] == "200000000"
    assert seen(hosts, a.announced())[2] == BODY[:-2] + b"<silence>"
    assert len(seen(hosts, a.many_headers())[1]) == 10_002
    assert len(seen(hosts, a.long_header())[1]["x-long"]) == 1_000_000


def test_encodings(hosts: Hosts) -> None:
    _, headers, body = seen(hosts, a.encoded(BODY, *["gzip"] * 10))
    assert headers["content-encoding"] == ", ".join(["gzip"] * 10)
    for _ in range(10):
        body = gzip.decompress(body)
    assert body == BODY
    deflated = seen(hosts, a.encoded(BODY, "deflate"))[2]
    assert zlib.decompress(deflated) == BODY
    assert seen(hosts, a.encoded(BODY, "br"))[2][3:].startswith(BODY)
    bomb = seen(hosts, a.gzip_bomb(5_000_000))[2]
    assert len(gzip.decompress(bomb)) == 5_000_000 > 500 * len(bomb)


def test_cuts_and_lies(hosts: Hosts) -> None:
    for share, length in ((0, 0), (0.01, len(BODY) // 100), (0.99, len(BODY) * 99 // 100)):
        _, headers, body = seen(hosts, a.cut(BODY, share))
        assert (headers["content-length"], body) == (str(len(BODY)), BODY[:length])
        _, headers, body = seen(hosts, a.cut(BODY, share, length=False))
        assert (headers, body) == ({"content-type": "image/jpeg"}, BODY[:length])
    assert seen(hosts, a.cut(BODY, 0.5, then="reset"))[2].endswith(b"<reset>")
    assert seen(hosts, a.cut(BODY, 0.5, then="silent"))[2].endswith(b"<silence>")
    size = b"%x\r\n" % len(BODY)
    assert seen(hosts, a.cut_chunks(BODY, 0.5))[2] == size + BODY[: len(BODY) // 2]
    half = BODY[: len(BODY) // 2]
    assert seen(hosts, a.cut_chunks(BODY, 0.5, inside=False))[2] == a.chunk(half)
    assert seen(hosts, a.lying(b"abc", 2))[1:] == (
        {"content-type": "image/jpeg", "content-length": "2"},
        b"abc",
    )
    assert b"\r\nxyz\r\n" in seen(hosts, a.bad_chunks())[2]
    whole = b"1\r\na\r\n1\r\nb\r\n0\r\n\r\n"
    assert seen(hosts, a.chunked(b"ab", 1))[2] == whole
    assert seen(hosts, a.garbage())[0] == "SSH-2.0-OpenSSH_9.9"
    hosts.add(HOST, "/", a.reset())
    assert everything(call(hosts)) == b"<reset>"
    hosts.add(HOST, "/", a.reset(b"HTTP/1.1 200"))
    assert everything(call(hosts)) == b"HTTP/1.1 200<reset>"


def test_fast_enough(hosts: Hosts) -> None:
    """A third of the core's time that 300 requests per second may take, client included."""
    hosts.add(HOST, "*", a.photo())
    whole = len(everything(call(hosts)))
    done = []

    def ask(count: int) -> None:
        with call(hosts, close=False) as line:
            for _ in range(count):
                got = 0
                while got < whole:
                    got += len(line.recv(1 << 16))
                line.sendall(asking(close=False))
                done.append(1)

    before = time.process_time()
    threads = [threading.Thread(target=ask, args=(75,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(STUCK)
    assert len(done) == 300
    assert time.process_time() - before < 1

"""The search side of a small internet on loopback: an HTTP proxy that answers as three services.

    with Internet(tmp_path) as net:
        DDGS(proxy=net.proxy, verify=net.ca, timeout=5).images("bear", backend="bing")

It ends TLS for duckduckgo.com, www.bing.com and api.openverse.org with a certificate of its own and
refuses every other host, so that whatever leaves the program is in `net.log`. How a service answers
is a word for each in `net.moods`, or a list of words, one per request, the last for all the others.
DuckDuckGo's first page, which only gives a key for the second request, is a service named "vqd":

    answers    so many results as `net.totals` says for the query, in pages of the real size
    empty      a well-formed answer without results
    202 403 429 500    that status; 429 with Retry-After
    page       a page for people, status 200, as where it is asked whether one is a robot
    silent     takes the request and says nothing, until the internet is closed
    drops      takes the request and closes the connection

`net.spoil(service, items)` may change the items of a page before they are sent.
"""

from __future__ import annotations

import html
import json
import select
import socketserver
import ssl
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.client import HTTPSConnection
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlsplit

import trustme

from bear_classifier.collect.http.client import Reply

SERVICES = {
    "duckduckgo.com": "duckduckgo",
    "www.bing.com": "bing",
    "api.openverse.org": "openverse",
}
PAGE = {"duckduckgo": 100, "bing": 35, "openverse": 20}
DEEPEST = 240  # results that Openverse shows without a key
ROBOT = "<!doctype html><html><body><h1>Are you a robot?</h1></body></html>"
Item = dict[str, Any]


@dataclass(frozen=True)
class Request:
    """at: seconds of time.monotonic()."""

    host: str
    path: str
    query: dict[str, str]
    at: float

    @property
    def service(self) -> str:
        return "vqd" if self.path == "/" else SERVICES[self.host]


class Internet:
    """address: (query, index from 0) -> the picture's address in the results of every service."""

    def __init__(
        self,
        folder: Path,
        address: Callable[[str, int], str] = lambda query, index: (
            f"https://photos.example/{query.replace(' ', '-')}/{index}.jpg"
        ),
    ) -> None:
        self.address = address
        self.moods: dict[str, str | Sequence[str]] = defaultdict(lambda: "answers")
        self.totals: dict[str, int] = defaultdict(lambda: 1000)  # results by query
        self.spoil: Callable[[str, list[Any]], list[Any]] = lambda service, items: items
        self.retry_after = "17"
        self.log: list[Request] = []
        self.closed = threading.Event()
        authority = trustme.CA()
        self.ca = str(folder / "authority.pem")
        authority.cert_pem.write_to_path(self.ca)
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.set_alpn_protocols(["http/1.1"])
        authority.issue_cert(*SERVICES).configure_cert(self.tls)
        self._trusted = ssl.create_default_context(cafile=self.ca)
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.net = self
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )

    def __enter__(self) -> Internet:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closed.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def proxy(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def asked(self, service: str) -> list[Request]:
        return [request for request in self.log if request.service == service]

    def get(self, url: str) -> Reply:
        """One request through the proxy, in place of the guarded client, which refuses loopback."""
        parts = urlsplit(url)
        port = self._server.server_address[1]
        connection = HTTPSConnection("127.0.0.1", port, timeout=5, context=self._trusted)
        connection.set_tunnel(parts.hostname or "", 443)
        try:
            connection.request("GET", f"{parts.path}?{parts.query}")
            reply = connection.getresponse()
            return Reply(reply.status, dict(reply.getheaders()), reply.read())
        finally:
            connection.close()

    def mood(self, service: str) -> str:
        """The word for this request; a list is used up."""
        mood = self.moods[service]
        if isinstance(mood, str):
            return mood
        self.moods[service] = mood[1:] or mood[0]
        return mood[0]

    def items(self, service: str, query: str, first: int, most: int) -> list[Any]:
        """first: index from 0."""
        indexes = range(first, min(first + most, self.totals[query]))
        made = [_ITEMS[service](self.address(query, n), query, n) for n in indexes]
        return self.spoil(service, made)


# -- what the services say ---------------------------------------------------------------------


def _duckduckgo_item(url: str, query: str, n: int) -> Item:
    return {
        "title": f"{query} number {n}",
        "image": url,
        "thumbnail": f"https://tse.example/th?id={n}",
        "url": f"https://page.example/{n}",
        "height": 600,
        "width": 800,
        "source": "Bing",
    }


def _bing_item(url: str, query: str, n: int) -> Item:
    return {
        "t": f"{query} number {n}",
        "murl": url,
        "turl": f"https://tse.example/th?id={n}",
        "purl": f"https://page.example/{n}",
    }


def _openverse_item(url: str, query: str, n: int) -> Item:
    """As in MediaSerializer of WordPress/openverse, less what nobody reads."""
    return {
        "id": f"{n:08x}-31c0-43dc-9672-fff81a3f4346",
        "title": f"{query} number {n}",
        "foreign_landing_url": f"https://page.example/{n}",
        "url": url,
        "creator": f"Author {n}",
        "creator_url": "https://page.example/author",
        "license": "by-sa",
        "license_version": "4.0",
        "license_url": "https://creativecommons.org/licenses/by-sa/4.0/",
        "provider": "flickr",
        "source": "flickr",
        "category": None,
        "filesize": None,
        "filetype": "jpg",
        "tags": [],
        "attribution": "by somebody",
        "fields_matched": [],
        "mature": False,
        "height": 600,
        "width": 800,
        "thumbnail": f"https://api.openverse.org/v1/images/{n}/thumb/",
        "unstable__sensitivity": [],
    }


_ITEMS: dict[str, Callable[[str, str, int], Item]] = {
    "duckduckgo": _duckduckgo_item,
    "bing": _bing_item,
    "openverse": _openverse_item,
}


def _bing_html(items: Sequence[Any]) -> str:
    cells = (
        '<li><div class="iuscp"><div class="imgpt">'
        f'<a class="iusc" m="{html.escape(json.dumps(item), quote=True)}" href="/images/1"></a>'
        '<div class="img_info hon"><span class="nowrap">800 x 600 · jpeg</span></div></div>'
        '<div class="infopt"><div class="lnkw"><a href="#">page.example</a></div></div></div></li>'
        for item in items
    )
    return f'<div class="dgControl"><ul class="dgControl_list">{"".join(cells)}</ul></div>'


# -- the proxy ---------------------------------------------------------------------------------


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64
    net: Internet

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server
    host = ""
    _pages: ClassVar[dict[str, str]] = {
        "/": "_first_page",
        "/i.js": "_duckduckgo",
        "/images/async": "_bing",
        "/v1/images/": "_openverse",
    }

    def log_message(self, *_: object) -> None:
        pass

    def do_CONNECT(self) -> None:
        self.host = self.path.rpartition(":")[0]
        if self.host not in SERVICES:
            self.send_error(502, "no such host")
            return
        self.send_response(200)
        self.end_headers()
        self.connection = self.server.net.tls.wrap_socket(self.request, server_side=True)
        self.rfile = self.connection.makefile("rb")
        self.wfile = self.connection.makefile("wb")
        self.close_connection = False

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query))
        request = Request(self.host, parts.path, query, time.monotonic())
        self.net.log.append(request)
        mood = self.net.mood(request.service)
        if mood == "silent":
            self._wait()
        elif mood == "drops":
            self.close_connection = True
        elif mood.isdigit():
            self._send(int(mood), '{"detail": "Request was throttled."}', "application/json")
        elif mood == "page":
            self._send(200, ROBOT, "text/html")
        else:
            empty = mood == "empty"
            getattr(self, self._pages.get(parts.path, "_nowhere"))(query, empty)

    @property
    def net(self) -> Internet:
        return self.server.net

    def _wait(self) -> None:
        """Until the client gives up or the internet is closed."""
        self.close_connection = True
        while not self.net.closed.is_set():
            if select.select([self.connection], [], [], 0.02)[0]:
                return

    def _send(self, status: int, body: str, kind: str) -> None:
        data = body.encode("utf-8", "surrogatepass")
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        if status == 429:
            self.send_header("Retry-After", self.net.retry_after)
        self.end_headers()
        self.wfile.write(data)

    def _nowhere(self, query: dict[str, str], empty: bool) -> None:
        self._send(404, '{"detail": "Not found."}', "application/json")

    def _first_page(self, query: dict[str, str], empty: bool) -> None:
        self._send(
            200, '<html><script>DDG.deep.initialize(vqd="4-123")</script></html>', "text/html"
        )

    def _duckduckgo(self, query: dict[str, str], empty: bool) -> None:
        first = int(query.get("s", "0"))
        items = [] if empty else self.net.items("duckduckgo", query["q"], first, 100)
        self._send(200, json.dumps({"results": items, "query": query["q"]}), "application/json")

    def _bing(self, query: dict[str, str], empty: bool) -> None:
        first, most = int(query["first"]) - 1, int(query["count"])
        items = [] if empty else self.net.items("bing", query["q"], first, min(most, 35))
        self._send(200, _bing_html(items), "text/html")

    def _openverse(self, query: dict[str, str], empty: bool) -> None:
        page, size = int(query.get("page", "1")), int(query.get("page_size", "20"))
        if size > PAGE["openverse"]:
            text = {"detail": "Ensure this value is less than or equal to 20."}
            self._send(401, json.dumps(text), "application/json")
            return
        total = 0 if empty else min(self.net.totals[query["q"]], DEEPEST)
        first = (page - 1) * size
        items = self.net.items("openverse", query["q"], first, min(size, max(0, total - first)))
        answer = {
            "result_count": total,
            "page_count": -(-total // size),
            "page_size": size,
            "page": page,
            "results": items,
        }
        self._send(200, json.dumps(answer), "application/json")

"""D4 to D8 and D11: what a download makes of hosts that misbehave, row by row.

Most hosts are visited in one download, whose rows are then looked at one by one. Its limits are
smaller than the real ones: 2 MB, 4 s, and 6 s for everything; what has to come in time has so much
of it that a busy computer makes nobody late.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import random
import socket
import ssl
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import NamedTuple

import answers as a
import corpus
import pytest
from hosts import LOOPBACK, Behaviour, Hosts, Request, Visit

from bear_classifier import __version__
from bear_classifier.collect.download import download
from bear_classifier.collect.http.client import Client, agent, retry_after
from bear_classifier.collect.http.fetch_many import Net
from bear_classifier.collect.http.fetch_one import MISSING
from bear_classifier.collect.http.rate_limit import Clock, PolitenessLimits, RateLimit
from bear_classifier.collect.http.robots import KEEP, MOST_BYTES, Robots, opt_out
from bear_classifier.collect.http.ssrf_guard import Limits, World
from bear_classifier.collect.http.url import parse_url
from bear_classifier.collect.rights.take_down import take_down
from bear_classifier.config.project_file import build
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import DUPLICATE, OK, PENDING, Photo, Source
from bear_classifier.images import decoder
from bear_classifier.runtime.git_lfs import ADVICE

Child = Callable[..., "subprocess.Popen[str]"]
LIMITS = Limits(bytes=2_000_000, in_memory=100_000, connect=20, read=4, total=6)
QUICK = PolitenessLimits(apart=0.01)
IMPATIENT = Clock(chance=lambda: 0.0)
BODY = a.picture(50)
HALF = len(BODY) // 2
PLAIN = ssl.create_default_context()  # where nobody speaks TLS: ours takes long to make
NOISE = random.Random(0).randbytes(1 << 16)


@dataclass
class Trip:
    """What a download left: rows by address, photos by sha256, files by name."""

    rows: dict[str, Source]
    photos: dict[str, Photo]
    files: dict[str, bytes] = field(repr=False)
    seconds: float


def travel(hosts: Hosts, sources: Iterable[Source | str], folder: Path, clock: Clock = IMPATIENT,
           limits: Limits = LIMITS, manners: PolitenessLimits = QUICK, world: World | None = None,
           gone: str = "", **settings: object) -> Trip:  # fmt: skip
    """gone: a site of which nothing may be used."""
    classes = {"grizzly": ["x"], "teddy": ["y"]}
    config = build({"classes": classes, "download": settings}, where="test")
    world = world or World(hosts.resolve, hosts.allowed, hosts.tls or PLAIN)
    net = Net(world, limits, manners, clock)
    with Catalog(folder / "data") as catalog:
        if gone:
            take_down(catalog, "domain", gone, "me", "asked by mail")
        with catalog.transaction():
            catalog.put_sources(
                s if isinstance(s, Source) else Source(s, "grizzly", "urls") for s in sources
            )
        begin = time.monotonic()
        download(catalog, config, net=net)
        seconds = time.monotonic() - begin
        files = [path for path in (catalog.root / "photos").rglob("*") if path.is_file()]
        return Trip(
            {row.origin: row for row in catalog.sources()},
            {photo.sha256: photo for photo in catalog.photos()},
            {path.name: path.read_bytes() for path in files},
            seconds,
        )


@pytest.fixture(scope="module")
def hosts() -> Iterator[Hosts]:
    with Hosts(tls=True) as running:
        yield running


# The long table. A case is the host {name}.example, asked for /x.jpg unless there is a url.


class Case(NamedTuple):
    """sentence: with … at its end only the beginning; final: where it ended, if elsewhere."""

    answer: Behaviour | None
    code: str
    sentence: str = ""
    http: int = 200
    type: str = "image/jpeg"
    url: str = ""
    final: str = ""
    opted: str = ""

    def address(self, name: str) -> str:
        return self.url or f"http://{name}.example/x.jpg"


HERE: dict[tuple[str, str], Behaviour] = {  # hosts to which others lead
    ("closed.example", "/robots.txt"): a.answer(b"User-agent: *\nDisallow: /", type="text/plain"),
    ("closed.example", "*"): a.photo(90),
    ("gone.example", "*"): a.photo(91),
    ("slow.example", "*"): a.drip_body(0.1),
}
_seeds = itertools.count(1000)


def new() -> Behaviour:
    """A picture that nobody else shows."""
    return a.photo(next(_seeds))


def elsewhere(name: str) -> str:
    """Where another new picture is, without a scheme."""
    HERE["target.example", f"/{name}.jpg"] = new()
    return f"target.example/{name}.jpg"


def status(code: int, phrase: str = "") -> Case:
    return Case(
        a.status(code), f"HTTP_{code}", f"the server answers {code}{phrase}", code, "text/html"
    )


NO_404 = ("HTTP_404", "the server answers 404 Not Found", 404)
STATUSES = {
    "s206": status(206, " Partial Content"),
    "s299": status(299),
    "s304": status(304, " Not Modified"),
    "s400": status(400, " Bad Request"),
    "s401": status(401, " Unauthorized"),
    "s403": status(403, " Forbidden"),
    "s404": status(404, " Not Found"),
    "s408": status(408, " Request Timeout"),
    "s410": status(410, " Gone"),
    "s429": status(429, " Too Many Requests"),
    "s451": status(451, " Unavailable For Legal Reasons"),
    "s500": status(500, " Internal Server Error"),
    "s503": status(503, " Service Unavailable"),
    "s599": status(599),
    "s404-picture": Case(a.answer(BODY, 404), *NO_404),
    "s404-noai": Case(a.status(404, headers=[("X-Robots-Tag", "noai")]), *NO_404, "text/html"),
}

# D4


def moved(to: str | None, code: str, sentence: str, http: int = 302) -> Case:
    return Case(a.redirect(to, http), code, sentence, http, "text/html")


def arrives(name: str, scheme: str = "http", http: int = 302) -> Case:
    to = f"{scheme}://{elsewhere(name)}"
    return Case(a.redirect(to, http), OK, final=to)


def hops(host: str, count: int, last: Behaviour) -> str:
    """The address from which so many redirects lead to the last."""
    for n in range(count):
        HERE[host, f"/hop/{n + 1}"] = a.redirect(f"/hop/{n}")
    HERE[host, "/hop/0"] = last
    return f"http://{host}/hop/{count}"


def forever(start: bytes, block: bytes) -> Behaviour:
    return a.script(lambda: itertools.chain([start], itertools.repeat(block)))


HERE["r-relative.example", "/other/y.jpg"] = new()
HERE["r-dots.example", "/b.jpg?c"] = new()
HERE["r-query.example", "/x.jpg?size=9"] = new()
HERE["r-cookie.example", "/y.jpg"] = new()
METADATA = "169.254.169.254"
REDIRECTS = {
    **{f"r-{code}": arrives(f"r-{code}", http=code) for code in (301, 302, 303, 307, 308)},
    "r-https": arrives("r-https", "https"),
    "r-no-scheme": Case(a.redirect("//" + elsewhere("y")), OK, final="http://target.example/y.jpg"),
    "r-relative": Case(
        a.redirect("other/y.jpg"), OK, final="http://r-relative.example/other/y.jpg"
    ),
    "r-dots": Case(a.redirect("/a/../b.jpg?c#d"), OK, final="http://r-dots.example/b.jpg?c"),
    "r-query": Case(a.redirect("?size=9"), OK, final="http://r-query.example/x.jpg?size=9"),
    "r-cookie": Case(
        a.status(302, headers=[("Location", "/y.jpg"), ("Set-Cookie", "a=b; Path=/")]),
        OK,
        final="http://r-cookie.example/y.jpg",
    ),
    "r-5": Case(None, OK, url=hops("r-5.example", 5, new()), final="http://r-5.example/hop/0"),
    "r-6": Case(
        None,
        "TOO_MANY_REDIRECTS",
        "more than 5, the last to r-6.example",
        302,
        "text/html",
        hops("r-6.example", 6, new()),
        "http://r-6.example/hop/1",
    ),
    "r-loop": moved("/x.jpg", "TOO_MANY_REDIRECTS", "more than 5, the last to r-loop.example"),
    "r-empty": moved("", "TOO_MANY_REDIRECTS", "more than 5, the last to r-empty.example"),
    "r-none": moved(None, "HTTP_302", "the server answers 302 Found"),
    "r-300": moved("/y.jpg", "HTTP_300", "the server answers 300 Multiple Choices", 300),
    "r-file": moved(
        "file:///etc/passwd",
        "BLOCKED_SCHEME",
        "only http and https addresses are downloaded (got file:)",
    ),
    "r-data": moved(
        "data:image/png;base64,AAAA",
        "BLOCKED_SCHEME",
        "only http and https addresses are downloaded (got data:)",
    ),
    "r-down": Case(
        a.redirect("http://target.example/y.jpg"),
        "BLOCKED_SCHEME",
        "the site redirects from https to http (http://target.example/y.jpg)",
        302,
        "text/html",
        "https://r-down.example/x.jpg",
    ),
    "r-port": moved(
        "http://target.example:22/",
        "BLOCKED_PORT",
        "only the ports 80, 443, 8080, 8443 are used (got 22)",
    ),
    "r-user": moved(
        "http://me:hunter2@target.example/",
        "BAD_ADDRESS",
        "the address holds a user name or password (for target.example)",
    ),
    "r-metadata": moved(
        f"http://{METADATA}/latest/",
        "BLOCKED_ADDRESS",
        f"{METADATA} leads to {METADATA}, which is not a public address",
    ),
    "r-decimal": moved(
        "http://2852039166/",
        "BLOCKED_ADDRESS",
        f"2852039166 leads to {METADATA}, which is not a public address",
    ),
    "r-inside": moved(
        "http://inside.example/",
        "BLOCKED_ADDRESS",
        "inside.example leads to 10.0.0.5, which is not a public address",
    ),
    "r-nowhere": moved("http://nowhere.example/", "NAME_ERROR", "nowhere.example cannot be found…"),
    "r-long": moved(
        "/" + "a" * 5_000,
        "BAD_ADDRESS",
        "the address has more than 4,096 characters (/" + "a" * 79 + "...)",
    ),
    "r-huge": Case(a.redirect("/" + "a" * 100_000), "BAD_ANSWER", "not a usable answer (…", 0, ""),
    "r-odd": moved(
        "/\xff.jpg",
        "BAD_ADDRESS",
        r"the address holds a blank or control character (/\udcff.jpg)",
    ),
    "r-closed": moved(
        "http://closed.example/x.jpg",
        "OPTED_OUT",
        "the site asks not to be fetched (http://closed.example/robots.txt does not allow it)",
    )._replace(opted="robots.txt"),
    "r-gone": moved("http://www.gone.example/x.jpg", "TAKEN_DOWN", "since 2…"),
    "r-body": Case(
        forever(a.head(302, headers=[("Location", f"http://{elsewhere('r-body')}")]), NOISE),
        OK,
        final="http://target.example/r-body.jpg",
    ),
    "r-slow": Case(
        a.after(2.4, a.redirect("http://slow.example/x.jpg")),
        "TIMEOUT_TOTAL",
        "no complete answer in 6 s",
        final="http://slow.example/x.jpg",
    ),
}

# D5: the limit is 2 MB here


def gzipped(body: bytes, flush: bool = True) -> bytes:
    """After the head of an answer; not flushed: more may follow in the same stream."""
    packer = a.zlib.compressobj(9, wbits=31)
    end = a.zlib.Z_FINISH if flush else a.zlib.Z_SYNC_FLUSH
    return (
        a.head(headers=[("Content-Encoding", "gzip")]) + packer.compress(body) + packer.flush(end)
    )


TOO_LARGE = ("TOO_LARGE", "more than 2 MB")
PACKED = "the server compressed the picture ({}), though asked not to"
LARGE = {
    "l-404": Case(a.big(), *NO_404),
    "l-404-endless": Case(a.big(10**12, length=False), *NO_404),
    "l-announced": Case(a.announced(), *TOO_LARGE),
    "l-announced-little": Case(a.announced(2_000_001), *TOO_LARGE),
    "l-endless": Case(a.endless(), *TOO_LARGE),
    "l-chunked": Case(
        a.raw(a.head(headers=a.CHUNKED) + a.chunk(a.picture()[:-2]) + a.chunk(NOISE) * 40),
        *TOO_LARGE,
    ),
    "l-gzip-bomb": Case(a.gzip_bomb(5_000_000), *TOO_LARGE),
    "l-gzip-tail": Case(forever(gzipped(BODY), NOISE), *TOO_LARGE),
    "l-gzip-nothing": Case(
        forever(gzipped(BODY[:600], flush=False), b"\0\0\0\xff\xff" * 10_000), *TOO_LARGE
    ),
    "l-noise": Case(
        a.endless(b"junk"),
        "NOT_AN_IMAGE",
        "the server says image/jpeg, but no known picture begins with the bytes 6a 75 6e 6b",
    ),
    "l-many-headers": Case(
        a.many_headers(), "BAD_ANSWER", "not a usable answer (Too many headers received)", 0, ""
    ),
    "l-long-header": Case(a.long_header(), "BAD_ANSWER", "not a usable answer (Got more…", 0, ""),
    "e-gzip": Case(a.encoded(a.picture(51), "gzip"), OK),
    "e-deflate": Case(a.encoded(a.picture(52), "deflate"), OK),
    "e-identity": Case(a.photo(53, headers=[("Content-Encoding", " Identity ")]), OK),
    "e-ten": Case(
        a.encoded(BODY, *["gzip"] * 10),
        "BAD_ENCODING",
        PACKED.format(repr(", ".join(["gzip"] * 10))),
    ),
    "e-br": Case(a.encoded(BODY, "br"), "BAD_ENCODING", PACKED.format("'br'")),
    "e-odd": Case(
        a.photo(54, headers=[("Content-Encoding", "\xff\x1b")]),
        "BAD_ENCODING",
        PACKED.format(r"'\udcff\x1b'"),
    ),
    "e-broken": Case(
        a.answer(BODY, headers=[("Content-Encoding", "gzip")]),
        "BAD_ENCODING",
        "the compressed body is damaged: …",
    ),
    "e-cut": Case(
        a.answer(a.gzip.compress(BODY)[:-300], headers=[("Content-Encoding", "gzip")]),
        "TRUNCATED",
        "its end is missing, …",
    ),
}

# D6: 4 s without a byte, 6 s in all


TOTAL = ("TIMEOUT_TOTAL", "no complete answer in 6 s")
SLOW = {
    "t-silent": Case(a.silent(), "TIMEOUT_READ", "nothing came for 4 s", 0, ""),
    "t-stops": Case(a.cut(BODY, 0.5, then="silent"), "TIMEOUT_READ", "nothing came for 4 s"),
    "t-head": Case(a.drip_head(0.1), *TOTAL, 0, ""),
    "t-body": Case(a.drip_body(0.1), *TOTAL),
    "t-chunks": Case(a.chunked_forever(0.1), *TOTAL),
    "t-hints": Case(a.hints(0.1), *TOTAL, 0, ""),
    "t-late": Case(a.after(0.5, new()), OK),
}

# D7

BUT = "the server says image/jpeg, but the file is "
KINDS = {
    **{
        f"k-{name.lower()}": Case(
            a.photo(60 + n, name, "image/jpeg"), OK, url=f"http://k-{name.lower()}.example/x.php"
        )
        for n, name in enumerate(("JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF"))
    },
    "k-html": Case(a.foreign("html"), "NOT_AN_IMAGE", BUT + "a web page; save the photo itself"),
    "k-php": Case(a.foreign("php"), "NOT_AN_IMAGE", BUT + "text, not a picture"),
    "k-lfs": Case(a.foreign("lfs"), "NOT_AN_IMAGE", BUT + ADVICE),
    "k-lfs-honest": Case(
        a.foreign("lfs", honest=True),
        "NOT_AN_IMAGE",
        f"the server says text/plain, but the file is {ADVICE}",
        type="text/plain",
    ),
    "k-text": Case(a.foreign("text"), "NOT_AN_IMAGE", BUT + "text, not a picture"),
    "k-zip": Case(
        a.foreign("zip"), "NOT_AN_IMAGE", BUT + "an archive; take the photo out of it"
    ),
    "k-svg": Case(
        a.foreign("svg"), "UNSUPPORTED_FORMAT", "SVG drawings are not supported; export as PNG"
    ),
    "k-pdf": Case(
        a.foreign("pdf"),
        "UNSUPPORTED_FORMAT",
        "PDF files are not supported; export the page or the photo as JPEG",
    ),
    "k-mp4": Case(
        a.foreign("mp4"),
        "UNSUPPORTED_FORMAT",
        "Videos are not supported; save one frame as JPEG",
    ),
    "k-html-honest": Case(
        a.foreign("html", honest=True),
        "NOT_AN_IMAGE",
        "the server sent text/html",
        type="text/html",
    ),
    "k-html-silent": Case(
        a.answer(a.FOREIGN["html"][0], type=None),
        "NOT_AN_IMAGE",
        "the file is a web page; save the photo itself",
        type="",
    ),
    "k-odd-type": Case(a.photo(70, type="image/j\xffpeg\x1b[31m"), OK,
                       type=r"image/j\udcffpeg\x1b[31m"),
    "k-long-type": Case(a.photo(71, type="image/" + "a" * 500), OK,
                        type="image/" + "a" * 94 + "..."),
    "k-long-lie": Case(
        a.answer(a.FOREIGN["html"][0], type="text/" + "a" * 500),
        "NOT_AN_IMAGE",
        "the server sent text/" + "a" * 95 + "...",
        type="text/" + "a" * 95 + "...",
    ),
    "k-tiny": Case(
        a.answer(a.picture(72, "PNG", 8, 8)),
        "TOO_SMALL",
        "8 x 8; each side needs at least 16 pixels",
    ),
}  # fmt: skip

# D8

WHOLE = len(BODY)
MISSING_END = "its end is missing, {} bytes are there; download or copy it again"
EMPTY = ("EMPTY_FILE", "the file has 0 bytes; download or copy it again")
BROKE = "the connection broke (…"
CUT = {
    **{
        f"c-{share:.0%}".replace("%", ""): Case(
            a.cut(BODY, share), "TRUNCATED", f"{int(WHOLE * share)} of {WHOLE} bytes arrived"
        )
        for share in (0, 0.01, 0.5, 0.99)
    },
    **{
        f"c-{share:.0%}-unsaid".replace("%", ""): Case(
            a.cut(BODY, share, length=False),
            "TRUNCATED",
            MISSING_END.format(int(WHOLE * share)),
        )
        for share in (0.01, 0.5, 0.99)
    },
    "c-0-unsaid": Case(a.cut(BODY, 0, length=False), *EMPTY),
    "c-empty": Case(a.empty(), *EMPTY),
    "c-empty-unsaid": Case(a.empty(length=False), *EMPTY),
    "c-chunk-0": Case(
        a.cut_chunks(BODY, 0), "TRUNCATED", "0 of an unknown number of bytes arrived"
    ),
    "c-chunk-50": Case(
        a.cut_chunks(BODY, 0.5), "TRUNCATED", f"{HALF} of an unknown number of bytes arrived"
    ),
    "c-chunk-between": Case(
        a.cut_chunks(BODY, 0.5, inside=False),
        "TRUNCATED",
        f"{HALF} of an unknown number of bytes arrived",
    ),
    "c-last-chunk": Case(
        a.raw(a.head(headers=a.CHUNKED) + a.chunk(BODY)),
        "TRUNCATED",
        f"{WHOLE} of an unknown number of bytes arrived",
    ),
    "c-long": Case(
        a.lying(BODY, WHOLE + 500), "TRUNCATED", f"{WHOLE} of {WHOLE + 500} bytes arrived"
    ),
    "c-short": Case(a.lying(BODY, 500), "BAD_ANSWER", "not a usable answer (…", 0, ""),
    "c-reset": Case(a.reset(), "CONNECT_ERROR", BROKE, 0, ""),
    "c-reset-head": Case(a.reset(b"HTTP/1.1 200 OK\r\nX: "), "CONNECT_ERROR", BROKE, 0, ""),
    "c-drop": Case(a.raw(), "CONNECT_ERROR", "the connection broke (Server disconnected)", 0, ""),
    "c-chunked": Case(a.chunked(a.picture(73), 100), OK),
    "c-bad-chunks": Case(a.bad_chunks(), "BAD_ANSWER", "not a usable answer (…", 0, ""),
    "c-garbage": Case(a.garbage(), "BAD_ANSWER", "not a usable answer (…", 0, ""),
    "c-09": Case(a.raw(BODY), "BAD_ANSWER", "not a usable answer (…", 0, ""),
}
OTHER = {
    "o-good": Case(new(), OK),
    "o-query": Case(None, OK, url="http://o-query.example/x.jpg?a=b&c=%2F+d"),
    "o-https": Case(new(), OK, url="https://o-https.example/x.jpg"),
    "o-liar": Case(new(), "TLS_ERROR", "no safe connection to liar.example (…", 0, "",
                   "https://liar.example/x.jpg"),
    "o-nowhere": Case(None, "NAME_ERROR", "nowhere.example cannot be found ([Errno…", 0, "",
                      "http://nowhere.example/x.jpg"),
    "o-inside": Case(None, "BLOCKED_ADDRESS",
                     "inside.example leads to 10.0.0.5, which is not a public address", 0, "",
                     "http://inside.example/x.jpg"),
    "o-ftp": Case(None, "BLOCKED_SCHEME",
                  "only http and https addresses are downloaded (got ftp:)", 0, "",
                  "ftp://target.example/x.jpg"),
    "o-gone": Case(None, "TAKEN_DOWN", "since 2…", 0, "", "http://gone.example/x.jpg"),
}  # fmt: skip
HERE["o-query.example", "/x.jpg?a=b&c=%2F+d"] = new()
CASES = {**STATUSES, **REDIRECTS, **LARGE, **SLOW, **KINDS, **CUT, **OTHER}

# D11

TAGS: dict[str, list[str]] = {  # what may be taken all the same
    "none": [],
    "all": ["all"],
    "nofollow": ["nofollow, noarchive, nosnippet, notranslate"],
    "preview": ["max-image-preview:none, max-snippet: 0, max-video-preview:-1"],
    "date": ["unavailable_after: 25 Jun 2030 15:00:00 PST"],
    "date-comma": ["unavailable_after: Friday, 25-Jun-30 15:00:00 GMT, noarchive"],
    "other": ["googlebot: noindex, noai"],
    "others": ["otherbot: none", "gptbot: noai, noimageai"],
    "longer": ["bear-classifier-2: noindex"],
    "part": ["noindexing, indexnone, no-ai, noai-please"],
    "empty": ["", " , ,", ":"],
    "images": ["noimageindexing, indexifembedded"],
    "other-date": ["otherbot: unavailable_after: 25 Jun 2030 15:00:00 PST, noindex"],
    "text": ["n\xf6ai, \xff"],
}
OUT: dict[str, tuple[list[str], str]] = {  # what may not, and the word that says so
    "noai": (["noai"], "noai"),
    "noimageai": (["noimageai"], "noimageai"),
    "noindex": (["noindex"], "noindex"),
    "noimageindex": (["noimageindex"], "noimageindex"),
    "none": (["none"], "none"),
    "case": (["  NoAI  "], "noai"),
    "list": (["nofollow, noarchive,noimageai , noai"], "noimageai"),
    "second": (["all", "nosnippet", "noindex"], "noindex"),
    "ours": (["bear-classifier: noai"], "noai"),
    "ours-case": (["Bear-Classifier : NOINDEX, nofollow"], "noindex"),
    "star": (["*: noimageai"], "noimageai"),
    "ours-too": (["googlebot: nofollow, bear-classifier: noai"], "noai"),
    "theirs-then-all": (["googlebot: noindex", "noai"], "noai"),
    "date": (["unavailable_after: 25 Jun 2030 15:00:00 PST, noindex"], "noindex"),
    "date-comma": (["unavailable_after: Friday, 25-Jun-30 15:00:00 GMT, none"], "none"),
    "preview": (["max-image-preview:large, noai"], "noai"),
    "preview-none": (["max-image-preview: none, none"], "none"),
}


def rules(*lines: str, end: str = "\n") -> Behaviour:
    return a.answer(end.join(lines).encode("latin-1"), type="text/plain")


ALL = "User-agent: *"
NO = "Disallow: /"
HERE |= {
    ("rules.example", "/open.txt"): rules(ALL, "Disallow: /private"),
    ("rules.example", "/closed.txt"): rules(ALL, NO),
    ("rules.example", "/500"): a.status(500),
    ("silent.example", "*"): a.silent(),
}
OPEN: dict[str, tuple[Behaviour | None, str]] = {  # robots.txt, and a path that it leaves open
    "404": (None, "/x.jpg"),
    "401": (a.status(401), "/x.jpg"),
    "403": (a.status(403), "/x.jpg"),
    "410": (a.status(410), "/x.jpg"),
    "empty": (rules(), "/x.jpg"),
    "nothing": (rules(ALL, "Disallow:"), "/x.jpg"),
    "other-path": (rules(ALL, "Disallow: /private/", "Disallow: /x.jpg/"), "/x.jpg"),
    "path-case": (rules(ALL, "Disallow: /X.JPG"), "/x.jpg"),
    "other-agent": (rules("User-agent: otherbot", NO), "/x.jpg"),
    "longer-agent": (rules("User-agent: bear-classifier-two", NO), "/x.jpg"),
    "shorter-agent": (rules("User-agent: classifier", NO), "/x.jpg"),
    "ours": (rules(ALL, NO, "", "User-agent: bear-classifier", "Disallow: /private"), "/x.jpg"),
    "ours-first": (rules("User-agent: Bear-Classifier", "Allow: /", ALL, NO), "/x.jpg"),
    "ours-empty": (rules(ALL, NO, "User-agent: bear-classifier", "Disallow:"), "/x.jpg"),
    "longest": (rules(ALL, "Disallow: /img", "Allow: /img/free"), "/img/free/x.jpg"),
    "longest-last": (rules(ALL, "Allow: /img/free", "Disallow: /img"), "/img/free/x.jpg"),
    "equal": (rules(ALL, "Disallow: /img", "Allow: /img"), "/img/x.jpg"),
    "wildcard": (rules(ALL, "Disallow: /*.png", "Disallow: /*/private/*"), "/x.jpg"),
    "end": (rules(ALL, "Disallow: /x.jpg$"), "/x.jpg?size=9"),
    "comment": (rules("# " + ALL, "# " + NO, ALL, "Disallow: # /"), "/x.jpg"),
    "no-agent": (rules(NO), "/x.jpg"),
    "odd": (a.answer(NOISE, type="application/octet-stream"), "/x.jpg"),
    "page": (a.foreign("html", honest=True), "/x.jpg"),
    "302-open": (a.redirect("http://rules.example/open.txt"), "/x.jpg"),
    "302-nowhere": (a.redirect(None), "/x.jpg"),
    "304": (a.status(304), "/x.jpg"),
    "late-rule": (rules("#" * MOST_BYTES, ALL, NO), "/x.jpg"),
    "endless": (a.endless(b"User-agent: *\nDisallow: /private\n"), "/x.jpg"),
    "gzip": (a.encoded(b"User-agent: *\nDisallow: /private", "gzip"), "/x.jpg"),
    "6-hops": (a.redirect("http://rules.example/hop/5"), "/x.jpg"),
}
RULE = "does not allow it"
ASTRAY = "leads where we do not go: "
hops("rules.example", 5, rules(ALL, NO))
SHUT: dict[str, tuple[Behaviour, str, str]] = {  # robots.txt, path, and the end of the reason
    "all": (rules(ALL, NO), "/x.jpg", RULE),
    "case": (rules("user-AGENT:*", "DISALLOW:/"), "/x.jpg", RULE),
    "crlf": (rules(ALL, NO, end="\r\n"), "/x.jpg", RULE),
    "cr": (rules(ALL, NO, end="\r"), "/x.jpg", RULE),
    "mark": (rules("\xef\xbb\xbf" + ALL, NO), "/x.jpg", RULE),  # as some editors begin a file
    "spaces": (rules(" User-agent : * # all", "  Disallow : / # all"), "/x.jpg", RULE),
    "ours": (rules(ALL, "Allow: /", "User-agent: bear-classifier", NO), "/x.jpg", RULE),
    "ours-case": (rules("User-agent: Bear-Classifier", NO), "/x.jpg", RULE),
    "ours-version": (rules("User-agent: bear-classifier/9.1", NO), "/x.jpg", RULE),
    "ours-too": (rules("User-agent: a", "User-agent: bear-classifier", NO), "/x.jpg", RULE),
    "ours-and-all": (rules("User-agent: bear-classifier", ALL, NO), "/x.jpg", RULE),
    "after-others": (rules("User-agent: a", "Allow: /", "", ALL, NO), "/x.jpg", RULE),
    "two-groups": (rules(ALL, "Disallow: /a", "User-agent: b", NO, ALL, NO), "/x.jpg", RULE),
    "path": (rules(ALL, "Disallow: /img"), "/img/x.jpg", RULE),
    "prefix": (rules(ALL, "Disallow: /im"), "/img/x.jpg", RULE),
    "longest": (rules(ALL, "Allow: /img", "Disallow: /img/pri"), "/img/private.jpg", RULE),
    "wildcard": (rules(ALL, "Disallow: /*.jpg"), "/a/x.jpg?b", RULE),
    "end": (rules(ALL, "Disallow: /*.jpg$"), "/a/x.jpg", RULE),
    "query": (rules(ALL, "Disallow: /*?size="), "/x.jpg?size=9", RULE),
    "agent": (rules(ALL, "Disallow: /user-agent: a"), "/user-agent:%20a.jpg", RULE),
    "escapes": (rules(ALL, "Disallow: /a%2Db/"), "/a-b/x.jpg", RULE),
    "unknown": (rules("Sitemap: /s.xml", "Hello", ALL, "Crawl-delay: 1", NO), "/x.jpg", RULE),
    "early-rule": (rules("#" * (MOST_BYTES - 50), ALL, NO, "#" * 99), "/x.jpg", RULE),
    "endless": (a.endless(b"User-agent: *\nDisallow: /\n"), "/x.jpg", RULE),
    "gzip": (a.encoded(b"User-agent: *\nDisallow: /", "gzip"), "/x.jpg", RULE),
    "302": (a.redirect("http://rules.example/closed.txt"), "/x.jpg", RULE),
    "301-https": (a.redirect("https://rules.example/closed.txt", 301), "/x.jpg", RULE),
    "5-hops": (a.redirect("http://rules.example/hop/4"), "/x.jpg", RULE),
    "500": (a.status(500), "/x.jpg", "answers 500, so nothing of the site may be fetched"),
    "503": (a.later(503, 5), "/x.jpg", "answers 503, so nothing of the site may be fetched"),
    "429": (a.status(429), "/x.jpg", "answers 429, so nothing of the site may be fetched"),
    "302-500": (
        a.redirect("http://rules.example/500"),
        "/x.jpg",
        "answers 500, so nothing of the site may be fetched",
    ),
    "302-file": (
        a.redirect("file:///etc/passwd"),
        "/x.jpg",
        ASTRAY + "only http and https addresses are downloaded (got file:)",
    ),
    "302-port": (
        a.redirect("http://rules.example:22/"),
        "/x.jpg",
        ASTRAY + "only the ports 80, 443, 8080, 8443 are used (got 22)",
    ),
    "302-inside": (
        a.redirect("http://inside.example/"),
        "/x.jpg",
        ASTRAY + "inside.example leads to 10.0.0.5, which is not a public address",
    ),
    "302-silent": (
        a.redirect("http://silent.example/"),
        "/x.jpg",
        ASTRAY + "nothing came for 4 s",
    ),
}
LOST: dict[str, tuple[Behaviour, str, str]] = {  # robots.txt that cannot be had: code, sentence
    "silent": (a.silent(), "TIMEOUT_READ", "nothing came for 4 s"),
    "drip": (a.drip_body(0.1), *TOTAL),
    "reset": (a.reset(), "CONNECT_ERROR", BROKE),
    "garbage": (a.garbage(), "BAD_ANSWER", "not a usable answer (…"),
    "cut": (a.cut(BODY, 0.5), "TRUNCATED", f"{HALF} of {WHOLE} bytes arrived"),
    "br": (a.encoded(b"a", "br"), "BAD_ENCODING", PACKED.format("'br'")),
}

# Thumbnails, by the names of cases above.

GONE = (
    *("s403", "s404", "s410", "s429", "s503", "r-loop", "r-nowhere", "r-huge", "r-slow"),
    *("t-silent", "t-body", "c-reset", "c-50", "c-empty", "c-garbage", "e-br", "k-html", "k-svg"),
    *("l-announced", "l-gzip-bomb", "damaged"),
)
CASES["damaged"] = Case(
    a.answer(corpus.png(64, 64, pixels=b"no pixels"), type="image/png"),
    "DAMAGED",
    "png with an error in its content: …",
    type="image/png",
)
KEPT = ("r-closed", "r-metadata", "r-file", "r-port", "r-user", "r-gone", "k-tiny")
TOO: dict[str, tuple[Behaviour, str]] = {  # thumbnails that are no help, and their codes
    "gone": (a.status(410), "HTTP_410"),
    "page": (a.foreign("html"), "NOT_AN_IMAGE"),
    "noai": (a.photo(92, headers=[("X-Robots-Tag", "noai")]), "OPTED_OUT"),
    "inside": (a.redirect("http://inside.example/"), "BLOCKED_ADDRESS"),
}
for _name in GONE:
    HERE["thumbs.example", f"/{_name}.jpg"] = new()
for _name in KEPT:
    HERE["unasked.example", f"/{_name}.jpg"] = new()


def sources() -> Iterator[Source | str]:
    """Those that take long first."""
    for name in GONE:
        thumbnail = f"http://thumbs.example/{name}.jpg"
        yield Source(f"http://m-{name}.example/x.jpg", "teddy", "web", thumbnail=thumbnail)
    yield from (f"http://lost-{name}.example/x.jpg" for name in LOST)
    yield from (case.address(name) for name, case in CASES.items())
    yield from (f"http://tag-{name}.example/x.jpg" for name in TAGS)
    yield from (f"http://out-{name}.example/x.jpg" for name in OUT)
    yield from (f"http://open-{name}.example{path}" for name, (_, path) in OPEN.items())
    yield from (f"http://shut-{name}.example{path}" for name, (_, path, _) in SHUT.items())
    for name in KEPT:
        thumbnail = f"http://unasked.example/{name}.jpg"
        yield Source(f"http://n-{name}.example/x.jpg", "teddy", "web", thumbnail=thumbnail)
    for name in TOO:
        thumbnail = f"http://too-{name}.example/t.jpg"
        yield Source(f"http://too-{name}.example/x.jpg", "teddy", "web", thumbnail=thumbnail)
    yield Source(
        "http://n-noai.example/x.jpg", "teddy", "web", thumbnail="http://unasked.example/a"
    )
    yield Source(
        "http://n-shut.example/x.jpg", "teddy", "web", thumbnail="http://unasked.example/b"
    )


@pytest.fixture(scope="module")
def trip(hosts: Hosts, tmp_path_factory: pytest.TempPathFactory) -> Trip:
    for (host, path), behaviour in HERE.items():
        hosts.add(host, path, behaviour)
    for name, case in CASES.items():
        if case.answer:
            hosts.add(f"{name}.example", "*", case.answer)
    for name, tags in TAGS.items():
        headers = [("X-Robots-Tag", tag) for tag in tags]
        hosts.add(f"tag-{name}.example", "*", a.photo(next(_seeds), headers=headers))
    for name, (tags, _) in OUT.items():
        headers = [("x-robots-tag", tag) for tag in tags]
        hosts.add(f"out-{name}.example", "*", a.photo(next(_seeds), headers=headers))
    for kind, table in (("open", OPEN), ("shut", SHUT), ("lost", LOST)):
        for name, (robots, *_) in table.items():
            hosts.add(f"{kind}-{name}.example", "*", new())
            if robots:
                hosts.add(f"{kind}-{name}.example", "/robots.txt", robots)
    for start, names in (("m", GONE), ("n", KEPT)):
        for name in names:
            answer = CASES[name].answer
            assert answer
            hosts.add(f"{start}-{name}.example", "*", answer)
    for name, (answer, _) in TOO.items():
        hosts.add(f"too-{name}.example", "/t.jpg", answer)
    hosts.add("n-noai.example", "*", a.photo(93, headers=[("X-Robots-Tag", "noai")]))
    hosts.add("n-shut.example", "/robots.txt", rules(ALL, NO))
    hosts.names["inside.example"] = [["10.0.0.5"]]
    hosts.wrong_certificate.add("liar.example")
    hosts.add("liar.example", "*", a.photo())
    folder = tmp_path_factory.mktemp("trip")
    made = travel(hosts, sources(), folder, gone="gone.example", connections=16)
    hosts.quiet()
    return made


def begins(sentence: str, expected: str) -> bool:
    whole = expected.removesuffix("…")
    return sentence == whole or (whole != expected and sentence.startswith(whole))


@pytest.mark.parametrize("name", CASES)
def test_each_ends_as_one_row(trip: Trip, name: str) -> None:
    case = CASES[name]
    url = case.address(name)
    row = trip.rows[url]
    assert (row.code, row.http, row.type) == (case.code, case.http, case.type)
    assert begins(row.sentence, case.sentence), row.sentence
    assert row.sentence.isprintable()
    assert len(row.sentence) < 250
    assert "hunter2" not in row.sentence
    assert row.final_url == (case.final or (url if case.http else ""))
    assert row.address == (LOOPBACK if case.http else "")
    assert (len(row.at) > 18) == (case.http > 0)
    assert (row.opt_out, row.via) == (case.opted, "")
    assert (row.sha256 is not None) == (case.code == OK)


def test_nothing_but_whole_pictures_is_there(trip: Trip) -> None:
    """Files are named by their content and its format; every photo has one, and nothing else."""
    found = {row.sha256 for row in trip.rows.values() if row.code == OK}
    assert len(found) > 60
    assert found == set(trip.photos)
    assert set(trip.files) == {f"{p.sha256}.{p.format}" for p in trip.photos.values()}
    for name, data in trip.files.items():
        assert name == f"{hashlib.sha256(data).hexdigest()}.{decoder.format_of(data)}"
        decoder.decode(data)
    assert not any(row.code in (PENDING, DUPLICATE) for row in trip.rows.values())
    bytes_of = {row.sha256: row.bytes for row in trip.rows.values() if row.code == OK}
    assert bytes_of == {sha256: photo.bytes for sha256, photo in trip.photos.items()}


@pytest.mark.parametrize("suffix", ["jpeg", "png", "webp", "gif", "bmp", "avif"])
def test_the_suffix_is_that_of_the_content(trip: Trip, suffix: str) -> None:
    """Whatever the address ends with and the server says."""
    row = trip.rows[f"http://k-{suffix}.example/x.php"]
    assert row.sha256
    assert trip.photos[row.sha256].format == suffix
    assert trip.files[f"{row.sha256}.{suffix}"] == a.picture(
        60 + ("jpeg", "png", "webp", "gif", "bmp", "avif").index(suffix), suffix.upper()
    )


def pictures(hosts: Hosts, host: str) -> list[Visit]:
    return [visit for visit in hosts.visits(host) if visit.request.path != "/robots.txt"]


LIMIT = LIMITS.bytes
SENT = {  # bytes that were sent before we hung up: what the network holds comes on top
    **dict.fromkeys(("l-404", "l-404-endless", "l-announced", "l-noise", "r-body"), 0),
    **dict.fromkeys(("l-endless", "l-chunked", "l-gzip-tail", "l-gzip-nothing"), LIMIT),
}


@pytest.mark.parametrize("name", SENT)
def test_hangs_up_in_time(hosts: Hosts, trip: Trip, name: str) -> None:
    (visit,) = pictures(hosts, f"{name}.example")
    assert visit.sent <= SENT[name] + 6_000_000
    assert visit.end - visit.start < LIMITS.total + 1
    assert trip.rows[f"http://{name}.example/x.jpg"].bytes <= LIMIT + (1 << 16)


@pytest.mark.parametrize("name", SLOW)
def test_total_time_is_kept(hosts: Hosts, trip: Trip, name: str) -> None:
    """D6: within two seconds of the limit, however often a byte comes."""
    limit = {"t-silent": LIMITS.read, "t-stops": LIMITS.read, "t-late": 0.5}
    (visit,) = pictures(hosts, f"{name}.example")
    assert limit.get(name, LIMITS.total) - 0.1 < visit.end - visit.start
    assert visit.end - visit.start < limit.get(name, LIMITS.total) + 2


def test_the_time_of_redirects_counts(hosts: Hosts, trip: Trip) -> None:
    """2.4 s for the redirect leave 3.6 s for the rest."""
    second = hosts.visits("slow.example")[1:]
    assert [visit.request.path for visit in second] == ["/x.jpg", "/x.jpg"]  # one for a thumbnail
    assert max(visit.end - visit.start for visit in second) < 5


def test_hosts_that_may_not_be_asked_were_not(hosts: Hosts, trip: Trip) -> None:
    asked = Counter(visit.request.host for visit in hosts.log)
    for name in ("gone", "www.gone", "inside", "unasked", "liar"):
        assert asked[f"{name}.example"] == 0
    assert {visit.request.path for visit in hosts.visits("closed.example")} == {"/robots.txt"}
    assert asked["closed.example"] == 1
    assert pictures(hosts, "r-6.example")[-1].request.path == "/hop/1"
    assert len(pictures(hosts, "r-6.example")) == 6
    assert len(pictures(hosts, "r-loop.example")) == 6
    assert {visit.request.method for visit in hosts.log} == {"GET"}


# D11


@pytest.mark.parametrize("name", TAGS)
def test_tags_that_leave_us_free(trip: Trip, name: str) -> None:
    row = trip.rows[f"http://tag-{name}.example/x.jpg"]
    assert (row.code, row.sentence, row.opt_out) == (OK, "", "")


@pytest.mark.parametrize("name", OUT)
def test_tags_that_refuse(hosts: Hosts, trip: Trip, name: str) -> None:
    tags, word = OUT[name]
    row = trip.rows[f"http://out-{name}.example/x.jpg"]
    sentence = f"the site asks not to be used for AI (X-Robots-Tag: {word})"
    assert (row.code, row.sentence, row.opt_out) == ("OPTED_OUT", sentence, word)
    assert (row.http, row.bytes, row.sha256) == (200, 0, None)
    assert len(pictures(hosts, f"out-{name}.example")) == 1
    assert opt_out(tags) == word


@pytest.mark.parametrize("name", OPEN)
def test_robots_txt_that_leaves_us_free(hosts: Hosts, trip: Trip, name: str) -> None:
    host = f"open-{name}.example"
    row = trip.rows[f"http://{host}{OPEN[name][1]}"]
    assert (row.code, row.sentence, row.opt_out) == (OK, "", "")
    first, second = hosts.visits(host)
    assert (first.request.path, second.request.path) == ("/robots.txt", OPEN[name][1])


@pytest.mark.parametrize("name", SHUT)
def test_robots_txt_that_refuses(hosts: Hosts, trip: Trip, name: str) -> None:
    _, path, reason = SHUT[name]
    host = f"shut-{name}.example"
    row = trip.rows[f"http://{host}{path}"]
    sentence = f"the site asks not to be fetched (http://{host}/robots.txt {reason})"
    assert (row.code, row.sentence, row.opt_out) == ("OPTED_OUT", sentence, "robots.txt")
    assert (row.http, row.type, row.sha256) == (0, "", None)
    assert [visit.request.path for visit in hosts.visits(host)] == ["/robots.txt"]


@pytest.mark.parametrize("name", LOST)
def test_robots_txt_that_cannot_be_had(hosts: Hosts, trip: Trip, name: str) -> None:
    """Who cannot be asked for rules is asked for nothing else, and that is no opt-out."""
    _, code, sentence = LOST[name]
    row = trip.rows[f"http://lost-{name}.example/x.jpg"]
    assert (row.code, row.opt_out, row.http) == (code, "", 0)
    assert begins(row.sentence, sentence)
    asked = [visit.request.path for visit in hosts.visits(f"lost-{name}.example")]
    assert asked == ["/robots.txt"] * (3 if code == "CONNECT_ERROR" else 1)


def test_only_the_beginning_of_a_long_robots_txt_is_read(hosts: Hosts, trip: Trip) -> None:
    for host in ("open-endless.example", "shut-endless.example"):
        assert hosts.visits(host)[0].sent < MOST_BYTES + 6_000_000


@pytest.mark.parametrize("name", GONE)
def test_the_thumbnail_of_a_picture_that_is_gone(trip: Trip, name: str) -> None:
    case = CASES[name]
    assert MISSING.fullmatch(case.code)
    row = trip.rows[f"http://m-{name}.example/x.jpg"]
    why = case.sentence.replace(f"{name}.example", f"m-{name}.example")
    end = "" if why.endswith("…") else ")"
    assert begins(row.sentence, f"the picture itself is gone ({case.code}: {why}{end}")
    assert (row.code, row.via, row.http, row.opt_out) == (OK, "thumbnail", 200, "")
    assert (row.final_url, row.type) == (f"http://thumbs.example/{name}.jpg", "image/jpeg")
    assert (row.label, row.kind) == ("teddy", "web")
    assert row.sha256 in trip.photos


@pytest.mark.parametrize("name", KEPT)
def test_no_thumbnail_of_what_is_refused(trip: Trip, name: str) -> None:
    """The host of their thumbnails was never asked: see above."""
    row = trip.rows[f"http://n-{name}.example/x.jpg"]
    assert (row.code, row.via, row.sha256) == (CASES[name].code, "", None)
    assert begins(row.sentence, CASES[name].sentence)
    assert not MISSING.fullmatch(row.code)


def test_no_thumbnail_of_who_opted_out(trip: Trip) -> None:
    rows = [trip.rows[f"http://n-{name}.example/x.jpg"] for name in ("noai", "shut")]
    assert [(row.code, row.opt_out, row.via) for row in rows] == [
        ("OPTED_OUT", "noai", ""),
        ("OPTED_OUT", "robots.txt", ""),
    ]


@pytest.mark.parametrize("name", TOO)
def test_picture_and_thumbnail_are_gone(trip: Trip, name: str) -> None:
    row = trip.rows[f"http://too-{name}.example/x.jpg"]
    assert (row.code, row.via, row.sha256, row.http) == ("HTTP_404", "", None, 404)
    words = f"the server answers 404 Not Found; its thumbnail: {TOO[name][1]}"
    assert (row.sentence, row.final_url) == (words, row.origin)


@pytest.mark.parametrize(
    "code",
    [
        *("HTTP_404", "HTTP_500", "NAME_ERROR", "CONNECT_ERROR", "TLS_ERROR", "TIMEOUT_CONNECT"),
        *("TIMEOUT_READ", "TIMEOUT_TOTAL", "TOO_MANY_REDIRECTS", "BAD_ANSWER", "BAD_ENCODING"),
        *("TRUNCATED", "EMPTY_FILE", "NOT_AN_IMAGE", "UNSUPPORTED_FORMAT", "TOO_LARGE", "DAMAGED"),
    ],
)
def test_codes_of_pictures_that_are_gone(code: str) -> None:
    assert MISSING.fullmatch(code)


@pytest.mark.parametrize(
    "code",
    [
        *("OPTED_OUT", "TAKEN_DOWN", "BLOCKED_SCHEME", "BLOCKED_PORT", "BLOCKED_ADDRESS"),
        *("BAD_ADDRESS", "TOO_SMALL", "TOO_MANY_PIXELS", "ODD_SHAPE", "TOO_COMPLEX", "HTTP_302"),
    ],
)
def test_codes_of_pictures_that_are_there_or_refused(code: str) -> None:
    assert not MISSING.fullmatch(code)


def test_opt_outs_are_ignored_on_sites_of_ones_own(hosts: Hosts, tmp_path: Path) -> None:
    hosts.add("own.example", "/robots.txt", rules(ALL, NO))
    url = hosts.add("own.example", "/x.jpg", a.photo(94, headers=[("X-Robots-Tag", "noai, none")]))
    assert travel(hosts, [url], tmp_path / "a").rows[url].code == "OPTED_OUT"
    row = travel(hosts, [url], tmp_path / "b", ignore_opt_outs=True).rows[url]
    assert (row.code, row.opt_out) == (OK, "")
    assert [visit.request.path for visit in hosts.visits("own.example")] == [
        "/robots.txt",
        "/x.jpg",
    ]


class Time:
    """A clock that only sleeping moves; chance: what it throws, each time."""

    def __init__(self, chance: float = 0.0) -> None:
        self.now, self.asked = 0.0, list[tuple[float, str]]()
        self.clock = Clock(lambda: self.now, self.sleep, lambda: chance)

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)

    def note(self, request: Request) -> float:
        """For the hosts, as their latency: none."""
        self.asked.append((self.now, request.path))
        return 0.0


def test_robots_txt_is_asked_once_a_day(hosts: Hosts) -> None:
    """For each scheme, host and port, however many want to know at once."""
    hosts.add("rules.example", "/robots.txt", rules(ALL, "Disallow: /no"))
    clock = Time()

    def asked() -> int:
        return sum(v.request.path == "/robots.txt" for v in hosts.visits("rules.example"))

    async def work() -> None:
        world = World(hosts.resolve, hosts.allowed, hosts.tls)
        turns = RateLimit(4, QUICK, clock.clock)
        async with Client(world, LIMITS) as client:
            robots = Robots(client, turns)

            async def answers(*urls: str) -> list[str]:
                found = await asyncio.gather(*(robots.refusal(parse_url(url)) for url in urls))
                return [answer.rpartition("/")[2] for answer in found]

            home = "http://rules.example"
            seen = await answers(*[f"{home}/yes", f"{home}/no"] * 10)
            assert seen == ["", "robots.txt does not allow it"] * 10
            assert asked() == 1
            clock.now = KEEP - 1
            assert await answers(f"{home}/yes") == [""]
            assert asked() == 1
            hosts.add("rules.example", "/robots.txt", rules(ALL, NO))
            clock.now = KEEP + 1
            seen = await answers(*[f"{home}/yes"] * 5)
            assert seen == ["robots.txt does not allow it"] * 5
            assert asked() == 2
            await answers("https://rules.example/", "http://rules.example:8080/", f"{home}/")
            assert asked() == 4

    asyncio.run(work())
    assert KEEP == 24 * 3600


def test_one_failure_of_robots_txt_is_one_however_many_waited(hosts: Hosts, tmp_path: Path) -> None:
    """Six addresses wait for it; the second try succeeds, and all six are fetched."""
    hosts.add("wobbly.example", "/robots.txt", a.in_turn(a.reset(), a.status(404)))
    urls = [hosts.add("wobbly.example", f"/{n}.jpg", new()) for n in range(6)]
    trip = travel(hosts, urls, tmp_path)
    assert [trip.rows[url].code for url in urls] == [OK] * 6
    asked = Counter(visit.request.path for visit in hosts.visits("wobbly.example"))
    assert asked == {"/robots.txt": 2, **{f"/{n}.jpg": 1 for n in range(6)}}


@pytest.mark.parametrize(
    "lines",
    [
        # 13 s of the core and 300 MB, if each name got its own copy of the rules
        [f"User-agent: bot{n}" for n in range(2_000)] + [f"Disallow: /{n}" for n in range(2_000)],
        [" " * 500_000],
        ["user" + "-" * 500_000],
        ["User-agent: *"] + [f"Disallow: /{'*a' * 30}{n}$" for n in range(1_000)],
    ],
    ids=["agents", "blanks", "dashes", "wildcards"],
)
def test_a_hostile_robots_txt_holds_nobody_up(
    hosts: Hosts, tmp_path: Path, lines: list[str]
) -> None:
    host = f"many-{next(_seeds)}.example"
    hosts.add(host, "/robots.txt", rules(ALL, "Disallow: /no", *lines))
    urls = [hosts.add(host, path, new()) for path in ("/yes.jpg", "/no.jpg")]
    before = time.process_time()
    rows = travel(hosts, urls, tmp_path).rows
    assert [rows[url].code for url in urls] == [OK, "OPTED_OUT"]
    assert time.process_time() - before < 3


# D9: seconds at which each request came, by a clock that only sleeping moves


def paced(hosts: Hosts, behaviour: Behaviour, folder: Path, chance: float = 0.5,
          ignore_opt_outs: bool = True) -> tuple[Source, list[tuple[float, str]]]:  # fmt: skip
    clock = Time(chance)
    url = hosts.add(f"d9-{next(_seeds)}.example", "/x", behaviour)
    hosts.latency = clock.note
    try:
        trip = travel(hosts, [url], folder, clock.clock, manners=PolitenessLimits(apart=0.5),
                      ignore_opt_outs=ignore_opt_outs)  # fmt: skip
    finally:
        hosts.latency = None
    return trip.rows[url], clock.asked


def asks(text: str, code: int = 503) -> Behaviour:
    return a.status(code, headers=[("Retry-After", text)])


UNAVAILABLE = ("HTTP_503", "the server answers 503 Service Unavailable")
AGAIN = [  # answers, what chance throws, times, code and sentence
    ([a.status(503)], 0.5, [0, 1, 3], *UNAVAILABLE),
    ([a.status(503)], 0.0, [0, 0.5, 1], *UNAVAILABLE),  # never sooner than any other request
    ([a.status(503)], 1.0, [0, 2, 6], *UNAVAILABLE),
    ([a.status(503)], 0.125, [0, 0.5, 1], *UNAVAILABLE),
    ([a.status(503), new()], 0.5, [0, 1], OK, ""),
    ([a.status(500), a.status(502), new()], 0.5, [0, 1, 3], OK, ""),
    ([a.status(408), a.status(429), new()], 0.5, [0, 1, 3], OK, ""),
    ([a.status(504), a.status(404)], 0.5, [0, 1], "HTTP_404", "the server answers 404 Not Found"),
    ([a.status(599)], 0.5, [0, 1, 3], "HTTP_599", "the server answers 599"),
    ([asks("7"), new()], 0.5, [0, 7], OK, ""),
    ([asks(" 60 "), new()], 0.5, [0, 60], OK, ""),
    ([asks("60", 429), asks("60", 408), new()], 0.5, [0, 60, 120], OK, ""),
    ([asks("0"), new()], 1.0, [0, 0.5], OK, ""),
    ([asks("61")], 0.5, [0], "HTTP_503", "asked to wait 61 s, skipped"),
    ([asks("3600", 429)], 0.5, [0], "HTTP_429", "asked to wait 3600 s, skipped"),
    ([asks("99999999999")], 0.5, [0], "HTTP_503", "asked to wait 99999999999 s, skipped"),
    ([a.status(503), asks("61", 429)], 0.5, [0, 1], "HTTP_429", "asked to wait 61 s, skipped"),
    ([asks("Mon, 01 Jan 2001 00:00:00 GMT"), new()], 1.0, [0, 0.5], OK, ""),
    ([asks("soon")], 0.5, [0, 1, 3], *UNAVAILABLE),
    ([asks("-5")], 0.5, [0, 1, 3], *UNAVAILABLE),
    ([asks("99 Nov 12:30 99999999999")], 0.5, [0, 1, 3], *UNAVAILABLE),
    ([a.status(503, headers=[("Retry-After", "9"), ("Retry-After", "9")]), new()], 0.5, [0, 9],
     OK, ""),
    ([a.reset()], 0.5, [0, 1, 3], "CONNECT_ERROR", BROKE),
    ([a.raw(), new()], 0.5, [0, 1], OK, ""),
]  # fmt: skip


@pytest.mark.series
@pytest.mark.parametrize(("answers", "chance", "times", "code", "sentence"), AGAIN)
def test_asked_again_at_these_times(
    hosts: Hosts, tmp_path: Path, answers: list[Behaviour], chance: float, times: list[float],
    code: str, sentence: str,
) -> None:  # fmt: skip
    row, asked = paced(hosts, a.in_turn(*answers), tmp_path, chance)
    assert [moment for moment, _ in asked] == times
    assert row.code == code
    assert begins(row.sentence, sentence)


ASKED = {  # pictures that were asked for more than once, or never
    **dict.fromkeys(("s408", "s429", "s500", "s503", "s599"), 3),
    **dict.fromkeys(("c-reset", "c-reset-head", "c-drop"), 3),
    **dict.fromkeys(("o-liar", "o-nowhere", "o-inside", "o-ftp", "o-gone"), 0),
    "r-loop": 6,
    "r-empty": 6,
    "r-6": 6,
    "r-5": 6,
    "r-relative": 2,
    "r-dots": 2,
    "r-query": 2,
    "r-cookie": 2,
}


@pytest.mark.parametrize("name", CASES)
def test_how_often_each_was_asked(hosts: Hosts, trip: Trip, name: str) -> None:
    """Once, unless what went wrong may pass."""
    assert len(pictures(hosts, f"{name}.example")) == ASKED.get(name, 1)


def test_the_rules_are_asked_first_and_count_as_a_request(hosts: Hosts, tmp_path: Path) -> None:
    _, asked = paced(hosts, a.status(503), tmp_path, ignore_opt_outs=False)
    assert asked == [(0, "/robots.txt"), (0.5, "/x"), (1.5, "/x"), (3.5, "/x")]


def test_a_date_is_kept_up_to_a_minute(hosts: Hosts, tmp_path: Path) -> None:
    def dated(seconds: float) -> Behaviour:
        return asks(formatdate(time.time() + seconds, usegmt=True))

    row, asked = paced(hosts, a.in_turn(dated(30), new()), tmp_path / "a")
    assert row.code == OK
    assert [path for _, path in asked] == ["/x", "/x"]
    assert 27 < asked[1][0] <= 30
    row, asked = paced(hosts, dated(90), tmp_path / "b")
    assert (row.code, asked) == ("HTTP_503", [(0, "/x")])
    assert 87 < float(row.sentence.removeprefix("asked to wait ").removesuffix(" s, skipped")) <= 90


def test_redirects_are_gone_through_again(hosts: Hosts, tmp_path: Path) -> None:
    name = f"again-{next(_seeds)}.example"
    hosts.add(name, "/y", a.in_turn(a.status(503), new()))
    row, asked = paced(hosts, a.redirect(f"http://{name}/y"), tmp_path)
    assert row.code == OK
    assert asked == [(0, "/x"), (0, "/y"), (0.5, "/x"), (1, "/y")]


@pytest.mark.parametrize("ignored", [True, False])
def test_connections_that_are_refused(hosts: Hosts, tmp_path: Path, ignored: bool) -> None:
    """Three tries, however they end; a host without rules is not asked for pictures."""
    clock, tries = Time(0.5), []
    with closing(socket.create_server((LOOPBACK, 0))) as server:
        closed = server.getsockname()[1]

    async def resolve(host: str, port: int) -> list[tuple[str, int]]:
        tries.append(clock.now)
        return [(LOOPBACK, closed)]

    trip = travel(hosts, ["http://a.example/x.jpg"], tmp_path, clock.clock,
                  manners=PolitenessLimits(apart=0.5), world=World(resolve, hosts.allowed),
                  ignore_opt_outs=ignored)  # fmt: skip
    row = trip.rows["http://a.example/x.jpg"]
    assert row.code == "CONNECT_ERROR"
    assert row.sentence.startswith("no connection to a.example (")
    assert tries == ([0, 1, 3] if ignored else [0, 1, 2])


def test_connections_that_take_too_long(hosts: Hosts, tmp_path: Path) -> None:
    """Three tries here too, and then the thumbnail, with all that it may say of itself."""
    clock, tries = Time(0.5), []
    small = hosts.add("small.example", "/t.jpg", new())
    url = "https://a.example/x.jpg"
    with closing(socket.create_server((LOOPBACK, 0))) as server:  # no handshake, ever
        deaf = server.getsockname()[1]

        async def resolve(host: str, port: int) -> list[tuple[str, int]]:
            if host != "a.example":
                return await hosts.resolve(host, port)
            tries.append(clock.now)
            return [(LOOPBACK, deaf)]

        row = travel(hosts, [Source(url, "teddy", "web", thumbnail=small)], tmp_path, clock.clock,
                     Limits(connect=0.2), PolitenessLimits(apart=0.5), World(resolve,
                     hosts.allowed),
                     ignore_opt_outs=True).rows[url]  # fmt: skip
    assert tries == [0, 1, 3]
    words = "the picture itself is gone (TIMEOUT_CONNECT: no connection in 0.2 s)"
    assert (row.code, row.via, row.sentence) == (OK, "thumbnail", words)


def test_names_are_looked_up_once(hosts: Hosts, tmp_path: Path) -> None:
    tries: list[str] = []

    async def resolve(host: str, port: int) -> list[tuple[str, int]]:
        tries.append(host)
        return await hosts.resolve(host, port)

    world = World(resolve, hosts.allowed, hosts.tls)
    urls = ["http://nowhere.example/x.jpg", "https://liar.example/x.jpg"]
    hosts.add("liar.example", "*", a.photo())
    hosts.wrong_certificate.add("liar.example")
    rows = travel(hosts, urls, tmp_path, world=world, ignore_opt_outs=True).rows
    assert [rows[url].code for url in urls] == ["NAME_ERROR", "TLS_ERROR"]
    assert sorted(tries) == ["liar.example", "nowhere.example"]


ALONE = PolitenessLimits(together=1, apart=0.01)


def eight(hosts: Hosts, host: str, behaviour: Behaviour) -> list[str]:
    hosts.add(host, "*", behaviour)
    return [f"http://{host}/{n}.jpg" for n in range(8)]


def paths(hosts: Hosts, host: str) -> list[str]:
    return [visit.request.path for visit in hosts.visits(host)]


def test_a_host_that_asks_for_more_patience_is_left_alone(hosts: Hosts, tmp_path: Path) -> None:
    """Its other addresses wait in line when it says so; none of them is requested."""
    urls = eight(hosts, "later.example", a.later(429, 61))
    rows = travel(hosts, urls, tmp_path, manners=ALONE).rows
    words = ("HTTP_429", "asked to wait 61 s, skipped")
    assert {(row.code, row.sentence) for row in rows.values()} == {words}
    assert [rows[url].http for url in urls] == [429] + [0] * 7
    assert paths(hosts, "later.example") == ["/robots.txt", "/0.jpg"]


@pytest.mark.series
@pytest.mark.parametrize(
    ("name", "behaviour", "code"),
    [
        ("silent", a.silent(), "TIMEOUT_READ"),
        ("drip", a.drip_body(0.05), "TIMEOUT_TOTAL"),
    ],
)
def test_a_host_that_never_answers_is_left_alone(
    hosts: Hosts, tmp_path: Path, name: str, behaviour: Behaviour, code: str
) -> None:
    host = f"never-{name}.example"
    urls = eight(hosts, host, behaviour)
    limits = Limits(read=1, total=1.5)
    rows = travel(hosts, urls, tmp_path, limits=limits, manners=ALONE).rows
    assert {row.code for row in rows.values()} == {code}
    words = f"{host} did not answer 3 times in a row and is left alone"
    assert [rows[url].sentence == words for url in urls] == [False] * 3 + [True] * 5
    assert paths(hosts, host) == ["/robots.txt", "/0.jpg", "/1.jpg", "/2.jpg"]


def test_a_host_that_cannot_be_reached_is_left_alone(hosts: Hosts, tmp_path: Path) -> None:
    """Three connections for eight addresses, each of which would have had three."""
    urls = eight(hosts, "broken.example", a.reset())
    rows = travel(hosts, urls, tmp_path, manners=ALONE).rows
    assert {row.code for row in rows.values()} == {"CONNECT_ERROR"}
    assert len(pictures(hosts, "broken.example")) == 3


@pytest.mark.long
def test_a_host_that_answers_now_and_then_is_not(hosts: Hosts, tmp_path: Path) -> None:
    """An error page is an answer too."""
    turns = (a.silent(), a.silent(), new(), a.silent(), a.silent(), a.status(404), a.status(410))
    urls = eight(hosts, "moody.example", a.in_turn(*turns))
    rows = travel(hosts, urls, tmp_path, limits=Limits(read=1), manners=ALONE).rows
    silent = "TIMEOUT_READ"
    assert [rows[url].code for url in urls] == [
        *(silent, silent, OK, silent, silent, "HTTP_404", "HTTP_410", "HTTP_410"),
    ]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *(
            ("0", 0.0),
            ("60", 60.0),
            (" 7 ", 7.0),
            ("007", 7.0),
            ("999999999999999", 999999999999999),
        ),
        *(("", None), ("soon", None), ("-1", None), ("1.5", None), ("0x10", None), ("1e3", None)),
        *(("Mon, 01 Jan 2001 00:00:00 GMT", 0.0), ("Mon, 01 Jan 0001 00:00:00 +2300", 0.0)),
        *(("Mon, 01 Jan", None), ("99 Nov 12:30 99999999999", None), ("31 Feb 2030 0:0 GMT", None)),
    ],
)
def test_retry_after(text: str, seconds: float | None) -> None:
    assert retry_after(text) == seconds


def test_retry_after_without_a_zone_is_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in Tokyo."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        words = time.strftime("%a, %d %b %Y %H:%M:%S", time.gmtime(time.time() + 500))
        found = retry_after(f"{words} -0000")
    finally:
        monkeypatch.undo()
        time.tzset()
    assert found is not None
    assert 490 < found <= 500


# D10


def test_who_we_say_we_are(hosts: Hosts, tmp_path: Path) -> None:
    """Every header, so that there is no cookie, no referer and nothing borrowed."""
    cookie = [("Set-Cookie", "a=b; Path=/; Domain=polite.example")]
    first = a.status(302, headers=[("Location", "http://polite.example:8080/y.jpg"), *cookie])
    hosts.add("polite.example", "/robots.txt", a.status(404, headers=cookie))
    url = hosts.add("polite.example", "/x.jpg", first)
    hosts.add("polite.example", "/y.jpg", a.photo(95, headers=cookie))
    rows = travel(hosts, [url], tmp_path, contact="https://bears.example/about").rows
    assert rows[url].code == OK
    visits = [visit.request for visit in hosts.visits("polite.example")]
    assert [request.path for request in visits] == ["/robots.txt", "/x.jpg"] + [
        "/robots.txt", "/y.jpg"
    ]  # fmt: skip
    for request in visits:
        headers = dict(request.headers)
        assert headers.pop("host").partition(":")[0] == "polite.example"
        assert headers.pop("connection", "close") == "close"
        assert headers == {
            "user-agent": f"bear-classifier/{__version__} (collects pictures for an image"
            " classifier; https://bears.example/about)",
            "accept": "image/jpeg,image/png,image/webp,image/*;q=0.8,*/*;q=0.5",
            "accept-encoding": "identity",
        }
    assert agent() == (
        f"bear-classifier/{__version__} (collects pictures for an image classifier;"
        " no contact given)"
    )


def test_two_at_once_and_apart_at_each_site(tmp_path: Path) -> None:
    """200 addresses on three sites with nine hosts, by the log of the servers."""
    apart, lasts = 0.016, 0.04  # seconds: two visitors at once cannot keep up with the spacing
    with Hosts(latency=lambda request: lasts) as hosts:
        urls = [
            hosts.add(f"{n // 3 % 3}.site{n % 3}.example", f"/{n}.jpg", new()) for n in range(200)
        ]
        trip = travel(hosts, urls, tmp_path, Clock(), manners=PolitenessLimits(apart=apart))
        hosts.quiet()
        assert {row.code for row in trip.rows.values()} == {OK}
        for site in range(3):
            names = [f"{n}.site{site}.example" for n in range(3)]
            assert hosts.most_busy(*names) == 2
            starts = sorted(visit.start for name in names for visit in hosts.visits(name))
            assert len(starts) == 3 + len(range(site, 200, 3))
            check_spacing(starts, apart)
        assert hosts.most_busy() == 6
        assert hosts.most_open() <= 3 * 3 * 2


def check_spacing(starts: list[float], apart: float) -> None:
    """No window holds more than it may; a start that was late itself makes the next seem early."""
    late = 0.15
    for count in (20, len(starts) - 1):
        spans = [b - a for a, b in zip(starts, starts[count:], strict=False)]
        assert min(spans) >= count * apart - late
    close = sum(b - a < apart * 0.7 for a, b in itertools.pairwise(starts))
    assert close <= len(starts) / 4


def test_spacing_without_company(tmp_path: Path) -> None:
    """What is quick itself still comes one by one."""
    with Hosts() as hosts:
        urls = [hosts.add(f"{n % 2}.site.example", f"/{n}.jpg", new()) for n in range(24)]
        travel(hosts, urls, tmp_path, Clock(), manners=PolitenessLimits(apart=0.03))
        starts = sorted(visit.start for visit in hosts.log)
        assert len(starts) == 26
        check_spacing(starts, 0.03)


@pytest.mark.parametrize("connections", [1, 4])
def test_connections_are_bounded(tmp_path: Path, connections: int) -> None:
    """16 hosts with an address each: so many connections as lines, and all of them used."""
    with Hosts(latency=lambda request: 0.02) as hosts:
        urls = [hosts.add(f"{n}.example", "/x.jpg", new()) for n in range(16)]
        travel(hosts, urls, tmp_path, connections=connections, ignore_opt_outs=True)
        assert len(hosts.log) == 16
        assert hosts.most_busy() == connections
        assert hosts.most_open() <= connections


def test_one_connection_serves_a_site_that_is_asked_often(tmp_path: Path) -> None:
    with Hosts() as hosts:
        urls = [hosts.add("a.example", f"/{n}.jpg", new()) for n in range(12)]
        trip = travel(hosts, urls, tmp_path, manners=ALONE)
        assert {row.code for row in trip.rows.values()} == {OK}
        assert (len(hosts.log), len(hosts.connections)) == (13, 1)


# D6 and D5 for many at once


@pytest.mark.long
def test_slow_hosts_delay_nobody(tmp_path: Path) -> None:
    """50 hosts that drip until they are cut, asked first, and 100 good ones."""
    limits = Limits(total=6)

    def last(slow: int) -> float:
        """Seconds until the last good one is done."""
        with Hosts() as hosts:
            urls = [hosts.add(f"slow{n}.example", "/x.jpg", a.drip_body(0.1)) for n in range(slow)]
            good = [hosts.add(f"good{n}.example", "/x.jpg", new()) for n in range(100)]
            trip = travel(hosts, urls + good, tmp_path / str(slow), limits=limits)
            assert [trip.rows[url].code for url in good] == [OK] * 100
            assert [trip.rows[url].code for url in urls] == ["TIMEOUT_TOTAL"] * slow
            ends = [visit.end for visit in hosts.log if visit.request.host.startswith("good")]
            assert trip.seconds < 3 * limits.total
            return max(ends) - min(visit.start for visit in hosts.log)

    assert last(slow=50) - last(slow=0) < limits.total


MEASURED = """
import asyncio, json, os, sys
os.environ["TQDM_DISABLE"] = "1"
sys.path.insert(0, "tests")
from pathlib import Path
from corpus import peak
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.collect.http.fetch_many import Net
from bear_classifier.collect.download import download
from bear_classifier.collect.http.ssrf_guard import Limits, World
from bear_classifier.collect.http.rate_limit import Clock, PolitenessLimits
from bear_classifier.config.project_file import build
from bear_classifier.dataset.schema import Source

port, folder = int(sys.argv[1]), Path(sys.argv[2])

async def resolve(host, asked):
    return [("127.0.0.1", port)]

net = Net(World(resolve, lambda address: True), Limits(), PolitenessLimits(apart=0.01),
          Clock(chance=lambda: 0.0))
config = build({"classes": {"grizzly": ["x"], "teddy": ["y"]}}, where="child")
codes, peaks = [], []
for name in ("warm", "bad"):
    with Catalog(folder / name) as catalog:
        with catalog.transaction():
            catalog.put_sources(
                Source(f"http://{name}{n}.example/x.jpg", "grizzly", "urls") for n in range(32)
            )
        download(catalog, config, net=net)
        codes.append(sorted(row.code for row in catalog.sources()))
    peaks.append(peak())
print(json.dumps([codes, peaks]))
"""


@pytest.mark.long
def test_memory_for_many_hostile_answers_at_once(child: Child, tmp_path: Path) -> None:
    """32 at once, with the real limit of 20 MB; what a good download needs is not counted."""
    empty = b"\0\0\0\xff\xff" * 10_000
    kinds = [
        *(a.endless(), a.gzip_bomb(), a.announced(), a.big(), forever(gzipped(BODY), NOISE)),
        *(forever(gzipped(BODY[:600], flush=False), empty), a.big(code=200, length=False)),
        a.long_header(10_000_000),
    ]
    with Hosts() as hosts:
        for n in range(32):
            hosts.add(f"warm{n}.example", "/x.jpg", new())
            hosts.add(f"bad{n}.example", "/x.jpg", kinds[n % len(kinds)])
        process = child(MEASURED, hosts.port(), tmp_path)
        output, _ = process.communicate(timeout=120)
        hosts.quiet()
        assert hosts.most_busy() > 20
    (warm, bad), (before, after) = json.loads(output)
    assert warm == ["OK"] * 32
    assert bad == ["BAD_ANSWER"] * 4 + ["HTTP_404"] * 4 + ["TOO_LARGE"] * 24
    assert after - before <= 64_000_000


def test_the_real_limits() -> None:
    assert Limits() == Limits(bytes=20_000_000, in_memory=500_000, connect=5, read=5, total=20)
    assert Clock().chance is random.random
    assert Clock().now is time.monotonic

"""Twenty thousand mutations of good requests to every route of the service: not one 500.

Good requests to each route (gradio's and forms included) are changed: bytes of the body, fields of
JSON, words of the query and of the path, headers, names of files. Told are answers of 500 and more,
errors without a sentence, lines of the log that are no JSON or hold the name of a file, memory and
open files afterwards, and whether a good picture is answered the same at the end.

    .venv/bin/python benchmarks/fuzz_routes.py [MODEL] [--requests 20000] [--quick] [--json FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes

from promises import Promise, Watch, as_goals, most, serving
from tqdm import tqdm
from versus import SHIPPED, Told, measured, options

# isort: split
from corpus import drawn, mutated, saved, zipped
from serving import Answer, Line, Serving, files, form, memory

NAME = "CANARY"  # of every file; the log holds none
ONE, MANY, CORRECT = "/api/v1/classify", "/api/v1/classify-many", "/api/v1/corrections"
GRADIO = "/gradio/gradio_api"
JSON = {"Content-Type": "application/json"}
ZIP = {"Content-Type": "application/zip"}
ODD: list[Any] = [
    *(None, True, -1, 0, 99, 1.5, 2**63, 2**70, 1e308, "", " ", "x" * 5000, "\ud800", "a\x00b"),
    *("../..", "<b>", "\u202e", [], [[]], {}, {"path": 5}, {"path": "/etc/passwd"}, [None] * 99),
]
WORDS = [b"NaN", b"Infinity", b"-Infinity", b"1e999", b'"\\ud800"', b"[" * 3000, b"0" * 5000]
CHARSETS = (
    "undefined",
    "punycode",
    "hex",
    "utf-16",
    "utf-7",
    "idna",
    "x",
    "latin-1",
    "unicode_escape",
)
NAMES = (
    f"{NAME}.jpg", f"{NAME}{'x' * 300}.jpg", f"{NAME}\x1b[31m", f"{NAME}\u202e.jpg", f"../{NAME}",
    f"{NAME}/../../x", f"=cmd|{NAME}", f"C:\\{NAME}.jpg", f"{NAME}\t", f".{NAME}", f"{NAME}\x00",
)  # fmt: skip


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Found:
    statuses: Counter[int] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)
    lost: int = 0


def good(photo: bytes) -> list[Request]:
    """One request to each route, as it is meant."""
    one, kind = form((f"{NAME}.jpg", photo))
    two, _ = form((f"{NAME}.jpg", photo), (f"{NAME}2.jpg", photo))
    upload, _ = form((f"{NAME}.jpg", photo), field="files")
    asked = {"data": [None], "fn_index": 0, "session_hash": "ab12", "trigger_id": 1}
    gone = {"session_hash": "ab12", "fn_index": 0, "event_id": "ef34"}
    return [
        Request("POST", ONE, photo), Request("POST", ONE, one, kind),
        Request("POST", f"{ONE}?explain=true&model=tiny", photo),
        Request("POST", MANY, zipped(f"{NAME}.jpg", photo), ZIP),
        Request("POST", f"{MANY}?csv=true", two, kind),
        Request("POST", f"{CORRECT}?right=black&said=teddy", photo),
        Request("GET", "/api/v1/models"), Request("GET", "/api/v1/models/tiny/card"),
        Request("GET", "/"), Request("GET", "/page.js"), Request("GET", "/openapi.json"),
        Request("GET", "/livez"), Request("GET", "/readyz"), Request("GET", "/metrics"),
        Request("POST", f"{GRADIO}/upload?upload_id=ab12", upload, kind),
        Request("POST", f"{GRADIO}/queue/join", json.dumps(asked).encode(), JSON),
        Request("POST", f"{GRADIO}/call/predict", b'{"data": [null]}', JSON),
        Request("POST", f"{GRADIO}/cancel", json.dumps(gone).encode(), JSON),
        Request("POST", f"{GRADIO}/reset", b'{"event_id": "ef34"}', JSON),
        Request("GET", "/gradio/config"), Request("GET", f"{GRADIO}/info"),
        Request("GET", f"{GRADIO}/file=/tmp/{NAME}"), Request("GET", "/gradio/"),
    ]  # fmt: skip


def change(request: Request, dice: random.Random) -> Request:
    """In one or two ways."""
    for _ in range(dice.choice((1, 1, 2))):
        request = dice.choice((_body, _body, _fields, _query, _path, _headers, _named))(
            request, dice
        )
    return request


def _body(request: Request, dice: random.Random) -> Request:
    body = request.body
    if not body or dice.random() < 0.1:
        return Request(
            request.method, request.path, dice.choice((b"", b"x" * 3000)), request.headers
        )
    if dice.random() < 0.2:
        body = body[: 1 + dice.randrange(len(body))]
    return Request(request.method, request.path, mutated(body, dice), request.headers)


def _fields(request: Request, dice: random.Random) -> Request:
    """Another value in a table, as JSON has it and as it has not."""
    try:
        value = json.loads(request.body)
        name = dice.choice([*value, "data", "fn_index", "session_hash", "event_data", "batched"])
    except (ValueError, TypeError, RecursionError):
        return _body(request, dice)
    value[name] = dice.choice(ODD)
    body = json.dumps(value).encode()
    if dice.random() < 0.3:
        body = json.dumps({**value, name: "HERE"}).encode().replace(b'"HERE"', dice.choice(WORDS))
    return Request(request.method, request.path, body, request.headers)


def _query(request: Request, dice: random.Random) -> Request:
    noise = quote_from_bytes(dice.randbytes(dice.randrange(1, 20)))
    name = dice.choice(
        ("model", "explain", "csv", "right", "said", "session_hash", "upload_id", noise)
    )
    value = dice.choice(
        ("", "x" * 3000, "%00", "%ed%a0%80", "-1", "1e999", "a" * 50, noise, "%", "[]")
    )
    mark = "&" if "?" in request.path else "?"
    return Request(
        request.method, f"{request.path}{mark}{name}={value}", request.body, request.headers
    )


def _path(request: Request, dice: random.Random) -> Request:
    parts = request.path.split("/")
    place = dice.randrange(1, len(parts))
    odd = ("..", "%2e%2e", "%00", "x" * 500, "", "%ff", quote_from_bytes(dice.randbytes(5)), "*")
    parts[place] = dice.choice((parts[place] + "/", parts[place].upper(), *odd))
    method = dice.choice((request.method, request.method, "PUT", "HEAD", "OPTIONS", "DELETE"))
    return Request(method, "/".join(parts).replace(" ", "%20"), request.body, request.headers)


def _headers(request: Request, dice: random.Random) -> Request:
    kind = request.headers.get("Content-Type", "multipart/form-data; boundary=B0undary")
    odd = {
        "Content-Type": dice.choice((
            f"{kind}; charset={dice.choice(CHARSETS)}", "multipart/form-data", "text/html", "",
            "multipart/form-data; boundary=", f"multipart/form-data; boundary={'x' * 90}",
            "a" * 999, "application/json", "application/zip",
        )),
        "Accept": dice.choice(("text/html", "*/*", "x" * 999, "\xff")),
        "X-Forwarded-For": dice.choice(("x" * 999, "1.2.3.4, 5.6.7.8", "\xff")),
        "X-Forwarded-Host": dice.choice(("evil.example", "\xff", "a" * 999)),
        "X-Forwarded-Proto": dice.choice(("https", "javascript", "\xff")),
        "Host": dice.choice(("localhost", "127.0.0.1:1", "evil.example", "[::1", "\xff")),
        "Origin": dice.choice(("null", "http://evil.example", "\xff")),
        "Range": dice.choice(("bytes=0-0", "bytes=99999999999999999999-", "x")),
        "If-Modified-Since": dice.choice(("x", "Mon, 99 Jan 99999 99:99:99 GMT")),
        "Cookie": dice.choice(("a=b", "\xff" * 9, "access-token=x")),
        "Accept-Encoding": dice.choice(("gzip", "br;q=x", "\xff")),
    }  # fmt: skip
    name = dice.choice(list(odd))
    return Request(request.method, request.path, request.body, {**request.headers, name: odd[name]})


def _named(request: Request, dice: random.Random) -> Request:
    """A form whose file has an odd name, or odd parts."""
    name = dice.choice(NAMES).encode("utf-8", "surrogatepass")
    field_name = dice.choice(("file", "files", "x" * 999, ""))
    head = b'--B0undary\r\nContent-Disposition: form-data; name="%s"; filename="%s"\r\n\r\n'
    body = head % (field_name.encode(), name) + request.body[:20_000] + b"\r\n--B0undary--\r\n"
    kind = {"Content-Type": "multipart/form-data; boundary=B0undary"}
    return Request(request.method, request.path, body, {**request.headers, **kind})


async def send_all(port: int, requests: list[Request], at_once: int) -> Found:
    found, todo = Found(), iter(requests)
    bar = tqdm(total=len(requests), desc="requests", mininterval=1)

    async def user() -> None:
        line: Line | None = None
        for request in todo:
            try:
                line = line or await Line(port).__aenter__()
                words = (request.method, request.path, request.body, request.headers)
                note(found, request, await asyncio.wait_for(line.ask(*words), 60))
            except (OSError, EOFError, ValueError, IndexError, asyncio.TimeoutError):
                found.lost, line = found.lost + 1, None  # such as a Host that is none
            bar.update()

    await asyncio.gather(*(user() for _ in range(at_once)))
    bar.close()
    return found


def note(found: Found, request: Request, answer: Answer) -> None:
    found.statuses[answer.status] += 1
    where = f"{answer.status} {request.method} {request.path[:80]} {request.body[:100]!r}"
    if answer.status >= 500 and not (answer.status == 503 and answer.explained()):
        found.broken.append(f"{where}: {answer.body[:200]!r}")
    elif answer.status >= 400 and request.method != "HEAD" and not answer.explained():
        plain = answer.body.startswith((b'{"detail":', b"Invalid HTTP request"))
        if not plain:
            found.unexplained.append(f"{where}: {answer.body[:200]!r}")


def odd_lines(log: str) -> list[str]:
    """Of the log: what is no JSON, and what holds the name of a file."""
    found = []
    for line in log.splitlines():
        try:
            json.loads(line)
        except ValueError:
            found.append(line[:300])
        if NAME in line:
            found.append(line[:300])
    return found


async def fuzzed(server: Serving, requests: list[Request], at_once: int) -> tuple[Found, Watch]:
    async with Watch(server.pid) as watch:
        found = await send_all(server.port, requests, at_once)
    watch.look()
    return found, watch


def told(words: argparse.Namespace) -> Told:
    photo = saved(drawn(seed=3), "JPEG")
    dice = random.Random(words.seed)
    seeds = good(photo)
    n = 500 if words.quick else words.requests
    requests = [change(dice.choice(seeds), dice) for _ in range(n)]
    with serving(words.model, corrections="kept") as server:
        before = server.ask("POST", ONE, photo).json()["probabilities"]
        asyncio.run(fuzzed(server, requests[:500], words.at_once))  # what is filled once, is
        held, opened = memory(server.pid), files(server.pid)
        found, watch = asyncio.run(fuzzed(server, requests, words.at_once))
        after = server.ask("POST", ONE, photo)
        same = after.status == 200 and after.json()["probabilities"] == before
        grown, more = memory(server.pid) - held, files(server.pid) - opened
        odd = odd_lines(server.log())
    for line in (*found.broken[:20], *found.unexplained[:10], *odd[:10]):
        print(f"    {line}", file=sys.stderr)
    promises = [
        most("S1", "answers of 500 and more", len(found.broken), 0),
        most("S1", "errors without code and sentence", len(found.unexplained), 0),
        most("S10", "lines of the log that are no JSON or hold a name", len(odd), 0),
        most("S9", "memory of the service grown", round(grown / 1e6, 1), 60, "MB"),
        most("S9", "open files more than before", more, 4),
        Promise("S1", "a good picture afterwards", "the same", str(same), same),
        Promise("S8", "exit code at the end", "0", str(server.code), server.code == 0),
        most("S3", "connections to anybody", len(server.connected), 0),
    ]  # fmt: skip
    rows = [[str(status), str(n)] for status, n in sorted(found.statuses.items())]
    notes = [
        f"{n:,} requests, seed {words.seed}; {found.lost} ended with a closed connection",
        f"all its processes together held {watch.most / 1e6:.0f} MB at most",
    ]
    facts: dict[str, Any] = {"broken": found.broken[:50], "unexplained": found.unexplained[:50]}
    return Told(["status", "answers"], rows, as_goals(promises), notes, facts)


def main() -> int:
    made = options(__doc__ or "")
    made.add_argument("model", metavar="MODEL", type=Path, nargs="?", default=SHIPPED)
    made.add_argument("--requests", metavar="N", type=int, default=20_000)
    made.add_argument("--at-once", metavar="N", type=int, default=6)
    made.add_argument("--seed", type=int, default=0)
    words = made.parse_args()
    return measured(words, "fuzz_routes", __doc__ or "", lambda: told(words))


if __name__ == "__main__":
    sys.exit(main())

"""The service as strangers meet it: one real process, asked through loopback, mostly badly.

What it does under load, while it starts and stops, and when it is hurt: test_serving_load.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import csv
import importlib.util
import io
import json
import random
import re
import sys
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attacks import SECRET, TOLD, addresses, bomb, gigabyte, long_list, shapes, traversals, zipped
from bundles import LABELS
from corpus import drawn, mutated, mutations, saved
from serving import (
    HERE,
    Answer,
    Line,
    Serving,
    ask,
    forget_peak,
    form,
    head,
    held_port,
    memory,
)
from waiting import until

from bear_classifier.runtime.processors import processors
from bear_classifier.serve import limits
from bear_classifier.serve.app import make_app
from bear_classifier.serve.gradio_guard import endless
from bear_classifier.serve.queue import Service, served_models

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
PHOTO = saved(drawn(seed=3), "JPEG")
ONE, MANY, CORRECT = "/api/v1/classify", "/api/v1/classify-many", "/api/v1/corrections"
GRADIO = "/gradio/gradio_api"
UPLOAD = f"{GRADIO}/upload"
JSON = {"Content-Type": "application/json"}
ZIP = {"Content-Type": "application/zip"}
FINE, SORRY = {200}, {400, 413, 415, 422}


@pytest.fixture(scope="module")
def server(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("serving")
    with Serving(model_dir, folder, max_waiting=8, corrections="kept") as running:
        yield running
    assert running.code == 0
    assert running.connected == [], "it connected to somebody"
    assert running.left_behind == [], "it left files behind"


def labels(answer: Answer) -> Any:
    assert answer.status == 200, answer.body
    return answer.json()["probabilities"]


def all_of(port: int, requests: list[tuple[Any, ...]], at_once: int = 6) -> list[Answer]:
    """Answers in the order of the requests, several at a time."""

    async def inside() -> list[Answer]:
        turns = asyncio.Semaphore(at_once)

        async def one(words: tuple[Any, ...]) -> Answer:
            async with turns:
                return await ask(port, *words)

        return await asyncio.gather(*map(one, requests))

    return asyncio.run(inside())


def mistakes(server: Serving) -> list[str]:
    return [line for line in server.log().splitlines() if '"level": "error"' in line]


# -- one photo -------------------------------------------------------------------------------------


def test_a_photo_as_bytes_and_as_a_form(server: Serving) -> None:
    raw = server.ask("POST", ONE, PHOTO)
    body, headers = form(("a.jpg", PHOTO))
    sent = server.ask("POST", ONE, body, headers)
    assert labels(raw) == labels(sent)
    said = raw.json()
    assert set(said["probabilities"]) == set(LABELS)
    assert said["label"] in LABELS
    assert said["sentence"]
    assert said["model"] == "tiny"
    assert said["request_id"] == raw.headers["x-request-id"]
    assert "maps" not in said


def test_an_explanation_comes_with_maps(server: Serving) -> None:
    said = server.ask("POST", f"{ONE}?explain=true", PHOTO).json()
    assert {row["label"] for row in said["maps"]} == set(LABELS)
    images = [said["photo"], *(row["image"] for row in said["maps"])]
    assert all(image.startswith("data:image/jpeg;base64,") for image in images)


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("?model=other", 404, "NO_MODEL"),
        ("?model=../tiny", 404, "NO_MODEL"),
        ("?explain=maybe", 422, "BAD_REQUEST"),
    ],
)
def test_what_is_not_there_is_said(server: Serving, query: str, status: int, code: str) -> None:
    answer = server.ask("POST", ONE + query, PHOTO)
    assert (answer.status, answer.json()["code"], answer.explained()) == (status, code, True)


def test_a_correction_is_kept_without_what_rode_along(server: Serving) -> None:
    answer = server.ask("POST", f"{CORRECT}?right=teddy&said=black", PHOTO)
    assert answer.status == 201
    (kept,) = (server.folder / "kept" / "teddy").glob("*.jpg")
    assert kept.read_bytes()[:3] == b"\xff\xd8\xff"
    for query in ("?right=nobody", "?right=../x", "?right=teddy&said=x", ""):
        assert server.ask("POST", CORRECT + query, PHOTO).explained()


def test_browsers_get_the_card_as_a_page_and_programs_as_markdown(
    server: Serving, model_dir: Path
) -> None:
    path = "/api/v1/models/tiny/card"
    browser = server.ask("GET", path, headers={"Accept": "text/html,*/*;q=0.8"})
    program = server.ask("GET", path)
    assert browser.headers["content-type"] == "text/html; charset=utf-8"
    assert b'<main class="model-card"><h1>' in browser.body
    assert program.headers["content-type"] == "text/markdown; charset=utf-8"
    whole = (model_dir / "README.md").read_bytes()
    assert program.body == whole[whole.index(b"\n# ") + 1 :]  # without what the Hub reads
    assert browser.headers["vary"] == program.headers["vary"] == "Accept"


READ = ["/", "/page.js", "/page.css", "/livez", "/readyz", "/metrics", "/favicon.ico",
        "/openapi.json", "/api/v1/models", "/api/v1/models/tiny/card", "/gradio/", "/gradio/config",
        f"{GRADIO}/info", "/nothing", ONE]  # fmt: skip


@pytest.mark.parametrize("path", READ)
def test_head_is_answered_wherever_get_is(server: Serving, path: str) -> None:
    """By uptime monitors, link checkers and `curl -I`."""
    found, wanted = (server.ask(method, path) for method in ("HEAD", "GET"))
    assert (found.status, found.body) == (wanted.status, b"")
    assert found.status in (200, 204) or path in ("/nothing", ONE)
    same = {"content-type", "content-length", "content-security-policy", "allow", "etag"}
    if path in ("/gradio/", "/metrics"):  # made anew each time
        same -= {"content-length"}
    assert {k: found.headers.get(k) for k in same} == {k: wanted.headers.get(k) for k in same}


@pytest.mark.parametrize("path", [f"{GRADIO}/heartbeat/x", f"{GRADIO}/queue/data"])
def test_head_of_a_stream_comes_to_an_end(server: Serving, path: str) -> None:
    assert server.ask("HEAD", path).status == 405


def test_it_is_ready_with_a_process_for_each_processor(server: Serving) -> None:
    assert len(server.first_workers) == processors()


# -- S1: what is damaged ---------------------------------------------------------------------------


def test_damaged_pictures_are_answered_or_explained(server: Serving) -> None:
    before = labels(server.ask("POST", ONE, PHOTO))
    requests: list[tuple[Any, ...]] = []
    for number, data in enumerate(mutations(240, seed=11)):
        if number % 2:
            requests.append(("POST", ONE, *form((f"{number}.jpg", data))))
        else:
            requests.append(("POST", ONE, data))
    found = Counter()
    for answer in all_of(server.port, requests):
        found[answer.status] += 1
        assert answer.status in FINE | SORRY
        assert answer.status == 200 or answer.explained(), answer.body
    assert found[200] > 20
    assert found[422] > 20
    assert mistakes(server) == []
    assert labels(server.ask("POST", ONE, PHOTO)) == before


@pytest.mark.parametrize("path", [ONE, MANY, UPLOAD])
def test_damaged_forms_are_answered_or_explained(server: Serving, path: str) -> None:
    dice = random.Random(5)
    whole, kind = form(("a.jpg", PHOTO[:300]), field="files")
    heads = [kind, {"Content-Type": "multipart/form-data"}, JSON,
             {"Content-Type": "multipart/form-data; boundary="},
             {"Content-Type": f"multipart/form-data; boundary={'x' * 80}"}]  # fmt: skip
    requests = [("POST", path, mutated(whole, dice), dice.choice(heads[:3])) for _ in range(50)]
    requests += [("POST", path, whole, kinds) for kinds in heads]
    requests += [
        ("POST", path, whole.replace(b"filename", b"filenam"), kind),
        ("POST", path + "?upload_id=x", whole.replace(b"filename", b"filenam"), kind),
        ("POST", path, whole.replace(b' name="files";', b""), kind),
        ("POST", path, b"", kind),
    ]
    for words, answer in zip(requests, all_of(server.port, requests, 2), strict=True):
        assert answer.status in FINE | SORRY, (answer.status, answer.body, words)


@pytest.mark.parametrize("path", ["/queue/join", "/call/predict", "/run/predict", "/cancel"])
def test_odd_json_is_no_mistake_of_ours(server: Serving, path: str) -> None:
    odd = [None, 5, [], {}, {"data": None}, {"data": []}, {"data": ["x"]}, {"data": [[]]},
           {"data": [{"path": 5}]}, {"data": [None], "fn_index": 99}, {"data": [None] * 3},
           {"data": [None], "session_hash": 5}, {"data": [None], "fn_index": "x"}]  # fmt: skip
    requests = [("POST", GRADIO + path, json.dumps(value).encode(), JSON) for value in odd]
    requests += [("POST", GRADIO + path, data, JSON) for data in (b"{", b"\xff", b"[" * 30_000)]
    for words, answer in zip(requests, all_of(server.port, requests), strict=True):
        assert answer.status < 500, (words[2][:80], answer.body)


# -- S2: what is too large -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def routes(model_dir: Path) -> list[str]:
    """The paths of all routes of the application that take a body, gradio's among them."""

    def walk(holder: Any, prefix: str) -> Iterator[str]:
        for route in holder.routes:
            if hasattr(route, "original_router"):
                yield from walk(route.original_router, prefix)
            elif hasattr(route, "app") and not hasattr(route, "methods"):
                yield from walk(route.app, prefix + route.path)
            elif (getattr(route, "methods", None) or set()) - {"GET", "HEAD"}:
                yield prefix + re.sub(r"\{[^}]*\}", "x", route.path)

    return sorted(set(walk(make_app(Service(served_models(model_dir), 1)), "")))


def read_of(server: Serving, answer: Answer) -> int:
    """Bytes of a request's body that the server took."""
    number = answer.headers["x-request-id"]
    until(lambda: number in server.log(), "it is not in the log")
    rows = [json.loads(line) for line in server.log().splitlines() if number in line]
    return int(rows[-1]["bytes"])


def test_every_route_refuses_a_large_body_before_it_comes(
    server: Serving, routes: list[str]
) -> None:
    assert {ONE, MANY, CORRECT, UPLOAD, f"{GRADIO}/queue/join"} <= set(routes)
    for path in routes:
        announced = {"Content-Length": str(101_000_000 if path == MANY else 21_000_000)}
        answer = asyncio.run(first_answer(server.port, head("POST", path, b"x", announced)))
        assert answer.status in (404, 413), path
        assert answer.explained(), path
        if path in (ONE, CORRECT, UPLOAD):
            assert answer.json()["message"] == "The picture is 21 MB; the limit is 20 MB"


async def first_answer(port: int, data: bytes) -> Answer:
    """To the bytes as they are, though they may be no whole request."""
    async with Line(port) as line:
        line.writer.write(data)
        status, headers = await asyncio.wait_for(line.head(), 10)
        parts = [part async for part in line.parts("POST", status, headers)]
        return Answer(status, headers, b"".join(parts), 0)


def test_every_route_refuses_a_large_body_that_was_not_announced(
    server: Serving, routes: list[str]
) -> None:
    """In chunks, 24 MB; of JSON, 70 KB. It takes no more than what was on its way: 256 KB."""
    server.ask("POST", ONE, PHOTO)
    forget_peak(server.pid)
    before = memory(server.pid)
    for path in sorted(set(routes) - {MANY}):
        limit = 20_000_000 if path in (ONE, CORRECT, UPLOAD) else 65_536
        query = "?right=teddy" if path == CORRECT else ""
        answer = server.ask("POST", path + query, (b"x" * 65_536 for _ in range(370)))
        assert answer.status in (404, 413), (path, answer.body)
        assert answer.explained()
        assert read_of(server, answer) <= limit + 65_536 + 262_144, path
        if limit == 65_536:
            large = json.dumps({"data": ["x" * 66_000]}).encode()
            assert server.ask("POST", path, large, JSON).status in (404, 413), path
    assert memory(server.pid, "VmHWM") - before < 30_000_000


def test_many_photos_have_a_limit_too(server: Serving) -> None:
    forget_peak(server.pid)
    before = memory(server.pid)
    answer = server.ask("POST", MANY, (b"x" * 1_000_000 for _ in range(110)), ZIP)
    assert (answer.status, answer.explained()) == (413, True)
    assert memory(server.pid, "VmHWM") - before < 130_000_000


def test_one_picture_at_a_time(server: Serving) -> None:
    body, kind = form(("a.jpg", PHOTO), ("b.jpg", PHOTO))
    assert server.ask("POST", ONE, body, kind).status == 400
    others = ["x=1; boundary=B0undary", 'boundary="B0undary"', "xboundary=y; boundary=B0undary",
              'x="boundary=y"; boundary=B0undary']  # fmt: skip
    for words in (kind["Content-Type"].partition("; ")[2], *others):
        answer = server.ask("POST", UPLOAD, body, {"Content-Type": f"multipart/form-data; {words}"})
        assert (answer.status, answer.explained()) == (422, True), (words, answer.body)


# -- S3: addresses and paths -----------------------------------------------------------------------


def asking(server: Serving, shape: dict[str, Any]) -> bytes:
    """As gradio's page would ask."""
    events = server.ask("GET", "/gradio/config").json()["dependencies"]
    (event,) = (one for one in events if one["api_name"] == "predict")
    return json.dumps(shape | {"session_hash": "s", "fn_index": event["id"]}).encode()


def test_addresses_are_not_asked(server: Serving) -> None:
    with held_port() as listener:
        port = listener.getsockname()[1]
        places = addresses(port)
        requests = [
            ("POST", f"{GRADIO}/{route}", asking(server, shape), JSON)
            for route in ("queue/join", "call/predict", "run/predict")
            for place in places
            for shape in shapes(place)
        ]
        for words, answer in zip(requests, all_of(server.port, requests), strict=True):
            if "run/" in words[1] and answer.status == 404:
                continue
            assert answer.status == 422, (words, answer.body)
            assert answer.json()["code"] == "NOT_A_PHOTO"
        for place in places:
            for body in (place.encode(), json.dumps({"url": place}).encode()):
                assert server.ask("POST", ONE, body, JSON).explained()
            assert server.ask("POST", f"{ONE}?url={place.strip()}&model=", b"x").explained()
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert server.connects() == []


@pytest.mark.parametrize("route", ["call/predict", "run/predict", "queue/join"])
def test_a_path_on_the_server_is_no_photo(server: Serving, route: str) -> None:
    """Neither told about nor deleted."""
    private = server.folder / "private.jpg"
    link = server.upload_folder / "link.jpg"
    link.unlink(missing_ok=True)
    link.symlink_to(private)
    for name in (str(private), "private.jpg", str(link), f"{server.upload_folder}/../private.jpg",
                 f"{server.upload_folder}/../../private.jpg"):  # fmt: skip
        for shape in shapes(name)[1:3]:
            private.write_bytes(PHOTO)
            answer = server.ask("POST", f"{GRADIO}/{route}", asking(server, shape), JSON)
            assert answer.status in (404, 422), (name, answer.body)
            assert answer.explained()
            assert private.read_bytes() == PHOTO
    link.unlink()


# -- S4: files of the server -----------------------------------------------------------------------


def test_no_file_of_the_server_is_told(server: Serving) -> None:
    secret, link = server.folder / "secret.txt", server.upload_folder / "link.txt"
    secret.write_bytes(SECRET)
    link.symlink_to(secret)
    paths = traversals(server.port, secret, server.upload_folder)
    assert len(set(paths)) >= 60
    requests = [(method, path) for path in paths for method in ("GET", "HEAD")]
    for (method, path), answer in zip(requests, all_of(server.port, requests), strict=True):
        assert answer.status in (400, 403, 404, 405), (method, path, answer.status)
        known = answer.explained() or answer.body == b'{"detail":"Not Found"}'  # gradio's
        assert method == "HEAD" or known, (path, answer.body)
        assert not any(word in answer.body for word in TOLD)
    link.unlink()
    assert server.ask("GET", f"{GRADIO}/file=\0").status == 400


# -- S10: what is kept -----------------------------------------------------------------------------


def test_nothing_of_a_person_is_kept(server: Serving) -> None:
    name, sender = "our-holiday-1987.jpg", {"X-Forwarded-For": "203.0.113.9", "User-Agent": "Mabel"}
    body, kind = form((name, PHOTO + b"tail-of-the-photo"))
    for path in (ONE, MANY, UPLOAD, f"{CORRECT}?right=teddy&said=our-holiday-1987"):
        assert server.ask("POST", path, body, kind | sender).status in FINE | SORRY
    server.ask("POST", MANY, zipped({name: PHOTO}), ZIP | sender)
    server.ask("GET", f"/{name}?who=our-holiday-1987", headers=sender)
    server.ask("GET", f"{GRADIO}/file=/{name}", headers=sender)
    odd = json.dumps({"data": [name]}).encode()
    joined = server.ask("POST", f"{GRADIO}/call/predict", odd, JSON | sender)
    if joined.status == 200:
        server.ask("GET", f"{GRADIO}/call/predict/{joined.json()['event_id']}")
    uploaded = server.ask("POST", UPLOAD, form((name, PHOTO), field="files")[0], kind).json()[0]
    for _ in range(2):  # the second time it is gone
        asked = {"data": [{"path": uploaded, "meta": {"_type": "gradio.FileData"}}]}
        joined = server.ask("POST", f"{GRADIO}/call/predict", json.dumps(asked).encode(), JSON)
        if joined.status == 200:
            server.ask("GET", f"{GRADIO}/call/predict/{joined.json()['event_id']}")
    log = server.log()
    assert len(log.splitlines()) > 10
    for word in ("our-holiday", "203.0.113", HERE, "Mabel", "tail-of-the-photo"):
        assert word not in log, word
    assert "Traceback" not in log


# -- S11: browsers ---------------------------------------------------------------------------------

FOREIGN = [{"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": "http://["},
           {"Origin": f"http://{HERE}.evil.example"}, {"Sec-Fetch-Site": "cross-site"},
           {"Sec-Fetch-Site": "same-site"}]  # fmt: skip


@pytest.mark.parametrize("sent", FOREIGN, ids=str)
def test_pages_of_others_may_not_send(server: Serving, sent: dict[str, str]) -> None:
    for path in (ONE, MANY, CORRECT, UPLOAD, f"{GRADIO}/queue/join", "/nowhere"):
        for method in ("POST", "OPTIONS", "PUT", "DELETE"):
            answer = server.ask(method, path, PHOTO, sent)
            assert (answer.status, answer.explained()) == (403, True), (method, path, answer.body)
            assert not [name for name in answer.headers if name.startswith("access-control")]


def test_pages_of_ours_and_programs_may(server: Serving) -> None:
    for sent in ({"Origin": f"http://{HERE}"}, {"Sec-Fetch-Site": "same-origin"}, {}):
        assert server.ask("POST", ONE, PHOTO, sent).status == 200


@pytest.mark.parametrize(
    "path", ["/", "/page.css", "/page.js", "/nothing", "/api/v1/models", "/openapi.json", "/livez",
             "/metrics", "/gradio/", "/gradio/config", f"{GRADIO}/info", f"{GRADIO}/file=x", ONE]
)  # fmt: skip
def test_every_answer_is_safe_in_a_browser(server: Serving, path: str) -> None:
    for sent in ({}, {"Origin": "http://evil.example", "Cookie": "a=b"}, {"Origin": "null"}):
        found = server.ask("GET", path, headers=sent).headers
        assert found["x-content-type-options"] == "nosniff"
        assert found["referrer-policy"] == "no-referrer"
        assert found["cross-origin-resource-policy"] == "same-origin"
        assert "microphone=()" in found["permissions-policy"]
        policy = dict(part.strip().partition(" ")[::2]
                      for part in found["content-security-policy"].split(";"))  # fmt: skip
        assert policy["frame-ancestors"] == "'none'"
        assert policy["object-src"] == policy["base-uri"] == "'none'"
        assert "*" not in policy["default-src"]
        if not path.startswith("/gradio"):
            assert policy["default-src"] == "'self'"
        assert "server" not in found
        assert not [name for name in found if name.startswith("access-control")], found


# -- through gradio --------------------------------------------------------------------------------


def test_gradio_s_client_gets_the_same_answer(server: Serving, tmp_path: Path) -> None:
    gradio_client = pytest.importorskip("gradio_client")
    photo, text = tmp_path / "a.jpg", tmp_path / "b.jpg"
    photo.write_bytes(PHOTO)
    text.write_text("hello", encoding="utf-8")
    said = server.ask("POST", ONE, PHOTO).json()
    client = gradio_client.Client(
        f"http://{HERE}:{server.port}/gradio/", verbose=False, download_files=tmp_path / "down"
    )
    sentence, shares = client.predict(gradio_client.handle_file(str(photo)), api_name="/predict")
    assert sentence == said["sentence"]
    assert {row["label"]: row["confidence"] for row in shares["confidences"]} == pytest.approx(
        said["probabilities"]
    )
    with pytest.raises(Exception, match="text, not a picture"):
        client.predict(gradio_client.handle_file(str(text)), api_name="/predict")
    same = [
        client.submit(gradio_client.handle_file(str(photo)), api_name="/predict") for _ in "abcd"
    ]
    assert [job.result(30)[0] for job in same] == [sentence] * 4, "as several people send one photo"
    client.close()


# -- many photos -----------------------------------------------------------------------------------


def rows(answer: Answer) -> list[dict[str, Any]]:
    assert answer.status == 200, answer.body
    return [json.loads(line) for line in answer.body.splitlines()]


FILES = {"a.jpg": PHOTO, "sub/b.txt": b"hello", "c.jpg": saved(drawn(seed=4), "PNG"), "d.jpg": b""}


def test_a_zip_and_a_form_give_a_row_for_each(server: Serving) -> None:
    body, kind = form(*FILES.items())
    by_zip, by_form = (
        rows(server.ask("POST", MANY, zipped(FILES), ZIP)),
        rows(server.ask("POST", MANY, body, kind)),
    )
    for found in (by_zip, by_form):
        assert [row.get("code", "ok") for row in found] == [
            "ok",
            "NOT_AN_IMAGE",
            "ok",
            "EMPTY_FILE",
        ]
        assert found[0]["probabilities"] == labels(server.ask("POST", ONE, PHOTO))
    assert [row["name"] for row in by_zip] == list(FILES)


FINDER = {
    "trip/.DS_Store": b"Bud1", "__MACOSX/trip/._a.jpg": b"\0\5\26\7", "trip/Thumbs.db": b"x",
    "trip\\desktop.ini": b"[x]", "trip/.ipynb_checkpoints/a-checkpoint.jpg": b"x",
    "__macosx/._b.jpg": b"x",
}  # fmt: skip


def test_what_systems_leave_is_no_photo(server: Serving) -> None:
    """In a ZIP and in a form: no row, and none of the 200; of them alone there is no photo."""
    mixed = FINDER | {"trip/a.jpg": PHOTO, "trip/._": b"no system's", "trip/b.jpg": b"x"}
    for body, kind in ((zipped(mixed), ZIP), form(*mixed.items())):
        names = [
            row["name"].rpartition("/")[2] for row in rows(server.ask("POST", MANY, body, kind))
        ]
        assert names == ["a.jpg", "._", "b.jpg"]
    for body, kind in ((zipped(FINDER), ZIP), form(*FINDER.items())):
        answer = server.ask("POST", MANY, body, kind)
        assert (answer.status, answer.json()["code"]) == (400, "NOT_ONE_PHOTO")


@pytest.mark.parametrize("how", ["zip", "form"])
def test_two_hundred_photos_and_as_many_companions(server: Serving, how: str) -> None:
    photos = {f"trip/{n}.jpg": b"x" for n in range(200)}
    companions = {f"__MACOSX/trip/._{n}.jpg": b"\0" for n in range(200)}

    def asked(files: dict[str, bytes]) -> Answer:
        packed = (zipped(files), ZIP) if how == "zip" else form(*files.items())
        return server.ask("POST", MANY, *packed)

    assert len(rows(asked(companions | photos))) == 200
    more = asked(companions | photos | {"one more.jpg": b"x"})
    assert (more.status, more.json()["code"]) == (413, "TOO_MANY")
    assert "201 files; the limit is 200" in more.json()["message"]


def test_rows_come_as_they_are_made(server: Serving) -> None:
    """While nothing is worked on any more, only the rows that were made have come."""

    async def arrived(line: Line, seconds: float) -> int:
        data = b""
        with contextlib.suppress(asyncio.TimeoutError):
            while not data.endswith(b"\r\n0\r\n\r\n"):
                data += await asyncio.wait_for(line.reader.read(65_536), seconds)
        return data.count(b'{"name"')

    async def come() -> tuple[int, int]:
        async with Line(server.port) as line:
            line.writer.write(head("POST", MANY, body, ZIP) + body)
            await line.head()
            first = (await line.reader.read(65_536)).count(b'{"name"')
            with server.frozen():
                first += await arrived(line, 0.5)
            return first, first + await arrived(line, 30)

    body = zipped({f"{n}.png": saved(drawn(900, 600, seed=n), "PNG") for n in range(12)})
    early, whole = asyncio.run(come())
    assert 1 <= early < whole == 12


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 415, "NOT_A_ZIP"),
        (b"hello", 415, "NOT_A_ZIP"),
        (zipped(FILES)[:-30], 415, "NOT_A_ZIP"),
        (zipped({}), 400, "NOT_ONE_PHOTO"),
        (zipped({f"{n}.jpg": b"x" for n in range(201)}), 413, "TOO_MANY"),
    ],
    ids=["empty", "text", "cut", "no entry", "201 entries"],
)
def test_what_is_no_zip_of_photos(server: Serving, body: bytes, status: int, code: str) -> None:
    answer = server.ask("POST", MANY, body, ZIP)
    assert (answer.status, answer.json()["code"], answer.explained()) == (status, code, True)


def test_a_long_list_of_files_is_not_read(server: Serving) -> None:
    """200 files are allowed; their names of 6 KB would make 1.2 MB of objects first."""
    for length, files, status in ((4000, 200, 200), (6000, 200, 413), (10, 20_000, 413)):
        body = zipped({f"{n:0{length}}.jpg": b"" for n in range(files)})
        answer = server.ask("POST", MANY, body, ZIP)
        assert answer.status == status
    assert answer.json()["message"] == "The ZIP lists too many files; the limit is 200"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(gigabyte, id="a gigabyte"),
        pytest.param(lambda: gigabyte(announced=1_000_000), id="it says that it is a megabyte"),
        pytest.param(lambda: bomb(zipfile.ZIP_BZIP2, 60), id="bzip2"),
        pytest.param(lambda: bomb(zipfile.ZIP_LZMA, 60), id="lzma"),
    ],
)
def test_a_zip_bomb_takes_no_memory(server: Serving, body: Callable[[], bytes]) -> None:
    packed = body()
    assert len(packed) < 2_000_000
    server.ask("POST", MANY, zipped({"a.jpg": PHOTO + b"\0" * 20_000_000}), ZIP)
    forget_peak(server.pid)
    before = memory(server.pid)
    (row,) = rows(server.ask("POST", MANY, packed, ZIP))
    assert row["code"] in ("TOO_LARGE", "DAMAGED")
    assert memory(server.pid, "VmHWM") - before < 30_000_000, "an unpacked photo may have 20 MB"


def test_a_long_list_of_contents_does_not_hold_others_up(server: Serving) -> None:
    """300,000 entries in 14 MB: as many as are refused, but not before they were looked at."""
    body = long_list(300_000)

    async def meanwhile() -> tuple[float, Answer]:
        asked = asyncio.ensure_future(ask(server.port, "POST", MANY, body, ZIP))
        slowest = 0.0
        while not asked.done():
            slowest = max(slowest, (await ask(server.port, "GET", "/livez")).seconds)
            await asyncio.sleep(0.01)
        return slowest, await asked

    slowest, answer = asyncio.run(meanwhile())
    assert (answer.status, answer.explained()) == (413, True)
    assert slowest < 0.25 + 0.5 * answer.seconds, "nobody else was answered meanwhile"


def test_a_table_that_a_spreadsheet_does_not_run(server: Serving) -> None:
    names = [
        "=cmd|' /C calc'!A0.jpg",
        "+1.jpg",
        "-1.jpg",
        "@x.jpg",
        "\t=1.jpg",
        "\r=1.jpg",
        'a,"b".jpg',
    ]
    answer = server.ask("POST", f"{MANY}?csv=true", zipped(dict.fromkeys(names, PHOTO)), ZIP)
    assert answer.headers["content-type"].startswith("text/csv")
    table = list(csv.DictReader(io.StringIO(answer.body.decode(), newline="")))
    assert [row["name"].lstrip("'") for row in table] == names
    assert not [row["name"] for row in table if row["name"][0] in "=+-@\t\r"]
    assert {row["label"] for row in table} <= set(LABELS)
    assert sum(float(table[0][label]) for label in LABELS) == pytest.approx(1)


@pytest.mark.parametrize("words", ["bytes=0-0", "bytes=99999999999999999999-", "x", "bytes=1-0,5-"])
def test_parts_of_a_file_are_not_asked_for(server: Serving, words: str) -> None:
    """Ours are small; odd ranges would be refused without a code."""
    answer = server.ask("GET", "/page.css", headers={"Range": words})
    assert answer.status == 200 and len(answer.body) > 1000


# -- what it says about itself ---------------------------------------------------------------------


def test_each_answer_is_described(server: Serving) -> None:
    """The statuses of a right and of a wrong request to each route stand in /openapi.json."""
    described = server.ask("GET", "/openapi.json").json()["paths"]
    body, kind = form(("a.jpg", PHOTO))
    requests: dict[tuple[str, str], list[tuple[Any, ...]]] = {
        (ONE, "post"): [(ONE, PHOTO), (ONE, b"hello"), (f"{ONE}?model=other", PHOTO)],
        (MANY, "post"): [(MANY, body, kind), (MANY, b"hello", ZIP)],
        (CORRECT, "post"): [(f"{CORRECT}?right={LABELS[0]}", PHOTO), (CORRECT, PHOTO)],
        ("/api/v1/models", "get"): [("/api/v1/models",)],
        ("/api/v1/models/{name}/card", "get"): [
            ("/api/v1/models/tiny/card",), ("/api/v1/models/other/card",)
        ],
        ("/livez", "get"): [("/livez",)],
        ("/readyz", "get"): [("/readyz",)],
    }  # fmt: skip
    to_try = described.pop("/api/v1/models/{name}/examples/{number}.jpeg")  # see their own test
    assert to_try["get"]["responses"].keys() >= {"200", "404", "422"}
    assert {(path, how) for path, item in described.items() for how in item} == set(requests)
    for (path, how), asked in requests.items():
        said = [server.ask(how.upper(), *words).status for words in asked]
        assert said[0] < 300, path
        assert {str(status) for status in said} <= set(described[path][how]["responses"]), path


def try_out(operation: Any, checks: list[Any], base: str, examples: int) -> None:
    """Ask what a description allows, and what it does not. base: address of its routes."""
    from hypothesis import HealthCheck, Phase, given, settings

    @given(case=operation.as_strategy())
    @settings(max_examples=examples, deadline=None, derandomize=True, database=None,
              phases=[Phase.generate], suppress_health_check=list(HealthCheck))  # fmt: skip
    def ask_it(case: Any) -> None:
        case.call_and_validate(base_url=base, checks=checks)

    ask_it()


@pytest.mark.long
@pytest.mark.skipif(not importlib.util.find_spec("schemathesis"), reason="needs schemathesis")
def test_it_keeps_to_its_description(server: Serving) -> None:
    """Requests made from /openapi.json: only statuses and bodies that stand there."""
    import schemathesis
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

    checks = [not_a_server_error, status_code_conformance, content_type_conformance,
              response_schema_conformance]  # fmt: skip
    base = f"http://{HERE}:{server.port}"
    described = schemathesis.openapi.from_url(f"{base}/openapi.json")
    asked = set()
    for found in described.get_all_operations():
        operation = found.ok()
        asked.add(operation.path)
        try_out(operation, checks, base, examples=5)
    assert {ONE, MANY, CORRECT, "/api/v1/models", "/readyz"} <= asked


@pytest.mark.long
@pytest.mark.skipif(not importlib.util.find_spec("schemathesis"), reason="needs schemathesis")
def test_no_request_to_gradio_s_routes_is_a_mistake_of_ours(
    server: Serving, model_dir: Path
) -> None:
    """Requests made from gradio's own description of all its routes, of which few are open here."""
    import schemathesis
    from schemathesis.checks import not_a_server_error

    app = make_app(Service(served_models(model_dir), 2))
    (mounted,) = (route.app for route in app.routes if getattr(route, "path", "") == limits.GRADIO)
    described = schemathesis.openapi.from_dict(mounted.openapi())
    asked = set()
    for found in described.get_all_operations():
        operation = found.ok()
        if endless(limits.GRADIO + re.sub(r"{\w+}", "predict", operation.path)):
            continue  # goes on for as long as somebody listens
        asked.add(operation.path)
        try_out(
            operation,
            [not_a_server_error],
            f"http://{HERE}:{server.port}{limits.GRADIO}",
            examples=30,
        )
    assert len(asked) > 60
    assert {"/gradio_api/queue/join", "/gradio_api/upload", "/gradio_api/cancel"} <= asked

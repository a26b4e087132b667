"""The service under load, while it starts and stops, and when it is hurt.

To be sure of what is under way, the processes that look at pictures are made to stand still
(SIGSTOP) and go on when the test has seen enough; so hardly any of it depends on time.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from bundles import rewrite
from corpus import drawn, saved
from serving import (
    HERE,
    STOP,
    Answer,
    Line,
    Serving,
    ask,
    files,
    form,
    head,
    memory,
    threads,
)
from waiting import STUCK, until

from bear_classifier.cli import main
from bear_classifier.runtime.processors import processors
from bear_classifier.serve import app as server
from bear_classifier.serve import limits, uvicorn_server
from bear_classifier.serve.queue import Service, served_models
from bear_classifier.web.addresses import listening

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
PHOTO = saved(drawn(seed=3), "JPEG")
ONE, MANY = "/api/v1/classify", "/api/v1/classify-many"
GRADIO = "/gradio/gradio_api"
BUSY = r"The service is busy \(\d+ waiting\)\. Try again in \d+ seconds"
WAITING = 6


def start(model_dir: Path, folder: Path) -> Serving:
    return Serving(model_dir, folder, max_waiting=WAITING)


def at_work(running: Serving) -> None:
    """Until there is a process for each processor."""

    async def crowd() -> None:
        await asyncio.gather(*(ask(running.port, "POST", ONE, PHOTO) for _ in range(WAITING)))

    end = time.monotonic() + STUCK
    while len(running.workers) < room(0):
        asyncio.run(crowd())
        assert time.monotonic() < end


def room(waiting: int = WAITING) -> int:
    """Photos that are worked on at once, and that may wait."""
    return processors() + waiting


@pytest.fixture(scope="module")
def busy(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with start(model_dir, tmp_path_factory.mktemp("load")) as found:
        at_work(found)
        yield found
    assert found.code == 0


async def inside(port: int) -> int:
    lines = (await ask(port, "GET", "/metrics")).body.decode().splitlines()
    return int(float(next(x for x in lines if x.startswith("bears_photos_inside")).split()[1]))


async def held_up(port: int, photos: int) -> list[asyncio.Task[Answer]]:
    """Requests that are all inside, and unanswered while the workers stand still."""
    asked = [asyncio.create_task(ask(port, "POST", ONE, PHOTO)) for _ in range(photos)]
    end = time.monotonic() + STUCK
    while await inside(port) < photos:
        assert time.monotonic() < end
        await asyncio.sleep(0.01)
    return asked


# -- S5: too many ----------------------------------------------------------------------------------


@pytest.mark.long
def test_too_many_at_once(busy: Serving) -> None:
    """The refusals come while nothing is answered; those who were let in get their answer."""

    async def crowd() -> tuple[list[Answer], list[Answer]]:
        with busy.frozen():
            asked = [asyncio.create_task(ask(busy.port, "POST", ONE, PHOTO)) for _ in range(60)]
            end = time.monotonic() + STUCK
            while sum(task.done() for task in asked) < 60 - room():
                assert time.monotonic() < end
                await asyncio.sleep(0.01)
            assert (await ask(busy.port, "GET", "/livez")).status == 200
            assert (await ask(busy.port, "GET", "/readyz")).status == 200
            await asyncio.sleep(0.1)
            refused = [task.result() for task in asked if task.done()]
        found = await asyncio.gather(*asked)
        return refused, [answer for answer in found if answer not in refused]

    before = busy.ask("POST", ONE, PHOTO).json()["probabilities"]
    refused, accepted = asyncio.run(crowd())
    assert len(refused) == 60 - room()
    for answer in refused:
        assert (answer.status, answer.json()["code"], answer.explained()) == (503, "BUSY", True)
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        assert f"Try again in {answer.headers['retry-after']} seconds" in answer.json()["message"]
    assert {answer.status for answer in accepted} == {200}
    assert all(answer.json()["probabilities"] == before for answer in accepted)
    assert asyncio.run(inside(busy.port)) == 0
    assert busy.ask("POST", ONE, PHOTO).status == 200


@pytest.mark.long
def test_too_many_through_gradio(busy: Serving) -> None:
    """Who comes through it is refused in the same words, and never waits in two queues."""

    async def crowd() -> list[Answer]:
        with busy.frozen():
            upload, kind = form(("a.jpg", PHOTO), field="files")
            path = (await ask(busy.port, "POST", f"{GRADIO}/upload", upload, kind)).json()[0]
            file = {"path": path, "meta": {"_type": "gradio.FileData"}}
            body = json.dumps({"data": [file]}).encode()
            return [
                await ask(busy.port, "POST", f"{GRADIO}/call/predict", body, kind | JSON)
                for _ in range(3 * room())
            ]

    refused = [answer for answer in asyncio.run(crowd()) if answer.status != 200]
    assert refused
    for answer in refused:
        assert (answer.status, answer.explained()) == (503, True), answer.body
        assert answer.headers["retry-after"]
    until(lambda: asyncio.run(inside(busy.port)) == 0, "it does not come to an end")


JSON = {"Content-Type": "application/json"}


@pytest.mark.long
def test_no_more_than_two_batches_at_once(busy: Serving) -> None:
    body, kind = form(("a.jpg", PHOTO))

    async def three() -> list[Answer]:
        with busy.frozen():
            asked = [asyncio.create_task(ask(busy.port, "POST", MANY, body, kind)) for _ in "abc"]
            done, _ = await asyncio.wait(asked, timeout=STUCK, return_when="FIRST_COMPLETED")
            assert len(done) == 1
        return await asyncio.gather(*asked)

    statuses = sorted(answer.status for answer in asyncio.run(three()))
    assert statuses == [200, 200, 503]


# -- S12: a process that dies ----------------------------------------------------------------------


@pytest.mark.long
def test_a_process_that_is_killed_takes_no_photo_with_it(busy: Serving) -> None:
    async def killed() -> list[Answer]:
        with busy.frozen() as held:
            asked = await held_up(busy.port, room(2))
            os.kill(held[0], signal.SIGKILL)
        return await asyncio.gather(*asked)

    answers = asyncio.run(killed())
    assert sum(answer.status == 200 for answer in answers) >= len(answers) - 1
    for answer in answers:
        assert answer.status == 200 or (answer.status, answer.explained()) == (503, True)
    assert busy.ask("POST", ONE, PHOTO).status == 200


@pytest.mark.long
def test_processes_killed_while_idle_are_not_the_pictures_fault(busy: Serving) -> None:
    at_work(busy)
    for pid in busy.workers:
        os.kill(pid, signal.SIGKILL)
    answer = busy.ask("POST", ONE, PHOTO)
    assert answer.status == 200, answer.body


# -- S9: long runs ---------------------------------------------------------------------------------


@pytest.mark.long
def test_nothing_grows(busy: Serving) -> None:
    """A leak of 4 KB for each request would show; the full size is benchmarks/soak.py."""
    body, kind = form(("a.jpg", PHOTO))
    requests: list[tuple[Any, ...]] = [
        ("POST", ONE, PHOTO), ("POST", ONE, body, kind), ("POST", ONE, b"hello"),
        ("GET", "/api/v1/models"), ("GET", "/nothing"), ("POST", ONE, PHOTO[:500]),
        ("POST", ONE, b"x", {"Content-Length": "30000000"}), ("GET", "/gradio/config"),
    ]  # fmt: skip

    async def some(count: int) -> None:
        async def line(number: int) -> None:
            for turn in range(number, count, 4):
                words = requests[turn % len(requests)]
                answer = await ask(busy.port, *words)
                assert answer.status in (200, 404, 413, 415, 422), answer.body

        await asyncio.gather(*map(line, range(4)))

    def size() -> list[int]:
        return [memory(pid) for pid in (busy.pid, *busy.workers)]

    asyncio.run(some(400))
    before, open_before, threads_before = size(), files(busy.pid), threads(busy.pid)
    asyncio.run(some(1000))
    grown = [now - then for now, then in zip(size(), before, strict=True)]
    assert max(grown) < 4_000_000, grown
    assert files(busy.pid) <= open_before + 2
    assert threads(busy.pid) <= threads_before + 2


# -- S7 and M6: the beginning ----------------------------------------------------------------------


def test_a_model_that_fails_its_self_test_is_not_served(
    model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = shutil.copytree(model_dir, tmp_path / "tiny")
    rewrite(place, temperature=4.0)
    with socket.socket() as taken:
        taken.bind((HERE, 0))
        port = taken.getsockname()[1]
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(connected, port, done := threading.Event())
        try:
            code = main.main(["serve", str(place), "--port", str(port)])
        finally:
            done.set()
    assert asked.result() == 0
    assert code == 3
    said = capsys.readouterr().err
    assert said == "bears: MODEL_SELF_TEST_FAILED: the temperature is another one\n"


def connected(port: int, done: threading.Event) -> int:
    """How often somebody was let in before it was done, of tries all the time."""
    times = 0
    while not done.wait(0.05):
        with contextlib.suppress(OSError):
            socket.create_connection((HERE, port), 1).close()
            times += 1
    return times


@pytest.mark.long
def test_what_is_imported_is_not_searched_for_garbage_again(model_dir: Path) -> None:
    """A full collection over gradio and all else stops everybody for a fifth of a second."""
    program = f"""
import gc
from pathlib import Path
from bear_classifier.serve import uvicorn_server
async def begun(self, sockets):
    print(gc.get_freeze_count(), len(gc.get_objects()))
uvicorn_server.Server.serve = begun
uvicorn_server.serve(Path({str(model_dir)!r}), {HERE!r}, 0, uvicorn_server.ServeConfig())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, encoding="utf-8")
    frozen, left = map(int, done.stdout.splitlines()[-1].split())
    assert frozen > 10 * left


def test_a_taken_port_is_a_sentence(model_dir: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind((HERE, 0))
        taken.listen()
        port = taken.getsockname()[1]
        words = [sys.executable, "-m", "bear_classifier", "serve", str(model_dir), "--port"]
        done = subprocess.run(
            [*words, str(port)], capture_output=True, encoding="utf-8", cwd=tmp_path
        )
    assert done.returncode == 2
    assert f"PORT_TAKEN: cannot listen on {HERE}:{port}" in done.stderr


def test_no_answer_waits_for_the_last_ones_receipt() -> None:
    """Nagle's algorithm and delayed receipts together cost 40 ms an answer."""
    found: list[int] = []

    async def met(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = writer.get_extra_info("socket")
        found.append(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    async def visit() -> None:
        with listening(HERE, 0) as listener:
            async with await asyncio.start_server(met, sock=listener):
                reader, writer = await asyncio.open_connection(*listener.getsockname()[:2])
                assert await reader.read() == b""
                writer.close()

    asyncio.run(visit())
    assert found and found[0]


class Here:
    """An application in a thread of this process, for what a test changes in the code.

    Usage: `with Here(app, service) as server: asyncio.run(ask(server.port, "GET", "/livez"))`"""

    def __init__(self, app: Any, service: Any) -> None:
        self.listener = listening(HERE, 0)
        self.port = self.listener.getsockname()[1]
        self.server = uvicorn_server.Server(uvicorn_server.uvicorn_config(app), service)
        self.thread = threading.Thread(target=self._serve)

    def _serve(self) -> None:
        asyncio.run(self.server.serve(sockets=[self.listener]))

    def __enter__(self) -> Here:
        self.thread.start()
        until(lambda: self.server.started or not self.thread.is_alive(), "it does not start")
        return self

    def __exit__(self, *_: object) -> None:
        self.server.handle_exit(signal.SIGTERM, None)
        self.thread.join(STOP)
        assert not self.thread.is_alive()


def test_who_starts_a_slow_model_hears_that_a_stop_does_not_wait_for_it() -> None:
    assert uvicorn_server.cut_off(uvicorn_server.GRACE) == ""
    words = uvicorn_server.cut_off(25.0)
    assert "slowest answer takes 25 s here, and a stop waits 17 s at most" in words
    assert (
        uvicorn_server.GRACE + uvicorn_server.uvicorn_config(None).timeout_graceful_shutdown <= 20
    )  # type: ignore[arg-type]


class Told(Service):
    """Is ready, and answers, when it is told to."""

    def __init__(self, place: Path) -> None:
        super().__init__(served_models(place), 2)
        self.ready = self.free = False

    async def check(self) -> None:
        while not self.ready:
            await asyncio.sleep(0.01)
        self.checked = True

    async def _ask(self, header: dict[str, str], photo: bytes) -> dict[str, Any]:
        while not self.free:
            await asyncio.sleep(0.01)
        shares = {"black": 1.0}
        return {"label": "black", "confidence": 1.0, "probabilities": shares, "accepted": True,
                "reason": "ok", "sentence": "Black."}  # fmt: skip


@pytest.fixture
def told(model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Told:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return Told(model_dir)


@contextlib.contextmanager
def here(service: Told) -> Iterator[Here]:
    with Here(server.make_app(service), service) as found:
        yield found


def test_it_says_when_it_is_ready_and_when_no_more(told: Told) -> None:
    async def life(port: int) -> None:
        ready = await ask(port, "GET", "/readyz")
        assert (ready.status, ready.json()) == (503, {"status": "starting"})
        assert (await ask(port, "GET", "/livez")).status == 200
        early = await ask(port, "POST", ONE, PHOTO)
        assert (early.status, early.json()["code"]) == (503, "STARTING")
        assert early.headers["retry-after"] == "10"
        told.ready = True
        while (await ask(port, "GET", "/readyz")).status != 200:
            await asyncio.sleep(0.01)
        under_way = asyncio.create_task(ask(port, "POST", ONE, PHOTO))
        while await inside(port) < 1:
            await asyncio.sleep(0.01)
        assert (await ask(port, "GET", "/livez")).status == 200
        told.stop()
        ready = await ask(port, "GET", "/readyz")
        assert (ready.status, ready.json()) == (503, {"status": "stopping"})
        assert (await ask(port, "GET", "/livez")).status == 200
        assert (await ask(port, "POST", f"{GRADIO}/queue/join", b"{}", JSON)).status == 503
        await asyncio.sleep(uvicorn_server.NOTICE + 0.3)
        assert not under_way.done()
        told.free = True
        assert (await under_way).status == 200

    with here(told) as found:
        asyncio.run(life(found.port))


def test_a_page_that_is_open_does_not_hold_up_the_end(
    told: Told, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """gradio's page keeps a connection open for as long as it is shown; that is no error either."""
    monkeypatch.setattr(uvicorn_server, "GRACE", 10 * STOP)  # nobody is waited for so long

    async def shown(found: Here) -> None:
        async with Line(found.port) as line:
            line.writer.write(head("GET", f"{GRADIO}/heartbeat/abc"))
            assert (await line.head())[0] == 200
            found.server.handle_exit(signal.SIGTERM, None)
            await asyncio.to_thread(found.thread.join, STOP)
            assert not found.thread.is_alive()

    told.ready = told.free = True
    with here(told) as found:
        asyncio.run(shown(found))
    assert [row.getMessage() for row in caplog.records if row.levelno >= logging.ERROR] == []


@pytest.mark.long
def test_a_second_signal_ends_it_at_once(told: Told) -> None:
    async def twice(found: Here) -> None:
        under_way = asyncio.create_task(ask(found.port, "POST", ONE, PHOTO))
        while await inside(found.port) < 1:
            await asyncio.sleep(0.01)
        found.server.handle_exit(signal.SIGTERM, None)
        await asyncio.to_thread(found.thread.join, uvicorn_server.NOTICE + 1)
        assert found.thread.is_alive(), "it did not wait for who is inside"
        found.server.handle_exit(signal.SIGTERM, None)
        await asyncio.to_thread(found.thread.join, STUCK)
        assert not found.thread.is_alive()
        await asyncio.wait([under_way], timeout=STUCK)
        assert under_way.done(), "a connection is left open"

    told.ready = True
    with here(told) as found:
        until(lambda: told.checked, "it is not ready")
        asyncio.run(twice(found))


# -- S6: who is slow -------------------------------------------------------------------------------


@pytest.mark.long
def test_who_sends_no_whole_request_is_dropped(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HEADER_SECONDS", 1.0)
    whole = head("POST", ONE, PHOTO)
    starts = [b"", b"G", b"GET /livez HTTP/1.1\r\n", whole[:-2], b"POST "]

    async def half(port: int, start: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(HERE, port)
        writer.write(start)
        said = await asyncio.wait_for(reader.read(), STUCK)
        writer.close()
        return said

    async def drip(port: int) -> bytes:
        reader, writer = await asyncio.open_connection(HERE, port)
        said = asyncio.create_task(reader.read())
        writer.write(b"GET /livez HTTP/1.1\r\n")
        end = time.monotonic() + STUCK
        while not said.done():
            assert time.monotonic() < end, "it is never dropped"
            writer.write(b"X-Slow: a\r\n")
            await asyncio.sleep(0.1)
        writer.close()
        return said.result() if not said.exception() else b""

    async def kept(port: int) -> bytes:
        async with Line(port) as line:
            assert (await line.ask("GET", "/livez")).status == 200
            return await asyncio.wait_for(line.reader.read(), STUCK)

    async def all_kinds(port: int) -> None:
        slow = [asyncio.create_task(half(port, start)) for start in starts * 10]
        dripping = [asyncio.create_task(drip(port)) for _ in range(5)]
        idle = [asyncio.create_task(kept(port)) for _ in range(5)]
        await asyncio.sleep(0.1)
        assert (await ask(port, "POST", ONE, PHOTO)).status == 200
        for start, said in zip(starts * 10, await asyncio.gather(*slow), strict=True):
            assert said.startswith(b"HTTP/1.1 408"), start
        await asyncio.gather(*dripping)
        assert await asyncio.gather(*idle) == [b""] * 5
        assert len(found.server.server_state.connections) == 0

    told.ready = told.free = True
    with here(told) as found:
        until(lambda: told.checked, "it is not ready")
        asyncio.run(all_kinds(found.port))


def small_buffers(server: Here) -> None:
    """The system then takes little of an answer that nobody reads."""
    server.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)


def unread(port: int, photos: int = 60, letters: int = 4500) -> socket.socket:
    """A client that sends a ZIP, the answers to which fill all buffers, and takes none of them."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for number in range(photos):
            archive.writestr(f"{number:03d}{chr(1) * letters}", b"x")  # six letters each in JSON
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    client.connect((HERE, port))
    kind = {"Content-Type": "application/zip"}
    client.sendall(head("POST", MANY, packed.getvalue(), kind) + packed.getvalue())
    return client


@pytest.mark.long
def test_who_takes_no_answer_is_given_up(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two such clients would hold both places for batches for ever, and the end, too."""
    monkeypatch.setattr(uvicorn_server, "UNREAD", 1.0)
    told.ready = told.free = told.checked = True
    body, kind = form(("a.jpg", PHOTO))

    def answered(port: int) -> bool:
        return asyncio.run(ask(port, "POST", MANY, body, kind)).status == 200

    with here(told) as found:
        small_buffers(found)
        clients = [unread(found.port) for _ in range(2)]
        until(lambda: not answered(found.port), "they are not held up")
        until(lambda: answered(found.port), "their places stay taken")
        assert asyncio.run(inside(found.port)) == 0
        for client in clients:
            taken = b""
            with contextlib.suppress(ConnectionResetError):
                while part := client.recv(65_536):
                    taken += part
            assert taken.startswith(b"HTTP/1.1 200") and not taken.endswith(b"0\r\n\r\n")
            client.close()


def open_ones(server: Here) -> list[uvicorn_server.Patient]:
    return list(server.server.server_state.connections)


def waits(connection: uvicorn_server.Patient) -> int:
    return connection.transport.get_write_buffer_size()


def test_nor_does_he_hold_up_the_end(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("UNREAD", 10 * STOP), ("GRACE", 10 * STOP), ("HURRIED", 1.0)):
        monkeypatch.setattr(uvicorn_server, name, seconds)
    told.ready = told.free = told.checked = True
    with here(told) as found:
        small_buffers(found)
        with unread(found.port):
            until(lambda: any(waits(one) for one in open_ones(found)), "nothing waits for him")
            found.server.handle_exit(signal.SIGTERM, None)
            found.thread.join(STOP)
            assert not found.thread.is_alive()


@pytest.mark.long
def test_who_reads_slowly_gets_all_of_it(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uvicorn_server, "UNREAD", 1.0)
    told.ready = told.free = told.checked = True
    with here(told) as found:
        small_buffers(found)
        client, taken = unread(found.port, 1, 40_000), b""  # a row that waits for seconds
        while not taken.endswith(b"0\r\n\r\n"):
            time.sleep(0.03)
            part = client.recv(16_384)
            assert part, "it was given up"
            taken += part
        assert taken.count(b'"name"') == 1
        client.close()


@pytest.mark.long
def test_who_sends_a_body_too_slowly_is_told(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BODY_SECONDS", 0.5)

    async def slow(port: int, path: str) -> Answer:
        async with Line(port) as line:
            line.writer.write(head("POST", path, PHOTO) + PHOTO[:100])
            status, headers = await asyncio.wait_for(line.head(), 20)
            parts = [part async for part in line.parts("POST", status, headers)]
            assert headers["connection"] == "close"  # at once, not when the next request is late
            assert await asyncio.wait_for(line.reader.read(), STUCK) == b""
            return Answer(status, headers, b"".join(parts), 0)

    told.ready = told.free = True
    with here(told) as found:
        until(lambda: told.checked, "it is not ready")
        for path in (ONE, MANY, f"{GRADIO}/upload", f"{GRADIO}/queue/join"):
            answer = asyncio.run(slow(found.port, path))
            assert (answer.status, answer.json()["code"]) == (408, "TOO_SLOW"), path
            assert answer.explained()


# -- S10: what is deleted --------------------------------------------------------------------------


def test_uploads_are_deleted_whatever_happens(
    told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while others come and go."""
    monkeypatch.setattr(server, "_KEEP", 0.3)
    monkeypatch.setattr(server, "_SWEEP", 0.02)

    def come_and_go() -> None:
        (folder,) = tmp_path.glob("bears-uploads-*")
        for _ in range(30):
            for number in range(50):
                (folder / f"{number}.jpg").write_bytes(b"x")
            for number in range(50):
                (folder / f"{number}.jpg").unlink(missing_ok=True)

    told.ready = told.free = True
    with here(told) as found:
        until(lambda: told.checked, "it is not ready")
        come_and_go()
        upload, kind = form(("a.jpg", PHOTO), field="files")
        answer = asyncio.run(ask(found.port, "POST", f"{GRADIO}/upload", upload, kind))
        path = Path(answer.json()[0])
        until(lambda: not path.exists(), "it lies there still")
        left = asyncio.run(ask(found.port, "POST", f"{GRADIO}/upload", upload, kind)).json()[0]
        assert Path(left).exists()
    assert not list(tmp_path.glob("bears-uploads-*"))


# -- S8: the end -----------------------------------------------------------------------------------

TAKEN = {"Status.IN_QUEUE", "Status.PROCESSING"}


@pytest.mark.long
def test_all_who_were_let_in_are_answered_before_the_end(busy: Serving, tmp_path: Path) -> None:
    """The last test of this file, as it ends the server."""
    gradio_client = pytest.importorskip("gradio_client")
    client = gradio_client.Client(f"http://{HERE}:{busy.port}/gradio/", verbose=False)
    jobs: list[Any] = []

    def taken() -> bool:
        return all(str(job.status().code) in TAKEN for job in jobs)

    async def end() -> tuple[list[Answer], list[Answer]]:
        with busy.frozen():
            asked = await held_up(busy.port, room(1))
            for seed in range(4):
                path = tmp_path / f"{seed}.jpg"
                path.write_bytes(saved(drawn(seed=seed), "JPEG"))
                photo = gradio_client.handle_file(str(path))
                jobs.append(client.submit(photo, api_name="/predict"))
            await asyncio.to_thread(until, taken, "gradio does not take them")
            busy.process.send_signal(signal.SIGTERM)
            late = [
                await ask(busy.port, *words)
                for words in (("GET", "/readyz"), ("POST", ONE, PHOTO), ("GET", "/livez"))
            ]
            await asyncio.sleep(uvicorn_server.NOTICE + 3)  # longer than anybody waits by habit
        return await asyncio.gather(*asked), late

    at_work(busy)
    answers, late = asyncio.run(end())
    assert [answer.status for answer in answers] == [200] * room(1)
    assert (late[0].status, late[0].json()) == (503, {"status": "stopping"})
    assert (late[1].status, late[1].json()["code"]) == (503, "STOPPING")
    assert int(late[1].headers["retry-after"]) > 0
    assert late[2].status == 200
    failed = [str(error) for job in jobs if (error := job.exception(STUCK))]
    assert failed == [], "gradio had taken them"
    client.close()
    assert busy.wait() == 0
    assert busy.left_behind == []
    assert not list((busy.folder / "tmp").glob("bears-uploads-*"))

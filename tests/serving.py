"""`bears serve` as a process of its own, a plain HTTP client, and what Linux tells of a process.

    with Serving(bundle, folder, max_waiting=3) as server:
        answer = server.ask("POST", "/api/v1/classify", photo)
        answer.status, answer.headers["retry-after"], answer.json()["label"]
        server.pid, server.workers, server.log()
    server.code, server.connected, server.left_behind    # of one that was stopped

The client sends each path and each byte as it is given: nothing is quoted, joined or put right.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from waiting import until

HERE = "127.0.0.1"
STOP = 90.0  # seconds after which a server that should end is taken for stuck
PART = 65_536  # bytes sent at once
_SPY = """import os, sys
def note(event, words, file=os.environ["SPY"]):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
        with open(file, "a") as notes:
            notes.write(f"{event} {words[1:] if event == 'socket.connect' else words}\\n")
sys.addaudithook(note)
"""


@dataclass(frozen=True)
class Answer:
    """headers: names in lower case; seconds: from the first byte sent to the last one received."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float

    def json(self) -> Any:
        return json.loads(self.body)

    def explained(self) -> bool:
        """Whether it is an error that says why, to programs, to people and in the log."""
        try:
            said = self.json()
        except ValueError:
            return False
        return (
            isinstance(said, dict)
            and set(said) == {"code", "message", "request_id"}
            and all(isinstance(word, str) and word for word in said.values())
            and self.headers.get("x-request-id") == said["request_id"]
        )


class Line:
    """A connection for one request after the other. Usage: `async with Line(port) as line:`"""

    def __init__(self, port: int) -> None:
        self.port = port

    async def __aenter__(self) -> Line:
        self.reader, self.writer = await asyncio.open_connection(HERE, self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()

    async def ask(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """body: parts instead of bytes come in chunks, without a length. Raises OSError and
        EOFError where there is no whole answer."""
        begin = time.perf_counter()
        self.sent = 0
        sending = asyncio.ensure_future(self._send(method, path, body, headers or {}))
        try:
            status, found = await self.head()
            parts = [part async for part in self.parts(method, status, found)]
        finally:
            sending.cancel()
            await asyncio.wait([sending])
        return Answer(status, found, b"".join(parts), time.perf_counter() - begin)

    async def _send(
        self, method: str, path: str, body: bytes | Iterable[bytes], headers: Mapping[str, str]
    ) -> None:
        with contextlib.suppress(OSError):  # an answer may come all the same
            self.writer.write(head(method, path, body, headers))
            if isinstance(body, bytes):
                parts = (body[at : at + PART] for at in range(0, len(body), PART))
            else:
                parts = (b"%x\r\n%b\r\n" % (len(part), part) for part in body if part)
            for part in parts:
                self.writer.write(part)
                await self.writer.drain()
                self.sent += len(part)
            if not isinstance(body, bytes):
                self.writer.write(b"0\r\n\r\n")
            await self.writer.drain()

    async def head(self) -> tuple[int, dict[str, str]]:
        first, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines if line)
        return int(first.split()[1]), {name.lower(): value.strip() for name, _, value in pairs}

    async def parts(
        self, method: str, status: int, headers: Mapping[str, str]
    ) -> AsyncIterator[bytes]:
        if method == "HEAD" or status in (204, 304):
            return
        if headers.get("transfer-encoding") == "chunked":
            while size := int(await self.reader.readline(), 16):
                yield (await self.reader.readexactly(size + 2))[:-2]
            await self.reader.readline()
        elif "content-length" in headers:
            yield await self.reader.readexactly(int(headers["content-length"]))
        else:
            yield await self.reader.read()


def head(
    method: str, path: str, body: bytes | Iterable[bytes] = b"", headers: Mapping[str, str] = {}
) -> bytes:
    """The first line and the headers of a request."""
    lines = {"Host": HERE} | dict(headers)
    if not isinstance(body, bytes):
        lines["Transfer-Encoding"] = "chunked"
    elif body or method == "POST":
        lines.setdefault("Content-Length", str(len(body)))
    named = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {path} HTTP/1.1\r\n{named}\r\n".encode("latin-1")


async def ask(
    port: int,
    method: str,
    path: str,
    body: bytes | Iterable[bytes] = b"",
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """One request on a connection of its own."""
    async with Line(port) as line:
        return await line.ask(method, path, body, headers)


def form(*files: tuple[str, bytes], field: str = "file") -> tuple[bytes, dict[str, str]]:
    """Names and contents as a browser sends them: the body and its headers."""
    parts = [
        f'--B0undary\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n'
        "Content-Type: image/jpeg\r\n\r\n".encode()
        + data
        + b"\r\n"
        for name, data in files
    ]
    kind = {"Content-Type": "multipart/form-data; boundary=B0undary"}
    return b"".join(parts) + b"--B0undary--\r\n", kind


class Serving:
    """settings: of the table [serve]. folder: where it runs; what it writes lies in folder/tmp."""

    def __init__(self, bundle: Path, folder: Path, **settings: int | str) -> None:
        self.folder, self.code = folder, None
        for name in ("tmp", "spy"):
            (folder / name).mkdir(parents=True)
        (folder / "spy" / "sitecustomize.py").write_text(_SPY, encoding="utf-8")
        lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
        project = '[classes]\na = ["a"]\nb = ["b"]\n[serve]\n' + "\n".join(lines)
        (folder / "bears.toml").write_text(project, encoding="utf-8")
        path = os.pathsep.join([str(folder / "spy"), str(Path(__file__).resolve().parents[1])])
        environment = os.environ | {
            "PYTHONPATH": path,
            "SPY": str(folder / "connects"),
            "TMPDIR": str(folder / "tmp"),
            "OMP_NUM_THREADS": "1",
        }
        words = ["-m", "bear_classifier", "serve", str(bundle.resolve()), "--port", "0"]
        with (folder / "log").open("w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [sys.executable, *words], cwd=folder, env=environment, encoding="utf-8",
                stdout=subprocess.PIPE, stderr=log,
            )  # fmt: skip
        self.pid = self.process.pid

    def __enter__(self) -> Serving:
        try:
            assert self.process.stdout
            said = self.process.stdout.readline()
            assert "http://" in said, f"it did not start: {self.log()[-3000:]}"
            self.port = int(said.partition("://")[2].split()[0].rpartition(":")[2])
            until(self._is_ready, "it does not become ready")
            self.first_workers = self.workers
        except BaseException:
            self.kill()
            raise
        return self

    def _is_ready(self) -> bool:
        with contextlib.suppress(OSError, EOFError):
            return self.ask("GET", "/readyz").status == 200
        return False

    def __exit__(self, *_: object) -> None:
        if self.code is None:
            self.stop()

    def stop(self) -> int:
        """Ask it to end, and wait. Returns the exit code."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        try:
            self.code = self.process.wait(STOP)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        if self.process.stdout:
            self.process.stdout.close()
        self.left_behind, self.connected = self.left(), self.connects()
        return self.code

    def kill(self) -> None:
        for pid in (*self.workers, self.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.code = self.process.wait()

    @property
    def workers(self) -> list[int]:
        return children(self.pid)

    @property
    def upload_folder(self) -> Path:
        (found,) = (self.folder / "tmp").glob("bears-uploads-*")
        return found

    def left(self) -> list[str]:
        """Files that it and its libraries left among what is temporary."""
        return [path.name for path in (self.folder / "tmp").rglob("*") if path.is_file()]

    def log(self) -> str:
        return (self.folder / "log").read_text(encoding="utf-8")

    def connects(self) -> list[str]:
        """Whom it or its workers connected to, or asked the name of."""
        notes = self.folder / "connects"
        return notes.read_text(encoding="utf-8").splitlines() if notes.exists() else []

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        return asyncio.run(asyncio.wait_for(ask(self.port, method, path, body, headers), 60))

    @contextlib.contextmanager
    def frozen(self) -> Iterator[list[int]]:
        """Nothing is answered meanwhile, as all workers stand still. Gives their pids."""
        held = self.workers
        for pid in held:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield held
        finally:
            for pid in held:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)


def held_port() -> socket.socket:
    """A port of loopback that nobody has a reason to connect to."""
    listener = socket.create_server((HERE, 0))
    listener.setblocking(False)
    return listener


def children(pid: int) -> list[int]:
    """Its processes, and theirs."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent = path.read_text(encoding="utf-8").rpartition(")")[2].split()[:2]
            if state != "Z":
                parents[int(path.parent.name)] = int(parent)
    found, new = [], [pid]
    while new:
        new = [child for child, parent in parents.items() if parent in new]
        found += new
    return found


def memory(pid: int, what: str = "VmRSS") -> int:
    """Bytes. what: "VmHWM" for the peak."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(what)).split()[1])


def forget_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="utf-8")


def files(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def threads(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/task").iterdir())

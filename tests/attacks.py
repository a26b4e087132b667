"""What is sent to a service by people who mean it no good: paths, addresses, archives."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

HERE = "127.0.0.1"
GRADIO = "/gradio/gradio_api"
SECRET = b"the-secret-of-the-server"
TOLD = (SECRET, b"root:", b"import ", b"PATH=", b"[classes]")  # of what no answer may hold a part


def traversals(port: int, secret: Path, uploads: Path) -> list[str]:
    """Ways to ask for a file that is nobody's to give. uploads: with link.txt to the secret."""
    up = "../" * 12
    plain = [str(secret), f"{up}{secret}", "/proc/self/environ", "/etc/passwd", "bears.toml", ".",
             f"{uploads}/../../secret.txt", f"{uploads}/link.txt", f"{uploads}",
             "/proc/self/cwd/secret.txt", f"{secret}%00.jpg", f"file://{secret}", f"//{secret}",
             f"\\\\{HERE}\\c$\\secret.txt", f"..\\..\\{secret}", "~/.ssh/id_rsa",
             str(Path(__file__).resolve()), f"http://{HERE}:{port}/livez"]  # fmt: skip
    encoded = [name.replace("/", "%2f").replace(".", "%2e") for name in plain[1:4]]
    twice = [name.replace("/", "%252f").replace(".", "%252e") for name in plain[1:4]]
    found = [f"{GRADIO}/file={name}" for name in (*plain, *encoded, *twice)]
    found += [f"{GRADIO}/file/{name}" for name in plain[:3]]
    places = ["/gradio/static", "/gradio/assets", "/gradio/svelte", "/gradio", "/api/v1/models",
              f"{GRADIO}/custom_component/1/x/y", f"{GRADIO}/stream", "/page.css"]  # fmt: skip
    names = [f"{up}etc/passwd", f"{up}{secret}".replace("/", "%2f"), "..%5c..%5csecret.txt",
             "%252e%252e/%252e%252e/secret.txt", "../server.py", str(secret)[1:]]  # fmt: skip
    found += [f"{place}/{name}" for place in places for name in names]
    found += [f"/{name}" for name in ("page.py", "..%2fserver.py", "server.py", "%2e%2e/api.py",
                                      "page.html%00.js", "page.html/../server.py")]  # fmt: skip
    return [*found, "/gradio/monitoring", "/gradio/monitoring/summary",
            f"{GRADIO}/proxy=http://{HERE}:{port}/livez", "/docs", "/redoc",
            "/api/v1/models/tiny/../../../bundle.json/card"]  # fmt: skip


def addresses(port: int) -> list[str]:
    """Of a port on loopback that somebody listens at, and others."""
    return [f"http://{HERE}:{port}/a.jpg", f"  HTTP://{HERE}:{port}/", f"//{HERE}:{port}/a",
            f"http://localhost:{port}/a.jpg", f"ftp://{HERE}:{port}/a.jpg",
            f"\\\\{HERE}@{port}\\a.jpg", "file:///etc/hostname",
            "data:image/jpeg;base64,/9j/4AAQ"]  # fmt: skip


def shapes(address: Any) -> list[dict[str, Any]]:
    file = {"path": address, "meta": {"_type": "gradio.FileData"}}
    both = {"path": None, "url": address, "meta": {"_type": "gradio.FileData"}}
    return [
        {"data": [address]},
        {"data": [file]},
        {"data": [{"path": address}]},
        {"data": [both]},
        {"data": [{"url": address}]},
        {"data": [[file, file]]},
        {"data": [[[{"deep": {"image": file}}]]], "batched": True},
        {"data": [None], "event_data": {"target": file}},
    ]


def zipped(files: dict[str, bytes], how: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", how) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return file.getvalue()


def bomb(how: int, megabytes: int) -> bytes:
    """One entry of zeros."""
    file = io.BytesIO()
    with (
        zipfile.ZipFile(file, "w", how) as archive,
        archive.open("a.jpg", "w", force_zip64=True) as entry,
    ):
        for _ in range(megabytes):
            entry.write(bytes(1_000_000))
    return file.getvalue()


def gigabyte(announced: int = 1_000_000_000) -> bytes:
    """As `bomb`, quickly made: the same packed megabyte again and again.

    announced: the bytes that its entry says it has."""
    packer = zlib.compressobj(9, wbits=-15)
    packed = (packer.compress(bytes(1_000_000)) + packer.flush(zlib.Z_FULL_FLUSH)) * 1000
    packed += packer.flush()
    about = struct.pack("<3H3L2H", 8, 0, 33, 0, len(packed), announced, 5, 0)
    first = b"PK\3\4" + struct.pack("<2H", 20, 0) + about + b"a.jpg"
    listed = b"PK\1\2" + struct.pack("<3H", 20, 20, 0) + about
    listed += struct.pack("<3H2L", 0, 0, 0, 0, 0) + b"a.jpg"
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(listed), len(first) + len(packed), 0)
    return first + packed + listed + end


def long_list(entries: int) -> bytes:
    """A ZIP that is all contents: so many names, and nothing behind them; 47 bytes each."""
    entry = struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, *[0] * 7, 1, *[0] * 6) + b"a"
    listed = entry * entries
    end = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, entries, entries, len(listed), 0)
    end += struct.pack("<4sLQL", b"PK\6\7", 0, len(listed), 1)
    last = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, *[0xFFFF] * 2, *[0xFFFFFFFF] * 2, 0)
    return listed + end + last

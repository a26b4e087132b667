"""What gradio is asked through here: only what its page and its client need, and never to fetch.

gradio downloads addresses that stand in a request, serves files by path, and keeps what was sent.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bear_classifier.apps.service import Refused

PLACE = "/gradio"
KEPT = 200_000_000  # bytes of uploads on the disk at once
_NAME = r"[\w.@-]+"
_GET = re.compile(
    rf"/?|/(config|theme\.css|favicon\.ico|manifest\.json)/?|/(assets|static|svelte)(/{_NAME})+"
    rf"|/gradio_api/(info|startup-events|queue/data|app_id|upload_progress)/?"
    rf"|/gradio_api/heartbeat/{_NAME}|/gradio_api/call/predict/{_NAME}"
)
_POST = re.compile(r"/gradio_api/(upload|queue/join|call/predict|run/predict|cancel|reset)/?")
_FILE = "/gradio_api/file="


class Gate:
    """uploads: the folder in which gradio keeps what was sent."""

    def __init__(self, app: ASGIApp, uploads: Path) -> None:
        self.app, self.uploads = app, uploads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(PLACE):
            await self.app(scope, receive, send)
            return
        path = scope["path"][len(PLACE) :]
        self._known(scope["method"], path)
        if scope["method"] == "POST":
            body = await _whole(receive)
            kind = Headers(scope=scope).get("content-type", "")
            if path.startswith("/gradio_api/upload"):
                self._one(kind, body)
            else:
                body = json.dumps(inspected(body)).encode() if body else body
            scope["headers"] = [item for item in scope["headers"] if item[0] != b"content-length"]
            MutableHeaders(scope=scope)["Content-Length"] = str(len(body))
            receive = _again(body, receive)
        await self.app(scope, receive, send)

    def _known(self, method: str, path: str) -> None:
        if method in ("GET", "HEAD"):
            fine = bool(_GET.fullmatch(path)) and ".." not in path
            if path.startswith(_FILE):
                fine = self._ours(path[len(_FILE) :])
        else:
            fine = method == "POST" and bool(_POST.fullmatch(path))
        if not fine:
            raise Refused(404, "NOT_FOUND", "There is nothing here")

    def _ours(self, name: str) -> bool:
        """A file that was uploaded, named as it was told to whoever sent it: unguessable."""
        try:
            path = Path(name)
            inside = path.resolve().is_relative_to(self.uploads.resolve())
            return inside and ".." not in path.parts and path.is_file() and not path.is_symlink()
        except (OSError, ValueError):
            return False

    def _one(self, kind: str, body: bytes) -> None:
        found = re.search(r'boundary="?([^";,]{1,70})', kind)
        if not found:
            raise Refused(422, "NOT_ONE_PHOTO", "Send one picture as a form")
        if body.count(b"--" + found[1].encode("latin-1", "replace")) > 2:
            raise Refused(422, "NOT_ONE_PHOTO", "Send one picture at a time")
        if len(body) + sum(p.stat().st_size for p in _files(self.uploads)) > KEPT:
            raise Refused(503, "BUSY", "Too many pictures lie here. Try again in 60 seconds", 60)


def swept(uploads: Path, before: float) -> int:
    """Delete uploads last changed before this time (seconds since 1970), and folders left empty."""
    gone = 0
    for path in _files(uploads):
        if path.stat().st_mtime < before:
            path.unlink(missing_ok=True)
            gone += 1
    for folder in sorted((p for p in uploads.rglob("*") if p.is_dir()), reverse=True):
        if folder.stat().st_mtime < before and not any(folder.iterdir()):
            folder.rmdir()
    return gone


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def _whole(receive: Receive) -> bytes:
    """As far as the door lets it come."""
    parts, more = [], True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refused(499, "GONE", "the connection was closed before the end")
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


def _again(body: bytes, receive: Receive) -> Receive:
    told = False

    async def replay() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def inspected(body: bytes) -> Any:
    """JSON for gradio in which no file is an address that the server would fetch.

    Raises Refused. A file's `url` beside its path, which gradio's page sends, is left out."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise Refused(400, "NOT_JSON", "What was sent is not JSON") from exc
    try:
        return _without_addresses(value)
    except RecursionError as exc:
        raise Refused(400, "NOT_JSON", "What was sent is nested too deeply") from exc


def _without_addresses(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_addresses(item) for item in value]
    if isinstance(value, dict):
        if isinstance(value.get("path"), str) and not _address(value["path"]):
            value = {key: item for key, item in value.items() if key != "url"}
        return {key: _without_addresses(item) for key, item in value.items()}
    if isinstance(value, str) and _address(value):
        raise Refused(422, "NOT_A_PHOTO", "Send the picture itself, not an address")
    return value


def _address(text: str) -> bool:
    start = text.lstrip().lower()
    return "://" in start[:20] or start.startswith(("data:", "file:", "//", "\\\\"))

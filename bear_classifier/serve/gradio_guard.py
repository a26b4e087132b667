"""ASGI middleware for gradio: allowed routes and fields, no fetching of URLs.

gradio downloads addresses that stand in a request, serves files by path, and keeps what was sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bear_classifier.runtime.terminal import one_line
from bear_classifier.serve import limits
from bear_classifier.web.guard import Refused, strict_json

MAX_UPLOADS_BYTES = 200_000_000  # bytes of uploads on the disk at once
_NAME = r"[\w.@-]+"
_GET = re.compile(
    rf"/?|/(config|theme\.css|favicon\.ico|manifest\.json)/?|/(assets|static|svelte)(/{_NAME})+"
    rf"|/gradio_api/(info|startup-events|app_id)/?"
)
_STREAM = re.compile(
    rf"/gradio_api/((queue/data|upload_progress)/?|heartbeat/{_NAME}|call/predict/{_NAME})"
)
_POST = re.compile(r"/gradio_api/(upload|queue/join|call/predict|cancel|reset)/?")
_FILE = "/gradio_api/file="
_NEEDED = {  # the fields of requests to these routes; all others are left out
    "queue/join": ("data", "fn_index", "session_hash"),
    "call/predict": ("data",),
    "cancel": ("session_hash", "fn_index", "event_id"),
    "reset": ("event_id",),
}
_ALSO = {"queue/join": ("trigger_id",), "call/predict": ("session_hash",)}
_QUERY = ("session_hash", "upload_id", "all_endpoints", "__theme")
_EVENTS = (0, 1)  # of programs, and of our page
_ID = re.compile(r"[\w-]{1,100}", re.ASCII)
_LONGEST = 200  # bytes of a file's name, of which the system allows 255


def endless(path: str) -> bool:
    """Whether this route streams events for as long as the client listens."""
    return path.startswith(limits.GRADIO) and bool(_STREAM.fullmatch(path[len(limits.GRADIO) :]))


class Gate:
    """uploads: the folder in which gradio keeps what was sent."""

    def __init__(self, app: ASGIApp, uploads: Path) -> None:
        self.app, self.uploads = app, uploads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(limits.GRADIO):
            await self.app(scope, receive, send)
            return
        path = scope["path"][len(limits.GRADIO) :]
        self._known(scope["method"], path)
        scope["query_string"] = _query(scope["query_string"])
        if scope["method"] == "POST":
            request = Request({**scope, "app": self}, receive)
            try:
                body = await request.body()  # as far as the door lets it come
            except ClientDisconnect as exc:
                raise Refused(499, "GONE", "the connection was closed before the end") from exc
            if path.startswith("/gradio_api/upload"):
                await self._check_upload(request, len(body))
            else:
                route = path.removeprefix("/gradio_api/").rstrip("/")
                body = json.dumps(inspected(body, route, self._ours)).encode()
            scope["headers"] = [item for item in scope["headers"] if item[0] != b"content-length"]
            MutableHeaders(scope=scope)["Content-Length"] = str(len(body))
            receive = _again(body, receive)
        await self.app(scope, receive, send)

    def _known(self, method: str, path: str) -> None:
        if method in ("GET", "HEAD"):
            known = _GET.fullmatch(path) or _STREAM.fullmatch(path)
            fine = bool(known) and ".." not in path
            if path.startswith(_FILE):
                fine = self._ours(path[len(_FILE) :])
        else:
            fine = method == "POST" and bool(_POST.fullmatch(path))
        if not fine:
            raise Refused(404, "NOT_FOUND", "There is nothing here")

    def _ours(self, name: str) -> bool:
        """An uploaded file under the unguessable name that its sender got."""
        try:
            path = Path(name)
            inside = path.resolve().is_relative_to(self.uploads.resolve())
            return inside and ".." not in path.parts and path.is_file() and not path.is_symlink()
        except (OSError, ValueError):
            return False

    async def _check_upload(self, request: Request, size: int) -> None:
        """As gradio would read the form, whose parser breaks on what is none. size: bytes."""
        sentence = "Send one picture as a form"
        try:
            async with request.form(max_files=1, max_fields=0) as form:
                files = [value for _, value in form.multi_items() if not isinstance(value, str)]
        except HTTPException as exc:
            raise Refused(422, "NOT_ONE_PHOTO", f"{sentence}: {exc.detail}") from exc
        except (ValueError, LookupError) as exc:  # a charset that cannot be decoded with
            raise Refused(422, "NOT_ONE_PHOTO", sentence) from exc
        if len(files) != 1:
            raise Refused(422, "NOT_ONE_PHOTO", sentence)
        name = files[0].filename or ""
        if len(name.encode(errors="surrogatepass")) > _LONGEST or one_line(name) != name:
            raise Refused(422, "NOT_ONE_PHOTO", "Give the picture a shorter, plain name")
        uploads = await asyncio.to_thread(_files, self.uploads)  # there may be thousands
        if size + sum(facts.st_size for _, facts in uploads) > MAX_UPLOADS_BYTES:
            raise Refused(503, "BUSY", "Too many pictures lie here. Try again in 60 seconds", 60)


def swept(uploads: Path, before: float) -> int:
    """Delete uploads last changed before this time (seconds since 1970), and folders left empty."""
    old = [path for path, facts in _files(uploads) if facts.st_mtime < before]
    for path in old:
        path.unlink(missing_ok=True)
    folders = [Path(place) for place, _, _ in os.walk(uploads, topdown=False)]
    for folder in folders[:-1]:  # without the last one, which is that of all uploads
        with contextlib.suppress(OSError):  # a new file came
            if folder.stat().st_mtime < before:
                folder.rmdir()
    return len(old)


def _files(folder: Path) -> list[tuple[Path, os.stat_result]]:
    """Files and folders may go at any time, which `os.walk` takes and `Path.rglob` does not."""
    files = []
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                path = Path(place, name)
                files.append((path, path.stat()))
    return files


def _again(body: bytes, receive: Receive) -> Receive:
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay


def inspected(body: bytes, route: str, ours: Callable[[str], bool]) -> dict[str, Any]:
    """JSON for gradio, reduced to what it needs, and in which no file is an address that the server
    would fetch. route: such as "queue/join".

    Raises Refused. A file's `url` beside its path, which gradio's page sends, is left out."""
    try:
        value = strict_json(body)
        if not isinstance(value, dict):
            raise Refused(422, "BAD_REQUEST", "What was sent is not a JSON object")
        value = dict(_without_addresses(value, ours))
    except (ValueError, RecursionError) as exc:
        raise Refused(400, "NOT_JSON", "What was sent is not JSON") from exc
    needed = _NEEDED[route]
    fields = {name: value[name] for name in (*needed, *_ALSO.get(route, ())) if name in value}
    for name in needed:
        if name not in fields:
            raise Refused(422, "BAD_REQUEST", f"{name} is missing")
    for name, given in fields.items():
        if not _VALID[name](given):
            raise Refused(422, "BAD_REQUEST", f"{name} is none that this service knows")
    if "data" in fields:
        fields["data"] = [_photo(item) for item in fields["data"][:1]] or [None]
    return fields


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and bool(_ID.fullmatch(value))


_VALID: dict[str, Callable[[Any], bool]] = {
    "data": lambda value: isinstance(value, list),
    "fn_index": lambda value: type(value) is int and value in _EVENTS,
    "trigger_id": lambda value: value is None or (type(value) is int and abs(value) < 2**31),
    "session_hash": _is_id,
    "event_id": _is_id,
}


def _query(query: bytes) -> bytes:
    """Only the ids that gradio gave."""
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=20)
    return urlencode([(k, v) for k, v in pairs if k in _QUERY and _is_id(v)]).encode()


def _photo(item: Any) -> dict[str, Any] | None:
    """All that gradio needs; anything odd in the rest it would write into the log."""
    if item is None or (isinstance(item, dict) and item.get("path") is None):
        return None
    if not isinstance(item, dict) or not isinstance(item["path"], str):
        raise Refused(422, "NOT_A_PHOTO", "Send one picture that was uploaded")
    return {"path": item["path"], "meta": {"_type": "gradio.FileData"}}


def _without_addresses(value: Any, ours: Callable[[str], bool]) -> Any:
    if isinstance(value, list):
        return [_without_addresses(item, ours) for item in value]
    if isinstance(value, dict):
        if isinstance(value.get("path"), str) and not _address(value["path"]):
            if not ours(value["path"]):
                raise Refused(422, "NOT_A_PHOTO", "Send the picture itself, not where it lies")
            value = {key: item for key, item in value.items() if key != "url"}
        return {key: _without_addresses(item, ours) for key, item in value.items()}
    if isinstance(value, str) and _address(value):
        raise Refused(422, "NOT_A_PHOTO", "Send the picture itself, not an address")
    return value


def _address(text: str) -> bool:
    start = text.lstrip().lower()
    return "://" in start[:20] or start.startswith(("data:", "file:", "//", "\\\\"))

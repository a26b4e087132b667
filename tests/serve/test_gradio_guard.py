"""What may be asked of gradio through us."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from bear_classifier.serve import gradio_guard
from bear_classifier.web.guard import Refused


def ask(
    uploads: Path,
    method: str,
    path: str,
    body: bytes = b"",
    kind: str = "application/json",
    query: bytes = b"",
) -> tuple[dict[str, Any], bytes]:
    """Scope and body as gradio would get them, through the gate."""
    got: list[tuple[dict[str, Any], bytes]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        got.append((scope, (await receive())["body"]))

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None: ...

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query,
        "headers": [(b"content-type", kind.encode()), (b"content-length", b"9999")],
    }
    asyncio.run(gradio_guard.Gate(app, uploads)(scope, receive, send))
    return got[0]


@pytest.mark.parametrize(
    "path",
    ["", "/", "/config", "/theme.css", "/assets/index-ab.js", "/static/fonts/a.woff2",
     "/gradio_api/info", "/gradio_api/queue/data", "/gradio_api/heartbeat/abc",
     "/gradio_api/call/predict/ab12"],
)  # fmt: skip
def test_what_the_page_and_the_client_need_passes(tmp_path: Path, path: str) -> None:
    assert ask(tmp_path, "GET", f"/gradio{path}")[0]["path"] == f"/gradio{path}"


@pytest.mark.parametrize(
    "path",
    ["/gradio_api/proxy=https://example.com", "/monitoring", "/gradio_api/custom_component/1/a/b/c",
     "/assets/../../etc/passwd", "/assets/..", "/static//etc/passwd", "/gradio_api/runs", "/login",
     "/gradio_api/stream/a/b/c/playlist.m3u8", "/gradio_api/file/etc/passwd", "/openapi.json",
     "/gradio_api/file=/etc/passwd", "/gradio_api/file=../../etc/passwd", "/gradio_api/file=\0"],
)  # fmt: skip
def test_nothing_else_is_there(tmp_path: Path, path: str) -> None:
    with pytest.raises(Refused, match="NOT_FOUND"):
        ask(tmp_path, "GET", f"/gradio{path}")
    with pytest.raises(Refused, match="NOT_FOUND"):
        ask(tmp_path, "DELETE", "/gradio/gradio_api/upload")


def test_only_what_was_uploaded_is_served(tmp_path: Path) -> None:
    uploads, outside = tmp_path / "uploads", tmp_path / "secret.txt"
    (uploads / "ab").mkdir(parents=True)
    (uploads / "ab" / "photo.jpg").write_bytes(b"x")
    outside.write_text("secret", encoding="utf-8")
    (uploads / "link.jpg").symlink_to(outside)
    ask(uploads, "GET", f"/gradio/gradio_api/file={uploads}/ab/photo.jpg")
    for name in (outside, uploads / "link.jpg", uploads / "ab" / ".." / ".." / "secret.txt"):
        with pytest.raises(Refused, match="NOT_FOUND"):
            ask(uploads, "GET", f"/gradio/gradio_api/file={name}")


@pytest.mark.parametrize(
    "sent",
    [
        {"data": [{"path": "http://127.0.0.1/a.jpg"}]},
        {"data": [{"path": None, "url": "data:image/jpeg;base64,AAAA"}]},
        {"data": [{"path": None, "url": " HTTPS://example.com"}]},
        {"data": ["https://example.com/a.jpg"]},
        {"data": [[{"deep": [{"url": "ftp://a"}]}]]},
        {"data": [{"path": "file:///etc/passwd"}]},
        {"data": [{"path": "\\\\host\\share\\a.jpg"}]},
        {"data": [{"path": "//host/a.jpg"}]},
        {"data": [{"path": "/etc/passwd"}]},
    ],
)
def test_no_address_reaches_gradio(tmp_path: Path, sent: dict[str, Any]) -> None:
    with pytest.raises(Refused, match="Send the picture itself, not"):
        ask(tmp_path, "POST", "/gradio/gradio_api/queue/join", json.dumps(sent).encode())


def test_an_uploaded_file_passes_without_its_address(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    path, meta = str(tmp_path / "a.jpg"), {"_type": "gradio.FileData"}
    file = {"path": path, "url": "http://here/a.jpg", "orig_name": "holiday.jpg", "meta": meta}
    body = json.dumps({"data": [file]}).encode()
    scope, seen = ask(tmp_path, "POST", "/gradio/gradio_api/call/predict", body)
    assert json.loads(seen)["data"] == [{"path": path, "meta": meta}]
    assert dict(scope["headers"])[b"content-length"] == str(len(seen)).encode()


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 30_000 + b"]" * 30_000])
def test_what_is_no_json_is_said_to_be_none(tmp_path: Path, body: bytes) -> None:
    with pytest.raises(Refused, match="NOT_JSON"):
        ask(tmp_path, "POST", "/gradio/gradio_api/call/predict", body)


GOOD: dict[str, dict[str, Any]] = {
    "queue/join": {"data": [None], "fn_index": 0, "session_hash": "ab12", "trigger_id": 3},
    "call/predict": {"data": [None], "session_hash": "ab12"},
    "cancel": {"fn_index": 0, "session_hash": "ab12", "event_id": "ef-34"},
    "reset": {"event_id": "ef34"},
}
ODD = [None, True, -1, 1, 2, 99, 1.5, 2**70, "", " ", "a b", "x" * 101, "<b>", "..", [], {}]


@pytest.mark.parametrize("what", GOOD)
def test_what_gradio_needs_passes_and_nothing_else(tmp_path: Path, what: str) -> None:
    more = {"event_data": {"a": 1}, "oauth_token": "x", "batched": True, "simple_format": True}
    body = json.dumps({**GOOD[what], **more}).encode()
    _, seen = ask(tmp_path, "POST", f"/gradio/gradio_api/{what}", body)
    assert json.loads(seen) == GOOD[what]


@pytest.mark.parametrize("what", GOOD)
def test_odd_fields_are_refused_before_gradio_sees_them(tmp_path: Path, what: str) -> None:
    """Each of them absent, and in every way that it is not meant; gradio answers them with 500."""
    path = f"/gradio/gradio_api/{what}"
    for name in GOOD[what]:
        for odd in ODD:
            body = json.dumps({**GOOD[what], name: odd}).encode()
            known = {"trigger_id": (None, -1, 1, 2, 99), "fn_index": (1,)}.get(name, ())
            fine = odd is not True and any(odd is one or odd == one for one in known)
            if fine or (name == "data" and odd == []):
                ask(tmp_path, "POST", path, body)
                continue
            with pytest.raises(Refused) as caught:
                ask(tmp_path, "POST", path, body)
            assert (caught.value.status, caught.value.code) == (422, "BAD_REQUEST"), (name, odd)
        if name in gradio_guard._NEEDED[what]:
            less = {key: value for key, value in GOOD[what].items() if key != name}
            with pytest.raises(Refused, match=f"{name} is missing"):
                ask(tmp_path, "POST", path, json.dumps(less).encode())


@pytest.mark.parametrize(
    "body",
    [b'{"data": NaN}', b'{"data": [Infinity]}', b'{"data": [1e999]}', b'{"event_id": "\\ud800"}',
     b'{"\\udfff": 1}', b"", b'{"data": [1' + b"0" * 5000 + b"]}"],
)  # fmt: skip
@pytest.mark.parametrize("what", GOOD)
def test_json_that_is_none_by_the_standard(tmp_path: Path, what: str, body: bytes) -> None:
    with pytest.raises(Refused, match="NOT_JSON"):
        ask(tmp_path, "POST", f"/gradio/gradio_api/{what}", body)


@pytest.mark.parametrize("body", [b"null", b"[]", b"7", b'"x"'])
def test_json_that_is_no_table(tmp_path: Path, body: bytes) -> None:
    with pytest.raises(Refused, match="not a JSON object"):
        ask(tmp_path, "POST", "/gradio/gradio_api/queue/join", body)


def test_of_a_query_only_ids_pass(tmp_path: Path) -> None:
    query = b"session_hash=ab12&upload_id=%00&x=1&session_hash=" + b"a" * 200
    scope, _ = ask(tmp_path, "GET", "/gradio/gradio_api/queue/data", query=query)
    assert scope["query_string"] == b"session_hash=ab12"


def form(*files: bytes, name: bytes = b"a") -> bytes:
    part = b'--XX\r\nContent-Disposition: form-data; name="files"; filename="%s"\r\n\r\n%s\r\n'
    return b"".join(part % (name, file) for file in files) + b"--XX--\r\n"


def test_one_picture_at_a_time(tmp_path: Path) -> None:
    kind, path = "multipart/form-data; boundary=XX", "/gradio/gradio_api/upload"
    assert ask(tmp_path, "POST", path, form(b"a"), kind)[1] == form(b"a")
    with pytest.raises(Refused, match="NOT_ONE_PHOTO"):
        ask(tmp_path, "POST", path, form(b"a", b"b"), kind)
    with pytest.raises(Refused, match="NOT_ONE_PHOTO"):
        ask(tmp_path, "POST", path, form(b"a"), "text/plain")


@pytest.mark.parametrize("name", [b"a" * 201, "ä".encode() * 101, b"a\x1b[31m", b"a\tb"])
def test_names_that_are_no_names_of_files(tmp_path: Path, name: bytes) -> None:
    kind, path = "multipart/form-data; boundary=XX", "/gradio/gradio_api/upload"
    with pytest.raises(Refused, match="shorter, plain name"):
        ask(tmp_path, "POST", path, form(b"a", name=name), kind)


@pytest.mark.parametrize("charset", ["undefined", "punycode", "hex", "rot13", "idna", "utf-7"])
def test_a_form_in_a_charset_that_is_none(tmp_path: Path, charset: str) -> None:
    kind = f"multipart/form-data; boundary=XX; charset={charset}"
    with contextlib.suppress(Refused):  # a few can be read all the same
        ask(tmp_path, "POST", "/gradio/gradio_api/upload", form(b"a", name=b"\xff\xfe"), kind)


def test_uploads_do_not_fill_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"x" * 1000)
    monkeypatch.setattr(gradio_guard, "MAX_UPLOADS_BYTES", 1050)
    with pytest.raises(Refused, match="Too many pictures lie here") as caught:
        ask(tmp_path, "POST", "/gradio/gradio_api/upload", form(b"a"),
            "multipart/form-data; boundary=XX")  # fmt: skip
    assert (caught.value.status, caught.value.after) == (503, 60)


def test_old_uploads_and_empty_folders_go(tmp_path: Path) -> None:
    for name, age in (("old", 1000), ("new", 0)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jpg").write_bytes(b"x")
        os.utime(tmp_path / name / "a.jpg", (time.time() - age,) * 2)
    (tmp_path / "empty").mkdir()
    os.utime(tmp_path / "empty", (time.time() - 1000,) * 2)
    assert gradio_guard.swept(tmp_path, time.time() - 500) == 1
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a.jpg", "new", "old"]
    gradio_guard.swept(tmp_path, time.time() + 1)
    assert list(tmp_path.iterdir()) == []


def test_folders_that_go_while_they_are_counted_are_no_mistake(tmp_path: Path) -> None:
    """The sweep takes them from under a request, and gradio moves what was uploaded."""
    over = threading.Event()

    def come_and_go(number: int) -> None:
        place = tmp_path / f"{number}"
        while not over.is_set():
            place.mkdir()
            (place / "a.jpg").write_bytes(b"x")
            (place / "a.jpg").unlink()
            place.rmdir()

    threads = [threading.Thread(target=come_and_go, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(2000):
            assert len(gradio_guard._files(tmp_path)) <= 3
            gradio_guard.swept(tmp_path, 0)
    finally:
        over.set()
        for thread in threads:
            thread.join()

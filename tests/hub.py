"""The Hugging Face Hub on loopback, as far as `bears push` needs it: making a repository, what is
in it, upload of small files within a commit and of large ones as git-lfs does, and the commit.

    with Hub(large=10_000) as hub:
        hub.repos["me/bears"].files["README.md"]    # what the last commit left
        hub.refuse["/commit/"] = (403, "no")        # from now on, for paths that hold this
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

TOKEN = "hf_of_the_tests"
OWNER = "me"


@dataclass
class Repository:
    """files: content by path; commits: the message of each."""

    private: bool
    files: dict[str, bytes] = field(default_factory=lambda: {".gitattributes": b"*.onnx lfs\n"})
    commits: list[str] = field(default_factory=list)


class Hub(ThreadingHTTPServer):
    """large: bytes from which a file is no part of the commit; asked: method, path and headers of
    each request; refuse: status and message by a piece of the path."""

    daemon_threads = True

    def __init__(self, large: int = 1_000_000) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.large = large
        self.repos: dict[str, Repository] = {}
        self.store: dict[str, bytes] = {}
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.refuse: dict[str, tuple[int, str]] = {}
        self.url = f"http://127.0.0.1:{self.server_port}"

    def __enter__(self) -> Hub:
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *words: object) -> None:
        """Nothing."""

    def _reply(self, status: int, value: Any, **headers: str) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        for name, text in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name.replace("_", "-"), text)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.asked.append((self.command, self.path, dict(self.headers.items())))
        path = self.path.partition("?")[0]
        for piece, (status, said) in self.server.refuse.items():
            if piece in path:
                return self._reply(status, {"error": said})
        if path.startswith("/store/"):  # its address is the secret, as with a signed one
            return self._stored(path, body)
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._reply(401, {"error": "Invalid credentials in Authorization header"})
        return self._api(path, body)

    do_GET = do_POST = do_PUT = _any

    def _api(self, path: str, body: bytes) -> None:
        hub = self.server
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization') or OWNER}/{asked['name']}"
            known = name in hub.repos
            hub.repos.setdefault(name, Repository(asked.get("visibility") == "private"))
            return self._reply(409 if known else 200, {"url": f"{hub.url}/{name}"})
        if path == "/api/validate-yaml":
            whole = json.loads(body)["content"].startswith("---\n")
            return self._reply(200, {"errors": [], "warnings": [] if whole else [{"message": "?"}]})
        if not (found := re.search(r"^/(?:api/models/)?([^/]+/[^/.]+)(.*)$", path)):
            return self._reply(404, {"error": "nothing here"})
        name, rest = found[1], found[2]
        if name not in hub.repos:
            return self._reply(404, {"error": "no such"}, X_Error_Code="RepoNotFound")
        repo = hub.repos[name]
        if rest == "":
            files = [{"rfilename": file} for file in repo.files]
            facts = {"id": name, "private": repo.private, "siblings": files, "sha": "0" * 40}
            return self._reply(200, facts)
        if rest.startswith("/preupload/"):
            return self._reply(200, {"files": [*map(self._mode, json.loads(body)["files"])]})
        if rest.endswith("/objects/batch"):
            objects = [self._wanted(one) for one in json.loads(body)["objects"]]
            return self._reply(200, {"transfer": "basic", "objects": objects})
        if rest.startswith("/commit/"):
            return self._commit(name, [json.loads(line) for line in body.splitlines()])
        return self._reply(404, {"error": "nothing here"})

    def _mode(self, file: dict[str, Any]) -> dict[str, Any]:
        mode = "lfs" if file["size"] >= self.server.large else "regular"
        return {"path": file["path"], "uploadMode": mode, "shouldIgnore": False}

    def _wanted(self, one: dict[str, Any]) -> dict[str, Any]:
        if one["oid"] in self.server.store:
            return one
        return {**one, "actions": {"upload": {"href": f"{self.server.url}/store/{one['oid']}"}}}

    def _stored(self, path: str, body: bytes) -> None:
        digest = hashlib.sha256(body).hexdigest()
        if path != f"/store/{digest}":
            return self._reply(400, {"error": "another content"})
        self.server.store[digest] = body
        return self._reply(200, {})

    def _commit(self, name: str, lines: list[dict[str, Any]]) -> None:
        repo = self.server.repos[name]
        for line in lines:
            key, value = line["key"], line["value"]
            if key == "header":
                repo.commits.append(value["summary"])
            elif key == "file":
                repo.files[value["path"]] = base64.b64decode(value["content"])
            elif key == "lfsFile":
                repo.files[value["path"]] = self.server.store[value["oid"]]
            elif key == "deletedFile":
                del repo.files[value["path"]]
        url = f"{self.server.url}/{name}/commit/{'1' * 40}"
        facts = {"commitUrl": url, "commitOid": "1" * 40, "success": True}
        return self._reply(200, facts)

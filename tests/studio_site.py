"""The studio's pages with canned answers: states, streams, uploads and their refusals, as a project
in each of its conditions gives them. What people do is kept in `asked`."""

from __future__ import annotations

import contextlib
import json
import queue
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from corpus import ROOT, drawn, saved

from bear_classifier.web.static_files import files_of_page

STATIC = ROOT / "bear_classifier" / "studio" / "static"
BELOW = "/below/a/path/"
CSP = (
    "default-src 'self'; img-src 'self' data: blob:; frame-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; object-src 'none'"
)
TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css", ".js": "text/javascript"}
LABELS = ["black", "grizzly", "teddy"]
NOW = 1_796_040_000.0  # seconds since 1970, as jobs state their times
MADE = "2026-11-30T12:00:00+00:00"  # as models do


def empty() -> dict[str, Any]:
    """The state of a project without photos."""
    row = dict.fromkeys(("usable", "train", "valid", "test", "set_aside", "dropped", "waiting"), 0)
    return {
        "id": "bears",
        "title": "bears",
        "folder": "/home/ann/bears-studio/bears",
        "labels": LABELS,
        "queries": {label: [f"{label} bear"] for label in LABELS},
        "photos": {
            "usable": 0,
            "unlabelled": 0,
            "by_class": {label: dict(row) for label in LABELS},
            "by_source": {label: {} for label in LABELS},
            "refused": {},
            "uploads_waiting": 0,
            "uploads_left": 0,
        },
        "jobs": [],
        "first": None,
        "model": None,
        "suspects": None,
        "results": [],
        "files": [],
        "steps": {
            "name": "done",
            "photos": "open",
            "learn": "open",
            "clean": "open",
            "publish": "open",
        },
        "links": {"review": True, "try": False, "report": False},
        "decisions_since": 0,
        "advice": [
            {
                "step": "photos",
                "level": "warn",
                "action": {"words": f"Add 10 of {label}", "step": "photos", "label": label},
                "sentence": f"{label} has no photo yet; 10 are needed to learn: add 10.",
            }
            for label in LABELS
        ],
    }


def filled(each: int = 100) -> dict[str, Any]:
    """`each` photos of each class, and no model yet."""
    state = empty()
    test, valid = each * 15 // 100, each * 20 // 100
    state["photos"] |= {
        "usable": 3 * each,
        "unlabelled": 7,
        "refused": {
            "TOO_SMALL": {"n": 4, "sentence": "The shorter side has fewer than 32 pixels."},
            "CUT_OFF": {"n": 1, "sentence": "The file is cut off: only a part of it is there."},
        },
    }
    for label in LABELS:
        state["photos"]["by_class"][label] |= {
            "usable": each,
            "train": each - test - valid,
            "valid": valid,
            "test": test,
            "set_aside": 3,
        }
        state["photos"]["by_source"][label] = {
            "uploads": each - 40,
            "flickr.com": 30,
            "wikimedia.org": 10,
        }
    state["advice"] = [
        {
            "step": "photos",
            "level": "warn",
            "action": {"words": "Add other scenes of teddy", "step": "photos", "label": "teddy"},
            "sentence": f"The {each} photos of teddy show 12 scenes. Add photos of other scenes.",
        },
        {
            "step": "learn",
            "level": "info",
            "action": {"words": "Learn", "job": "learn"},
            "sentence": f"{3 * each} photos: enough for a first model.",
        },
    ]
    state["steps"]["photos"] = "done"
    return state


def learned(each: int = 100) -> dict[str, Any]:
    """A first model, a fine-tuned one, suspects, a second training, and what was made of it."""
    state = filled(each)
    n = 3 * (each * 15 // 100)
    state |= {
        "first": {"error": 0.081, "interval": [0.055, 0.117], "n": 3 * each},
        "model": {
            "trained": "fine-tuned",
            "error": 0.044,
            "interval": [0.012, 0.149],
            "n": n,
            "made": MADE,
            "current": True,
        },
        "suspects": {
            "waiting": 12,
            "expected_faults": 9.4,
            "looks": 1,
            "can_look_again": True,
        },
        "decisions_since": 5,
        "results": [
            {
                "made": MADE,
                "trained": "fine-tuned",
                "error": 0.067,
                "interval": [0.023, 0.179],
                "n": n,
                "put_right": None,
                "newly_wrong": None,
                "n_same": 0,
            },
            {
                "made": MADE,
                "trained": "fine-tuned",
                "error": 0.044,
                "interval": [0.012, 0.149],
                "n": n,
                "put_right": 2,
                "newly_wrong": 1,
                "n_same": n,
                "sentence": f"On the same {n} test photos 2 were put right: this may be chance.",
            },
        ],
        "files": [
            {
                "kind": "bundle",
                "name": "bears.zip",
                "href": "p/bears/files/bears.zip",
                "bytes": 88_100_000,
                "made": MADE,
                "current": True,
            }
        ],
        "steps": dict.fromkeys(state["steps"], "done"),
        "links": {"review": True, "try": True, "report": True},
        "jobs": [
            job(
                "train",
                "done",
                epochs=[
                    {
                        "epoch": k,
                        "train_loss": 0.3,
                        "valid_loss": 0.2,
                        "error": 0.11 - 0.012 * k,
                        "epochs": 5,
                    }
                    for k in range(1, 6)
                ],
            )
        ],
    }
    state["advice"] += [
        {
            "step": "learn",
            "level": "info",
            "action": {"words": "Clean 12 photos", "step": "clean"},
            "sentence": "Next, clean 12 photos: about 9 of 300 are probably faults.",
        },
        {
            "step": "clean",
            "level": "info",
            "action": None,
            "sentence": "12 photos are more likely to be a fault than not.",
        },
        {
            "step": "publish",
            "level": "warn",
            "action": None,
            "sentence": "45 test photos cannot measure the error well: 1.2% to 14.9%.",
        },
    ]
    return state


def job(kind: str, state: str = "running", **facts: Any) -> dict[str, Any]:
    usual = {
        "id": f"{kind}-1",
        "kind": kind,
        "command": f"bears {kind} --project bears.toml",
        "state": state,
        "begun": NOW,
        "ended": None if state in ("running", "waiting", "stopping") else NOW + 70,
        "stage": "",
        "stages": [],
        "bar": None,
        "epochs": [],
        "error": None,
        "held_by": None,
        "log": ["Reading the photos"],
    }
    return usual | facts


class Site(ThreadingHTTPServer):
    """asked: (path, body) of every POST; refuse(label, name): the status, code and sentence with
    which a file is refused, or None; push(state): what everybody who listens gets next."""

    daemon_threads = True

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}{BELOW}"
        self.state = state or empty()
        self.projects = [self.state]
        self.bin: list[dict[str, Any]] = []
        self.commands: list[dict[str, Any]] = []
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.stored: list[tuple[str, str, int]] = []
        self.projects_sent_to: list[str] = []
        self.refuse: Callable[[str, str], tuple[int, str, str] | None] = lambda label, name: None
        self.now = self.most_at_once = 0  # files that are sent
        self.meet = threading.Barrier(1)  # files wait here until so many are there, or a moment
        self.ping = True  # the stream says in between that the studio is there
        self.gone = False  # no answer but 503 from now on, and the streams end
        self.listeners: list[queue.Queue[dict[str, Any] | None]] = []
        self.lock = threading.Lock()
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def push(self, state: dict[str, Any] | None = None) -> None:
        self.state = state or self.state
        self.projects = [self.state] if self.projects else []
        with self.lock:
            for listener in self.listeners:
                listener.put(self.state)

    def lose(self, gone: bool) -> None:
        self.gone = gone
        if gone:
            with self.lock:
                for listener in self.listeners:
                    listener.put(None)

    def close(self) -> None:
        self.lose(True)
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Site

    def log_message(self, *_: Any) -> None:
        pass

    def answer(self, body: Any, status: int = 200, kind: str = "application/json") -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        here = CSP.replace("ancestors 'none'", "ancestors 'self'") if "/p/" in self.path else CSP
        self.send_header("Content-Security-Policy", here)
        self.end_headers()
        self.wfile.write(data)

    def parts(self) -> tuple[str, dict[str, str]]:
        asked = urlsplit(self.path)
        return asked.path.removeprefix(BELOW), dict(parse_qsl(asked.query))

    def do_GET(self) -> None:
        site, (path, query) = self.server, self.parts()
        files = files_of_page(STATIC)
        if path == "" or path in files:
            file = files[path or "index.html"]
            self.answer(file.read_bytes(), kind=TYPES[file.suffix])
        elif site.gone:
            self.answer(b"gone", 503, "text/plain")
        elif path == "api/projects":
            rows = [summary(state) for state in site.projects]
            self.answer(
                {
                    "folder": "/home/ann/bears-studio",
                    "shared": False,
                    "projects": rows,
                    "bin": site.bin,
                    "who_can_reach": "Only this computer reaches this page.",
                }
            )
        elif path == "api/suggestions":
            self.answer(
                {
                    "queries": [
                        query["label"],
                        f"{query['label']} close up",
                        f"{query['label']} photo",
                    ]
                }
            )
        elif path == f"api/projects/{site.state['id']}":
            self.answer(site.state)
        elif path.endswith("/events"):
            self.stream()
        elif path.endswith("/commands"):
            self.answer(site.commands)
        elif path.endswith("/photos"):
            self.answer(photo_page(site.state, query))
        elif "/photo/" in path:
            number = int(path.rpartition("/")[2][-6:], 16)
            self.answer(saved(drawn(64, 64, seed=number % 40), "PNG"), kind="image/png")
        elif path.startswith("p/"):
            page = "<!doctype html><html lang=en><title>Review</title><main><h1>Review</h1></main>"
            self.answer(page.encode(), kind="text/html")
        else:
            self.answer(
                {"error": {"code": "NO_PROJECT", "message": "There is no such project."}}, 404
            )

    def stream(self) -> None:
        site, mine = self.server, queue.Queue[dict[str, Any] | None]()
        with site.lock:
            site.listeners.append(mine)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.close_connection = True
        state: dict[str, Any] | None = site.state
        try:
            while state is not None:
                self.wfile.write(f"event: state\ndata: {json.dumps(state)}\n\n".encode())
                self.wfile.flush()
                state = self.next_state(mine)
        except OSError:
            pass
        finally:
            with site.lock:
                site.listeners.remove(mine)

    def next_state(self, mine: queue.Queue[dict[str, Any] | None]) -> dict[str, Any] | None:
        while True:
            try:
                return mine.get(timeout=0.2)
            except queue.Empty:
                if self.server.ping:
                    self.wfile.write(b"event: ping\ndata:\n\n")

    def do_POST(self) -> None:
        site, (path, query) = self.server, self.parts()
        data = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.headers["X-Bears"] == "1"
        if site.gone:
            self.answer(b"gone", 503, "text/plain")
        elif path.endswith("/photos"):
            with site.lock:
                site.now += 1
                site.projects_sent_to.append(path.split("/")[2])
                site.most_at_once = max(site.most_at_once, site.now)
            with contextlib.suppress(threading.BrokenBarrierError):
                site.meet.wait(10)
            with site.lock:
                site.now -= 1
            why = site.refuse(query.get("label", ""), query["name"])
            if why:
                status, code, sentence = why
                self.answer({"error": {"code": code, "message": sentence}}, status)
                return
            with site.lock:
                known = (query.get("label", ""), query["name"], len(data)) in site.stored
                site.stored.append((query.get("label", ""), query["name"], len(data)))
            self.answer({"file": query["name"], "outcome": "known" if known else "stored"}, 201)
        else:
            body = {"zip": len(data)} if "zip" in path else json.loads(data)
            with site.lock:
                site.asked.append((path, body))
            if path in ("api/projects", "api/from-zip"):
                made = body.get("name", query.get("name", "bears"))
                site.state |= {
                    "id": made,
                    "title": made,
                    "labels": list(body.get("classes", LABELS)),
                }
                labels = site.state["labels"]
                site.state["photos"]["by_class"] = {label: {"usable": 0} for label in labels}
                site.projects = [site.state]
                self.answer({"id": made}, 201)
            else:
                self.answer({"id": f"{body.get('kind', 'job')}-{len(site.asked)}"}, 202)


def summary(state: dict[str, Any]) -> dict[str, Any]:
    """The row of a project in the list of all."""
    model, usable = state["model"] or {}, state["photos"]["usable"]
    return {
        "id": state["id"],
        "title": state["title"],
        "labels": state["labels"],
        "usable": usable,
        **{key: model.get(key) for key in ("error", "interval", "n")},
        "job": None,
        "changed": NOW,
        "photo": f"{1 << 20:064x}" if usable else None,
        "fault": "",
    }


def photo_page(state: dict[str, Any], query: dict[str, str]) -> dict[str, Any]:
    label, offset = query.get("label", ""), int(query["offset"])
    own = state["photos"]["by_class"].get(label, {"usable": state["photos"]["unlabelled"]})
    total = own.get("usable", 0) + own.get("set_aside", 0)
    base = (1 + sum(map(ord, label))) << 20
    rows = [
        {
            "sha256": f"{base + n:064x}",
            "status": "ok" if n < own["usable"] else "unusable",
            "reason": "" if n < own["usable"] else "nearly the same as another photo",
            "split": "train",
            "source": "flickr.com",
        }
        for n in range(offset, min(total, offset + int(query["limit"])))
    ]
    return {"total": total, "offset": offset, "rows": rows}

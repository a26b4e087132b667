"""The studio as a process: its port, its one place in a folder, and what is left when it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from corpus import ROOT, drawn, saved
from PIL import Image
from studio_process import RUNNING, Studio
from waiting import STUCK, until

from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.lock import hold
from bear_classifier.errors import ConfigError, DataError
from bear_classifier.studio import job_process
from bear_classifier.studio.server import free_port, has_screen, serve_studio

NEW = {"name": "mine", "classes": ["a", "b"]}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Of a studio; whatever runs there afterwards is ended."""
    place = tmp_path / "studio"
    yield place
    for studio in list(RUNNING):
        studio.kill()
    for file in place.glob("*/studio/jobs/*/job.json"):
        if job_process.is_alive(file.parent) and (pid := json.loads(file.read_bytes())["pid"]):
            os.killpg(pid, signal.SIGKILL)


def test_a_taken_port_is_no_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with free_port("127.0.0.1", port) as listener:
            assert listener.getsockname()[1] != port
    with pytest.raises(ConfigError, match="^PORT_TAKEN"):
        free_port("192.0.2.1", 7862)


def test_a_folder_has_one_studio(tmp_path: Path) -> None:
    (tmp_path / ".studio").mkdir()
    (tmp_path / ".studio" / "address").write_text("http://127.0.0.1:7862", encoding="utf-8")
    with (
        hold(tmp_path / ".studio", "studio"),
        pytest.raises(DataError, match="^LOCKED.*127.0.0.1:7862"),
    ):
        serve_studio(tmp_path, "127.0.0.1", 0, browser=False)


@pytest.mark.parametrize(
    ("environ", "seen"),
    [({"DISPLAY": ":0"}, True), ({"WAYLAND_DISPLAY": "wayland-0"}, True), ({}, False),
     ({"DISPLAY": ":10", "SSH_CONNECTION": "1"}, False)],
)  # fmt: skip
def test_a_browser_opens_where_it_is_seen(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], seen: bool
) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SSH_CONNECTION", "SSH_TTY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert has_screen() == seen


@pytest.mark.long
def test_ctrl_c_ends_open_pages_and_the_running_job_which_can_go_on(folder: Path) -> None:
    studio = Studio(folder)
    studio.http.post("api/projects", json=NEW).raise_for_status()
    with hold(folder / "mine" / "data" / "mine", "run"):  # so that the job of a photo waits
        studio.send("a", saved(drawn(seed=1), "JPEG")).raise_for_status()
        with studio.http.stream("GET", "api/projects/mine/events") as events:
            lines = events.iter_lines()
            assert next(lines) == "event: state"
            studio.process.send_signal(signal.SIGINT)
            list(lines)  # it ends
        assert studio.process.wait(timeout=STUCK) == 130
    studio.kill()
    assert "Stopped." in studio.text
    assert "Traceback" not in studio.text
    later = Studio(folder)
    until(lambda: later.state()["photos"]["usable"] == 1, alive=later.is_alive)
    assert later.end() == 130


def test_a_full_disk_is_said_and_leaves_nothing_half(folder: Path) -> None:
    studio = Studio(folder, 0, 60_000)
    studio.http.post("api/projects", json=NEW).raise_for_status()
    rng = np.random.default_rng(7)
    noise = rng.integers(0, 256, (300, 400, 3), np.uint8)
    large = saved(Image.fromarray(noise), "PNG")
    assert len(large) > 60_000
    refused = studio.send("a", large)
    assert (refused.status_code, refused.json()["error"]["code"]) == (507, "DISK_FULL")
    assert "no space left" in refused.json()["error"]["message"]
    assert [p for p in (folder / "mine" / "studio").rglob("*") if p.is_file()] == []
    assert studio.send("a", saved(drawn(seed=1), "JPEG")).json()["outcome"] == "stored"
    assert studio.end() == 130


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_kill_9_at_30_moments_loses_nothing_that_was_confirmed(folder: Path) -> None:
    """Uploads and jobs, confirmed by a studio that is killed a little later each time."""
    photos: dict[str, str] = {}
    clicks: dict[str, str] = {}
    rng = np.random.default_rng(26)
    for number in range(30):
        studio = Studio(folder)
        if number == 0:
            studio.http.post("api/projects", json=NEW).raise_for_status()
        end = time.monotonic() + float(rng.uniform(0.0, 3.0))
        step = 0
        while time.monotonic() < end:
            data = saved(drawn(seed=1000 * number + step), "JPEG")
            label = "ab"[step % 2]
            photos[studio.send(label, data).json()["file"]] = label
            if step % 3 == 2:
                click = f"{number}-{step}"
                clicks[click] = studio.job("report" if step % 2 else "take-in", click)
            step += 1
        studio.kill()
    last = Studio(folder)
    done = until(lambda: _at_rest(last), alive=last.is_alive)
    assert done["photos"]["usable"] == len(photos)
    rows = {label: done["photos"]["by_class"][label]["usable"] for label in "ab"}
    assert rows == {label: list(photos.values()).count(label) for label in "ab"}
    known = {line["command"] for line in last.http.get("api/projects/mine/commands").json()}
    assert any(command.startswith("bears run") for command in known)
    for click, number in clicks.items():  # each click is known still, and is the job that it was
        kind = "report" if int(click.partition("-")[2]) % 2 else "take-in"
        assert last.job(kind, click) == number
    states = {job["state"] for job in last.state()["jobs"]}
    assert states <= {"done", "failed"}, states  # reports of a project without a model fail
    assert last.end() == 130
    assert [p for p in folder.rglob("*.partial")] == []


@pytest.mark.long
def test_two_pages_and_the_command_line_at_once_train_once(folder: Path) -> None:
    studio = Studio(folder)
    studio.http.post("api/projects", json=NEW).raise_for_status()
    file = folder / "mine" / "mine.toml"
    text = file.read_text(encoding="utf-8")
    for key, value in QUICK:
        text, n = re.subn(rf"^{key} = .*$", f"{key} = {value}", text, count=1, flags=re.MULTILINE)
        assert n == 1, key
    file.write_text(text.replace("\nsize = 0 ", "\nsize = 64 "), encoding="utf-8")
    for number in range(48):
        studio.send("ab"[number % 2], saved(drawn(seed=number), "JPEG")).raise_for_status()
    until(lambda: _at_rest(studio), alive=studio.is_alive)
    words = [sys.executable, "-m", "bear_classifier", "run", "--project", "mine.toml"]
    own = os.environ | {"PYTHONPATH": str(ROOT)}

    def click(tab: str) -> None:
        studio.job("train", f"{tab} 1")
        studio.job("train", f"{tab} 2")

    tabs = [threading.Thread(target=click, args=(tab,)) for tab in ("first tab", "second tab")]
    with subprocess.Popen(words, cwd=file.parent, env=own, stderr=subprocess.PIPE) as typed:
        for tab in tabs:
            tab.start()
        for tab in tabs:
            tab.join()
        done = until(lambda: _at_rest(studio), alive=studio.is_alive)
        _, said = typed.communicate()
    assert typed.returncode == 0 or b"LOCKED" in said
    assert {job["state"] for job in done["jobs"]} == {"done"}
    assert done["model"]["current"] and done["photos"]["usable"] == 48
    with Catalog(file.parent / "data" / "mine") as catalog:
        assert len(catalog.runs("train")) == len(catalog.runs("export")) == 1
    assert studio.end() == 130


QUICK = (
    ("arch", '"squeezenet1_1"'), ("weights", '"none"'), ("epochs", "1"), ("lr", "0.001"),
    ("parity", "2"), ("folds", "2"), ("source_validation", "false"),
)  # fmt: skip


def _at_rest(studio: Studio) -> dict[str, Any] | None:
    """The state once nothing waits and nothing runs."""
    state = studio.state()
    busy = [job for job in state["jobs"] if job["state"] in ("waiting", "running", "stopping")]
    for job in state["jobs"]:
        if job["state"] == "interrupted" and job["resumable"]:
            studio.http.post(f"api/jobs/{job['id']}/resume", json={"request": job["id"]})
            busy.append(job)
    return None if busy or state["photos"]["uploads_waiting"] else state

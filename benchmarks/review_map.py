"""The map of the review page in headless Chromium, drawn in software: frames and first picture.

    python benchmarks/review_map.py [--counts 20000 100000] [--rounds 3]

Serves the page's own files with answers of so many photos, opens the map, and drives it as a
person does: zoom by the wheel and pan for three seconds, one step a frame. Frames are those that
the browser showed; on a busy machine the CPU time of a frame, of all processes and threads, says
more. "Drawn" is from the server's answer to the frame after the points are drawn.
Needs Debian's chromium and chromium-driver.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import statistics
import tempfile
import threading
from contextlib import suppress
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

from bear_classifier.review import feature_views
from bear_classifier.review.request_guard import headers_of
from bear_classifier.web.static_files import files_of_page

STATIC = Path(feature_views.__file__).parent / "static"
SECONDS = 3
DRIVE = """
const [length, done] = arguments, stage = document.querySelector(".stage");
const box = stage.getBoundingClientRect();
const x = box.left + box.width * 0.6, y = box.top + box.height / 2;
const at = { clientX: x, clientY: y, bubbles: true, cancelable: true, pointerId: 1, button: 0 };
const pointer = (name, more) => stage.dispatchEvent(new PointerEvent(name, { ...at, ...more }));
const wheel = (deltaY) => stage.dispatchEvent(new WheelEvent("wheel", { ...at, deltaY }));
stage.setPointerCapture = () => {};
let frames = 0, start = 0;
function step(now) {
  start ||= now;
  if (now - start > length) { pointer("pointerup", {}); done(frames); return; }
  frames += 1;
  const turn = (now - start) / 400;
  if (frames === 1) pointer("pointerdown", {});
  pointer("pointermove", { clientX: x + 150 * Math.sin(turn), clientY: y + 90 * Math.sin(turn) });
  wheel(60 * Math.cos(turn));
  requestAnimationFrame(step);
}
requestAnimationFrame(step);
"""
FIRST = """
const done = arguments[0], sent = performance.getEntriesByType.bind(performance, "resource");
const wait = () => {
  const map = sent().find((one) => one.name.endsWith("/api/map"));
  const drawn = performance.getEntriesByName("map drawn")[0];
  if (!map || !drawn) { setTimeout(wait, 20); return; }
  done([map.responseEnd - map.startTime, drawn.startTime - map.responseEnd]);
};
wait();
"""


def answers(count: int) -> dict[str, bytes]:
    """What the server says of so many photos in 30 clumps, by address."""
    rng = np.random.default_rng(count)
    clump = rng.integers(30, size=count)
    at = rng.uniform(-0.9, 0.9, (30, 2))[clump] + 0.05 * rng.standard_normal((count, 2))
    xy = np.round(10_000 * at.clip(-1, 1)).astype(int)
    labels, splits = [f"class {n}" for n in range(5)], ["train", "valid", "test", ""]
    hashes = [hashlib.sha256(str(n).encode()).hexdigest() for n in range(count)]
    counts: dict[str, dict[str, int]] = {name: {} for name in ("label", "reason", "side", "state")}
    said: dict[str, Any] = {
        "project": {"name": "map", "labels": labels, "sides": splits[:3], "reasons": [],
                    "states": ["open", "decided", "all"]},
        "queue": {"total": 0, "of": count, "offset": 0, "rows": []},
        "progress": {"looked": 0, "of": count, "faults": 0, "counts": counts, "stop": "",
                     "enough": False, "undo": None, "revision": 0},
        "map": {"method": "t-SNE", "making": False, "labels": labels, "splits": splits,
                "states": feature_views.PHOTO_STATES,
                "sha256": hashes,
                "x": xy[:, 0].tolist(), "y": xy[:, 1].tolist(), "label": (clump % 5).tolist(),
                "split": rng.integers(3, size=count).tolist(),
                "score": rng.random(count).round(3).tolist(), "state": [0] * count},
    }  # fmt: skip
    return {f"/api/{name}": json.dumps(facts).encode() for name, facts in said.items()}


def serve(count: int) -> ThreadingHTTPServer:
    said = answers(count)

    files = files_of_page(STATIC)

    class Page(SimpleHTTPRequestHandler):
        def translate_path(self, path: str) -> str:
            return str(files.get(path.partition("?")[0].lstrip("/"), STATIC / "none"))

        def do_GET(self) -> None:
            body = said.get(self.path.partition("?")[0])
            if body is None:
                self.path = "/review.html" if self.path == "/" else self.path
                super().do_GET()
                return
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def end_headers(self) -> None:
            for name, value in headers_of().items():
                self.send_header(name, value)
            super().end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def browser(profile: Path) -> webdriver.Chrome:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for word in ("--headless=new", "--no-sandbox", "--no-first-run", "--window-size=1280,900",
                 "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
                 f"--user-data-dir={profile}"):  # fmt: skip
        options.add_argument(word)
    return webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))


def cpu_seconds(root: int) -> float:
    """CPU time of a process and all below it so far, as Linux counts it."""
    parents, times = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile
            fields = (folder / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            pid = int(folder.name)
            parents[pid] = int(fields[1])
            times[pid] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    below, found = {root}, -1
    while len(below) != found:
        found = len(below)
        below |= {pid for pid, parent in parents.items() if parent in below}
    return sum(times[pid] for pid in below if pid in times)


def measure(driver: webdriver.Chrome, address: str) -> dict[str, float]:
    """Seconds to fetch and to draw, frames a second of zoom and pan, CPU seconds for each."""
    driver.get("about:blank")
    driver.get(f"{address}#view=map")
    WebDriverWait(driver, 60).until(lambda d: d.find_elements("css selector", ".stage"))
    fetch, draw = driver.execute_async_script(FIRST)
    root = driver.service.process.pid
    before = cpu_seconds(root)
    frames = driver.execute_async_script(DRIVE, 1000 * SECONDS)
    spent = (cpu_seconds(root) - before) / max(1, frames)
    return {"fetch": fetch / 1000, "draw": draw / 1000, "frames": frames / SECONDS, "cpu": spent}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--counts", type=int, nargs="+", default=[20_000, 100_000])
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    print("| photos | fetched (s) | drawn (s) | frames a second | CPU ms a frame |")
    print("| --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        driver = browser(Path(folder))
        try:
            for count in asked.counts:
                server = serve(count)
                address = f"http://127.0.0.1:{server.server_port}/"
                rounds = [measure(driver, address) for _ in range(asked.rounds)]
                middle = {key: statistics.median(r[key] for r in rounds) for key in rounds[0]}
                spread = ", ".join(f"{r['frames']:.1f}" for r in rounds)
                print(f"| {count:,} | {middle['fetch']:.2f} | {middle['draw']:.2f} |"
                      f" {middle['frames']:.1f} ({spread}) | {1000 * middle['cpu']:.0f} |",
                      flush=True)  # fmt: skip
                server.shutdown()
                server.server_close()
        finally:
            driver.quit()


if __name__ == "__main__":
    main()

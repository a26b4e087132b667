"""Firefox without a display, driven through WebDriver BiDi over the socket that it opens itself.

    with Firefox(folder) as browser:
        browser.open("http://localhost:8000/")
        browser.run("document.title")
        browser.choose("#files", [path])

Debian has no geckodriver, through which selenium would drive it. The protocol:
w3.org/TR/webdriver-bidi
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import websocket
from waiting import STUCK, until

PROGRAM = shutil.which("firefox-esr") or shutil.which("firefox")
_PREFERENCES = {
    "app.update.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.page": 0,
    "datareporting.policy.dataSubmissionEnabled": False,
    "dom.push.connection.enabled": False,
    "extensions.getAddons.cache.enabled": False,
    "extensions.update.enabled": False,
    "media.navigator.permission.disabled": True,
    "media.navigator.streams.fake": True,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "network.dns.disablePrefetch": True,
    "services.settings.server": "data:,",
    "toolkit.telemetry.enabled": False,
}


class Firefox:
    """One window. errors: lines of its console that say that something failed."""

    def __init__(self, folder: Path) -> None:
        assert PROGRAM
        lines = [f"user_pref({json.dumps(k)}, {json.dumps(v)});" for k, v in _PREFERENCES.items()]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "user.js").write_text("\n".join(lines), encoding="utf-8")
        self.errors: list[str] = []
        self._log = folder / "firefox.log"
        self._numbers = itertools.count(1)
        words = ["--headless", "--no-remote", "--profile", str(folder)]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [PROGRAM, *words, "--remote-debugging-port", "0"],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
                env=os.environ | {"HOME": str(folder), "MOZ_HEADLESS": "1"},
            )  # fmt: skip
        try:
            address = until(self._address, "it opened no socket", self._runs)
            # Firefox takes no connection that names an origin, which would be another page's
            self._socket = websocket.create_connection(
                f"{address}/session", timeout=STUCK, suppress_origin=True
            )
            self.ask("session.new", capabilities={})
            self.ask("session.subscribe", events=["log.entryAdded"])
            tree = self.ask("browsingContext.getTree")
            self.window: str = tree["contexts"][0]["context"]
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Firefox:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _runs(self) -> bool:
        return self._process.poll() is None

    def _address(self) -> str:
        found = re.search(r"WebDriver BiDi listening on (ws://\S+)", self._log.read_text("utf-8"))
        return found[1] if found else ""

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """The result of a command. AssertionError with what Firefox says where it fails."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv())
            if message.get("method") == "log.entryAdded":
                entry = message["params"]
                if entry["level"] == "error":
                    self.errors.append(str(entry["text"]))
            elif message.get("id") == number:
                assert message["type"] == "success", (method, message.get("message"))
                return dict(message["result"])

    def open(self, address: str) -> None:
        """Once its `load` event has come."""
        self.ask("browsingContext.navigate", context=self.window, url=address, wait="complete")

    def run(self, expression: str) -> Any:
        """The value of an expression, a promise's too, as JSON has it."""
        told = self.ask(
            "script.evaluate",
            expression=f"(async () => JSON.stringify(await ({expression})))()",
            target={"context": self.window},
            awaitPromise=True,
        )
        assert told["type"] == "success", told.get("exceptionDetails", {}).get("text")
        return json.loads(told["result"]["value"]) if "value" in told["result"] else None

    def choose(self, selector: str, files: Sequence[Path]) -> None:
        """Files in an <input>, as a person chooses them."""
        found = self.ask(
            "browsingContext.locateNodes",
            context=self.window,
            locator={"type": "css", "value": selector},
        )
        (node,) = found["nodes"]
        element = {"sharedId": node["sharedId"]}
        paths = [str(path) for path in files]
        self.ask("input.setFiles", context=self.window, element=element, files=paths)

    def close(self) -> None:
        """With all of its processes."""
        if hasattr(self, "_socket"):
            self._socket.close()
        killer = threading.Timer(20, os.killpg, (self._process.pid, signal.SIGKILL))
        killer.daemon = True
        killer.start()
        os.killpg(self._process.pid, signal.SIGTERM)
        self._process.wait()
        killer.cancel()

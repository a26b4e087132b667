"""A worker that does what it is told, for tests: `python -m odd_worker`."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Any

from bear_classifier.errors import DataError, ModelError, PhotoError
from bear_classifier.runtime.process_worker import needed, serve_requests


def obey(header: dict[str, Any], body: bytes) -> dict[str, Any]:
    word = os.environ.get("ODD_WORKER", "").removeprefix("always ") or header["do"]
    if word == "large":
        raise ModelError("MODEL_TOO_LARGE", "there is not enough memory")
    if word == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if word == "crash once" and not os.path.exists(header["note"]):  # noqa: PTH110
        open(header["note"], "w").close()  # noqa: PTH123, SIM115
        os._exit(7)
    if word == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    if word == "sleep":
        time.sleep(header["seconds"])
    if word == "compute":
        while True:
            pass
    if word == "needed":
        return needed()
    if word == "refuse":
        raise PhotoError("TOO_SMALL", "it is 3 x 4")
    if word == "full":
        raise DataError("DISK_FULL", "no space")
    if word == "mistake":
        raise KeyError("no such thing")
    if word == "print":
        print("noise", flush=True)
        os.write(1, b"more noise")
    if word == "memory":
        return {"bytes": len(bytearray(header["bytes"]))}
    return {"pid": os.getpid(), "n": header.get("n"), "length": len(body), "last": body[-1:].hex()}


if __name__ == "__main__":
    if os.environ.get("ODD_WORKER") == "no":
        sys.exit(3)
    serve_requests(obey, *map(int, sys.argv[1:][-1:]))

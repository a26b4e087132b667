"""The worker process of a pool: reads pictures from stdin, writes results to stdout.

A damaged or hostile picture can make a decoder crash, hang or take all memory. Here it takes only
this process with it, which `bear_classifier.runtime.process_pool` replaces. Standard input
brings requests, a frame of two lengths, a JSON header and the bytes of the picture; standard output
takes the answers, a length and JSON. When the input ends, because the other process did, so does
this one.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bear_classifier.errors import BearsError

FRAME = struct.Struct("!IQ")  # bytes of the header, bytes of the picture
LENGTH = struct.Struct("!I")  # bytes of the answer
WORKER_MEMORY = (
    1_500_000_000  # bytes of addresses, about 1 GB more than any picture within the limits
)
Work = Callable[[dict[str, Any], bytes], dict[str, Any]]


def serve_requests(work: Work, memory: int = WORKER_MEMORY) -> None:
    """Answer until nobody asks any more. Raises BrokenPipeError if nobody takes an answer.

    memory: bytes of addresses that this process may have."""
    for asked_to_stop in (signal.SIGINT, signal.SIGTERM):  # of a whole group: the other one decides
        signal.signal(asked_to_stop, signal.SIG_IGN)
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints is no answer
    limit_memory(memory)
    _send(answers, {"ready": True})
    while len(frame := requests.read(FRAME.size)) == FRAME.size:
        header, body = FRAME.unpack(frame)
        question = json.loads(requests.read(header)), requests.read(body)
        try:
            _send(answers, _answer(work, *question))
        except BrokenPipeError:
            raise
        except Exception:  # a bug: shown where it can be seen
            _send(answers, {"bug": traceback.format_exc()})
            raise


def _answer(work: Work, header: dict[str, Any], body: bytes) -> dict[str, Any]:
    try:
        return {"found": work(header, body)}
    except BearsError as exc:
        return {"error": [type(exc).__name__, exc.code, exc.sentence]}
    except MemoryError:
        return {"error": ["PhotoError", "TOO_MANY_PIXELS", "there is not enough memory for it"]}


def _send(answers: Any, message: dict[str, Any]) -> None:
    text = json.dumps(message).encode()
    answers.write(LENGTH.pack(len(text)) + text)
    answers.flush()


def needed() -> dict[str, int]:
    """Peak bytes of memory and of address space; 0 where the system does not say."""
    try:
        lines = Path("/proc/self/status").read_text("ascii", "replace").splitlines()
    except OSError:
        return {"held": 0, "addresses": 0}
    found = dict(line.split(":", 1) for line in lines if ":" in line)
    names = {"held": "VmHWM", "addresses": "VmPeak"}
    return {key: 1024 * int(found.get(name, "0").split()[0]) for key, name in names.items()}


def limit_memory(memory: int) -> None:
    """No more than so many bytes of addresses for this process, where the system keeps to it."""
    if sys.platform != "linux":  # elsewhere it is not kept, or unknown
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = memory if hard == resource.RLIM_INFINITY else min(memory, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))

"""The worker process of a pool: reads pictures from stdin, writes results to stdout.

A damaged or hostile picture can make a decoder crash, hang or take all memory. Here it takes only
this process with it, which the pool replaces. Requests and answers are frames: two lengths, JSON,
and bytes. When the input ends, because the other process did, so does this one.
"""

from __future__ import annotations

import json
import os
import re
import signal
import struct
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bear_classifier import errors

FRAME = struct.Struct("!IQ")  # bytes of the JSON, bytes of what follows it
WORKER_MEMORY = 1_500_000_000  # bytes of addresses, 1 GB more than any picture within the limits
Work = Callable[[dict[str, Any], bytes], dict[str, Any]]


def serve_requests(work: Work, memory: int = WORKER_MEMORY) -> None:
    """Answer until the input ends. Raises BrokenPipeError if nobody takes an answer.

    work: header and picture -> result; bytes under its key "body" travel as they are. memory: bytes
    of addresses that this process may have."""
    for signal_to_group in (signal.SIGINT, signal.SIGTERM):  # the parent decides
        signal.signal(signal_to_group, signal.SIG_IGN)
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints is no answer
    limit_memory(memory)

    def send(message: dict[str, Any], body: bytes = b"") -> None:
        answers.write(frame_head(message, body))
        answers.write(body)
        answers.flush()

    send({"ready": True})
    while len(frame := requests.read(FRAME.size)) == FRAME.size:
        sizes = FRAME.unpack(frame)
        header, picture = json.loads(requests.read(sizes[0])), requests.read(sizes[1])
        try:
            result = work(header, picture)
            body = result.pop("body", b"")
            send({"found": result}, body)
        except BrokenPipeError:
            raise
        except errors.BearsError as exc:
            send({"error": [type(exc).__name__, exc.code, exc.sentence]})
        except MemoryError:
            send({"error": ["PhotoError", "TOO_MANY_PIXELS", "there is not enough memory for it"]})
        except Exception:  # a bug: shown where it can be seen
            send({"bug": traceback.format_exc()})
            raise


def frame_head(message: dict[str, Any], body: bytes) -> bytes:
    """What comes before the body in a frame: two lengths and the message."""
    text = json.dumps(message).encode()
    return FRAME.pack(len(text), len(body)) + text


def unpack_answer(answer: dict[str, Any]) -> dict[str, Any]:
    """The result in an answer; raises the error that it holds instead."""
    if "error" in answer:
        kind, code, sentence = answer["error"]
        raise getattr(errors, kind)(code, sentence)
    result: dict[str, Any] = answer["found"]
    return result


def needed() -> dict[str, int]:
    """Peak bytes of memory and of address space; 0 where the system does not say."""
    try:
        text = Path("/proc/self/status").read_text("ascii", "replace")
    except OSError:
        text = ""
    sizes = dict(re.findall(r"^(VmHWM|VmPeak):\s*(\d+)", text, re.MULTILINE))
    names = {"held": "VmHWM", "addresses": "VmPeak"}
    return {key: 1024 * int(sizes.get(name, 0)) for key, name in names.items()}


def limit_memory(memory: int) -> None:
    """No more than so many bytes of addresses for this process, where the system keeps to it."""
    if sys.platform != "linux":  # elsewhere it is not kept, or unknown
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = memory if hard == resource.RLIM_INFINITY else min(memory, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))

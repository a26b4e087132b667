"""HEIC photos, decoded in a process pool: a crash of the decoder loses one photo.

Libraries of this format had faults that were used for attacks by a photo alone. A process gets the
bytes through a pipe, with the limits of `process_worker`, and gives back pixels; it ends with its
pipe.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from typing import Any

from PIL import Image

from bear_classifier.errors import PhotoError
from bear_classifier.runtime.process_worker import FRAME, frame_head, unpack_answer
from bear_classifier.runtime.processors import processors

_SECONDS = 60.0  # for one photo, of which one of 12 megapixels takes half a second
_ENVIRONMENT = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1")
# Put together from parts, so that a Space, which refuses HEIC, does not carry it:
# ship/dependencies.py.
_WORKER = f"{__package__}.heic_worker"
Child = subprocess.Popen[bytes]


def decode(data: bytes, least: int | None) -> tuple[Image.Image, tuple[int, int]]:
    """RGB, upright, sRGB; and the upright size in the file. least: as `decode_with_size`.

    Safe to share between threads. Raises PhotoError; UNSUPPORTED_FORMAT: where no safe reader is
    installed, TOO_COMPLEX: it took too long, DAMAGED: it ended two processes."""
    pool = _pool()
    with pool.room:
        for _ in range(2):  # the first may have been ended by somebody else
            child, end = pool.take(), time.monotonic() + _SECONDS
            timer = threading.Timer(_SECONDS, child.kill)
            timer.daemon = True
            timer.start()
            try:
                answer, pixels = _exchange(child, {"least": least}, data)
            except (OSError, EOFError):
                _end(child)
                if time.monotonic() >= end:
                    words = f"not decoded in {_SECONDS:.0f} s; save it again as JPEG"
                    raise PhotoError("TOO_COMPLEX", words) from None
                continue
            except BaseException:  # interrupted: its answer would be taken for the next one's
                _end(child)
                raise
            finally:
                timer.cancel()
            pool.idle.append(child)
            sizes = unpack_answer(answer)
            image = Image.frombuffer("RGB", tuple(sizes["size"]), pixels).copy()
            return image, (sizes["whole"][0], sizes["whole"][1])
    raise PhotoError("DAMAGED", f"the decoder crashes on it (exit code {child.returncode})")


class _Pool:
    """Processes that wait for the next photo."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self.room = threading.Semaphore(processors())
        self.idle: list[Child] = []

    def take(self) -> Child:
        try:
            return self.idle.pop()
        except IndexError:
            pipe, env = subprocess.PIPE, os.environ | _ENVIRONMENT
            words = [sys.executable, "-m", _WORKER]
            return subprocess.Popen(
                words, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env=env
            )


_pools: list[_Pool] = []
_making = threading.Lock()


def _pool() -> _Pool:
    """Of this process: pipes that came along by a fork are those of the other one."""
    with _making:
        if not _pools or _pools[-1].owner != os.getpid():
            _pools[:] = [_Pool()]
        return _pools[-1]


def _exchange(child: Child, header: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
    """The answer and its pixels. Raises OSError or EOFError where the process ended or failed."""
    assert child.stdin
    child.stdin.write(frame_head(header, data) + data)
    child.stdin.flush()
    answer: dict[str, Any] = {"ready": True}
    while "ready" in answer:  # the first message of a new process
        size, body = FRAME.unpack(_read(child, FRAME.size))
        answer = json.loads(_read(child, size))
    if "bug" in answer:
        raise EOFError
    return answer, _read(child, body)


def _read(child: Child, length: int) -> bytes:
    assert child.stdout
    data = child.stdout.read(length)
    if len(data) < length:
        raise EOFError
    return data


def _end(child: Child) -> None:
    child.kill()
    with contextlib.suppress(OSError), child:  # which flushes, though nobody reads any more
        pass

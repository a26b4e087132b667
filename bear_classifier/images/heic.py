"""HEIC photos, decoded in a process pool: a crash of the decoder loses one photo.

Libraries of this format had faults that were used for attacks by a photo alone. A process gets the
bytes through a pipe, with the limits of `worker`, and gives back pixels; it ends with its pipe.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from typing import Any

from PIL import Image

from bear_classifier.errors import PhotoError
from bear_classifier.runtime.process_worker import FRAME
from bear_classifier.runtime.processors import processors

_SECONDS = 60.0  # for one photo, of which one of 12 megapixels takes half a second
_ENVIRONMENT = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1")
# Put together from parts, so that a Space, which refuses HEIC, does not carry it:
# ship/dependencies.py.
_WORKER = f"{__package__}.heic_worker"
Child = subprocess.Popen[bytes]


def decode(data: bytes, least: int | None) -> tuple[Image.Image, tuple[int, int]]:
    """RGB, upright, sRGB; and the upright size in the file. least: as `photos.measure`.

    Safe to share between threads. Raises PhotoError; UNSUPPORTED_FORMAT: where no safe reader is
    installed, TOO_COMPLEX: it took too long, DAMAGED: it ended two processes."""
    pool = _pool()
    with pool.room:
        for _ in range(2):  # the first may have been ended by somebody else
            child = pool.take()
            late = _Late(child)
            try:
                answer, pixels = _exchange(child, {"least": least}, data)
            except (OSError, EOFError):
                _end(child)
                if late.over:
                    words = f"not decoded in {_SECONDS:.0f} s; save it again as JPEG"
                    raise PhotoError("TOO_COMPLEX", words) from None
                continue
            except BaseException:  # interrupted: its answer would be taken for the next one's
                _end(child)
                raise
            finally:
                late.timer.cancel()
            pool.idle.append(child)
            if "error" in answer:
                raise PhotoError(*answer["error"])
            image = Image.frombuffer("RGB", tuple(answer["size"]), pixels).copy()
            return image, (answer["whole"][0], answer["whole"][1])
    raise PhotoError("DAMAGED", f"the decoder crashes on it (exit code {child.returncode})")


class _Late:
    """Ends a process that takes too long."""

    def __init__(self, child: Child) -> None:
        self.child, self.over = child, False
        self.timer = threading.Timer(_SECONDS, self._end)
        self.timer.daemon = True
        self.timer.start()

    def _end(self) -> None:
        self.over = True
        self.child.kill()


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
            return subprocess.Popen(
                [sys.executable, "-m", _WORKER],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=os.environ | _ENVIRONMENT,
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
    assert child.stdin
    assert child.stdout
    text = json.dumps(header).encode()
    child.stdin.write(FRAME.pack(len(text), len(data)) + text + data)
    child.stdin.flush()
    words, pixels = FRAME.unpack(_read(child, FRAME.size))
    answer: dict[str, Any] = json.loads(_read(child, words))
    return answer, _read(child, pixels)


def _read(child: Child, length: int) -> bytes:
    assert child.stdout
    data = child.stdout.read(length)
    if len(data) < length:
        raise EOFError
    return data


def _end(child: Child) -> None:
    child.kill()
    for stream in (child.stdin, child.stdout):
        assert stream
        with contextlib.suppress(OSError):  # what was not yet written has no reader any more
            stream.close()
    child.wait()

"""Progress of a command as JSON lines in a file, for a program that started it and watches it.

`BEARS_PROGRESS=FILE` names the file. Each line is an object with `at` (seconds since 1970) and
`kind`:

begun   pid of the command
bar     name, n, total (or null), unit, words: of a progress bar, at most five times a second
stage   name, state (begun, done, up to date), seconds, text: a stage or other long work
epoch   the row of the history of an epoch; of: which training of the command, epochs: of how many
result  what the command prints with --json
error   code, sentence
end     code: the exit code

Without the variable nothing is written. Only the process of the command itself writes, never its
children, and no fault of the file (a full disk) ends the work.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

VARIABLE = "BEARS_PROGRESS"
_STOPS = ("SIGINT", "SIGBREAK")  # as one program stops another on Windows: Ctrl-Break
_PAUSE = 0.2  # seconds between two lines on the same bar


@dataclass
class _Log:
    """The file, and whose it is: a forked child has a copy of this object."""

    path: Path
    pid: int = field(default_factory=os.getpid)
    written: dict[int, float] = field(default_factory=dict)  # bar -> when its last line was written
    lock: threading.Lock = field(default_factory=threading.Lock)


_log: _Log | None = None


def begin_log() -> None:
    """Take the file from the environment, so that no child finds it there. A command that is
    watched hears Ctrl-C even if it was started by a program that ignores it, as shells let their
    background jobs do."""
    global _log
    if not (name := os.environ.pop(VARIABLE, "")):
        return
    _log = _Log(Path(name).absolute())
    if threading.current_thread() is threading.main_thread():
        for name in _STOPS:
            if number := getattr(signal, name, None):
                signal.signal(number, signal.default_int_handler)
    report("begun", pid=os.getpid())


def end_log(code: int) -> None:
    """The command ends with this exit code, and nothing more is written."""
    global _log
    report("end", code=code)
    _log = None


def is_watched() -> bool:
    return _log is not None and _log.pid == os.getpid()


def report(kind: str, **facts: Any) -> None:
    """Append a line, if somebody watches. Numbers that JSON has no word for become null."""
    log = _log
    if log is None or log.pid != os.getpid():
        return
    line = json.dumps({"at": round(time.time(), 3), "kind": kind, **_plain(facts)}, default=str)
    with contextlib.suppress(OSError), log.lock, log.path.open("ab", buffering=0) as file:
        file.write(
            line.encode() + b"\n"
        )  # one call of the system: whole, or nothing on a full disk


def report_bar(
    bar: int, name: str, n: float, total: float | None, unit: str, words: str, last: bool
) -> None:
    """The state of a bar, unless its last line is younger than a fifth of a second.

    bar: a number of its own; last: it is closed, and reported in any case."""
    log = _log
    if log is None:
        return
    now = time.monotonic()
    if not last and now - log.written.get(bar, -math.inf) < _PAUSE:
        return
    log.written[bar] = now
    if last:
        log.written.pop(bar)
    report("bar", name=name, n=n, total=total, unit=unit, words=words)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

"""Another command of ours in a process that has imported nothing yet."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

PROGRAM = ["-m", "bear_classifier"]


def become(words: Sequence[str]) -> int:
    """Go on as `bears WORDS`, without this process's libraries: they take memory, and torch tells
    at the end of what it did not free.

    The process stays the same where that is possible, so that signals and its exit code are those
    of the command; on Windows it waits for another one. Returns the exit code, there only."""
    command = [sys.executable, *PROGRAM, *words]
    sys.stdout.flush()
    sys.stderr.flush()
    if sys.platform != "win32":
        os.execv(sys.executable, command)
    child = subprocess.Popen(command)
    while True:
        try:
            return child.wait()
        except KeyboardInterrupt:  # it has heard that, too, and ends when all are answered
            continue

"""The process of a job: started on its own, found again by a later studio, stopped as by Ctrl-C.

A running job holds a lock that it has from the studio since before it existed: whoever can take it
knows that the job is over. So a studio that was killed leaves no doubt, whatever number the system
gave to another process meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import signal
import site
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bear_classifier.runtime import progress_events

LOG, PROGRESS, _LOCK = "log.txt", "progress.jsonl", "running"
_NICE = 10  # the page goes before what it watches
COMMAND_LINE = (sys.executable, "-m", "bear_classifier")
JobProcess = subprocess.Popen[bytes]


def start_job(
    words: Sequence[str], cwd: Path, folder: Path, program: Sequence[str] = COMMAND_LINE
) -> JobProcess:
    """`bears WORDS` in a group of its own. cwd: of the project; folder: of the job; program: what
    takes the words. Raises OSError (BlockingIOError where the job runs already)."""
    command = [*program, *words]
    env = os.environ | {
        progress_events.VARIABLE: str((folder / PROGRESS).absolute()),
        "PYTHONUNBUFFERED": "1",
    }
    if _PACKAGE not in site.getsitepackages():  # a checkout, found from its own folder only
        paths = [_PACKAGE, os.environ.get("PYTHONPATH")]
        env["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    with (folder / LOG).open("ab") as log:
        if sys.platform == "win32":
            flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.BELOW_NORMAL_PRIORITY_CLASS
            return subprocess.Popen(
                command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                creationflags=flags,
            )  # fmt: skip
        lock = _locked(folder)
        try:
            child = subprocess.Popen(
                command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, pass_fds=(lock,),
            )  # fmt: skip
        finally:
            os.close(lock)  # the child has it
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, child.pid, _NICE)
    return child


_PACKAGE = str(Path(__file__).resolve().parents[2])


def _locked(folder: Path) -> int:
    """The lock of a job, as a file that is open. Raises BlockingIOError."""
    import fcntl

    lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(lock)
        raise
    return lock


def is_alive(folder: Path) -> bool:
    """Whether the process of a job runs, whoever started it. Raises OSError."""
    if sys.platform == "win32":  # a file that a process has open cannot be renamed there
        aside = folder / f"{LOG}.aside"
        try:
            (folder / LOG).replace(aside)
        except FileNotFoundError:
            return False
        except PermissionError:
            return True
        aside.replace(folder / LOG)
        return False
    try:
        os.close(_locked(folder))
    except BlockingIOError:
        return True
    except FileNotFoundError:  # its folder was deleted
        return False
    return False


def interrupt(pid: int) -> None:
    """As Ctrl-C in its terminal: the command ends where it can go on later."""
    _send(pid, getattr(signal, "CTRL_BREAK_EVENT", signal.SIGINT))


def terminate(pid: int) -> None:
    _send(pid, signal.SIGTERM)


def _send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if sys.platform == "win32":
            os.kill(pid, number)
        else:
            os.killpg(pid, number)

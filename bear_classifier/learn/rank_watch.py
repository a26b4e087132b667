"""Looks after the other processes of a training: where one has ended, none waits for it for ever.

Each process counts up a number in the store that they share. The operating system tells of a dead
process sooner, by its connections; the launcher ends the others then. This also sees a process that
hangs, and a computer that is gone, and it says which one it was."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import threading
import time
from _thread import interrupt_main
from contextlib import suppress
from types import FrameType
from typing import Any

import torch.distributed as dist
from torch.distributed.distributed_c10d import Store

from bear_classifier.errors import BearsError, TrainError
from bear_classifier.runtime.launcher import Launch
from bear_classifier.runtime.terminal import one_line

_BEAT = 1.0  # seconds
_SILENT = 30.0  # seconds after which a process counts as dead
_GRACE = 10.0  # seconds in which a process is to end by itself, as when it holds files
_TURN = 3.0  # seconds after which another than rank 0 says what happened
_GO_ON = (
    "all processes of this training end. Whole epochs are kept; start it again with the same"
    " command, and it goes on"
)
_LAUNCHER = "the launcher ended this training, as it does after one of its processes has ended"
_NO_STORE = "the launcher, or the computer that it runs on, cannot be reached any more"


class RankWatch:
    """A thread beside the training.

    store: a connection of its own, since one that waits lets nobody else ask. attempt: of the group
    that the main thread uses now; see `ranks.begin_anew`."""

    def __init__(self, store: Store, launch: Launch) -> None:
        self.attempt = 0
        self._thread = threading.Thread(target=self._watch, name="ranks", daemon=True)
        self._store, self._launch = store, launch
        self._lost: BearsError | None = None
        self._quiet = False  # rank 0 says it, or nothing has to be said
        self._unwinding = False
        self._deadline = 0.0
        self._ended = threading.Event()
        self._beats = 0
        self._seen: dict[int, tuple[bytes, float]] = {}  # value and when it came, of other ranks
        self._memory: tuple[int, float] | None = None  # attempt, since when
        where = f"pid {os.getpid()} on {socket.gethostname()}"
        store.set(f"who/{launch.rank}", where)
        store.set(f"beat/{launch.rank}", "0")
        self._woken, wake = socket.socketpair()
        wake.setblocking(False)
        self._wake = wake  # kept open
        self._before = {
            number: signal.signal(number, self._signalled)
            for number in (signal.SIGTERM, signal.SIGINT)
        }
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)

    def start(self) -> None:
        self._thread.start()

    def stop(self, ending: bool = False) -> None:
        """The main thread needs no watch any more. ending: nor does a signal end it, since it is
        about to say why it ends."""
        if not self._ended.is_set():
            self._ended.set()
            signal.set_wakeup_fd(-1)
            for number, handler in self._before.items():
                signal.signal(number, signal.SIG_IGN if ending else handler)
            self._wake.send(b"\0")
            self._thread.join(_TURN)

    def why_lost(self) -> BearsError:
        """Why there is no connection to another process."""
        words = "the connection to another process is gone"
        return self.failure() or TrainError("RANK_LOST", f"{words}; {_GO_ON}")

    def failure(self) -> BearsError | None:
        """What ended the training in another process, if anything did."""
        try:
            self._look_for_failure()
        except RuntimeError:  # of the store
            self._lost = self._lost or TrainError("RANK_LOST", f"{_NO_STORE}; {_GO_ON}")
        return self._lost

    def say_failed(self, exc: BaseException) -> None:
        """To the other processes: why this one ends."""
        self._unwinding = True
        if self._launch.rank == 0:
            self._mark_said()
        if self._lost is not None:
            return  # they know
        code, sentence = "RANK_LOST", f"{self._called(self._launch.rank)} was stopped"
        if isinstance(exc, BearsError):
            code, sentence = exc.code, exc.sentence
        elif not isinstance(exc, KeyboardInterrupt):
            sentence = f"{self._called(self._launch.rank)} failed: {type(exc).__name__}: {exc}"
        message = {"rank": self._launch.rank, "code": code, "sentence": sentence}
        with suppress(RuntimeError):
            self._store.set("failed", json.dumps(message))

    def exit_code(self) -> int:
        """Of a process that is not the first, after `say_failed`. If rank 0 cannot say what
        happened, one of the others does."""
        if self._lost is None:
            return 2
        if not self._quiet and self._lost.code == "RANK_LOST":
            time.sleep(_TURN)
            self._say()
        return 0 if self._quiet else 2

    # -- in its own thread ------------------------------------------------------------------------

    def _watch(self) -> None:
        while True:
            if select.select([self._woken], [], [], _BEAT)[0]:
                signals = self._woken.recv(64)
                if signal.SIGTERM in signals:
                    self._end(TrainError("RANK_LOST", f"{_LAUNCHER}; {_GO_ON}"))
            if self._ended.is_set():
                return
            if self._lost is None:
                try:
                    self._look()
                except RuntimeError:  # of the store
                    self._end(TrainError("RANK_LOST", f"{_NO_STORE}; {_GO_ON}"))
            elif time.monotonic() > self._deadline:
                self._say()  # the main thread waits where no signal reaches it
                os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))

    def _look(self) -> None:
        self._beats += 1
        now, me = time.monotonic(), self._launch.rank
        self._store.set(f"beat/{me}", str(self._beats))
        for rank in range(self._launch.world):
            if rank == me or not self._store.check([f"beat/{rank}"]):
                continue  # it has not begun
            value = self._store.get(f"beat/{rank}")
            before, since = self._seen.get(rank, (b"", now))
            if value != before:
                self._seen[rank] = (value, now)
            elif now - since > _SILENT:
                words = f"{self._called(rank)} has not answered for {_SILENT:.0f} s"
                self._end(TrainError("RANK_LOST", f"{words}; {_GO_ON}"))
                return
        self._look_for_failure()
        self._look_for_memory(now)

    def _look_for_failure(self) -> None:
        if self._lost is not None or not self._store.check(["failed"]):
            return
        message: dict[str, Any] = json.loads(self._store.get("failed"))
        if message["rank"] == self._launch.rank:
            return
        sentence = message["sentence"]
        if message["code"] == "RANK_LOST":
            sentence = f"{sentence}; {_GO_ON}"
        self._quiet = message["rank"] == 0
        self._end(TrainError(message["code"], sentence))

    def _look_for_memory(self, now: float) -> None:
        """Another process ran out of memory: the main thread may wait for it on the GPU, where
        only giving up the group ends that."""
        attempt = self.attempt
        if not self._store.check([f"memory/{attempt}"]):
            return
        if self._memory is None or self._memory[0] != attempt:
            self._memory = (attempt, now)
        elif now - self._memory[1] > _TURN and attempt == self.attempt:
            _abort()

    def _end(self, exc: BearsError) -> None:
        """Raise it in the main thread; where that does not come back, end the process."""
        if self._lost is None and not self._ended.is_set():
            self._lost, self._deadline = exc, time.monotonic() + _GRACE
            _abort()
            interrupt_main(signal.SIGTERM)

    def _say(self) -> None:
        """Once for all processes, unless rank 0 has."""
        if self._quiet or not self._mark_said():
            return
        if self._lost is not None and sys.__stderr__ is not None:
            line = one_line(f"bears: {self._lost.code}: {self._lost.sentence}")
            sys.__stderr__.write(line + "\n")
            sys.__stderr__.flush()

    def _mark_said(self) -> bool:
        """Whether nobody has said before why the training ends."""
        with suppress(RuntimeError):
            return bool(self._store.add("said", 1) == 1)
        return True

    def _called(self, rank: int) -> str:
        with suppress(RuntimeError):
            where = self._store.get(f"who/{rank}").decode()
            return f"process {rank} of {self._launch.world} ({where})"
        return f"process {rank} of {self._launch.world}"

    # -- in the main thread -----------------------------------------------------------------------

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            self._unwinding = True
            raise KeyboardInterrupt
        if self._unwinding:
            return
        self._unwinding = True
        raise self._lost or TrainError("RANK_LOST", f"{_LAUNCHER}; {_GO_ON}")


def _abort() -> None:
    """Whoever waits within the group gets an error."""
    with suppress(RuntimeError, ValueError):
        if dist.is_initialized() and dist.group.WORLD is not None:
            dist.group.WORLD.abort()

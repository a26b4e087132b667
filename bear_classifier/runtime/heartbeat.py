"""A heartbeat on the terminal during work without steps, or with long ones (writing an ONNX file,
importing torch): open progress bars are drawn again or, where none is open, a clock."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bear_classifier.runtime import progress_events
from bear_classifier.runtime.terminal import open_bars

_BEAT = 2.0  # seconds


class TerminalClock:
    """Draws every open bar again or, where there is none, words and a clock.

    The clock is not a tqdm bar, which would push the next one to the line below. It leaves the
    cursor at the start of the line, so that the next print takes its place."""

    def __init__(self, words: str) -> None:
        self.words, self.began, self.drawn = words, time.monotonic(), 0

    def beat(self) -> None:
        from tqdm import tqdm  # only now: most commands end before the first beat

        with tqdm.get_lock():
            bars = open_bars()
            for bar in bars:
                bar.refresh(nolock=True)
            if bars:
                self.drawn = 0
                return
            text = f"{self.words}: {tqdm.format_interval(time.monotonic() - self.began)}"
            self._write(text)
            self.drawn = len(text)

    def close(self) -> None:
        if self.drawn:
            self._write(" " * self.drawn)
            self.drawn = 0

    def _write(self, text: str) -> None:
        sys.stderr.write(f"\r{text}\r")
        sys.stderr.flush()


@contextmanager
def heartbeat(words: str, beat: float = _BEAT) -> Iterator[None]:
    """Within, a terminal shows every few seconds that work goes on. words: what is being done;
    beat: seconds.

    Nothing is drawn where standard error is no terminal, or with --quiet or --json. Print lines
    outside, or by `tqdm.write`. Whoever watches the command hears of its begin and end, too."""
    began = time.monotonic()
    progress_events.report("stage", name=words, state="begun")
    with _drawn(words, beat):
        yield
    seconds = round(time.monotonic() - began, 2)
    progress_events.report("stage", name=words, state="done", seconds=seconds)


@contextmanager
def _drawn(words: str, beat: float) -> Iterator[None]:
    if not sys.stderr.isatty() or os.environ.get("TQDM_DISABLE"):
        yield
        return
    clock, ended = TerminalClock(words), threading.Event()

    def beat_until_ended() -> None:
        while not ended.wait(beat):
            clock.beat()

    thread = threading.Thread(target=beat_until_ended, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        clock.close()

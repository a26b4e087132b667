"""A heartbeat on the terminal during long work: a clock where no progress bar is drawn.

Bars move with the steps of their work. Some work has no steps (writing an ONNX file, importing
torch) or long ones; then the bars that are open are drawn again, or, where none is, a clock.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bear_classifier.runtime.terminal import open_bars

_BEAT = 2.0  # seconds


class TerminalClock:
    """What one beat draws: every open bar again or, where there is none, words and a clock.

    The clock is no bar of tqdm's, which would push the next one to the line below. It leaves the
    cursor where the line begins, so that whatever is printed next takes its place."""

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
            passed = tqdm.format_interval(time.monotonic() - self.began)
            self._write(f"{self.words}: {passed}")
            self.drawn = len(self.words) + 2 + len(passed)

    def close(self) -> None:
        if self.drawn:
            self._write(" " * self.drawn)
            self.drawn = 0

    def _write(self, text: str) -> None:
        sys.stderr.write(f"\r{text}\r")
        sys.stderr.flush()


@contextmanager
def heartbeat(words: str, beat: float = _BEAT) -> Iterator[None]:
    """Within, a terminal shows every few seconds that work goes on. words: what is being done.

    Nothing is drawn where standard error is no terminal, or with --quiet or --json. Whoever prints
    lines does so outside, or by `tqdm.write`. beat: seconds."""
    if not sys.stderr.isatty() or os.environ.get("TQDM_DISABLE"):
        yield
        return
    clock, over = TerminalClock(words), threading.Event()

    def go_on() -> None:
        while not over.wait(beat):
            clock.beat()

    thread = threading.Thread(target=go_on, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        clock.close()

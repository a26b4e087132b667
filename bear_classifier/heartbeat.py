"""A clock on the terminal during long work, so that nothing is silent for more than a few seconds.

Bars move with the steps of their work. Some work has no steps (writing an ONNX file, importing
torch) or long ones; then the bars that are open are drawn again, or, where none is, a clock."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_BEAT = 2.0  # seconds


class Clock:
    """What one beat draws: every open bar again or, where there is none, words and a clock."""

    def __init__(self, words: str) -> None:
        self.words = words
        self._own: Any = None  # a bar of tqdm's without a total

    def beat(self) -> None:
        from tqdm import tqdm  # only now: most commands end before the first beat

        with tqdm.get_lock():
            others = [bar for bar in list(tqdm._instances) if bar is not self._own]
            for bar in others:
                bar.refresh(nolock=True)
        if others:
            self.close()
        elif self._own is None:
            looks = "{desc}: {elapsed}"
            self._own = tqdm(desc=self.words, disable=None, leave=False, bar_format=looks)
        else:
            self._own.refresh()

    def close(self) -> None:
        if self._own is not None:
            self._own.close()
            self._own = None


@contextmanager
def heartbeat(words: str, beat: float = _BEAT) -> Iterator[None]:
    """Within, a terminal shows every few seconds that work goes on. words: what is being done.

    Nothing is drawn where standard error is no terminal, or with --quiet or --json. Whoever prints
    lines does so outside, or by `tqdm.write`. beat: seconds."""
    if not sys.stderr.isatty() or os.environ.get("TQDM_DISABLE"):
        yield
        return
    clock, over = Clock(words), threading.Event()

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

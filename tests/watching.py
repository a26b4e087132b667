"""What a watched command reports, while a test does its work."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bear_classifier.runtime import progress_events


@contextmanager
def watched(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Within, this process is a watched command. Gives what reads the lines so far."""
    handler = signal.getsignal(signal.SIGINT)
    monkeypatch.setenv(progress_events.VARIABLE, str(file))
    progress_events.begin_log()
    try:
        yield lambda: [json.loads(line) for line in file.read_bytes().splitlines()]
    finally:
        progress_events.end_log(0)
        signal.signal(signal.SIGINT, handler)

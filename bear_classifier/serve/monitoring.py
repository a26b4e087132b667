"""What the service records of itself: JSON lines as its log, and Prometheus metrics."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import traceback
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_FIELDS = ("request", "method", "route", "status", "code", "bytes", "ms", "trace")
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """admitted: counts the photos in the service."""

    def __init__(self, admitted: Callable[[], int]) -> None:
        self.registry = registry = CollectorRegistry()
        self._requests = Counter(
            "bears_requests", "Requests answered", ["route", "status"], registry=registry
        )
        self._seconds = Histogram(
            "bears_request_seconds", "Time to the end of the answer", ["route"],
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self._answers = Counter(
            "bears_answers", "Photos answered", ["model", "reason"], registry=registry
        )
        gauge = Gauge("bears_photos_inside", "Photos worked on or waiting", registry=registry)
        gauge.set_function(admitted)

    def count(self, route: str, status: int, seconds: float) -> None:
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def answered(self, model: str, reason: str) -> None:
        self._answers.labels(model, reason).inc()

    def text(self) -> bytes:
        return generate_latest(self.registry)


class Lines(logging.Formatter):
    """Only known fields are written, so that nothing about a person can slip in."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, timezone.utc)
        row = {"at": at.isoformat(timespec="milliseconds"), "level": record.levelname.lower()}
        ours = record.name.partition(".")[0] == "bears"  # others quote what they were given
        row["event"] = record.getMessage() if ours else record.name
        row |= {name: getattr(record, name) for name in _FIELDS if hasattr(record, name)}
        if record.exc_info and record.exc_info[1]:
            row["trace"] = error_places(record.exc_info[1])
        return json.dumps(row)


def error_places(exc: BaseException | None) -> str:
    """The kinds of the errors and the lines where they were raised, the cause last; without their
    messages, which may quote a file's name."""
    chain = []
    while exc:
        frames = traceback.extract_tb(exc.__traceback__)
        where = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]
        chain.append(" < ".join([type(exc).__name__, *reversed(where)]))
        exc = exc.__cause__ or exc.__context__
    return "; ".join(chain)


@contextlib.contextmanager
def logging_to_stderr() -> Iterator[None]:
    """Lines of JSON: ours from INFO on, of libraries warnings and errors."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines())
    root, ours = logging.getLogger(), logging.getLogger("bears")
    before, level = root.handlers[:], ours.level
    root.handlers[:] = [handler]
    ours.setLevel(logging.INFO)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.handlers[:] = before
        ours.setLevel(level)

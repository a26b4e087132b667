"""Logs as JSON lines."""

from __future__ import annotations

import json
import logging
import traceback
from datetime import datetime, timezone
from pathlib import Path

_FIELDS = ("request", "method", "route", "status", "code", "bytes", "ms", "trace")


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
    """The kinds of the errors and the lines where they were met, the cause last. Not what they say,
    which may quote a file's name."""
    found = []
    while exc:
        frames = traceback.extract_tb(exc.__traceback__)
        where = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]
        found.append(" < ".join([type(exc).__name__, *reversed(where)]))
        exc = exc.__cause__ or exc.__context__
    return "; ".join(found)

"""A line of JSON for each event: for programs that read logs."""

from __future__ import annotations

import json
import logging
from datetime import datetime, timezone

_FIELDS = ("request", "method", "route", "status", "code", "bytes", "ms", "trace")


class Lines(logging.Formatter):
    """Only known fields are written, so that nothing about a person can slip in."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, timezone.utc)
        row = {"at": at.isoformat(timespec="milliseconds"), "level": record.levelname.lower()}
        row["event"] = record.getMessage()
        row |= {name: getattr(record, name) for name in _FIELDS if hasattr(record, name)}
        if record.exc_info:
            row["trace"] = self.formatException(record.exc_info)
        return json.dumps(row)

"""Strict JSON: no NaN, no duplicate surprises, numbers within range."""

from __future__ import annotations

import json
from typing import Any


def strict_json(data: bytes) -> Any:
    """What these bytes say. Raises ValueError, also for NaN, Infinity and 1e999, for halves of a
    surrogate pair, and for what is nested too deeply."""
    try:
        value = json.loads(data)
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except RecursionError as exc:
        raise ValueError("nested too deeply") from exc
    return value

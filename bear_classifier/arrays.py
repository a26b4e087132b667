"""Arrays in a file that runs nothing when it is read."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray


def as_npz(**values: NDArray[Any]) -> bytes:
    """An .npz file of plain arrays; read it with numpy.load(..., allow_pickle=False)."""
    buffer = io.BytesIO()
    np.savez(buffer, **values)  # type: ignore[arg-type]
    return buffer.getvalue()


def as_small_npz(**values: NDArray[Any]) -> bytes:
    """The same, compressed: slower, for what is published."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **values)  # type: ignore[arg-type]
    return buffer.getvalue()

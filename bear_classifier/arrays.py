"""Arrays: in a file that runs nothing when it is read, and products that wake no threads."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FEW = 4  # rows
Floats = NDArray[np.float32]


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


def products(asked: Floats, known: Floats) -> Floats:
    """Dot products (m, n) of rows (m, f) with rows (n, f).

    Of a few rows without BLAS: its threads, once woken, keep turning for a tenth of a second, on
    the processors that the network of the next photo needs."""
    if len(asked) > _FEW:
        return np.asarray(asked @ known.T)
    return np.asarray(np.einsum("mf,nf->mn", asked, known))

"""Arrays in .npz files without pickle, and matrix products that start no BLAS threads."""

from __future__ import annotations

import io
import math
import struct
import zipfile
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FEW = 4  # rows
Floats32 = NDArray[np.float32]


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


def read_npz(data: bytes, most: int) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz file that somebody else may have made. most: bytes of all of them.

    Sizes are read before anything is unpacked, so that a small file cannot ask for all memory.
    Raises ValueError (also zipfile.BadZipFile as such) where it is none, or larger."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            if sum(entry.file_size for entry in entries) > most:
                raise ValueError(f"its arrays take more than {most} bytes")
            for entry in entries:
                _whole(archive, entry)
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            return {name: np.asarray(file[name]) for name in file.files}
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, KeyError,
            TypeError, SyntaxError, OverflowError, OSError, struct.error) as exc:  # fmt: skip
        raise ValueError(f"no file of arrays: {exc}") from exc


def _whole(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
    """An array is allocated as its header says, before its numbers come: they have to be there."""
    with archive.open(entry) as file:
        version = np.lib.format.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"{entry.filename} is of format {version}")
        read = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read(file)
        if dtype.hasobject or math.prod(shape) * dtype.itemsize > entry.file_size:
            raise ValueError(f"{entry.filename} has not the numbers that its header says")


def products(asked: Floats32, known: Floats32) -> Floats32:
    """Dot products (m, n) of rows (m, f) with rows (n, f).

    Of a few rows without BLAS: its threads, once woken, keep turning for a tenth of a second, on
    the processors that the network of the next photo needs."""
    if len(asked) > _FEW:
        return np.asarray(asked @ known.T)
    return np.asarray(np.einsum("mf,nf->mn", asked, known))

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
    """As `as_npz`, compressed: slower, for what is published."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **values)  # type: ignore[arg-type]
    return buffer.getvalue()


def read_npz(data: bytes, most: int) -> dict[str, NDArray[Any]]:
    """The arrays of an untrusted .npz file. most: bytes of all of them.

    Sizes are read before anything is unpacked, so that a small file cannot ask for all memory.
    Raises ValueError for another or damaged file, or a larger one."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            if sum(entry.file_size for entry in entries) > most:
                raise ValueError(f"its arrays take more than {most} bytes")
            for entry in entries:
                _check_header(archive, entry)
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            return {name: np.asarray(file[name]) for name in file.files}
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, KeyError,
            TypeError, SyntaxError, OverflowError, OSError, struct.error) as exc:  # fmt: skip
        raise ValueError(f"no file of arrays: {exc}") from exc


def _check_header(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
    """numpy allocates what a header states before it reads numbers: as many have to be there."""
    npy = np.lib.format
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    with archive.open(entry) as file:
        version = npy.read_magic(file)
        if version not in readers:
            raise ValueError(f"{entry.filename} is of format {version}")
        shape, _, dtype = readers[version](file)
        if dtype.hasobject or math.prod(shape) * dtype.itemsize > entry.file_size:
            raise ValueError(f"{entry.filename} has not the numbers that its header says")


def products(rows: Floats32, others: Floats32) -> Floats32:
    """Dot products (m, n) of rows (m, f) with rows (n, f).

    Few rows go without BLAS, whose threads, once woken, spin for a tenth of a second on the
    processors that the network of the next photo needs."""
    if len(rows) > _FEW:
        return np.asarray(rows @ others.T)
    return np.asarray(np.einsum("mf,nf->mn", rows, others))

"""Arrays in .npz files without pickle, and matrix products that start no BLAS threads."""

from __future__ import annotations

import io
import math
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

_FEW = 4  # rows
_LOCAL_HEADER = 30  # bytes of a file's header in an archive, before its name (APPNOTE.TXT, 4.3.7)
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
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


def write_npz(file: BinaryIO, values: Mapping[str, NDArray[Any]]) -> None:
    """As `as_npz`, into a file, without a copy of the arrays in memory."""
    np.savez(file, **values)  # type: ignore[arg-type]


def mapped_npz(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a whole .npz file of `as_npz`, which stay in it until they are needed.

    Raises OSError, and ValueError or BadZipFile for another or a damaged file."""
    found: dict[str, NDArray[Any]] = {}
    with zipfile.ZipFile(path) as archive, path.open("rb") as file:
        if archive.testzip():
            raise ValueError(f"{path} is damaged")
        for entry in archive.infolist():
            if entry.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{path} is compressed")
            file.seek(entry.header_offset + _LOCAL_HEADER - 4)  # lengths of name and extra field
            file.seek(sum(struct.unpack("<HH", file.read(4))), io.SEEK_CUR)
            shape, fortran, dtype = _HEADERS[np.lib.format.read_magic(file)](file)
            if dtype.hasobject:
                raise ValueError(f"{path} holds objects")
            name, at = entry.filename.removesuffix(".npy"), file.tell()
            if not math.prod(shape):  # nothing that could be mapped
                found[name] = np.empty(shape, dtype)
            else:
                order: Literal["F", "C"] = "F" if fortran else "C"
                found[name] = np.memmap(path, dtype, "r", at, shape, order)
    return found


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
    with archive.open(entry) as file:
        version = np.lib.format.read_magic(file)
        if version not in _HEADERS:
            raise ValueError(f"{entry.filename} is of format {version}")
        shape, _, dtype = _HEADERS[version](file)
        if dtype.hasobject or math.prod(shape) * dtype.itemsize > entry.file_size:
            raise ValueError(f"{entry.filename} has not the numbers that its header says")


def products(rows: Floats32, others: Floats32) -> Floats32:
    """Dot products (m, n) of rows (m, f) with rows (n, f).

    Few rows go without BLAS, whose threads, once woken, spin for a tenth of a second on the
    processors that the network of the next photo needs."""
    if len(rows) > _FEW:
        return np.asarray(rows @ others.T)
    return np.asarray(np.einsum("mf,nf->mn", rows, others))

"""Rows of numbers by SHA-256, in files of up to 2,048 rows that are written once.

    PLAN/00003-of-00032.txt   names, sorted, one a line: the SHA-256 and what follows a dot
    PLAN/00003-of-00032.npy   a row of named columns for each of them, in that order

A plan is a folder, named by the names in it. What is new gets a plan of its own, so that no file
changes; a list without rows is work to do. Rows are appended to a `.begun` file, which is renamed
when it is whole. Each row has the CRC-32 of its name and its numbers.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from bear_classifier.runtime.files import move, replace, write_errors

SHARD_ROWS = 2_048  # rows of a file: some 10 MB of features
_CHECK = "crc32"
_Array = NDArray[Any]


def row_type(**columns: int) -> np.dtype[Any]:
    """Of rows with these columns of 32-bit floats. columns: their widths, 0 for a single number."""
    fields = [(name, "<f4", (width,) if width else ()) for name, width in columns.items()]
    return np.dtype([(_CHECK, "<u4"), *fields])


def plan(folder: Path, names: Iterable[str]) -> list[Path]:
    """The lists below `folder` whose rows are to be made, so that every name has a row; what no
    list holds yet gets a new one. names: distinct. Raises DataError (DISK_FULL, CANNOT_WRITE)."""
    wanted, pending, lists = {_key(name): name for name in names}, [], _lists(folder)
    for made in filter(is_made, lists):
        for key in _keys(made):
            wanted.pop(key, None)
    for list_ in lists:
        keys = [] if is_made(list_) else _keys(list_)
        if keys and all(key in wanted for key in keys):
            pending.append(list_)
            for key in keys:
                del wanted[key]
    return [*pending, *_new_plan(folder, sorted(wanted.values()))]


def pending(folder: Path) -> list[Path]:
    """The lists below a folder whose rows are to be made."""
    return [list_ for list_ in _lists(folder) if not is_made(list_)]


def drop_others(folder: Path, lists: Sequence[Path]) -> None:
    """Remove the lists below a folder whose rows are to be made, but for these: of photos that are
    no longer wanted together."""
    for list_ in set(pending(folder)) - set(lists):
        list_.with_suffix(".begun").unlink(missing_ok=True)
        list_.unlink(missing_ok=True)


def number_of(list_: Path) -> int:
    """Which of its plan a list is, from 0."""
    return int(list_.stem.partition("-")[0])


def _new_plan(folder: Path, names: Sequence[str]) -> list[Path]:
    """Lists of these names by the first bits of their hashes, all there at once. Two programs that
    plan the same make the same folder."""
    if not names:
        return []
    bits = max(0, len(names) - 1).bit_length() - SHARD_ROWS.bit_length() + 1
    parts: dict[int, list[str]] = {}
    for name in names:
        parts.setdefault(int(name[:8], 16) >> (32 - bits) if bits > 0 else 0, []).append(name)
    text = {
        f"{number:05}-of-{1 << max(0, bits):05}.txt": "".join(f"{name}\n" for name in part)
        for number, part in sorted(parts.items())
    }
    target = folder / hashlib.sha256("".join(text.values()).encode()).hexdigest()[:16]
    partial = folder / f".{target.name}.{uuid4().hex}.plan"
    with write_errors(target):
        partial.mkdir(parents=True, exist_ok=True)
        for name, part_text in text.items():
            (partial / name).write_bytes(part_text.encode())
        try:
            partial.rename(target)
        except OSError:
            if not target.is_dir():  # else another program planned the same at the same moment
                raise
            shutil.rmtree(partial)
    return [target / name for name in text]


def is_made(list_: Path) -> bool:
    """Whether all rows of a list are there."""
    return list_.with_suffix(".npy").is_file()


def listed_names(list_: Path) -> list[str]:
    """The names in a list, in the order of its rows. Raises OSError."""
    return list_.read_text(encoding="ascii").split()


class Writer:
    """Appends the rows of a list. In a `with` block: what was interrupted is kept and gone on with;
    when all rows are there the file gets its name. `done`: rows that are there already."""

    def __init__(self, list_: Path, row: np.dtype[Any], step: int) -> None:
        """row: of `row_type`; step: rows that are made together: `done` is a multiple of it.
        Raises DataError (DISK_FULL, CANNOT_WRITE)."""
        self._path, self._row = list_.with_suffix(".npy"), row
        self._keys = [_key(name).encode() for name in listed_names(list_)]
        self._mine = self._path.with_name(f".{self._path.name}.{uuid4().hex}.partial")
        with write_errors(self._path):
            with suppress(FileNotFoundError):  # another program has it, or nothing was begun
                self._path.with_suffix(".begun").rename(self._mine)
            self._file: BinaryIO = self._mine.open("r+b" if self._mine.exists() else "w+b")
            self.done = self._take_over(step)

    def _take_over(self, step: int) -> int:
        """Keep the whole rows that a file of the same kind begins with."""
        head = _header(self._row, len(self._keys))
        rows = 0
        if self._file.read(len(head)) == head:
            there = np.frombuffer(self._file.read(), np.uint8)
            there = there[: len(there) // self._row.itemsize * self._row.itemsize]
            right = _checks(there.view(self._row)[: len(self._keys)], self._keys)
            rows = len(right) if right.all() else int(np.argmin(right))
            rows = rows if rows == len(self._keys) else rows // step * step
        else:
            self._file.seek(0)
            self._file.write(head)
        end = len(head) + rows * self._row.itemsize
        self._file.truncate(end)
        self._file.seek(end)
        return rows

    def add(self, **columns: _Array) -> None:
        """The next rows. columns: as in `row_type`, (n,) or (n, width)."""
        rows = np.zeros(len(next(iter(columns.values()))), self._row)
        for name, values in columns.items():
            rows[name] = values
        keys = self._keys[self.done : self.done + len(rows)]
        rows[_CHECK] = _crcs(rows, keys)
        with write_errors(self._path):
            self._file.write(rows.tobytes())
            self._file.flush()
        self.done += len(rows)

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, _: TracebackType | None
    ) -> None:
        whole = self.done == len(self._keys)
        with write_errors(self._path):
            if whole:
                os.fsync(self._file.fileno())
            self._file.close()
            if not whole:
                replace(self._mine, self._path.with_suffix(".begun"))
        if whole:
            move(self._mine, self._path)


class StoredRows:
    """The rows below a folder; numbers stay in their files until they are asked for."""

    def __init__(self, folder: Path) -> None:
        """Raises OSError and ValueError where nothing is there, or what is there is damaged."""
        self._lists = [path for path in _lists(folder) if is_made(path)]
        if not self._lists:
            raise FileNotFoundError(str(folder))
        self._index([np.array(_keys(path), dtype="S64") for path in self._lists])
        first = np.load(self._lists[0].with_suffix(".npy"), mmap_mode="r", allow_pickle=False)
        self.row: np.dtype[Any] = first.dtype

    @classmethod
    def in_memory(cls, names: Sequence[str], **columns: _Array) -> StoredRows:
        """Rows that come from elsewhere. columns: (n,) or (n, width)."""
        made = cls.__new__(cls)
        widths = {name: values[0].size * (values.ndim > 1) for name, values in columns.items()}
        made.row, made._lists = row_type(**widths), []
        made._index([np.array(names, dtype="S64")])
        made._memory = np.zeros(len(names), made.row)
        for name, values in columns.items():
            made._memory[name] = values
        return made

    def _index(self, keys: list[_Array]) -> None:
        self._starts = np.cumsum([0, *map(len, keys)])
        self._keys = np.concatenate(keys)
        self._order = np.argsort(self._keys, kind="stable")
        self._memory: _Array | None = None

    def __len__(self) -> int:
        return len(self._keys)

    def names(self) -> list[str]:
        """The SHA-256 of each row."""
        return [key.decode() for key in self._keys.tolist()]

    def find(self, names: Sequence[str]) -> NDArray[np.int64]:
        """The row (n,) of each name, -1 where there is none."""
        wanted = np.array(names, dtype="S64")
        place = np.searchsorted(self._keys, wanted, sorter=self._order)
        rows = self._order[np.minimum(place, len(self._keys) - 1)]
        return np.asarray(np.where(self._keys[rows] == wanted, rows, -1), dtype=np.int64)

    def take(self, column: str, rows: NDArray[np.int64]) -> _Array:
        """A column of these rows, read from their files. Raises OSError and ValueError."""
        kind = self.row[column]
        found = np.empty((len(rows), *kind.shape), kind.base)
        of_file = np.searchsorted(self._starts, rows, side="right") - 1
        order = np.argsort(of_file, kind="stable")
        numbers, first = np.unique(of_file[order], return_index=True)
        for number, some in zip(numbers.tolist(), np.split(order, first[1:]), strict=True):
            stored = self._open(number)  # mapped for this moment only, so that memory is bounded
            found[some] = stored[column][rows[some] - self._starts[number]]
        return found

    def _open(self, number: int) -> _Array:
        if self._memory is not None:
            return self._memory
        stored = np.load(self._lists[number].with_suffix(".npy"), mmap_mode="r", allow_pickle=False)
        size = self._starts[number + 1] - self._starts[number]
        if stored.shape != (size,) or stored.dtype != self.row:
            raise ValueError(f"{self._lists[number]} and its rows do not match")
        return np.asarray(stored)


class Column:
    """A column of stored rows as an array that is read in parts: `column[rows]` is one in memory.
    rows: slice, (m,) numbers or (n,) booleans."""

    def __init__(self, stored: StoredRows, name: str, at: NDArray[np.int64]) -> None:
        """at: (n,) rows of `stored`. Raises KeyError for one below 0, and of another column."""
        if (at < 0).any() or name not in (stored.row.names or ()):
            raise KeyError(name)
        self._stored, self._name, self._at = stored, name, at

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self._at), *self._stored.row[self._name].shape)

    def __len__(self) -> int:
        return len(self._at)

    def __getitem__(self, rows: Any) -> _Array:
        return self._stored.take(self._name, self._at[rows])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> _Array:
        return np.asarray(self[:], dtype)

    def at(self, rows: NDArray[np.int64]) -> Column:
        """The column of some of its rows."""
        return Column(self._stored, self._name, self._at[rows])


def files(folder: Path) -> Iterator[Path]:
    """The files of rows below a folder, those that are still to be made included."""
    return (path.with_suffix(".npy") for path in _lists(folder))


def is_whole(file: Path) -> bool:
    """Whether all rows of a file match their CRC. Raises OSError and ValueError."""
    stored = np.load(file, mmap_mode="r", allow_pickle=False)
    keys = [_key(name).encode() for name in listed_names(file.with_suffix(".txt"))]
    return stored.shape == (len(keys),) and bool(_checks(stored, keys).all())


def _checks(rows: _Array, keys: Sequence[bytes]) -> NDArray[np.bool_]:
    """(n,) whether the CRC of each row is right."""
    return np.asarray(rows[_CHECK] == _crcs(rows, keys[: len(rows)]), dtype=bool)


def _crcs(rows: _Array, keys: Sequence[bytes]) -> list[int]:
    if not len(rows):
        return []
    numbers = np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), -1)[:, 4:]
    return [zlib.crc32(row, zlib.crc32(key)) for row, key in zip(numbers, keys, strict=True)]


def _header(row: np.dtype[Any], n: int) -> bytes:
    buffer = io.BytesIO()
    descr = np.lib.format.dtype_to_descr(row)
    about = {"descr": descr, "fortran_order": False, "shape": (n,)}
    np.lib.format.write_array_header_1_0(buffer, about)
    return buffer.getvalue()


def _lists(folder: Path) -> list[Path]:
    """Hidden folders are plans that another program is about to put there, or takes away."""
    if not folder.is_dir():
        return []
    plans = [path for path in folder.iterdir() if not path.name.startswith(".")]
    return sorted(list_ for plan in plans for list_ in plan.glob("*.txt"))


def _keys(list_: Path) -> list[str]:
    return [_key(name) for name in listed_names(list_)]


def _key(name: str) -> str:
    return name.partition(".")[0]

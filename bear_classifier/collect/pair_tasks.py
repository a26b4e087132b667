"""Near-copies of many photos as tasks of an engine: workers map the hashes from files of the
dataset, and leave the near pairs of a few samples in a file; the head merges these files."""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bear_classifier import __version__
from bear_classifier.config.settings import EngineConfig
from bear_classifier.engine.choice import in_order
from bear_classifier.runtime.files import write_atomic
from bear_classifier.runtime.npz import as_npz, read_npz
from bear_classifier.stats.arrays import Ints
from bear_classifier.stats.near_pairs import (
    HashWords,
    NearPairs,
    ShardRun,
    fill_ranges,
    on_threads,
    pair_shard,
)

_LEAST = 500_000  # hashes; two processors compare fewer before an engine has started
_FOLDER = "near_copies"
_FILES = ("hashes", "words", "filled")  # as in `HashWords`
_ALIKE = "alike"
_MOST = 1 << 30  # bytes of a file of pairs, see `near_pairs._HELD`


@dataclass(frozen=True)
class PairTask:
    """folder: with the hashes; limit: bits; number: of the `pair_shard`; alike: whether the sets of
    hashes that are much alike are known."""

    folder: Path
    limit: int
    number: int
    alike: bool

    @property
    def file(self) -> Path:
        return self.folder / f"{self.number:05}.npz"


@contextmanager
def pairs_by(root: Path, engine: EngineConfig) -> Iterator[ShardRun]:
    """What runs the shards of `near_blocks`: the engine where there are many hashes. Of what was
    interrupted finished shards are not done again; after a whole block nothing stays.

    root: the dataset. In the block it raises as `engine.choice.each`, and DataError (DISK_FULL,
    CANNOT_WRITE)."""

    def run(
        words: HashWords, limit: int, numbers: Sequence[int], alike: Ints | None
    ) -> Generator[NearPairs, None, None]:
        if len(words.filled) < _LEAST:
            yield from on_threads(words, limit, numbers, alike)
            return
        folder = root.absolute() / _FOLDER / _digest(words, limit)
        _write(folder, dict(zip(_FILES, (words.hashes, words.words, words.filled), strict=True)))
        if alike is not None:
            _write(folder, {_ALIKE: alike})
        tasks = [PairTask(folder, limit, number, alike is not None) for number in numbers]
        left = [task for task in tasks if not task.file.is_file()]
        ended = in_order(write_pairs, left, engine)
        for task in tasks:
            if task in left:
                next(ended)
            yield _read(task.file) or pair_shard(words, limit, task.number, alike)

    # Workers that share no folder with the head would wait longer for the hashes than it computes.
    yield on_threads if engine.name == "local" or engine.storage else run
    shutil.rmtree(root / _FOLDER, ignore_errors=True)


def write_pairs(task: PairTask) -> int:
    """Find the near pairs of a shard and write them, unless they are there. Returns its number."""
    if _read(task.file) is None:
        words = _mapped(task.folder)
        alike = np.load(task.folder / f"{_ALIKE}.npy", mmap_mode="r") if task.alike else None
        found = pair_shard(words, task.limit, task.number, alike)
        write_atomic(task.file, as_npz(packed=found.packed, whole=np.array(found.whole)))
    return task.number


def _digest(words: HashWords, limit: int) -> str:
    """Of all that decides on the pairs."""
    sha = hashlib.sha256(repr((__version__, limit, fill_ranges(limit))).encode())
    sha.update(words.hashes.tobytes())
    return sha.hexdigest()[:16]


def _write(folder: Path, arrays: dict[str, NDArray[np.generic]]) -> None:
    for name, values in arrays.items():
        if not (folder / f"{name}.npy").is_file():
            buffer = io.BytesIO()
            np.save(buffer, values)
            write_atomic(folder / f"{name}.npy", buffer.getvalue())


@lru_cache(1)
def _mapped(folder: Path) -> HashWords:
    """Pages of the files are shared by all workers of a machine."""
    return HashWords(*(np.load(folder / f"{name}.npy", mmap_mode="r") for name in _FILES))


def _read(file: Path) -> NearPairs | None:
    """None where it is not there, or damaged."""
    try:
        stored = read_npz(file.read_bytes(), _MOST)
        return NearPairs(stored["packed"], bool(stored["whole"]))
    except (OSError, ValueError, KeyError):
        return None

"""Whole or not there: what stands in the place of a file after a full disk and after kill -9."""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from waiting import STUCK

from bear_classifier.errors import DataError
from bear_classifier.runtime.files import write_atomic

Child = Callable[..., "subprocess.Popen[str]"]
FULL = """
import resource, sys
from pathlib import Path
from bear_classifier.errors import DataError
from bear_classifier.runtime.files import write_atomic
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
try:
    write_atomic(Path(sys.argv[1]), b"new" * 100_000)
except DataError as exc:
    print(exc)
"""
FOREVER = """
import itertools, sys
from pathlib import Path
from bear_classifier.runtime.files import write_atomic
for n in itertools.count(1):
    write_atomic(Path(sys.argv[1]), bytes([n % 256]) * 2_000_000)
    print(n, flush=True)
"""


def test_written_with_its_folders(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "x.bin"
    write_atomic(path, b"one")
    write_atomic(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(path.parent.iterdir()) == [path]


def test_full_disk_keeps_the_old_file(tmp_path: Path, child: Child) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(b"old")
    said, _ = child(FULL, path).communicate(timeout=STUCK)
    full = f"DISK_FULL: no space left to write {path}"
    assert said == f"{full}; what was there before is kept; free some and run again\n"
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_full_disk_leaves_nothing_where_nothing_was(tmp_path: Path, child: Child) -> None:
    assert child(FULL, tmp_path / "x.bin").communicate(timeout=STUCK)[0].startswith("DISK_FULL: ")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_the_place(tmp_path: Path) -> None:
    (tmp_path / "x" / "y").mkdir(parents=True)
    with pytest.raises(DataError, match=r"^CANNOT_WRITE: .*x cannot be written: "):
        write_atomic(tmp_path / "x", b"new")
    assert list(tmp_path.iterdir()) == [tmp_path / "x"]


def test_a_file_where_a_folder_is_needed(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"old")
    with pytest.raises(DataError, match=r"^CANNOT_WRITE: .* cannot be written: "):
        write_atomic(tmp_path / "x" / "y", b"new")
    assert (tmp_path / "x").read_bytes() == b"old"


def test_kill_at_thirty_random_moments(tmp_path: Path, child: Child) -> None:
    path, dice = tmp_path / "x.bin", random.Random(1)
    for _ in range(30):
        process = child(FOREVER, path)
        assert process.stdout is not None
        assert process.stdout.readline() == "1\n"
        time.sleep(dice.uniform(0, 0.01))
        process.kill()
        process.wait()
        data = path.read_bytes()
        assert data == data[:1] * 2_000_000

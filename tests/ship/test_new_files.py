"""Files that come into a folder: each once, and whole."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from bear_classifier.ship.new_files import new_files


class Enough(Exception):
    """Nobody looks any more."""


def watched(folder: Path, *steps: Callable[[], object]) -> list[str]:
    """What came of a folder in which a step is done before each look but the first."""
    waiting, found = list(steps), []

    def pause(seconds: float) -> None:
        if not waiting:
            raise Enough
        waiting.pop(0)()

    try:
        for path in new_files(folder, 0.5, lambda path: path.suffix != ".csv", pause):
            found.append(path.relative_to(folder).as_posix())
    except Enough:
        return found
    raise AssertionError("it ended by itself")


def wait() -> None:
    """One more look."""


def test_a_file_comes_once_it_no_longer_grows(tmp_path: Path) -> None:
    growing = tmp_path / "a.jpg"
    steps = [
        lambda: growing.write_bytes(b"1"),
        lambda: growing.write_bytes(b"12"),
        lambda: growing.write_bytes(b"123"),
    ]
    assert watched(tmp_path, *steps) == []
    growing.unlink()
    assert watched(tmp_path, *steps, wait, wait, wait) == ["a.jpg"]


def test_new_folders_and_changed_files_come_too(tmp_path: Path) -> None:
    (tmp_path / "b.jpg").write_bytes(b"b")
    (tmp_path / "table.csv").write_bytes(b"no photo")

    def more() -> None:
        (tmp_path / "day 2").mkdir()
        (tmp_path / "day 2" / "c.jpg").write_bytes(b"c")

    def change() -> None:
        (tmp_path / "b.jpg").write_bytes(b"another")
        os.utime(tmp_path / "b.jpg", ns=(1, 1))

    assert watched(tmp_path, wait, more, wait, change, wait, wait) == [
        "b.jpg",
        "day 2/c.jpg",
        "b.jpg",
    ]


def test_what_is_gone_meanwhile_is_no_file(tmp_path: Path) -> None:
    photo = tmp_path / "d.jpg"
    steps = [lambda: photo.write_bytes(b"d"), photo.unlink, wait, lambda: photo.write_bytes(b"d")]
    assert watched(tmp_path, *steps, wait, wait) == ["d.jpg"]

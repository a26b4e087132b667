"""Archives that are sent while they are made."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import pytest
from corpus import drawn, saved

from bear_classifier.studio.zip_stream import archive_entries, zipped


def test_every_file_comes_out_as_it_went_in(tmp_path: Path) -> None:
    photo, text = saved(drawn(seed=1), "PNG"), b"words " * 100_000
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "a.png").write_bytes(photo)
    (tmp_path / "b.json").write_bytes(text)
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / ".nojekyll").write_bytes(b"")
    (tmp_path / ".a.1-2.partial").write_bytes(b"x")
    (tmp_path / "deep" / ".marker").write_bytes(b"x")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config").write_bytes(b"x")
    pieces = list(zipped([*archive_entries(tmp_path, "top", [".marker"]), ("added.txt", b"more")]))
    archive = zipfile.ZipFile(io.BytesIO(b"".join(pieces)))
    assert archive.testzip() is None
    assert {name: archive.read(name) for name in archive.namelist()} == {
        "top/.nojekyll": b"",
        "top/b.json": text,
        "top/deep/er/a.png": photo,
        "top/empty": b"",
        "added.txt": b"more",
    }
    kinds = {info.filename: info.compress_type for info in archive.infolist()}
    assert kinds["top/deep/er/a.png"] == zipfile.ZIP_STORED
    assert kinds["top/b.json"] == zipfile.ZIP_DEFLATED


def test_no_more_than_a_block_is_held(tmp_path: Path) -> None:
    (tmp_path / "large.jpg").write_bytes(os.urandom(3_000_000))
    sizes = [len(piece) for piece in zipped(archive_entries(tmp_path, "x"))]
    assert sum(sizes) > 3_000_000 and max(sizes) < 300_000


@pytest.mark.parametrize("seconds", [0, 5_000_000_000])
def test_times_that_an_archive_cannot_hold(tmp_path: Path, seconds: int) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"a")
    os.utime(path, (seconds, seconds))
    data = b"".join(zipped([("a", path)]))
    assert zipfile.ZipFile(io.BytesIO(data)).read("a") == b"a"


def test_a_file_that_is_gone_ends_the_archive(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        list(zipped([("a", tmp_path / "a")]))

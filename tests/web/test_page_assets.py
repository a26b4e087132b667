"""Libraries of pages: only what was published under their name, and nothing of it by halves."""

from __future__ import annotations

import base64
import hashlib
import io
import stat
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
import within

from bear_classifier.errors import DataError
from bear_classifier.web import page_assets
from bear_classifier.web.page_assets import ONNX_RUNTIME, Asset, fetch, folder_of, unpacked


def archive(**files: bytes) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return made.getvalue()


PACKED = archive(**{"code.mjs": b"export const a = 1;", "LICENSE": b"free", "rest.js": b"more"})
SMALL = Asset(
    "small",
    "1.2.3",
    base64.b64encode(hashlib.sha512(PACKED).digest()).decode(),
    {"package/code.mjs": "code.mjs", "package/LICENSE": "LICENSE"},
    "MIT",
)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BEARS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(page_assets, "ASSETS", (SMALL,))
    return tmp_path / "cache" / "assets" / "small-1.2.3"


def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bytes, code: int = 0) -> Path:
    """A client that packs these bytes and notes what it was asked for."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "packed").write_bytes(packed)
    program = folder / "npm"
    program.write_text(
        f"#!{sys.executable}\nimport pathlib, shutil, sys\nhere = pathlib.Path({str(folder)!r})\n"
        "with open(here / 'asked', 'a') as file:\n    print(*sys.argv[1:], file=file)\n"
        f"if {code}:\n    sys.exit('npm error: no network')\n"
        "shutil.copy(here / 'packed', 'small-1.2.3.tgz')\n",
        encoding="utf-8",
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(folder))
    return folder / "asked"


def test_what_was_named_is_fetched_once(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = npm(tmp_path, monkeypatch, PACKED)
    assert folder_of(SMALL) is None
    assert [(one.folder, one.is_new) for one in fetch()] == [(cache, True)]
    assert {path.name: path.read_bytes() for path in cache.iterdir()} == {
        "code.mjs": b"export const a = 1;",
        "LICENSE": b"free",
    }
    assert [one.is_new for one in fetch()] == [False]
    assert asked.read_text("utf-8").split()[:2] == ["pack", "small@1.2.3"]
    assert len(asked.read_text("utf-8").splitlines()) == 1
    (cache / "LICENSE").unlink()  # as after an interruption
    assert [one.is_new for one in fetch()] == [True]


def test_other_bytes_are_refused(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    npm(tmp_path, monkeypatch, archive(**{"code.mjs": b"steal()", "LICENSE": b"free"}))
    with pytest.raises(DataError, match="BAD_ASSET.*small-1.2.3.*nothing is kept"):
        list(fetch())
    assert not cache.exists()
    with pytest.raises(DataError, match="BAD_ASSET"):
        unpacked(replace(SMALL, sha512=ONNX_RUNTIME.sha512), PACKED)


def test_without_the_client_or_a_network_it_says_what_to_do(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match=r"NO_NPM.*install Node\.js, then run: bears assets"):
        list(fetch())
    npm(tmp_path, monkeypatch, b"", code=1)
    with pytest.raises(DataError, match="NO_ASSET.*no network.*then run: bears assets"):
        list(fetch())


def test_a_page_without_them_is_not_written(
    model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEARS_CACHE", str(tmp_path / "empty"))
    done = within.bears("space", model_dir, tmp_path / "site", "--static", cwd=tmp_path)
    assert done.returncode == 2
    assert "NO_ASSETS" in done.stderr and "run: bears assets" in done.stderr
    assert not (tmp_path / "site").exists()

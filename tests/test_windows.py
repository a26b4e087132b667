"""What Windows does otherwise, played here: line ends, files that are open elsewhere, another
encoding, and modules that are not there."""

from __future__ import annotations

import ast
import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path, PureWindowsPath

import pytest
from corpus import ROOT

from bear_classifier.collect.rights.attribution import public
from bear_classifier.collect.search import source_of
from bear_classifier.collect.sources.folder_changes import within
from bear_classifier.config.project_file import build
from bear_classifier.errors import DataError
from bear_classifier.report.provenance import shortened
from bear_classifier.runtime.files import write_atomic
from bear_classifier.runtime.terminal import quoted
from bear_classifier.ship import bundle
from bear_classifier.ship.predict import expanded

GIT = shutil.which("git")


def git(*words: str | Path, folder: Path) -> None:
    none = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(
        [str(GIT), *who, *map(str, words)],
        cwd=folder, env=os.environ | none, check=True, capture_output=True,
    )  # fmt: skip


@pytest.mark.skipif(GIT is None, reason="needs git")
def test_a_model_survives_git_for_windows(model_dir, tmp_path):
    """Which makes CRLF of line ends where nobody says otherwise."""
    source = tmp_path / "source"
    (source / "data").mkdir(parents=True)
    shutil.copy(ROOT / ".gitattributes", source)
    shutil.copytree(model_dir, source / "models" / "tiny")
    (source / "data" / "page.css").write_bytes(b"a\nb\n")
    git("init", "-q", folder=source)
    git("-c", "core.autocrlf=true", "add", ".", folder=source)
    git("commit", "-qm", "a model", folder=source)
    git("clone", "-q", "-c", "core.autocrlf=true", source, tmp_path / "clone", folder=tmp_path)
    bundle.load(tmp_path / "clone" / "models" / "tiny")
    assert (tmp_path / "clone" / "data" / "page.css").read_bytes() == b"a\nb\n"


class Busy:
    """A rename that Windows refuses a few times, as while a virus scanner has the file open."""

    def __init__(self, times: int) -> None:
        self.times, self.replace = times, os.replace

    def __call__(self, source, target) -> None:
        self.times -= 1
        if self.times >= 0:
            raise PermissionError(13, "Access is denied", str(target))
        self.replace(source, target)


def test_a_file_that_is_open_for_a_moment_is_replaced(tmp_path, monkeypatch):
    (tmp_path / "x").write_bytes(b"old")
    monkeypatch.setattr(os, "replace", Busy(3))
    write_atomic(tmp_path / "x", b"new")
    assert (tmp_path / "x").read_bytes() == b"new"


def test_a_file_that_stays_open_is_said(tmp_path, monkeypatch):
    (tmp_path / "x").write_bytes(b"old")
    monkeypatch.setattr(os, "replace", Busy(10**6))
    with pytest.raises(DataError) as caught:
        write_atomic(tmp_path / "x", b"new")
    assert caught.value.code == "CANNOT_WRITE"
    assert "close the program that has it open" in caught.value.sentence
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x").read_bytes() == b"old"


def test_a_model_that_is_open_for_a_moment_is_published(tmp_path, monkeypatch):
    for name in ("new", "place"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name, encoding="utf-8")
    monkeypatch.setattr(os, "replace", Busy(3))
    bundle.publish(tmp_path / "new", tmp_path / "place")
    assert (tmp_path / "place" / "file").read_text(encoding="utf-8") == "new"


def _without_encoding(path: Path) -> list[int]:
    """Lines that read or write text in whatever encoding the system prefers."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        named = {word.arg for word in node.keywords}
        given = len(node.args)
        enough = {"read_text": 1, "write_text": 2}.get(node.func.attr)
        if enough is not None and given < enough and "encoding" not in named:
            found.append(node.lineno)
        if node.func.attr in ("run", "Popen", "check_output") and "encoding" not in named:
            texts = [w for w in node.keywords if w.arg in ("text", "universal_newlines")]
            found += [node.lineno for _ in texts]
        mode = node.args[0].value if given and isinstance(node.args[0], ast.Constant) else ""
        opens = node.func.attr == "open" and mode in ("r", "w", "a", "x", "r+", "w+", "a+")
        if opens and "encoding" not in named:
            found.append(node.lineno)
    return found


def test_text_is_utf_8_whatever_the_system_prefers():
    files = [*ROOT.glob("bear_classifier/**/*.py"), *ROOT.glob("docs/*.py"), ROOT / "app.py"]
    files += [*ROOT.glob("benchmarks/*.py"), *ROOT.glob("tests/**/*.py")]
    assert len(files) > 300
    found = {path.relative_to(ROOT).as_posix(): _without_encoding(path) for path in files}
    assert {name: lines for name, lines in found.items() if lines} == {}


WITHOUT = """
import builtins, errno, os, signal, sys
sys.path.insert(0, {root!r})
for name in ("resource", "fcntl", "termios", "pwd", "grp"):
    sys.modules[name] = None
for name in ("fork", "sched_getaffinity", "nice", "getuid", "pread", "mkfifo", "sysconf",
             "O_NONBLOCK", "geteuid", "register_at_fork"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGKILL", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGALRM"):
    if hasattr(signal, name):
        delattr(signal, name)
from bear_classifier.cli.main import main
sys.exit(main(["predict", "--model", {model!r}, {photo!r}]))
"""


def test_predict_needs_nothing_that_windows_lacks(model_dir, tmp_path):
    photo = model_dir / "golden" / "00.jpeg"
    code = WITHOUT.format(root=str(ROOT), model=str(model_dir), photo=str(photo))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith(str(photo))


# paths: drives and network shares, as `ntpath` and PureWindowsPath see them


def shown(*folders: str) -> list[str]:
    return shortened([PureWindowsPath(folder) for folder in folders])


def test_a_report_names_folders_of_any_drive_or_share():
    assert shown(r"C:\me\photos\black", r"C:\me\photos\teddy\red", r"C:\me\photos") == [
        "black", "teddy/red", "photos",
    ]  # fmt: skip
    assert shown(r"\\nas\bears\black", r"\\nas\bears\teddy") == ["black", "teddy"]
    assert shown(r"C:\Users\me\photos\black", r"D:\teddy", r"\\nas\share\a\b") == [
        "photos/black", "teddy", "a/b",
    ]  # fmt: skip
    assert shown("D:\\", "D:\\") == ["unknown", "unknown"]
    assert shown(r"photos\black", "teddy") == ["photos/black", "teddy"]
    assert shown() == []


def test_a_whole_drive_may_be_the_folder_of_photos():
    below = [("E:\\", "E:\\x"), (r"\\nas\bears", r"\\nas\bears\x"), (r"C:\a", r"C:\a\b")]
    for folder, inside in below:
        assert inside.startswith(within(folder, "\\"))
    assert not r"C:\ab\x".startswith(within(r"C:\a", "\\"))
    assert within("/", "/") == "/"


class Nothing:
    """A catalog without a source."""

    def sources(self):
        return []


def test_a_drive_and_a_share_are_sources_and_credits():
    for place in (r"C:\photos", r"\\nas\bears", "E:\\"):
        classes, search = {"a": ["x"], "b": ["y"]}, {"source": f"folder:{place}"}
        config = build({"classes": classes, "search": search}, where="test")
        assert source_of(Nothing(), config) == ("folder", place)
        with pytest.raises(DataError, match="did you mean --source") as caught:
            search = dataclasses.replace(config.search, source=place)
            source_of(Nothing(), dataclasses.replace(config, search=search))
        assert f"folder:{place}" in caught.value.sentence
    assert public(r"\\nas\bears\black\1.jpg") == public(r"C:\Users\me\black\1.jpg") == "black/1.jpg"


def test_hints_are_quoted_as_the_shell_of_windows_takes_them():
    words = [r"C:\photos", r"C:\my photos", "fly agaric", "--set", "a.b=1", r"\\nas\a&b"]
    assert [quoted(word, windows=True) for word in words] == [
        r"C:\photos", r'"C:\my photos"', '"fly agaric"', "--set", "a.b=1", r'"\\nas\a&b"',
    ]  # fmt: skip


def test_names_with_a_star_are_sought_where_no_shell_does_it(tmp_path):
    for name in ("b.jpg", "a.jpg", "c.png"):
        (tmp_path / name).touch()
    asked = [tmp_path / "*.jpg", tmp_path / "?.gif", tmp_path / "c.png"]
    found = [path.name for path in expanded(asked, windows=True)]
    assert found == ["a.jpg", "b.jpg", "?.gif", "c.png"]
    assert list(expanded(asked, windows=False)) == asked

"""Serving after a run: in a process that has imported nothing of what the run needed."""

from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path

import pytest

from bear_classifier.cli import main, run
from bear_classifier.cli.options import parser

CHILD = "import os, sys; print(os.getpid(), 'numpy' in sys.modules, *sys.argv[1:], flush=True)"


@pytest.mark.parametrize(
    "before",
    [
        ["--source", "starter"],
        ["--project", "my bears.toml", "--data", "d", "--models", "m", "--set", "serve.memory=99"],
        ["--project", "starter", "--host", "0.0.0.0", "--port", "1234"],
    ],
)
def test_the_command_that_serves_asks_for_the_same(before: list[str], tmp_path: Path) -> None:
    first = parser().parse_args(["run", *before, "--serve"])
    again = parser().parse_args(run.serving_words(first, tmp_path / "a model"))
    assert (again.name, again.model) == ("serve", tmp_path / "a model")
    for name in ("project", "data", "models", "set", "host", "port"):
        assert getattr(again, name) == getattr(first, name), name


def test_run_serves_in_a_fresh_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Never in this one, in which torch is."""
    begun: list[list[str]] = []
    monkeypatch.setattr(run, "become", lambda words: begun.append(words) or 7)
    monkeypatch.setattr("bear_classifier.pipeline.run", lambda *_: {})
    monkeypatch.setattr("bear_classifier.cli.run.summary", lambda *_: "done")
    monkeypatch.chdir(tmp_path)
    assert main.main(["run", "--project", "starter", "--serve"]) == 7
    assert begun == [["serve", "models/starter", *begun[0][2:]]]


@pytest.mark.skipif(sys.platform == "win32", reason="another way is taken there")
def test_it_is_the_same_process_with_nothing_imported() -> None:
    program = (
        "import os, sys, numpy; print(os.getpid(), end=' ')\n"
        "from bear_classifier.cli import run\n"
        f"run.PROGRAM = ['-c', {CHILD!r}]\n"
        "run.become(['a b', 'ü'])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, encoding="utf-8")
    first, then, *rest = done.stdout.split(" ", 3)
    assert done.returncode == 0, done.stderr
    assert (first == then, rest) == (True, ["False", "a b ü\n"])


class Child:
    """Of subprocess.Popen what is used; it is interrupted once and ends with a code."""

    def __init__(self, words: list[str]) -> None:
        self.words, self.waited, self.stopped = words, 0, 0

    def wait(self) -> int:
        self.waited += 1
        if self.waited == 1:
            raise KeyboardInterrupt
        return 130

    def terminate(self) -> None:
        self.stopped += 1


def test_where_no_process_can_be_replaced_it_waits_for_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on Windows, whose Ctrl-C reaches both: the other one says how it ends."""
    made: list[Child] = []

    def popen(words: list[str]) -> Child:
        made.append(Child(words))
        return made[0]

    monkeypatch.setattr(run, "subprocess", types.SimpleNamespace(Popen=popen))
    monkeypatch.setattr(run, "sys", types.SimpleNamespace(
        platform="win32", executable="python.exe", stdout=sys.stdout, stderr=sys.stderr
    ))  # fmt: skip
    assert run.become(["serve", "x"]) == 130
    assert made[0].words == ["python.exe", "-m", "bear_classifier", "serve", "x"]
    assert (made[0].waited, made[0].stopped) == (2, 0)

"""What a watched command writes of its progress: all of it, by itself alone, and at no cost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from corpus import ROOT
from waiting import STUCK
from watching import watched

from bear_classifier.cli.main import main
from bear_classifier.runtime import progress_events
from bear_classifier.runtime.heartbeat import heartbeat
from bear_classifier.runtime.terminal import progress_bar


@pytest.fixture(name="watched")
def file_of_a_watched_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file, while this process is a watched command."""
    with watched(tmp_path / "progress.jsonl", monkeypatch):
        yield tmp_path / "progress.jsonl"


def lines(file: Path, kind: str = "") -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return [row for row in rows if kind in ("", row["kind"])]


def test_children_do_not_find_the_file(watched: Path) -> None:
    assert progress_events.VARIABLE not in os.environ
    if pid := os.fork():
        os.waitpid(pid, 0)
    else:
        progress_events.report("stage", name="of the child")
        os._exit(0)
    progress_events.report("stage", name="mine")
    assert [row["name"] for row in lines(watched, "stage")] == ["mine"]


@pytest.mark.parametrize("quiet", ["", "1"])
def test_bars_that_nobody_sees_are_reported(
    watched: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any, quiet: str
) -> None:
    monkeypatch.setenv("TQDM_DISABLE", quiet)
    with progress_bar(total=500, desc="features", unit="photo") as bar:
        for _ in range(500):
            bar.update(1)
            bar.set_postfix_str("at work")
    rows = lines(watched, "bar")
    last = {key: rows[-1][key] for key in ("name", "n", "total", "unit", "words")}
    assert last == {
        "name": "features", "n": 500, "total": 500, "unit": "photo", "words": "at work"
    }  # fmt: skip
    assert rows[0]["n"] < 500
    assert len(rows) < 100  # at most five a second
    assert capfd.readouterr().err == ""


def test_each_step_of_an_iteration_counts_and_hidden_bars_stay_hidden(watched: Path) -> None:
    assert list(progress_bar([3, 4], desc="two")) == [3, 4]
    list(progress_bar([3, 4], desc="hidden", hidden=True))
    assert {row["name"] for row in lines(watched, "bar")} == {"two"}
    assert lines(watched, "bar")[-1]["n"] == 2


def test_long_work_says_when_it_begins_and_ends(watched: Path) -> None:
    with heartbeat("report"):
        assert [row["state"] for row in lines(watched, "stage")] == ["begun"]
    with pytest.raises(ValueError), heartbeat("broken"):
        raise ValueError
    states = [(row["name"], row["state"]) for row in lines(watched, "stage")]
    assert states == [("report", "begun"), ("report", "done"), ("broken", "begun")]
    assert lines(watched, "stage")[1]["seconds"] >= 0


def test_numbers_without_a_word_in_json(watched: Path) -> None:
    progress_events.report("epoch", loss=float("nan"), each=[float("inf"), 1], at_all={"x": 2.5})
    text = watched.read_text(encoding="utf-8")
    assert "NaN" not in text and "Infinity" not in text
    assert lines(watched, "epoch")[0]["each"] == [None, 1]


@pytest.mark.parametrize("place", ["/dev/full", "none/there.jsonl"])
def test_a_file_that_cannot_be_written_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setenv(progress_events.VARIABLE, str(tmp_path / place))
    handler = signal.getsignal(signal.SIGINT)
    try:
        progress_events.begin_log()
        assert progress_events.is_watched()
        progress_events.report("stage", name="x")
        progress_events.end_log(0)
        assert not progress_events.is_watched()
    finally:
        signal.signal(signal.SIGINT, handler)


def test_nothing_is_written_where_nobody_watches(tmp_path: Path) -> None:
    progress_events.report("stage", name="x")
    assert not progress_events.is_watched()
    assert list(tmp_path.iterdir()) == []


def command(file: Path, *words: str, cwd: Path, **environ: str) -> int:
    environ = {progress_events.VARIABLE: str(file), "PYTHONPATH": str(ROOT), **environ}
    code = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); import sys;"
    code += "from bear_classifier.cli.main import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=cwd, env=os.environ | environ, capture_output=True, timeout=STUCK,
    )  # fmt: skip
    return done.returncode


def test_a_command_says_how_it_failed_and_ended(tmp_path: Path) -> None:
    file = tmp_path / "progress.jsonl"
    assert command(file, "run", "--project", "none.toml", cwd=tmp_path) == 2
    first, error, end = lines(file)
    assert first["kind"] == "begun" and first["pid"] > 0
    assert (error["code"], end["code"]) == ("NO_PROJECT", 2)
    assert "there is no project file none.toml" in error["sentence"]


def test_words_that_make_no_sense_end_it_too(tmp_path: Path) -> None:
    file = tmp_path / "progress.jsonl"
    assert command(file, "run", "--such", cwd=tmp_path) == 2
    assert [row["kind"] for row in lines(file)] == ["begun", "end"]


def test_other_processes_of_a_training_write_nothing(tmp_path: Path) -> None:
    file = tmp_path / "progress.jsonl"
    launch = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "x", "MASTER_PORT": "1"}
    command(file, "run", "--project", "none.toml", cwd=tmp_path, **launch)
    assert not file.exists()


def test_a_watched_command_hears_ctrl_c_as_a_background_job_of_a_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        monkeypatch.setenv(progress_events.VARIABLE, str(tmp_path / "progress.jsonl"))
        monkeypatch.chdir(tmp_path)
        main(["status"])
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_ctrl_break_stops_it_on_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program cannot send Ctrl-C to a group of processes there."""
    monkeypatch.setattr(signal, "SIGBREAK", signal.SIGUSR1, raising=False)
    monkeypatch.setenv(progress_events.VARIABLE, str(tmp_path / "progress.jsonl"))
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGUSR1)]
    try:
        progress_events.begin_log()
        assert signal.getsignal(signal.SIGUSR1) is signal.default_int_handler
        progress_events.end_log(0)
    finally:
        for number, handler in zip((signal.SIGINT, signal.SIGUSR1), before, strict=True):
            signal.signal(number, handler)

"""Engines: the local one, and what is said where Ray is asked for and not installed."""

from __future__ import annotations

import importlib.util
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from corpus import ROOT
from engine_tasks import ShardTask, contents, fail_on_two, write_shard
from waiting import STUCK

from bear_classifier.config import project_file
from bear_classifier.config.settings import Config, EngineConfig
from bear_classifier.engine import choice
from bear_classifier.errors import ConfigError, DataError
from bear_classifier.runtime.processors import OVERRIDE, processors
from bear_classifier.runtime.usable_memory import usable_memory

RAY = EngineConfig(name="ray")


def test_tasks_run_here_in_their_order_when_they_are_asked_for(tmp_path: Path) -> None:
    tasks = [ShardTask(str(tmp_path), number) for number in (3, 1, 2)]
    results = choice.each(write_shard, tasks, EngineConfig())
    assert next(results) == (tasks[0], 3)
    assert list(contents(tmp_path)) == ["0003.bin"]
    assert [number for _, number in results] == [1, 2]


def test_an_error_of_a_task_ends_the_work_and_what_has_ended_stays() -> None:
    done = []
    with pytest.raises(DataError, match="TOO_FEW: two is too few"):
        for _, number in choice.each(fail_on_two, [0, 1, 2, 3], EngineConfig()):
            done.append(number)
    assert done == [0, 1]


def test_errors_come_back_whole_from_other_processes() -> None:
    error = DataError("TOO_FEW", "two is too few", ["a row", "another"])
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is DataError
    assert (back.code, back.sentence, back.rows, str(back)) == (
        error.code, error.sentence, error.rows, str(error)
    )  # fmt: skip


def test_without_ray_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "ray" else found(name)
    )
    with pytest.raises(ConfigError, match="NO_RAY") as caught:
        choice.each(fail_on_two, [1], RAY)
    assert 'pip install "bear-classifier[ray]"' in caught.value.sentence


def test_nothing_imports_ray_unless_it_is_asked_for() -> None:
    code = (
        "import sys; sys.modules['ray'] = None\n"
        "from bear_classifier.config.settings import EngineConfig\n"
        "from bear_classifier.engine import choice\n"
        "print([n for _, n in choice.each(abs, [-1, -2], EngineConfig())]); choice.close_engine()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT, capture_output=True, encoding="utf-8", timeout=STUCK,
    )  # fmt: skip
    assert done.stdout.strip() == "[1, 2]", done.stderr


def test_the_engine_is_a_setting() -> None:
    config = project_file.changed(
        Config("mine", {"a": [], "b": []}), ["engine.name=ray", "engine.gpus=0.5"], "--set"
    )
    assert config.engine == EngineConfig(name="ray", gpus=0.5)
    with pytest.raises(ConfigError, match="engine.name"):
        project_file.changed(config, ["engine.name=dask"], "--set")


def test_a_worker_takes_the_processors_that_it_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(OVERRIDE, "3")
    assert processors() == 3


def test_a_worker_takes_its_part_of_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "meminfo").write_text("MemAvailable: 8000000 kB\n", encoding="ascii")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8), raising=False)
    assert usable_memory(tmp_path) == 8_192_000_000
    monkeypatch.setenv(OVERRIDE, "2")
    assert usable_memory(tmp_path) == 2_048_000_000


def test_workers_get_absolute_paths_and_start_no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    config = project_file.changed(
        Config("mine", {"a": [], "b": []}),
        ["engine.name=ray", 'learn.weights="here.pth"', 'split.sources="sites.tsv"'], "--set",
    )  # fmt: skip
    there = config.for_workers()
    assert there.engine == EngineConfig()
    assert (Path(there.learn.weights), Path(there.split.sources)) == (
        Path("here.pth").absolute(), Path("sites.tsv").absolute()
    )  # fmt: skip
    assert (
        project_file.changed(config, ["learn.weights=none"], "").for_workers().learn.weights
        == "none"
    )

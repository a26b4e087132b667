"""`--engine`: short for a setting, also of commands that need no project file."""

from __future__ import annotations

from pathlib import Path

import pytest

from bear_classifier.cli import project
from bear_classifier.cli.options import parse
from bear_classifier.config.settings import EngineConfig


@pytest.mark.parametrize(
    "words",
    [
        ["run"], ["download"], ["screen"], ["features"], ["probe"], ["train"], ["curve"],
        ["compare", "method"], ["predict", "x.jpg"],
    ],
)  # fmt: skip
def test_commands_with_work_for_many_machines_take_it(words: list[str]) -> None:
    starter = ["--project", "starter", "--set", "engine.gpus=1"]
    options = parse([*words, *starter, "--engine", "ray"])
    assert project.named_project(options).config.engine == EngineConfig("ray", gpus=1)
    assert project.named_project(parse([*words, *starter])).config.engine.name == "local"


def test_an_engine_needs_no_project_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["predict", "x.jpg", "--engine", "ray", "--set", "engine.address=auto"]
    assert project.engine_of(parse(words)) == EngineConfig("ray", "auto")
    (tmp_path / "bears.toml").write_text(
        '[classes]\na = ["a"]\nb = ["b"]\n[engine]\ncpus = 3\n', encoding="utf-8"
    )
    assert project.engine_of(parse(words)) == EngineConfig("ray", "auto", cpus=3)

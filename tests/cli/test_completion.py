"""Completion of the command line: what argcomplete answers, and what bash makes of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from corpus import ROOT
from waiting import STUCK

from bear_classifier.cli.main import main
from bear_classifier.cli.options import COMMANDS
from bear_classifier.experiments.compare.study import PRESETS
from bear_classifier.lesson.contents import TITLES
from bear_classifier.stages import NAMES

PROJECT = """name = "mine"
[classes]
grizzly = ["a"]
teddy = ["b"]
"brown bear" = ["c"]
# "no class" = 1
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a project, photos and a table."""
    (tmp_path / "bears.toml").write_text(PROJECT, encoding="utf-8")
    for name in ("photos/teddy", "models"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("table.csv", "photos/a.jpg", ".hidden"):
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if "ARGCOMPLETE" not in name}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}


def completions(line: str, place: Path) -> list[str]:
    """As a shell asks, with the cursor at the end of the line."""
    answer = place / ".answer"
    done = subprocess.run(
        [sys.executable, "-m", "bear_classifier"],
        cwd=place,
        env={
            **environment(),
            "_ARGCOMPLETE": "1",
            "_ARGCOMPLETE_SUPPRESS_SPACE": "1",
            "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
            "COMP_LINE": line,
            "COMP_POINT": str(len(line.encode())),
        },
        capture_output=True,
        encoding="utf-8",
        timeout=STUCK,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return list(filter(None, answer.read_text(encoding="utf-8").split("\v")))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("bears re", ["review", "restore", "report"]),
        ("bears nothing-like-it", []),
        ("bears run --un", ["--until"]),
        ("bears run --until ", list(NAMES)),
        ("bears run --until=ex", ["--until=export"]),
        ("bears run --again s", ["search", "screen", "split"]),
        ("bears run --set train.epo", ["train.epochs="]),
        ("bears run --set=train.epo", ["--set=train.epochs="]),
        ("bears run --set split.by=", ["split.by=photo", "split.by=source"]),
        ("bears run --set train.resume=t", ["train.resume=true"]),
        ("bears run --set nothing.", []),
        (
            "bears run --source ",
            [
                *("folder:", "csv:", "imagefolder:", "zip:", "parquet:", "webdataset:", "hf:"),
                *("unlabelled:", "urls:", "web", "openverse", "starter"),
            ],
        ),
        ("bears run --source csv:t", ["csv:table.csv"]),
        ("bears run --source zip:p", ["zip:photos/"]),
        ("bears run --source unlabelled:p", ["unlabelled:photos/"]),
        ("bears run --source folder:p", ["folder:photos/"]),
        ("bears run --source urls:photos/a", ["urls:photos/a.jpg"]),
        ("bears run --per-class ", []),
        ("bears status --device c", ["cpu", "cuda"]),
        ("bears status --project ", ["starter", "bears.toml", "models/", "photos/"]),
        ("bears compare cr", ["crops"]),
        ("bears compare train.epochs=2,train.dro", ["train.epochs=2,train.dropout="]),
        ("bears lesson sl", ["sliders"]),
        ("bears classes --remove ", [r"brown\ bear", "grizzly", "teddy"]),
        ("bears classes --project nowhere.toml --remove ", []),
        ("bears classes --project starter --remove t", ["teddy"]),
        ("bears predict pho", ["photos/"]),
        ("bears predict photos/", ["photos/a.jpg", "photos/teddy/"]),
        ("bears predict .h", [".hidden"]),
        ("bears clean --apply t", ["table.csv"]),
        ("bears take-down --why ", []),
        ("bears completion f", ["fish"]),
    ],
)
def test_what_is_offered(line: str, words: list[str], place: Path) -> None:
    assert completions(line, place) == words


def test_everything_is_offered_at_first(place: Path) -> None:
    assert completions("bears ", place) == ["--help", "--version", *COMMANDS]
    for line, words in (("bears compare ", PRESETS), ("bears lesson ", [*TITLES, "all"])):
        found = completions(line, place)
        assert set(words) <= set(found) and "--json" in found


def test_a_class_that_was_removed_is_offered_to_restore(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert completions("bears classes --restore ", place) == []
    monkeypatch.chdir(place)
    assert main(["classes", "--remove", "brown bear", "--quiet"]) == 0
    assert completions("bears classes --restore ", place) == [r"brown\ bear"]
    assert completions("bears classes --remove ", place) == ["grizzly", "teddy"]


def test_without_being_asked_nothing_is_imported_for_it(place: Path) -> None:
    code = (
        "import sys\nfrom bear_classifier.cli.main import main\n"
        "main(['status', '--project', 'starter', '--json'])\n"
        "assert not {'argcomplete', 'bear_classifier.cli.completion'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=place,
        env=environment(),
        capture_output=True,
        encoding="utf-8",
        timeout=STUCK,
    )
    assert done.returncode == 0, done.stderr


def printed(words: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(words) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("shell", "line"),
    [
        ("bash", "complete -o nospace -o bashdefault -F _python_argcomplete bears"),
        ("zsh", "compdef _python_argcomplete bears"),
        ("fish", "complete --command bears -f -a '(__fish_bears_complete)'"),
    ],
)
def test_the_code_of_each_shell(shell: str, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    from argcomplete import shellcode

    code = printed(["completion", shell], capsys)
    assert line in map(str.strip, code.splitlines())
    assert code.strip() == shellcode(["bears"], use_defaults=False, shell=shell).strip()
    assert printed(["completion", shell, "--quiet"], capsys) == code
    found = json.loads(printed(["completion", shell, "--json"], capsys))
    assert found["shell"] == shell and found["code"].strip() == code.strip()


@pytest.mark.parametrize("words", [["completion"], ["completion", "tcsh"]])
def test_a_shell_has_to_be_named(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    output = capsys.readouterr().err
    assert ended.value.code == 2 and "{bash,zsh,fish}" in output and "error: " in output


def test_the_help_says_how_to_install_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["completion", "--help"])
    output = capsys.readouterr().out
    for words in ('eval "$(bears completion bash)"', 'eval "$(bears completion zsh)"',
                  "bears completion fish > ~/.config/fish/completions/bears.fish"):  # fmt: skip
        assert words in output


BASH = """
eval "$(bears completion bash)"
[ "$(complete -p bears)" = "complete -o bashdefault -o nospace -F _python_argcomplete bears" ] \\
  || complete -p bears >&2
COMP_LINE=$1 COMP_POINT=${#1} COMP_TYPE=9 COMP_WORDBREAKS=$' \\t\\n"\\047><=;|&(:'
_python_argcomplete bears
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.skipif(not shutil.which("bash") or os.name == "nt", reason="bash")
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("bears rest", ["restore "]),
        ("bears run --until s", ["search", "screen", "split"]),
        ("bears run --until=exp", ["export "]),
        ("bears run --set split.by=s", ["source "]),
        ("bears run --set train.epo", ["train.epochs="]),
        ("bears run --source folder:p", ["photos/"]),
        ("bears classes --remove b", [r"brown\ bear "]),
    ],
)
def test_bash_completes(line: str, words: list[str], place: Path, tmp_path: Path) -> None:
    """Through the printed code, by the function that it registers."""
    program = tmp_path / "bin" / "bears"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m bear_classifier "$@"\n', "utf-8")
    program.chmod(0o755)
    done = subprocess.run(
        ["bash", "--norc", "-c", BASH, "bash", line],
        cwd=place,
        env={**environment(), "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        encoding="utf-8",
        timeout=STUCK,
    )
    assert done.returncode == 0 and done.stderr == ""
    assert [word.rstrip("\n") for word in done.stdout.splitlines()] == words


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_can_read_their_code(
    shell: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    if not shutil.which(shell):
        pytest.skip(shell)
    code = tmp_path / "code"
    code.write_text(printed(["completion", shell], capsys), encoding="utf-8")
    done = subprocess.run([shell, "-n", code], capture_output=True, encoding="utf-8", timeout=STUCK)
    assert done.returncode == 0, done.stderr

"""Nothing that came from outside, a folder's name as little as a file's, is obeyed by a terminal or
begins a line of its own, whatever command prints it."""

from __future__ import annotations

import ast
import contextlib
import io
import os
import subprocess
from pathlib import Path

import pytest
from corpus import ROOT, drawn, saved

from bear_classifier.cli import main
from bear_classifier.runtime import terminal

PACKAGE = ROOT / "bear_classifier"
ODD = "\x1b[31mred\nINJECTED \x07\u202e'\\"
SETTINGS = [
    *("learn.arch=squeezenet1_1", "learn.weights=none", "learn.size=64", "learn.device=cpu"),
    *("train.epochs=1", "train.lr=0.001", "train.batch_size=8", "export.parity=1"),
    *("train.source_validation=false", "export.precision=fp32", "export.decode=full"),
]
OPTIONS = ["--project", f"mine{ODD}.toml", "--data", f"data{ODD}", "--models", f"models{ODD}"]
COMMANDS = {
    "status": [],
    "search": [],
    "run again": [],
    "run --source": [f"folder:nowhere{ODD}"],
    "clean --csv": [f"table{ODD}.csv"],
    "clean --apply": [f"nowhere{ODD}.csv"],
    "history": [],
    "undo": [f"9{ODD}"],
    "restore": [],
    "report": [],
    "evaluate --photos": [f"photos{ODD}"],
    "evaluate": [],
    "predict": [f"photos{ODD}", f"nowhere{ODD}"],
    "curve": [],
    "lr": [],
    "attribution": [],
    "take-down --url": [f"http://example.com/{ODD}"],
    "classes --remove": [f"x{ODD}"],
    "lesson": [f"no page{ODD}"],
    "status --set": [f"learn.arch=x{ODD}"],
    "serve": [f"models{ODD}/nothing"],
}
ALONE = {  # commands that ask for no project
    "space": [f"models{ODD}/mine", f"space{ODD}"],
    "new": [f"name{ODD}", "--class", f"class{ODD}"],
    "predict --model": [f"models{ODD}/mine", f"photos{ODD}"],
    "status --project": [f"nowhere{ODD}.toml"],
    f"command{ODD}": [],
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project all of whose names are odd, run to its model."""
    root = tmp_path_factory.mktemp("odd") / f"root{ODD}"
    for number in range(36):
        folder = root / f"photos{ODD}" / ("grizzly", "teddy")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}{ODD}.png").write_bytes(saved(drawn(seed=number), "PNG"))
    (root / f"photos{ODD}" / "teddy" / f"broken{ODD}.png").write_bytes(b"no photo")
    (root / f"photos{ODD}" / f"stray{ODD}.png").write_bytes(saved(drawn(seed=1), "PNG"))
    (root / f"mine{ODD}.toml").write_text(
        'name = "mine"\n[classes]\ngrizzly = ["a"]\nteddy = ["b"]\n', encoding="utf-8"
    )
    with pytest.MonkeyPatch.context() as there:
        there.chdir(root)
        output = output_of("run", "--source", f"folder:photos{ODD}", *with_project())
    assert not breaking(output), output
    assert "next   to open its page, run: bears serve" in output
    return root


def with_project() -> list[str]:
    return [*OPTIONS, *(word for setting in SETTINGS for word in ("--set", setting))]


def output_of(*words: str) -> str:
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            main.main(words)
        except SystemExit as exc:
            assert exc.code == 2
    return output.getvalue()


def breaking(output: str) -> list[str]:
    """Lines that begin with what a name holds, or hold what a terminal obeys. Bars, which move the
    cursor, begin with a carriage return."""
    lines = [line for line in output.split("\n") if not line.startswith("\r")]
    return [line for line in lines if not line.isprintable() or line.lstrip().startswith("INJ")]


@pytest.mark.parametrize(
    "command",
    [
        *(name for name in COMMANDS if name != "lr"),
        pytest.param("lr", marks=pytest.mark.long),  # trains for a minute
    ],
)
def test_no_command_prints_what_a_name_holds(
    place: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, *option = command.removesuffix(" again").split(" ")
    monkeypatch.chdir(place)
    output = output_of(name, *option, *COMMANDS[command], *with_project())
    assert output and not breaking(output), output


@pytest.mark.parametrize("command", ALONE)
def test_nor_one_without_a_project(
    place: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [command] if ODD in command else command.split(" ")
    monkeypatch.chdir(place)
    output = output_of(*words, *ALONE[command])
    assert output and not breaking(output), output


@pytest.mark.skipif(os.name == "nt", reason="cmd.exe cannot type them")
@pytest.mark.parametrize(
    "word", [ODD, "it's\t$HOME\\n", "B\u00e4r \u718a\x1b", "\x85\u2028 \udcff"]
)
def test_a_hint_with_such_a_name_can_be_typed(word: str) -> None:
    shown = terminal.quoted(word)
    assert terminal.one_line(shown) == shown
    output = subprocess.run(
        ["bash", "-c", f"printf %s {shown}"],
        stdout=subprocess.PIPE,
        check=True,
        env={"LC_ALL": "C.UTF-8", "PATH": os.environ["PATH"]},
    )
    assert os.fsdecode(output.stdout) == word


def calls(path: Path) -> list[ast.Call]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def test_only_the_module_for_it_prints() -> None:
    """All others have it clean what they print; JSON, which is ASCII, may go past it."""
    found = [
        f"{path.relative_to(PACKAGE)}:{call.lineno} {ast.unparse(call)[:60]}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.name != "terminal.py"
        for call in calls(path)
        if ast.unparse(call.func) in ("print", "tqdm.write", "bar.write", "sys.stdout.write")
        and not (call.args and ast.unparse(call.args[0]).startswith("json.dumps("))
    ]
    assert found == []

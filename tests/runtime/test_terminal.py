"""What is printed for people: no name of a file is obeyed, and every hint can be run."""

from __future__ import annotations

import ast
import io
import re
import shlex
import sys
import warnings

import pytest
from corpus import ROOT
from tqdm import TqdmWarning

from bear_classifier.cli.options import parser
from bear_classifier.runtime import terminal

PACKAGE = ROOT / "bear_classifier"


def options(*words: str):
    return parser().parse_args(words)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain.jpg", "plain.jpg"),
        ("Bär 熊 🐻.jpg", "Bär 熊 🐻.jpg"),
        ("a\x1b[31mred.jpg", "a\\x1b[31mred.jpg"),
        ("b\nsecond.jpg: teddy (100%).jpg", "b\\nsecond.jpg: teddy (100%).jpg"),
        ("tab\there\r.jpg", "tab\\there\\r.jpg"),
        ("\u202egpj.exe", "\\u202egpj.exe"),
        ("next\x85line\u2028.jpg", "next\\x85line\\u2028.jpg"),
        ("no utf-8 \udcff.jpg", "no utf-8 \\udcff.jpg"),
        ("no\u00a0break", "no\u00a0break"),
    ],
)
def test_no_name_breaks_a_line_or_is_obeyed(name, shown):
    assert terminal.one_line(name) == shown
    assert terminal.printable_lines(f"{name}\nx").splitlines()[-1] == "x"


def test_line_breaks_of_a_text_stay():
    assert terminal.printable_lines("one\ntwo\x07") == "one\ntwo\\x07"


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_what_cannot_be_encoded_is_escaped(encoding, monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    terminal.prepare()
    print("熊 \udcff")
    sys.stdout.flush()
    shown = "熊" if encoding == "utf-8" else "\\u718a"
    assert raw.getvalue().decode(encoding) == f"{shown} \\udcff\n"


class Kernel(io.StringIO):
    """As the standard output of a notebook, which is no terminal."""


def test_a_bar_is_shown_on_a_terminal_and_in_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert terminal.progress_bar(total=3).disable
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    bar = terminal.progress_bar(total=3)
    assert not bar.disable and bar.fp.wrapper_getattr("getvalue")
    assert terminal.progress_bar(total=3, hidden=True).disable
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setattr(Kernel, "__module__", "ipykernel.iostream")
    monkeypatch.setattr(sys, "stdout", Kernel())
    with terminal.progress_bar(total=3, desc="photos") as bar:
        bar.update(3)
    assert "photos: 100%" in sys.stdout.getvalue() and not sys.stderr.getvalue()
    monkeypatch.setenv("TQDM_DISABLE", "1")
    assert terminal.progress_bar(total=3).disable


def test_a_note_is_not_red_in_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    terminal.note_above_bars("on a terminal")
    assert sys.stderr.getvalue() == "on a terminal\n"
    monkeypatch.setattr(Kernel, "__module__", "ipykernel.iostream")
    monkeypatch.setattr(sys, "stdout", Kernel())
    terminal.note_above_bars("in a notebook")
    assert sys.stdout.getvalue() == "in a notebook\n"
    assert sys.stderr.getvalue() == "on a terminal\n"


@pytest.mark.parametrize("kind", [FutureWarning, DeprecationWarning, TqdmWarning])
def test_what_libraries_say_to_their_developers_is_silenced(kind: type[Warning]) -> None:
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        with terminal.libraries_silent():
            warnings.warn("IProgress not found", kind, stacklevel=1)
        assert not heard
        warnings.warn("outside", kind, stacklevel=1)
    assert len(heard) == 1


HERE = options("train", "--project", "it's c.toml", "--data", "my data", "--set", "learn.size=64")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("train needs it; run: bears run --until train",
         "train needs it; run: bears run --until train --project 'it'\"'\"'s c.toml'"
         " --data 'my data' --set learn.size=64"),
        ("1 drop; to take it back, run: bears undo\nsecond line",
         "1 drop; to take it back, run: bears undo --project 'it'\"'\"'s c.toml'"
         " --data 'my data' --set learn.size=64\nsecond line"),
        ("make one; run: bears new mine --class first --class second", None),
        ("run: bears run --project other.toml",
         "run: bears run --project other.toml --data 'my data' --set learn.size=64"),
        ("bears run: a command in the middle of a sentence", None),
    ],
)  # fmt: skip
def test_a_hint_leads_to_the_same_project(text, found):
    assert terminal.completed(text, terminal.project_of(HERE)) == (found or text)


def test_without_options_a_hint_stays_as_it_is():
    assert terminal.project_of(options("status")) == []
    assert terminal.completed("x; run: bears split", []) == "x; run: bears split"


def test_the_starter_set_is_a_project_of_its_own():
    assert terminal.project_of(options("run", "--source", "starter")) == ["--project", "starter"]


# Help texts, and pages and cards that others read elsewhere: no hints about this project.
NO_HINTS = (
    *(
        "cli/compare.py",
        "cli/completion.py",
        "cli/main.py",
        "cli/new.py",
        "cli/options.py",
        "dataset/formats/earlier_export.py",
        "dataset/formats/finish.py",
        "cli/undo.py",
    ),
    *("config/settings.py", "review/request_guard.py", "ship/model_card.py", "ship/space.py"),
)


def texts(tree: ast.Module):
    """Every text of a module but its docstrings; "probe" stands for a value that is put in."""
    inside = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        for part in ast.walk(node)
        if part is not node
    }
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if id(node) in inside or id(node) in docs:
            continue
        if isinstance(node, ast.JoinedStr):
            yield "".join(v.value if isinstance(v, ast.Constant) else "probe" for v in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def hints():
    names = "|".join(sorted(commands(), key=len, reverse=True))
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE).as_posix()
        if place not in NO_HINTS and not place.startswith("lesson/"):
            source = path.read_text(encoding="utf-8")
            for text in texts(ast.parse(source)) if "bears " in source else ():
                if re.search(rf"\bbears ({names})\b", text):
                    yield pytest.param(text, id=f"{path.name}: {text[-60:]}")


def commands() -> list[str]:
    action = next(a for a in parser()._actions if a.metavar == "COMMAND")
    return list(action.choices)


@pytest.mark.parametrize("text", list(hints()))
def test_a_hint_ends_its_sentence_and_can_be_run(text):
    """`run: bears ...` at the end of a line: else nobody completes it, and no shell takes it."""
    found = re.search(r"\brun: (bears .*)$", text.strip())
    assert found, f"no hint that ends the sentence: {text!r}"
    words = shlex.split(found[1])[1:]
    assert not any(word.isupper() and len(word) > 1 for word in words), "a placeholder"
    parser().parse_args(words)

"""The notebook as it lies in the repository; `make notebook` runs it."""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import execute_notebook

import bear_classifier as bc

NOTEBOOK = execute_notebook.NOTEBOOK
TEXT = NOTEBOOK.read_text(encoding="utf-8")
BOOK: dict[str, Any] = json.loads(TEXT)
CELLS: list[dict[str, Any]] = BOOK["cells"]
CODE = [cell for cell in CELLS if cell["cell_type"] == "code"]
SOURCES = {cell["id"]: "".join(cell["source"]) for cell in CODE}
TREE = ast.parse("\n".join(SOURCES.values()))


def test_it_is_short_and_told_in_words():
    assert len(CELLS) < 40
    assert len({cell["id"] for cell in CELLS}) == len(CELLS)
    for before, cell in zip(CELLS, CELLS[1:], strict=False):
        lines = len(cell["source"])
        assert lines <= (25 if cell["id"] == "project" else 12), cell["id"]
        told = "markdown" in (before["cell_type"], cell["cell_type"])
        assert told or cell["id"] == "project", cell["id"]


def test_it_says_why_the_first_model_may_be_kept():
    """Before the cell that shows which one was, with the figures of both."""
    texts = ["".join(cell["source"]) for cell in CELLS]
    place = next(n for n, text in enumerate(texts) if "project.training()" in text)
    words = " ".join(texts[place - 1].split())
    assert "Why the first model may be kept" in words
    assert "worse, or no better than validation can tell" in words


def test_outputs_are_stripped():
    for cell in CODE:
        assert cell["outputs"] == [], cell["id"]
        assert cell["execution_count"] is None, cell["id"]
        assert cell["metadata"] == {}, cell["id"]
    assert set(BOOK["metadata"]) == {"kernelspec", "language_info"}
    assert set(BOOK["metadata"]["language_info"]) == {"name"}, "no version of whoever ran it"


def test_it_defines_nothing():
    forbidden = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda
    assert [node.lineno for node in ast.walk(TREE) if isinstance(node, forbidden)] == []


def test_it_names_no_machine():
    assert re.findall(r"/(?:home|root|tmp|work|Users|usr|opt|var)\b|[A-Z]:\\", TEXT) == []
    assert re.findall(r"\blocalhost|\b\d+\.\d+\.\d+\.\d+", TEXT) == []
    assert re.findall(r"pypi|index-url|conda\.|huggingface\.co|https?://", TEXT) == []


def chains() -> Iterator[tuple[int, str, list[str]]]:
    """Attributes by the name they begin with: `project.run` as (line, "project", ["run"])."""
    for node in ast.walk(TREE):
        attributes: list[str] = []
        inner: ast.expr | None = node if isinstance(node, ast.Attribute) else None
        while isinstance(inner, ast.Attribute):
            attributes.insert(0, inner.attr)
            inner = inner.value
        if isinstance(inner, ast.Name):
            yield inner.lineno, inner.id, attributes


KINDS = {"project": bc.Project, "model": bc.Model, "report": bc.Report}


def test_it_imports_the_package_as_its_users_do_and_what_displays() -> None:
    wanted = [
        *(ast.unparse(node) for node in ast.walk(TREE) if isinstance(node, ast.Import)),
        *(ast.unparse(node) for node in ast.walk(TREE) if isinstance(node, ast.ImportFrom)),
    ]
    assert sorted(wanted) == [
        "from IPython.display import Markdown, display", "from pathlib import Path",
        "import bear_classifier as bc", "import pandas as pd", "import tempfile",
    ]  # fmt: skip


def test_all_that_it_uses_of_the_package_exists_and_is_public() -> None:
    used = set()
    for line, name, attributes in chains():
        if name != "bc" and name not in KINDS:
            continue
        assert not attributes[0].startswith("_"), f"line {line}: {attributes[0]} is private"
        if name == "bc":
            assert attributes[0] in bc.__all__, f"line {line}"
        else:
            known = {*dir(KINDS[name]), *inspect.get_annotations(KINDS[name]), "bundle"}
            assert attributes[0] in known, f"line {line}: {name} has no {attributes[0]}"
        used.add(name)
    assert used == {"bc", *KINDS}


def test_what_it_calls_takes_these_arguments() -> None:
    checked = 0
    for node in ast.walk(TREE):
        if not isinstance(node, ast.Call):
            continue
        first, _, rest = ast.unparse(node.func).partition(".")
        if first != "bc" and first not in KINDS or not rest.isidentifier():
            continue
        called = getattr(bc if first == "bc" else KINDS[first], rest)
        words = {word.arg: None for word in node.keywords if word.arg}
        itself = () if first == "bc" else (None,)
        inspect.signature(called).bind(*itself, *node.args, **words)
        checked += 1
    assert checked > 20


def test_the_first_cell_holds_the_choices_and_the_default_needs_no_network():
    choices = ast.parse(SOURCES[CODE[0]["id"]])
    values = {
        target.id: node.value
        for node in choices.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    assert set(values) == {"SOURCE", "PER_CLASS", "EPOCHS", "FOLDER"}
    assert ast.literal_eval(values["SOURCE"]) == "starter"
    assert "tempfile" in ast.unparse(values["FOLDER"])


def test_a_complaint_on_stderr_is_noticed():
    quiet = {"output_type": "stream", "name": "stdout", "text": "3 photos"}
    loud = {"output_type": "stream", "name": "stderr", "text": "FutureWarning: x"}
    book = {"cells": [{"id": "a", "outputs": [quiet]}, {"id": "b"}, {"id": "c", "outputs": [loud]}]}
    assert execute_notebook.disturbing(book) == ["cell c said on stderr: FutureWarning: x"]


def test_make_and_the_checks_run_it():
    root = Path(execute_notebook.ROOT)
    assert "tests/execute_notebook.py" in (root / "Makefile").read_text(encoding="utf-8")
    assert "make notebook" in (root / "README.md").read_text(encoding="utf-8")

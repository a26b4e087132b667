"""The notebook as it lies in the repository; `make notebook` runs it."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import execute_notebook
import pytest

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
        assert told or cell["id"] in ("project", "without_torch"), cell["id"]


def test_it_says_why_the_first_model_may_be_kept():
    """Before the cell that shows which one was, with the figures of both."""
    texts = ["".join(cell["source"]) for cell in CELLS]
    place = next(n for n, text in enumerate(texts) if "report_words.chosen" in text)
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


def imported() -> dict[str, Any]:
    """Every name that the notebook imports, and what it is. ImportError where there is none."""
    names: dict[str, Any] = {}
    for node in ast.walk(TREE):
        if isinstance(node, ast.Import):
            for alias in node.names:
                module = importlib.import_module(alias.name)
                names[alias.asname or alias.name.partition(".")[0]] = module
        if isinstance(node, ast.ImportFrom):
            base = importlib.import_module(node.module or "")
            for alias in node.names:
                if not hasattr(base, alias.name):
                    importlib.import_module(f"{node.module}.{alias.name}")
                names[alias.asname or alias.name] = getattr(base, alias.name)
    return names


def chains() -> Iterator[tuple[int, str, list[str]]]:
    """Attributes by the name they begin with: `pipeline.run` as (line, "pipeline", ["run"])."""
    for node in ast.walk(TREE):
        attributes: list[str] = []
        inner: ast.expr | None = node if isinstance(node, ast.Attribute) else None
        while isinstance(inner, ast.Attribute):
            attributes.insert(0, inner.attr)
            inner = inner.value
        if isinstance(inner, ast.Name):
            yield inner.lineno, inner.id, attributes


def ours(thing: Any) -> bool:
    where = thing.__name__ if inspect.ismodule(thing) else getattr(thing, "__module__", "")
    return str(where).startswith("bear_classifier")


def test_all_that_it_uses_of_the_package_exists():
    names, used = imported(), set()
    for line, name, attributes in chains():
        thing = names.get(name)
        if thing is None or not ours(thing):
            continue
        for attribute in attributes:
            assert not attribute.startswith("_"), f"line {line}: {name}.{attribute} is private"
            assert hasattr(thing, attribute), f"line {line}: {name} has no {'.'.join(attributes)}"
            thing = getattr(thing, attribute)
        used.add(name)
    modules = {name for name, thing in names.items() if inspect.ismodule(thing) and ours(thing)}
    assert modules <= used, "imported and not used"
    assert {"pipeline", "decisions", "reporting", "charts", "gallery"} <= used


def test_what_it_calls_takes_these_arguments():
    names, checked = imported(), 0
    for node in ast.walk(TREE):
        if not isinstance(node, ast.Call):
            continue
        first, _, rest = ast.unparse(node.func).partition(".")
        thing = names.get(first)
        if thing is None or not ours(thing) or not rest.isidentifier() and rest:
            continue
        called = getattr(thing, rest) if rest else thing
        words = {word.arg: None for word in node.keywords if word.arg}
        inspect.signature(called).bind(*node.args, **words)
        checked += 1
    assert checked > 20


@pytest.mark.parametrize("name", ["catalog", "project", "model"])
def test_objects_of_the_package_have_what_is_asked_of_them(name):
    from bear_classifier import pipeline
    from bear_classifier.catalog import Catalog
    from bear_classifier.ship.predict import Model

    instances = {"bundle"}  # set when it is made
    kind = {"catalog": Catalog, "project": pipeline.Project, "model": Model}[name]
    known = {*dir(kind), *getattr(kind, "__dataclass_fields__", ()), *instances}
    asked = [attributes[0] for _, first, attributes in chains() if first == name and attributes]
    assert asked
    assert set(asked) <= known


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

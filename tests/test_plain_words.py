"""Sentences for people use the field's words, and none of the riddles that people stumbled on."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from corpus import ROOT

RIDDLES = re.compile(
    r"(?<![.\"-])\b(strangers?|by lot|dealt|rehears\w+|foret\w+|actors?)\b"  # no setting, no option
    r"|\b(test|train|valid|validation|training) sides?\b|no side\b"
    r"|(in|out)side the noise|not told apart|nothing can be said|wrong in \d|a coin has",
    re.IGNORECASE,
)
# Words that only the makers used, wherever they stand: in names, comments, texts and pages.
OLD_WORDS = re.compile(r"\b(strangers?|dealt|the dice|rehears\w*|told|pile)\b", re.IGNORECASE)
KEPT = {  # names of earlier versions that go on working
    "cli/evaluate.py": ('"--strangers"', 'report["strangers"]'),
    "config/settings.py": ('was="rehearse"',),
    "dataset/stage_fingerprint.py": ('"rehearse"',),
    "learn/fit.py": ('"rehearse"',),
    "report/facts.py": ('"strangers.json"',),
}
LINES = (
    *("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "deploy/README.md"),
    *("docs/bears-report.json", "models/bears/README.md"),
    *(  # what was measured is told in the words of its day
        f"docs/{page.name}"
        for page in sorted((ROOT / "docs").glob("*.md"))
        if page.name not in ("BENCHMARKS.md", "LOG.md", "MIGRATION.md")
    ),
    *(f"docs/decisions/{page.name}" for page in sorted((ROOT / "docs/decisions").glob("*.md"))),
)
MODULES = sorted((ROOT / "bear_classifier").rglob("*.py"))
PAGES = sorted(
    path
    for kind in ("js", "html")
    for path in (ROOT / "bear_classifier").rglob(f"*.{kind}")
)  # fmt: skip


def sentences(module: ast.Module) -> Iterator[tuple[int, str]]:
    """Texts of several words, what stands between braces left out; no docstrings."""
    docs = {
        id(node.body[0].value)
        for node in ast.walk(module)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(module):
        if not isinstance(node, ast.Constant) or id(node) in docs:
            continue
        if isinstance(node.value, str) and " " in node.value.strip():
            yield node.lineno, node.value


def test_no_old_word_is_left() -> None:
    package, found = ROOT / "bear_classifier", []
    kinds = (".py", ".js", ".html", ".css", ".toml")
    files = [path for path in package.rglob("*") if path.suffix in kinds]
    for path in sorted([*files, ROOT / "README.md"]):
        name = path.relative_to(package).as_posix() if path != ROOT / "README.md" else "README.md"
        for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
            for kept in KEPT.get(name, ()):
                line = line.replace(kept, "")
            found += [(name, number, line.strip())] if OLD_WORDS.search(line) else []
    assert found == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_sentences_of_the_program(path: Path) -> None:
    found = sentences(ast.parse(path.read_text(encoding="utf-8")))
    assert [(line, text) for line, text in found if RIDDLES.search(text)] == []


@pytest.mark.parametrize("path", [*PAGES, *(ROOT / name for name in LINES)], ids=lambda p: p.name)
def test_pages_and_documents(path: Path) -> None:
    text = path.read_text(encoding="utf-8").split("\n")
    assert [(n, line) for n, line in enumerate(text, 1) if RIDDLES.search(line)] == []


def test_a_riddle_is_noticed() -> None:
    said = ["5 photos of the test side", "a coin has 0.5", "learns by lot", "wrong in 0.0%"]
    assert all(RIDDLES.search(text) for text in said)
    module = ast.parse('"""The test side."""\nsaid = f"{n} strangers get by"\n')
    assert [text for _, text in sentences(module)] == [" strangers get by"]

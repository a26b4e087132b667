import ast
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from corpus import drawn, saved

import bear_classifier as bc
from bear_classifier.cli.options import COMMANDS, module, parser
from bear_classifier.config.project_file import STARTER, as_toml, read_project

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted(p for p in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


def test_generated_parts_are_up_to_date():
    sys.path.insert(0, str(ROOT / "docs"))
    from reference import filled

    assert filled(README) == README, "run: make docs"
    assert "learn.weights" in README
    assert "usage: bears" in README


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def test_every_command_in_the_readme_is_understood():
    lines = re.findall(r"^    (bears .+)$", README, re.MULTILINE)
    assert len(lines) >= 8
    for line in lines:
        words = shlex.split(line.split("   ")[0])
        parser().parse_args(words[1:])


def test_make_targets_in_the_readme_exist():
    targets = set(
        re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    )
    named = set(re.findall(r"`?make (\w+)", README)) - {"an", "a"}
    assert {"run", "test"} <= named
    assert named <= targets


def readme_python():
    code, _ = re.findall(r"```python\n(.*?)```", README, re.DOTALL)  # the other: test_examples
    return code


def test_the_readme_s_python_names_what_is_public():
    """test_api.py runs the same lines on a small project."""
    asked = set(re.findall(r"\b(bc|project|model)\.(\w+)", readme_python()))
    kinds = {"bc": bc, "project": bc.Project, "model": bc.Model}
    assert len(asked) > 15
    assert [pair for pair in asked if not hasattr(kinds[pair[0]], pair[1])] == []


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_the_readme_s_python_runs(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(saved(drawn(seed=3), "JPEG"))
    done = subprocess.run(
        [sys.executable, "-c", readme_python()], capture_output=True, encoding="utf-8", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "photo.jpg Prediction(label=" in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_module_with_its_options(name: str) -> None:
    found = module(name)
    assert callable(found.add_options) and callable(found.run)
    assert found.__doc__ and (f"`bears {name}`" in found.__doc__ or name in found.__doc__)


def test_the_project_files_are_valid_and_complete():
    bears = read_project(ROOT / "bears.toml")
    assert (ROOT / "bears.toml").read_text(encoding="utf-8") == as_toml(bears)
    assert read_project(STARTER).search.source == "starter"
    assert read_project(STARTER).labels == bears.labels


def test_every_error_code_stands_in_the_manual():
    manual = set(
        re.findall(
            r"^\| `([A-Z_]+)`", (ROOT / "docs/CODES.md").read_text(encoding="utf-8"), re.MULTILINE
        )
    )
    used = set()
    for path in sorted((ROOT / "bear_classifier").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = getattr(getattr(node, "func", None), "id", "")
            if isinstance(node, ast.Call) and name.endswith(("Error", "Refused")):
                for word in node.args[:2]:  # Refused begins with a number
                    if isinstance(word, ast.Constant) and re.fullmatch("[A-Z_]+", str(word.value)):
                        used.add(word.value)
    assert len(used) > 30
    assert used - manual == set(), "codes without a line in docs/CODES.md"
    assert manual - used <= {"TOO_SMALL", "BLANK", "NEAR_COPY", "ACROSS_SPLITS", "DUPLICATE",
                             "LABEL_CONFLICT", "GONE", "PENDING", "OK", "TAKEN_DOWN",
                             "SPARE", "CLASS_REMOVED", "PLACEHOLDER", "STORED_FILE"}  # fmt: skip


def test_requirements_are_exact():
    for name in ("requirements.txt", "requirements-dev.txt", "requirements-heic.txt"):
        for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
            if line and not line.startswith("#"):
                assert re.match(r"[a-z0-9_.-]+==[0-9.]+( *;.*)?$", line), line


def test_the_help_of_every_command_says_what_it_does():
    bears = shutil.which("bears", path=str(Path(sys.executable).parent))
    done = subprocess.run([bears, "--help"], capture_output=True, encoding="utf-8")
    assert done.returncode == 0
    for command in ("new", "run", "predict", "evaluate", "serve", "status", "export"):
        assert re.search(rf"^    {command} +\S", done.stdout, re.MULTILINE)

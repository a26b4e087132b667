"""What the contracts of import-linter in pyproject.toml cannot say: libraries without a contract,
what is imported at start, and what may not be written at all."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from corpus import ROOT
from waiting import STUCK

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PACKAGE = ROOT / "bear_classifier"
MOST_LINES = 400
MOST_FILES = 8  # of bear_classifier's own, beside its folders
EVERYWHERE = {"numpy", "PIL"}  # libraries that any module may import
LIGHT = EVERYWHERE | {"filelock", "tomli", "tqdm"}
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CONTRACTS = PYPROJECT["tool"]["importlinter"]["contracts"]
PROTECTED = {
    library
    for contract in CONTRACTS
    for library in contract.get("protected_modules", ())
    if not library.startswith("bear_classifier")
}
HEAVY = sorted(PROTECTED - LIGHT)


@functools.cache
def modules() -> dict[str, Path]:
    """Our modules by their names inside the package, such as ship.predict; no __init__."""
    paths = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")
    return {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in paths}


NAMES = sorted(modules())


@functools.cache
def tree(name: str) -> ast.Module:
    return ast.parse(modules()[name].read_text(encoding="utf-8"))


def imported(module: ast.Module) -> set[str]:
    """First words of everything that is imported, also in functions and for type checkers."""
    found = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide who imports whom"
            found.add((node.module or "").partition(".")[0])
    return found


# folders and libraries


def test_contracts_hold() -> None:
    """`make check` runs them too; here their message is seen where tests are run alone."""
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT, capture_output=True, encoding="utf-8", timeout=STUCK,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_every_library_has_a_contract(name: str) -> None:
    known = {"bear_classifier", "tomllib", *sys.stdlib_module_names, *EVERYWHERE, *PROTECTED}
    assert imported(tree(name)) - known == set()


def test_few_files_lie_beside_the_folders() -> None:
    files = [path.name for path in PACKAGE.iterdir() if path.is_file()]
    assert len(files) <= MOST_FILES, files
    assert not (PACKAGE / "apps").exists()


def test_every_folder_says_what_it_holds() -> None:
    for folder in {path.parent for path in PACKAGE.rglob("*.py")}:
        lines = (folder / "__init__.py").read_text(encoding="utf-8").splitlines()
        assert lines and lines[0].startswith('"""'), folder


def test_app_py_leaves_heavy_things_to_the_package() -> None:
    found = imported(ast.parse((ROOT / "app.py").read_text(encoding="utf-8")))
    assert found - set(sys.stdlib_module_names) == {"bear_classifier"}


def loaded(code: str) -> set[str]:
    """Top-level names of everything that is imported after this code ran in a new Python."""
    show = "import sys; print('\\n'.join({name.partition('.')[0] for name in sys.modules}))"
    child = subprocess.run(
        [sys.executable, "-c", f"{code}\n{show}"],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        timeout=STUCK,
    )
    assert child.returncode == 0, child.stderr
    return set(child.stdout.splitlines())


def test_importing_the_package_imports_nothing_else() -> None:
    assert loaded("import bear_classifier") & {*PROTECTED, *EVERYWHERE, "sqlite3"} == set()


@pytest.mark.parametrize("words", [["--help"], ["predict", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    code = f"""
import contextlib, io
from bear_classifier.cli.main import main
with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.suppress(SystemExit):
    main({words})
assert "bears" in said.getvalue()
"""
    assert loaded(code) & set(HEAVY) == set()


def test_predicting_imports_no_torch() -> None:
    code = "import bear_classifier.ship.predict, bear_classifier.ship.bundle"
    assert loaded(code) & set(HEAVY) == {"onnxruntime"}


def test_a_list_of_suspects_needs_no_network_and_no_fit() -> None:
    code = "import bear_classifier.judge.clean, bear_classifier.cli.clean"
    assert loaded(code) & {"torch", "torchvision", "fastai", "sklearn", "scipy", "pandas"} == set()


def test_the_studio_begins_without_what_its_jobs_and_pages_import() -> None:
    assert loaded("import bear_classifier.studio.server") & {
        "torch", "torchvision", "fastai", "sklearn", "scipy", "pandas", "gradio"
    } == set()  # fmt: skip


# what may not be written


@pytest.mark.parametrize("name", NAMES)
def test_a_module_is_a_page(name: str) -> None:
    lines = len(modules()[name].read_text(encoding="utf-8").splitlines())
    assert lines <= MOST_LINES


def test_names_say_what_is_inside() -> None:
    empty = {"util", "utils", "helper", "helpers", "common", "manager", "handler", "misc", "core"}
    words = {word for name in NAMES for word in name.replace("_", ".").split(".")}
    classes = {
        node.name
        for name in NAMES
        for node in ast.walk(tree(name))
        if isinstance(node, ast.ClassDef) and node.name.lower().endswith(tuple(empty))
    }
    assert words & empty == set()
    assert classes == set()


ONE_IDEA = {  # public names that several modules define: the same idea on both sides of a seam
    "OUTPUTS": "what a network gives, in torch and in onnxruntime",
    "PAUSE": "between two requests, of each search engine",
    "Project": "a project with its paths, and what Python users see of it",
    "add_options": "of each command",
    "decode": "a picture, with the HEIC decoder and its process",
    "draw": "the figure of each study",
    "engines": "of each source that searches, and of the source that is set",
    "main": "entry points of processes",
    "make_app": "of each web application",
    "open_project": "as Project",
    "page": "of each lesson",
    "run": "each command, and all stages",
    "softmax": "in numpy, and written out in the lesson",
    "text": "of each study",
}


def public_names(module: ast.Module) -> set[str]:
    """What a module defines at its top level."""
    found = set()
    for node in module.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
    return {name for name in found if not name.startswith("_")}


def test_no_public_name_is_defined_twice() -> None:
    where: dict[str, list[str]] = {}
    for module in NAMES:
        for name in public_names(tree(module)):
            where.setdefault(name, []).append(module)
    twice = {name: modules for name, modules in where.items() if len(modules) > 1}
    assert {name: twice[name] for name in twice.keys() - ONE_IDEA} == {}
    assert ONE_IDEA.keys() <= twice.keys(), "a permission that nothing needs"


def swallows(handler: ast.ExceptHandler) -> bool:
    """Catches everything, and does not raise it again as its last word."""
    caught = ast.unparse(handler.type) if handler.type else "BaseException"
    everything = any(word in caught.split("(")[-1].rstrip(")").split(", ")
                     for word in ("Exception", "BaseException"))  # fmt: skip
    last = handler.body[-1]
    return everything and not (isinstance(last, ast.Raise) and last.exc is None)


@pytest.mark.parametrize("name", NAMES)
def test_no_exception_is_swallowed(name: str) -> None:
    handlers = [node for node in ast.walk(tree(name)) if isinstance(node, ast.ExceptHandler)]
    assert [handler.lineno for handler in handlers if swallows(handler)] == []


FORBIDDEN = {
    *("eval", "exec", "compile", "__import__", "load_learner", "joblib.load", "joblib.dump"),
    *("pickle.load", "pickle.loads", "pickle.Unpickler", "yaml.load", "yaml.unsafe_load"),
    *("marshal.loads", "os.system", "numpy.random.seed", "np.random.seed", "random.seed"),
}


@pytest.mark.parametrize("name", NAMES)
def test_nothing_that_runs_what_it_reads(name: str) -> None:
    found = list(dangerous(tree(name)))
    assert found == []


def dangerous(module: ast.Module) -> Iterator[tuple[int, str]]:
    """Calls and imports by which a file could become a program."""
    for node in ast.walk(module):
        if isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            bare = {alias.name for alias in node.names}
            if (names | bare) & FORBIDDEN or "*" in bare:
                yield node.lineno, ast.unparse(node)
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        settings = {word.arg: ast.unparse(word.value) for word in node.keywords}
        if called in FORBIDDEN or called.endswith((".load_learner", ".read_pickle")):
            yield node.lineno, called
        if called == "torch.load" and settings.get("weights_only") != "True":
            yield node.lineno, called
        if called in ("np.load", "numpy.load") and settings.get("allow_pickle", "False") != "False":
            yield node.lineno, called
        if settings.get("shell") == "True":
            yield node.lineno, called


@pytest.mark.parametrize(
    "line",
    [
        "eval('1')",
        "exec(open('x').read())",
        "pickle.load(f)",
        "pickle.loads(data)",
        "from pickle import load",
        "from fastai.learner import load_learner",
        "fastai.learner.load_learner(p)",
        "torch.load(p)",
        "torch.load(p, weights_only=False)",
        "torch.load(p, weights_only=flag)",
        "from torch import *",
        "joblib.load(p)",
        "yaml.load(text)",
        "np.load(p, allow_pickle=True)",
        "subprocess.run(x, shell=True)",
    ],
)
def test_what_is_dangerous_is_noticed(line: str) -> None:
    assert list(dangerous(ast.parse(line))) != []


@pytest.mark.parametrize(
    "line", ["torch.load(p, weights_only=True)", "model.eval()", "np.load(p)", "json.load(f)"]
)
def test_what_is_harmless_is_not(line: str) -> None:
    assert list(dangerous(ast.parse(line))) == []


@pytest.mark.parametrize(
    ("clause", "wrong"),
    [
        ("except:\n    pass", True),
        ("except Exception:\n    pass", True),
        ("except (ValueError, Exception) as exc:\n    print(exc)", True),
        ("except BaseException:\n    clean()\n    raise", False),
        ("except ValueError:\n    pass", False),
    ],
)
def test_what_swallows_is_noticed(clause: str, wrong: bool) -> None:
    (handler,) = (
        node
        for node in ast.walk(ast.parse(f"try:\n    f()\n{clause}"))
        if isinstance(node, ast.ExceptHandler)
    )
    assert swallows(handler) is wrong

"""Who may import whom, where the heavy libraries live, and what may not be written at all."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from corpus import ROOT
from waiting import STUCK

PACKAGE = ROOT / "bear_classifier"
MOST_LINES = 400

# INSIDE: who may import whom in ground and within a wing. ACROSS: between wings, besides ground.
# A name that ends with a dot means the whole wing.
GROUND = {
    "ahead",
    "heartbeat",
    "pages",
    "arrays",
    "calibrate",
    "intervals",
    "paired",
    "noise",
    "errors",
    "terminal",
    "familiar",
    "sites",
    "settings",
    "schema",
    "formats",
    "config",
    "lock",
    "copies",
    "catalog",
    "decisions",
    "pile",
    "photos",
    "hashes",
    "files",
    "git_lfs",
    "heic",
    "heic_worker",
    "heif",
    "worker",
    "workers",
    "linear",
    "processors",
    "stages",
    "system_files",
    "usable_memory",
}
WINGS = ("collect.", "learn.", "judge.", "ship.", "apps.", "lesson.")
FRONT = {
    *("fresh", "api", "results"),
    *(
        "digests",
        "cli",
        "telling",
        "pipeline",
        "arguments",
        "classes",
        "cleaning",
        "judging",
        "measuring",
        "reporting",
    ),
    *("finding", "comparing", "teaching", "__main__"),
}
LESSON = {"lesson.pages", "lesson.sheet", "lesson.subject"}  # of every page
INSIDE = {
    "errors": set(),
    "terminal": set(),
    "ahead": set(),
    "heartbeat": set(),
    "pages": set(),
    "arrays": set(),
    "calibrate": set(),
    "intervals": set(),
    "paired": set(),
    "noise": set(),
    "familiar": {"arrays"},
    "settings": set(),
    "processors": set(),
    "stages": set(),
    "system_files": set(),
    "usable_memory": {"processors"},
    "schema": set(),
    "formats": {"errors", "git_lfs", "heif"},
    "files": {"errors"},
    "git_lfs": set(),
    "heif": {"errors"},
    "heic": {"errors", "processors", "worker"},
    "heic_worker": {"errors", "photos", "worker"},
    "hashes": set(),
    "worker": {"errors"},
    "linear": {"errors"},
    "workers": {"errors", "worker"},
    "photos": {"errors", "files", "formats", "heic"},
    "config": {"errors", "files", "settings"},
    "lock": {"errors", "files", "terminal"},
    "copies": {"errors", "files", "schema"},
    "catalog": {"copies", "errors", "lock", "schema"},
    "decisions": {"catalog", "errors", "pile", "schema"},
    "pile": {"errors", "schema"},
    "sites": {"catalog", "errors", "files", "schema"},
    "collect.search": {
        *("collect.starter", "collect.listing", "collect.paging", "collect.web"),
        *("collect.openverse", "collect.take_down", "collect.engine", "collect.progress"),
        *("collect.folders", "collect.meant", "collect.spares"),
    },
    "collect.web": {"collect.engine"},
    "collect.listing": {"collect.engine"},
    "collect.progress": {"collect.engine"},
    "collect.openverse": {"collect.engine", "collect.fetch"},
    "collect.paging": {"collect.engine", "collect.progress"},
    "collect.download": {
        *("collect.crowd", "collect.fetch", "collect.folders", "collect.intake"),
        *("collect.placeholders", "collect.spares", "collect.stored", "collect.take_down"),
    },
    "collect.placeholders": {"collect.folders", "collect.screen"},
    "collect.crowd": {
        *("collect.fetch", "collect.guard", "collect.robots", "collect.turns", "collect.visit"),
    },
    "collect.visit": {
        *("collect.address", "collect.fetch", "collect.guard", "collect.robots", "collect.turns"),
    },
    "collect.robots": {"collect.address", "collect.fetch", "collect.guard", "collect.turns"},
    "collect.fetch": {"collect.address", "collect.guard"},
    "collect.guard": {"collect.address"},
    "collect.starter": {"collect.drawing"},
    "collect.drawing": {"collect.figures", "collect.scenery", "collect.pen"},
    "collect.figures": {"collect.pen"},
    "collect.scenery": {"collect.pen"},
    "collect.split": {"collect.blocks", "collect.screen"},
    "learn.frozen": {"learn.precision"},
    "learn.precision": {"learn.backbone"},
    "learn.probe": {"learn.backbone", "learn.frozen", "learn.loaders"},
    "learn.outputs": {"learn.backbone", "learn.frozen", "learn.loaders"},
    "learn.tune": {
        *("learn.backbone", "learn.blend", "learn.checkpoints", "learn.cycle"),
        *("learn.loaders", "learn.parts", "learn.recipe"),
    },
    "learn.parts": {
        *("learn.backbone", "learn.frozen", "learn.loaders", "learn.outputs"),
        "learn.precision",
    },
    "learn.rehearse": {
        *("learn.backbone", "learn.blend", "learn.parts", "learn.probe", "learn.recipe"),
        "learn.tune",
    },
    "learn.learner": {"learn.backbone", "learn.loaders", "learn.recipe"},
    "learn.train": {
        *("learn.backbone", "learn.blend", "learn.checkpoints", "learn.diagnose"),
        *("learn.loaders", "learn.parts", "learn.probe", "learn.recipe", "learn.rehearse"),
        "learn.tune",
    },
    "learn.cycle": {
        *("learn.backbone", "learn.callbacks", "learn.checkpoints", "learn.finder"),
        *("learn.memory", "learn.precision"),
    },
    "learn.recipe": {"learn.cycle"},
    "learn.compare": {
        *("learn.backbone", "learn.checkpoints", "learn.cycle", "learn.loaders", "learn.lr"),
        *("learn.outputs", "learn.parts", "learn.probe", "learn.recipe", "learn.rehearse"),
        "learn.train",
    },
    "learn.callbacks": {"learn.checkpoints", "learn.diagnose"},
    "learn.lr": {
        *("learn.backbone", "learn.cycle", "learn.finder", "learn.loaders", "learn.memory"),
        *("learn.parts", "learn.precision", "learn.recipe", "learn.train"),
    },
    "judge.compare_plot": {"judge.lettering", "judge.compare"},
    "judge.evaluate": {
        *("judge.clean", "judge.elsewhere"),
        *("judge.membership", "judge.reject"),
    },
    "judge.elsewhere": {"judge.clean"},
    "judge.rate_figure": {"judge.lettering", "judge.rates"},
    "judge.charts": {"judge.lettering"},
    "judge.effect": {"judge.clean"},
    "judge.figures": {"judge.evaluate"},
    "judge.report": {
        *("judge.figures", "judge.report_words", "judge.shortcuts"),
        "judge.story",
    },
    "judge.report_page": {
        *("judge.plots", "judge.report_parts", "judge.report_training", "judge.report_words"),
    },
    "judge.report_training": {"judge.plots", "judge.report_words"},
    "judge.report_parts": {
        *("judge.plots", "judge.report_words", "judge.story"),
    },
    "judge.report_text": {"judge.report_words"},
    "judge.report_words": {"judge.membership"},
    "judge.growth": {"judge.curve_words", "judge.clean", "judge.curve"},
    "judge.curve_plot": {"judge.lettering", "judge.curve_words"},
    "judge.gallery": {"judge.charts"},
    "ship.export": {
        *("ship.bundle", "ship.card", "ship.golden", "ship.manifest", "ship.parity"),
        *("ship.predict", "ship.shortcuts", "ship.similar", "ship.trial"),
    },
    "ship.parity": {"ship.bundle", "ship.golden", "ship.predict"},
    "ship.quantise": {"ship.predict"},
    "ship.shortcuts": {"ship.bundle", "ship.manifest", "ship.predict", "ship.quantise"},
    "ship.similar": {"ship.bundle"},
    "ship.space": {
        *("ship.bundle", "ship.manifest", "ship.needs", "ship.predict", "ship.trial"),
    },
    "ship.bundle": {"ship.manifest", "ship.onnx_file"},
    "ship.predict": {"ship.bundle", "ship.manifest"},
    "ship.trial": {"ship.bundle", "ship.predict"},
    "ship.explain": {"ship.bundle", "ship.predict"},
    "lesson.sheet": {"lesson.glossary"},
    "lesson.pages": {"lesson.sheet"},
    "lesson.sgd": {"lesson.moving", *LESSON},
    "lesson.rates": {"lesson.sgd", *LESSON},
    "lesson.minibatch": {"lesson.sgd", *LESSON},
    "lesson.surface": {"lesson.moving", "lesson.rates", "lesson.sgd", *LESSON},
    "lesson.fit": LESSON,
    "lesson.classes": LESSON,
    "lesson.relu": LESSON,
    "lesson.sliders": {"lesson.sgd", *LESSON},
    "lesson.activations": set(),
    "lesson.wrong": {"lesson.wrong_runs", *LESSON},
    "lesson.wrong_runs": {"lesson.subject"},
    "lesson.ensemble": {"lesson.privacy", "lesson.teams", *LESSON},
    "lesson.teams": set(),
    "lesson.stages": {"lesson.transfer", *LESSON},
    "lesson.transfer": {"lesson.features_plot", "lesson.subject", "lesson.wrong_runs"},
    "lesson.privacy": {"lesson.privacy_plot", "lesson.privacy_traces", *LESSON},
    "lesson.features": {
        *("lesson.activations", "lesson.features_places", "lesson.features_plot"),
        *LESSON,
    },
    "lesson.features_places": {"lesson.features_plot", "lesson.sheet"},
    "lesson.map": {"lesson.map_plot", "lesson.places", "lesson.projector", *LESSON},
    "lesson.places": {"lesson.projector", "lesson.subject"},
}
ACROSS = {
    "ship.export": ("learn.", "judge."),
    "ship.parity": ("learn.",),
    "ship.shortcuts": ("judge.evaluate",),
    "lesson.": ("judge.", "learn.", "ship.explain"),
    "lesson.privacy_traces": ("ship.card", "ship.golden", "ship.similar"),
    "apps.": (
        *("judge.clean", "ship.bundle", "ship.manifest", "ship.predict", "ship.explain"),
        *("ship.similar", "ship.trial"),
    ),
}

# Every library that is not the standard one, and the modules that may import it.
LIGHT = {"numpy", "PIL", "filelock", "tomli", "tomllib", "tqdm"}
HOMES = {
    "torch": ("learn.", "ship.export", "ship.parity", "lesson."),
    "torchvision": ("learn.",),
    "fastai": ("learn.", "lesson.wrong_runs"),
    "fasttransform": ("learn.",),
    "fastcore": ("learn.",),
    "safetensors": ("learn.", "ship.export", "ship.explain", "lesson.subject"),
    "onnx": ("ship.quantise",),
    "google": ("ship.quantise",),  # protobuf, in which onnx reads
    "onnxruntime": ("ship.predict", "ship.quantise", "learn.frozen"),
    "sklearn": ("linear", "learn.probe", "learn.rehearse", "judge.", "lesson."),
    "pillow_heif": ("heic_worker",),
    "threadpoolctl": ("judge.growth", "linear", "lesson.places"),
    "scipy": ("calibrate", "paired", "collect.screen", "judge."),
    "matplotlib": ("learn.probe", "judge.", "lesson."),
    "mpl_toolkits": ("lesson.surface",),
    "gradio": ("apps.",),
    "fastapi": ("apps.",),
    "starlette": ("apps.",),
    "uvicorn": ("apps.",),
    "h11": ("apps.running",),
    "packaging": ("ship.needs",),
    "pydantic": ("apps.api",),
    "markdown_it": ("apps.model_card",),
    "prometheus_client": ("apps.metrics",),
    "pandas": ("results", "api"),
    "tqdm": ("terminal", "heartbeat"),
    "numpy": (
        "arrays",
        "calibrate",
        "intervals",
        "paired",
        "noise",
        "familiar",
        "linear",
        "photos",
        "hashes",
        "collect.",
        "learn.",
        "judge.",
        "ship.",
        "apps.",
        "judging",
        "telling",
        "digests",
        "lesson.",
    ),
    "PIL": (
        "photos",
        "hashes",
        "heic",
        "heic_worker",
        "collect.",
        "learn.",
        "judge.",
        "ship.",
        "apps.",
        "lesson.",
    ),
    "aiohttp": ("collect.fetch", "collect.guard"),
    "yarl": ("collect.fetch",),
    "certifi": ("collect.guard",),
    "protego": ("collect.robots",),
    "publicsuffixlist": ("sites", "collect.take_down"),
    "ddgs": ("collect.web",),
    "filelock": ("lock",),
    "tomli": ("config",),
}
HEAVY = sorted(set(HOMES) - LIGHT)


@dataclass(frozen=True)
class Import:
    """target: a module of ours without the package's name, or another library's first word."""

    target: str
    ours: bool
    lazy: bool  # inside a function
    line: int


@functools.cache
def modules() -> dict[str, Path]:
    """Our modules by their names inside the package, such as ship.predict; no __init__."""
    paths = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")
    return {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in paths}


NAMES = sorted(modules())


@functools.cache
def tree(name: str) -> ast.Module:
    return ast.parse(modules()[name].read_text(encoding="utf-8"))


@functools.cache
def imports(module: ast.Module) -> list[Import]:
    """Every import that runs; those for type checkers do not."""
    skipped = {
        id(inner)
        for node in ast.walk(module)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    lazy = {
        id(inner)
        for node in ast.walk(module)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for inner in ast.walk(node)
    }
    found = []
    for node in ast.walk(module):
        if id(node) in skipped or not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        for target in targets(node):
            parts = target.split(".")
            ours = parts[0] == "bear_classifier"
            name = ".".join(parts[1:]) if ours else parts[0]
            found.append(Import(name, ours, id(node) in lazy, node.lineno))
    return found


def targets(node: ast.Import | ast.ImportFrom) -> list[str]:
    """Dotted names; `from bear_classifier import photos` is one of bear_classifier.photos."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    assert node.level == 0, "relative imports hide who imports whom"
    base = node.module or ""
    return [
        (
            f"{base}.{alias.name}"
            if f"{base}.{alias.name}".removeprefix("bear_classifier.") in KNOWN
            else base
        )
        for alias in node.names
    ]


KNOWN = set(NAMES)


def within(name: str, places: tuple[str, ...]) -> bool:
    return any(name == place or place.endswith(".") and name.startswith(place) for place in places)


def may_import(name: str, target: str) -> bool:
    """The rules of DESIGN for two modules of ours."""
    if target == "" or name in FRONT:  # __init__ holds the version and no more
        return True
    if name in GROUND:
        return target in INSIDE[name]
    if target in GROUND or target in INSIDE.get(name, set()):
        return True
    wing = name.partition(".")[0] + "."
    if wing == "apps." and target.startswith("apps."):
        return True
    return within(target, ACROSS.get(name, ()) + ACROSS.get(wing, ()))


# who imports whom


@pytest.mark.parametrize("name", NAMES)
def test_every_module_has_its_place(name: str) -> None:
    assert name in GROUND | FRONT or name.startswith(WINGS)


@pytest.mark.parametrize("name", NAMES)
def test_imports_of_ours_follow_the_design(name: str) -> None:
    ours = [found for found in imports(tree(name)) if found.ours]
    assert [found for found in ours if not may_import(name, found.target)] == []


@pytest.mark.parametrize("name", sorted(FRONT))
def test_the_front_imports_wings_only_when_they_are_needed(name: str) -> None:
    eager = [found for found in imports(tree(name)) if found.ours and not found.lazy]
    assert [found for found in eager if found.target.startswith(WINGS)] == []


def test_nobody_imports_in_a_circle() -> None:
    edges = {name: {i.target for i in imports(tree(name)) if i.ours} & KNOWN for name in NAMES}
    while free := {name for name, wanted in edges.items() if not wanted}:
        edges = {name: wanted - free for name, wanted in edges.items() if name not in free}
    assert edges == {}


def test_the_rules_know_only_modules_that_may_exist() -> None:
    """A module that was renamed must not leave its permission behind."""
    named = {*INSIDE, *(t for targets in INSIDE.values() for t in targets)}
    assert named <= KNOWN


# libraries


@pytest.mark.parametrize("name", NAMES)
def test_libraries_stay_in_their_wings(name: str) -> None:
    others = {found for found in imports(tree(name)) if not found.ours}
    strange = [
        found
        for found in others
        if found.target not in sys.stdlib_module_names | {"tomllib"}
        and not within(name, HOMES.get(found.target, ()))
    ]
    assert strange == []


@pytest.mark.parametrize("name", ["photos", "catalog", "config", "cli", "pipeline", "ship.bundle"])
def test_a_heavy_import_in_the_wrong_place_would_be_noticed(name: str) -> None:
    for library in HEAVY:
        if library != "onnx":
            assert not within(name, HOMES[library])


def test_app_py_leaves_heavy_things_to_the_package() -> None:
    found = list(imports(ast.parse((ROOT / "app.py").read_text(encoding="utf-8"))))
    foreign = {i.target for i in found if not i.ours} - set(sys.stdlib_module_names)
    assert foreign == set()
    assert {i.target for i in found if i.ours} <= {"apps.running", "settings"}


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
    assert loaded("import bear_classifier") & {*HOMES, "sqlite3"} == set()


@pytest.mark.parametrize("words", [["--help"], ["predict", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    code = f"""
import contextlib, io
from bear_classifier.cli import main
with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.suppress(SystemExit):
    main({words})
assert "bears" in said.getvalue()
"""
    assert loaded(code) & set(HEAVY) == set()


def test_predicting_imports_no_torch() -> None:
    code = "import bear_classifier.ship.predict, bear_classifier.ship.bundle"
    assert loaded(code) & set(HEAVY) == {"onnxruntime"}


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

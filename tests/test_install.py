"""The wheel and the source distribution: what they hold, and the Python API where only the wheel is
installed, in an empty folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import pytest
from corpus import ROOT, drawn, saved
from waiting import STUCK

import bear_classifier

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]
VERSION = bear_classifier.__version__
MOST_BYTES = 3_000_000  # of a file that is handed on; a model alone is more
MOST_MODULES = 25  # that `import bear_classifier` may add to those of an empty Python

# The Python API in one block. SETTINGS (below) make its training small.
BLOCK = """
import bear_classifier as bc

project = bc.open_project("starter")             # or "bears.toml", or bc.new_project("mushrooms", classes=[...])
project.run(until="clean")                       # progress bars in a terminal and in a notebook
project.photos(), project.sources()              # pandas DataFrames
project.show_photos(split="train", n=12)         # a matplotlib figure, shown by the notebook
project.suspects()                               # DataFrame, most suspect first
one, two = project.suspects()["sha256"][:2]
project.relabel(one, "black"); project.drop(two); project.undo(); project.history()
project.run()                                    # the rest of the way
learn = project.learner()                        # a real fastai Learner with the trained weights
project.evaluate(); project.report()             # shown as HTML in a notebook

model = bc.load_model("shipped")                 # or str, Path of a bundle
model.predict("photo.jpg")                       # str, Path, bytes, PIL image or numpy array
model.predict_many(["photo.jpg"])                # iterator, decoded ahead, with a progress bar
model                                            # a repr of one line
"""  # noqa: E501
SETTINGS = {
    "search.per_class": 40, "learn.arch": "squeezenet1_1", "learn.size": 64,
    "learn.device": "cpu", "train.epochs": 1, "train.batch_size": 8, "export.parity": 1,
    "export.precision": "fp32", "export.decode": "full",
}  # fmt: skip
RUN = """
import sys
from pathlib import Path
import bear_classifier as bc

block, shipped, settings = sys.argv[1], sys.argv[2] == "True", {settings!r}
opened = bc.open_project
bc.open_project = lambda name: opened(name, settings)
names = {{}}
for line in block.strip().splitlines():
    if "shipped" in line and not shipped:
        try:
            bc.load_model("shipped")
        except bc.ModelError as exc:
            print("REFUSED", exc)
        line = "model = bc.load_model(project.model_folder)"
    exec(line, names)
assert list(names["project"].history()["action"])[1:] == ["drop", "undo"]
(source, answer), = names["model"].predict_many(["photo.jpg"])
assert source == "photo.jpg" and answer == names["model"].predict("photo.jpg")
assert Path(bc.__file__).parent.parent == Path(sys.argv[3]), bc.__file__
print("DONE", repr(names["model"]))
"""


def python(
    words: Sequence[str], cwd: Path, *path: Path, seconds: float = STUCK
) -> subprocess.CompletedProcess[str]:
    """Run a new interpreter in a folder. path: where it looks for modules first."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))}
    return subprocess.run(
        [sys.executable, *words],
        cwd=cwd,
        env={**environment, "PYTHONUTF8": "1", "TQDM_DISABLE": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        encoding="utf-8",
        timeout=seconds,
    )


def can_build() -> bool:
    try:
        return int(metadata.version("setuptools").partition(".")[0]) >= 77
    except metadata.PackageNotFoundError:
        return False


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The source distribution of a copy of the checkout, and the wheel that is built from that."""
    if not can_build():
        pytest.skip("setuptools 77 or newer in this environment, to build without a network")
    root = tmp_path_factory.mktemp("built")
    kept = shutil.ignore_patterns(
        *(".*", "build", "*.egg-info", "__pycache__", "data", "models", "notebooks")
    )
    copy = root / "checkout"
    shutil.copytree(ROOT, copy, ignore=kept, symlinks=True)
    shutil.copytree(ROOT / "models" / "bears", copy / "models" / "bears")  # which stays outside
    template = copy / "bear_classifier" / "report" / "templates" / "planted.html"
    template.parent.mkdir(exist_ok=True)
    template.write_text("{{ planted }}", encoding="utf-8")
    build = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
    done = python(["-c", build, str(root)], copy)
    assert done.returncode == 0, done.stderr
    (source,) = root.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        archive.extractall(root / "source", filter="data")
    words = ["--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", str(root)]
    folder = root / "source" / source.name.removesuffix(".tar.gz")
    done = python(["-m", "pip", "wheel", "--quiet", *words, str(folder)], root)
    assert done.returncode == 0, done.stderr
    (wheel,) = root.glob("*.whl")
    return source, wheel


@pytest.fixture(scope="module")
def installed(distributions: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the wheel was unpacked as pip does; dependencies are those of the tests."""
    folder = tmp_path_factory.mktemp("installed")
    words = ["--no-deps", "--no-index", "--target", str(folder), str(distributions[1])]
    done = python(["-m", "pip", "install", "--quiet", *words], folder)
    assert done.returncode == 0, done.stderr
    return folder


def package_files() -> set[str]:
    """What git would keep of the package."""
    return {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "bear_classifier").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_holds_the_package_and_its_data(distributions: tuple[Path, Path]) -> None:
    wheel = distributions[1]
    assert wheel.name == f"bear_classifier-{VERSION}-py3-none-any.whl"
    assert wheel.stat().st_size < MOST_BYTES
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        facts = archive.read(f"bear_classifier-{VERSION}.dist-info/METADATA").decode()
    found = {name for name in names if ".dist-info/" not in name}
    assert found == package_files() | {"bear_classifier/report/templates/planted.html"}
    assert {"bear_classifier/py.typed", "bear_classifier/config/starter.toml"} <= found
    required = [line for line in facts.splitlines() if line.startswith("Requires-Dist: ")]
    assert any(line.startswith("Requires-Dist: argcomplete==") for line in required)
    assert f"\nVersion: {VERSION}\n" in facts and "\nLicense-File: LICENSE\n" in facts


def test_the_source_distribution_holds_what_builds_it(distributions: tuple[Path, Path]) -> None:
    source = distributions[0]
    assert source.name == f"bear_classifier-{VERSION}.tar.gz"
    assert source.stat().st_size < MOST_BYTES
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert package_files() <= names
    assert {"pyproject.toml", "LICENSE", "README.md", "CHANGELOG.md", "requirements.txt",
            "requirements-dev.txt", "requirements-heic.txt", "requirements-offline.txt",
            "requirements-hf.txt", "requirements-parquet.txt",
            "requirements-gpus.txt", "requirements-ray.txt"} <= names  # fmt: skip
    folders = {name.partition("/")[0] for name in names if "/" in name}
    assert folders == {"bear_classifier", "bear_classifier.egg-info"}, "no models, data or tests"


def test_the_command_of_the_wheel(installed: Path, tmp_path: Path) -> None:
    done = python(["-m", "bear_classifier", "--version"], tmp_path, installed)
    assert (done.returncode, done.stdout) == (0, f"bears {VERSION}\n")
    assert [path.stem for path in (installed / "bin").glob("bears*")] == ["bears"]
    shown = python(["-m", "bear_classifier", "lesson", "sliders", "--save", "out"], tmp_path,
                   installed)  # fmt: skip
    assert shown.returncode == 0 and (tmp_path / "out" / "sliders.html").is_file(), shown.stderr


def test_import_adds_few_modules(installed: Path, tmp_path: Path) -> None:
    """Counted, not timed: of these none is heavy."""
    code = "import sys; before = set(sys.modules); {}; print(*set(sys.modules) - before)"
    added = set()
    for line in ("import importlib, typing", "import bear_classifier"):
        done = python(["-c", code.format(line)], tmp_path, installed)
        assert done.returncode == 0, done.stderr
        added = set(done.stdout.split()) - added
    assert "bear_classifier" in added and len(added) <= MOST_MODULES
    assert {name.partition(".")[0] for name in added} <= {
        "bear_classifier", *sys.stdlib_module_names
    }  # fmt: skip


def run_block(folder: Path, where: Path, shipped: bool, settings: dict[str, object]) -> str:
    (folder / "photo.jpg").write_bytes(saved(drawn(seed=3), "JPEG"))
    code = RUN.format(settings=settings)
    done = python(["-c", code, BLOCK, str(shipped), str(where)], folder, where, seconds=1200)
    assert done.returncode == 0, done.stderr
    assert "\nDONE Model(" in f"\n{done.stdout}"
    assert {path.name for path in folder.iterdir()} == {"photo.jpg", "data", "models"}
    return done.stdout


def test_the_block_runs_where_the_wheel_is_installed(installed: Path, tmp_path: Path) -> None:
    said = run_block(tmp_path, installed, False, SETTINGS | {"learn.weights": "none"})
    (refused,) = [line for line in said.splitlines() if line.startswith("REFUSED")]
    assert refused == (
        "REFUSED NO_MODEL: the shipped model is not part of the installed package; copy the folder"
        " models/bears from the project's source repository and give its path"
    )


def test_the_block_runs_through_the_checkout(tmp_path: Path) -> None:
    run_block(tmp_path, ROOT, True, SETTINGS | {"learn.arch": "tf_efficientnet_lite2"})


def test_without_the_shipped_model_its_weights_are_named(installed: Path, tmp_path: Path) -> None:
    """The starter project trains on from it, unless it is told otherwise."""
    words = ["run", "--project", "starter", "--quiet", "--per-class", "20"]
    done = python(["-m", "bear_classifier", *words], tmp_path, installed, seconds=600)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("bears: WEIGHTS_UNAVAILABLE: learn.weights = ")
    assert '"shipped" is the one in models/bears of the project\'s repository' in done.stderr

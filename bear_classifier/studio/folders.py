"""Folders of projects: renamed, moved into a bin and back; each move happens whole or not at all.

What was deleted lies in `ROOT/.bin/`. What moves is written down before it begins, and what was cut
off is finished at the next start.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from bear_classifier.config import project_edits
from bear_classifier.dataset.lock import hold
from bear_classifier.errors import ConfigError
from bear_classifier.runtime.files import replace, write_atomic, write_errors
from bear_classifier.studio.projects import Place, check_name, place_of

BIN = ".bin"
_ABOUT = "about.json"
_RENAMES, _DELETIONS = ".rename-*.json", ".delete-*.json"
_Moves = list[list[str]]  # from and to, below the root, in their order


@dataclass(frozen=True)
class Deleted:
    """A project in the bin. title: its name; deleted: when, UTC."""

    id: str
    title: str
    deleted: str


def rename_project(place: Place, new: str) -> Place:
    """All that has the name gets the new one. Raises ConfigError (BAD_NAME, EXISTS, CANNOT_EDIT),
    DataError (LOCKED, CANNOT_WRITE); then all is as it was."""
    check_name(new)
    if taken := [path for path in _places(place.root, new) if path.exists()]:
        raise ConfigError("EXISTS", f"{taken[0].name} is there already; choose another name")
    text = _renamed(place, new)
    journal = place.root / f".rename-{place.name}.json"
    noted = {"from": place.name, "to": new, "moves": _moves(place, new)}
    with _alone(place, "renaming"), _moved(place.root, journal, noted):
        write_atomic((place.root / new if place.is_nested else place.root) / f"{new}.toml", text)
    return place_of(place.root, new)


@contextmanager
def _moved(root: Path, journal: Path, noted: dict[str, Any]) -> Iterator[None]:
    """Within, what is noted is moved; if something fails, here or within, all is moved back. Only
    what cannot be moved back either stays in the journal, to be finished at the next start."""
    write_atomic(journal, json.dumps(noted).encode())
    done: _Moves = []
    try:
        for source, target in noted["moves"]:
            if (root / source).exists():
                with write_errors(root / source):
                    (root / target).parent.mkdir(parents=True, exist_ok=True)
                    replace(root / source, root / target)
                    done.append([source, target])
        yield
    except BaseException:
        while done:
            source, target = done[-1]
            with contextlib.suppress(OSError):
                _back(root / target, root / source)
            if not (root / source).exists():
                raise
            done.pop()
        journal.unlink(missing_ok=True)
        raise
    journal.unlink(missing_ok=True)


def _back(moved: Path, to: Path) -> None:
    moved.replace(to)


def _moves(place: Place, new: str) -> _Moves:
    below = f"{place.name}/" if place.is_nested else ""
    old = place.config.name
    moves = [
        [f"{below}data/{old}", f"{below}data/{new}"],
        [f"{below}models/{old}", f"{below}models/{new}"],
        [f"{below}{place.name}.toml", f"{below}{new}.toml"],
    ]
    last = [place.name, new] if place.is_nested else [f"studio/{place.name}", f"studio/{new}"]
    return [*moves, last]


def _places(root: Path, name: str) -> list[Path]:
    folders = [root / below / name for below in ("data", "models", "studio")]
    return [root / name, root / f"{name}.toml", *folders]


def _renamed(place: Place, new: str) -> bytes:
    """The project file with another name."""
    bom, text = project_edits.project_text(place.file)
    return bom + project_edits.with_name(text, new, place.file.name).encode()


def finish_moves(root: Path) -> None:
    """Finish what was cut off, so that each project is whole under one name, or in the bin."""
    for journal in sorted((*root.glob(_RENAMES), *root.glob(_DELETIONS))):
        try:
            noted = json.loads(journal.read_bytes())
            moves, old, new = noted["moves"], noted.get("from"), noted.get("to")
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
        with write_errors(journal):
            for source, target in moves:
                if (root / source).exists() and not (root / target).exists():
                    (root / target).parent.mkdir(parents=True, exist_ok=True)
                    replace(root / source, root / target)
        with contextlib.suppress(ConfigError):
            place = place_of(root, new) if new else None
            if place and new != place.config.name == _old_name(moves, old):
                write_atomic(place.file, _renamed(place, new))
        journal.unlink(missing_ok=True)


def _old_name(moves: _Moves, old: str) -> str:
    return moves[0][0].rpartition("/")[2] if moves else old


# -- the bin -----------------------------------------------------------------------------------


def delete_project(place: Place) -> str:
    """Move a project into the bin, and return its id there. Raises DataError (LOCKED,
    CANNOT_WRITE); then it is as it was."""
    at = datetime.now(timezone.utc)
    number = f"{place.name}-{at:%Y%m%dT%H%M%S%f}"
    folder = place.root / BIN / number
    about = {"title": place.name, "deleted": at.isoformat(timespec="seconds")}
    journal = place.root / f".delete-{place.name}.json"
    try:
        with _alone(place, "deleting"):
            write_atomic(folder / _ABOUT, json.dumps(about).encode())
            with _moved(place.root, journal, {"moves": _moves_to_bin(place, number)}):
                pass
    except BaseException:
        if place.file.is_file() and not journal.exists():  # it is as it was
            _clear(folder)
        raise
    return number


def _clear(folder: Path) -> None:
    """Remove a folder of the bin into which nothing was moved."""
    (folder / _ABOUT).unlink(missing_ok=True)
    for path in (*sorted(folder.rglob("*"), reverse=True), folder):
        with contextlib.suppress(OSError):
            path.rmdir()


def _moves_to_bin(place: Place, number: str) -> _Moves:
    """The project file last: with it, the project is in the bin."""
    target = f"{BIN}/{number}/{place.name}"
    if place.is_nested:
        return [[place.name, target]]
    parts = (
        (place.data, f"data/{place.data.name}"),
        (place.model, f"models/{place.model.name}"),
        (place.own, "studio"),
        (place.file, place.file.name),
    )
    root = place.root
    return [[path.relative_to(root).as_posix(), f"{target}/{to}"] for path, to in parts]


def deleted_projects(root: Path) -> list[Deleted]:
    """What is in the bin, the newest first."""
    found = []
    for about in (root / BIN).glob(f"*/{_ABOUT}"):
        try:
            facts = json.loads(about.read_bytes())
            title, deleted = str(facts["title"]), str(facts["deleted"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if (about.parent / title / f"{title}.toml").is_file():
            found.append(Deleted(about.parent.name, title, deleted))
    return sorted(found, key=lambda one: (one.deleted, one.id), reverse=True)


def restore_project(root: Path, number: str) -> str:
    """Move a project back from the bin, and return its name. number: its id there. Raises
    ConfigError (NO_PROJECT, EXISTS) and DataError (CANNOT_WRITE)."""
    one = next((one for one in deleted_projects(root) if one.id == number), None)
    if one is None:
        raise ConfigError("NO_PROJECT", f"there is no project {number[:80]!r} in the bin")
    if taken := [path for path in _places(root, one.title) if path.exists()]:
        advice = "rename that project, or move what is there away; then restore this"
        raise ConfigError("EXISTS", f"{taken[0]} is there by now; {advice}")
    with write_errors(root / one.title):
        replace(root / BIN / number / one.title, root / one.title)
    shutil.rmtree(root / BIN / number, ignore_errors=True)
    return one.title


@contextmanager
def _alone(place: Place, work: str) -> Iterator[None]:
    """While nobody else works on the dataset, if there is one. Raises DataError (LOCKED)."""
    if not place.data.is_dir():
        yield
        return
    with hold(place.data, work):
        yield

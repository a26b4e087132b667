"""Folders of projects: renamed, moved into a bin and back; each move happens whole or not at all.

What was deleted lies in `ROOT/.bin/`. A rename is written down before it begins, and one that was
cut off is finished at the next start.
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

from bear_classifier.config import project_edits
from bear_classifier.dataset.lock import hold
from bear_classifier.errors import ConfigError
from bear_classifier.runtime.files import replace, write_atomic, write_errors
from bear_classifier.studio.projects import Place, check_name, place_of

BIN = ".bin"
_ABOUT = "about.json"
_RENAMES = ".rename-*.json"


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
    moves = _moves(place, new)
    with _alone(place, "renaming"):
        write_atomic(journal, json.dumps({"from": place.name, "to": new, "moves": moves}).encode())
        done: list[list[str]] = []
        try:
            with write_errors(place.home):
                for move in moves:
                    if (place.root / move[0]).exists():
                        replace(place.root / move[0], place.root / move[1])
                        done.append(move)
            write_atomic(
                (place.root / new if place.is_nested else place.root) / f"{new}.toml", text
            )
        except BaseException:
            for source, target in reversed(done):
                with contextlib.suppress(OSError):
                    (place.root / target).replace(place.root / source)
            journal.unlink(missing_ok=True)
            raise
        journal.unlink(missing_ok=True)
    return place_of(place.root, new)


def _moves(place: Place, new: str) -> list[list[str]]:
    """From and to, below the root, in their order."""
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


def finish_renames(root: Path) -> None:
    """Finish the renames that were cut off, so that each project is whole under one name."""
    for journal in sorted(root.glob(_RENAMES)):
        try:
            noted = json.loads(journal.read_bytes())
            old, new, moves = noted["from"], noted["to"], noted["moves"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        with write_errors(journal):
            for source, target in moves:
                if (root / source).exists() and not (root / target).exists():
                    replace(root / source, root / target)
        with contextlib.suppress(ConfigError):
            place = place_of(root, new)
            if place.config.name != new and place.config.name == _old_name(moves, old):
                write_atomic(place.file, _renamed(place, new))
        journal.unlink(missing_ok=True)


def _old_name(moves: list[list[str]], old: str) -> str:
    return moves[0][0].rpartition("/")[2] if moves else old


# -- the bin -----------------------------------------------------------------------------------


def delete_project(place: Place) -> str:
    """Move a project into the bin, and return its id there. Raises DataError (LOCKED,
    CANNOT_WRITE); then it is as it was."""
    at = datetime.now(timezone.utc)
    name = f"{place.name}-{at:%Y%m%dT%H%M%S%f}"
    folder = place.root / BIN / name
    with _alone(place, "deleting"), write_errors(folder):
        about = {"title": place.name, "deleted": at.isoformat(timespec="seconds")}
        write_atomic(folder / _ABOUT, json.dumps(about).encode())
        if place.is_nested:
            replace(place.home, folder / place.name)
            return name
        target = folder / place.name
        for source, to in (
            (place.data, target / "data" / place.data.name),
            (place.model, target / "models" / place.model.name),
            (place.own, target / "studio"),
        ):
            if source.exists():
                to.parent.mkdir(parents=True, exist_ok=True)
                replace(source, to)
        target.mkdir(exist_ok=True)
        replace(place.file, target / place.file.name)
    return name


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
    if any(path.exists() for path in _places(root, one.title)):
        advice = "rename that one first, then restore this"
        raise ConfigError("EXISTS", f"a project {one.title} is there by now; {advice}")
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

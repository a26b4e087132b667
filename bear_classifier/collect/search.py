"""Find candidates: which photos there are, where they lie, and under which label."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bear_classifier.catalog import Catalog
from bear_classifier.collect.starter import write_starter
from bear_classifier.config import folded
from bear_classifier.errors import DataError
from bear_classifier.schema import GONE, PENDING, Source
from bear_classifier.settings import Config

SOURCES = '"folder:PATH" (a folder per class) or "starter" (pictures drawn by code, no network)'


@dataclass(frozen=True)
class Candidate:
    """One possible photo. stamp: size and time of change, so that an edited file is read again."""

    origin: str
    label: str
    stamp: str


@dataclass(frozen=True)
class Listing:
    """What a source holds. ignored: path -> why it is no candidate."""

    candidates: list[Candidate]
    ignored: dict[str, str]


def search(catalog: Catalog, config: Config) -> dict[str, Any]:
    """List the project's source and record new, changed and vanished candidates."""
    kind, _, place = config.search.source.partition(":")
    if kind == "starter":
        root = catalog.root / "starter"
    elif kind == "folder" and place:
        root = Path(place).expanduser()
    elif not kind and catalog.sources():
        return {"found": 0, "new": 0, "gone": 0, "ignored": {}}
    else:
        raise DataError(
            "NO_SOURCE",
            f"{config.search.source!r} is no source of photos; pass --source with {SOURCES}",
        )
    _refuse_mixture(catalog, kind)
    if kind == "starter":
        write_starter(root, per_class=config.search.per_class)
    listing = list_folder(root, config.labels)
    known = {source.origin: source for source in catalog.sources()}
    fresh = [
        Source(c.origin, c.label, kind, c.stamp)
        for c in listing.candidates
        if not _is_known(known.get(c.origin), c)
    ]
    present = {c.origin for c in listing.candidates}
    inside = str(root.resolve()) + os.sep
    gone = [
        Source(s.origin, s.label, s.kind, s.stamp, GONE, "no longer in the folder", s.sha256)
        for s in known.values()
        if s.origin.startswith(inside) and s.origin not in present and s.code != GONE
    ]
    with catalog.transaction():
        catalog.put_sources(fresh + gone)
    return {
        "found": len(listing.candidates),
        "new": len(fresh),
        "gone": len(gone),
        "ignored": listing.ignored,
    }


def _is_known(source: Source | None, candidate: Candidate) -> bool:
    return (
        source is not None
        and source.code not in (PENDING, GONE)
        and (source.label, source.stamp) == (candidate.label, candidate.stamp)
    )


def _refuse_mixture(catalog: Catalog, kind: str) -> None:
    """Drawn pictures and photos in one dataset would make a model of neither."""
    drawn = {source.kind == "starter" for source in catalog.sources()}
    if drawn and (kind == "starter") not in drawn:
        here = "drawn starter pictures" if True in drawn else "photos"
        raise DataError(
            "MIXED_SOURCES",
            f"{catalog.root} holds {here}; drawings and photos do not mix: name another folder with"
            " --data, or another project with --project",
        )


def list_folder(root: Path, labels: Sequence[str]) -> Listing:
    """Every file below `root/<label>/`, sorted; folder names match labels in any case.

    Raises DataError (NO_FOLDER, NO_CLASS_FOLDERS, CLASS_CLASH)."""
    if not root.is_dir():
        raise DataError("NO_FOLDER", f"{root} is not a folder; {_expected(labels)}")
    root = root.resolve()
    by_name = {folded(label): label for label in labels}
    folders: dict[str, Path] = {}
    ignored: dict[str, str] = {}
    for entry in sorted(root.iterdir()):
        if _is_hidden(entry):
            ignored[str(entry)] = "hidden"
        elif not entry.is_dir():
            ignored[str(entry)] = "not in a class folder"
        elif (label := by_name.get(folded(entry.name))) is None:
            ignored[str(entry)] = "not a class of this project"
        elif label in folders:
            raise DataError(
                "CLASS_CLASH", f"{folders[label]} and {entry} are both class {label!r}; join them"
            )
        else:
            folders[label] = entry
    if not folders:
        names = ", ".join(Path(p).name for p, why in ignored.items() if "class of" in why)
        found = f"its folders are {names[:200]}" if names else "it has no folders"
        raise DataError("NO_CLASS_FOLDERS", f"{root}: {found}; {_expected(labels)}")
    candidates = [
        Candidate(str(path), label, f"{stat.st_size}-{stat.st_mtime_ns}")
        for label, folder in sorted(folders.items())
        for path, stat in _files(folder, ignored)
    ]
    return Listing(candidates, {_printable(path): why for path, why in ignored.items()})


def _files(folder: Path, ignored: dict[str, str]) -> Iterator[tuple[Path, os.stat_result]]:
    for path in sorted(folder.iterdir()):
        if _is_hidden(path):
            ignored[str(path)] = "hidden"
        elif path.is_dir() and path.is_symlink():
            ignored[str(path)] = "a link to a folder"
        elif path.is_dir():
            yield from _files(path, ignored)
        elif not path.is_file():
            ignored[str(path)] = "not a file"
        elif str(path) != _printable(str(path)):
            ignored[str(path)] = "its name is not valid Unicode; rename it"
        else:
            yield path, path.stat()


def _is_hidden(path: Path) -> bool:
    """A leading _ hides folders only: cameras name photos _DSC0123.JPG."""
    private = path.name.startswith("_") and path.is_dir()
    return private or path.name.startswith(".") or path.name in ("Thumbs.db", "desktop.ini")


def _printable(name: str) -> str:
    """The name, with a question mark for each byte that is not UTF-8."""
    return name.encode(errors="replace").decode()


def _expected(labels: Sequence[str]) -> str:
    return (
        f"expected one folder per class ({', '.join(labels)}); for other classes make a project: "
        'bears new NAME --class "first" --class "second"'
    )

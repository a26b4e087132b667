"""Classes that somebody makes while looking at photos: a line of the project file, and an undo.

The file is written first and the catalog then: a program that is killed in between leaves a class
that nobody can undo, and loses nothing.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from bear_classifier.config import project_edits, project_file
from bear_classifier.dataset import decisions
from bear_classifier.dataset.catalog import Catalog, now
from bear_classifier.dataset.queries import photo_counts
from bear_classifier.dataset.schema import Event, NewClass
from bear_classifier.errors import ConfigError, DataError
from bear_classifier.runtime.terminal import count


def make_class(catalog: Catalog, file: Path | None, label: str, who: str, request: str) -> NewClass:
    """Write a class into the project file, after the others, its own name as its search query.

    request: as in `decisions.decide`. Raises ConfigError (BAD_CLASS, CANNOT_EDIT)."""
    with catalog.transaction():
        made = NewClass(0, now(), decisions.plain(who), label, request, catalog.revision())
        if done := [row for row in catalog.new_classes() if row.request == request]:
            return done[0]
        path = _editable(file)
        bom, text = project_edits.project_text(path)
        project_edits.write_project(path, bom, project_edits.with_class(text, label, path.name))
        catalog.put_new_class(made)
        return catalog.new_classes()[-1]


def take_back(
    catalog: Catalog,
    file: Path | None,
    who: str,
    event: int | None = None,
    request: str | None = None,
) -> list[Event] | NewClass:
    """As `decisions.undo`; without a number the newest class goes first, if no decision in force is
    newer. Returns what was taken back. Raises its errors and ConfigError (CANNOT_EDIT)."""
    made = next_class(catalog) if event is None else None
    if made is None:
        return decisions.undo(catalog, who, event, request)
    with catalog.transaction():
        n = sum(n for (label, *_), n in photo_counts(catalog).items() if label == made.label)
        if n:
            held = f"{count(n, 'photo')} of class {made.label!r} came to it by a later decision"
            raise DataError("CANNOT_UNDO", f"{held}; undo that first")
        path = _editable(file)
        bom, text = project_edits.project_text(path)
        if made.label in project_file.class_names(text):
            after = project_edits.without_class(text, made.label)
            if after is None:
                by_hand = f"take the line of {made.label!r} out of [classes] by hand"
                raise ConfigError("CANNOT_EDIT", f"{path.name}: {by_hand}")
            project_edits.write_project(path, bom, after)
        catalog.put_new_class(dataclasses.replace(made, undone=1))
    return made


def next_class(catalog: Catalog) -> NewClass | None:
    """The class that `take_back` would take back, if it is not a decision."""
    made = catalog.new_classes()
    if not made:
        return None
    newest = decisions.newest_decision(catalog)
    return made[-1] if newest is None or newest.id <= made[-1].after else None


def _editable(file: Path | None) -> Path:
    if file is None:
        raise ConfigError("CANNOT_EDIT", "the classes of the starter project are fixed")
    return file

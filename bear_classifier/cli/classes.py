"""The command `bears classes`: show the classes, take one out of the project file, put it back."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bear_classifier import pipeline
from bear_classifier.config import project_file
from bear_classifier.config.settings import Config
from bear_classifier.errors import ConfigError
from bear_classifier.runtime.files import write_atomic
from bear_classifier.runtime.terminal import one_line, say


def classes(options: argparse.Namespace, project: pipeline.Project) -> int:
    if options.remove is not None or options.restore is not None:
        return _edit(options, project)
    found = _counts(project)
    if options.json:
        print(json.dumps(found))
    else:
        width = max(map(len, found), default=0)
        for label, row in found.items():
            state = "" if row["in_project"] else "  set aside: not in the project file"
            noun = "photo" if row["photos"] == 1 else "photos"
            say(f"{label:<{width}}  {row['photos']:>6} {noun}{state}")
    return 0


def _counts(project: pipeline.Project) -> dict[str, dict[str, Any]]:
    """By class, those of the dataset included that the project file does not name any more."""
    usable: Counter[str] = Counter()
    if (project.data / "catalog.sqlite").is_file():
        with pipeline.existing(project) as catalog:
            photos = catalog.photos()
        labels = set(project.config.labels)
        usable.update(p.label for p in photos if p.status == "ok" or p.label not in labels)
    return {
        label: {"photos": usable[label], "in_project": label in project.config.labels}
        for label in sorted({*project.config.labels, *usable})
    }


def _edit(options: argparse.Namespace, project: pipeline.Project) -> int:
    path = Path(options.project or "bears.toml")
    if options.project == "starter":
        raise ConfigError("CANNOT_EDIT", "the classes of the starter project are fixed")
    label = options.remove if options.remove is not None else options.restore
    text = path.read_bytes().decode("utf-8-sig")
    if options.remove is not None:
        if label not in project.config.labels:
            raise ConfigError(
                "UNKNOWN_CLASS",
                f"{path}: {label!r} is no class; there are {', '.join(project.config.labels)}",
            )
        project_file.changed(_without(project.config, label), (), str(path))  # two are needed
        after = project_file.without(text, label)
        said = f'took "{label}" out of {path}; its photos are set aside from the next run on'
    else:
        after = project_file.again(text, label)
        said = f'put "{label}" back into {path}; its photos come back with the next run'
    if after is None:
        way = "take its line out of" if options.remove is not None else f'add "{label}" to'
        raise ConfigError("CANNOT_EDIT", f"{path}: {way} [classes] by hand")
    write_atomic(path, after.encode())
    if options.json:
        print(json.dumps({"project": str(path), "class": label}))
    elif not options.quiet:
        say(one_line(said))
    return 0


def _without(config: Config, label: str) -> Config:
    rest = {name: queries for name, queries in config.classes.items() if name != label}
    return dataclasses.replace(config, classes=rest)


COMMANDS: dict[str, Callable[[argparse.Namespace, pipeline.Project], int]] = {"classes": classes}

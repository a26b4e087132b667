"""`bears classes`: show the classes, take one out of the project file, put it back."""

from __future__ import annotations

import argparse
import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

from bear_classifier import pipeline
from bear_classifier.cli import project
from bear_classifier.cli.output import print_json, print_outcome
from bear_classifier.config import project_file
from bear_classifier.config.settings import Config
from bear_classifier.errors import ConfigError
from bear_classifier.runtime.files import write_atomic
from bear_classifier.runtime.terminal import one_line, say


def add_options(parser: argparse.ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--remove", metavar="LABEL", help="make it a comment of the project file; nothing is lost"
    )
    what.add_argument("--restore", metavar="LABEL", help="take that back, with all its photos")


def run(options: argparse.Namespace) -> int:
    opened = project.named_project(options)
    if options.remove is not None or options.restore is not None:
        return _edit(options, opened)
    found = _counts(opened)
    if options.json:
        print_json(found)
    else:
        width = max(map(len, found), default=0)
        for label, row in found.items():
            state = "" if row["in_project"] else "  set aside: not in the project file"
            noun = "photo" if row["photos"] == 1 else "photos"
            say(f"{label:<{width}}  {row['photos']:>6} {noun}{state}")
    return 0


def _counts(opened: pipeline.Project) -> dict[str, dict[str, Any]]:
    """By class, those of the dataset included that the project file does not name any more."""
    usable: Counter[str] = Counter()
    if (opened.data / "catalog.sqlite").is_file():
        with pipeline.existing(opened) as catalog:
            photos = catalog.photos()
        labels = set(opened.config.labels)
        usable.update(p.label for p in photos if p.status == "ok" or p.label not in labels)
    return {
        label: {"photos": usable[label], "in_project": label in opened.config.labels}
        for label in sorted({*opened.config.labels, *usable})
    }


def _edit(options: argparse.Namespace, opened: pipeline.Project) -> int:
    path = Path(options.project or "bears.toml")
    if options.project == "starter":
        raise ConfigError("CANNOT_EDIT", "the classes of the starter project are fixed")
    label = options.remove if options.remove is not None else options.restore
    text = path.read_bytes().decode("utf-8-sig")
    if options.remove is not None:
        if label not in opened.config.labels:
            raise ConfigError(
                "UNKNOWN_CLASS",
                f"{path}: {label!r} is no class; there are {', '.join(opened.config.labels)}",
            )
        project_file.changed(_without(opened.config, label), (), str(path))  # two are needed
        after = project_file.without(text, label)
        done = f'took "{label}" out of {path}; its photos are set aside from the next run on'
    else:
        after = project_file.again(text, label)
        done = f'put "{label}" back into {path}; its photos come back with the next run'
    if after is None:
        way = "take its line out of" if options.remove is not None else f'add "{label}" to'
        raise ConfigError("CANNOT_EDIT", f"{path}: {way} [classes] by hand")
    write_atomic(path, after.encode())
    print_outcome(options, {"project": str(path), "class": label}, one_line(done))
    return 0


def _without(config: Config, label: str) -> Config:
    rest = {name: queries for name, queries in config.classes.items() if name != label}
    return dataclasses.replace(config, classes=rest)

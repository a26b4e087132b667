"""`bears classes`: show the classes, take one out of the project file, put it back."""

from __future__ import annotations

import argparse
import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bear_classifier import pipeline
from bear_classifier.cli import project
from bear_classifier.cli.output import print_outcome, print_result
from bear_classifier.config import project_file
from bear_classifier.errors import ConfigError
from bear_classifier.runtime.files import write_atomic
from bear_classifier.runtime.terminal import one_line


def add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_mutually_exclusive_group().add_argument
    add("--remove", metavar="LABEL", help="make it a comment of the project file; nothing is lost")
    add("--restore", metavar="LABEL", help="take that back, with all its photos")


def run(options: argparse.Namespace) -> None:
    opened = project.named_project(options)
    if options.remove is None and options.restore is None:
        print_result(options, photos_by_class(opened), _lines)
    else:
        _edit(options, opened)


def _lines(counts: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    width = max(map(len, counts))
    for label, row in counts.items():
        state = "" if row["in_project"] else "  set aside: not in the project file"
        noun = "photo" if row["photos"] == 1 else "photos"
        yield f"{label:<{width}}  {row['photos']:>6} {noun}{state}"


def photos_by_class(opened: pipeline.Project) -> dict[str, dict[str, Any]]:
    """Photos by class, also of classes that are no longer in the project file."""
    usable: Counter[str] = Counter()
    if (opened.data / "catalog.sqlite").is_file():
        with pipeline.existing(opened) as catalog:
            photos = catalog.photos()
        labels = set(opened.config.labels)
        labelled = [photo for photo in photos if photo.label]
        usable.update(p.label for p in labelled if p.status == "ok" or p.label not in labels)
    return {
        label: {"photos": usable[label], "in_project": label in opened.config.labels}
        for label in sorted({*opened.config.labels, *usable})
    }


def _edit(options: argparse.Namespace, opened: pipeline.Project) -> None:
    path, config = Path(options.project or "bears.toml"), opened.config
    if options.project == "starter":
        raise ConfigError("CANNOT_EDIT", "the classes of the starter project are fixed")
    label = options.restore if options.remove is None else options.remove
    text = path.read_bytes().decode("utf-8-sig")
    if options.remove is None:
        after = project_file.again(text, label)
        done = f'put "{label}" back into {path}; its photos come back with the next run'
        by_hand = f'add "{label}" to'
    else:
        if label not in config.labels:
            labels = ", ".join(config.labels)
            raise ConfigError("UNKNOWN_CLASS", f"{path}: {label!r} is no class; there are {labels}")
        rest = {name: queries for name, queries in config.classes.items() if name != label}
        # refuses a project of fewer than two classes
        project_file.changed(dataclasses.replace(config, classes=rest), (), str(path))
        after = project_file.without(text, label)
        done = f'took "{label}" out of {path}; its photos are set aside from the next run on'
        by_hand = "take its line out of"
    if after is None:
        raise ConfigError("CANNOT_EDIT", f"{path}: {by_hand} [classes] by hand")
    write_atomic(path, after.encode())
    print_outcome(options, {"project": str(path), "class": label}, one_line(done))

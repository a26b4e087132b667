"""`bears classes`: show the classes, take one out of the project file, put it back."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bear_classifier import pipeline
from bear_classifier.cli import project
from bear_classifier.cli.output import print_outcome, print_result
from bear_classifier.config import project_edits
from bear_classifier.errors import ConfigError
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
        _edit(options)


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


def _edit(options: argparse.Namespace) -> None:
    if options.project == "starter":
        raise ConfigError("CANNOT_EDIT", "the classes of the starter project are fixed")
    path = Path(options.project or "bears.toml")
    label = options.restore if options.remove is None else options.remove
    if options.remove is None:
        project_edits.restore_class(path, label)
        done = f'put "{label}" back into {path}; its photos come back with the next run'
    else:
        project_edits.remove_class(path, label)
        done = f'took "{label}" out of {path}; its photos are set aside from the next run on'
    print_outcome(options, {"project": str(path), "class": label}, one_line(done))

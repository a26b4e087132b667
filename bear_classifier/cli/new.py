"""`bears new`: write a project file."""

from __future__ import annotations

import argparse
from pathlib import Path

from bear_classifier.cli.output import print_text
from bear_classifier.config import project_file
from bear_classifier.errors import ConfigError
from bear_classifier.runtime.terminal import command


def add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("title", metavar="NAME", help="letters, digits, - and _; NAME.toml is written")
    more = "a class; give two or more"
    add("--class", dest="classes", metavar="LABEL", action="append", required=True, help=more)


def run(options: argparse.Namespace) -> None:
    if len(set(options.classes)) < len(options.classes):
        raise ConfigError("BAD_CLASS", "the same class was given twice")
    queries = {label: [label] for label in options.classes}
    path = project_file.create(options.title, queries, Path(), "bears new")
    print_text(
        options,
        f"wrote {path}; use your photos with --source folder:PATH (a folder per class), or search"
        f" the web for them; run: {command('run', '--project', str(path), '--source', 'web')}",
    )

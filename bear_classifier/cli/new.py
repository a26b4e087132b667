"""`bears new`: write a project file."""

from __future__ import annotations

import argparse
from pathlib import Path

from bear_classifier.cli.output import print_text
from bear_classifier.config import project_file
from bear_classifier.errors import ConfigError
from bear_classifier.runtime.terminal import command


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "title", metavar="NAME", help="letters, digits, - and _; NAME.toml is written"
    )
    parser.add_argument(
        "--class",
        dest="classes",
        metavar="LABEL",
        action="append",
        required=True,
        help="a class; give two or more",
    )


def run(options: argparse.Namespace) -> int:
    if len(set(options.classes)) < len(options.classes):
        raise ConfigError("BAD_CLASS", "the same class was given twice")
    path = project_file.create(
        options.title, {label: [label] for label in options.classes}, Path(), "bears new"
    )
    print_text(
        options,
        f"wrote {path}; use your photos with --source folder:PATH (a folder per class), or search"
        f" the web for them; run: {command('run', '--project', str(path), '--source', 'web')}",
    )
    return 0

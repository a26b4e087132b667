"""`bears watch`: classify photos as they come into a folder."""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from bear_classifier.cli.options import add_path
from bear_classifier.cli.output import print_json
from bear_classifier.cli.predict import answer_row, line, prediction_cells, prediction_columns
from bear_classifier.errors import DataError
from bear_classifier.runtime.files import printable, writable
from bear_classifier.runtime.growing_table import AppendedTable
from bear_classifier.runtime.terminal import complain, count, one_line, tell

if TYPE_CHECKING:
    from bear_classifier.ship.bundle import Bundle


def add_options(parser: argparse.ArgumentParser) -> None:
    add_path(parser, "folder", "FOLDER", "where photos come, also into folders in it")
    add_path(parser, "--model", "DIR", "a bundle (default: the project's)")
    about = "append a row for each photo; what stands in it is not asked again"
    add_path(parser, "--csv", "FILE", about)
    every = "look into the folder every so many seconds (default: 2)"
    parser.add_argument("--every", metavar="SECONDS", type=_seconds, default=2.0, help=every)


def run(options: argparse.Namespace) -> int:
    from bear_classifier.ship.bundle import load
    from bear_classifier.ship.new_files import new_files
    from bear_classifier.ship.predict import Model, answer_of
    from bear_classifier.ship.sandbox import trust

    if not options.folder.is_dir():
        words = f"{options.folder} is not a folder; name the one into which photos come"
        raise DataError("NO_FOLDER", words)
    if options.csv:
        writable(options.csv)
    model = options.model
    if model is None:
        from bear_classifier.cli import project

        model = project.bundle_folder(options)
    trust(bundle := load(model))
    ready = Model(bundle)
    with _table(options, bundle) if options.csv else nullcontext() as table:
        done = table.done if table else set()
        own = options.csv.absolute() if options.csv else None
        complain(options, f"watching {one_line(str(options.folder))}; Ctrl-C ends it")
        for path in new_files(options.folder, options.every, lambda p: p.absolute() != own):
            if printable(path) in done:
                continue
            row = answer_row(path, answer_of(ready, path))
            if table:
                table.add(prediction_cells(row, bundle.labels))
            if options.json:
                print_json(row)
            else:
                tell(options, line(row))
    return 0


def _table(options: argparse.Namespace, bundle: Bundle) -> AppendedTable:
    table = AppendedTable(Path(options.csv), prediction_columns(bundle.labels))
    if table.done:
        complain(options, f"{options.csv} has {count(len(table.done), 'photo')} already")
    return table


def _seconds(text: str) -> float:
    """Raises ArgumentTypeError."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.1 <= value <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds, 0.1 to 3600")
    return value

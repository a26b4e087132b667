"""`bears undo`: take back a decision."""

from __future__ import annotations

import argparse

from bear_classifier import pipeline
from bear_classifier.cli import project
from bear_classifier.cli.history import SHOWN, event_lines
from bear_classifier.cli.output import print_outcome
from bear_classifier.dataset import decisions


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("event", metavar="EVENT", type=int, nargs="?", help="see bears history")


def run(options: argparse.Namespace) -> None:
    with pipeline.existing(project.named_project(options)) as catalog, catalog.lock("undo"):
        events = decisions.undo(catalog, decisions.user_name(), options.event)
        lines = event_lines(catalog, events[:SHOWN])
    print_outcome(options, {"events": [event.id for event in events]}, "\n".join(lines))

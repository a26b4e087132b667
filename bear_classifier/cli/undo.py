"""`bears undo`: take back a decision."""

from __future__ import annotations

import argparse

from bear_classifier import pipeline
from bear_classifier.cli import project
from bear_classifier.cli.history import SHOWN, event_lines
from bear_classifier.cli.options import add_who
from bear_classifier.cli.output import print_outcome
from bear_classifier.dataset import decisions, new_classes
from bear_classifier.dataset.schema import NewClass
from bear_classifier.runtime.terminal import one_line


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("event", metavar="EVENT", type=int, nargs="?", help="see bears history")
    add_who(parser)


def run(options: argparse.Namespace) -> None:
    opened = project.named_project(options)
    who = decisions.user_name(options.who)
    with pipeline.existing(opened) as catalog, catalog.lock("undo"):
        taken = new_classes.take_back(catalog, opened.file, who, options.event)
        events = [] if isinstance(taken, NewClass) else taken
        lines = event_lines(catalog, events[:SHOWN])
    outcome: dict[str, object] = {"events": [event.id for event in events]}
    if isinstance(taken, NewClass):
        outcome["class"] = taken.label
        lines = [one_line(f'took the new class "{taken.label}" out of {opened.file} again')]
    print_outcome(options, outcome, "\n".join(lines))

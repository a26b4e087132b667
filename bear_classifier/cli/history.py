"""`bears history`: what was decided, by whom and why."""

from __future__ import annotations

import argparse
import dataclasses

from bear_classifier import pipeline
from bear_classifier.cli import project
from bear_classifier.cli.output import print_json
from bear_classifier.dataset import decisions
from bear_classifier.dataset.schema import Event
from bear_classifier.runtime.terminal import minute, one_line, tell

SHOWN = 20  # lines of decisions; the rest is counted


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("photo", metavar="HASH", nargs="?", help="of one photo, by its sha256")


def run(options: argparse.Namespace) -> None:
    with pipeline.existing(project.named_project(options)) as catalog:
        photo = decisions.full_sha256(catalog, options.photo) if options.photo else None
        events = decisions.history(catalog, photo)
    if options.json:
        for event in events:
            print_json(dataclasses.asdict(event))
    else:
        tell(options, "\n".join(map(event_line, events)) or "nothing was decided yet")


def event_line(event: Event) -> str:
    change = f"{event.old} -> {event.new}" if event.old != event.new else event.old
    why = f"  ({event.why})" if event.why else ""
    action = f"{event.action} {event.sha256[:12]}"
    return one_line(f"{event.id:5}  {minute(event.at)}  {event.who}  {action}  {change}{why}")

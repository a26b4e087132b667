"""`bears history`: what was decided, by whom and why."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence

from bear_classifier import pipeline
from bear_classifier.cli import project
from bear_classifier.cli.output import print_json
from bear_classifier.dataset import decisions
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import Event
from bear_classifier.runtime.terminal import minute, one_line, tell

SHOWN = 20  # lines of decisions; the rest is counted


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("photo", metavar="HASH", nargs="?", help="of one photo, by its sha256")


def run(options: argparse.Namespace) -> None:
    with pipeline.existing(project.named_project(options)) as catalog:
        photo = decisions.full_sha256(catalog, options.photo) if options.photo else None
        events = decisions.history(catalog, photo)
        origins = decisions.photo_origins(catalog, events)
        lines = event_lines(catalog, events)
    if options.json:
        for event in events:
            print_json(dataclasses.asdict(event) | {"origin": origins.get(event.sha256, "")})
    else:
        tell(options, "\n".join(lines) or "nothing was decided yet")


def event_lines(catalog: Catalog, events: Sequence[Event]) -> list[str]:
    """A line for each event, with the file or address of its photo."""
    origins = decisions.photo_origins(catalog, events)
    return [event_line(event, origins.get(event.sha256, "")) for event in events]


def event_line(event: Event, origin: str) -> str:
    change = f"{event.old or 'no label'} -> {event.new}" if event.old != event.new else event.old
    why = f"  ({event.why})" if event.why else ""
    action = f"{event.action} {event.sha256[:12]}"
    photo = f"  {origin}" if origin else ""
    line = f"{event.id:5}  {minute(event.at)}  {event.who}  {action}  {change}{photo}{why}"
    return one_line(line)

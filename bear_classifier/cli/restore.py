"""`bears restore`: put back a copy of a damaged catalog."""

from __future__ import annotations

import argparse
import dataclasses

from bear_classifier import pipeline
from bear_classifier.cli import project
from bear_classifier.cli.history import SHOWN, event_lines
from bear_classifier.cli.options import add_flag
from bear_classifier.cli.output import print_outcome
from bear_classifier.dataset import backups
from bear_classifier.dataset.lock import hold
from bear_classifier.runtime.terminal import minute


def add_options(parser: argparse.ArgumentParser) -> None:
    add_flag(parser, "--force", "also of one that is not damaged")


def run(options: argparse.Namespace) -> None:
    opened = project.named_project(options)
    if not backups.made(opened.data):
        with pipeline.existing(opened):  # says what is wrong, if something is
            pass
    with hold(opened.data, "restore"):
        done = backups.restore(opened.data, options.force)
    with pipeline.existing(opened) as catalog:
        lost = event_lines(catalog, done.events)
    outcome = {
        "copy": str(done.copy),
        "at": backups.at(done.copy).isoformat(),
        "aside": str(done.aside) if done.aside else None,
        "missing": [dataclasses.asdict(event) for event in done.events],
        "missing_take_downs": [dataclasses.asdict(row) for row in done.take_downs],
        "complete": done.complete,
    }
    print_outcome(options, outcome, "\n".join(_restored(done, lost)))


def _restored(done: backups.Restored, lost: list[str]) -> list[str]:
    """lost: lines of the decisions that are missing."""
    lines = [f"put back the copy of {backups.backup_time(done.copy)}"]
    if done.aside:
        lines.append(f"what stood there is kept: {done.aside}")
    for row in done.take_downs:
        what = f"take-down of {row.kind} {row.value}"
        lost.append(f"{'':5}  {minute(row.at)}  {row.who}  {what}  ({row.why})")
    if lost:
        lines += [f"missing are the decisions made after it ({len(lost)}):", *lost[:SHOWN]]
    if len(lost) > SHOWN:
        lines.append(f"... and {len(lost) - SHOWN} more in the file that is kept")
    if not done.complete:
        lines.append(f"{'other ' if lost else ''}decisions after that time cannot be read")
    elif not lost:
        lines.append("no decision is missing")
    return lines

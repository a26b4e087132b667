"""`bears lr`: find a learning rate, draw how it was found, and explain it."""

from __future__ import annotations

import argparse

from bear_classifier.cli import project
from bear_classifier.cli.output import print_outcome
from bear_classifier.experiments.lr import study
from bear_classifier.runtime.heartbeat import heartbeat


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--seeds", metavar="N", type=int, default=3, help="runs of the finder (default: 3)"
    )
    parser.add_argument(
        "--steps", metavar="N", type=int, default=40,
        help="batches of a run, 25 or more (default: 40, as in training)",
    )  # fmt: skip
    parser.add_argument(
        "--compare",
        action="store_true",
        help="train briefly at each suggestion, ten times less and more; say which did best",
    )


def run(options: argparse.Namespace) -> int:
    with heartbeat("lr"):
        found = study.find_rates(
            project.named_project(options), options.seeds, options.steps, options.compare
        )
    print_outcome(options, found, "\n".join(study.text(found)))
    return 0

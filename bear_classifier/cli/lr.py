"""`bears lr`: find a learning rate, draw how it was found, and explain it."""

from __future__ import annotations

import argparse

from bear_classifier.cli import project
from bear_classifier.cli.options import add_flag, add_number
from bear_classifier.cli.output import print_outcome
from bear_classifier.experiments.lr import study
from bear_classifier.runtime.heartbeat import heartbeat


def add_options(parser: argparse.ArgumentParser) -> None:
    add_number(parser, "--seeds", "runs of the finder (default: 3)", default=3)
    steps = "batches of a run, 25 or more (default: 40, as in training)"
    add_number(parser, "--steps", steps, default=40)
    compare = "train briefly at each suggestion, ten times less and more; say which did best"
    add_flag(parser, "--compare", compare)


def run(options: argparse.Namespace) -> None:
    opened = project.named_project(options)
    with heartbeat("lr"):
        result = study.find_rates(opened, options.seeds, options.steps, options.compare)
    print_outcome(options, result, "\n".join(study.text(result)))

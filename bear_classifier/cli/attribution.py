"""`bears attribution`: who made each photo, where it stands, and its licence."""

from __future__ import annotations

import argparse

from bear_classifier import pipeline
from bear_classifier.cli import project
from bear_classifier.cli.output import print_result
from bear_classifier.runtime.heartbeat import heartbeat


def add_options(parser: argparse.ArgumentParser) -> None:
    """None of its own."""


def run(options: argparse.Namespace) -> None:
    from bear_classifier.collect.rights.attribution import attribution, attribution_text

    opened = project.named_project(options)
    with pipeline.existing(opened) as catalog, heartbeat("attribution"):
        outcome = attribution(catalog, opened.config)
    print_result(options, outcome, attribution_text)

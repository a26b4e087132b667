"""`bears review` and `bears gallery`: the page on which people look at photos and decide."""

from __future__ import annotations

import argparse

from bear_classifier import pipeline
from bear_classifier.cli import project
from bear_classifier.cli.options import add_address_options, add_who


def add_options(parser: argparse.ArgumentParser) -> None:
    add_who(parser)
    add_address_options(parser, 7861)


def run(options: argparse.Namespace) -> None:
    from bear_classifier.review.app import serve_review

    opened = project.named_project(options)
    with pipeline.existing(opened):
        pass
    view = "gallery" if options.name == "gallery" else ""
    serve_review(opened, options.host, options.port, view, options.who)

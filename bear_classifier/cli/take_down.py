"""`bears take-down`: use nothing of a site, an address or a file any more."""

from __future__ import annotations

import argparse

from bear_classifier import pipeline
from bear_classifier.cli import project
from bear_classifier.cli.output import print_result


def add_options(parser: argparse.ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--domain", metavar="NAME", help="a site and all below it: example.com")
    what.add_argument("--url", metavar="ADDRESS", help="a photo's or a page's address")
    what.add_argument("--sha256", metavar="HASH", help="a photo's hash, or its first 8 digits")
    parser.add_argument("--why", default="", metavar="TEXT", help="the reason, for the record")


def run(options: argparse.Namespace) -> None:
    from bear_classifier.collect.rights.take_down import take_down, take_down_text

    kind = next(k for k in ("domain", "url", "sha256") if getattr(options, k) is not None)
    with pipeline.existing(project.named_project(options)) as catalog, catalog.lock("take-down"):
        outcome = take_down(catalog, kind, getattr(options, kind), "take-down", options.why)
    print_result(options, outcome, take_down_text)

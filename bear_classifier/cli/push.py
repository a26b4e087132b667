"""`bears push`: upload a bundle to the Hugging Face Hub."""

from __future__ import annotations

import argparse
import dataclasses

from bear_classifier.cli.options import add_flag, add_path
from bear_classifier.cli.output import print_outcome
from bear_classifier.runtime.heartbeat import heartbeat


def add_options(parser: argparse.ArgumentParser) -> None:
    add_path(parser, "model", "MODEL", "a bundle")
    about = "OWNER/NAME on the Hub, or NAME for yours; made if it is not there"
    parser.add_argument("repo", metavar="REPO", help=about)
    add_flag(parser, "--public", "make a new repository that everybody sees (default: private)")
    add_flag(parser, "--dry-run", "list what would be sent; ask nobody")


def run(options: argparse.Namespace) -> None:
    from bear_classifier.ship.push import push, push_text

    with heartbeat("push"):
        done = push(options.model, options.repo, options.public, options.dry_run)
    print_outcome(options, dataclasses.asdict(done), push_text(done))

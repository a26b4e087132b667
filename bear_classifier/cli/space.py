"""`bears space`: a folder that Hugging Face Spaces or a container runs."""

from __future__ import annotations

import argparse
import dataclasses
import json

from bear_classifier.cli.options import add_path
from bear_classifier.cli.output import print_outcome


def add_options(parser: argparse.ArgumentParser) -> None:
    add_path(parser, "model", "MODEL", "a bundle")
    add_path(parser, "out", "OUT", "the folder; replaced if it is ours")


def run(options: argparse.Namespace) -> None:
    from bear_classifier.ship.space import space, space_text

    done = space(options.model, options.out)
    plain = json.loads(json.dumps(dataclasses.asdict(done), default=str))
    print_outcome(options, plain, space_text(done))

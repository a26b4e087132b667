"""`bears space`: a folder that Hugging Face Spaces or a container runs."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

from bear_classifier.cli.output import print_outcome


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", type=Path, help="a bundle")
    parser.add_argument("out", metavar="OUT", type=Path, help="the folder; replaced if it is ours")


def run(options: argparse.Namespace) -> int:
    from bear_classifier.ship.space import space, space_text

    done = space(options.model, options.out)
    plain = json.loads(json.dumps(dataclasses.asdict(done), default=str))
    print_outcome(options, plain, space_text(done))
    return 0

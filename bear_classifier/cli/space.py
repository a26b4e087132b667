"""`bears space`: a folder that Hugging Face Spaces, a container or any web server hands out."""

from __future__ import annotations

import argparse
import dataclasses
import json

from bear_classifier.cli.options import add_path
from bear_classifier.cli.output import print_outcome


def add_options(parser: argparse.ArgumentParser) -> None:
    add_path(parser, "model", "MODEL", "a bundle")
    help = "a page without a server: the model answers in the visitor's browser"
    parser.add_argument("--static", action="store_true", help=help)
    add_path(parser, "out", "OUT", "the folder; replaced if it is ours")


def run(options: argparse.Namespace) -> None:
    if options.static:
        from bear_classifier.serve.static_page import static_page, static_page_text

        page = static_page(options.model, options.out)
        plain = json.loads(json.dumps(dataclasses.asdict(page), default=str))
        print_outcome(options, plain, static_page_text(page))
        return
    from bear_classifier.ship.space import space, space_text

    done = space(options.model, options.out)
    plain = json.loads(json.dumps(dataclasses.asdict(done), default=str))
    print_outcome(options, plain, space_text(done))

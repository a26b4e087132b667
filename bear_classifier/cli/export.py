"""`bears export`: the bundle of the last training, or its weights for another library."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

from bear_classifier.cli import project, stage
from bear_classifier.cli.options import CommandParser, add_path
from bear_classifier.cli.output import print_outcome

_FORMATS = ("torchvision", "timm", "safetensors", "fastai")


def add_options(parser: CommandParser) -> None:
    about = "write the weights of the published model for another library into OUT, and publish"
    parser.add_argument("--format", choices=_FORMATS, help=f"{about} nothing")
    add_path(parser, "--model", "MODEL", "with --format: a bundle (default: the project's)")
    add_path(parser, "out", "OUT", "a folder (default: beside the bundle)", nargs="?")


def run(options: argparse.Namespace) -> int:
    if options.format is None:
        for given, name in ((options.out, "OUT"), (options.model, "--model")):
            if given:
                options.parser.error(f"{name} {given} needs --format FORMAT")
        return stage.run(options)
    from bear_classifier.ship.library_formats import weights_text, write_weights

    model = project.bundle_folder(options)
    out = options.out or Path(model).with_name(f"{Path(model).name}-{options.format}")
    done = write_weights(model, options.format, out)
    plain = json.loads(json.dumps(dataclasses.asdict(done), default=str))
    print_outcome(options, plain, weights_text(done))
    return 0

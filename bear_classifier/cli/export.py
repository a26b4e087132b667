"""`bears export`: the bundle of the last training, or a file of it for another library."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

from bear_classifier.cli import project, stage
from bear_classifier.cli.options import CommandParser, add_path
from bear_classifier.cli.output import print_outcome

_FORMATS = ("torchvision", "timm", "safetensors", "fastai", "onnx-complete")


def add_options(parser: CommandParser) -> None:
    about = (
        "write the published model into OUT for another library, or as one ONNX file from pixels to"
        " the answer, and publish nothing"
    )
    parser.add_argument("--format", choices=_FORMATS, help=about)
    add_path(parser, "--model", "MODEL", "with --format: a bundle (default: the project's)")
    add_path(parser, "out", "OUT", "a folder (default: beside the bundle)", nargs="?")


def run(options: argparse.Namespace) -> int:
    if options.format is None:
        for given, name in ((options.out, "OUT"), (options.model, "--model")):
            if given:
                options.parser.error(f"{name} {given} needs --format FORMAT")
        return stage.run(options)
    from bear_classifier.ship.library_formats import weights_text

    model = project.bundle_folder(options)
    out = options.out or Path(model).with_name(f"{Path(model).name}-{options.format}")
    if options.format == "onnx-complete":
        from bear_classifier.ship.complete_export import write_complete

        done = write_complete(model, out)
    else:
        from bear_classifier.ship.library_formats import write_weights

        done = write_weights(model, options.format, out)
    plain = json.loads(json.dumps(dataclasses.asdict(done), default=str))
    print_outcome(options, plain, weights_text(done))
    return 0

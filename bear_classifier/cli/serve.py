"""`bears serve`: the web page and the HTTP API of a model."""

from __future__ import annotations

import argparse
from pathlib import Path

from bear_classifier.cli.options import add_address_options
from bear_classifier.config.settings import ServeConfig


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model", metavar="MODEL", type=Path, nargs="?", help="a bundle, or a folder of several"
    )
    add_address_options(parser)


def run(options: argparse.Namespace) -> int:
    from bear_classifier.cli import project
    from bear_classifier.serve.uvicorn_server import serve

    settings = ServeConfig()
    if options.project or Path("bears.toml").exists():
        settings = project.named_project(options).config.serve
    elif options.set:  # of no project: those of the starter's are as they come
        from bear_classifier import pipeline

        settings = pipeline.open_project("starter", options.set).config.serve
    serve(project.bundle_folder(options), options.host, options.port, settings)
    return 0

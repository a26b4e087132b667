"""`bears serve`: the web page and the HTTP API of a model."""

from __future__ import annotations

import argparse
from pathlib import Path

from bear_classifier.cli.options import add_address_options, add_path
from bear_classifier.config.settings import ServeConfig


def add_options(parser: argparse.ArgumentParser) -> None:
    add_path(parser, "model", "MODEL", "a bundle, or a folder of several", nargs="?")
    add_address_options(parser)


def run(options: argparse.Namespace) -> None:
    from bear_classifier.cli import project
    from bear_classifier.serve.uvicorn_server import serve

    settings = ServeConfig()
    if options.project or Path("bears.toml").exists():
        settings = project.named_project(options).config.serve
    elif options.set:  # without a project: over the defaults, which the starter has
        from bear_classifier import pipeline

        settings = pipeline.open_project("starter", options.set).config.serve
    serve(project.bundle_folder(options), options.host, options.port, settings)

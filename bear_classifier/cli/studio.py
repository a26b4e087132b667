"""`bears studio`: the page on which a classifier is built without a terminal."""

from __future__ import annotations

import argparse
from pathlib import Path

from bear_classifier.cli.options import add_address_options, add_flag, add_path


def add_options(parser: argparse.ArgumentParser) -> None:
    about = "of the projects (default: bears-studio in your home)"
    add_path(parser, "folder", "FOLDER", about, nargs="?")
    add_address_options(parser, 7862)
    add_flag(parser, "--no-browser", "open no browser")


def run(options: argparse.Namespace) -> None:
    from bear_classifier.studio.server import FOLDER, serve_studio

    folder = options.folder or Path.home() / FOLDER
    serve_studio(folder, options.host, options.port, not options.no_browser)

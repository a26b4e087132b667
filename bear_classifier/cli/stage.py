"""The commands of single stages: search, download, screen, split, probe, train."""

from __future__ import annotations

import argparse
import os

from bear_classifier import pipeline
from bear_classifier.cli import project
from bear_classifier.cli.options import (
    CommandParser,
    add_download_options,
    add_engine_option,
    add_search_options,
)
from bear_classifier.cli.output import exit_code, note_printer, print_outcome
from bear_classifier.report import stage_lines
from bear_classifier.runtime.launcher import launch_of


def add_options(parser: CommandParser) -> None:
    if parser.command == "search":
        add_search_options(parser)
    if parser.command == "download":
        add_download_options(parser)
    if parser.command in ("download", "screen", "probe", "train"):
        add_engine_option(parser)


def run(options: argparse.Namespace) -> int:
    launch = launch_of()
    if launch.world == 1:
        return _run(options)
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # else it tells of each lost connection
    from bear_classifier.learn import rank_work, ranks  # torch, which other stages do not need

    with ranks.together(launch):
        if launch.rank == 0:
            return _run(options)
        rank_work.train_along(project.named_project(options).config)
    return 0


def _run(options: argparse.Namespace) -> int:
    outcome = pipeline.run_one(project.named_project(options), options.name, note_printer(options))
    print_outcome(options, outcome, stage_lines.stage_text(options.name, outcome))
    return exit_code(options, outcome)

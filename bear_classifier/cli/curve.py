"""`bears curve`: whether more photos would help."""

from __future__ import annotations

import argparse

from bear_classifier import pipeline
from bear_classifier.cli import project
from bear_classifier.cli.output import print_result
from bear_classifier.runtime.heartbeat import heartbeat
from bear_classifier.runtime.terminal import one_line


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--half",
        action="store_true",
        help="only the check: predict the error at all photos from half of them, and measure it",
    )
    parser.add_argument(
        "--more",
        metavar="N",
        type=int,
        help="what so many more photos would bring, at most twice the present number"
        " (default: a round number)",
    )
    parser.add_argument(
        "--seeds", metavar="N", type=int, default=10,
        help="orders of the photos to learn from (default: 10); more narrow the interval",
    )  # fmt: skip


def run(options: argparse.Namespace) -> int:
    opened = project.named_project(options)
    with heartbeat("curve"):
        from bear_classifier.experiments.curve import text
        from bear_classifier.experiments.curve.runs import growth

        with pipeline.existing(opened) as catalog:
            result = growth(catalog, opened.config, options.seeds, options.more, options.half)
    picture = one_line(f"picture    {opened.data / 'curve' / 'curve.png'}")
    if options.half:
        print_result(options, result, lambda result: text.check_sentence(result["check"]))
    else:
        print_result(options, result, lambda result: [*text.verdict_sentences(result), picture])
    return 0

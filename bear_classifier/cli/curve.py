"""`bears curve`: whether more photos would help."""

from __future__ import annotations

import argparse

from bear_classifier import pipeline
from bear_classifier.cli import project
from bear_classifier.cli.options import add_engine_option, add_flag, add_number
from bear_classifier.cli.output import print_result
from bear_classifier.runtime.heartbeat import heartbeat
from bear_classifier.runtime.terminal import one_line


def add_options(parser: argparse.ArgumentParser) -> None:
    half = "only the check: predict the error at all photos from half of them, and measure it"
    add_flag(parser, "--half", half)
    bring = "what so many more photos would bring, at most twice the present number"
    add_number(parser, "--more", f"{bring} (default: a round number)")
    orders = "orders of the photos to learn from (default: 10); more narrow the interval"
    add_number(parser, "--seeds", orders, default=10)
    add_engine_option(parser)


def run(options: argparse.Namespace) -> None:
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

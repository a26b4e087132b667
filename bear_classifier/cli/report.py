"""`bears report`: what is known of a model and its photos, as a page, as text and as JSON."""

from __future__ import annotations

import argparse
from pathlib import Path

from bear_classifier import pipeline
from bear_classifier.cli import project
from bear_classifier.cli.options import add_path
from bear_classifier.cli.output import print_outcome
from bear_classifier.errors import ConfigError
from bear_classifier.report import build
from bear_classifier.runtime.files import writable
from bear_classifier.runtime.heartbeat import heartbeat
from bear_classifier.runtime.terminal import one_line


def add_options(parser: argparse.ArgumentParser) -> None:
    add_path(parser, "--model", "DIR", "a bundle (default: the project's)")
    beside = "the page, with the same as .md and .json beside it"
    default = "report/report.html in the dataset"
    add_path(parser, "--out", "FILE", f"{beside} (default: {default})")


def run(options: argparse.Namespace) -> None:
    opened = project.named_project(options)
    out: Path = options.out or opened.data / "report" / "report.html"
    if out.suffix.lower() not in (".html", ".htm") or out.is_dir():
        raise ConfigError("BAD_SETTING", f"--out {out}: the page's name ends with .html")
    if options.out:
        writable(out)
    with heartbeat("report"), pipeline.existing(opened) as catalog:
        catalog.freeze()  # one state of the photos for all figures
        facts, page, _ = build.make_report(catalog, opened, options.model or opened.model)
    build.write_report(facts, page, out)
    warnings = [f"warning: {sentence}" for sentence in facts["warnings"]]
    wrote = one_line(f"wrote {out}, and beside it {out.stem}.md and {out.stem}.json")
    print_outcome(options, facts, "\n".join([facts["verdict"], *warnings, wrote]))

"""`bears report`: what is known of a model and its photos, as a page, as text and as JSON."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bear_classifier import pipeline
from bear_classifier.cli import project
from bear_classifier.cli.output import print_outcome
from bear_classifier.errors import ConfigError
from bear_classifier.report import build
from bear_classifier.runtime.files import writable
from bear_classifier.runtime.heartbeat import heartbeat
from bear_classifier.runtime.terminal import one_line


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model", metavar="DIR", type=Path, help="a bundle (default: the project's)"
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        type=Path,
        help="the page, with the same as .md and .json beside it (default: report/report.html in"
        " the dataset)",
    )


def run(options: argparse.Namespace) -> int:
    opened = project.named_project(options)
    out: Path = options.out or opened.data / "report" / "report.html"
    if out.suffix.lower() not in (".html", ".htm") or out.is_dir():
        raise ConfigError("BAD_SETTING", f"--out {out}: the page's name ends with .html")
    if options.out:
        writable(out)
    with heartbeat("report"), pipeline.existing(opened) as catalog:
        catalog.freeze()  # one state of the photos for all figures
        found, page, _ = build.make_report(catalog, opened, options.model or opened.model)
    build.write_report(found, page, out)
    print_outcome(options, found, "\n".join(_lines(found, out)))
    return 0


def _lines(found: Mapping[str, Any], out: Path) -> Iterator[str]:
    yield found["verdict"]
    for sentence in found["warnings"]:
        yield f"warning: {sentence}"
    yield one_line(f"wrote {out}, and beside it {out.stem}.md and {out.stem}.json")

"""`bears lesson`: pages that show why training works."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bear_classifier.cli.options import add_path
from bear_classifier.cli.output import print_result
from bear_classifier.runtime.files import writable
from bear_classifier.runtime.heartbeat import heartbeat
from bear_classifier.runtime.terminal import one_line, progress_bar, say_above_bars

if TYPE_CHECKING:
    from bear_classifier.lesson.page import Page


def add_options(parser: argparse.ArgumentParser) -> None:
    names = "such as sgd; all: every one; none: list them"
    parser.add_argument("page", metavar="NAME", nargs="*", help=names)
    add_path(parser, "--save", "DIR", "write each page there as HTML, with its pictures")


def page_names() -> list[str]:
    """What NAME may be."""
    from bear_classifier.lesson.contents import TITLES

    return [*TITLES, "all"]


def run(options: argparse.Namespace) -> int:
    """The exit code is 1 where a claim of a page does not hold."""
    from bear_classifier.lesson import contents
    from bear_classifier.lesson import page as sheet

    if not options.page:
        print_result(options, contents.TITLES, _listed)
        return 0
    names = list(contents.TITLES) if options.page == ["all"] else options.page
    for name in names:
        contents.require(name)
    if options.save:
        writable(options.save / f"{names[0]}.html")
    fine = True
    bar = progress_bar(names, unit="page", leave=False)
    for name in bar:
        bar.set_description(f"lesson {name}")
        with heartbeat(f"lesson {name}"):
            page = _about_photos(name, options) if name in contents.PHOTOS else contents.page(name)
        fine = fine and page.holds
        say_above_bars(json.dumps(_plain(page)) if options.json else sheet.page_text(page))
        if options.save:
            path = sheet.save(page, options.save, contents.TITLES)
            if not options.json:
                say_above_bars(one_line(f"  wrote  {path}"))
    return 0 if fine else 1


def _about_photos(name: str, options: argparse.Namespace) -> Page:
    from bear_classifier import pipeline
    from bear_classifier.cli import project
    from bear_classifier.lesson import contents
    from bear_classifier.lesson.trained_model import Subject

    if not options.project and not Path("bears.toml").exists():
        options.project = "starter"
    opened = project.named_project(options)
    with pipeline.existing(opened) as catalog:
        return contents.page(name, Subject(catalog, opened.config, opened.model))


def _listed(titles: Mapping[str, str]) -> Iterator[str]:
    width = max(map(len, titles))
    yield from (f"{name:<{width}}  {title}" for name, title in titles.items())
    yield ""
    yield "To run one and write its page, run: bears lesson sgd --save lesson"
    trained_last = "Pages about photos show what was trained last"
    yield f"{trained_last}; to train, run: bears run --project starter"


def _plain(page: Page) -> dict[str, object]:
    claims = [dataclasses.asdict(claim) for claim in page.claims]
    return {"page": page.name, "title": page.title, "holds": page.holds, "claims": claims}

"""`bears lesson`: pages that show why training works."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bear_classifier.cli.output import print_json
from bear_classifier.runtime.files import writable
from bear_classifier.runtime.heartbeat import heartbeat
from bear_classifier.runtime.terminal import one_line, progress_bar, say_above_bars, tell

if TYPE_CHECKING:
    from bear_classifier.lesson.page import Page


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "page", metavar="NAME", nargs="*", help="such as sgd; all: every one; none: list them"
    )
    parser.add_argument(
        "--save", metavar="DIR", type=Path, help="write each page there as HTML, with its pictures"
    )


def page_names() -> list[str]:
    """What NAME may be."""
    from bear_classifier.lesson.contents import TITLES

    return [*TITLES, "all"]


def run(options: argparse.Namespace) -> int:
    """The exit code is 1 where a claim of a page does not hold."""
    from bear_classifier.lesson import contents
    from bear_classifier.lesson import page as sheet

    if not options.page:
        if options.json:
            print_json(contents.TITLES)
        else:
            tell(options, _listed(contents.TITLES))
        return 0
    wanted = list(contents.TITLES) if options.page == ["all"] else options.page
    for name in wanted:
        contents.require(name)
    if options.save:
        writable(options.save / f"{wanted[0]}.html")
    fine = True
    bar = progress_bar(wanted, unit="page", leave=False)
    for name in bar:
        bar.set_description(f"lesson {name}")
        with heartbeat(f"lesson {name}"):
            page = _about_photos(name, options) if name in contents.PHOTOS else contents.page(name)
        fine = fine and page.holds
        if options.json:
            say_above_bars(json.dumps(_plain(page)))
        else:
            say_above_bars(sheet.page_text(page))
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


def _listed(titles: Mapping[str, str]) -> str:
    wide = max(map(len, titles))
    lines = [f"{name:<{wide}}  {title}" for name, title in titles.items()]
    more = [
        "To run one and write its page, run: bears lesson sgd --save lesson",
        "Pages about photos show what was trained last; to train, run: bears run --project starter",
    ]
    return "\n".join([*lines, "", *more])


def _plain(page: Page) -> dict[str, object]:
    claims = [dataclasses.asdict(claim) for claim in page.claims]
    return {"page": page.name, "title": page.title, "holds": page.holds, "claims": claims}

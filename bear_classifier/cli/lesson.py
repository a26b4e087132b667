"""`bears lesson`: pages that show why training works."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from bear_classifier.runtime.files import writable
from bear_classifier.runtime.heartbeat import heartbeat
from bear_classifier.runtime.terminal import one_line, progress_bar, say_above_bars, tell

if TYPE_CHECKING:
    from bear_classifier.lesson.page import Page
    from bear_classifier.pipeline import Project


def lesson(options: argparse.Namespace, project: Callable[[], Project]) -> int:
    """Run pages and say whether their claims hold. Returns the exit code: 1 where one does not.

    project: whose photos and model the pages about photos look at. Raises ConfigError (NO_PAGE) and
    DataError (NO_DATA, NOT_TRAINED, DISK_FULL, CANNOT_WRITE)."""
    from bear_classifier.lesson import contents
    from bear_classifier.lesson import page as sheet

    if not options.page:
        if options.json:
            print(json.dumps(contents.TITLES))
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
            page = (
                _about_photos(name, project()) if name in contents.PHOTOS else contents.page(name)
            )
        fine = fine and page.holds
        if options.json:
            say_above_bars(json.dumps(_plain(page)))
        else:
            say_above_bars(sheet.as_text(page))
        if options.save:
            path = sheet.save(page, options.save, contents.TITLES)
            if not options.json:
                say_above_bars(one_line(f"  wrote  {path}"))
    return 0 if fine else 1


def _about_photos(name: str, project: Project) -> Page:
    from bear_classifier import pipeline
    from bear_classifier.lesson import contents
    from bear_classifier.lesson.trained_model import Subject

    with pipeline.existing(project) as catalog:
        return contents.page(name, Subject(catalog, project.config, project.model))


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

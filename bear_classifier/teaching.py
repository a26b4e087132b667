"""`bears lesson`: pages that show why training works."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from tqdm import tqdm

if TYPE_CHECKING:
    from bear_classifier.lesson.sheet import Page


def lesson(options: argparse.Namespace) -> int:
    """Run pages and say whether their claims hold. Returns the exit code: 1 where one does not.

    Raises ConfigError (NO_PAGE), DataError (DISK_FULL, CANNOT_WRITE)."""
    from bear_classifier.lesson import pages, sheet

    if not options.page:
        print(json.dumps(pages.TITLES) if options.json else _listed(pages.TITLES))
        return 0
    wanted = list(pages.TITLES) if options.page == ["all"] else options.page
    for name in wanted:
        pages.require(name)
    fine = True
    for name in tqdm(wanted, desc="lesson", unit="page", disable=None, leave=False):
        page = pages.page(name)
        fine = fine and page.holds
        if options.json:
            tqdm.write(json.dumps(_plain(page)))
        else:
            tqdm.write(sheet.as_text(page))
        if options.save:
            path = sheet.save(page, options.save, pages.TITLES)
            if not options.json:
                tqdm.write(f"  wrote  {path}")
    return 0 if fine else 1


def _listed(titles: Mapping[str, str]) -> str:
    wide = max(map(len, titles))
    lines = [f"{name:<{wide}}  {title}" for name, title in titles.items()]
    return "\n".join([*lines, "", "Run one, and write its page: bears lesson sgd --save lesson"])


def _plain(page: Page) -> dict[str, object]:
    claims = [dataclasses.asdict(claim) for claim in page.claims]
    return {"page": page.name, "title": page.title, "holds": page.holds, "claims": claims}

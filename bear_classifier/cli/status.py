"""`bears status`: what there is, and what is up to date."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from bear_classifier import pipeline
from bear_classifier.cli import project
from bear_classifier.cli.output import print_result
from bear_classifier.report.stage_lines import reasons
from bear_classifier.runtime.terminal import minute, one_line


def add_options(parser: argparse.ArgumentParser) -> None:
    """None of its own."""


def run(options: argparse.Namespace) -> int:
    print_result(options, pipeline.status(project.named_project(options)), _text)
    return 0


def _text(found: Mapping[str, Any]) -> str:
    columns = sorted({place for row in found["photos"].values() for place in row}, key=_order)
    width = max(5, *(len(label) for label in found["photos"]))
    cells = [max(6, len(c)) for c in columns]
    header = " ".join(f"{c:>{w}}" for c, w in zip(columns, cells, strict=True))
    lines = [f"data   {found['data']}", f"model  {found['model'] or 'none yet'}", ""]
    lines.append(f"{'class':<{width}} {header}")
    lines += [
        f"{label:<{width}} "
        + " ".join(f"{row.get(c, 0):>{w}}" for c, w in zip(columns, cells, strict=True))
        for label, row in found["photos"].items()
    ]
    lines += ["", _candidates(found["sources"]), ""]
    for name, row in found["stages"].items():
        state = "up to date" if row["up_to_date"] else ("outdated" if row["at"] else "not run yet")
        when = f"  {minute(row['at'])}, {row['seconds']:.1f} s" if row["at"] else ""
        lines.append(f"{name:<10} {state}{when}")
    return "\n".join(map(one_line, lines))


def _candidates(codes: Mapping[str, int]) -> str:
    """What the download's bar showed: found, downloaded, refused and the most frequent reasons."""
    # imported here, since a command that tells of one photo would wait for the schema's classes
    from bear_classifier.dataset.schema import CONFLICT, DUPLICATE, GONE, OK, PENDING, SPARE

    waiting = {
        CONFLICT: "under two classes",
        GONE: "no longer listed",
        PENDING: "waiting",
        SPARE: "beyond search.per_class",
    }
    good = {code: codes.get(code, 0) for code in (OK, DUPLICATE, *waiting)}
    bad = {code: n for code, n in codes.items() if code not in good}
    words = [f"found {sum(codes.values())}", f"downloaded {good[OK] + good[DUPLICATE]}"]
    if good[DUPLICATE]:
        words[-1] += f" ({good[DUPLICATE]} of them copies)"
    words.append(f"refused {sum(bad.values())}{reasons(bad)}")
    words += [f"{name} {good[code]}" for code, name in waiting.items() if good[code]]
    return f"candidates: {' · '.join(words)}"


def _order(place: str) -> int:
    order = ("train", "valid", "test", "no split yet", "duplicate", "unusable", "dropped")
    return order.index(place) if place in order else len(order)

"""`bears status`: what there is, and what is up to date."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from bear_classifier import pipeline
from bear_classifier.cli import project
from bear_classifier.cli.output import print_result
from bear_classifier.report.stage_lines import reasons
from bear_classifier.runtime.terminal import count, minute, one_line


def add_options(parser: argparse.ArgumentParser) -> None:
    """None of its own."""


def run(options: argparse.Namespace) -> None:
    print_result(options, pipeline.status(project.named_project(options)), _text)


def _text(status: Mapping[str, Any]) -> str:
    places = sorted({place for row in status["photos"].values() for place in row}, key=_order)
    table = {"class": places} | {
        label: [row.get(place, 0) for place in places] for label, row in status["photos"].items()
    }
    width, widths = max(map(len, table)), [max(6, len(place)) for place in places]
    lines = [f"data   {status['data']}", f"model  {status['model'] or 'none yet'}", ""]
    for label, cells in table.items():
        row = " ".join(f"{cell:>{w}}" for cell, w in zip(cells, widths, strict=True))
        lines.append(f"{label:<{width}} {row}")
    if n := status["unlabelled"]:
        lines += ["", f"{count(n, 'photo')} without a label; to confirm classes, run: bears label"]
    lines += ["", _candidates(status["sources"]), ""]
    for name, row in status["stages"].items():
        state = "up to date" if row["up_to_date"] else ("outdated" if row["at"] else "not run yet")
        when = f"  {minute(row['at'])}, {row['seconds']:.1f} s" if row["at"] else ""
        lines.append(f"{name:<10} {state}{when}")
    return "\n".join(map(one_line, lines))


def _candidates(codes: Mapping[str, int]) -> str:
    """What the download's bar showed: found, downloaded, refused and the most frequent reasons."""
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

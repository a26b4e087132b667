"""`bears stats`: photos per second of every stage, and what more photos would take."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from bear_classifier import pipeline
from bear_classifier.cli import project
from bear_classifier.cli.options import add_number
from bear_classifier.cli.output import print_result
from bear_classifier.runtime.terminal import count

MILLION = 1_000_000
_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60))


def add_options(parser: argparse.ArgumentParser) -> None:
    add_number(parser, "--photos", "photos that are asked about (default: a million)", MILLION)
    add_number(parser, "--machines", "machines like this one (default: 8)", 8)


def run(options: argparse.Namespace) -> None:
    from bear_classifier.report.throughput import DIVIDED, forecast, stage_rates

    if options.photos < 1 or options.machines < 1:
        options.parser.error("--photos and --machines are numbers from 1")
    with pipeline.existing(project.named_project(options)) as catalog:
        rates = stage_rates(catalog)
    here, there = (forecast(rates, options.photos, n) for n in (1, options.machines))
    result = {
        "photos": options.photos,
        "machines": options.machines,
        "stages": [
            {
                "stage": rate.stage,
                "at": rate.at,
                "photos": rate.photos,
                "seconds": rate.seconds,
                "per_second": rate.per_second,
                "shared": rate.stage in DIVIDED,
                "here": one,
                "on_machines": several,
            }
            for rate, one, several in zip(rates, here, there, strict=True)
        ],
    }
    print_result(options, result, _lines)


def _lines(result: Mapping[str, Any]) -> Sequence[str]:
    from bear_classifier.report.throughput import FEW_MEASURED

    rows: list[dict[str, Any]] = result["stages"]
    if not rows:
        return ["no stage has worked on photos yet; to begin, run: bears run"]
    machines = count(result["machines"], "machine")
    head = f"{result['photos']:,} photos"
    lines = [f"{'stage':<10} {'photos':>9} {'a second':>9}  {head + ' here':>22}  on {machines}"]
    for row in rows:
        here, there = duration(row["here"]), duration(row["on_machines"])
        rate = (
            f"{row['per_second']:,.3g}" if row["per_second"] < 1000 else f"{row['per_second']:,.0f}"
        )
        lines.append(f"{row['stage']:<10} {row['photos']:>9,} {rate:>9}  {here:>22}  {there}")
    total = (duration(sum(row[name] for row in rows)) for name in ("here", "on_machines"))
    lines.append("{:<10} {:>9} {:>9}  {:>22}  {}".format("together", "", "", *total))
    shared = " and ".join(row["stage"] for row in rows if row["shared"])
    if shared:
        lines.append(f"Several machines divide {shared} among them; the rest is done by one.")
    if few := [row["stage"] for row in rows if row["photos"] < FEW_MEASURED]:
        lines.append(
            f"Few photos were measured ({', '.join(few)}): starting took part of that time, so more"
            " photos take less than shown."
        )
    return lines


def duration(seconds: float) -> str:
    """Such as 45 s, 3.2 min, 5.0 h or 12.1 d."""
    for unit, length in _UNITS:
        if seconds >= length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:.0f} s"

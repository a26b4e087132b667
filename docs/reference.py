"""Write the generated parts of README.md: help text, settings, figures of the shipped model."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from pathlib import Path

from bear_classifier.cli.options import parser
from bear_classifier.config.project_file import TABLES

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
REPORT = ROOT / "docs" / "bears-report.json"  # of `bears report`, its paths cut short


def help_text() -> str:
    os.environ["COLUMNS"] = "100"  # argparse wraps to the terminal
    return "```\n" + parser().format_help() + "```\n"


def settings_table() -> str:
    lines = ["| setting | default | meaning |", "|---|---|---|"]
    for table, kind in TABLES.items():
        for field in dataclasses.fields(kind):
            about = field.metadata["about"]
            lines.append(f"| `{table}.{field.name}` | `{json.dumps(field.default)}` | {about} |")
    return "\n".join(lines) + "\n"


def results_table() -> str:
    """Of the shipped model, from its report."""
    found = json.loads(REPORT.read_text(encoding="utf-8"))
    test, refused, others = found["test"], found["rejection"], found["elsewhere"]
    strangers = refused["measured"]

    def row(about: str, share: float, interval: list[float], n: int) -> str:
        return f"| {about} | {share:.1%} | {interval[0]:.1%} to {interval[1]:.1%} | {n} |"

    head = "| on photos that it never saw | share | 95 % interval | photos |"
    lines = [head, "|---|---|---|---|"]
    lines.append(row("wrong", test["error"], test["error_interval"], test["n"]))
    for label, one in test["per_class"].items():
        lines.append(row(f"{label}: found", one["recall"], one["recall_interval"], one["n"]))
    here = refused["test"]
    lines += [
        row("answered", here["accepted_share"], here["accepted_interval"], here["n"]),
        f"| stated probabilities are off by | {test['ece']:.1%} | | {test['n']} |",
        row(
            "answered though none of the three (polar bears, pets, things)",
            strangers["share"], strangers["interval"], strangers["n"],
        ),
        row(
            "first model, wrong on sources that it never saw",
            others["left_out"]["error"], others["left_out"]["interval"], others["left_out"]["n"],
        ),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def filled(text: str) -> str:
    """The README with its generated parts made anew."""
    parts = {"help": help_text(), "settings": settings_table(), "results": results_table()}
    for name, content in parts.items():
        begin, end = f"<!-- {name}:begin -->\n", f"<!-- {name}:end -->"
        text = re.sub(
            re.escape(begin) + ".*?" + re.escape(end),
            lambda _, whole=begin + content + end: whole,
            text,
            flags=re.DOTALL,
        )
    return text


if __name__ == "__main__":
    README.write_text(filled(README.read_text(encoding="utf-8")), encoding="utf-8")

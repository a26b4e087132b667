"""Write the generated parts of README.md: the help text and the table of settings."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from pathlib import Path

from bear_classifier.arguments import parser
from bear_classifier.config import TABLES

README = Path(__file__).resolve().parents[1] / "README.md"


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


def filled(text: str) -> str:
    """The README with its generated parts made anew."""
    for name, content in (("help", help_text()), ("settings", settings_table())):
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

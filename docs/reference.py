"""Write the generated parts of README.md and docs/: options, settings, figures of the model."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bear_classifier.cli.options import COMMANDS, CommandParser, parser
from bear_classifier.config.project_file import TABLES

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
REPORT = DOCS / "bears-report.json"  # of `bears report`, its paths cut short


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


def command_parsers() -> dict[str, CommandParser]:
    """Command -> its parser, with the options of its module."""
    (commands,) = (a for a in parser()._actions if isinstance(a, argparse._SubParsersAction))
    for made in commands.choices.values():
        made.fill()
    return dict(commands.choices)


def _rows(actions: list[argparse.Action]) -> list[str]:
    lines = ["| option | meaning |", "|---|---|"]
    for action in actions:
        names = ", ".join(action.option_strings)
        value = "" if action.nargs == 0 else _value(action)
        about = (action.help or "") % {"default": action.default}
        lines.append(f"| `{f'{names} {value}'.strip()}` | {about} |")
    return lines


def _value(action: argparse.Action) -> str:
    among = "{" + ",".join(map(str, action.choices)) + "}" if action.choices else ""
    name = str(action.metavar or among or action.dest.upper())
    return {"?": f"[{name}]", "*": f"[{name} ...]", "+": f"{name} ..."}.get(str(action.nargs), name)


def options_text() -> str:
    """Each command in a section of its own, and the options that all of them take."""
    lines: list[str] = []
    for name, made in command_parsers().items():
        groups = made._action_groups
        (common,) = (g._group_actions for g in groups if g.title == "common options")
        own = [
            action
            for group in groups
            for action in group._group_actions
            if action not in common and not isinstance(action, argparse._HelpAction)
        ]
        about = COMMANDS[name][1]
        lines += [f"## {name}", "", about[:1].upper() + about[1:] + ".", ""]
        lines += [*_rows(own), ""] if own else ["It takes the common options only.", ""]
        for group in made._mutually_exclusive_groups:
            names = [f"`{action.option_strings[0]}`" for action in group._group_actions]
            most = "One" if group.required else "At most one"
            lines += [f"{most} of {', '.join(names)}.", ""]
    lines += ["## Common options", "", "Every command takes these.", "", *_rows(common)]
    return "\n".join(lines) + "\n"


def _share(share: float, interval: list[float]) -> tuple[str, str]:
    return f"{share:.1%}", f"{interval[0]:.1%} to {interval[1]:.1%}"


def _report() -> dict[str, Any]:
    """Of the shipped model."""
    found: dict[str, Any] = json.loads(REPORT.read_text(encoding="utf-8"))
    return found


def results_table() -> str:
    found = _report()
    test, refused, others = found["test"], found["rejection"], found["elsewhere"]
    else_shown = refused["measured"]

    def row(about: str, share: float, interval: list[float], n: int) -> str:
        return f"| {about} | {' | '.join(_share(share, interval))} | {n} |"

    head = "| on photos that it never saw | share | 95 % interval | photos |"
    lines = [head, "|---|---|---|---|"]
    lines.append(row("wrong", test["error"], test["error_interval"], test["n"]))
    for label, one in test["per_class"].items():
        lines.append(row(f"{label}: found", one["recall"], one["recall_interval"], one["n"]))
    here = refused["test"]
    lines += [
        row("answered", here["accepted_share"], here["accepted_interval"], here["n"]),
        *(
            row(about, one["refused_share"], one["refused_interval"], one["right"])
            for about, one in (
                ("refused, of its right answers", here),
                ("the same, on sources that had no part in its limits", refused["elsewhere"]),
            )
        ),
        f"| stated probabilities are off by | {test['ece']:.1%} | | {test['n']} |",
        row(
            "answered though none of the three (polar bears, pets, things)",
            else_shown["share"], else_shown["interval"], else_shown["n"],
        ),
        row(
            "first model, wrong on sources that it never saw",
            others["left_out"]["error"], others["left_out"]["interval"], others["left_out"]["n"],
        ),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def result_sentence() -> str:
    found = _report()
    test, other = found["test"], found["rejection"]["measured"]
    wrong = _share(test["error"], test["error_interval"])
    let_in = _share(other["share"], other["interval"])
    return (
        f"It is wrong on {wrong[0]} of {test['n']} test photos (95 % interval: {wrong[1]}), and"
        f" answers\n{let_in[0]} of {other['n']} pictures of something else ({let_in[1]}).\n"
    )


PARTS: dict[str, dict[str, Callable[[], str]]] = {  # page -> its generated parts
    "README.md": {"result": result_sentence},
    "docs/BEAR_MODEL.md": {"results": results_table},
    "docs/COMMANDS.md": {"help": help_text, "commands": options_text},
    "docs/SETTINGS.md": {"settings": settings_table},
}


def filled(text: str, parts: dict[str, Callable[[], str]]) -> str:
    """A page with its generated parts made anew. Raises ValueError where one has no place."""
    for name, make in parts.items():
        begin, end = f"<!-- {name}:begin -->\n", f"<!-- {name}:end -->"
        whole = begin + make() + end
        text, places = re.subn(
            re.escape(begin) + ".*?" + re.escape(end),
            lambda _, whole=whole: whole,
            text,
            flags=re.DOTALL,
        )
        if places != 1:
            raise ValueError(f"{name} has {places} places, and needs one")
    return text


if __name__ == "__main__":
    for page, parts in PARTS.items():
        path = ROOT / page
        path.write_text(filled(path.read_text(encoding="utf-8"), parts), encoding="utf-8")

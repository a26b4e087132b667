"""What commands print: JSON, or text that --quiet keeps back where it is no result."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from bear_classifier.runtime.terminal import command, complain, one_line, tell


def print_json(row: Any) -> None:
    print(json.dumps(row), flush=True)


def print_outcome(options: argparse.Namespace, outcome: Any, text: str) -> None:
    """What a command did; with --quiet nothing."""
    if options.json:
        print_json(outcome)
    elif not options.quiet:
        tell(options, text)


def print_text(options: argparse.Namespace, text: str) -> None:
    """Text that --json and --quiet leave out."""
    if not options.json and not options.quiet:
        tell(options, text)


def print_result(
    options: argparse.Namespace, result: Any, text: Callable[[Any], str | Iterable[str]]
) -> None:
    """A result, also with --quiet. text: makes words or lines of it."""
    if options.json:
        print_json(result)
    else:
        shown = text(result)
        tell(options, shown if isinstance(shown, str) else "\n".join(shown))


def tell_table(options: argparse.Namespace, path: Path, columns: str) -> None:
    """Where a table lies that the same command carries out, and which columns to fill in."""
    tell(options, one_line(f"wrote {path}: fill in {columns},"))
    tell(options, f"then run: {command(options.name, '--apply', str(path))}")


def note_printer(options: argparse.Namespace) -> Callable[[str], None]:
    """Prints to standard error what was set aside or made anew."""
    return lambda sentence: complain(options, one_line(sentence))


def exit_code(options: argparse.Namespace, outcome: Mapping[str, Any]) -> int:
    """1 if files of the user failed; with --strict also if addresses or drawn faults did."""
    return int(bool(outcome.get("failed_now" if options.strict else "own_failed")))

"""What commands print: JSON, or text that --quiet keeps back where it is no result."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from bear_classifier.runtime.terminal import complain, one_line, tell


def print_json(row: Any) -> None:
    print(json.dumps(row), flush=True)


def print_outcome(options: argparse.Namespace, outcome: Any, text: str) -> None:
    """What a command did; with --quiet nothing."""
    if options.json:
        print_json(outcome)
    elif not options.quiet:
        tell(options, text)


def print_text(options: argparse.Namespace, text: str) -> None:
    """What goes without saying in JSON, or for who asked for --quiet."""
    if not options.json and not options.quiet:
        tell(options, text)


def print_result(
    options: argparse.Namespace, found: Any, text: Callable[[Any], str | Iterable[str]]
) -> None:
    """What was asked for, which --quiet does not keep back. text: of found, or its lines."""
    if options.json:
        print_json(found)
    else:
        shown = text(found)
        tell(options, shown if isinstance(shown, str) else "\n".join(shown))


def note_printer(options: argparse.Namespace) -> Callable[[str], None]:
    """Prints a sentence on what was set aside or made anew."""
    return lambda sentence: complain(options, one_line(sentence))


def exit_code(options: argparse.Namespace, outcome: Mapping[str, Any]) -> int:
    """Of a download: addresses that failed are the web's affair, and drawn faults are planted."""
    return int(bool(outcome.get("failed_now" if options.strict else "own_failed")))

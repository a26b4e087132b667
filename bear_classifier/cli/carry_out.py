"""Carrying out decisions of a table or of a program, and what a command prints of it."""

from __future__ import annotations

import argparse
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bear_classifier import pipeline
from bear_classifier.cli.history import SHOWN, event_lines
from bear_classifier.cli.output import print_outcome
from bear_classifier.dataset import decisions
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import Decision
from bear_classifier.errors import DataError
from bear_classifier.runtime.terminal import count, one_line

if TYPE_CHECKING:
    from bear_classifier.judge.decision_table import Table


@dataclass(frozen=True)
class Wanted:
    """Decisions, and whether they are those of a table: how many of its rows are so already, how
    many photos are not here, and sentences on what was decided otherwise here."""

    decisions: Sequence[Decision]
    tabled: bool = False
    already: int = 0
    elsewhere: int = 0
    conflicts: Sequence[str] = ()


def carry_out(
    options: argparse.Namespace,
    opened: pipeline.Project,
    work: str,
    find: Callable[[Catalog], Wanted],
    who: str,
) -> None:
    """Carry out all of the decisions that `find` gives, or none, and print what was done."""
    with pipeline.existing(opened) as catalog, catalog.lock(work):
        wanted = find(catalog)
        labels, batch = opened.config.labels, uuid.uuid4().hex
        events = decisions.decide(catalog, labels, wanted.decisions, who, batch)
        photos = {photo.sha256: photo for photo in catalog.photos()}
        lines = event_lines(catalog, events[:SHOWN])
    counts = Counter(event.action for event in events)
    changed = [event for event in events if event.action not in ("keep", "confirm")]
    test = sum(photos[event.sha256].split == "test" for event in changed)
    outcome: dict[str, Any] = {
        "decisions": dict(counts),
        "test_side": test,
        "events": [event.id for event in events],
        "photos": [
            {"sha256": e.sha256, "origin": photos[e.sha256].origin, "action": e.action}
            for e in events
        ],
    }
    if wanted.tabled:
        outcome |= {"already": wanted.already, "elsewhere": wanted.elsewhere}
        outcome["conflicts"] = list(wanted.conflicts)
    if len(events) > SHOWN:
        lines.append(f"... and {len(events) - SHOWN} more; to see all, run: bears history")
    lines += [one_line(f"not applied: {words}") for words in wanted.conflicts[:SHOWN]]
    if len(wanted.conflicts) > SHOWN:
        lines.append(f"... and {len(wanted.conflicts) - SHOWN} more; all of them with --json")
    words = ", ".join(f"{n} {action}" for action, n in counts.items()) or "nothing to do"
    if wanted.already:
        words += f"; {count(wanted.already, 'decision')} known here already"
    if wanted.elsewhere:
        words += f"; {count(wanted.elsewhere, 'photo')} of the table not in this dataset"
    lines.append(f"{words}; to take it all back, run: bears undo" if events else words)
    if test:
        change = "changes" if test == 1 else "change"
        lines.append(f"warning: {test} of them {change} the test split, which judges the model")
    print_outcome(options, outcome, "\n".join(lines))


def tabled(table: Table, catalog: Catalog, labels: Sequence[str], user: str) -> Wanted:
    """The decisions of a table, with whole hashes. Raises DataError with all rows that cannot be
    carried out."""
    from bear_classifier.judge.decision_table import rows_refused
    from bear_classifier.judge.shared_decisions import received

    theirs = received(catalog, table)
    wanted, refusals = {}, dict(table.bad)
    for line, row in theirs.table.decisions.items():
        try:
            wanted[line] = replace(row, sha256=decisions.full_sha256(catalog, row.sha256))
        except DataError as exc:
            refusals[line] = decisions.Refusal(exc.code, exc.sentence)
    refusals |= decisions.refusals_of(catalog, labels, wanted)
    if refusals:
        later = [refusal.later for refusal in refusals.values() if refusal.later]
        raise rows_refused(table, refusals, decisions.photo_origins(catalog, later), user)
    rows = list(wanted.values())
    return Wanted(rows, True, theirs.already, theirs.elsewhere, theirs.conflicts)

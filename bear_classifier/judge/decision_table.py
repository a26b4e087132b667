"""Decisions from suspects: a table that a person fills in, or only what is beyond doubt."""

from __future__ import annotations

import contextlib
import csv
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, cast, get_args

from bear_classifier.dataset.decisions import Refusal, what_was_done
from bear_classifier.dataset.schema import Action, Decision, Suspect
from bear_classifier.errors import DataError
from bear_classifier.runtime.files import read_text, uncell, write_table
from bear_classifier.runtime.terminal import command, count

COLUMNS = (
    *("sha256", "origin", "label", "suggested", "score", "reasons", "split"),
    *("revision", "action", "new_label"),
)
SHARED = ("who", "at")  # columns of decisions that somebody else made
_SHOWN = 20  # rows of a message; the rest is counted
_WHO = {"review": "somebody on the review page", "auto": "clean --auto"}


@dataclass(frozen=True)
class Table:
    """A table of decisions, by the number of the line on which each row ends, from 1.

    bad: rows that mean nothing, and why."""

    path: Path
    decisions: dict[int, Decision]
    bad: dict[int, Refusal]


def automatic(suspects: Sequence[Suspect], precision: float) -> list[Decision]:
    """Drops of what has no place among the photos with a chance of at least `precision`.

    A doubtful label alone is never enough: it takes a person to tell a brown black bear from a
    grizzly. Never on the test split, which judges the model. suspects: nobody decided on them."""
    return [
        Decision(s.sha256, "drop", why="; ".join(s.reasons), score=s.score)
        for s in suspects
        if _misplaced(s) >= precision and s.split != "test"
    ]


def _misplaced(suspect: Suspect) -> float:
    """The chance of anything but a wrong label."""
    others = [1 - score for kind, score in suspect.scores.items() if kind != "label"]
    return 1 - math.prod(others)


def write_suspects(path: Path, suspects: Iterable[Suspect], revision: int) -> None:
    """A table to fill in: `action` with keep, drop, relabel or restore, `new_label` where it is
    relabel. The revision is there so that a later decision of somebody else is noticed."""
    rows = [
        (s.sha256, s.origin, s.label, s.suggested, f"{s.score:.3f}", "; ".join(s.reasons), s.split,
         revision, "", "")
        for s in suspects
    ]  # fmt: skip
    write_table(path, [COLUMNS, *rows])


def read_decisions(path: Path, first: bool = False) -> Table:
    """The rows of such a table whose action is filled in. Only sha256 and action are needed.

    first: the photos have no label yet: to keep one confirms what is suggested, and a new label
    needs no action.

    Raises DataError (BAD_TABLE) where there are no rows to read."""
    try:
        text = read_text(path)
    except (UnicodeDecodeError, OSError) as exc:
        encoding = isinstance(exc, UnicodeDecodeError)
        why = "it is not UTF-8; save it as CSV UTF-8" if encoding else exc
        raise DataError("BAD_TABLE", f"{path} cannot be read: {why}") from exc
    try:
        dialect: Any = csv.Sniffer().sniff((text.splitlines() or [""])[0], ",;\t")
        dialect.doublequote = True  # the header alone does not show it
    except csv.Error:
        dialect = csv.excel
    reader = csv.DictReader(io.StringIO(text, newline=""), dialect=dialect)
    try:
        rows = [(reader.line_num, row) for row in reader]
    except csv.Error as exc:
        raise DataError("BAD_TABLE", f"{path}, line {reader.line_num}: {exc}") from exc
    if not {"sha256", "action"} <= set(reader.fieldnames or ()):
        have = ", ".join(reader.fieldnames or ()) or "nothing"
        raise DataError(
            "BAD_TABLE",
            f"{path} needs the columns sha256 and action, and has {have}; to write one,"
            " run: bears clean --list --csv suspects.csv",
        )
    table = Table(path, {}, {})
    for line, row in rows:
        found = _decision(row, first)
        if isinstance(found, Decision):
            table.decisions[line] = found
        elif found:
            table.bad[line] = Refusal("BAD_TABLE", found)
    return table


def rows_refused(
    table: Table, refusals: Mapping[int, Refusal], origins: Mapping[str, str], user: str
) -> DataError:
    """An error that names the rows that are not carried out, the first 20 of them, and what to do.

    refusals: by line, at least one; origins: sha256 -> file or address of a photo; user: who
    applies the table. Its code is that of the rows, or BAD_TABLE where they have several."""
    lines = sorted(refusals)
    codes = {refusal.code for refusal in refusals.values()}
    words = [f"line {line}: {_words(refusals[line], origins, user)}" for line in lines[:_SHOWN]]
    code = codes.pop() if len(codes) == 1 else "BAD_TABLE"
    steps = []
    if any(refusal.later for refusal in refusals.values()):
        name = table.path.with_name(f"{table.path.stem}-new.csv")
        written = command("clean", "--list", "--csv", str(name))
        steps = [
            "to decide all the same, empty the cell of such a row in the column revision",
            f"to write a new table of what nobody has decided on, run: {written}",
        ]
    if len(lines) == 1:
        return DataError(code, "; ".join([f"{table.path}, {words[0]}", *steps]))
    rest = [f"... and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    summary = f"{count(len(lines), 'row')} of {table.path} cannot be carried out, so none was"
    return DataError(code, f"{summary}:", [*(f"  {row}" for row in [*words, *rest]), *steps])


def _words(refusal: Refusal, origins: Mapping[str, str], user: str) -> str:
    """One row's reason. A person with a table has no page to reload."""
    if later := refusal.later:
        photo = f"photo {later.sha256[:12]} ({origins.get(later.sha256, 'not here any more')})"
        who = _WHO.get(later.who, "you" if later.who == user else later.who)
        return f"after the table was written, {who} {what_was_done(later, photo)}"
    if refusal.code == "UNKNOWN_CLASS":
        return f"{refusal.what}; {refusal.advice}"
    return refusal.what


def _decision(row: dict[str, str | None], first: bool = False) -> Decision | str | None:
    """What a row decides, why it means nothing, or None if its action is not filled in."""
    cells = {name: (row.get(name) or "").strip() for name in (*COLUMNS, *SHARED)}
    action, label = cells["action"].lower(), uncell(cells["new_label"])
    who, at = uncell(cells["who"]), cells["at"]
    if first and (action == "keep" or (label and not action)):
        action, label = "relabel", label or uncell(cells["suggested"])
    if not action:
        return None
    if action not in get_args(Action):
        words = ", ".join(get_args(Action))
        return f"{action[:60]!r} is no action; one of {words}"
    if action == "relabel" and not label:
        return "relabel needs the class in the column new_label"
    if who and not _is_time(at):
        return f"{at[:60]!r} is no time with its zone, such as 2026-11-30T14:27:52+00:00"
    revision, score = cells["revision"], cells["score"].replace(",", ".")  # some write 0,9
    if revision and not re.fullmatch(r"[0-9]{1,15}", revision):
        return f"{revision[:60]!r} is no revision"
    return Decision(
        cells["sha256"].lstrip("'").lower(),
        cast(Action, action),
        label=uncell(cells["label"]) if who and action == "keep" else label,
        why=uncell(cells["reasons"]) if who else "",
        score=float(score) if re.fullmatch(r"\d{1,3}(\.\d{1,9})?", score) else None,
        based=int(revision) if revision else None,
        who=who,
        at=at if who else "",
    )


def _is_time(text: str) -> bool:
    with contextlib.suppress(ValueError):
        return datetime.fromisoformat(text).tzinfo is not None
    return False

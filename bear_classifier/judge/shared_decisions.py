"""Decisions that are given to another person, who has the same photos in a dataset of their own.

The table is that of `decision_table` with two columns more: who decided, and when. It holds what
came of all decisions on a photo, by the last of them. What was decided otherwise in the dataset
that it comes to stays, and is named; what was decided alike is passed over.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from bear_classifier.dataset import decisions
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import Decision, Event, Photo
from bear_classifier.judge.decision_table import COLUMNS, SHARED, Table
from bear_classifier.runtime.files import write_table
from bear_classifier.runtime.terminal import minute


@dataclass(frozen=True)
class Received:
    """table: the rows to carry out; already: rows that are so here; elsewhere: rows of photos that
    this dataset lacks; conflicts: sentences on what was decided otherwise here, and stays."""

    table: Table
    already: int
    elsewhere: int
    conflicts: list[str]


def write_decisions(path: Path, catalog: Catalog) -> int:
    """The table of all decisions in force; returns how many rows it has."""
    last = decisions.decided(catalog)
    before = _labels_before(catalog, last)
    rows = []
    for photo in catalog.photos():
        if event := last.get(photo.sha256):
            action, label = _net_outcome(photo, before[photo.sha256])
            cells = (photo.sha256, photo.origin, before[photo.sha256], "", "", event.why)
            rows.append((*cells, photo.split or "", "", action, label, event.who, event.at))
    write_table(path, [(*COLUMNS, *SHARED), *rows])
    return len(rows)


def _net_outcome(photo: Photo, before: str) -> tuple[str, str]:
    """What came of the decisions on a photo, as an action and its new label. before: its label
    before them."""
    if photo.status == "dropped":
        return "drop", ""
    return ("keep", "") if photo.label == before else ("relabel", photo.label)


def _labels_before(catalog: Catalog, last: Mapping[str, Event]) -> dict[str, str]:
    """sha256 -> the label before the first decision of a person, of the photos in `last`."""
    labels: dict[str, str] = {}
    for event in catalog.events():
        if event.sha256 in last and event.request:
            state = json.loads(event.before) if event.before else {}
            labels.setdefault(event.sha256, state.get("label", event.old))
    return labels


def received(catalog: Catalog, table: Table) -> Received:
    """What of a table is new here. Rows that do not say who decided are left as they are."""
    photos = {photo.sha256: photo for photo in catalog.photos()}
    last = decisions.decided(catalog)
    kept: dict[int, Decision] = {}
    already, elsewhere, conflicts = 0, 0, []
    for line, row in table.decisions.items():
        photo = photos.get(row.sha256)
        here = last.get(row.sha256)
        if not row.who:
            kept[line] = row
        elif photo is None:
            elsewhere += 1
        elif decisions.is_taken_down(photo):
            conflicts.append(f"{photo.origin} was taken down here and stays so")
        elif here and _is_so(photo, row):
            already += 1
        elif here:
            other = f"here {here.who} {decisions.what_was_done(here, 'it')}"
            conflicts.append(f"{_words(photo, row)}; {other}, and it stays so")
        elif row.action == "keep" and row.label != photo.label:
            state = f"here its label is {photo.label or 'not known yet'}, and it stays so"
            conflicts.append(f"{_words(photo, row)}; {state}")
        else:
            kept[line] = row
    return Received(replace(table, decisions=kept), already, elsewhere, conflicts)


def _is_so(photo: Photo, row: Decision) -> bool:
    """Whether a photo is as a row says. The label of a keep is the one that was kept."""
    if photo.status == "dropped" or row.action == "drop":
        return photo.status == "dropped" and row.action == "drop"
    return photo.label == row.label


def _words(photo: Photo, row: Decision) -> str:
    done = {"drop": "dropped it", "keep": f"kept it as {row.label}"}
    action = done.get(row.action, f"gave it the label {row.label}")
    return f"{photo.origin}: {row.who} {action} on {minute(row.at)}"

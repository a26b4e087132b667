"""Decisions that leave with a dataset, and come back with it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence

from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.decisions import in_force
from bear_classifier.dataset.formats.metadata import PastDecision, decisions_text
from bear_classifier.dataset.schema import Event, usable_status

_ACTIONS = ("keep", "relabel", "drop", "restore", "confirm")


def past_decisions(catalog: Catalog) -> dict[str, tuple[PastDecision, ...]]:
    """sha256 -> what people decided on the photo, oldest first, without what was taken back.

    Changes by folder moves, lists and take-downs are left out: nobody looked at the photo."""
    made: dict[str, list[PastDecision]] = defaultdict(list)
    upto = catalog.events("WHERE id <= ? ORDER BY id DESC", (catalog.revision(),))
    for event in in_force(upto):
        if event.undoes is None and event.request:
            words = {f.name: getattr(event, f.name) for f in dataclasses.fields(PastDecision)}
            made[event.sha256].append(PastDecision(**words))
    return {sha256: tuple(newest_first[::-1]) for sha256, newest_first in made.items()}


def restore_decisions(
    catalog: Catalog, decisions: Mapping[str, Sequence[PastDecision]]
) -> list[Event]:
    """Append events of decisions that came with a dataset, inside a transaction of the caller; no
    photo changes: it came with the outcome. decisions: by the photo's sha256 here.

    What was restored before is passed over. Raises ValueError for an unknown action."""
    events = []
    for sha256, past in decisions.items():
        photo = catalog.photo(sha256)
        request = _request(sha256, past)
        known = catalog.events("WHERE request = ? AND sha256 = ?", (request, sha256))
        if photo is None or known or not past:
            continue
        changes = [one for one in past if one.action in ("relabel", "confirm")]
        label = changes[0].old if changes else photo.label
        state = {"label": label, "status": str(usable_status(label)), "reason": ""}
        for one in past:
            if one.action not in _ACTIONS:
                raise ValueError(f"{one.action[:60]!r} is no action; one of {', '.join(_ACTIONS)}")
            before, state = state, _after(state, one)
            texts = json.dumps(before), json.dumps(state)
            words = one.at, one.who, one.action, sha256, one.old, one.new, one.why
            events.append(catalog.add_event(Event(0, *words, *texts, request=request)))
    return events


def _request(sha256: str, past: Sequence[PastDecision]) -> str:
    """The same for the same decisions, so that nothing comes twice."""
    digest = hashlib.sha256(f"{sha256} {decisions_text(past)}".encode(errors="replace"))
    return f"import-{digest.hexdigest()[:32]}"


def _after(state: dict[str, str], one: PastDecision) -> dict[str, str]:
    if one.action == "drop":
        return {**state, "status": "dropped", "reason": one.why or f"dropped by {one.who}"}
    if one.action == "restore":
        return {**state, "status": usable_status(state["label"]), "reason": ""}
    if one.action == "keep":
        return state
    return {**state, "label": one.new, "status": usable_status(one.new)}

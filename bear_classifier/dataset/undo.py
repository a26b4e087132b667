"""The undo stack of a photo: which of its decisions are in force, and which can be undone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from bear_classifier.dataset.schema import Event
from bear_classifier.errors import DataError


class UndoStack:
    """The decisions in force on one photo, the newest on top, as all of its events leave them.

    An undo takes one from the top, and puts it back if what it takes back is an undo. `latest` has
    the last event about each decision: the decision itself, or the last undo that concerns it."""

    def __init__(self, events: Iterable[Event]) -> None:
        self.top = 0  # the id of a decision; 0 is the floor
        self.below: dict[int, int] = {}
        self.latest: dict[int, Event] = {}
        self.about: dict[int, int] = {}  # event -> the decision that it made or takes back
        self.puts: dict[int, bool] = {}  # event -> whether it pushed the decision
        for event in events:
            self.add(event)

    def add(self, event: Event) -> None:
        if event.undoes is None:
            decision, put = event.id, True
            self.below[decision] = self.top
        else:
            decision, put = self.about[event.undoes], not self.puts[event.undoes]
        self.about[event.id], self.puts[event.id] = decision, put
        self.latest[decision] = event
        self.top = decision if put else self.below[decision]

    def holds(self, decision: int) -> bool:
        return self.puts[self.latest[decision].id]

    def removable(self, event: int) -> Event:
        """What has to be inverted to take back an event. Raises DataError (CANNOT_UNDO)."""
        decision = self.about[event]
        latest = self.latest[decision]
        if self.puts[event] != self.puts[latest.id]:
            raise cannot(f"event {event} was taken back already by event {latest.id}")
        needed = decision if self.puts[event] else self.below[decision]
        if self.top != needed:
            first = self._in_the_way(needed)
            raise cannot(f"the photo was changed later (event {first}); undo that first")
        return latest

    def _in_the_way(self, needed: int) -> int:
        """The event to undo first, so that `needed` comes to be on top."""
        while needed and self.below[needed] != self.top:
            needed = self.below[needed]
        return self.latest[needed].id if needed else self.top


def cannot(sentence: str) -> DataError:
    return DataError("CANNOT_UNDO", sentence)


def in_force(newest_first: Iterable[Event]) -> Iterator[Event]:
    """Events that are not taken back; an undo that is in force is one of them."""
    gone: set[int] = set()
    for event in newest_first:
        if event.id in gone:
            continue
        if event.undoes is not None:
            gone.add(event.undoes)
        yield event


def states(event: Event) -> tuple[dict[str, Any], dict[str, Any]]:
    """What an event knows of the state before and after it; those of old catalogs know a part."""
    if event.before:
        return json.loads(event.before), json.loads(event.after)
    if event.action == "relabel":
        return {"label": event.old}, {"label": event.new}
    return {"status": event.old, "reason": ""}, {"status": event.new, "reason": event.why}


def inverse(event: Event) -> dict[str, Any]:
    """The fields of a photo that take back an event: screening may have changed others since."""
    before, after = states(event)
    return {field: value for field, value in before.items() if value != after[field]}

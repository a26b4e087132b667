"""Which decisions on one photo are in force, and in which order they can be taken back."""

from __future__ import annotations

from collections.abc import Iterable

from bear_classifier.dataset.schema import Event
from bear_classifier.errors import DataError


class UndoStack:
    """The decisions in force on one photo, the newest on top.

    An undo pops one, or pushes it again if the event it undoes is an undo. `latest` has the last
    event about each decision: the decision itself, or the last undo of it."""

    def __init__(self, events: Iterable[Event]) -> None:
        self.top = 0  # the id of a decision; 0: the stack is empty
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
        """The event to invert so that `event` is taken back. Raises DataError (CANNOT_UNDO)."""
        decision = self.about[event]
        latest = self.latest[decision]
        if self.puts[event] != self.puts[latest.id]:
            raise cannot_undo(f"event {event} was taken back already by event {latest.id}")
        needed = decision if self.puts[event] else self.below[decision]
        if self.top != needed:
            while needed and self.below[needed] != self.top:
                needed = self.below[needed]
            first = self.latest[needed].id if needed else self.top
            raise cannot_undo(f"the photo was changed later (event {first}); undo that first")
        return latest


def cannot_undo(sentence: str) -> DataError:
    return DataError("CANNOT_UNDO", sentence)

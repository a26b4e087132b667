"""Spare candidates beyond `search.per_class`, used where other downloads fail."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence

from bear_classifier.collect.sources.registry import SEARCHES
from bear_classifier.collect.sources.search_progress import SearchGoal
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import CONFLICT, OK, PENDING, SPARE, Source


def shared_out(sources: Sequence[Source], per_class: int) -> list[Source]:
    """The rows of one class, in the order of finding, that have to wait or need not wait any more.

    What led to a photo takes a place; copies and what failed do not."""
    taken = sum(s.code == OK or (s.code == CONFLICT and bool(s.sha256)) for s in sources)
    waiting = [s for s in sources if s.code in (PENDING, SPARE)]
    room = max(0, per_class - taken)
    return [
        dataclasses.replace(source, code=code)
        for place, source in enumerate(waiting)
        if source.code != (code := PENDING if place < room else SPARE)
    ]


def share_out(catalog: Catalog, goal: SearchGoal) -> list[Source]:
    """Leave each class of a search its first `per_class` candidates: a page may bring more, which
    wait until others lead to no photo. Returns the rows that changed."""
    ours = list(filter(goal.counts, catalog.sources()))
    changed = [
        row
        for label in goal.classes
        for row in shared_out([s for s in ours if s.label == label], goal.per_class)
    ]
    with catalog.transaction():
        catalog.put_sources(changed)
    return changed


def lacking(catalog: Catalog, goal: SearchGoal) -> dict[str, int]:
    """label -> photos, of the classes of a search that have fewer than were wanted."""
    if goal.kind not in SEARCHES:
        return {}
    photos = Counter(source.label for source in filter(goal.counts, catalog.sources(OK)))
    return {label: photos[label] for label in goal.classes if photos[label] < goal.per_class}

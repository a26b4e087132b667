"""Spare candidates beyond `search.per_class`, used where other downloads fail."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from bear_classifier.collect.sources.registry import SEARCHES, SOURCES
from bear_classifier.config.settings import Config, SearchConfig
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import CONFLICT, OK, PENDING, SPARE, Source


def shared_out(sources: Sequence[Source], per_class: int) -> list[Source]:
    """The rows of one class, in the order of finding, that have to wait or need not wait any more.

    What led to a photo takes a place; copies and what failed do not."""
    taken = sum(s.code == OK or (s.code == CONFLICT and bool(s.sha256)) for s in sources)
    waiting = [s for s in sources if s.code in (PENDING, SPARE)]
    room = max(0, per_class - taken)
    codes = [PENDING] * room + [SPARE] * max(0, len(waiting) - room)
    return [
        dataclasses.replace(s, code=code)
        for s, code in zip(waiting, codes, strict=False)
        if s.code != code
    ]


def replacements(catalog: Catalog, config: Config) -> list[Source]:
    """The spare addresses that are to be fetched now, because others led to no photo."""
    if config.search.source not in SEARCHES:
        return []
    ours = _ours(catalog, config)
    wanted = [
        row
        for label in config.labels
        for row in shared_out([s for s in ours if s.label == label], config.search.per_class)
        if row.code == PENDING
    ]
    with catalog.transaction():
        catalog.put_sources(wanted)
    return wanted


def lacking(catalog: Catalog, config: Config) -> dict[str, int]:
    """label -> photos, of the classes of a search that have fewer than were asked for."""
    if config.search.source not in SEARCHES:
        return {}
    ours = _ours(catalog, config)
    found = {label: sum(s.label == label and s.code == OK for s in ours) for label in config.labels}
    return {label: n for label, n in found.items() if n < config.search.per_class}


def _ours(catalog: Catalog, config: Config) -> list[Source]:
    return found_by(catalog, config.classes, config.search.source, options(config.search))


def found_by(
    catalog: Catalog, classes: Mapping[str, Sequence[str]], kind: str, stamp: str
) -> list[Source]:
    """The rows that a search of this kind, with these filters, found for a class by its present
    words."""
    return [
        source
        for source in catalog.sources()
        if (source.kind, source.stamp) == (kind, stamp)
        and source.query in (*classes.get(source.label, ()), "")
    ]


def options(settings: SearchConfig) -> str:
    """The filters of a search as text, to know what was asked with the same ones."""
    by_region = settings.source in SOURCES and SOURCES[settings.source].by_region
    region = f" region={settings.region}" if by_region else ""
    return f"licence={settings.licence} size={settings.size}{region}"

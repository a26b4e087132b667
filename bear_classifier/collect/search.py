"""Find candidates: URLs or files of photos, with their labels."""

from __future__ import annotations

import dataclasses
import difflib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bear_classifier.collect.rights.take_down import refusal_of
from bear_classifier.collect.sources import registry
from bear_classifier.collect.sources.class_name_hints import meant
from bear_classifier.collect.sources.folder_changes import (
    departed,
    gone,
    is_read,
    name_of,
    unlisted,
    with_publication,
)
from bear_classifier.collect.sources.local_files import (
    Listing,
    list_folder,
    list_unlabelled,
    list_urls,
)
from bear_classifier.collect.sources.pagination import REAL, Time, collect
from bear_classifier.collect.sources.registry import SOURCES
from bear_classifier.collect.sources.search_engine import Engine
from bear_classifier.collect.sources.search_progress import SearchGoal, search_goal
from bear_classifier.collect.spare_candidates import share_out
from bear_classifier.collect.starter.dataset import OWN, write_starter
from bear_classifier.config.settings import Config
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.decisions import relabel
from bear_classifier.dataset.schema import CONFLICT, GONE, OK, PENDING, SPARE, TAKEN_DOWN, Source
from bear_classifier.errors import DataError
from bear_classifier.runtime.terminal import SHORT_BAR, count, progress_bar, quoted, room

_GUESSES = 3  # names that are shown for a class without photos


def search(
    catalog: Catalog, config: Config, engines: Sequence[Engine] | None = None, time: Time = REAL
) -> dict[str, Any]:
    """Record new, changed and vanished candidates of the project's source.

    engines, time: others than the real ones. Raises DataError: NO_SOURCE, MIXED_SOURCES,
    EMPTY_CLASS, and those of `list_folder`, `list_urls`, `write_starter` and `collect`."""
    kind, place = source_of(catalog, config)
    if not kind:
        return {"found": 0, "new": 0, "gone": 0, "ignored": {}}
    path = Path(place).expanduser()
    if found := registry.search_of(config.search.source):
        return _search(catalog, config, engines or registry.engines(found, config.search), time)
    if kind == "urls":
        listing = list_urls(path, config.labels)
        _refuse_misnamed(catalog, config.labels, listing, f"lines of {path}")
        return _record_list(catalog, path, listing)
    if kind == "unlabelled":
        return _record_files(catalog, path, list_unlabelled(path), departed)
    if SOURCES[kind].listing:
        listing = registry.lists(kind)(path, config.labels)
        _refuse_misnamed(catalog, config.labels, listing, f"classes of {path}")
        return _record_files(catalog, path, listing, unlisted, name_of(path))
    if kind == "starter":
        path = catalog.root / "starter"
        write_starter(path, per_class=config.search.per_class)
    listing = list_folder(path, config.labels, kind)
    if kind == "starter":  # nobody put these there
        for name in OWN:
            listing.ignored.pop(str(path.resolve() / name), None)
    _refuse_misnamed(catalog, config.labels, listing, f"folders of {path}")
    return _record_files(catalog, path, listing, departed)


def source_of(catalog: Catalog, config: Config) -> tuple[str, str]:
    """Kind and place; both empty where the dataset stays with what it has. Quick.

    Raises DataError (NO_SOURCE, MIXED_SOURCES)."""
    kind, _, place = config.search.source.partition(":")
    if not kind and catalog.sources():
        return "", ""
    if kind not in SOURCES or bool(place) != SOURCES[kind].takes_path:
        raise DataError("NO_SOURCE", _no_source(config.search.source))
    drawn = {source.kind == "starter" for source in catalog.sources()}
    if drawn and (kind == "starter") not in drawn:  # a model of both would be one of neither
        here = "drawn starter pictures" if True in drawn else "photos"
        raise DataError(
            "MIXED_SOURCES",
            f"{catalog.root} holds {here}; drawings and photos do not mix: name another folder with"
            " --data, or another project with --project",
        )
    return kind, place


def _no_source(given: str) -> str:
    """What is wrong with it, and what was probably meant."""
    words = f"{given!r} is no source of photos; pass --source with"
    words += f" {', '.join(source.about for source in SOURCES.values())}"
    kind, *rest = given.partition(":")
    place = Path(given).expanduser()
    if given and (place.exists() or "/" in given or "\\" in given):
        guess = f"{registry.kind_of(place)}:{given}"
    elif near := difflib.get_close_matches(kind, list(SOURCES), n=1):
        guess = "".join(near + rest)
    else:
        return words
    return f"{words}; did you mean --source {quoted(guess)}?"


def _refuse_misnamed(catalog: Catalog, labels: Sequence[str], listing: Listing, where: str) -> None:
    """A class without a photo, in all of the dataset, beside a name that looks meant for it. One
    without such a name may be filled later."""
    filled = {source.label for source in [*listing.candidates, *catalog.sources()]}
    filled |= {photo.label for photo in catalog.photos()}
    guesses = {
        label: ", ".join(map(repr, alike[:_GUESSES]))
        for label in labels
        if label not in filled and (alike := meant(label, listing.unknown))
    }
    if guesses:
        empty = ", ".join(f'"{label}"' for label in guesses)
        raise DataError(
            "EMPTY_CLASS",
            f"{'these classes have' if len(guesses) > 1 else 'this class has'} no photo: {empty}."
            f" Among the {where} these look meant:"
            f" {'; '.join(f'{names} for {label!r}' for label, names in guesses.items())}. Give them"
            " the names of the classes, or change the names in [classes] of the project file; then"
            " run again",
        )


def _record_files(
    catalog: Catalog,
    place: Path,
    listing: Listing,
    left_out: Callable[[Iterable[Source], Sequence[Source], Path], list[Source]],
    listed_in: str = "",
) -> dict[str, Any]:
    """left_out: which of the known rows are gone; listed_in: the table or archive."""
    known = {source.origin: source for source in catalog.sources()}
    kept = {  # by a listing without labels a file loses none
        c.origin: "it is there already, with a label"
        for c in listing.candidates
        if not c.label and (row := known.get(c.origin)) and row.label and row.code != GONE
    }
    reason = refusal_of(catalog.take_downs())  # also of what somebody published anew
    kept |= {
        c.origin: why
        for c in listing.candidates
        if (places := [p for p in (c.page, c.final_url) if p])
        and (why := next(filter(None, map(reason, places)), ""))
    }
    listed = [c for c in listing.candidates if c.origin not in kept]
    left = left_out(known.values(), listing.candidates, place)
    fresh, now = [], []
    with catalog.transaction():
        for candidate in listed:
            before = known.get(candidate.origin)
            if before and before.sha256 and candidate.code == CONFLICT:
                continue  # what was read stays as it is
            if before and listed_in and _has_new_label(before, candidate):
                row = dataclasses.replace(before, label=candidate.label)
                _relabel(catalog, before, row, candidate.kind, "the table names it there")
                now.append(with_publication(row, candidate))
            elif before and is_read(before, candidate):
                if (row := with_publication(before, candidate)) != before:
                    now.append(row)
            else:
                fresh.append(dataclasses.replace(candidate, listed_in=listed_in))
        catalog.put_sources(fresh + now + left)
    shared = sum(c.code == CONFLICT for c in listed)
    counts = {"found": len(listed) - shared, "new": len(fresh), "gone": len(left)}
    return {**counts, "ignored": listing.ignored | kept, **({"shared": shared} if shared else {})}


def _has_new_label(known: Source, listed: Source) -> bool:
    """Whether a file that was read is only named under another class."""
    was = dataclasses.replace(listed, label=known.label)
    return bool(known.label) and known.label != listed.label and is_read(known, was)


def _record_list(catalog: Catalog, path: Path, listing: Listing) -> dict[str, Any]:
    reason = refusal_of(catalog.take_downs())
    why = {c.origin: text for c in listing.candidates if (text := reason(c.origin))}
    known = {source.origin: source for source in catalog.sources()}
    listed = [c for c in listing.candidates if c.origin not in why]
    rows = [merged(known.get(c.origin), c) for c in listed]
    waiting = {(s.origin, s.label) for s in known.values() if s.code == PENDING}
    present, stamp = {c.origin for c in listing.candidates}, listing.candidates[0].stamp
    left = [
        gone(s, f"no longer in {path.name}")
        for s in known.values()
        if (s.kind, s.stamp) == ("urls", stamp)
        and s.origin not in present
        and s.code not in (GONE, TAKEN_DOWN)
    ]
    with catalog.transaction():
        for row in rows:
            before = known.get(row.origin)
            if before and before.label != row.label:
                _relabel(catalog, before, row, "urls", "the list names it there")
        catalog.put_sources([row for row in rows if row != known.get(row.origin)] + left)
    return {
        "found": sum(c.code == PENDING for c in listed),
        "new": sum(r.code == PENDING and (r.origin, r.label) not in waiting for r in rows),
        "gone": len(left),
        "ignored": listing.ignored | why,
        "shared": sum(c.code == CONFLICT for c in listed),
    }


def merged(known: Source | None, listed: Source) -> Source:
    """The row of an address that a list names: what is known of it, with the label of the list.

    A list under another name, or one that was moved, makes no address new."""
    if known is None or known.code == TAKEN_DOWN:
        return known or listed
    if known.sha256 is None:
        is_same = known.label == listed.label and known.code not in (GONE, CONFLICT)
        if listed.code == CONFLICT or not is_same:
            return listed
    elif listed.code == CONFLICT:
        return known
    if known.kind != "urls" and known.label == listed.label and known.code != SPARE:
        return known
    codes = {GONE: (OK, ""), SPARE: (PENDING, "")}  # a photo that is back; wanted after all
    code, sentence = codes.get(known.code, (known.code, known.sentence))
    return dataclasses.replace(
        known, label=listed.label, kind="urls", stamp=listed.stamp, code=code, sentence=sentence
    )


def _relabel(catalog: Catalog, before: Source, row: Source, who: str, why: str) -> None:
    """The photo follows its row, unless somebody gave it another label since."""
    photo = catalog.photo(row.sha256) if row.sha256 else None
    if photo and photo.label == before.label:
        relabel(catalog, photo, row.label, who, why)


def _search(
    catalog: Catalog, config: Config, engines: Sequence[Engine], time: Time
) -> dict[str, Any]:
    goal, refused = search_goal(config), refusal_of(catalog.take_downs())
    renamed = _follow_names(catalog, goal)
    total = goal.per_class * len(goal.classes)
    with progress_bar(total=total, desc="search", bar_format=SHORT_BAR) as bar:

        def report_progress(counts: Mapping[str, int]) -> None:
            bar.n = sum(min(n, goal.per_class) for n in counts.values())
            words = ", ".join(f"{label or 'without a label'} {n}" for label, n in counts.items())
            bar.set_postfix_str(words if len(words) <= room("search", total) else "")

        try:
            found = collect(catalog, goal, engines, refused, report_progress, time)
        finally:
            share_out(catalog, goal)
    spare = Counter(source.label for source in filter(goal.counts, catalog.sources(SPARE)))
    chosen = {label: n - spare[label] for label, n in found["per_class"].items()}
    return {
        "gone": 0,
        "ignored": {},
        **found,
        "found": sum(chosen.values()),
        "per_class": chosen,
        "warnings": [*renamed, *found["warnings"]],
        "spare": spare.total(),
    }


def _follow_names(catalog: Catalog, goal: SearchGoal) -> list[str]:
    """A class that was given another name is known by its words: what they found, photos included,
    gets the new name. Returns a sentence for each such class."""
    owner = {query: label for label, queries in goal.all_classes.items() for query in queries}
    rows = [
        source
        for source in filter(goal.is_ours, catalog.sources())
        if source.label not in goal.all_classes and source.query in owner
    ]
    now = [dataclasses.replace(source, label=owner[source.query]) for source in rows]
    with catalog.transaction():
        for before, row in zip(rows, now, strict=True):
            _relabel(catalog, before, row, goal.kind, "its class was given another name")
        catalog.put_sources(now)
    moves = Counter((old.label, new.label) for old, new in zip(rows, now, strict=True))
    return [
        f"class {old!r} is called {new!r} now: {count(n, 'candidate')} found by the same words"
        f" {'follows' if n == 1 else 'follow'} it"
        for (old, new), n in sorted(moves.items())
    ]

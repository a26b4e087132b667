"""Query search engines page by page until each class has enough candidates.

Each page of answers is stored with a note of its request: an interrupted search resumes there.
Engines also say "no results" when they refuse: an empty first page is believed when the engine
answers something else afterwards, or when it did so before and has nothing three times. Until then
the query is put aside, the engine rests, and the next engine is asked.
"""

from __future__ import annotations

import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import InitVar, dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import Any

from bear_classifier.collect.sources import search_progress
from bear_classifier.collect.sources.search_engine import Engine, Hit, NoAnswer
from bear_classifier.collect.sources.search_progress import EngineState, SearchGoal, Trail
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import CONFLICT, OK, PENDING, SPARE, SearchPage, Source

EMPTY = "EMPTY"  # code of a page without results
REMEMBERED = timedelta(hours=24)  # how long an empty page is not asked for again
TIMES = 3  # refusals put an engine out for the run; empty answers to one query are believed
REST = 5.0  # seconds at most after the first refusal, doubled with every other one
MAX_SEARCH_WAIT = 60.0  # seconds; who asks for more is not asked again in this run


@dataclass(frozen=True)
class Time:
    """now: UTC, for what is remembered; clock, sleep: seconds; chance: from 0 to 1."""

    now: Callable[[], datetime] = lambda: datetime.now(timezone.utc)
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    chance: Callable[[], float] = random.random


REAL = Time()


def collect(
    catalog: Catalog,
    goal: SearchGoal,
    engines: Sequence[Engine],
    refused: Callable[[str], str] = lambda place: "",
    report_progress: Callable[[Mapping[str, int]], None] = lambda counts: None,
    time: Time = REAL,
) -> dict[str, Any]:
    """Record candidates, asking engines in their order. Returns found, new, per_class, shared
    (addresses found for two classes), requests, warnings.

    refused: why an address may not be used, or ""; report_progress: gets how many each class has.
    Raises DataError (SEARCH_UNREACHABLE, SEARCH_BLOCKED, NO_RESULTS, SAME_QUERY)."""
    search_progress.refuse_shared_queries(goal.all_classes)
    search = _Search(catalog, goal, engines, refused, report_progress, time)
    search.run()
    return search.outcome()


@dataclass
class _Search:
    """One run of `collect`: what is known, and how far each query was followed."""

    catalog: Catalog
    goal: SearchGoal
    engines: InitVar[Sequence[Engine]]
    refused: Callable[[str], str]
    report_progress: Callable[[Mapping[str, int]], None]
    time: Time
    requests: int = 0

    def __post_init__(self, engines: Sequence[Engine]) -> None:
        self.known = {source.origin: source for source in self.catalog.sources()}
        self.before = set(self.known)
        self.services = [EngineState(engine) for engine in engines]
        self.trails = [
            Trail(service, label, query)
            for label, queries in self.goal.classes.items()
            for service in self.services
            for query in dict.fromkeys(queries)
        ]
        self._resume()

    def _resume(self) -> None:
        """Follow every trail again as far as it was followed before, without requests."""
        pages = self.catalog.search_pages()
        stored = {(p.engine, p.query, p.page): p for p in pages if p.options == self.goal.options}
        ranks: dict[tuple[str, str], set[int]] = defaultdict(set)
        for source in filter(self.goal.is_ours, self.known.values()):
            ranks[source.engine, source.query].add(source.rank)
        for trail in self.trails:
            name = trail.service.engine.name
            while not trail.ended and (row := stored.get((name, trail.query, trail.page))):
                if row.code != OK:
                    age = self.time.now() - datetime.fromisoformat(row.at)
                    trail.ended = timedelta(0) <= age < REMEMBERED
                    trail.void = trail.ended and trail.page == 1
                    break
                span = range(trail.seen + 1, trail.seen + row.found + 1)
                trail.advance(row.found, not ranks[name, trail.query].isdisjoint(span))

    def run(self) -> None:
        while True:
            for label in self.goal.classes:
                while trail := self._next(label):
                    self._ask(trail)
            if any(map(self._next, self.goal.classes)):
                continue  # a class that was full shares addresses with a later one
            aside = [t for t in self.trails if t.aside and not t.service.out]
            again = [trail for trail in aside if self._is_short(trail.label)]
            if not again:
                return
            for trail in again:
                trail.aside = ""

    def _next(self, label: str) -> Trail | None:
        """The first engine that does not rest; of its queries in turn, the one asked least."""
        if not self._is_short(label):
            return None
        open_ = [trail for trail in self.trails if trail.label == label and trail.is_open]
        moment = self.time.clock()

        def turn(trail: Trail) -> tuple[float, int, int]:
            rest = max(0.0, trail.service.rested - moment)
            return rest, self.services.index(trail.service), trail.page

        return min(open_, key=turn, default=None)

    def _ask(self, trail: Trail) -> None:
        service = trail.service
        wait = max(service.free, service.rested) - self.time.clock()
        if wait > 0:
            self.time.sleep(wait)
        self.requests += 1
        try:
            hits = service.engine.ask(trail.query, trail.page)
        except NoAnswer as exc:
            self._note(trail, exc)
        else:
            self._keep(trail, hits)
        service.free = self.time.clock() + service.engine.pause
        self.report_progress(self._counts())

    def _note(self, trail: Trail, exc: NoAnswer) -> None:
        """What follows from a page that did not come."""
        service = trail.service
        void = any(other.query == trail.query and other.void for other in self.trails)
        if exc.kind == "unreachable":
            service.out, service.why = exc.kind, exc.detail
        elif exc.kind == "empty" and (trail.page > 1 or service.engine.sure or void):
            self._end(trail)
            service.answered = service.answered or service.engine.sure
        elif exc.kind == "empty" and service.answered and trail.doubts + 1 == TIMES:
            service.refusals -= trail.doubts
            trail.ended = True
            if self._counts()[trail.label]:  # else it is an error, and the next run asks again
                self._end(trail)
        else:
            rest = self.time.chance() * REST * 2**service.refusals
            service.rested = self.time.clock() + max(rest, exc.wait)
            service.refusals += 1
            service.why = exc.detail
            trail.aside = exc.kind
            trail.doubts += exc.kind == "empty"
            if service.refusals >= TIMES or exc.wait > MAX_SEARCH_WAIT:
                service.out = "refused"

    def _end(self, *trails: Trail) -> None:
        """Remember that there is nothing (more)."""
        with self.catalog.transaction():
            for trail in trails:
                self.catalog.put_search_page(self._page(trail, EMPTY))
        for trail in trails:
            trail.ended, trail.void, trail.aside = True, trail.page == 1, ""

    def _keep(self, trail: Trail, hits: Sequence[Hit]) -> None:
        """Store a page, all of it or nothing; then believe that the engine had nothing before."""
        rows: dict[str, Source] = {}
        for rank, hit in enumerate(hits, trail.seen + 1):
            known = rows.get(hit.url) or self.known.get(hit.url)
            if (row := self._row(trail, hit, rank, known)) is not None:
                rows[hit.url] = row
        with self.catalog.transaction():
            self.catalog.put_sources(rows.values())
            self.catalog.put_search_page(self._page(trail, OK, len(hits)))
        self.known |= rows
        trail.service.answered = True
        trail.advance(len(hits), any(row.code == PENDING for row in rows.values()))
        doubted = [t for t in self.trails if t.aside == "empty"]
        void = {t.query for t in doubted if t.service is trail.service}
        believed = [t for t in doubted if t.query in void]
        self._end(*believed)
        for other in believed:
            other.service.refusals -= other.doubts

    def _row(self, trail: Trail, hit: Hit, rank: int, known: Source | None) -> Source | None:
        """The row to write for a hit, if any. What a person listed stays as it was listed."""
        if known is not None:
            waits = known.code in (PENDING, SPARE)  # one without a label disputes none
            disputed = waits and len({known.label, trail.label, ""}) == 3
            return _shared(known, trail.label) if disputed and known.kind != "urls" else None
        if self.refused(hit.url) or self.refused(hit.page):
            return None
        facts = {name: value for name, value in vars(hit).items() if name != "url"}
        row = Source(hit.url, trail.label, self.goal.kind, self.goal.options, **facts)
        thumbnail = "" if self.refused(hit.thumbnail) else hit.thumbnail
        engine = trail.service.engine.name
        return replace(row, query=trail.query, engine=engine, rank=rank, thumbnail=thumbnail)

    def _page(self, trail: Trail, code: str, found: int = 0) -> SearchPage:
        at = self.time.now().isoformat(timespec="seconds")
        name = trail.service.engine.name
        return SearchPage(name, trail.query, trail.page, self.goal.options, at, code, found)

    def _counts(self) -> dict[str, int]:
        return self._by_class(filter(self.goal.counts, self.known.values()))

    def _by_class(self, sources: Iterable[Source]) -> dict[str, int]:
        counts = Counter(source.label for source in sources if _is_candidate(source))
        return {label: counts[label] for label in self.goal.classes}

    def _is_short(self, label: str) -> bool:
        ours = [s for s in self.known.values() if s.label == label and self.goal.counts(s)]
        taken = sum(source.code == OK for source in ours)
        enough = self.goal.per_class + self.goal.spare
        return taken < self.goal.per_class and sum(map(_is_candidate, ours)) < enough

    def outcome(self) -> dict[str, Any]:
        counts, all_counts = self._counts(), self._by_class(self.known.values())
        search_progress.require_enough(self.goal, self.services, counts, all_counts)
        ours = list(filter(self.goal.is_ours, self.known.values()))
        new = [s for s in ours if s.origin not in self.before and _is_candidate(s)]
        return {
            "found": sum(counts.values()),
            "new": len(new),
            "per_class": counts,
            "shared": sum(source.code == CONFLICT and not source.sha256 for source in ours),
            "requests": self.requests,
            "warnings": search_progress.search_warnings(self.goal, self.services, counts),
        }


def _is_candidate(source: Source) -> bool:
    """A row that leads to a photo of its class, or may; what failed is replaced by others."""
    if source.code == CONFLICT:
        return source.sha256 is not None  # downloaded before it was found under another class
    return source.code in (OK, PENDING, SPARE)


def _shared(source: Source, label: str) -> Source:
    sentence = (
        f"found for {source.label} and for {label}; nobody can know which of them it shows, so it"
        " is not downloaded"
    )
    return replace(source, code=CONFLICT, sentence=sentence)

"""Progress of a search: its goal, the state of engines and queries, warnings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from bear_classifier.collect.sources.registry import SEARCHES, SOURCES, search_of
from bear_classifier.collect.sources.search_engine import Engine
from bear_classifier.config.settings import Config
from bear_classifier.dataset.schema import Source
from bear_classifier.errors import DataError

BARREN = 2  # pages in a row with nothing new end a query
_SPARE = 4  # for so many photos one more address is sought, for those that fail


@dataclass(frozen=True)
class SearchGoal:
    """classes: label -> queries; kind, options: what sources are marked with; numbers per class.
    Photos whose classes a person confirms are sought under the label "", by the words of all.

    least: with fewer candidates, from wherever, it is an error that engines do not answer; spare:
    so many more are sought, for those that fail; others: the project's classes that are not
    searched for, as `classes`."""

    classes: Mapping[str, Sequence[str]]
    kind: str
    options: str
    per_class: int
    least: int
    spare: int = 0
    others: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def all_classes(self) -> dict[str, Sequence[str]]:
        return {**self.classes, **self.others}

    def is_ours(self, source: Source) -> bool:
        """Whether a search of this kind with these filters found it, by whatever words."""
        return (source.kind, source.stamp) == (self.kind, self.options)

    def counts(self, source: Source) -> bool:
        """As `is_ours`, by the present words of its class: what others found does not count."""
        queries = self.classes.get(source.label, ())
        return self.is_ours(source) and source.query in (*queries, "")


def search_goal(config: Config) -> SearchGoal:
    """The goal of a project. Its filters are text, by which the same ones are known again."""
    search, number, only = config.search, config.search.per_class, config.search.only_class
    kind = search_of(search.source) or search.source
    classes = {label: q for label, q in config.classes.items() if only in ("", label)}
    others = {label: q for label, q in config.classes.items() if label not in classes}
    options = f"licence={search.licence} size={search.size}"
    if kind in SOURCES and SOURCES[kind].by_region:
        options += f" region={search.region}"
    if kind != search.source:  # other rows than those of the same words under a label
        options += " unlabelled"
        number *= len(classes)
        classes, others = {"": [query for queries in classes.values() for query in queries]}, {}
    spare = -(-number // _SPARE)
    return SearchGoal(classes, kind, options, number, config.split.least, spare, others)


@dataclass
class EngineState:
    """An engine during one run."""

    engine: Engine
    free: float = 0.0  # of the clock: the pause after the last request is over
    rested: float = 0.0  # of the clock: the rest after a refusal is over
    refusals: int = 0
    out: str = ""  # unreachable or refused: not asked again in this run
    why: str = ""  # the last trouble, in words
    answered: bool = False


@dataclass
class Trail:
    """How far one query was followed on one engine."""

    service: EngineState
    label: str
    query: str
    page: int = 1  # to be asked for next
    seen: int = 0  # answers on the pages before
    barren: int = 0  # pages in a row with nothing new
    ended: bool = False
    void: bool = False  # known to have no results at all
    aside: str = ""  # refused or empty: not to be asked again before all else was
    doubts: int = 0  # how often its first page was empty without being believed

    @property
    def is_open(self) -> bool:
        return not (self.ended or self.aside or self.service.out)

    def advance(self, answers: int, fresh: bool) -> None:
        """Past a page with so many answers. fresh: whether one of them was new."""
        self.page += 1
        self.seen += answers
        self.barren = 0 if fresh else self.barren + 1
        self.ended = self.page > self.service.engine.pages or self.barren >= BARREN


def refuse_shared_queries(classes: Mapping[str, Sequence[str]]) -> None:
    """A page is asked for once, so its pictures would all go to the class that comes first."""
    owner: dict[str, str] = {}
    for label, queries in classes.items():
        for query in queries:
            other = owner.setdefault(" ".join(query.split()).casefold(), label)
            if other != label:
                raise DataError(
                    "SAME_QUERY",
                    f"classes {other!r} and {label!r} both search for {query!r}; nobody could know"
                    " which of them a picture shows: give each its own words in [classes]",
                )


def require_enough(
    goal: SearchGoal,
    services: Sequence[EngineState],
    counts: Mapping[str, int],
    all_counts: Mapping[str, int],
) -> None:
    """Raise DataError where a class lacks what it needs and the engines are to blame, or found
    nothing. counts: candidates of this search by class; all_counts: of the whole catalog."""
    poor = [label for label in short(goal, counts) if all_counts[label] < goal.least]
    out = [service for service in services if service.out]
    kept = sum(counts.values())
    if poor and all(service.out == "unreachable" for service in services):
        keeps = f"; what was found before ({kept}) is kept" if kept else ""
        raise DataError(
            "SEARCH_UNREACHABLE",
            f"no search service can be reached ({_names(out)}: {out[0].why}){keeps}; check the"
            " network, or use photos you have: --source folder:PATH, a list of addresses: --source"
            " urls:FILE, or drawn pictures: --source starter",
        )
    if poor and any(service.out == "refused" for service in services):
        other = next(name for name in SEARCHES if name != goal.kind)
        other = f"unlabelled:{other}" if "" in goal.classes else other
        raise DataError(
            "SEARCH_BLOCKED",
            f"the search service refuses for now ({'; '.join(map(_trouble, out))}); what was found"
            f" so far ({kept}) is kept; try again in 10 minutes, or give a file of addresses:"
            f" --source urls:FILE, or search elsewhere: --source {other}",
        )
    queries = {label: goal.classes[label] for label in poor if not all_counts[label]}
    if queries:
        words = "; ".join(
            f"{label!r}: {', '.join(map(repr, q))}" if label else ", ".join(map(repr, q))
            for label, q in queries.items()
        )
        answering = [service for service in services if not service.out]
        raise DataError(
            "NO_RESULTS",
            f"{'; '.join([*map(_trouble, out), _names(answering)])} found nothing for {words}; use"
            " other words in [classes] of the project file; if these find pictures in a browser,"
            " try again in 10 minutes",
        )


def short(goal: SearchGoal, counts: Mapping[str, int]) -> list[str]:
    """The classes that have fewer candidates than goal."""
    return [label for label in goal.classes if counts[label] < goal.per_class]


def search_warnings(
    goal: SearchGoal, services: Sequence[EngineState], counts: Mapping[str, int]
) -> list[str]:
    """What to know although the search is good enough to go on."""
    lacking = [
        f"{f'class {label!r}' if label else 'the search without labels'} has {counts[label]} of"
        f" {goal.per_class} addresses; more queries {'for it ' if label else ''}would find more"
        for label in short(goal, counts)
    ]
    unsafe = [
        f"{service.engine.name} does not keep to safe search: look through what it found"
        for service in services
        if service.answered and not service.engine.safe
    ]
    return [*(_trouble(service) for service in services if service.out), *unsafe, *lacking]


def _trouble(service: EngineState) -> str:
    trouble = "cannot be reached" if service.out == "unreachable" else "refuses"
    return f"{service.engine.name} {trouble}: {service.why}"


def _names(services: Iterable[EngineState]) -> str:
    return ", ".join(service.engine.name for service in services)

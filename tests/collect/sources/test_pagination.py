"""Asking engines page by page: turns, rests, memory, and what it comes to when they do not answer.

Engines are lists of pages, time is a number: nothing waits and nothing leaves the computer."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from bear_classifier.collect.sources.pagination import EMPTY, Time, collect
from bear_classifier.collect.sources.search_engine import Engine, Hit, NoAnswer
from bear_classifier.collect.sources.search_progress import SearchGoal
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import (
    CONFLICT,
    GONE,
    OK,
    PENDING,
    SPARE,
    TAKEN_DOWN,
    SearchPage,
    Source,
)
from bear_classifier.errors import DataError

REFUSED, EMPTY_PAGE = NoAnswer("refused", "HTTP 403"), NoAnswer("empty", "no results")
GONE_AWAY = NoAnswer("unreachable", "its name cannot be resolved")
START = datetime(2026, 1, 1, tzinfo=timezone.utc)
Answer = list[Hit] | NoAnswer


@dataclass
class Watch:
    """Time that passes only by sleeping. slept: every sleep, in seconds."""

    seconds: float = 0.0
    slept: list[float] = field(default_factory=list)
    chance: float = 1.0

    def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 3))
        self.seconds += seconds

    @property
    def time(self) -> Time:
        return Time(
            now=lambda: START + timedelta(seconds=self.seconds),
            clock=lambda: self.seconds,
            sleep=self.sleep,
            chance=lambda: self.chance,
        )


class Fake:
    """answers: query -> pages, then nothing. A list of answers in place of a page: one for each
    time that the page is asked for, the last for all the others."""

    def __init__(
        self,
        answers: Mapping[str, Sequence[Answer | list[Answer]]],
        watch: Watch | None = None,
        name: str = "alpha",
        **facts: Any,
    ) -> None:
        self.log: list[tuple[str, int]] = []
        self.times: list[float] = []
        self.answers, self.watch = answers, watch or Watch()
        usual = {"pause": 0.0, "pages": 10}
        self.engine = Engine(name, self.ask, **usual | facts)

    def ask(self, query: str, page: int) -> list[Hit]:
        before = self.log.count((query, page))
        self.log.append((query, page))
        self.times.append(round(self.watch.seconds, 3))
        pages = self.answers.get(query, ())
        answer: Any = pages[page - 1] if page <= len(pages) else EMPTY_PAGE
        if answer and isinstance(answer, list) and not isinstance(answer[0], Hit):
            answer = answer[min(before, len(answer) - 1)]
        if isinstance(answer, NoAnswer):
            raise answer
        return answer


def hits(*names: str) -> list[Hit]:
    return [Hit(f"https://photos.example/{name}") for name in names]


def page(query: str, number: int, size: int = 4) -> list[Hit]:
    return hits(*(f"{query}-{number}-{n}" for n in range(size)))


def wanted(
    classes: Mapping[str, Sequence[str]] | None = None, per_class: int = 4, **facts: Any
) -> SearchGoal:
    usual = {"kind": "web", "options": "licence=any", "least": 3}
    return SearchGoal(classes or {"grizzly": ["a"]}, per_class=per_class, **usual | facts)


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog(tmp_path) as made:
        yield made


def ask(
    catalog: Catalog,
    *fakes: Fake,
    task: SearchGoal | None = None,
    watch: Watch | None = None,
    **seams: Any,
) -> dict[str, Any]:
    time = (watch or Watch()).time
    return collect(catalog, task or wanted(), [fake.engine for fake in fakes], time=time, **seams)


def refusal(
    catalog: Catalog, *fakes: Fake, task: SearchGoal | None = None, watch: Watch | None = None
) -> str:
    with pytest.raises(DataError) as caught:
        ask(catalog, *fakes, task=task, watch=watch)
    return str(caught.value)


def names(catalog: Catalog, code: str = PENDING) -> list[str]:
    return [source.origin.rpartition("/")[2] for source in catalog.sources(code)]


def memory(catalog: Catalog) -> list[tuple[str, str, int, str]]:
    return [(a.engine, a.query, a.page, a.code) for a in catalog.search_pages()]


# in turn, until there are enough


def test_queries_of_a_class_take_turns(catalog: Catalog) -> None:
    fake = Fake({q: [page(q, n, 2) for n in (1, 2, 3)] for q in "abc"})
    task = wanted({"grizzly": ["a", "b"], "teddy": ["c"]}, per_class=6)
    outcome = ask(catalog, fake, task=task)
    turns = [("a", 1), ("b", 1), ("a", 2), ("c", 1), ("c", 2), ("c", 3)]
    assert fake.log == turns
    assert outcome == {
        "found": 12,
        "new": 12,
        "per_class": {"grizzly": 6, "teddy": 6},
        "shared": 0,
        "requests": 6,
        "warnings": [],
    }


def test_a_row_keeps_the_whole_trail(catalog: Catalog) -> None:
    hit = Hit("https://h.example/a", "https://p.example", "https://t.example", "T", "A", "L", "U")
    fake = Fake({"a": [page("a", 1, 3), [*hits("b"), hit]]})
    ask(catalog, fake, task=wanted(per_class=5))
    assert catalog.sources()[-1] == Source(
        "https://h.example/a",
        "grizzly",
        "web",
        "licence=any",
        query="a",
        engine="alpha",
        rank=5,
        page="https://p.example",
        thumbnail="https://t.example",
        title="T",
        author="A",
        licence="L",
        licence_url="U",
    )
    assert [source.rank for source in catalog.sources()] == [1, 2, 3, 4, 5]
    asked = SearchPage("alpha", "a", 2, "licence=any", "2026-01-01T00:00:00+00:00", OK, 2)
    assert catalog.search_pages()[-1] == asked


def test_all_of_a_page_is_kept(catalog: Catalog) -> None:
    """It is never asked for again; `search` lets wait what is more than was wanted."""
    fake = Fake({"a": [page("a", 1), page("a", 2)]})
    assert ask(catalog, fake, task=wanted(per_class=6))["per_class"] == {"grizzly": 8}
    assert [source.rank for source in catalog.sources()] == list(range(1, 9))
    assert ask(catalog, fake, task=wanted(per_class=8))["requests"] == 0


def test_an_address_is_one_row_and_stays_what_it_was(catalog: Catalog) -> None:
    fake = Fake({"a": [hits("x", "x", "y")], "b": [hits("y", "x", "z")]})
    outcome = ask(catalog, fake, task=wanted({"grizzly": ["a", "b"]}, per_class=3))
    rows = [(s.query, s.rank) for s in catalog.sources()]
    assert (names(catalog), rows) == (["x", "y", "z"], [("a", 1), ("a", 3), ("b", 3)])
    assert outcome["found"] == 3


def test_the_next_engine_takes_over_where_one_has_no_more(catalog: Catalog) -> None:
    first = Fake({"a": [page("a", 1, 2)]})
    second = Fake({"a": [hits("x", "y")]}, name="beta")
    assert ask(catalog, first, second)["found"] == 4
    assert (first.log, second.log) == ([("a", 1), ("a", 2)], [("a", 1)])


def test_a_query_ends_after_its_pages(catalog: Catalog) -> None:
    fake = Fake({"a": [page("a", n) for n in range(1, 9)]}, pages=3)
    assert ask(catalog, fake, task=wanted(per_class=99))["found"] == 12
    assert fake.log == [("a", 1), ("a", 2), ("a", 3)]


def test_two_pages_with_nothing_new_end_a_query(catalog: Catalog) -> None:
    same = page("a", 1)
    fake = Fake({"a": [same, same, page("a", 3), same, same, page("a", 6)]})
    assert ask(catalog, fake, task=wanted(per_class=99))["found"] == 8
    assert fake.log[-1] == ("a", 5)


def test_pages_without_usable_hits_are_answers_with_nothing_new(catalog: Catalog) -> None:
    fake = Fake({"a": [[], page("a", 2), [], []]})
    assert ask(catalog, fake, task=wanted(per_class=99))["found"] == 4
    assert fake.log[-1] == ("a", 4)


def test_progress_is_told(catalog: Catalog) -> None:
    told: list[dict[str, int]] = []
    fake = Fake({"a": [page("a", 1, 2), page("a", 2, 2)]})
    ask(catalog, fake, report_progress=lambda counts: told.append(dict(counts)))
    assert told == [{"grizzly": 2}, {"grizzly": 4}]


# two classes


def test_an_address_of_two_classes_belongs_to_neither(catalog: Catalog) -> None:
    fake = Fake({"a": [hits("x", "both")], "b": [hits("both", "y", "z")]})
    task = wanted({"grizzly": ["a"], "teddy": ["b"]}, per_class=2, least=1)
    outcome = ask(catalog, fake, task=task)
    (shared,) = catalog.sources(CONFLICT)
    assert (shared.label, shared.query) == ("grizzly", "a")
    assert shared.sentence.startswith("found for grizzly and for teddy; nobody can know which")
    assert (outcome["per_class"], outcome["shared"]) == ({"grizzly": 1, "teddy": 2}, 1)
    assert (outcome["found"], outcome["new"]) == (3, 3)


def test_an_address_that_waits_may_turn_out_to_be_of_two_classes(catalog: Catalog) -> None:
    row = Source("https://photos.example/x", "black", "web", "licence=any", SPARE)
    with catalog.transaction():
        catalog.put_sources([row])
    ask(catalog, Fake({"a": [hits("x", "1", "2", "3", "4")]}))
    assert catalog.sources()[0].code == CONFLICT


def test_a_class_that_lost_an_address_looks_for_another(catalog: Catalog) -> None:
    fake = Fake({"a": [hits("x", "both"), hits("more")], "b": [hits("both", "y", "z")]})
    task = wanted({"grizzly": ["a"], "teddy": ["b"]}, per_class=2)
    assert ask(catalog, fake, task=task)["per_class"] == {"grizzly": 2, "teddy": 2}
    assert fake.log == [("a", 1), ("b", 1), ("a", 2)]


@pytest.mark.parametrize(
    "facts",
    [
        {"kind": "web", "code": OK},
        {"kind": "web", "code": "HTTP_404"},
        {"kind": "urls", "code": SPARE},
        {"kind": "web", "code": TAKEN_DOWN},
        {"kind": "urls", "code": PENDING},
        {"kind": "web", "code": CONFLICT, "sentence": "found for black and for grizzly"},
    ],
)
def test_what_was_downloaded_or_listed_is_left_alone(
    catalog: Catalog, facts: dict[str, str]
) -> None:
    row = Source("https://photos.example/x", "black", **facts)  # type: ignore[arg-type]
    with catalog.transaction():
        catalog.put_sources([row])
    ask(catalog, Fake({"a": [hits("x", "1", "2", "3", "4")]}))
    assert catalog.sources()[0] == row


def test_a_query_for_two_classes_is_refused_before_anything_is_asked(catalog: Catalog) -> None:
    fake = Fake({"Bear": [page("a", 1)]})
    said = refusal(catalog, fake, task=wanted({"grizzly": ["Bear"], "teddy": ["x", "bear "]}))
    assert said.startswith("SAME_QUERY: classes 'grizzly' and 'teddy' both search for 'bear '")
    assert fake.log == []


# take-downs


def test_what_may_not_be_used_is_left_out(catalog: Catalog) -> None:
    found = [
        Hit("https://bad.example/1"),
        Hit("https://good.example/2", "https://bad.example/page"),
        Hit("https://good.example/3", thumbnail="https://bad.example/small"),
    ]
    why = {"https://bad.example": "taken down"}
    ask(
        catalog,
        Fake({"a": [found]}),
        task=wanted(least=0),
        refused=lambda place: next((w for start, w in why.items() if place.startswith(start)), ""),
    )
    (kept,) = catalog.sources()
    assert (kept.origin, kept.thumbnail, kept.rank) == ("https://good.example/3", "", 3)


# from run to run


def test_nothing_is_asked_when_every_class_is_full(catalog: Catalog) -> None:
    fake = Fake({"a": [page("a", 1)]})
    first = ask(catalog, fake)
    again = Fake({})
    assert ask(catalog, again) == {**first, "new": 0, "requests": 0}
    assert again.log == []


def test_nothing_is_asked_when_every_query_has_ended(catalog: Catalog) -> None:
    same = page("a", 1)
    ends = {"a": [same, same, same], "b": [page("b", n) for n in (1, 2, 3)], "c": [page("c", 1)]}
    task = wanted({"grizzly": ["a", "b", "c"]}, per_class=99)
    fake = Fake(ends, pages=3)
    ask(catalog, fake, task=task)
    assert ("alpha", "c", 2, EMPTY) in memory(catalog)
    again = Fake({}, pages=3)
    outcome = ask(catalog, again, task=task)
    assert (again.log, outcome["requests"], outcome["found"]) == ([], 0, 20)
    assert outcome["warnings"] == [
        "class 'grizzly' has 20 of 99 addresses; more queries for it would find more"
    ]


def test_pages_with_nothing_new_are_counted_from_run_to_run(catalog: Catalog) -> None:
    same = page("a", 1)
    task = wanted(per_class=99)
    ask(catalog, Fake({"a": [same]}))
    with catalog.transaction():
        catalog.put_search_page(
            SearchPage("alpha", "a", 2, "licence=any", "2026-01-01", OK, found=4)
        )
    fake = Fake({"a": [same, same, same, same]})
    ask(catalog, fake, task=task)
    assert fake.log == [("a", 3)]
    again = Fake({"a": [same, same, same, same]})
    ask(catalog, again, task=task)
    assert again.log == []


@pytest.mark.parametrize(("hours", "asked"), [(-1, True), (0, False), (23.9, False), (24, True)])
def test_an_empty_page_is_remembered_for_a_day(catalog: Catalog, hours: float, asked: bool) -> None:
    ask(catalog, Fake({"a": [page("a", 1)]}), task=wanted(per_class=9))
    watch = Watch(seconds=hours * 3600)
    fake = Fake({"a": [page("a", 1), page("a", 2)]}, watch)
    outcome = ask(catalog, fake, task=wanted(per_class=8), watch=watch)
    assert fake.log == ([("a", 2)] if asked else [])
    assert outcome["found"] == (8 if asked else 4)
    assert len(catalog.search_pages()) == 2


def test_other_filters_are_another_search(catalog: Catalog) -> None:
    ask(catalog, Fake({"a": [page("a", 1)]}))
    fake = Fake({"a": [hits(*"1234")]})
    outcome = ask(catalog, fake, task=wanted(options="licence=public"))
    assert (outcome["found"], outcome["new"]) == (4, 4)
    assert len(catalog.sources()) == 8


class Crash(BaseException):
    pass


def test_a_search_that_was_cut_off_goes_on_where_it_stopped(catalog: Catalog) -> None:
    pages = {"a": [page("a", n) for n in range(1, 6)]}
    crashing = Fake(pages)

    def crash(query: str, number: int) -> list[Hit]:
        if number == 3:
            raise Crash
        return crashing.ask(query, number)

    task = wanted(per_class=20)
    with pytest.raises(Crash):
        collect(catalog, task, [replace(crashing.engine, ask=crash)], time=Watch().time)
    assert len(catalog.sources()) == 8
    fake = Fake(pages)
    outcome = ask(catalog, fake, task=task)
    assert fake.log == [("a", 3), ("a", 4), ("a", 5)]
    assert (outcome["found"], outcome["new"]) == (20, 12)
    assert [source.rank for source in catalog.sources()] == list(range(1, 21))


def test_a_page_and_its_note_are_stored_together(tmp_path: Path) -> None:
    class Failing(Catalog):
        def put_search_page(self, row: SearchPage) -> None:
            if row.page == 2:
                raise Crash
            super().put_search_page(row)

    fake = Fake({"a": [page("a", n) for n in (1, 2)]})
    with Failing(tmp_path) as catalog, pytest.raises(Crash):
        ask(catalog, fake, task=wanted(per_class=8))
    with Catalog(tmp_path) as catalog:
        assert len(catalog.sources()) == 4
        assert memory(catalog) == [("alpha", "a", 1, OK)]


# pauses and rests


def test_there_is_a_pause_between_two_requests_to_an_engine(catalog: Catalog) -> None:
    watch = Watch()
    first = Fake({"a": [page("a", 1, 1), page("a", 2, 1)]}, watch, pause=3.0)
    second = Fake({"a": [hits("x"), hits("y")]}, watch, "beta", pause=1.0)
    ask(catalog, first, second, watch=watch)
    assert first.times == [0, 3, 6]
    assert second.times == [6, 7]


def test_the_next_engine_is_used_while_one_rests(catalog: Catalog) -> None:
    watch = Watch()
    first = Fake({"a": [REFUSED], "b": [REFUSED]}, watch)
    second = Fake({"a": [page("a", 1)], "b": [page("b", 1)]}, watch, "beta")
    outcome = ask(catalog, first, second, watch=watch)
    assert (len(first.log), second.log, watch.slept) == (1, [("a", 1)], [])
    assert (outcome["found"], outcome["warnings"]) == (4, [])


def test_rests_grow_and_the_third_refusal_is_the_last(catalog: Catalog) -> None:
    watch = Watch(chance=0.5)
    fake = Fake({"a": [REFUSED]}, watch, pause=1.0)
    said = refusal(catalog, fake, watch=watch)
    assert fake.times == [0, 2.5, 7.5]
    assert said == (
        "SEARCH_BLOCKED: the search service refuses for now (alpha refuses: HTTP 403); what was"
        " found so far (0) is kept; try again in 10 minutes, or give a file of addresses: --source"
        " urls:FILE, or search elsewhere: --source openverse"
    )
    assert catalog.sources() == []
    assert catalog.search_pages() == []


def test_when_all_rest_the_first_that_is_rested_is_asked(catalog: Catalog) -> None:
    watch = Watch(chance=0.5)
    first = Fake({"a": [[NoAnswer("refused", "", wait=9), page("a", 1)]]}, watch)
    second = Fake({"a": [[REFUSED, page("a", 1)]]}, watch, "beta")
    ask(catalog, first, second, watch=watch)
    assert (first.times, second.times, watch.slept) == ([0], [0, 2.5], [2.5])


def test_the_rest_that_a_service_asks_for_is_given(catalog: Catalog) -> None:
    watch = Watch()
    fake = Fake({"a": [[NoAnswer("refused", "HTTP 429", wait=40), page("a", 1)]]}, watch)
    assert ask(catalog, fake, watch=watch)["found"] == 4
    assert fake.times == [0, 40]


def test_a_service_that_asks_for_more_than_a_minute_is_left_out(catalog: Catalog) -> None:
    watch = Watch()
    fake = Fake({"a": [NoAnswer("refused", "HTTP 429, asked to wait 3600 s", wait=3600)]}, watch)
    said = refusal(catalog, fake, watch=watch)
    assert "SEARCH_BLOCKED" in said and "asked to wait 3600 s" in said
    assert (fake.times, watch.slept) == ([0], [])


def test_a_page_that_cannot_be_read_does_not_stop_the_others(catalog: Catalog) -> None:
    watch = Watch()
    fake = Fake({"a": [REFUSED], "b": [page("b", 1)], "c": [page("c", 1)]}, watch)
    task = wanted({"grizzly": ["a", "b"], "teddy": ["c"]})
    assert ask(catalog, fake, task=task, watch=watch)["found"] == 8
    assert fake.log == [("a", 1), ("b", 1), ("c", 1)]


# no results, or no wish to answer


def test_an_empty_first_page_is_no_proof(catalog: Catalog) -> None:
    """Both may refuse: nothing is remembered, so that the next run asks again."""
    watch = Watch()
    first, second = Fake({}, watch), Fake({}, watch, "beta")
    said = refusal(catalog, first, second, watch=watch)
    assert said.startswith(
        "SEARCH_BLOCKED: the search service refuses for now (alpha refuses: no results; beta"
        " refuses: no results); what was found so far (0) is kept"
    )
    assert (len(first.log), len(second.log)) == (3, 3)
    assert catalog.search_pages() == []


def test_an_empty_first_page_is_believed_when_the_engine_answers_afterwards(
    catalog: Catalog,
) -> None:
    fake = Fake({"b": [page("b", 1)], "c": [page("c", 1)]})
    task = wanted({"grizzly": ["a", "b"], "teddy": ["c"]})
    assert ask(catalog, fake, task=task)["warnings"] == []
    assert memory(catalog) == [
        ("alpha", "b", 1, OK),
        ("alpha", "a", 1, EMPTY),
        ("alpha", "c", 1, OK),
    ]


def test_words_that_find_nothing_put_no_engine_out(catalog: Catalog) -> None:
    fake = Fake({query: [page(query, 1)] for query in "abc"})
    classes = {"grizzly": ["1", "2", "a"], "teddy": ["3", "4", "b"], "black": ["5", "6", "c"]}
    outcome = ask(catalog, fake, task=wanted(classes))
    assert outcome["per_class"] == {"grizzly": 4, "teddy": 4, "black": 4}
    assert (outcome["requests"], outcome["warnings"]) == (9, [])


def test_nothing_for_a_class_is_said_with_its_queries(catalog: Catalog) -> None:
    fake = Fake({"a": [page("a", 1)], "c": [page("c", 1)]})
    classes = {"grizzly": ["a"], "teddy": ["tedy", "tedyy"], "black": ["c"]}
    said = refusal(catalog, fake, task=wanted(classes))
    assert said.startswith("NO_RESULTS: alpha found nothing for 'teddy': 'tedy', 'tedyy'; use")
    assert len(names(catalog)) == 8
    assert {q for _, q, _, code in memory(catalog) if code == EMPTY} == {"tedy", "tedyy"}


def test_who_found_nothing_and_who_was_not_there(catalog: Catalog) -> None:
    first, second = Fake({"a": [GONE_AWAY]}), Fake({}, name="beta", sure=True)
    said = refusal(catalog, first, second)
    assert said.startswith(
        "NO_RESULTS: alpha cannot be reached: its name cannot be resolved; beta found nothing for"
        " 'grizzly': 'a'; use other words in [classes]"
    )


def test_nothing_at_the_end_is_believed_but_not_remembered(catalog: Catalog) -> None:
    """It answered before, so it is not blamed; it may refuse by now, so the next run asks again."""
    watch = Watch()
    fake = Fake({"a": [page("a", 1)]}, watch)
    said = refusal(catalog, fake, task=wanted({"grizzly": ["a"], "teddy": ["b"]}), watch=watch)
    assert said.startswith("NO_RESULTS: alpha found nothing for 'teddy': 'b'")
    assert (fake.log, fake.times) == ([("a", 1), *3 * [("b", 1)]], [0, 0, 5, 15])
    assert memory(catalog) == [("alpha", "a", 1, OK)]


def test_nothing_at_the_end_is_remembered_where_other_words_found_something(
    catalog: Catalog,
) -> None:
    fake, watch = Fake({"a": [page("a", 1)]}), Watch()
    task = wanted({"grizzly": ["a", "b"]}, per_class=9)
    assert len(ask(catalog, fake, task=task, watch=watch)["warnings"]) == 1
    assert memory(catalog)[-1] == ("alpha", "b", 1, EMPTY)
    again = Fake({})
    ask(catalog, again, task=task, watch=watch)
    assert again.log == []


def test_an_engine_that_refuses_in_the_middle_is_asked_again(catalog: Catalog) -> None:
    fake = Fake({"a": [page("a", 1)], "b": [[EMPTY_PAGE, EMPTY_PAGE, page("b", 1)]]})
    task = wanted({"grizzly": ["a"], "teddy": ["b"]})
    assert ask(catalog, fake, task=task)["per_class"] == {"grizzly": 4, "teddy": 4}


def test_an_engine_that_falls_silent_in_the_middle_is_blamed(catalog: Catalog) -> None:
    classes = {"grizzly": ["a"], "teddy": ["b", "c"], "black": ["d", "e"]}
    fake = Fake({"a": [page("a", 1)]})
    assert refusal(catalog, fake, task=wanted(classes)).startswith("SEARCH_BLOCKED")
    assert memory(catalog) == [("alpha", "a", 1, OK)]


def test_one_engine_that_surely_has_nothing_speaks_for_the_other(catalog: Catalog) -> None:
    first = Fake({}, sure=True)
    second = Fake({}, name="beta")
    assert refusal(catalog, first, second).startswith("NO_RESULTS: alpha, beta found nothing for")
    assert memory(catalog) == [("alpha", "a", 1, EMPTY), ("beta", "a", 1, EMPTY)]


def test_a_sure_engine_is_believed_at_once(catalog: Catalog) -> None:
    watch = Watch()
    fake = Fake({}, watch, sure=True)
    assert refusal(catalog, fake, watch=watch).startswith("NO_RESULTS")
    assert (len(fake.log), watch.slept) == (1, [])
    again = Fake({}, sure=True)
    assert refusal(catalog, again).startswith("NO_RESULTS")
    assert again.log == []


# nobody there


def test_without_a_network_it_is_over_at_once_and_leaves_nothing(catalog: Catalog) -> None:
    watch = Watch()
    pages = {"a": [GONE_AWAY], "b": [GONE_AWAY]}
    first, second = Fake(pages, watch), Fake(pages, watch, "beta")
    task = wanted({"grizzly": ["a"], "teddy": ["b"]})
    assert refusal(catalog, first, second, task=task, watch=watch) == (
        "SEARCH_UNREACHABLE: no search service can be reached (alpha, beta: its name cannot be"
        " resolved); check the network, or use photos you have: --source folder:PATH, a list of"
        " addresses: --source urls:FILE, or drawn pictures: --source starter"
    )
    assert (len(first.log), len(second.log), watch.slept) == (1, 1, [])
    assert (catalog.sources(), catalog.search_pages()) == ([], [])


def test_an_engine_that_cannot_be_reached_is_left_out(catalog: Catalog) -> None:
    pages = {"a": [GONE_AWAY], "b": [page("b", 9)]}
    first = Fake(pages)
    second = Fake({q: [page(q, 1)] for q in "ab"}, name="beta")
    task = wanted({"grizzly": ["a"], "teddy": ["b"]})
    outcome = ask(catalog, first, second, task=task)
    assert first.log == [("a", 1)]
    assert outcome["warnings"] == ["alpha cannot be reached: its name cannot be resolved"]


def test_what_was_found_before_the_network_went_is_kept(catalog: Catalog) -> None:
    fake = Fake({"a": [page("a", 1, 2), GONE_AWAY]})
    said = refusal(catalog, fake)
    assert said.startswith("SEARCH_UNREACHABLE") and "what was found before (2) is kept" in said
    assert len(names(catalog)) == 2


@pytest.mark.parametrize(("trouble", "word"), [(GONE_AWAY, "reached"), (REFUSED, "refuses")])
def test_enough_to_learn_from_is_no_error(catalog: Catalog, trouble: NoAnswer, word: str) -> None:
    outcome = ask(catalog, Fake({"a": [page("a", 1), trouble]}), task=wanted(per_class=9, least=4))
    assert outcome["found"] == 4
    assert word in outcome["warnings"][0]
    assert "4 of 9" in outcome["warnings"][1]


def test_photos_from_elsewhere_count_as_enough(catalog: Catalog) -> None:
    with catalog.transaction():
        catalog.put_sources(Source(f"/photos/{n}", "grizzly", "folder", code=OK) for n in range(3))
    assert ask(catalog, Fake({"a": [GONE_AWAY]}))["found"] == 0


@pytest.mark.parametrize("code", [CONFLICT, TAKEN_DOWN, GONE])
def test_addresses_that_were_refused_or_disputed_do_not(catalog: Catalog, code: str) -> None:
    with catalog.transaction():
        catalog.put_sources([Source("https://x.example", "grizzly", "web", "licence=any", code)])
    said = refusal(catalog, Fake({"a": [GONE_AWAY]}), task=wanted(per_class=1, least=1))
    assert said.startswith("SEARCH_UNREACHABLE")


def test_a_photo_of_two_classes_was_an_address_of_one(catalog: Catalog, make: Any) -> None:
    row = Source("https://x.example", "grizzly", "web", "licence=any", CONFLICT)
    with catalog.transaction():
        catalog.put_photos([make(1)])
        catalog.put_sources([replace(row, sha256=make(1).sha256)])
    outcome = ask(catalog, Fake({}), task=wanted(per_class=1))
    assert (outcome["found"], outcome["shared"], outcome["requests"]) == (1, 0, 0)


# anything at all


def trouble(dice: random.Random) -> NoAnswer:
    kinds = [REFUSED, EMPTY_PAGE, GONE_AWAY, NoAnswer("refused", "HTTP 429", 70.0)]
    return dice.choices(kinds, [6, 6, 1, 1])[0]


def anything(dice: random.Random) -> Answer:
    if dice.random() < 0.3:
        return trouble(dice)
    return hits(*(str(dice.randrange(150)) for _ in range(dice.randrange(12))))


@pytest.mark.parametrize("seed", range(15))
def test_whatever_happens_every_address_is_one_row_of_a_page_that_is_noted(
    tmp_path: Path, seed: int
) -> None:
    """Four runs with engines that answer, refuse, repeat themselves and vanish."""
    dice, watch = random.Random(seed), Watch(chance=0.5)
    classes = {label: [f"{label}{n}" for n in range(dice.randrange(1, 4))] for label in "xyz"}
    queries = [query for some in classes.values() for query in some]
    seen, noted, asked = set(), set(), []
    for _ in range(4):
        fakes = [
            Fake({q: [anything(dice) for _ in range(6)] for q in queries}, watch, name, pages=4)
            for name in ("alpha", "beta")[: dice.randrange(1, 3)]
        ]
        with Catalog(tmp_path) as catalog:
            before = catalog.search_pages()
            try:
                ask(catalog, *fakes, task=wanted(classes, per_class=20), watch=watch)
            except DataError as exc:
                assert exc.code in ("SEARCH_UNREACHABLE", "SEARCH_BLOCKED", "NO_RESULTS")
            rows, asked = catalog.sources(), catalog.search_pages()
        done = {(a.engine, a.query, a.page) for a in before if a.code == OK}
        new = {(a.engine, a.query, a.page) for a in asked if a.code == OK} - done
        for fake in fakes:
            name = fake.engine.name
            assert not done & {(name, *request) for request in fake.log}
            for query, number in fake.log:
                answer = [*fake.answers[query], EMPTY_PAGE][number - 1]
                urls = {hit.url for hit in answer} if isinstance(answer, list) else set()
                seen |= urls
                noted |= urls if (name, query, number) in new else set()
    assert noted <= {row.origin for row in rows} <= seen
    assert len({row.origin for row in rows}) == len(rows)

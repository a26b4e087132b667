"""Openverse on a small internet: what is asked, what is kept of the answer, every way to fail."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from internet import Internet

from bear_classifier.collect.http.client import Reply
from bear_classifier.collect.search import search
from bear_classifier.collect.sources.openverse import engines, licence_of
from bear_classifier.collect.sources.pagination import Time
from bear_classifier.collect.sources.search_engine import Engine, Hit, NoAnswer
from bear_classifier.config.project_file import build
from bear_classifier.config.settings import SearchConfig
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.errors import DataError, PhotoError


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Internet]:
    with Internet(tmp_path) as made:
        yield made


def openverse(net: Internet, **settings: Any) -> Engine:
    return engines(SearchConfig(**settings), net.get)[0]


def answering(reply: Reply | PhotoError, **settings: Any) -> Engine:
    """An engine whose every request ends so."""

    def get(url: str) -> Reply:
        if isinstance(reply, PhotoError):
            raise reply
        return reply

    return engines(SearchConfig(**settings), get)[0]


def failure(asked: Engine, page: int = 1) -> NoAnswer:
    with pytest.raises(NoAnswer) as caught:
        asked.ask("brown bear", page)
    return caught.value


def body(*rows: object) -> Reply:
    return Reply(200, {}, json.dumps({"results": rows}).encode())


def row(number: int = 1, licence: str | None = "by", **facts: Any) -> dict[str, Any]:
    usual = {"url": f"https://h.example/{number}", "license": licence, "license_version": "4.0"}
    return usual | facts


# what is asked


@pytest.mark.parametrize(
    ("settings", "sent"),
    [
        ({}, {}),
        ({"licence": "share", "region": "de-de"}, {}),
        ({"licence": "commercial"}, {"license_type": "commercial"}),
        ({"licence": "public"}, {"license": "cc0,pdm"}),
        ({"size": "small"}, {"size": "small"}),
        ({"size": "medium"}, {"size": "medium"}),
        ({"size": "large"}, {"size": "large"}),
        ({"size": "wallpaper"}, {"size": "large"}),
    ],
)
def test_what_is_asked(net: Internet, settings: dict[str, str], sent: dict[str, str]) -> None:
    net.spoil = lambda name, items: [item | {"license": "cc0"} for item in items]
    openverse(net, **settings).ask("bär & co", 3)
    (request,) = net.log
    assert (request.host, request.path) == ("api.openverse.org", "/v1/images/")
    usual = {"q": "bär & co", "page": "3", "page_size": "20", "mature": "false"}
    assert request.query == usual | sent


def test_limits_without_a_key() -> None:
    (made,) = engines(SearchConfig())
    assert (made.name, made.pages, made.sure) == ("openverse", 12, True)
    assert made.pause >= 3  # seconds: 20 requests a minute


# what is kept


def test_a_hit_says_where_it_is_from_whose_it_is_and_what_may_be_done(net: Internet) -> None:
    hits = openverse(net).ask("brown bear", 2)
    assert len(hits) == 20
    assert hits[0] == Hit(
        "https://photos.example/brown-bear/20.jpg",
        "https://page.example/20",
        "https://api.openverse.org/v1/images/20/thumb/",
        "brown bear number 20",
        "Author 20",
        "CC BY-SA 4.0",
        "https://creativecommons.org/licenses/by-sa/4.0/",
    )


@pytest.mark.parametrize(
    ("name", "version", "text"),
    [
        ("by-sa", "4.0", "CC BY-SA 4.0"),
        ("BY-NC-ND", "2.0", "CC BY-NC-ND 2.0"),
        ("cc0", "1.0", "CC0 1.0"),
        ("pdm", "1.0", "Public Domain Mark 1.0"),
        ("by", None, "CC BY"),
        (None, "4.0", ""),
        (5, 6, ""),
    ],
)
def test_licences_in_words(name: object, version: object, text: str) -> None:
    assert licence_of({"license": name, "license_version": version}) == text


def test_the_licence_of_the_picture_counts_not_the_filter() -> None:
    names = ["by", "by-nc", "by-nc-sa", "nc-sampling+", "cc0", "PDM", "by-nd", None]
    rows = [row(n, name) for n, name in enumerate(names)]

    def kept(licence: str) -> list[str]:
        hits = answering(body(*rows), licence=licence).ask("bear", 1)
        return [hit.url.rpartition("/")[2] for hit in hits]

    assert kept("commercial") == ["0", "4", "5", "6"]
    assert kept("public") == ["4", "5"]
    assert kept("share") == kept("any") == list("01234567")


def test_odd_rows_cost_only_themselves() -> None:
    rows = [
        row(0),
        {"title": "no address"},
        row(2, url=None),
        row(3, url="https://h.example/" + 3000 * "x"),
        row(4, url="ftp://h.example/4"),
        None,
        "text",
        [row(5)],
        row(6, title=2_000_000 * "t", creator=None, foreign_landing_url=5, height="tall"),
        row(7, license_url="javascript:alert(1)", thumbnail="/thumb"),
    ]
    hits = answering(body(*rows)).ask("bear", 1)
    assert [hit.url[-1] for hit in hits] == ["0", "6", "7"]
    assert (len(hits[1].title), hits[1].author, hits[1].page) == (300, "", "")
    assert (hits[2].licence_url, hits[2].thumbnail) == ("", "")


def test_rows_of_which_none_can_be_used_are_an_answer() -> None:
    assert answering(body({"title": "no address"})).ask("bear", 1) == []


# every way to fail


def test_no_results_and_no_more_pages(net: Internet) -> None:
    net.totals["brown bear"] = 30
    asked = openverse(net)
    assert [len(asked.ask("brown bear", page)) for page in (1, 2)] == [20, 10]
    assert failure(asked, 3).kind == "empty"
    net.totals["brown bear"] = 0
    assert failure(asked).kind == "empty"


def test_a_larger_page_would_be_refused(net: Internet) -> None:
    assert net.get("https://api.openverse.org/v1/images/?q=x&page_size=21").status == 401


@pytest.mark.parametrize("status", [400, 401, 404])
def test_a_page_too_deep_is_the_end(status: int) -> None:
    asked = answering(Reply(status, {}, b'{"detail": "Invalid page."}'))
    assert failure(asked, 13).kind == "empty"
    assert failure(asked, 1).kind == "refused"


@pytest.mark.parametrize(
    ("headers", "wait", "words"),
    [
        ({"Retry-After": "17"}, 17, "HTTP 429, asked to wait 17 s"),
        ({"retry-after": "3600"}, 3600, "HTTP 429, asked to wait 3600 s"),
        ({"Retry-After": "99999999999999999999"}, 999_999_999, "HTTP 429, asked to wait"),
        ({"Retry-After": "soon"}, 0, "HTTP 429"),
        ({"Retry-After": "-5"}, 0, "HTTP 429"),
        ({"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0, "HTTP 429"),
        ({}, 0, "HTTP 429: Request was throttled."),
    ],
)
def test_asked_to_wait(headers: dict[str, str], wait: float, words: str) -> None:
    found = failure(answering(Reply(429, headers, b'{"detail": "Request was throttled."}')))
    assert (found.kind, found.wait) == ("refused", wait)
    assert found.detail.startswith(words)


def test_asked_to_wait_until_a_time() -> None:
    until = datetime.now(timezone.utc) + timedelta(seconds=30)
    headers = {"Retry-After": format_datetime(until, usegmt=True)}
    assert 27 < failure(answering(Reply(429, headers, b""))).wait <= 30


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, {}, b"<html>Are you a robot?</html>"),
        Reply(200, {}, b""),
        Reply(200, {}, b"\xff\xfe"),
        Reply(200, {}, b"[]"),
        Reply(200, {}, 1_000_000 * b"["),
        Reply(200, {}, b'{"results": null}'),
        Reply(200, {}, b'{"results": {"0": 1}}'),
        Reply(200, {}, b'{"detail": "x"}'),
        Reply(302, {"Location": "https://elsewhere.example"}, b""),
        Reply(403, {}, b"<html>"),
        Reply(500, {}, b'{"detail": ["not", "text"]}'),
        Reply(503, {}, b'"detail"'),
        Reply(503, {}, 1_000_000 * b"["),
    ],
)
def test_an_answer_that_is_none(reply: Reply) -> None:
    assert failure(answering(reply)).kind == "refused"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        *((code, "unreachable") for code in ("NAME_ERROR", "CONNECT_ERROR", "TLS_ERROR",
          "TIMEOUT_CONNECT", "TIMEOUT_READ", "TIMEOUT_TOTAL")),
        *((code, "refused") for code in ("BLOCKED_ADDRESS", "TOO_LARGE", "TRUNCATED")),
    ],
)  # fmt: skip
def test_failures_of_the_network(code: str, kind: str) -> None:
    found = failure(answering(PhotoError(code, "what happened")))
    assert (found.kind, found.detail) == (kind, "what happened")


@pytest.mark.parametrize("mood", ["429", "page", "500"])
def test_refusals_on_the_wire(net: Internet, mood: str) -> None:
    net.moods["openverse"] = mood
    found = failure(openverse(net))
    assert (found.kind, found.wait) == ("refused", 17 if mood == "429" else 0)


# all together


def run(net: Internet, folder: Path, **settings: Any) -> dict[str, Any]:
    slept: list[float] = []
    config = build(
        {
            "classes": {"grizzly": ["brown bear"], "teddy": ["teddy bear"]},
            "search": {"source": "openverse", **settings},
        },
        where="test",
    )
    now = datetime.now(timezone.utc)
    time = Time(lambda: now, lambda: sum(slept), slept.append, lambda: 1.0)
    with Catalog(folder) as catalog:
        outcome = search(catalog, config, [openverse(net, **settings)], time)
        rows = catalog.sources()
    return {**outcome, "slept": slept, "rows": rows}


def test_a_search_goes_on_after_it_was_asked_to_wait(net: Internet, tmp_path: Path) -> None:
    net.moods["openverse"] = ["answers", "429", "answers"]
    net.spoil = lambda name, items: [item | {"license": "cc0"} for item in items]
    found = run(net, tmp_path / "data", per_class=50, licence="public")
    assert found["per_class"] == {"grizzly": 50, "teddy": 50}
    # four pages of 20 each, for 50 photos and 13 addresses to spare, and the one that was refused
    assert (found["requests"], 17 in found["slept"]) == (9, True)
    assert {s.stamp for s in found["rows"]} == {"licence=public size=any"}
    assert {(s.kind, s.engine, s.licence) for s in found["rows"]} == {
        ("openverse", "openverse", "CC0 4.0")
    }
    assert run(net, tmp_path / "data", per_class=50, licence="public")["requests"] == 0


def test_a_class_without_a_picture_is_named(net: Internet, tmp_path: Path) -> None:
    net.totals["teddy bear"] = 0
    with pytest.raises(DataError, match=r"^NO_RESULTS: openverse found nothing for 'teddy': 'ted"):
        run(net, tmp_path / "data", per_class=20)
    before = len(net.log)
    with pytest.raises(DataError, match="^NO_RESULTS"):
        run(net, tmp_path / "data", per_class=20)
    assert len(net.log) == before


def test_no_more_than_240_are_asked_for(net: Internet, tmp_path: Path) -> None:
    found = run(net, tmp_path / "data", per_class=500)
    assert found["per_class"] == {"grizzly": 240, "teddy": 240}
    assert max(int(request.query["page"]) for request in net.log) == 12
    assert len(found["warnings"]) == 2

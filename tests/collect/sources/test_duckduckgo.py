"""DuckDuckGo and Bing through the real ddgs, on a small internet: what they say when they refuse,
when they are not there, and when what they send is none of what was asked for."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import astuple
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from corpus import ROOT
from ddgs import DDGS
from ddgs.exceptions import DDGSException, RatelimitException, TimeoutException
from internet import Internet
from waiting import STUCK

from bear_classifier.collect.search import search
from bear_classifier.collect.sources.duckduckgo import engines
from bear_classifier.collect.sources.pagination import EMPTY, Time
from bear_classifier.collect.sources.search_engine import (
    Engine,
    Hit,
    NoAnswer,
    hit_of,
    http_url,
    plain_text,
)
from bear_classifier.config.project_file import build
from bear_classifier.config.settings import Config, SearchConfig
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import OK
from bear_classifier.errors import DataError

NAMES = {"url": "image", "page": "url", "thumbnail": "thumbnail", "title": "title"}


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Internet]:
    with Internet(tmp_path) as made:
        yield made


def both(net: Internet, timeout: float = 5, **settings: Any) -> dict[str, Engine]:
    client = DDGS(net.proxy, timeout, verify=net.ca)  # type: ignore[arg-type]  # parts of seconds
    return {engine.name: engine for engine in engines(SearchConfig(**settings), client)}


def failure(engine: Engine, page: int = 1) -> NoAnswer:
    with pytest.raises(NoAnswer) as caught:
        engine.ask("brown bear", page)
    return caught.value


# answers


@pytest.mark.parametrize(("name", "size"), [("duckduckgo", 100), ("bing", 35)])
def test_one_page_per_call_with_all_that_is_known(net: Internet, name: str, size: int) -> None:
    ask = both(net)[name].ask
    first, second = ask("brown bear", 1), ask("brown bear", 2)
    assert (len(first), len(second)) == (size, size)
    assert second[0] == Hit(
        f"https://photos.example/brown-bear/{size}.jpg",
        f"https://page.example/{size}",
        f"https://tse.example/th?id={size}",
        f"brown bear number {size}",
    )
    assert len(net.asked(name)) == 2


def test_the_words_go_to_the_engine_with_region_and_safe_search(net: Internet) -> None:
    pair = both(net, region="de-de")
    pair["duckduckgo"].ask("bär & co", 1)
    pair["bing"].ask("bär & co", 3)
    (sent,) = net.asked("duckduckgo")
    assert (sent.query["q"], sent.query["l"], sent.query["p"]) == ("bär & co", "de-de", "1")
    assert "f" not in sent.query and "s" not in sent.query
    (sent,) = net.asked("bing")
    assert (sent.query["q"], sent.query["first"]) == ("bär & co", "71")


@pytest.mark.parametrize(
    ("settings", "sent", "licence"),
    [
        ({"licence": "share"}, ",,,,,license:Share", "share (search filter)"),
        (
            {"licence": "commercial"},
            ",,,,,license:ShareCommercially",
            "commercial (search filter)",
        ),
        ({"licence": "public"}, ",,,,,license:Public", "public (search filter)"),
        ({"size": "small"}, ",size:Small,,,,", ""),
        ({"size": "wallpaper"}, ",size:Wallpaper,,,,", ""),
    ],
)
def test_filters_are_asked_of_the_engine_that_knows_them(
    net: Internet, settings: dict[str, str], sent: str, licence: str
) -> None:
    (engine,) = both(net, **settings).values()
    hits = engine.ask("bear", 1)
    assert engine.name == "duckduckgo"
    assert net.asked("duckduckgo")[0].query["f"] == sent
    assert {hit.licence for hit in hits} == {licence}


def test_duckduckgo_is_preferred_and_both_are_asked_with_pauses(net: Internet) -> None:
    pair = both(net)
    assert list(pair) == ["duckduckgo", "bing"]
    assert {engine.pause for engine in pair.values()} == {3.0}


# no answer


@pytest.mark.parametrize(
    ("name", "mood", "kind"),
    [
        *((name, mood, "empty") for name in ("duckduckgo", "bing")
          for mood in ("empty", "202", "403", "429", "500")),
        ("duckduckgo", "page", "refused"),
        ("bing", "page", "empty"),
        ("duckduckgo", "drops", "unreachable"),
        ("bing", "drops", "unreachable"),
        ("vqd", "403", "refused"),
        ("vqd", "page", "refused"),
        ("vqd", "drops", "unreachable"),
    ],
)  # fmt: skip
def test_what_an_engine_may_say_instead(net: Internet, name: str, mood: str, kind: str) -> None:
    net.moods[name] = mood
    engine = both(net)["bing" if name == "bing" else "duckduckgo"]
    assert failure(engine).kind == kind
    net.moods[name] = "answers"
    assert engine.ask("brown bear", 1) != []


@pytest.mark.parametrize("name", ["duckduckgo", "bing", "vqd"])
def test_silence_ends_in_time(net: Internet, name: str) -> None:
    net.moods[name] = "silent"
    engine = both(net, timeout=0.3)["bing" if name == "bing" else "duckduckgo"]
    began = time.monotonic()
    found = failure(engine)
    assert (found.kind, found.detail) == ("unreachable", "no answer in time")
    assert time.monotonic() - began < STUCK


def test_nobody_listens(net: Internet) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    client = DDGS(proxy=f"http://127.0.0.1:{port}")
    for engine in engines(SearchConfig(), client):
        assert (failure(engine).kind, failure(engine).detail) == ("unreachable", "no connection")


def test_a_proxy_that_cannot_be_one(net: Internet) -> None:
    found = failure(engines(SearchConfig(), DDGS(proxy="bad://x"))[0])
    assert (found.kind, "unsupported proxy scheme" in found.detail) == ("unreachable", True)


class Stub:
    """A ddgs.DDGS whose search ends in one way."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def images(self, **_: object) -> list[dict[str, Any]]:
        raise self.error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (DDGSException("No results found."), "empty"),
        (DDGSException("DNSError: DNSError('error resolving DNS')"), "unreachable"),
        (DDGSException("ConnectError: ConnectError('Connection refused')"), "unreachable"),
        (DDGSException("RequestError: RequestError('closed')"), "unreachable"),
        (DDGSException("DNSTimeoutError: DNSTimeoutError('')"), "unreachable"),
        (TimeoutException("operation timed out"), "unreachable"),
        (DDGSException("BodyError: BodyError('')"), "refused"),
        (DDGSException("Expecting value: line 1 column 1 (char 0)"), "refused"),
        (DDGSException("_extract_vqd() query='x' Could not extract vqd."), "refused"),
        (DDGSException("_extract_vqd() query='No results found.'"), "refused"),
        (RatelimitException("202 Ratelimit"), "refused"),
        (TypeError("argument of type 'NoneType' is not iterable"), "refused"),
        (KeyError("results"), "refused"),
        (ValueError("x"), "refused"),
        (AttributeError("x"), "refused"),
    ],
)
def test_every_error_of_ddgs_is_no_answer(error: Exception, kind: str) -> None:
    engine = engines(SearchConfig(), Stub(error))[0]  # type: ignore[arg-type]
    found = failure(engine)
    assert found.kind == kind
    assert 0 < len(found.detail) < 200


def test_other_errors_are_not_swallowed() -> None:
    engine = engines(SearchConfig(), Stub(RuntimeError("a mistake")))[0]  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="a mistake"):
        engine.ask("bear", 1)


# answers that cannot be trusted


def test_odd_items_cost_only_themselves(net: Internet) -> None:
    keys = {"duckduckgo": ("image", "title", "url"), "bing": ("murl", "t", "purl")}

    def spoil(name: str, items: list[Any]) -> list[Any]:
        image, title, page = keys[name]
        del items[0][image]
        items[1][image] = None
        items[2][image] = "https://photos.example/" + 2_000_000 * "a"
        items[3][image] = "javascript:alert(1)"
        items[4][image] = items[5][image]
        items[6][title] = 2_000_000 * "b"
        items[7][title] = "a\ud800b\x00c\u202ed"
        items[8][page] = "file:///etc/passwd"
        items[9]["height"] = "huge"
        return items

    net.spoil = spoil
    for name, engine in both(net).items():
        hits = engine.ask("bear", 1)
        size = {"duckduckgo": 100, "bing": 35}[name]
        urls = sorted(hit.url for hit in hits)
        assert urls == sorted(f"https://photos.example/bear/{n}.jpg" for n in range(5, size))
        assert max(len(hit.title) for hit in hits) == 300
        text = "".join("".join(astuple(hit)) for hit in hits)
        assert not {"\ud800", "\x00", "\u202e"} & set(text) and "passwd" not in text


@pytest.mark.parametrize("title", [None, 5, ["x"]])
def test_a_title_that_is_none_spoils_a_page_but_not_the_program(net: Internet, title: Any) -> None:
    net.spoil = lambda name, items: [{**items[0], "title": title, "t": title}, *items[1:]]
    for engine in both(net).values():
        assert failure(engine).kind == "refused"


@pytest.mark.parametrize(
    ("found", "hit"),
    [
        ({"image": "https://a/x"}, Hit("https://a/x")),
        ({"image": "http://a/x", "url": 5, "thumbnail": None, "title": b"x"}, Hit("http://a/x")),
        ({"image": "https://a/x", "title": " a\n\tb  c\x7f "}, Hit("https://a/x", title="a b c")),
        ({"image": "https://a/x", "title": 400 * "t"}, Hit("https://a/x", title=300 * "t")),
        ({"image": "https://a/x", "thumbnail": "ftp://a/y"}, Hit("https://a/x")),
        ({"image": "https://a/x", "title": "\ud800\u202e\u2066"}, Hit("https://a/x")),
        ({"title": "no address"}, None),
        ({"image": ""}, None),
        ({"image": 5}, None),
        ({"image": ["https://a/x"]}, None),
        ({"image": "data:image/png;base64,AAAA"}, None),
        ("https://a/x", None),
        (None, None),
        ([{"image": "https://a/x"}], None),
    ],
)
def test_what_an_engine_sent_is_taken_with_care(found: object, hit: Hit | None) -> None:
    assert hit_of(found, NAMES) == hit


@pytest.mark.parametrize(
    ("value", "taken"),
    [
        ("https://a.example/x?y=1%20z#f", "https://a.example/x?y=1%20z#f"),
        ("HTTP://A.example/", "HTTP://A.example/"),
        ("  https://a/x\n", "https://a/x"),
        ("https://a/\x00x\ud800", "https://a/x"),
        ("https://a/" + 2_038 * "x", "https://a/" + 2_038 * "x"),
        ("https://a/" + 2_039 * "x", ""),
        ("https:///x", ""),
        ("https://[a/x", ""),
        ("//a/x", ""),
        ("a/x", ""),
        ("file:///etc/passwd", ""),
        ("", ""),
        (None, ""),
        (b"https://a/x", ""),
    ],
)
def test_addresses(value: object, taken: str) -> None:
    assert http_url(value) == taken


def test_text_of_megabytes_is_cut_before_it_is_read() -> None:
    began = time.thread_time()
    assert plain_text(50_000_000 * " ") == ""
    assert time.thread_time() - began < 0.5  # 0.01 alone on the machine


# all together


class Waits:
    """Sleeping takes no time, and a rest is always the longest."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds

    @property
    def time(self) -> Time:
        now = datetime.now(timezone.utc)
        return Time(lambda: now, lambda: self.seconds, self.sleep, lambda: 1.0)


def project(**settings: Any) -> Config:
    tables = {
        "classes": {"grizzly": ["brown bear"], "teddy": ["teddy bear"]},
        "search": {"source": "web", **settings},
    }
    return build(tables, where="test")


def run(net: Internet, folder: Path, **settings: Any) -> tuple[dict[str, Any], list[Any]]:
    config = project(**settings)
    with Catalog(folder) as catalog:
        found = search(catalog, config, list(both(net, **settings).values()), Waits().time)
        return found, catalog.sources()


def test_a_search_that_goes_well(net: Internet, tmp_path: Path) -> None:
    outcome, sources = run(net, tmp_path / "data", per_class=150)
    assert (outcome["per_class"], outcome["requests"]) == ({"grizzly": 150, "teddy": 150}, 4)
    assert {(s.kind, s.stamp) for s in sources} == {("web", "licence=any size=any region=us-en")}
    assert net.asked("bing") == []
    outcome, _ = run(net, tmp_path / "data", per_class=150)
    assert (outcome["requests"], len(net.asked("duckduckgo"))) == (0, 4)


@pytest.mark.parametrize("mood", ["202", "403", "429", "page", "drops", "empty"])
def test_the_other_engine_helps_out(net: Internet, tmp_path: Path, mood: str) -> None:
    net.moods["duckduckgo"] = mood
    outcome, sources = run(net, tmp_path / "data", per_class=60)
    assert (outcome["per_class"], {s.engine for s in sources}) == (
        {"grizzly": 60, "teddy": 60},
        {"bing"},
    )
    assert 1 <= len(net.asked("duckduckgo")) <= 3


@pytest.mark.parametrize("mood", ["202", "403", "429"])
def test_all_refuse(net: Internet, tmp_path: Path, mood: str) -> None:
    net.moods["duckduckgo"] = net.moods["bing"] = mood
    with pytest.raises(DataError, match=r"^SEARCH_BLOCKED: .* try again in 10 minutes, or give a"):
        run(net, tmp_path / "data")
    assert (len(net.asked("duckduckgo")), len(net.asked("bing"))) == (3, 3)


def test_one_engine_has_to_do_with_a_licence_filter(net: Internet, tmp_path: Path) -> None:
    net.moods["duckduckgo"] = ["answers", "429", "429", "answers"]
    outcome, sources = run(net, tmp_path / "data", per_class=50, licence="public")
    assert outcome["per_class"] == {"grizzly": 50, "teddy": 50}
    assert {s.licence for s in sources} == {"public (search filter)"}
    assert net.asked("bing") == []


def test_without_a_network_nothing_is_left_and_nobody_waits(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    nobody = engines(SearchConfig(), DDGS(proxy=f"http://127.0.0.1:{port}"))
    began = time.monotonic()
    with Catalog(tmp_path) as catalog:
        with pytest.raises(DataError, match=r"^SEARCH_UNREACHABLE: .*duckduckgo, bing: no conn"):
            search(catalog, project(), nobody)
        assert (catalog.sources(), catalog.search_pages()) == ([], [])
    assert time.monotonic() - began < STUCK


def test_every_page_is_noted_as_it_was(net: Internet, tmp_path: Path) -> None:
    net.totals["teddy bear"] = 120
    run(net, tmp_path / "data", per_class=160)  # and 40 addresses to spare
    with Catalog(tmp_path / "data") as catalog:
        asked = [astuple(row)[:4] + (row.code, row.found) for row in catalog.search_pages()]
        ranks = [s.rank for s in catalog.sources() if s.query == "teddy bear"]
    options = "licence=any size=any region=us-en"
    assert asked == [
        ("duckduckgo", "brown bear", 1, options, OK, 100),
        ("duckduckgo", "brown bear", 2, options, OK, 100),
        ("duckduckgo", "teddy bear", 1, options, OK, 100),
        ("duckduckgo", "teddy bear", 2, options, OK, 20),
        ("duckduckgo", "teddy bear", 3, options, EMPTY, 0),
        *(("bing", "teddy bear", page, options, OK, 35) for page in (1, 2)),
    ]
    assert ranks == list(range(1, 121))


def test_ddgs_is_imported_only_to_search() -> None:
    code = (
        "import sys, bear_classifier.collect.search, bear_classifier.collect.sources.duckduckgo;"
        "print(sorted({'ddgs', 'primp', 'lxml', 'aiohttp'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, encoding="utf-8"
    )
    assert done.stdout.strip() == "[]"

"""D13, D14 and the network that is not there: many addresses at once, one row for each."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import itertools
import random
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import answers as a
import corpus
import pytest
from hosts import LOOPBACK, Behaviour, Hosts
from waiting import STUCK

from bear_classifier.collect.download import download
from bear_classifier.collect.http.fetch_many import Net, Outcome, fetch_all, in_turns
from bear_classifier.collect.http.fetch_one import Use
from bear_classifier.collect.http.rate_limit import Clock, PolitenessLimits
from bear_classifier.collect.http.ssrf_guard import Limits, World
from bear_classifier.collect.rights.take_down import take_down
from bear_classifier.config.project_file import build
from bear_classifier.config.settings import DownloadConfig
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import DUPLICATE, OK, PENDING, PLACEHOLDER, Photo, Source
from bear_classifier.dataset.sources import site_of
from bear_classifier.errors import DataError
from bear_classifier.images import decoder

Resolve = Callable[[str, int], Awaitable[list[tuple[str, int]]]]
LIMITS = Limits(bytes=300_000, connect=20, read=4, total=6)
PATIENT = Limits(connect=600, read=600, total=600)
QUICK = PolitenessLimits(apart=0.001)
IMPATIENT = Clock(chance=lambda: 0.0)
HURRIED = Clock(  # a thousand times as fast
    lambda: time.monotonic() * 1000, lambda seconds: asyncio.sleep(seconds / 1000), lambda: 0.0
)


def through(hosts: Hosts, clock: Clock = IMPATIENT, resolve: Resolve | None = None) -> Net:
    world = World(resolve or hosts.resolve, hosts.allowed, hosts.tls)
    return Net(world, LIMITS, QUICK, clock)


def candidates(urls: Iterable[str], label: str = "grizzly") -> list[Source]:
    return [Source(url, label, "urls", query="bear", rank=n) for n, url in enumerate(urls, 1)]


@dataclass(frozen=True)
class State:
    """rows by address; files by name; outcome: what the last download said of itself."""

    rows: dict[str, Source]
    photos: list[Photo]
    files: dict[str, bytes]
    outcome: dict[str, Any] = field(default_factory=dict)


def look(catalog: Catalog, outcome: dict[str, Any]) -> State:
    found = catalog.sources()
    rows = {row.origin: row for row in found}
    assert len(rows) == len(found)
    files = [path for path in (catalog.root / "photos").rglob("*") if path.is_file()]
    return State(rows, catalog.photos(), {p.name: p.read_bytes() for p in files}, outcome)


def fetched(root: Path, sources: Iterable[Source], net: Net, gone: str = "",
            **settings: object) -> State:  # fmt: skip
    """What a download leaves. gone: a site of which nothing may be used."""
    classes = {"grizzly": ["x"], "teddy": ["y"]}
    config = build({"classes": classes, "download": settings}, where="test")
    with Catalog(root) as catalog:
        if gone:
            take_down(catalog, "domain", gone, "me", "")
        with catalog.transaction():
            catalog.put_sources(sources)
        return look(catalog, download(catalog, config, net=net))


def now(root: Path) -> State:
    """What is there, after a download that failed."""
    with Catalog(root) as catalog:
        return look(catalog, {})


@pytest.fixture(scope="module")
def hosts() -> Iterator[Hosts]:
    with Hosts(tls=True) as running:
        yield running


# Offline.


async def nowhere(host: str, port: int) -> list[tuple[str, int]]:
    raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


def closed_port() -> Resolve:
    with closing(socket.create_server((LOOPBACK, 0))) as server:
        port = server.getsockname()[1]

    async def resolve(host: str, asked: int) -> list[tuple[str, int]]:
        return [(LOOPBACK, port)]

    return resolve


@pytest.mark.parametrize(
    ("resolve", "words"),
    [
        (nowhere, r"\d+\.example cannot be found \(\[Errno -?\d+\] Temporary failure in .+\)"),
        (closed_port(), r"no connection to \d+\.example \(.+\)"),
    ],
)
@pytest.mark.parametrize("count", [10, 25])
def test_without_a_network_nothing_is_given_up(
    hosts: Hosts, tmp_path: Path, resolve: Resolve, words: str, count: int
) -> None:
    sources = candidates(f"http://{n}.example/x.jpg" for n in range(count))
    sentence = (
        rf"^OFFLINE: none of {count} addresses could be reached \({words}\); check the network and"
        " run again: nothing was given up$"
    )
    with pytest.raises(DataError, match=sentence):
        fetched(tmp_path, sources, through(hosts, resolve=resolve))
    assert now(tmp_path) == State({source.origin: source for source in sources}, [], {})


def test_nine_dead_addresses_are_nine_dead_addresses(hosts: Hosts, tmp_path: Path) -> None:
    sources = candidates(f"http://{n}.example/x.jpg" for n in range(9))
    state = fetched(tmp_path, sources, through(hosts, resolve=nowhere))
    assert Counter(row.code for row in state.rows.values()) == {"NAME_ERROR": 9}
    assert state.outcome["failed"] == {"NAME_ERROR": 9}
    assert state.outcome["passing"] == 9


def test_one_answer_shows_that_there_is_a_network(hosts: Hosts, tmp_path: Path) -> None:
    """Whatever the answer is."""
    dead = [f"http://dead{n}.example/x.jpg" for n in range(20)]
    for name, behaviour in {
        "ok": a.photo(1), "404": a.status(404), "cut": a.cut(a.picture(2), 0.5)
    }.items():  # fmt: skip
        url = hosts.add(f"answers-{name}.example", "/x.jpg", behaviour)
        rows = fetched(tmp_path / name, candidates([*dead, url]), through(hosts)).rows
        assert {rows[each].code for each in dead} == {"NAME_ERROR"}
        assert rows[url].code not in ("NAME_ERROR", PENDING)


def test_what_needs_no_network_shows_nothing_of_it(hosts: Hosts, tmp_path: Path) -> None:
    """Refused addresses end as rows while the others stay; alone they are no sign of a fault."""
    refused = {
        "ftp://a.example/x.jpg": "BLOCKED_SCHEME",
        "http://a.example:22/x.jpg": "BLOCKED_PORT",
        "http://10.0.0.1/x.jpg": "BLOCKED_ADDRESS",
        "http:///x.jpg": "BAD_ADDRESS",
        "http://gone.example/x.jpg": "TAKEN_DOWN",
    }
    dead = [f"http://{n}.example/x.jpg" for n in range(12)]
    net = through(hosts, resolve=nowhere)
    with pytest.raises(DataError, match="^OFFLINE: none of 12 addresses"):
        fetched(tmp_path / "both", candidates([*dead, *refused]), net, gone="gone.example")
    codes = {url: row.code for url, row in now(tmp_path / "both").rows.items()}
    assert codes == {**dict.fromkeys(dead, PENDING), **refused}
    many = [f"ftp://{n}.example/x.jpg" for n in range(12)]
    rows = fetched(tmp_path / "many", candidates(many), net).rows
    assert {row.code for row in rows.values()} == {"BLOCKED_SCHEME"}


def test_offline_is_said_early(hosts: Hosts, tmp_path: Path) -> None:
    """After 15 s (here 15 ms), although the rest would take another hour."""

    async def resolve(host: str, port: int) -> list[tuple[str, int]]:
        if host.startswith("late"):
            await asyncio.sleep(3600)
        return await nowhere(host, port)

    urls = [f"http://{n}.example/x.jpg" for n in range(40)]
    urls[30:30] = [f"http://late{n}.example/x.jpg" for n in range(4)]
    net = dataclasses.replace(through(hosts, HURRIED, resolve), limits=PATIENT)
    begin = time.monotonic()
    with pytest.raises(DataError, match="^OFFLINE"):
        fetched(tmp_path, candidates(urls), net, connections=1)
    assert time.monotonic() - begin < STUCK
    assert {row.code for row in now(tmp_path).rows.values()} == {PENDING}


def test_when_the_network_is_back_the_rest_is_fetched(hosts: Hosts, tmp_path: Path) -> None:
    urls = [hosts.add(f"back{n}.example", "/x.jpg", a.photo(n)) for n in range(12)]
    with pytest.raises(DataError, match="^OFFLINE"):
        fetched(tmp_path, candidates(urls), through(hosts, resolve=nowhere))
    assert len(hosts.visits("back0.example")) == 0
    state = fetched(tmp_path, [], through(hosts))
    assert {row.code for row in state.rows.values()} == {OK}
    assert len(state.photos) == state.outcome["photos"] == 12


# The order.


def test_in_turns() -> None:
    def order(*urls: str) -> list[str]:
        sources = candidates(urls)
        found = in_turns(sources)
        assert {id(source) for source in found} == {id(source) for source in sources}
        return [source.origin for source in found]

    big = [f"http://{n % 2}.big.example/{n}" for n in range(4)]
    small = ["http://small.example/0", "https://www.small.example:8443/1"]
    assert order(*big, *small) == [big[0], small[0], big[1], small[1], big[2], big[3]]
    assert order() == []
    mine = ["http://me.github.io/1", "http://you.github.io/1", "http://me.github.io/2"]
    assert order(mine[0], mine[2], mine[1]) == [mine[0], mine[1], mine[2]]
    odd = ["", "http://", "http://[::1", "data:,", "x" * 5_000, "http://\ud800/", "//", "\0"]
    assert sorted(order(*odd, *odd[:0])) == sorted(odd)


def test_in_turns_of_many() -> None:
    """No site comes for the n-th time before every site that has so many came n - 1 times."""
    dice = random.Random(1)
    urls = [f"http://{dice.randrange(40)}.example/{n}" for n in range(2_000)]
    found = [site_of(s.origin.split("/")[2]) for s in in_turns(candidates(urls))]
    assert Counter(found) == Counter(site_of(url.split("/")[2]) for url in urls)
    seen: Counter[str] = Counter()
    rounds = []
    for site in found:
        seen[site] += 1
        rounds.append(seen[site])
    assert rounds == sorted(rounds)


# D13.


def test_equal_pictures_are_one_file(hosts: Hosts, tmp_path: Path) -> None:
    """40 addresses at 40 hosts, and a 41st with another picture."""
    urls = [hosts.add(f"same{n}.example", f"/{n}.jpg?a={n}", a.photo(3)) for n in range(40)]
    other = hosts.add("different.example", "/x.jpg", a.photo(4))
    state = fetched(tmp_path, candidates([*urls, other]), through(hosts))
    rows, outcome = state.rows, state.outcome
    codes = Counter(rows[url].code for url in urls)
    assert codes == {OK: 1, DUPLICATE: 39}
    (first,) = (url for url in urls if rows[url].code == OK)
    words = {rows[url].sentence for url in urls if url != first}
    assert words == {f"same file as {first}"}
    digest = hashlib.sha256(a.picture(3)).hexdigest()
    assert {rows[url].sha256 for url in urls} == {digest}
    assert state.files == {
        f"{digest}.jpeg": a.picture(3),
        f"{hashlib.sha256(a.picture(4)).hexdigest()}.jpeg": a.picture(4),
    }
    assert (outcome["photos"], outcome["exact_duplicates"], outcome["failed"]) == (2, 39, {})
    assert (rows[other].code, rows[other].sentence) == (OK, "")


# D14.

HELP = "http://help.example"  # where redirects lead
WORDS: dict[str, tuple[Behaviour, str]] = {  # a behaviour and the code that it ends with
    "photo": (a.photo(10), OK),
    "same": (a.photo(11), OK),
    "png": (a.photo(12, "PNG", "text/plain"), OK),
    "chunked": (a.chunked(a.picture(13)), OK),
    "gzip": (a.encoded(a.picture(14), "gzip"), OK),
    "moved": (a.redirect(f"{HELP}/good.jpg"), OK),
    "404": (a.status(404), "HTTP_404"),
    "500": (a.status(500), "HTTP_500"),
    "later": (a.later(429, 3600), "HTTP_429"),
    "noai": (a.photo(15, headers=[("X-Robots-Tag", "noai")]), "OPTED_OUT"),
    "closed": (a.redirect(f"{HELP}/closed.jpg"), "OPTED_OUT"),
    "inside": (a.redirect("http://127.0.0.2/"), "BLOCKED_ADDRESS"),
    "file": (a.redirect("file:///etc/passwd"), "BLOCKED_SCHEME"),
    "loop": (a.redirect("/x.jpg"), "TOO_MANY_REDIRECTS"),
    "html": (a.foreign("html"), "NOT_AN_IMAGE"),
    "svg": (a.foreign("svg"), "UNSUPPORTED_FORMAT"),
    "empty": (a.empty(), "EMPTY_FILE"),
    "cut": (a.cut(a.picture(16), 0.5), "TRUNCATED"),
    "reset": (a.reset(), "CONNECT_ERROR"),
    "garbage": (a.garbage(), "BAD_ANSWER"),
    "br": (a.encoded(a.picture(17), "br"), "BAD_ENCODING"),
    "bomb": (a.gzip_bomb(1_000_000), "TOO_LARGE"),
    "endless": (a.endless(), "TOO_LARGE"),
    "tiny": (a.answer(a.picture(18, "PNG", 8, 8)), "TOO_SMALL"),
    "silent": (a.silent(), "TIMEOUT_READ"),
    "drip": (a.drip_body(0.05), "TIMEOUT_TOTAL"),
}
SLOW = ("silent", "drip")
LABELS = ("grizzly", "teddy")
MIXTURES, EACH = 60, 8


def addresses_of(seed: int) -> list[tuple[str, str, str]]:
    """Address, word and expected code; a few slow ones, dead names and odd addresses."""
    dice = random.Random(seed)
    quick = [word for word in WORDS if word not in SLOW]
    found = []
    for n in range(EACH):
        word = dice.choice(SLOW if seed % 10 == 3 and n == 0 else quick)
        host = f"{word}{dice.randrange(9)}.example"
        url = f"http://{host}/x.jpg?{seed}.{n}"
        code = WORDS[word][1]
        if dice.random() < 0.1:
            word, url, code = "dead", f"http://dead{n}.example/x.jpg", "NAME_ERROR"
        elif dice.random() < 0.05:
            word, url, code = "odd", f"ftp://{n}.example/", "BLOCKED_SCHEME"
        found.append((url, word, code))
    return found


@pytest.fixture(scope="module")
def mixtures(
    hosts: Hosts, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> dict[int, State]:
    """Those that are asked for, each downloaded for itself, ten at a time."""
    calls = [getattr(item, "callspec", None) for item in request.session.items]
    seeds = sorted({c.params["mixture"] for c in calls if c and "mixture" in c.params})
    seeds = seeds or list(range(MIXTURES))
    hosts.add("help.example", "/good.jpg", a.photo(19))
    hosts.add("help.example", "/closed.jpg", a.photo(20))
    hosts.add("help.example", "/small.jpg", a.photo(21))
    closed = b"User-agent: *\nDisallow: /closed"
    hosts.add("help.example", "/robots.txt", a.answer(closed, type="text/plain"))
    for (word, (behaviour, _)), n in itertools.product(WORDS.items(), range(9)):
        hosts.add(f"{word}{n}.example", "*", behaviour)
    root = tmp_path_factory.mktemp("mixtures")

    def run(seed: int) -> State:
        sources = [
            Source(url, LABELS[seed % 2], "web", "stamp", query=f"q{n}", engine="e", rank=n,
                   page="http://p.example/", title="t", author="b", licence="l",
                   thumbnail=f"{HELP}/small.jpg" if seed % 5 == 0 else "")
            for n, (url, _, _) in enumerate(addresses_of(seed), 1)
        ]  # fmt: skip
        return fetched(root / str(seed), sources, through(hosts))

    with ThreadPoolExecutor(10) as pool:
        return dict(zip(seeds, pool.map(run, seeds), strict=True))


@pytest.mark.series
@pytest.mark.parametrize("mixture", range(MIXTURES))
def test_one_final_row_for_each_address(mixtures: dict[int, State], mixture: int) -> None:
    seed, state, found = mixture, mixtures[mixture], addresses_of(mixture)
    rows, outcome = state.rows, state.outcome
    assert set(rows) == {url for url, _, _ in found}
    codes = Counter(row.code for row in rows.values())
    assert sum(codes.values()) == len(rows) == EACH
    assert PENDING not in codes
    for rank, (url, word, code) in enumerate(found, 1):
        row = rows[url]
        small = bool(row.thumbnail) and row.via == "thumbnail"
        assert row.code == code or small or (row.code, code) == (DUPLICATE, OK), (word, row)
        assert (row.query, row.rank, row.label) == (f"q{rank}", rank, LABELS[seed % 2])
        assert (row.engine, row.page, row.title, row.author) == ("e", "http://p.example/", "t", "b")
        assert (row.stamp, row.licence, row.kind) == ("stamp", "l", "web")
        assert bool(row.sentence) == (row.code != OK or small)
        assert (row.opt_out != "") == (row.code == "OPTED_OUT")
        check_provenance(row, small)
    check_files(state)
    assert outcome["fetched"] == EACH
    assert outcome["exact_duplicates"] == codes[DUPLICATE]
    assert Counter(outcome["failed"]) == codes - Counter({OK: EACH, DUPLICATE: EACH})


def check_provenance(row: Source, small: bool) -> None:
    """As far as the request came."""
    if row.http:
        assert row.address == LOOPBACK
        assert row.final_url.startswith(("http://", "https://"))
        assert row.at.startswith("20")
    else:
        assert (row.address, row.final_url, row.at, row.type, row.bytes) == ("",) * 4 + (0,)
    if row.code in (OK, DUPLICATE, PLACEHOLDER):
        assert (row.http, len(row.sha256 or "")) == (200, 64)
        assert row.bytes > 0
        assert row.final_url in (row.origin, f"{HELP}/good.jpg", f"{HELP}/small.jpg")
        assert (row.final_url == f"{HELP}/small.jpg") == small
    else:
        assert row.sha256 is None
    assert row.code.removeprefix("HTTP_") in (row.code, str(row.http), "429")


def check_files(state: State) -> None:
    """Exactly those that rows speak of, whole, each with one row that is no copy."""
    rows = [row for row in state.rows.values() if row.sha256]
    assert {row.sha256 for row in rows} == {photo.sha256 for photo in state.photos}
    assert set(state.files) == {f"{photo.sha256}.{photo.format}" for photo in state.photos}
    for name, content in state.files.items():
        assert name == f"{hashlib.sha256(content).hexdigest()}.{decoder.format_of(content)}"
        decoder.decode(content)
    for digest in {row.sha256 for row in rows}:
        holders = Counter(row.code for row in rows if row.sha256 == digest)
        if PLACEHOLDER in holders:  # of three or more addresses, none of which is kept
            assert set(holders) == {PLACEHOLDER}
            assert holders[PLACEHOLDER] >= 3
            continue
        assert holders[OK] == 1
        assert set(holders) <= {OK, DUPLICATE}


@pytest.mark.long  # it takes all of them
def test_the_mixtures_are_mixed(mixtures: dict[int, State]) -> None:
    codes = Counter(row.code for state in mixtures.values() for row in state.rows.values())
    assert codes.total() == len(mixtures) * EACH
    assert {code for _, code in WORDS.values()} <= set(codes)
    assert {DUPLICATE, "NAME_ERROR"} <= set(codes)
    small = [
        row for state in mixtures.values() for row in state.rows.values() if row.via == "thumbnail"
    ]
    assert len(small) >= 10


@pytest.mark.long
def test_answers_of_noise_end_as_rows_too(hosts: Hosts, tmp_path: Path) -> None:
    """250 answers and some rules with bytes changed, cut and doubled: no fault, one row each."""
    dice = random.Random(8)
    picture, packed = a.picture(30), a.gzip.compress(a.picture(30))
    tag = ("X-Robots-Tag", "bot: noindex, nofollow")
    good = [
        a.head(length=len(picture)) + picture,
        a.head(headers=a.CHUNKED) + a.chunk(picture) + a.chunk(b""),
        a.head(302, length=0, headers=[("Location", "http://noise1.example/x.jpg?y#z")]),
        a.head(503, length=0, headers=[("Retry-After", "Fri, 31 Dec 1999 23:59:59 GMT")]),
        a.head(length=len(packed), headers=[("Content-Encoding", "gzip"), tag]) + packed,
    ]

    def spoiled(answer: bytes) -> bytes:
        """Mostly in the head."""
        start, rest = answer[:300], answer[300:]
        for _ in range(dice.randint(1, 3)):
            start = corpus.mutated(start, dice) or b"x"
        return start + rest

    urls = []
    for n in range(250):
        host = f"noise{n}.example"
        ending = dice.choice(["close", "close", "reset"])
        urls.append(hosts.add(host, "/x.jpg", a.raw(spoiled(dice.choice(good)), then=ending)))
        if n % 5 == 0:
            hosts.add(host, "/robots.txt", a.raw(spoiled(good[n % 2])))
    state = fetched(tmp_path, candidates(urls), through(hosts))
    rows = state.rows
    assert set(rows) == set(urls)
    codes = Counter(row.code for row in rows.values())
    assert PENDING not in codes
    assert len(codes) > 6
    assert all(row.sentence.isprintable() and len(row.sentence) < 300 for row in rows.values())
    check_files(state)


# What happens around the rows.


def photo(source: Source) -> Use:
    """A use that keeps nothing."""

    async def use(body: IO[bytes]) -> Photo:
        digest = hashlib.sha256(body.read()).hexdigest()
        return Photo(digest, source.origin, "grizzly", "jpeg", 1, 1, 1, "", 0.0)

    return use


def groups(hosts: Hosts, urls: Iterable[str], use: Any = photo, connections: int = 64,
           limits: Limits = LIMITS) -> Any:  # fmt: skip
    settings = DownloadConfig(connections=connections)
    net = dataclasses.replace(through(hosts), limits=limits)
    return fetch_all(candidates(urls), settings, net, use, lambda url: "", None)


def test_rows_come_while_others_are_still_on_their_way(hosts: Hosts) -> None:
    """What is done survives whatever happens next."""
    slow = hosts.add("stays.example", "/x.jpg", a.drip_body(0.05))
    quick = [hosts.add(f"goes{n}.example", "/x.jpg", a.photo(n)) for n in range(5)]

    async def work() -> tuple[list[list[str]], float]:
        found, first = [], 0.0
        async for group in groups(hosts, [slow, *quick], limits=Limits(total=2)):
            first = first or time.monotonic()
            found.append([row.origin for row, _ in group])
        return found, time.monotonic() - first

    found, later = asyncio.run(work())
    assert found[-1] == [slow]
    assert sorted(itertools.chain(*found[:-1])) == sorted(quick)
    assert later > 0.2


def test_who_stops_early_leaves_nobody_waiting(hosts: Hosts) -> None:
    urls = [hosts.add("at-once.example", "/x.jpg", a.photo(1))]
    urls += [hosts.add(f"waits{n}.example", "/x.jpg", a.silent()) for n in range(20)]

    async def work() -> list[Outcome]:
        async with aclosing(groups(hosts, urls, limits=PATIENT)) as running:
            async for group in running:
                return group
        return []

    begin = time.monotonic()
    (outcome,) = asyncio.run(work())
    assert (outcome[0].origin, outcome[0].code) == (urls[0], OK)
    hosts.quiet()
    assert time.monotonic() - begin < STUCK


def test_what_use_raises_ends_it(hosts: Hosts) -> None:
    """A full disk, say: the others are cancelled, the rows before are there."""
    urls = [hosts.add(f"full{n}.example", "/x.jpg", a.after(n / 10, a.photo(n))) for n in range(3)]
    urls += [hosts.add(f"full{n}.example", "/x.jpg", a.silent()) for n in range(3, 9)]

    def use(source: Source) -> Use:
        async def full(body: IO[bytes]) -> Photo:
            raise DataError("DISK_FULL", "no space")

        return full if source.origin == urls[1] else photo(source)

    async def work() -> list[str]:
        found = []
        with pytest.raises(DataError, match="^DISK_FULL"):
            async for group in groups(hosts, urls, use, limits=PATIENT):
                found += [row.origin for row, _ in group]
        return found

    begin = time.monotonic()
    assert asyncio.run(work()) == [urls[0]]
    hosts.quiet()
    assert time.monotonic() - begin < STUCK


def test_what_ends_beside_it_is_kept(hosts: Hosts) -> None:
    """Whatever comes first: a row that ended in the same moment is no less done."""
    urls = [hosts.add(f"beside{n}.example", "/x.jpg", a.photo(n)) for n in range(3)]

    waiting: list[asyncio.Event] = []

    def use(source: Source) -> Use:
        async def together(body: IO[bytes]) -> Photo:
            waiting.append(asyncio.Event())
            if len(waiting) == len(urls):
                for event in waiting:
                    event.set()
            await waiting[-1].wait()
            if source.origin == urls[1]:
                raise DataError("DISK_FULL", "no space")
            return await photo(source)(body)

        return together

    async def work() -> list[str]:
        found = []
        with pytest.raises(DataError, match="^DISK_FULL"):
            async for group in groups(hosts, urls, use):
                found += [row.origin for row, _ in group]
        return found

    assert sorted(asyncio.run(work())) == [urls[0], urls[2]]


def test_not_all_addresses_are_in_work_at_once(hosts: Hosts) -> None:
    """Four for each line: a list of a million addresses must not become a million tasks."""
    urls = [hosts.add(f"ahead{n}.example", "/x.jpg", a.photo(1)) for n in range(60)]
    begun, ended, most = 0, 0, 0

    def use(source: Source) -> Use:
        nonlocal begun, most
        begun += 1
        most = max(most, begun - ended)
        return photo(source)

    async def work() -> None:
        nonlocal ended
        async for group in groups(hosts, urls, use, connections=2):
            ended += len(group)

    asyncio.run(work())
    assert (begun, ended) == (60, 60)
    assert 8 <= most <= 8 * 2


def test_nobody_waits_behind_a_site_with_many_addresses(tmp_path: Path) -> None:
    """The last address of the list is the only one of its site: among the first to be asked."""
    with Hosts() as hosts:
        urls = [hosts.add("many.example", f"/{n}.jpg", a.photo(n)) for n in range(24)]
        urls.append(hosts.add("single.example", "/x.jpg", a.photo(30)))
        net = dataclasses.replace(through(hosts), manners=PolitenessLimits(apart=0.02))
        fetched(tmp_path, candidates(urls), net, connections=1)
        order = [(visit.request.host, visit.request.path) for visit in hosts.log]
    assert len(order) == 27
    assert order.index(("single.example", "/x.jpg")) < 8


def test_the_pictures_are_closed(hosts: Hosts) -> None:
    urls = [hosts.add(f"open{n}.example", "/x.jpg", a.photo(n)) for n in range(3)]
    bodies: list[IO[bytes]] = []

    def use(source: Source) -> Use:
        async def keep(body: IO[bytes]) -> Photo:
            bodies.append(body)
            assert body.tell() == 0
            return await photo(source)(body)

        return keep

    async def work() -> list[Outcome]:
        return [outcome async for group in groups(hosts, urls, use) for outcome in group]

    assert len(asyncio.run(work())) == len(bodies) == 3
    assert all(body.closed for body in bodies)

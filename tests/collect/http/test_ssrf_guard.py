"""D1, D2 and D3 where connections are made: every file opened and every connect is heard.

The hook cannot be taken out again, so it only listens while told to. It lets no packet leave: who
connects to anywhere but loopback gets an OSError, and that he tried is written down.
"""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import itertools
import socket
import ssl
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address
from pathlib import Path
from typing import Any

import answers as a
import pytest
from hosts import LOOPBACK, Hosts
from waiting import STUCK

from bear_classifier.collect.download import download
from bear_classifier.collect.http.client import Client
from bear_classifier.collect.http.fetch_many import Net
from bear_classifier.collect.http.ssrf_guard import (
    Limits,
    World,
    authorities,
    checked_request,
    in_time,
    is_public,
    literal_of,
    look_up,
    network_errors,
)
from bear_classifier.collect.http.url import parse_url
from bear_classifier.config.project_file import build
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import Source
from bear_classifier.errors import PhotoError

Address = IPv4Address | IPv6Address
Answers = list[tuple[str, int]]
FAST = Limits(connect=2, read=2, total=8)
PLAIN = ssl.create_default_context()
PUBLIC, PUBLIC_6 = "93.184.215.14", "2606:4700::1111"


class Ears:
    def __init__(self) -> None:
        self.listening = False
        self.opened: list[str] = []
        self.connected: list[str] = []

    def __call__(self, event: str, facts: tuple[Any, ...]) -> None:
        if not self.listening:
            return
        if event == "open":
            self.opened.append(str(facts[0]))
        elif event == "socket.connect" and isinstance(facts[1], tuple):
            self.connected.append(str(ip_address(facts[1][0])))
            if facts[1][0] != LOOPBACK:
                raise OSError("no packet leaves the tests")


EARS = Ears()
sys.addaudithook(EARS)


@contextmanager
def listening() -> Iterator[Ears]:
    EARS.opened, EARS.connected, EARS.listening = [], [], True
    try:
        yield EARS
    finally:
        EARS.listening = False


@pytest.fixture(scope="module")
def hosts() -> Iterator[Hosts]:
    with Hosts({("good.example", "*"): a.photo()}, tls=True) as running:
        yield running


async def said(client: Client, url: str) -> str:
    """The status, or the code and sentence of what went wrong."""
    try:
        async with client.open(parse_url(url)) as answer:
            (await answer.read()).close()
            return str(answer.status)
    except PhotoError as exc:
        return str(exc)


def ask(world: World, *urls: str, limits: Limits = FAST) -> list[str]:
    """One after the other, by one client."""
    if not any(url.startswith("https:") for url in urls):
        world = dataclasses.replace(world, tls=PLAIN)  # ours takes long to make

    async def work() -> list[str]:
        async with Client(world, limits) as client:
            return [await said(client, url) for url in urls]

    return asyncio.run(work())


@pytest.mark.parametrize("broken", [a.raw(), a.reset(), a.reset(b"HTTP/1.1 200 OK\r\nX: ")])
@pytest.mark.parametrize("before", [0, 1])
def test_a_broken_connection_is_not_made_again(
    hosts: Hosts, broken: a.Behaviour, before: int
) -> None:
    """Whoever fetches counts attempts and waits between them; aiohttp would ask again at once."""
    url = hosts.add("broken.example", "/x.jpg", broken)
    world, visits = World(hosts.resolve, hosts.allowed), len(hosts.visits("broken.example"))
    *_, answer = ask(world, *["http://good.example/x.jpg"] * before, url)
    assert answer.startswith("CONNECT_ERROR: the connection broke (")
    assert len(hosts.visits("broken.example")) == visits + 1


def refusal(host: str, address: object) -> str:
    return f"BLOCKED_ADDRESS: {host} leads to {address}, which is not a public address"


# D2: an address that is not public, however it is written and whoever says it.

RANGES = (
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
    *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16"),
    *("198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
)
PRIVATE: list[Address] = [
    *(edge for net in map(IPv4Network, RANGES) for edge in (net[0], net[-1])),
    *map(
        ip_address,
        (
            *("169.254.169.254", "127.0.0.53", "192.168.1.1", "100.100.100.200", "172.17.0.1"),
            *("::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.5"),
            *("::ffff:169.254.169.254", "::ffff:0:127.0.0.1", "64:ff9b::7f00:1"),
            *("64:ff9b::a9fe:a9fe", "64:ff9b:1::7f00:1", "100::1", "2001::7f00:1"),
            *("2001:0:7f00:1::", "2001:2::1", "2001:10::1", "2001:20::1", "2001:db8::1"),
            *("2002:7f00:1::", "2002:a9fe:a9fe::1", "2002:c0a8:101::", "3fff::1", "5f00::1"),
            *("2606:4700::5efe:7f00:1", "2606:4700::200:5efe:a00:1", "fc00::1", "fd00:ec2::254"),
            *("fe80::1", "fe80::5efe:7f00:1", "fec0::1", "ff02::1", "ff0e::1", "4000::1", "::2"),
        ),
    ),
]


def spellings(address: Address) -> list[str]:
    """As hosts of a web address; a system's resolver understands them all."""
    if isinstance(address, IPv6Address):
        whole = address.exploded
        groups = [f"{int(group, 16):x}" for group in whole.split(":")]
        tail = IPv4Address(int(address) & 0xFFFF_FFFF)
        short = ":".join([*groups[:6], str(tail)])
        forms = [str(address), whole, whole.upper(), ":".join(groups), short, str(address).upper()]
        return [f"[{form}]" for form in forms]
    number, parts = int(address), address.packed
    return [
        str(address),
        str(number),
        hex(number),
        ".".join(map(hex, parts)),
        ".".join(f"0{part:o}" for part in parts),
        f"{parts[0]}.{parts[1]}.{parts[2] * 256 + parts[3]}",
        "".join(chr(ord(char) + 0xFEE0) if char.isdigit() else char for char in str(address)),
    ]


async def like_the_system(host: str, port: int) -> Answers:
    """What getaddrinfo makes of numbers, without asking anybody."""
    try:
        return [(str(ip_address(host)), port)]
    except ValueError:
        return [(socket.inet_ntoa(socket.inet_aton(host)), port)]


def test_no_spelling_leads_inside() -> None:
    """65 addresses and more, six spellings and more each."""
    assert len(PRIVATE) >= 60
    cases = [(address, form) for address in PRIVATE for form in spellings(address)]
    assert min(Counter(address for address, _ in cases).values()) >= 6
    urls = [f"http://{form}/x.jpg" for _, form in cases]
    with listening() as ears:
        answers = ask(World(like_the_system), *urls)
    assert answers == [
        refusal(parse_url(url).host, address) for (address, _), url in zip(cases, urls, strict=True)
    ]
    assert ears.connected == []


def test_the_ears_hear_who_goes_outside() -> None:
    """What shows that the other tests could fail: here something is tried and heard."""
    with listening() as ears:
        answers = ask(World(like_the_system), f"http://{PUBLIC}/", f"http://[{PUBLIC_6}]/")
        (named,) = ask(World(always(PUBLIC)), "http://a.example/")
        Path(__file__).open().close()
    assert ears.connected == [PUBLIC, PUBLIC_6, PUBLIC]
    assert ears.opened == [*ears.opened[:-1], __file__]
    assert [answer.partition(":")[0] for answer in (*answers, named)] == ["CONNECT_ERROR"] * 3


def always(*addresses: str, port: int | None = None) -> Callable[[str, int], Any]:
    async def resolve(host: str, asked: int) -> Answers:
        return [(address, port or asked) for address in addresses]

    return resolve


def test_no_answer_of_a_resolver_leads_inside() -> None:
    """Alone, twice, before and after public ones; one is enough."""
    expected, asked, found = [], [], {}
    for number, address in enumerate(PRIVATE):
        plain, long = str(address), address.exploded
        for form, answers in enumerate((
            [plain], [long.upper(), plain], [PUBLIC, plain], [plain, PUBLIC], [PUBLIC_6, long],
            [PUBLIC, PUBLIC_6, PUBLIC, plain],
        )):  # fmt: skip
            host = f"{number}.{form}.example"
            found[host] = answers
            asked.append(f"http://{host}/x.jpg")
            expected.append(refusal(host, address))
    found["zone.example"] = [PUBLIC_6, "fe80::1%eth0"]
    asked.append("http://zone.example/")
    expected.append(refusal("zone.example", "fe80::1%eth0"))

    async def resolve(host: str, port: int) -> Answers:
        return [(address, port) for address in found[host]]

    with listening() as ears:
        assert ask(World(resolve), *asked) == expected
    assert ears.connected == []
    assert len(expected) > 6 * 60


# D3: names whose answers change, and policies that change their mind.


class Rebinding:
    """Each question is answered by the next of these."""

    def __init__(self, port: int, *answers: list[str]) -> None:
        self.port, self.answers = port, itertools.cycle(answers)
        self.asked = 0

    async def __call__(self, host: str, port: int) -> Answers:
        self.asked += 1
        found = next(self.answers)
        return [(each, self.port if each == LOOPBACK else port) for each in found]


REBINDING = {
    "first public": ([PUBLIC], [LOOPBACK]),
    "both in one answer": ([PUBLIC, LOOPBACK], [LOOPBACK, PUBLIC]),
    "once in a while": ([PUBLIC], [PUBLIC_6], [PUBLIC], ["::1", PUBLIC], [LOOPBACK]),
    "mapped": ([f"::ffff:{PUBLIC}"], [f"::ffff:{LOOPBACK}"]),
}


@pytest.mark.parametrize("answers", REBINDING.values(), ids=REBINDING)
def test_a_name_that_changes_where_it_leads(hosts: Hosts, answers: tuple[list[str], ...]) -> None:
    """250 tries each: as many connects as answers without a private address, and none inside."""
    before = len(hosts.connections), len(hosts.log)
    resolve = Rebinding(hosts.port(), *answers)
    with listening() as ears:
        results = ask(World(resolve), *["http://good.example/x.jpg"] * 250)
    assert resolve.asked == 250
    clean = {tuple(answer) for answer in answers if all(is_public(ip_address(x)) for x in answer)}
    assert Counter(ears.connected) == {
        str(ip_address(x)): 250 // len(answers) * answers.count([x]) for (x,) in clean
    }
    assert Counter(result.partition(":")[0] for result in results) == Counter(
        "CONNECT_ERROR" if tuple(answer) in clean else "BLOCKED_ADDRESS"
        for answer in itertools.islice(itertools.cycle(answers), 250)
    )
    assert (len(hosts.connections), len(hosts.log)) == before


def test_the_address_that_was_checked_is_the_one_connected_to(hosts: Hosts) -> None:
    """One question per connection: what a second one would have said does not matter."""
    resolve = Rebinding(hosts.port(), [LOOPBACK], ["10.0.0.5"])
    world = World(resolve, hosts.allowed)
    with listening() as ears:
        assert ask(world, "http://good.example/x.jpg") == ["200"]
    assert (resolve.asked, ears.connected) == (1, [LOOPBACK])


@pytest.mark.parametrize(
    ("yes", "connects", "requests", "answer"),
    [
        (0, 0, 0, refusal("good.example", LOOPBACK)),
        (1, 0, 0, refusal("the connection", LOOPBACK)),
        (2, 1, 0, refusal("the open connection", LOOPBACK)),
        (3, 1, 1, "200"),
    ],
)
def test_a_policy_that_changes_its_mind(
    hosts: Hosts, yes: int, connects: int, requests: int, answer: str
) -> None:
    """It is asked about the answer, the socket and the peer; then the request is written."""
    said_yes = iter([True] * yes)
    world = World(hosts.resolve, lambda address: next(said_yes, False))
    before = len(hosts.log)
    with listening() as ears:
        assert ask(world, "http://good.example/x.jpg") == [answer]
    hosts.quiet()
    assert ears.connected == [LOOPBACK] * connects
    assert len(hosts.log) - before == requests


def test_a_kept_connection_is_compared_again(hosts: Hosts) -> None:
    """Peer of the first request; peer of the second, on the same connection, is refused."""
    said_yes = iter([True] * 3)
    world = World(hosts.resolve, lambda address: next(said_yes, False))
    before = len(hosts.log)
    with listening() as ears:
        answers = ask(world, *["http://good.example/x.jpg"] * 2)
    assert answers == ["200", refusal("the open connection", LOOPBACK)]
    assert (ears.connected, len(hosts.log) - before) == ([LOOPBACK], 1)


class Gone:
    """A connection that the other side reset in the moment in which it was made."""

    def __init__(self, transport: object) -> None:
        self.transport = transport

    def get_extra_info(self, name: str) -> None:
        return None


@pytest.mark.parametrize("connection", [Gone(None), Gone(Gone(None))])
def test_a_connection_without_a_peer_is_not_written_to(connection: Gone) -> None:
    checked = checked_request(is_public)

    async def work() -> None:
        with network_errors("a.example", FAST):
            await checked.send(checked.__new__(checked), connection)

    with pytest.raises(PhotoError, match=r"^CONNECT_ERROR: the connection broke \(closed as soon"):
        asyncio.run(work())


@pytest.mark.parametrize("name", ["http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY"])
def test_proxies_of_the_environment_are_not_used(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """They would lead to a closed port."""
    monkeypatch.setenv(name, f"http://{LOOPBACK}:9")
    monkeypatch.setenv("NETRC", __file__)
    world = World(hosts.resolve, hosts.allowed, hosts.tls)
    with listening() as ears:
        answers = ask(world, "http://good.example/x.jpg", "https://good.example/x.jpg")
    assert answers == ["200", "200"]
    assert __file__ not in ears.opened


# D1: nothing but http and https, and nothing odd.


def test_files_and_other_schemes_are_never_touched(hosts: Hosts, tmp_path: Path) -> None:
    """A real picture and a host that would answer wait at the end of each."""
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(a.picture(7))
    inline = base64.b64encode(a.picture(8)).decode()
    schemes = [
        *(f"file://{secret}", f"FILE://{secret}", f"file:{secret}", f"file://localhost{secret}"),
        *(f"file://good.example{secret}", "file:///etc/passwd", f"local-file://{secret}"),
        *(f"jar:file:{secret}!/a", f"netdoc://{secret}", f"view-source:file://{secret}"),
        *(f"url:file://{secret}", f"data:image/jpeg;base64,{inline}", "javascript:alert(1)"),
        *("ftp://good.example/x.jpg", "gopher://good.example:80/_GET", "dict://good.example:80/"),
        *("ws://good.example/x.jpg", "blob:http://good.example/x.jpg", "about:blank"),
        *("good.example:80/x.jpg", "https+file://good.example/x.jpg"),
    ]
    odd = [
        *(str(secret), f"//good.example{secret}", f"http:{secret}", f"http://{secret}"),
        *("HTTP://user@good.example/x.jpg", "http://user:hunter2@good.example/x.jpg"),
        *("http://good.example/x.jpg\r\nHost: other.example", "http://good.example/\0x.jpg"),
        *("http://good.example /x.jpg", " http://good.example/x.jpg", f"\tfile://{secret}"),
        *("http://good.example\\@other.example/", "http://[::1/x.jpg", "http://"),
    ]
    ports = ["http://good.example:22/", "https://good.example:6379/", "http://good.example:0/"]
    expected = dict.fromkeys(schemes, "BLOCKED_SCHEME") | dict.fromkeys(odd, "BAD_ADDRESS")
    expected |= dict.fromkeys(ports, "BLOCKED_PORT")
    assert len(expected) >= 25
    config = build({"classes": {"grizzly": ["x"], "teddy": ["y"]}}, where="test")
    net = Net(World(hosts.resolve, hosts.allowed, hosts.tls), FAST)
    before = len(hosts.connections)
    with Catalog(tmp_path / "data") as catalog:
        with catalog.transaction():
            catalog.put_sources(Source(url, "grizzly", "urls") for url in expected)
        with listening() as ears:
            download(catalog, config, net=net)
        rows = catalog.sources()
        assert catalog.photos() == []
    assert {row.origin: row.code for row in rows} == expected
    assert {row.sentence for row in rows if row.origin.startswith("file:")} == {
        "only http and https addresses are downloaded (got file:)"
    }
    assert not any("hunter2" in row.sentence for row in rows)
    assert [name for name in ears.opened if "secret" in name or "passwd" in name] == []
    assert (ears.connected, len(hosts.connections)) == ([], before)


# TLS.


def test_certificates(hosts: Hosts) -> None:
    hosts.add("liar.example", "*", a.photo())
    hosts.wrong_certificate.add("liar.example")
    believed = World(hosts.resolve, hosts.allowed, hosts.tls)
    before = len(hosts.log)
    assert ask(believed, "https://good.example/", "https://good.example:8443/") == ["200"] * 2
    assert len(hosts.log) == before + 2
    assert all(visit.request.tls for visit in hosts.log[before:])
    (wrong,) = ask(believed, "https://liar.example/x.jpg")
    assert wrong.startswith("TLS_ERROR: no safe connection to liar.example (")
    assert "certificate" in wrong.lower()
    (unknown,) = ask(World(hosts.resolve, hosts.allowed), "https://good.example/x.jpg")
    assert unknown.startswith("TLS_ERROR: no safe connection to good.example (")
    assert len(hosts.log) == before + 2
    assert len(wrong) < 220 > len(unknown)


def test_https_from_a_host_that_speaks_http() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async def work() -> str:
        async with await asyncio.start_server(answer, LOOPBACK, 0) as server:
            port = server.sockets[0].getsockname()[1]
            world = World(always(LOOPBACK, port=port), lambda address: True)
            async with Client(world, FAST) as client:
                return await said(client, "https://a.example/x.jpg")

    words = asyncio.run(work())
    assert words.startswith("TLS_ERROR: no safe connection to a.example (")
    assert len(words) < 220


def test_our_authorities_are_strict() -> None:
    context = authorities()
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert len(context.get_ca_certs()) > 100


@asynccontextmanager
async def deaf() -> AsyncIterator[int]:
    """A port where connections are taken by the system and by nobody else."""
    with closing(socket.create_server((LOOPBACK, 0))) as server:
        yield server.getsockname()[1]


def test_a_host_that_says_nothing() -> None:
    """In the handshake that is no connection; after it, no answer."""

    async def work() -> list[str]:
        async with deaf() as port:
            world = World(always(LOOPBACK, port=port), lambda address: True, authorities())
            async with Client(world, FAST) as client:
                urls = ("https://a.example/", "http://a.example/")
                return await asyncio.gather(*(said(client, url) for url in urls))

    begin = time.monotonic()
    assert asyncio.run(work()) == [
        "TIMEOUT_CONNECT: no connection in 2 s",
        "TIMEOUT_READ: nothing came for 2 s",
    ]
    assert 1.9 < time.monotonic() - begin < STUCK


# Names.


def test_lookups_that_hang_are_cut() -> None:
    """All at once: 40 of them take no longer than one."""

    async def never(host: str, port: int) -> Answers:
        await asyncio.sleep(3600)
        return []

    async def work() -> list[str]:
        async with Client(World(never), FAST) as client:
            urls = (f"http://{n}.example/" for n in range(40))
            return await asyncio.gather(*(said(client, url) for url in urls))

    begin = time.monotonic()
    assert asyncio.run(work()) == [
        f"NAME_ERROR: {n}.example cannot be found (no name server answered in 2 s)"
        for n in range(40)
    ]
    assert 1.9 < time.monotonic() - begin < STUCK


def test_names_that_are_not_known_or_not_possible(hosts: Hosts) -> None:
    unknown = World(hosts.resolve, hosts.allowed)
    assert ask(unknown, "http://nowhere.example/", f"http://{'é' * 80}.example/") == [
        "NAME_ERROR: nowhere.example cannot be found"
        f" ([Errno {socket.EAI_NONAME}] Name or service not known)",
        f"BAD_ADDRESS: the host is no valid name ({'é' * 80}...)",
    ]
    for name in ("a" * 64 + ".example", "é" * 70, "a..example"):
        with pytest.raises(OSError, match="is no host name"):
            asyncio.run(look_up(name, 80))
    assert (LOOPBACK, 80) in asyncio.run(look_up(LOOPBACK, 80))
    (answer,) = ask(World(), f"http://{LOOPBACK}/x.jpg")
    assert answer == refusal(LOOPBACK, LOOPBACK)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        *((form.strip("[]"), "127.0.0.1") for form in spellings(IPv4Address("127.0.0.1"))[:6]),
        *((form.strip("[]"), "fe80::1") for form in spellings(IPv6Address("fe80::1"))),
        ("127.1", "127.0.0.1"),
        ("0", "0.0.0.0"),
        ("example.com", None),
        ("1.2.3.4.example", None),
        ("127.0.0.1.5", None),
        ("256.0.0.1", None),
        ("a.1", None),
        ("", None),
    ],
)
def test_hosts_that_are_addresses(host: str, address: str | None) -> None:
    found = literal_of(host)
    assert (None if found is None else str(found)) == address


def test_in_time() -> None:
    async def late() -> None:
        await asyncio.sleep(5)

    async def ready() -> int:
        return 7

    assert asyncio.run(in_time(ready(), 1)) == 7
    assert asyncio.run(in_time(ready(), 20, left=0.5)) == 7
    for left in (0.05, 0.0, -1.0):
        with pytest.raises(PhotoError, match=r"^TIMEOUT_TOTAL: no complete answer in 20 s$"):
            asyncio.run(in_time(late(), 20, left))

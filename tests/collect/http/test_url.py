"""D1, D2 and the half of D3 that needs no network: which addresses may be asked for a photo."""

from __future__ import annotations

import random
import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address

import pytest
import yarl

from bear_classifier.collect.http.ssrf_guard import is_public
from bear_classifier.collect.http.url import (
    MAX_URL_LENGTH,
    Target,
    follow,
    parse_url,
    shorten,
)
from bear_classifier.errors import PhotoError

HTTP = "http://example.com"

# D1: what is refused, with which code, and a word of the sentence.
REFUSED = [
    ("file:///etc/passwd", "BLOCKED_SCHEME", "(got file:)"),
    ("FILE:///etc/passwd", "BLOCKED_SCHEME", "(got FILE:)"),
    ("file:/etc/passwd", "BLOCKED_SCHEME", "(got file:)"),
    ("ftp://example.com/a.jpg", "BLOCKED_SCHEME", "(got ftp:)"),
    ("data:image/png;base64," + "A" * 9_000, "BLOCKED_SCHEME", "(got data:)"),
    ("gopher://example.com/", "BLOCKED_SCHEME", "(got gopher:)"),
    ("jar:http://example.com!/a.jpg", "BLOCKED_SCHEME", "(got jar:)"),
    ("javascript:alert(1)", "BLOCKED_SCHEME", "(got javascript:)"),
    ("ws://example.com/", "BLOCKED_SCHEME", "(got ws:)"),
    ("localhost:80/a.jpg", "BLOCKED_SCHEME", "(got localhost:)"),
    ("x" * 500 + "://example.com/", "BLOCKED_SCHEME", "xxx..."),
    ("example.com/a.jpg", "BAD_ADDRESS", "does not begin with"),
    ("//example.com/a.jpg", "BAD_ADDRESS", "does not begin with"),
    ("/etc/passwd", "BAD_ADDRESS", "does not begin with"),
    ("", "BAD_ADDRESS", "does not begin with"),
    ("http:example.com/a.jpg", "BAD_ADDRESS", "does not begin with"),
    ("http:/example.com/a.jpg", "BAD_ADDRESS", "does not begin with"),
    ("http://", "BAD_ADDRESS", "no host"),
    ("http:///etc/passwd", "BAD_ADDRESS", "no host"),
    ("http://?a=b", "BAD_ADDRESS", "no host"),
    ("http://#a", "BAD_ADDRESS", "no host"),
    ("http://:80/", "BAD_ADDRESS", "no host"),
    ("http://./", "BAD_ADDRESS", "no host"),
    ("http://::1/", "BAD_ADDRESS", "no host"),
    ("HTTP://user@example.com/", "BAD_ADDRESS", "user name"),
    ("http://user:secret@example.com/", "BAD_ADDRESS", "user name"),
    ("http://@example.com/", "BAD_ADDRESS", "user name"),
    ("http://example.com:80@127.0.0.1/", "BAD_ADDRESS", "user name"),
    ("http://127.0.0.1\\@example.com/", "BAD_ADDRESS", "backslash"),
    ("http:\\\\example.com\\a.jpg", "BAD_ADDRESS", "backslash"),
    (HTTP + "/a\\b", "BAD_ADDRESS", "backslash"),
    (HTTP + "/a\r\nHost: localhost", "BAD_ADDRESS", "control character"),
    (HTTP + "/a\nb", "BAD_ADDRESS", "control character"),
    ("http://exam\tple.com/", "BAD_ADDRESS", "control character"),
    ("http://example.com\0.localhost/", "BAD_ADDRESS", "control character"),
    (HTTP + "/a?b=\x7f", "BAD_ADDRESS", "control character"),
    (HTTP + "/a?b=\x85", "BAD_ADDRESS", "control character"),
    (HTTP + "/a b.jpg", "BAD_ADDRESS", "blank"),
    (HTTP + "/a\u00a0b.jpg", "BAD_ADDRESS", "blank"),
    (HTTP + "/\u2028", "BAD_ADDRESS", "blank"),
    (" " + HTTP, "BAD_ADDRESS", "blank"),
    (HTTP + "/ ", "BAD_ADDRESS", "blank"),
    ("\x01file:///etc/passwd", "BAD_ADDRESS", "control character"),
    ("java\nscript:alert(1)", "BAD_ADDRESS", "control character"),
    (HTTP + "/\ud800", "BAD_ADDRESS", "control character"),
    ("http://\udcff.example.com/", "BAD_ADDRESS", "control character"),
    ("http://127.0.0.1%2f.example.com/", "BAD_ADDRESS", "no valid name"),
    ("http://%31%32%37.0.0.1/", "BAD_ADDRESS", "no valid name"),
    ("http://example.com;a/", "BAD_ADDRESS", "no valid name"),
    ("http://exa$mple.com/", "BAD_ADDRESS", "no valid name"),
    ("http://a..example.com/", "BAD_ADDRESS", "no valid name"),
    ("http://example.com../", "BAD_ADDRESS", "no valid name"),
    ("http://.example.com/", "BAD_ADDRESS", "no valid name"),
    (f"http://{'a' * 64}.com/", "BAD_ADDRESS", "no valid name"),
    (f"http://{'a.' * 126}bb/", "BAD_ADDRESS", "no valid name"),  # 254 characters
    (f"http://{'é' * 254}/", "BAD_ADDRESS", "no valid name"),
    (f"http://{'é.' * 126}bb/", "BAD_ADDRESS", "no valid name"),
    ("http://example\u2100.com/", "BAD_ADDRESS", "no valid name"),  # becomes a/c
    ("http://example.com\uff0fa/", "BAD_ADDRESS", "no valid name"),  # becomes a slash
    ("http://localhost\uff1a80/", "BAD_ADDRESS", "no valid name"),  # becomes a colon
    ("http://user\uff20example.com/", "BAD_ADDRESS", "no valid name"),  # becomes an at sign
    ("http://faß.de/", "BAD_ADDRESS", "no valid name"),  # fass.de to IDNA 2003
    ("http://local\u200bhost/", "BAD_ADDRESS", "no valid name"),  # dropped by IDNA 2003
    ("http://local\u00adhost/", "BAD_ADDRESS", "no valid name"),
    ("http://[::1/", "BAD_ADDRESS", "no IPv6"),
    ("http://[]/", "BAD_ADDRESS", "no IPv6"),
    ("http://[127.0.0.1]/", "BAD_ADDRESS", "no IPv6"),
    ("http://[::1]a/", "BAD_ADDRESS", "no IPv6"),
    ("http://[::1]:80:80/", "BAD_ADDRESS", "no number"),
    ("http://[[::1]]/", "BAD_ADDRESS", "no IPv6"),
    ("http://[v1.a]/", "BAD_ADDRESS", "no IPv6"),
    ("http://[fe80::1%25eth0]/", "BAD_ADDRESS", "no IPv6"),
    ("http://[fe80::1%eth0]/", "BAD_ADDRESS", "no IPv6"),
    ("http://a[::1]/", "BAD_ADDRESS", "no valid name"),
    (HTTP + ":/", "BAD_ADDRESS", "no number"),
    (HTTP + ":http/", "BAD_ADDRESS", "no number"),
    (HTTP + ":+80/", "BAD_ADDRESS", "no number"),
    (HTTP + ":8_0/", "BAD_ADDRESS", "no number"),
    (HTTP + ":-1/", "BAD_ADDRESS", "no number"),
    (HTTP + ":\uff18\uff10/", "BAD_ADDRESS", "no number"),  # full-width 80
    (HTTP + ":80:80/", "BAD_ADDRESS", "no number"),
    (HTTP + f":{'0' * 4_000}80/", "BAD_ADDRESS", "no number"),
    (HTTP + ":22/", "BLOCKED_PORT", "(got 22)"),
    (HTTP + ":0/", "BLOCKED_PORT", "(got 0)"),
    (HTTP + ":81/", "BLOCKED_PORT", "(got 81)"),
    (HTTP + ":6379/", "BLOCKED_PORT", "(got 6379)"),
    (HTTP + ":65616/", "BLOCKED_PORT", "(got 65616)"),  # 80 to who cuts it to 16 bits
    (HTTP + "/" + "a" * MAX_URL_LENGTH, "BAD_ADDRESS", "more than 4,096"),
    (HTTP + "/#" + "a" * MAX_URL_LENGTH, "BAD_ADDRESS", "more than 4,096"),
    (HTTP + "/" + "é" * 1_000, "BAD_ADDRESS", "more than 4,096"),  # six characters each when sent
]


@pytest.mark.parametrize(("url", "code", "words"), REFUSED)
def test_refused(url: str, code: str, words: str) -> None:
    with pytest.raises(PhotoError) as caught:
        parse_url(url)
    assert caught.value.code == code
    assert words in caught.value.sentence
    assert caught.value.sentence.isprintable()
    assert len(caught.value.sentence) < 180
    assert "secret" not in caught.value.sentence


SENT = [
    (HTTP, HTTP + "/"),
    ("HTTP://EXAMPLE.com./A.JPG", HTTP + "/A.JPG"),
    (HTTP + "?a=b", HTTP + "/?a=b"),
    (HTTP + "/a?", HTTP + "/a"),
    (HTTP + "/a?b#c?d", HTTP + "/a?b"),
    (HTTP + "#@localhost/", HTTP + "/"),
    (HTTP + ":80/a", HTTP + "/a"),
    (HTTP + ":0080/a", HTTP + "/a"),
    ("https://example.com:443/a", "https://example.com/a"),
    ("https://example.com:80/a", "https://example.com:80/a"),
    (HTTP + ":443/a", HTTP + ":443/a"),
    (HTTP + ":8080", HTTP + ":8080/"),
    ("https://example.com:8443/", "https://example.com:8443/"),
    (HTTP + "/a%2fb%2Fc%zz%?d=%2f%2B+&e=%%", HTTP + "/a%2fb%2Fc%zz%?d=%2f%2B+&e=%%"),
    (
        HTTP + "/a;b=1,2/(c)!$&'*:@?d[]=/?:@!$'()*,;~",
        HTTP + "/a;b=1,2/(c)!$&'*:@?d[]=/?:@!$'()*,;~",
    ),
    (HTTP + '/"<>^`{|}?"<>^`{|}', HTTP + "/%22%3C%3E%5E%60%7B%7C%7D?%22%3C%3E%5E%60%7B%7C%7D"),
    (HTTP + "/bär?wort=熊", HTTP + "/b%C3%A4r?wort=%E7%86%8A"),
    (HTTP + "//a/../b/./c", HTTP + "//a/../b/./c"),
    ("http://bücher.EXAMPLE/", "http://xn--bcher-kva.example/"),
    ("http://例え。jp/", "http://xn--r8jz45g.jp/"),
    ("http://xn--bcher-kva.example/", "http://xn--bcher-kva.example/"),
    ("http://my_bucket.-a-.example/", "http://my_bucket.-a-.example/"),
    ("http://①②⑦.0.0.1/", "http://127.0.0.1/"),
    ("http://0x7f.1/", "http://0x7f.1/"),
    ("http://[2001:DB8::A]:8080/a", "http://[2001:db8::a]:8080/a"),
    ("http://[::ffff:127.0.0.1]:80", "http://[::ffff:127.0.0.1]/"),
    (f"http://{'a.' * 126}b/", f"http://{'a.' * 126}b/"),  # 253 characters
    (HTTP + "/" + "a" * (MAX_URL_LENGTH - 19), HTTP + "/" + "a" * (MAX_URL_LENGTH - 19)),
]


@pytest.mark.parametrize(("url", "sent"), SENT)
def test_sent(url: str, sent: str) -> None:
    target = parse_url(url)
    assert target.url == sent
    assert parse_url(sent) == target
    assert target.url.startswith(target.origin + "/")


def test_target() -> None:
    url = "http://[2606:4700::a]:8443/a?b"
    assert parse_url(url + "#c") == Target(url, "http", "2606:4700::a", 8443)


def test_signed_query_is_not_touched() -> None:
    query = "X-Amz-Date=20260801T000000Z&X-Amz-Signature=0aF%2f%2B/=&w=3%20&=&&e[]=1"
    assert parse_url(f"https://cdn.example/a%20b.jpg?{query}").url.endswith(f"/a%20b.jpg?{query}")


FOLLOWED = [  # from http://example.com/a/b?c=d
    ("e", HTTP + "/a/e"),
    ("e#/../f", HTTP + "/a/e"),
    ("e?f=/../g#h", HTTP + "/a/e?f=/../g"),
    ("../e", HTTP + "/e"),
    ("../../../e", HTTP + "/e"),
    ("./e/.", HTTP + "/a/e/"),
    ("e/..", HTTP + "/a/"),
    ("/e;f", HTTP + "/e;f"),
    ("/e;", HTTP + "/e;"),
    ("/e//f/../g", HTTP + "/e//g"),
    ("/..//localhost/", HTTP + "//localhost/"),
    ("/%2e%2E/e", HTTP + "/%2e%2E/e"),
    ("?e", HTTP + "/a/b?e"),
    ("#e", HTTP + "/a/b?c=d"),
    ("", HTTP + "/a/b?c=d"),
    ("//other.example/e", "http://other.example/e"),
    ("//other.example:8080?e", "http://other.example:8080/?e"),
    ("http://other.example/e/../f;?g", "http://other.example/e/../f;?g"),
    ("HTTPS://OTHER.example", "https://other.example/"),
    ("/bär", HTTP + "/b%C3%A4r"),
]


@pytest.mark.parametrize(("location", "sent"), FOLLOWED)
def test_redirect(location: str, sent: str) -> None:
    assert follow(parse_url(HTTP + "/a/b?c=d"), location).url == sent


def test_redirect_keeps_the_port_and_the_brackets() -> None:
    base = parse_url("https://[2606:4700::a]:8443")
    assert follow(base, "e").url == "https://[2606:4700::a]:8443/e"
    assert follow(base, "//example.com").url == "https://example.com/"


@pytest.mark.parametrize(
    ("location", "code", "words"),
    [
        ("file:///etc/passwd", "BLOCKED_SCHEME", "(got file:)"),
        ("http://other.example/", "BLOCKED_SCHEME", "redirects from https to http"),
        ("HTTP://example.com/a", "BLOCKED_SCHEME", "redirects from https to http"),
        ("//example.com:22/", "BLOCKED_PORT", "22"),
        ("//user@example.com/", "BAD_ADDRESS", "user name"),
        ("///example.com/", "BAD_ADDRESS", "no host"),
        ("https:e", "BAD_ADDRESS", "does not begin with"),
        ("/a\r\nSet-Cookie: a", "BAD_ADDRESS", "control character"),
        ("/a b", "BAD_ADDRESS", "blank"),
        ("\t/a", "BAD_ADDRESS", "control character"),
        ("/\\other.example", "BAD_ADDRESS", "backslash"),
        ("/\udce4", "BAD_ADDRESS", "control character"),
        ("a" * 100_000, "BAD_ADDRESS", "more than 4,096"),
        ("#" + "a" * 100_000, "BAD_ADDRESS", "more than 4,096"),
        ("https://example.com/" + "a" * 100_000, "BAD_ADDRESS", "more than 4,096"),
        ("a" * (MAX_URL_LENGTH - 10), "BAD_ADDRESS", "more than 4,096"),  # too long once joined
    ],
)
def test_redirect_refused(location: str, code: str, words: str) -> None:
    with pytest.raises(PhotoError) as caught:
        follow(parse_url("https://example.com/a/b"), location)
    assert caught.value.code == code
    assert words in caught.value.sentence


def test_shown() -> None:
    assert shorten("a\0\u202e\ud800ä") == "a\\x00\\u202e\\ud800ä"
    assert shorten("a" * 80) == "a" * 80
    assert shorten("a" * 81) == "a" * 80 + "..."
    assert shorten("\0" * 81) == "\\x00" * 20 + "..."


PIECES = (
    "http://", "https://", "HTTP:", "//", "/", "?", "#", "@", ":", "::", "[", "]", "[::1]", ".",
    "..", "%", "%2f", "%00", "\\", ";", "&", "=", "+", "'", '"', "<", "{", "|", "^", "`", "~", "!",
    "$", "*", ",", "-", "_", "\t", "\r\n", " ", "\0", "\x7f", "\xa0", "\xad", "\u200d", "\u2100",
    "\u3002", "\uff0e", "\uff20", "\uff1a", "\uff0f", "\ud800", "é", "ß", "İ", "熊", "Å", "ﬁ", "①",
    "xn--", "xn--a", "xn--bcher-kva", "127.0.0.1", "0x7f", "8080", ":80", ":443", ":8443", "080",
    "a", "B", "example.com", "EXAMPLE.com.", "::ffff:1.2.3.4", "2606:4700::1", "v1.a", "user:pw@",
)  # fmt: skip


def odd_url(dice: random.Random) -> str:
    start = dice.choice(("http://", "https://", "HTTP://", ""))
    host = dice.choice(("", "example.com", "a", "é", "[::1]", "bücher.de", "1.2"))
    return start + host + "".join(dice.choices(PIECES, k=dice.randrange(7)))


def test_yarl_reads_what_we_read() -> None:
    dice = random.Random(1)
    passed = 0
    while passed < 4_000:
        url = odd_url(dice)
        try:
            target = parse_url(url)
        except PhotoError:
            continue
        passed += 1
        sent = yarl.URL(target.url, encoded=True)
        read = (str(sent), sent.scheme, sent.raw_host, sent.port)
        assert read == (target.url, target.scheme, target.host, target.port), url
        assert target.url.isascii() and target.url.isprintable() and " " not in target.url
        assert target.origin + sent.raw_path_qs == target.url
        assert parse_url(target.url) == target


def test_redirects_are_read_alike() -> None:
    dice = random.Random(2)
    base = parse_url("https://example.com:8443/a/b;c?d")
    passed = 0
    while passed < 1_000:
        location = "".join(dice.choices(PIECES, k=dice.randrange(6)))
        try:
            target = follow(base, location)
        except PhotoError:
            continue
        passed += 1
        assert parse_url(target.url) == target
        sent = yarl.URL(target.url, encoded=True)
        assert (sent.raw_host, sent.port) == (target.host, target.port)
        if "//" not in location:
            assert target.origin == base.origin


# D2. First and last address of every refused range, and the neighbours, which are allowed.
RANGES = """
0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24
192.0.2.0/24 192.31.196.0/24 192.52.193.0/24 192.88.99.0/24 192.168.0.0/16 192.175.48.0/24
198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4"""
OUTSIDE = """
1.0.0.0 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0
169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 191.255.255.255 192.0.1.0 192.0.1.255
192.0.3.0 192.31.195.255 192.31.197.0 192.52.192.255 192.52.194.0 192.88.98.255 192.88.100.0
192.167.255.255 192.169.0.0 192.175.47.255 192.175.49.0 198.17.255.255 198.20.0.0 198.51.99.255
198.51.101.0 203.0.112.255 203.0.114.0 223.255.255.255 8.8.8.8 93.184.215.14"""
SPECIAL = """
127.0.0.1 169.254.169.254 169.254.170.2 100.100.100.200 192.0.0.8 192.0.0.9 192.0.0.10 192.0.0.170
192.0.0.192 192.88.99.2 224.0.0.1 239.255.255.255 10.1.2.3 172.17.0.1 192.168.1.1 198.19.0.1"""
REFUSED_IPV6 = """
:: ::1 ::127.0.0.1 ::8.8.8.8 ::ffff:0:8.8.8.8 ::fffe:808:808 ::1:0:0:0
::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 ::ffff:0.0.0.0 ::ffff:255.255.255.255
64:ff9a:ffff:ffff:ffff:ffff:ffff:ffff 64:ff9b::127.0.0.1 64:ff9b::169.254.169.254
64:ff9b::1:808:808 64:ff9b:1::8.8.8.8 64:ff9b:1::127.0.0.1 64:ff9b:1:ffff::8.8.8.8
100::1 200::1 1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 4000:: 5f00::1
2001:: 2001:0:808:808:: 2001:2::1 2001:4:112::1 2001:10::1 2001:20::1
2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff 2001:db8:: 2001:db8:ffff:ffff:ffff:ffff:ffff:ffff
2002:: 2002:7f00:1:: 2002:a9fe:a9fe:: 2002:808:808:: 2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff
2620:4f:8000:: 2620:4f:8000:ffff:ffff:ffff:ffff:ffff
3fff:: 3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff
2606:4700::5efe:127.0.0.1 2606:4700::5efe:10.0.0.1 2606:4700::200:5efe:169.254.169.254
2606:4700::200:5efe:192.168.0.1
fc00::1 fdff:ffff::1 fe80::1 fe80::5efe:8.8.8.8 fec0::1 feff::1 ff02::1 ff0e::1
ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"""
ALLOWED_IPV6 = """
2000:: 2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff 2001:200:: 2001:4860:4860::8888
2001:db7:ffff:ffff:ffff:ffff:ffff:ffff 2001:db9:: 2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff
2003:: 2606:4700::1 2620:4f:7fff:ffff:ffff:ffff:ffff:ffff 2620:4f:8001::
3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff 3fff:1000:: 3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff
::ffff:8.8.8.8 64:ff9b::8.8.8.8 2606:4700::5efe:8.8.8.8 2606:4700::200:5efe:8.8.8.8
2606:4700::100:5efe:127.0.0.1 2606:4700::5eff:127.0.0.1"""
NETWORKS = [IPv4Network(text) for text in RANGES.split()]
INSIDE = sorted({str(network[end]) for network in NETWORKS for end in (0, -1)})


def spellings(address: IPv4Address) -> list[str]:
    """What resolvers take for this address: six ways and some more."""
    number, (a, b, c, d) = int(address), address.packed
    return [
        f"{a}.{b}.{c}.{d}",
        f"{number}",
        f"{number:#x}",
        f"0x{a:x}.{number & 0xFFFFFF}",
        f"0{a:o}.0{b:o}.0{c:o}.0{d:o}",
        f"{a}.{number & 0xFFFFFF}",
        f"{a}.{b}.{number & 0xFFFF}",
        f"::ffff:{a}.{b}.{c}.{d}",
        f"::ffff:{number >> 16:x}:{number & 0xFFFF:x}",
        f"64:ff9b::{a}.{b}.{c}.{d}",
    ]


def resolved(host: str) -> set[IPv4Address | IPv6Address]:
    """What the system's resolver makes of it, without asking any name server."""
    numeric = socket.AI_NUMERICHOST
    answers = socket.getaddrinfo(host, 80, type=socket.SOCK_STREAM, flags=numeric)
    return {ip_address(answer[4][0]) for answer in answers}


@pytest.mark.parametrize("address", [*INSIDE, *SPECIAL.split()])
def test_refused_in_every_spelling(address: str) -> None:
    for spelling in spellings(IPv4Address(address)):
        bracketed = f"[{spelling}]" if ":" in spelling else spelling
        host = parse_url(f"http://{bracketed}/").host
        assert host == spelling
        found = resolved(host)
        assert found, spelling
        assert not any(map(is_public, found)), spelling


@pytest.mark.parametrize("address", OUTSIDE.split())
def test_allowed_in_every_spelling(address: str) -> None:
    for spelling in spellings(IPv4Address(address)):
        assert all(map(is_public, resolved(spelling))), spelling


def test_neighbours_are_in_the_table() -> None:
    """No range is one longer or shorter than it is here."""
    for network in NETWORKS:
        for step in (int(network[0]) - 1, int(network[-1]) + 1):
            if 0 <= step < 2**32 and not any(IPv4Address(step) in other for other in NETWORKS):
                assert str(IPv4Address(step)) in OUTSIDE.split()


@pytest.mark.parametrize("address", REFUSED_IPV6.split())
def test_ipv6_refused(address: str) -> None:
    host = parse_url(f"http://[{address}]/").host
    assert [is_public(found) for found in resolved(host)] == [False]


@pytest.mark.parametrize("address", ALLOWED_IPV6.split())
def test_ipv6_allowed(address: str) -> None:
    assert [is_public(found) for found in resolved(address)] == [True]


def test_zones_are_refused() -> None:
    assert is_public(IPv6Address("2606:4700::1"))
    assert not is_public(IPv6Address("2606:4700::1%1"))
    assert not is_public(IPv6Address("::ffff:8.8.8.8%1"))
    assert not is_public(IPv6Address("fe80::1%eth0"))


def test_full_width_digits_lead_to_loopback() -> None:
    """The name is not judged; what it leads to is."""
    for host in (
        "①②⑦.0.0.1",
        "127\uff0e0\uff0e0\uff0e1",
        "127。0。0。1",
        "127.0.0.1.",
        "0",
        "0X7F.1",
    ):
        (found,) = resolved(parse_url(f"http://{host}/").host)
        assert not is_public(found), host

"""Whose photos these are: one row each, nobody's words run, nothing of this computer leaks."""

from __future__ import annotations

import base64
import csv
import hashlib
import os
import random
import re
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from bear_classifier.collect.rights.attribution import (
    as_page,
    attribution,
    attribution_text,
    credit,
)
from bear_classifier.config.project_file import build
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import DUPLICATE, OK, Photo, Source
from bear_classifier.errors import DataError
from bear_classifier.runtime.files import write_table

Make = Callable[..., Photo]
CONFIG = build({"name": "bears", "classes": {"grizzly": ["g"], "teddy": ["t"]}}, where="test")
COLUMNS = (
    "file,sha256,class,side,title,author,licence,licence_url,page,address,date,found_by,query,rank,"
    "via,further_sources"
)
FOUND = {
    "kind": "openverse",
    "code": OK,
    "query": "grizzly bear",
    "engine": "openverse",
    "rank": 4,
    "page": "https://www.photos.example/bears/7",
    "title": "A bear",
    "author": "Jane Doe",
    "licence": "CC BY 2.0",
    "licence_url": "https://creativecommons.example/by/2.0",
    "at": "2026-11-21T10:00:00+00:00",
}
SPECIAL = [
    *(
        "=",
        "+",
        "-",
        "@",
        "\t",
        "\r",
        "\n",
        "\0",
        "'",
        '"',
        ",",
        ";",
        "<",
        ">",
        "&",
        "/",
        "\\",
        " ",
    ),
    *(
        "<script>",
        "</script>",
        "</style>",
        "</bdi>",
        "<!--",
        "-->",
        "&lt;",
        "&#x3c;",
        "javascript:",
    ),
    *(
        "https://",
        "//",
        "' onerror='x",
        '" onclick="x',
        "é",
        "م",
        "\u202e",
        "🐻",
        "\u2028",
        "a",
        "9",
    ),
]


def source(number: int, origin: str = "https://img.photos.example/7.jpg", **facts: Any) -> Source:
    facts = {"label": "grizzly", "sha256": f"{number:064x}", **FOUND, **facts}
    return Source(origin, **facts)


def dataset(root: Path, photos: Sequence[Photo], sources: Sequence[Source]) -> Catalog:
    catalog = Catalog(root)
    with catalog.transaction():
        catalog.put_photos(photos)
        catalog.put_sources(sources)
    return catalog


def table(catalog: Catalog) -> list[dict[str, str]]:
    with (catalog.root / "attribution.csv").open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def page(catalog: Catalog) -> str:
    return (catalog.root / "attribution.html").read_text(encoding="utf-8")


def odd(dice: random.Random) -> str:
    return "".join(dice.choices(SPECIAL, k=dice.randint(1, 8)))


class Parsed(HTMLParser):
    """What a browser makes of a page: its elements with their attributes, and its words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


# one row for each photo in use


def test_a_row_says_all_that_is_known(tmp_path: Path, make: Make) -> None:
    further = source(7, "https://copy.example/b.jpg", code=DUPLICATE, author="", licence="")
    catalog = dataset(tmp_path, [make(7, split="test")], [source(7), further])
    outcome = attribution(catalog, CONFIG)
    assert outcome == {
        "photos": 1,
        "with_author": 1,
        "with_licence": 1,
        "claimed": 0,
        "csv": str(tmp_path / "attribution.csv"),
        "html": str(tmp_path / "attribution.html"),
        "left_out": 0,
    }
    (row,) = table(catalog)
    assert ",".join(row) == COLUMNS
    assert tuple(row.values()) == (
        f"photos/00/{7:064x}.png",
        f"{7:064x}",
        "grizzly",
        "test",
        "A bear",
        "Jane Doe",
        "CC BY 2.0",
        "https://creativecommons.example/by/2.0",
        "https://www.photos.example/bears/7",
        "https://img.photos.example/7.jpg",
        "2026-11-21T10:00:00+00:00",
        "openverse",
        "grizzly bear",
        "4",
        "",
        "1",
    )


def test_photos_that_are_not_used_are_counted_and_not_listed(tmp_path: Path, make: Make) -> None:
    aside = [make(n, status=s) for n, s in ((2, "duplicate"), (3, "unusable"), (4, "dropped"))]
    photos = [make(1), *aside]
    catalog = dataset(tmp_path, photos, [source(n, f"https://x.example/{n}") for n in range(1, 5)])
    assert attribution(catalog, CONFIG)["left_out"] == 3
    assert [row["sha256"] for row in table(catalog)] == [f"{1:064x}"]
    assert "3 more are kept but not used" in page(catalog)
    for photo in aside:
        assert photo.sha256 not in page(catalog)


def test_the_photos_stand_where_the_page_looks_for_them(tmp_path: Path, make: Make) -> None:
    catalog = dataset(tmp_path, [make(1), make(2)], [source(1)])
    attribution(catalog, CONFIG)
    images = Parsed(page(catalog)).all("img")
    expected = [catalog.file(photo) for photo in catalog.photos()]
    assert [tmp_path / str(image["src"]) for image in images] == expected
    assert [tmp_path / row["file"] for row in table(catalog)] == expected
    assert all(image["loading"] == "lazy" and image["alt"] for image in images)


def test_the_same_photos_give_the_same_files_ordered_by_class(tmp_path: Path, make: Make) -> None:
    photos = [make(1, label="teddy"), make(2), make(3, label="teddy"), make(4)]
    found = []
    for name, order in (("a", photos), ("b", photos[::-1])):
        catalog = dataset(tmp_path / name, order, [source(1)])
        attribution(catalog, CONFIG)
        found.append((page(catalog), table(catalog)))
    assert found[0] == found[1]
    labels = [row["class"] for row in found[0][1]]
    assert labels == ["grizzly", "grizzly", "teddy", "teddy"]
    assert re.findall(r"<h2><bdi>(\w+)</bdi> <span>(\d)", found[0][0]) == [
        ("grizzly", "2"),
        ("teddy", "2"),
    ]


@pytest.mark.parametrize("photos", [[], [1]])
def test_nothing_to_say(tmp_path: Path, make: Make, photos: list[int]) -> None:
    found = [source(n) for n in photos]
    catalog = dataset(tmp_path, [make(n, status="dropped") for n in photos], found)
    with pytest.raises(DataError, match="^NO_PHOTOS: .* has no photo in use .*; run: bears run"):
        attribution(catalog, CONFIG)
    assert not (tmp_path / "attribution.csv").exists()


def test_photos_without_any_source_are_nobodys_to_speak_of(tmp_path: Path, make: Make) -> None:
    with pytest.raises(DataError, match="^NO_PHOTOS"):
        attribution(dataset(tmp_path, [make(1)], []), CONFIG)


def test_files_are_replaced_as_a_whole(tmp_path: Path, make: Make) -> None:
    catalog = dataset(tmp_path, [make(1)], [source(1)])
    attribution(catalog, CONFIG)
    before = {}
    for name in ("attribution.csv", "attribution.html"):
        os.link(tmp_path / name, tmp_path / f"old.{name}")
        before[name] = (tmp_path / name).read_bytes()
    with catalog.transaction():
        catalog.put_photos([make(2)])
    attribution(catalog, CONFIG)
    for name, content in before.items():
        assert (tmp_path / f"old.{name}").read_bytes() == content
        assert (tmp_path / name).read_bytes() != content


# which source speaks


def test_one_source_speaks_and_never_two(make: Make) -> None:
    """One knows the author, the other the licence: they may be of two photographers."""
    bare = {"title": "", "page": "", "author": "", "licence": "", "licence_url": ""}
    author = source(1, "https://a.example/1", **bare | {"author": "Ann"})
    licence = source(1, "https://b.example/1", **bare | {"licence": "CC0", "title": "Bear"})
    for order in ([author, licence], [licence, author]):
        row = credit(make(1), order, "x.png")
        assert (row.author, row.licence, row.title) == ("unknown", "CC0", "Bear")
        assert row.address == "https://b.example/1"
        assert row.further_sources == 1


def test_of_equals_the_first_speaks(make: Make) -> None:
    two = [source(1, f"https://{n}.example/", author=n) for n in ("ann", "bob")]
    assert credit(make(1), two, "x").author == "ann"
    assert credit(make(1), two[::-1], "x").author == "bob"


@pytest.mark.parametrize("nothing", ["", "  ", "\n"])
def test_what_is_unknown_is_said(tmp_path: Path, make: Make, nothing: str) -> None:
    silent = source(1, author=nothing, licence=nothing, licence_url="")
    catalog = dataset(tmp_path, [make(1)], [silent])
    outcome = attribution(catalog, CONFIG)
    assert (outcome["with_author"], outcome["with_licence"]) == (0, 0)
    assert [(row["author"], row["licence"]) for row in table(catalog)] == [("unknown", "unknown")]
    assert "author unknown" in page(catalog)
    assert "licence unknown" in page(catalog)


def test_a_licence_without_a_name_goes_by_its_address(make: Make) -> None:
    row = credit(make(1), [source(1, licence="", licence_url="https://l.example/by")], "x")
    assert row.licence == row.licence_url == "https://l.example/by"


def test_the_address_is_where_the_bytes_came_from(make: Make) -> None:
    moved = source(1, final_url="https://cdn.example/7.jpg")
    assert credit(make(1), [moved], "x").address == "https://cdn.example/7.jpg"
    small = source(1, thumbnail="https://thumbs.example/7", via="thumbnail")
    row = credit(make(1), [small], "x")
    assert (row.address, row.via) == ("https://thumbs.example/7", "thumbnail")


def test_a_photo_whose_address_holds_another_by_now(make: Make) -> None:
    row = credit(make(1, origin="https://a.example/1"), [], "x")
    assert (row.address, row.author, row.further_sources) == ("https://a.example/1", "unknown", 0)


# what must not get out


@pytest.mark.parametrize(
    "path",
    ["/home/jane.doe/private/grizzly/a b.jpg", r"C:\Users\jane.doe\private\grizzly\a b.jpg"],
)
def test_no_path_of_this_computer_gets_out(tmp_path: Path, make: Make, path: str) -> None:
    folder = Source(path, "grizzly", "folder", "9-9", OK, "", f"{1:064x}")
    catalog = dataset(tmp_path / "private", [make(1, origin=path)], [folder])
    attribution(catalog, CONFIG)
    (row,) = table(catalog)
    assert (row["address"], row["found_by"], row["page"]) == ("grizzly/a b.jpg", "folder", "")
    written = page(catalog) + (catalog.root / "attribution.csv").read_text(encoding="utf-8")
    for secret in ("jane", "private", str(tmp_path)):
        assert secret not in written


def test_no_password_gets_out(tmp_path: Path, make: Make) -> None:
    facts = {
        "page": "https://jane:secret@a.example:81/p?q=@#x",
        "final_url": "http://j:secret@b.example",
    }
    catalog = dataset(tmp_path, [make(1)], [source(1, "https://jane:secret@a.example/", **facts)])
    attribution(catalog, CONFIG)
    (row,) = table(catalog)
    assert row["page"] == "https://a.example:81/p?q=@#x"
    assert row["address"] == "http://b.example"
    assert "secret" not in page(catalog) + str(row)


# nobody's words run


def test_any_text_comes_back_from_the_table_and_is_no_formula(tmp_path: Path) -> None:
    dice = random.Random(1)
    texts = [*SPECIAL, *("'" * n + "=1" for n in range(4)), "'t Hooft", "\uff1d1"]
    texts += [odd(dice) for _ in range(2000)]
    write_table(tmp_path / "t.csv", [[text, 1.5, "x"] for text in texts])
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.reader(file))
    assert all(row[1:] == ["1.5", "x"] for row in rows)
    cells = [row[0] for row in rows]
    assert not [
        cell for cell in cells if cell.startswith(tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"))
    ]
    plain = [re.sub(r"^'('*[=+\-@\t\r\n\uff1d])", r"\1", cell) for cell in cells]
    assert plain == [text.replace("\0", "\ufffd") for text in texts]
    assert "'t Hooft" in cells


def test_no_text_changes_the_page(tmp_path: Path, make: Make) -> None:
    """Whatever people write: the same elements and attributes, and their words as words."""
    texts = ("title", "author", "licence", "query", "engine", "via", "at")
    dice = random.Random(2)
    for number in range(300):
        facts = {name: odd(dice) + "x" for name in texts}
        photo = make(1, label=odd(dice) + "x", split="train")
        row = credit(photo, [source(1, **facts)], "photos/x.png")
        plain = credit(make(1, split="train"), [source(1, **dict.fromkeys(texts, "x"))], "x")
        name = odd(dice)
        parsed, usual = (Parsed(as_page(n, [r], 0)) for n, r in ((name, row), ("n", plain)))
        shape = [(tag, sorted(attributes)) for tag, attributes in parsed.elements]
        assert shape == [(tag, sorted(attributes)) for tag, attributes in usual.elements], number
        words = "".join(parsed.words)
        for text in (facts["author"].strip(), facts["licence"].strip(), facts["query"]):
            assert text.replace("\0", "\ufffd") in words.replace("\0", "\ufffd")


@pytest.mark.parametrize(
    "place",
    [
        *(
            "javascript:alert(1)",
            "JaVaScript:alert(1)",
            "data:text/html,<b>x",
            "file:///etc/passwd",
        ),
        *(
            "//evil.example/x",
            "ftp://a.example/",
            "http://",
            "https://[",
            " javascript:alert(1)",
            "",
        ),
    ],
)
def test_only_addresses_of_the_web_are_links(make: Make, place: str) -> None:
    facts = {"page": place, "licence_url": place, "final_url": place}
    row = credit(make(1), [source(1, place, **facts)], "photos/x.png")
    links = Parsed(as_page("n", [row], 0)).all("a")
    assert [link["href"] for link in links] == ["#class-0"]


def test_links_tell_nothing_and_vouch_for_nothing(tmp_path: Path, make: Make) -> None:
    address = "https://img.example/a?b=1&copy=2\"'<x>"
    row = credit(make(1), [source(1, address)], "photos/x.png")
    parsed = Parsed(as_page("n", [row], 0))
    links = [link for link in parsed.all("a") if not str(link["href"]).startswith("#")]
    assert {link["href"] for link in links} == {row.licence_url, row.page, address}
    assert {link["rel"] for link in links} == {"noopener noreferrer nofollow"}


def test_the_page_needs_nothing_and_allows_nothing(make: Make) -> None:
    text = as_page("n", [credit(make(1), [source(1)], "photos/x.png")], 0)
    parsed = Parsed(text)
    assert {tag for tag, _ in parsed.elements} & {"script", "link", "iframe", "object"} == set()
    assert not [a for _, a in parsed.elements if "style" in a or any(k.startswith("on") for k in a)]
    (policy,) = (
        str(meta["content"])
        for meta in parsed.all("meta")
        if meta.get("http-equiv") == "Content-Security-Policy"
    )
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy.split("; ") == [
        "default-src 'none'",
        "img-src 'self' file: data:",
        f"style-src 'sha256-{digest}'",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    assert "url(" not in style
    assert "@import" not in style
    assert "prefers-color-scheme:dark" in style
    assert parsed.all("html") == [{"lang": "en"}]


# the summary


def test_the_summary_counts(tmp_path: Path, make: Make) -> None:
    """30 photos of 12 sites: n of the n-th; every fifth author and every third licence unknown."""
    facts = [
        {
            "page": f"https://www.site{n % 12:02}.example/{n}",
            "author": "" if n % 5 == 0 else "Ann",
            "licence": ""
            if n % 3 == 0
            else "CC0"
            if n % 3 == 1
            else "public domain (search filter)",
            "licence_url": "",
        }
        for n in range(30)
    ]
    sources = [source(n, f"https://img.example/{n}", **row) for n, row in enumerate(facts)]
    catalog = dataset(tmp_path, [make(n) for n in range(30)], sources)
    outcome = attribution(catalog, CONFIG)
    assert (outcome["with_author"], outcome["with_licence"], outcome["claimed"]) == (24, 20, 10)
    text = page(catalog)
    figures = re.findall(r"<dt>([^<]*)</dt><dd>(\d+)</dd>", text.split("</header>")[0])
    assert figures == [
        ("photos", "30"),
        ("with a known author", "24"),
        ("with a known licence", "10"),
        ("with a licence that a search service claims", "10"),
    ]
    counts = dict(re.findall(r"<tr><td><bdi>([^<]*)</bdi></td><td>(\d+)</td></tr>", text))
    assert {k: counts[k] for k in ("unknown", "CC0", "public domain (search filter)")} == {
        "unknown": "10",
        "CC0": "10",
        "public domain (search filter)": "10",
    }
    sites = [name for name in counts if name.endswith(".example")]
    assert sites[:6] == [f"site{n:02}.example" for n in range(6)]  # three photos each, not two
    assert len(sites) == 10
    assert "and 2 more" in text


def test_a_claim_is_called_a_claim(make: Make) -> None:
    explained = "is a claim of the search service"
    claim = credit(make(1), [source(1, licence="public domain (search filter)")], "x")
    known = credit(make(1), [source(1)], "x")
    assert explained in as_page("n", [known, claim], 0)
    assert explained not in as_page("n", [known], 0)
    assert "search service claims" not in as_page("n", [known], 0)


def test_a_long_title_is_short_on_the_card_and_whole_below(make: Make) -> None:
    title = "bear " * 100
    parsed = Parsed(as_page("n", [credit(make(1), [source(1, title=title)], "x")], 0))
    assert title.strip() in parsed.words
    assert title[:89] + "…" in parsed.words


def test_what_is_told() -> None:
    outcome = {"photos": 9, "with_author": 3, "with_licence": 4, "claimed": 1, "left_out": 2}
    assert attribution_text({**outcome, "csv": "a.csv", "html": "a.html"}).split("\n") == [
        "9 photos: 3 with a known author, 4 with a stated licence, 1 of them by a search service",
        "2 more are kept but not used, and left out here",
        "a.csv",
        "a.html",
    ]
    quiet = {**outcome, "claimed": 0, "left_out": 0, "csv": "a.csv", "html": "a.html"}
    assert attribution_text(quiet).split("\n") == [
        "9 photos: 3 with a known author, 4 with a stated licence",
        "a.csv",
        "a.html",
    ]

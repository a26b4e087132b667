"""Nothing of a site, an address or a file is used any more: what falls under it, what is left."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import random
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from bear_classifier.collect.rights.take_down import (
    affected,
    canonical,
    matches,
    refusal_of,
    take_down,
    take_down_text,
)
from bear_classifier.collect.screen import screen
from bear_classifier.config.project_file import build
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import (
    DUPLICATE,
    OK,
    TAKEN_DOWN,
    Photo,
    Published,
    Source,
    TakeDown,
)
from bear_classifier.errors import DataError

Make = Callable[..., Photo]
AT = "2026-08-01T10:00:00+00:00"
SAFE = Source("https://other.example/1.jpg", "grizzly", "web")
CONFIG = build({"name": "bears", "classes": {"grizzly": ["g"], "teddy": ["t"]}}, where="test")


def sha(number: int) -> str:
    return f"{number:064x}"


def at(host: str) -> Source:
    return dataclasses.replace(SAFE, origin=f"https://{host}/photo.jpg?x=https://trap.example/")


def dataset(root: Path, photos: Sequence[Photo], sources: Sequence[Source]) -> Catalog:
    catalog = Catalog(root)
    with catalog.transaction():
        catalog.put_photos(photos)
        catalog.put_sources(sources)
    for photo in photos:
        catalog.file(photo).parent.mkdir(parents=True, exist_ok=True)
        catalog.file(photo).write_bytes(photo.sha256.encode())
    return catalog


def events(catalog: Catalog) -> list[tuple[object, ...]]:
    with contextlib.closing(sqlite3.connect(catalog.path)) as db:
        return db.execute("SELECT who, action, sha256, old, new, why FROM event").fetchall()


# sites


@pytest.mark.parametrize(
    ("given", "host", "falls"),
    [
        ("bears.example", "bears.example", True),
        ("bears.example", "img.bears.example", True),
        ("bears.example", "a.b.c.bears.example", True),
        ("bears.example", "notbears.example", False),
        ("bears.example", "bears.example.evil.example", False),
        ("bears.example", "bears.example.", True),
        ("bears.example", "bears.example:8080", True),
        ("bears.example", "jane:pw@bears.example", True),
        ("bears.example", "example", False),
        ("img.bears.example", "bears.example", False),
        ("trap.example", "bears.example", False),  # which stands in the query only
        ("BEARS.Example", "bears.example", True),
        ("bears.example", "BEARS.EXAMPLE", True),
        ("https://bears.example/any/page?x=1#y", "img.bears.example", True),
        ("bears.example/any/page", "bears.example", True),
        ("bears.example:443", "bears.example", True),
        ("  bears.example. ", "bears.example", True),
        ("bücher.example", "xn--bcher-kva.example", True),
        ("xn--bcher-kva.example", "img.bücher.example", True),
        ("BÜCHER.example", "bücher。example", True),
        ("XN--BCHER-KVA.example", "bu\u0308cher.example", True),
        ("faß.example", "fass.example", False),
        ("faß.example", "xn--fa-hia.example", True),
        ("192.0.2.7", "192.0.2.7", True),
        ("192.0.2.7", "1.192.0.2.7", False),
        ("[2001:DB8::1]", "[2001:db8:0::1]", True),
        ("my_bears.example", "my_bears.example", True),
    ],
)
def test_a_site_and_those_below_it(given: str, host: str, falls: bool) -> None:
    assert matches(at(host), "domain", canonical("domain", given)) is falls
    request = TakeDown("domain", canonical("domain", given), AT, "ann", "")
    assert bool(refusal_of([request])(at(host).origin)) is falls


def test_a_site_is_its_labels_from_the_end_and_nothing_else() -> None:
    """2,000 pairs of names made of few labels, so that many are alike but not below."""
    dice = random.Random(3)
    labels = ["a", "b", "aa", "ab", "xn--bcher-kva", "bücher", "B", "example"]
    ascii_of = {"bücher": "xn--bcher-kva", "B": "b"}
    fell = 0
    for _ in range(2000):
        site = [*dice.choices(labels, k=dice.randint(1, 3)), "example"]
        host = [*dice.choices(labels, k=dice.randint(0, 2)), *(site if dice.random() < 0.3 else [])]
        host += [] if host[-len(site) :] == site else ["example"]
        want, got = ([ascii_of.get(x, x) for x in name] for name in (site, host))
        falls = got[-len(want) :] == want
        value = canonical("domain", ".".join(site))
        assert matches(at(".".join(host)), "domain", value) is falls, (site, host)
        fell += falls
    assert 300 < fell < 1700


@pytest.mark.parametrize("field", ["origin", "final_url", "page", "thumbnail"])
def test_every_place_of_a_source_counts(field: str) -> None:
    source = dataclasses.replace(SAFE, **{field: "https://img.bears.example/1"})
    assert matches(source, "domain", "bears.example")
    assert not matches(SAFE, "domain", "bears.example")


@pytest.mark.parametrize(
    "text", ["bears.example", "/bears.example/1.jpg", "file://bears.example/1", "//bears.example"]
)
def test_what_is_no_address_of_the_web_has_no_site(text: str) -> None:
    facts = dict.fromkeys(
        ("origin", "final_url", "page", "thumbnail", "title", "licence_url"), text
    )
    source = dataclasses.replace(SAFE, **facts)
    assert not matches(source, "domain", "bears.example")


@pytest.mark.parametrize(
    "given",
    [
        *("com", "co.uk", ".com", "https://co.uk/x", "CO.UK", "localhost", "рф", "xn--p1ai"),
        *("", "  ", ".", "..", "a..example", "-a.example", "a b.example", "*.bears.example"),
        *("jane@bears.example", "https://jane@bears.example/", "mailto:jane@bears.example"),
        *("3.4", "1.2.3.4.5", "[::zz]", "a[::1]b", "https://", "https://[", "bears.example:99999"),
        *("ftp://bears.example", "a" * 64 + ".example", ".".join(["a" * 60] * 5), "<b>.example"),
        *("bears,example", "bears.example\nother.example"),
    ],
)
def test_what_is_no_site_is_refused(tmp_path: Path, given: str) -> None:
    catalog = dataset(tmp_path, [], [])
    with pytest.raises(DataError, match="^BAD_TAKE_DOWN: .*such as example.com"):
        take_down(catalog, "domain", given, "ann", "why")
    assert catalog.take_downs() == []


def test_a_site_that_lets_others_have_names_below_may_ask_for_itself() -> None:
    assert canonical("domain", "blogspot.com") == "blogspot.com"
    assert canonical("domain", "jane.blogspot.com") == "jane.blogspot.com"


# addresses

ADDRESS = "https://bears.example/a/1.jpg?size=2"


@pytest.mark.parametrize(
    ("other", "falls"),
    [
        (ADDRESS, True),
        (ADDRESS + "#top", True),
        ("HTTPS://BEARS.example:443/a/1.jpg?size=2", True),
        ("https://jane:pw@bears.example/a/1.jpg?size=2", True),
        ("https://bears.example/A/1.jpg?size=2", False),
        ("https://bears.example/a/1.jpg", False),
        ("https://bears.example/a/1.jpg?size=3", False),
        ("https://bears.example/a/1.jpg?size=2&x=1", False),
        ("https://bears.example/a", False),
        ("https://img.bears.example/a/1.jpg?size=2", False),
        ("https://bears.example:8443/a/1.jpg?size=2", False),
        ("http://bears.example/a/1.jpg?size=2", False),
    ],
)
def test_an_address_is_that_one(other: str, falls: bool) -> None:
    for given, there in ((ADDRESS, other), (other, ADDRESS)):
        source = dataclasses.replace(SAFE, page=there)
        value = canonical("url", given)
        assert matches(source, "url", value) is falls
        assert bool(refusal_of([TakeDown("url", value, AT, "ann", "")])(there)) is falls


def test_an_address_as_a_browser_shows_it_and_as_it_sends_it() -> None:
    value = canonical("url", "https://bücher.example/bär 1.jpg?q=é")
    assert value == "https://xn--bcher-kva.example/b%C3%A4r%201.jpg?q=%C3%A9"
    assert canonical("url", "https://bears.example") == canonical("url", "https://bears.example/#a")


@pytest.mark.parametrize(
    ("field", "falls"),
    [("origin", True), ("final_url", True), ("page", True), ("thumbnail", False), ("title", False)],
)
def test_the_places_where_an_address_counts(field: str, falls: bool) -> None:
    source = dataclasses.replace(SAFE, **{field: ADDRESS})
    assert matches(source, "url", canonical("url", ADDRESS)) is falls


@pytest.mark.parametrize(
    "given", ["", "bears.example", "/home/jane/a.jpg", "file:///a", "http://["]
)
def test_what_is_no_address_is_refused(given: str) -> None:
    with pytest.raises(DataError, match="^BAD_TAKE_DOWN: .* is no address of the web"):
        canonical("url", given)


def test_nothing_falls_under_nothing() -> None:
    """Sources of folders have no address, so an empty one must not be theirs."""
    folder = Source("/home/jane/grizzly/1.jpg", "grizzly", "folder")
    for kind in ("domain", "url", "sha256"):
        assert not matches(folder, kind, "")
    assert (
        refusal_of([TakeDown("url", "", AT, "ann", ""), TakeDown("domain", "", AT, "", "")])("")
        == ""
    )


def test_odd_text_is_refused_or_has_one_way_to_write_it() -> None:
    dice = random.Random(4)
    parts = ["https://", "http:", "//", "a", "É", ".", "example", ":", "8", "@", "[", "]", "/", "?"]
    parts += ["#", "%", "%41", " ", "\n", "\ud800", "\u3002", "ⅷ", "xn--", "bears.example", "🐻"]
    parts += ["[::1]", "2001:DB8::1", "1.2.3.4"]
    kept = 0
    for _ in range(4000):
        text = "".join(dice.choices(parts, k=dice.randint(1, 7)))
        for kind in ("domain", "url", "sha256"):
            try:
                value = canonical(kind, text)
            except DataError as exc:
                assert exc.code == "BAD_TAKE_DOWN"
                continue
            assert value.isascii()
            assert canonical(kind, value) == value
            kept += 1
    assert kept > 100


# files


def test_a_file_by_its_first_digits(tmp_path: Path, make: Make) -> None:
    one, two = "abcdef01" + "0" * 56, "abcdef02" + "0" * 56
    photos = [dataclasses.replace(make(1), sha256=s) for s in (one, two)]
    catalog = dataset(tmp_path, photos, [])
    outcome = take_down(catalog, "sha256", " ABCDEF01 ", "ann", "it shows me")
    assert outcome["dropped"] == [one]
    assert [(r.kind, r.value) for r in catalog.take_downs()] == [("sha256", one)]
    assert refusal_of(catalog.take_downs())(one)
    assert not refusal_of(catalog.take_downs())(two)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("abcdef0", "is no sha256"),
        ("abcdef0g", "is no sha256"),
        ("a" * 65, "is no sha256"),
        ("", "is no sha256"),
        ("abcdef00", "2 photos begin with abcdef00; give more digits"),
        ("12345678", "no photo here begins with 12345678; give all 64 digits"),
    ],
)
def test_digits_that_name_no_file(tmp_path: Path, make: Make, given: str, said: str) -> None:
    hashes = ["abcdef00" + c * 56 for c in "ab"]
    catalog = dataset(tmp_path, [dataclasses.replace(make(1), sha256=s) for s in hashes], [])
    with pytest.raises(DataError, match=f"^BAD_TAKE_DOWN: .*{said}"):
        take_down(catalog, "sha256", given, "ann", "why")
    assert catalog.take_downs() == []
    assert len(catalog.photos("ok")) == 2


def test_no_other_kind(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match="'site' is no kind of take-down; choose domain, url or sha"
    ):
        take_down(dataset(tmp_path, [], []), "site", "bears.example", "ann", "why")


# what becomes of photos and sources


def test_photos_are_dropped_by_event_and_pending_ones_refused(tmp_path: Path, make: Make) -> None:
    here, there = "https://img.bears.example", "https://other.example"
    photos = [make(1), make(2), make(3, status="duplicate"), make(4, status="dropped"), make(5)]
    sources = [
        Source(f"{here}/1", "grizzly", "web", code=OK, sha256=sha(1)),
        Source(f"{there}/2", "grizzly", "web", code=OK, sha256=sha(2)),
        Source(f"{here}/2", "grizzly", "web", code=DUPLICATE, sha256=sha(2)),  # a copy suffices
        Source(f"{here}/3", "grizzly", "web", code=OK, sha256=sha(3)),
        Source(f"{here}/4", "grizzly", "web", code=OK, sha256=sha(4)),
        Source(f"{there}/5", "grizzly", "web", code=OK, sha256=sha(5)),
        Source(f"{here}/6", "grizzly", "web", code="TIMEOUT", sentence="too slow"),
        Source(f"{here}/7", "grizzly", "web"),
        Source(f"{there}/8", "grizzly", "web", page="https://bears.example/8"),
        Source(f"{there}/9", "grizzly", "web"),
    ]
    catalog = dataset(tmp_path, photos, sources)
    outcome = take_down(catalog, "domain", "bears.example", "ann", "asked by mail")
    assert outcome["dropped"] == [sha(1), sha(2), sha(3)]
    assert (outcome["photos"], outcome["already"], outcome["pending_refused"]) == (4, 1, 2)
    assert [p.status for p in catalog.photos()] == ["dropped"] * 4 + ["ok"]
    (request,) = catalog.take_downs()
    assert (request.kind, request.value, request.who) == ("domain", "bears.example", "ann")
    said = f"since {request.at[:10]} nothing of the site bears.example may be used (asked by mail)"
    assert events(catalog) == [
        ("ann", "drop", sha(n), old, "dropped", f"TAKEN_DOWN: {said}")
        for n, old in ((1, "ok"), (2, "ok"), (3, "duplicate"))
    ]
    after = catalog.sources()
    assert after[:7] == sources[:7]
    assert after[9] == sources[9]
    assert after[7:9] == [
        dataclasses.replace(s, code=TAKEN_DOWN, sentence=said) for s in sources[7:9]
    ]
    screen(catalog, CONFIG)  # which judges all but what people decided
    assert [p.status for p in catalog.photos()][:4] == ["dropped"] * 4


def test_files_stay_and_are_named(tmp_path: Path, make: Make) -> None:
    photos = [make(1), make(2), make(3, status="dropped"), make(4)]
    sources = [Source(f"https://bears.example/{n}", "grizzly", "web", code=OK, sha256=sha(n))
               for n in (1, 2, 3)]  # fmt: skip
    catalog = dataset(tmp_path, photos, sources)
    catalog.file(photos[1]).unlink()
    outcome = take_down(catalog, "domain", "bears.example", "ann", "why")
    assert outcome["files"] == [str(catalog.file(photos[n])) for n in (0, 2)]
    assert all(Path(name).read_bytes() for name in outcome["files"])


def test_a_photo_whose_address_holds_another_by_now(tmp_path: Path, make: Make) -> None:
    """The row of an address that was fetched again points at the new picture, or at none."""
    old, new, lost = (make(n, origin=f"https://bears.example/{n // 3}") for n in (1, 2, 3))
    row = Source(
        old.origin, "grizzly", "web", code=OK, sha256=new.sha256, page="https://p.example/"
    )
    gone = Source(lost.origin, "grizzly", "web", code="TIMEOUT", page="https://p.example/")
    for kind, value in (("domain", "bears.example"), ("domain", "p.example")):
        assert affected([old, new, lost], [row, gone], kind, value) == [old, new, lost]
    assert affected([old, new, lost], [row, gone], "url", "https://p.example/") == [old, new, lost]
    assert affected([old, new, lost], [row, gone], "sha256", new.sha256) == [new]


def test_a_second_time_nothing_new_happens(tmp_path: Path, make: Make) -> None:
    sources = [Source("https://bears.example/1", "grizzly", "web", code=OK, sha256=sha(1))]
    catalog = dataset(tmp_path, [make(1)], sources)
    first = take_down(catalog, "domain", "bears.example", "ann", "why")
    before = (catalog.photos(), catalog.sources(), catalog.take_downs(), events(catalog))
    again = take_down(catalog, "domain", "https://BEARS.example/", "bob", "asked twice")
    assert (catalog.photos(), catalog.sources(), catalog.take_downs(), events(catalog)) == before
    assert (first["known"], again["known"]) == (False, True)
    assert (again["dropped"], again["already"]) == ([], 1)
    assert again["files"] == first["files"]


def test_what_matches_nothing_is_remembered_all_the_same(tmp_path: Path, make: Make) -> None:
    catalog = dataset(tmp_path, [make(1)], [SAFE])
    for kind, value in (("domain", "bears.example"), ("url", ADDRESS), ("sha256", sha(9))):
        outcome = take_down(catalog, kind, value, "ann", "why")
        assert (outcome["photos"], outcome["pending_refused"]) == (0, 0)
        assert "No photo here came from there; the request is remembered." in take_down_text(
            outcome
        )
    assert [r.value for r in catalog.take_downs()] == ["bears.example", ADDRESS, sha(9)]
    assert catalog.photos() == [make(1)]
    assert catalog.sources() == [SAFE]


def test_all_of_it_or_nothing(tmp_path: Path, make: Make) -> None:
    """The last of the three kinds of rows cannot be written: the first two are taken back."""
    sources = [
        Source("https://bears.example/1", "grizzly", "web", code=OK, sha256=sha(1)),
        Source("https://bears.example/2", "grizzly", "web"),
    ]
    catalog = dataset(tmp_path, [make(1)], sources)
    with contextlib.closing(sqlite3.connect(catalog.path)) as db, db:
        db.execute(
            "CREATE TRIGGER stop BEFORE UPDATE ON source BEGIN SELECT RAISE(ABORT, 'x'); END"
        )
    with pytest.raises(DataError):
        take_down(catalog, "domain", "bears.example", "ann", "why")
    assert catalog.take_downs() == []
    assert (catalog.photos(), events(catalog)) == ([make(1)], [])
    assert catalog.sources() == sources


# near-copies and models


def test_near_copies_are_listed_and_left_alone(tmp_path: Path, make: Make) -> None:
    near = f"NEAR_COPY of {sha(1)}"
    photos = [
        make(1, group="g"),
        make(2, group="g"),
        make(3, group="h"),
        make(4, group=None),
        make(5, group=None, status="duplicate", reason=near),
        make(6, group="g", status="duplicate", reason=f"NEAR_COPY of {sha(2)}"),
        make(7, group=None, status="duplicate", reason=f"NEAR_COPY of {sha(3)}"),
        make(8, group="g", status="unusable"),
        make(9, group="g", status="dropped"),
        make(10, group=None),
    ]
    catalog = dataset(tmp_path, photos, [])
    for number in (1, 10):
        outcome = take_down(catalog, "sha256", sha(number), "ann", "why")
        expected = ([sha(2)], [sha(5), sha(6)]) if number == 1 else ([], [])
        assert (outcome["near_copies"], outcome["copies_aside"]) == expected
    assert catalog.photos()[1:9] == photos[1:9]


def published(tmp_path: Path, version: int, created: str, **photos: str) -> Published:
    place = tmp_path / "models" / "bears"
    return Published(str(place), version, created, {sha(int(k[1:])): s for k, s in photos.items()})


def test_the_models_that_were_made_with_them(tmp_path: Path, make: Make) -> None:
    place = tmp_path / "models" / "bears"
    place.mkdir(parents=True)
    (place / "bundle.json").write_text(json.dumps({"version": 2, "created": AT}), encoding="utf-8")
    catalog = dataset(tmp_path / "data", [make(n) for n in range(1, 6)], [])
    made = [
        published(tmp_path, 1, "2026-07-01T10:00:00+00:00", p1="train", p2="test"),
        published(tmp_path, 2, "2026-07-31T10:00:00+00:00", p1="valid"),  # never came out
        published(tmp_path, 2, AT, p1="train", p3="train"),
        published(tmp_path, 3, AT, p1="train"),
        published(tmp_path, 4, AT, p4="train"),
        dataclasses.replace(published(tmp_path, 2, AT, p1="test"), model=str(tmp_path / "gone")),
    ]
    with catalog.transaction():
        for bundle in made:
            catalog.put_published(bundle)
    zero = {"train": 0, "valid": 0, "test": 0}
    for _ in range(2):  # dropped now, and dropped earlier
        outcome = take_down(catalog, "sha256", sha(1), "ann", "why")
        assert outcome["bundles"] == [
            {"model": b.model, "version": b.version, "at": b.at, **zero, **use}
            for b, use in (
                (made[0], {"train": 1, "current": False}),
                (made[1], {"valid": 1, "current": False}),
                (made[2], {"train": 1, "current": True}),
                (made[3], {"train": 1, "current": False}),
                (made[5], {"test": 1, "current": False}),
            )
        ]
    assert "To make the models anew without those photos, run: bears run" in take_down_text(outcome)
    later = take_down(catalog, "sha256", sha(2), "ann", "why")
    assert [b["version"] for b in later["bundles"]] == [1]
    assert "bears run" not in take_down_text(later)


@pytest.mark.parametrize("content", ["", "[]", "{", "null", '{"version": 1}', "\xff"])
def test_a_damaged_model_is_not_current(tmp_path: Path, make: Make, content: str) -> None:
    place = tmp_path / "models" / "bears"
    place.mkdir(parents=True)
    (place / "bundle.json").write_bytes(content.encode("latin-1"))
    catalog = dataset(tmp_path / "data", [make(1)], [])
    with catalog.transaction():
        catalog.put_published(published(tmp_path, 1, AT, p1="train"))
    outcome = take_down(catalog, "sha256", sha(1), "ann", "why")
    assert [b["current"] for b in outcome["bundles"]] == [False]


# for search and download


def test_the_reason_names_the_request() -> None:
    requests = [
        TakeDown("domain", "bears.example", AT, "ann", "asked by mail"),
        TakeDown("url", "https://other.example/1.jpg", AT, "ann", ""),
        TakeDown("sha256", sha(7), AT, "ann", ""),
    ]
    reason = refusal_of(requests)
    assert reason("https://a.bears.example/x") == (
        "since 2026-08-01 nothing of the site bears.example may be used (asked by mail)"
    )
    assert reason("https://other.example/1.jpg#x") == (
        "since 2026-08-01 nothing of the address https://other.example/1.jpg may be used"
    )
    assert reason(sha(7)) == "since 2026-08-01 nothing of the file 000000000000... may be used"
    fine = ["https://other.example/2.jpg", sha(8), "", "/home/jane/bears.example", "http://["]
    assert [reason(place) for place in fine] == [""] * len(fine)


def test_ten_thousand_addresses_and_a_thousand_requests() -> None:
    """As `matches` says of each pair, and in a second or two."""
    names = [f"{'abc'[n % 3]}{n % 50}.{'xyz'[n % 3]}{n % 40}.example" for n in range(500)]
    requests = [TakeDown("domain", name, AT, "ann", "") for name in names]
    requests += [TakeDown("url", f"https://site{n}.example/{n}", AT, "ann", "") for n in range(500)]
    addresses = [f"https://img.{names[n % 700 % 500]}/{n}" for n in range(5000)]
    addresses += [f"https://site{n}.example/{n % 900}" for n in range(5000)]
    reason = refusal_of(requests)
    started = time.process_time()
    said = [reason(address) for address in addresses]
    assert time.process_time() - started < 2
    for address, why in list(zip(addresses, said, strict=True))[::500]:
        source = dataclasses.replace(SAFE, origin=address)
        assert bool(why) is any(matches(source, r.kind, r.value) for r in requests)
    assert sum(map(bool, said)) == 5500


# words


def outcome_of(**facts: Any) -> dict[str, Any]:
    usual = {"kind": "domain", "value": "bears.example", "known": False, "photos": 0, "dropped": []}
    usual |= {"already": 0, "pending_refused": 0, "files": [], "bundles": [], "near_copies": []}
    return usual | {"copies_aside": []} | facts


def test_what_is_told() -> None:
    bundle = {"model": "/m/bears", "version": 3, "at": AT, "train": 9, "valid": 1, "test": 0}
    text = take_down_text(
        outcome_of(
            known=True,
            photos=12,
            dropped=["x"] * 10,
            already=2,
            pending_refused=4,
            files=[f"/f/{n}" for n in range(10)],
            near_copies=["n1"],
            copies_aside=["c1"],
            bundles=[{**bundle, "current": True}, {**bundle, "version": 2, "current": False}],
        )
    )
    assert text.split("\n") == [
        "Nothing of the site bears.example is used from now on, nor fetched again; it was asked for"
        " before.",
        "photos dropped: 10, before: 2",
        "not fetched yet, and refused: 4",
        "Their files stay on this computer; delete them if that was asked, too:",
        *(f"  /f/{n}" for n in range(8)),
        "  ... and 2 more; all with --json",
        "Near-copies in use were left alone; look at them:",
        "  n1",
        "Copies set aside come into use at the next run; look at them:",
        "  c1",
        "Models that were made with them:",
        "  /m/bears, version 3 of 2026-08-01 (is there now): 9 train, 1 valid, 0 test",
        "  /m/bears, version 2 of 2026-08-01 (no longer there): 9 train, 1 valid, 0 test",
        "To make the models anew without those photos, run: bears run",
    ]

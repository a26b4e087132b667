"""Searching from source to source and from run to run: what is new, known, changed or gone."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import within

from bear_classifier.cli.options import parse
from bear_classifier.cli.project import named_project
from bear_classifier.collect.download import download
from bear_classifier.collect.search import search
from bear_classifier.collect.sources.registry import SOURCES
from bear_classifier.collect.sources.search_engine import Engine, Hit, NoAnswer
from bear_classifier.collect.spare_candidates import shared_out
from bear_classifier.config.project_file import build
from bear_classifier.config.settings import Config
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import (
    CONFLICT,
    GONE,
    OK,
    PENDING,
    SPARE,
    TAKEN_DOWN,
    Photo,
    Source,
    TakeDown,
)
from bear_classifier.errors import ConfigError, DataError
from bear_classifier.report import stage_lines

Fill = Callable[[Path, dict[str, int | bytes]], None]
LABELS = ["grizzly", "teddy"]


def project(photos: Path) -> Config:
    classes = {label: [label] for label in LABELS}
    return build({"classes": classes, "search": {"source": f"folder:{photos}"}}, where="test")


@pytest.mark.parametrize(
    "name",
    [
        "two words.jpg",
        "b\u00e4r.jpg",
        "ba\u0308r.jpg",
        "🐻.jpg",
        "two\nlines.jpg",
        "tab\t.jpg",
        "x" * 251 + ".jpg",
        "'quote\".jpg",
        "$(rm).jpg",
        "no suffix",
        "_DSC0123.JPG",
        "-rf.jpg",
        "file.jpg?w=300",
    ],
)
def test_odd_names_go_all_the_way(tmp_path: Path, fill: Fill, name: str) -> None:
    fill(tmp_path / "photos", {f"grizzly/{name}": 1, f"teddy/{name}": 2})
    config = project(tmp_path / "photos")
    with Catalog(tmp_path / "data") as catalog:
        assert search(catalog, config) == {"found": 2, "new": 2, "gone": 0, "ignored": {}}
        download(catalog, config)
        origins = [str(tmp_path / "photos" / label / name) for label in LABELS]
        assert [(s.origin, s.code) for s in catalog.sources()] == [(o, OK) for o in origins]
        assert search(catalog, config)["new"] == 0


def test_names_that_are_not_unicode_are_said(tmp_path: Path, fill: Fill) -> None:
    fill(tmp_path / "photos", {"grizzly/a.png": 1})
    for name in (b"grizzly/b\xe4r.png", b"b\xe4ren"):
        Path(os.fsdecode(os.fsencode(tmp_path / "photos") + b"/" + name)).write_bytes(b"x")
    with Catalog(tmp_path / "data") as catalog:
        outcome = search(catalog, project(tmp_path / "photos"))
    assert outcome["found"] == 1
    assert outcome["ignored"] == {
        f"{tmp_path}/photos/grizzly/b?r.png": "its name is not valid Unicode; rename it",
        f"{tmp_path}/photos/b?ren": "not in a class folder",
    }


# between two runs


@pytest.fixture
def photos(tmp_path: Path, fill: Fill) -> Path:
    fill(tmp_path / "photos", {"grizzly/a.png": 1, "grizzly/b.png": 2, "teddy/c.png": 3})
    return tmp_path / "photos"


@pytest.fixture
def catalog(tmp_path: Path, photos: Path) -> Iterator[Catalog]:
    """All photos searched and downloaded once."""
    with Catalog(tmp_path / "data") as made:
        search(made, project(photos))
        download(made, project(photos))
        yield made


def test_nothing_new_the_second_time(catalog: Catalog, photos: Path) -> None:
    before = catalog.sources()
    outcome = search(catalog, project(photos))
    assert outcome == {"found": 3, "new": 0, "gone": 0, "ignored": {}}
    assert catalog.sources() == before


def test_changed_file_is_read_again_and_the_old_photo_kept(
    catalog: Catalog, photos: Path, fill: Fill
) -> None:
    before = {photo.sha256 for photo in catalog.photos()}
    fill(photos, {"grizzly/a.png": 9})
    assert search(catalog, project(photos))["new"] == 1
    (pending,) = catalog.sources(PENDING)
    assert (pending.origin, pending.sha256) == (str(photos / "grizzly" / "a.png"), None)
    assert download(catalog, project(photos))["fetched"] == 1
    assert {photo.sha256 for photo in catalog.photos()} > before
    assert len(catalog.photos("ok")) == 4


def test_file_that_broke_keeps_its_photo(catalog: Catalog, photos: Path, fill: Fill) -> None:
    before = catalog.photos()
    fill(photos, {"grizzly/a.png": b"<html>"})
    search(catalog, project(photos))
    assert download(catalog, project(photos))["failed"] == {"NOT_AN_IMAGE": 1}
    assert catalog.photos() == before


def test_vanished_file_is_gone_and_its_photo_kept(catalog: Catalog, photos: Path) -> None:
    before = catalog.photos()
    (photos / "grizzly" / "a.png").unlink()
    assert search(catalog, project(photos))["gone"] == 1
    download(catalog, project(photos))
    (gone,) = catalog.sources(GONE)
    assert gone.sentence == "no longer in the folder"
    assert gone.sha256 in {photo.sha256 for photo in before}
    assert catalog.photos() == before
    assert search(catalog, project(photos))["gone"] == 0


def test_file_that_comes_back_is_read_again(catalog: Catalog, photos: Path, fill: Fill) -> None:
    before = catalog.sources()
    (photos / "grizzly" / "a.png").rename(photos / "a.png")
    search(catalog, project(photos))
    (photos / "a.png").rename(photos / "grizzly" / "a.png")
    assert search(catalog, project(photos))["new"] == 1
    download(catalog, project(photos))
    assert catalog.sources() == before


def test_files_gone_behind_a_linked_class_folder_are_noticed(tmp_path: Path, fill: Fill) -> None:
    fill(tmp_path, {"elsewhere/a.png": 1, "photos/teddy/b.png": 2})
    (tmp_path / "photos" / "grizzly").symlink_to(tmp_path / "elsewhere")
    config = project(tmp_path / "photos")
    with Catalog(tmp_path / "data") as catalog:
        search(catalog, config)
        (tmp_path / "elsewhere" / "a.png").unlink()
        assert search(catalog, config)["gone"] == 1


def test_another_folder_adds_and_takes_nothing_away(
    catalog: Catalog, tmp_path: Path, fill: Fill
) -> None:
    fill(tmp_path / "photos2", {"teddy/d.png": 4})  # a name that begins like that of the first
    outcome = search(catalog, project(tmp_path / "photos2"))
    assert outcome == {"found": 1, "new": 1, "gone": 0, "ignored": {}}
    assert len(catalog.sources()) == 4
    assert search(catalog, project(tmp_path / "photos"))["gone"] == 0


def test_a_relative_folder_is_the_same_folder(
    catalog: Catalog, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos.parent)
    assert search(catalog, project(Path("photos")))["new"] == 0
    monkeypatch.chdir(photos)
    assert search(catalog, project(Path("../photos/.")))["new"] == 0


def test_without_a_source_what_is_there_goes_on(catalog: Catalog) -> None:
    config = build({"classes": {label: [label] for label in LABELS}}, where="test")
    assert search(catalog, config) == {"found": 0, "new": 0, "gone": 0, "ignored": {}}


# folders whose names are nearly right


def misnamed(catalog: Catalog, photos: Path, *labels: str) -> str:
    classes = {label: [label] for label in labels}
    config = build({"classes": classes, "search": {"source": f"folder:{photos}"}}, where="test")
    with pytest.raises(DataError) as caught:
        search(catalog, config)
    return str(caught.value)


def test_a_class_without_a_photo_beside_a_folder_that_looks_meant(
    tmp_path: Path, fill: Fill
) -> None:
    photos = tmp_path / "in"
    fill(photos, {"Black_bears/a.png": 1, "grizzly bear/a.png": 2, "Teddy/a.png": 3})
    with Catalog(tmp_path / "data") as catalog:
        assert misnamed(catalog, photos, "black", "grizzly", "teddy") == (
            'EMPTY_CLASS: these classes have no photo: "black", "grizzly". Among the folders of'
            f" {photos} these look meant: 'Black_bears' for 'black'; 'grizzly bear' for 'grizzly'."
            " Give them the names of the classes, or change the names in [classes] of the project"
            " file; then run again"
        )
        assert catalog.sources() == []


def test_an_empty_folder_of_the_class_is_no_photo(tmp_path: Path, fill: Fill) -> None:
    fill(tmp_path / "in", {"grizzlies/a.png": 1, "teddy/a.png": 3})
    (tmp_path / "in" / "grizzly").mkdir()
    with Catalog(tmp_path / "data") as catalog:
        assert "'grizzlies' for 'grizzly'" in misnamed(catalog, tmp_path / "in", *LABELS)


def test_a_class_that_is_filled_elsewhere_or_later_is_no_error(
    catalog: Catalog, tmp_path: Path, fill: Fill
) -> None:
    fill(tmp_path / "more", {"Grizzly bears/a.png": 7, "teddy/d.png": 8})
    outcome = search(catalog, project(tmp_path / "more"))  # there are photos of grizzlies
    assert list(outcome["ignored"].values()) == ["not a class of this project"]
    fill(tmp_path / "first", {"teddy/a.png": 9, "unsorted/b.png": 10})
    with Catalog(tmp_path / "data2") as new:
        assert search(new, project(tmp_path / "first"))["found"] == 1


def test_a_list_with_names_that_are_nearly_right(addresses: List) -> None:
    with pytest.raises(DataError, match="^EMPTY_CLASS: this class has no photo: .*'grizzlys' for"):
        addresses.search("grizzlys 1", "teddy 2")


@pytest.mark.parametrize(
    "source", ["", "folder:", "folder", "urls", "urls:", "web:x", "starter:x", "Web", "/photos"]
)
def test_no_such_source(tmp_path: Path, source: str) -> None:
    classes = {label: [label] for label in LABELS}
    config = build({"classes": classes, "search": {"source": source}}, where="test")
    with Catalog(tmp_path) as catalog, pytest.raises(DataError) as caught:
        search(catalog, config, [forbidden])
    every = ", ".join(kind.about for kind in SOURCES.values())
    assert str(caught.value).startswith(
        f'NO_SOURCE: {source!r} is no source of photos; pass --source with "folder:PATH" (a folder'
        f" per class), "
    )
    assert every in str(caught.value)


def refuse_to_ask(query: str, page: int) -> list[Hit]:
    raise AssertionError("no network was allowed")


forbidden = Engine("forbidden", refuse_to_ask, 0, 1)


def test_photos_refuse_drawings_before_anything_is_drawn(catalog: Catalog) -> None:
    classes = {label: [label] for label in LABELS}
    starter = build({"classes": classes, "search": {"source": "starter"}}, where="test")
    with pytest.raises(DataError, match=r"^MIXED_SOURCES: .*data holds photos; drawings and"):
        search(catalog, starter)
    assert not (catalog.root / "starter").exists()


def test_drawings_refuse_photos(tmp_path: Path, photos: Path) -> None:
    with Catalog(tmp_path / "data") as catalog:
        with catalog.transaction():
            catalog.put_sources([Source("/x", "teddy", "starter")])
        with pytest.raises(DataError, match=r"^MIXED_SOURCES: .*data holds drawn starter pictures"):
            search(catalog, project(photos))
        assert len(catalog.sources()) == 1


@pytest.mark.parametrize("source", ["web", "openverse", "urls:list.tsv"])
def test_drawings_refuse_the_web_before_it_is_asked(tmp_path: Path, source: str) -> None:
    classes = {label: [label] for label in LABELS}
    config = build({"classes": classes, "search": {"source": source}}, where="test")
    with Catalog(tmp_path / "data") as catalog:
        with catalog.transaction():
            catalog.put_sources([Source("/x", "teddy", "starter")])
        with pytest.raises(DataError, match="^MIXED_SOURCES"):
            search(catalog, config, [forbidden])


# a list of addresses, from run to run


class List:
    """A file of addresses that is written anew, searched, and looked at."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "list.tsv"
        self.catalog = Catalog(folder / "data")

    def search(self, *lines: str) -> dict[str, Any]:
        """lines: such as "grizzly 1", class and number of an address."""
        cells = (line.split() for line in lines)
        text = "".join(f"{label}\t{self.url(number)}\n" for label, number in cells)
        self.path.write_text(text, encoding="utf-8")
        classes = {label: [label] for label in LABELS}
        source = {"source": f"urls:{self.path}"}
        config = build({"classes": classes, "search": source}, where="test")
        return search(self.catalog, config, [forbidden])

    def url(self, number: object) -> str:
        return f"https://photos.example/{number}.jpg"

    def put(self, number: int, label: str = "grizzly", **facts: Any) -> Source:
        usual = {"kind": "urls", "stamp": str(self.path), "code": OK}
        row = Source(self.url(number), label, **usual | facts)
        with self.catalog.transaction():
            self.catalog.put_sources([row])
        return row

    def row(self, number: int) -> Source:
        return next(s for s in self.catalog.sources() if s.origin == self.url(number))


@pytest.fixture
def addresses(tmp_path: Path) -> Iterator[List]:
    made = List(tmp_path)
    with made.catalog:
        yield made


def test_a_list_is_recorded_and_known_the_second_time(addresses: List) -> None:
    assert addresses.search("grizzly 1", "teddy 2", "polar 3") == {
        "found": 2,
        "new": 2,
        "gone": 0,
        "ignored": {f"{addresses.path}:3": "'polar' is not a class of this project"},
        "shared": 0,
    }
    rows = addresses.catalog.sources()
    assert [(s.label, s.kind, s.stamp, s.code) for s in rows] == [
        ("grizzly", "urls", str(addresses.path), PENDING),
        ("teddy", "urls", str(addresses.path), PENDING),
    ]
    assert addresses.search("grizzly 1", "teddy 2")["new"] == 0
    assert addresses.catalog.sources() == rows


@pytest.mark.parametrize("code", [OK, "HTTP_404", "DUPLICATE"])
def test_what_was_fetched_is_not_fetched_again(addresses: List, code: str) -> None:
    before = addresses.put(1, code=code, sentence="so", http=404, at="then")
    assert addresses.search("grizzly 1")["new"] == 0
    assert addresses.row(1) == before


def test_a_list_that_was_moved_makes_nothing_new(addresses: List) -> None:
    addresses.search("grizzly 1", "teddy 2")
    addresses.path = addresses.path.with_name("moved.tsv")
    assert addresses.search("grizzly 1", "teddy 2")["new"] == 0
    assert addresses.search("grizzly 1")["gone"] == 1


def test_what_is_no_longer_listed_is_gone_and_may_come_back(addresses: List, make: Any) -> None:
    addresses.search("grizzly 1", "grizzly 2", "teddy 3")
    with addresses.catalog.transaction():
        addresses.catalog.put_photos([make(7)])
    fetched = addresses.put(2, sha256=make(7).sha256, licence="CC0", at="then")
    assert addresses.search("teddy 3")["gone"] == 2
    assert (addresses.row(1).code, addresses.row(1).sentence) == (GONE, "no longer in list.tsv")
    assert replace(addresses.row(2), code=OK, sentence="") == fetched
    assert addresses.search("teddy 3")["gone"] == 0
    assert addresses.search("grizzly 1", "grizzly 2", "teddy 3")["new"] == 1
    assert (addresses.row(1).code, addresses.row(2)) == (PENDING, fetched)


def test_another_list_or_another_source_is_not_gone(addresses: List) -> None:
    others = [addresses.put(1, stamp="/other.tsv"), addresses.put(2, kind="web", stamp="any")]
    assert addresses.search("teddy 3")["gone"] == 0
    assert [addresses.row(1), addresses.row(2)] == others


def test_a_found_address_that_is_listed_too_keeps_its_trail(addresses: List) -> None:
    row = addresses.put(1, kind="web", stamp="any", code=PENDING, query="bear", rank=3)
    assert addresses.search("grizzly 1")["new"] == 0
    assert addresses.row(1) == row


def test_a_found_address_that_waits_is_wanted_when_it_is_listed(addresses: List) -> None:
    row = addresses.put(1, kind="web", stamp="any", code=SPARE, query="bear", rank=3)
    assert addresses.search("grizzly 1")["new"] == 1
    now = replace(row, kind="urls", stamp=str(addresses.path), code=PENDING)
    assert addresses.row(1) == now


def test_the_list_decides_where_a_search_found_two_classes(addresses: List) -> None:
    addresses.put(1, kind="web", code=CONFLICT)
    addresses.put(2, "teddy", kind="web", code=PENDING)
    assert addresses.search("grizzly 1", "grizzly 2")["new"] == 2
    assert [(s.label, s.kind, s.code) for s in addresses.catalog.sources()] == [
        ("grizzly", "urls", PENDING),
        ("grizzly", "urls", PENDING),
    ]


def test_an_address_that_moved_to_another_class_takes_its_photo_along(
    addresses: List, make: Any
) -> None:
    photos: list[Photo] = [make(1), make(2, label="black")]  # somebody said that 2 is a black bear
    with addresses.catalog.transaction():
        addresses.catalog.put_photos(photos)
    for number, photo in enumerate(photos, 1):
        addresses.put(number, sha256=photo.sha256, bytes=5)
    addresses.put(3, code="HTTP_404")
    assert addresses.search("teddy 1", "teddy 2", "teddy 3")["new"] == 1
    rows = addresses.catalog.sources()
    assert [(s.label, s.code, s.bytes) for s in rows] == [
        ("teddy", OK, 5),
        ("teddy", OK, 5),
        ("teddy", PENDING, 0),
    ]
    assert [photo.label for photo in addresses.catalog.photos()] == ["teddy", "black"]


def test_a_listed_conflict_is_set_aside_until_it_is_settled(addresses: List) -> None:
    outcome = addresses.search("grizzly 1", "teddy 1", "teddy 2")
    assert (outcome["found"], outcome["new"], outcome["shared"]) == (1, 1, 1)
    assert addresses.row(1).code == CONFLICT
    assert addresses.search("teddy 1", "teddy 2")["new"] == 1
    assert (addresses.row(1).label, addresses.row(1).code) == ("teddy", PENDING)


def test_a_listed_conflict_leaves_a_photo_alone(addresses: List, make: Any) -> None:
    with addresses.catalog.transaction():
        addresses.catalog.put_photos([make(1)])
    row = addresses.put(1, sha256=make(1).sha256)
    addresses.search("teddy 1", "grizzly 1", "teddy 2")
    assert addresses.row(1) == row


def test_what_was_taken_down_is_not_taken_from_a_list(addresses: List) -> None:
    request = TakeDown("url", addresses.url(1), "2026-01-01", "me", "asked")
    with addresses.catalog.transaction():
        addresses.catalog.put_take_down(request)
    row = addresses.put(2, code=TAKEN_DOWN, sentence="asked")
    outcome = addresses.search("grizzly 1", "grizzly 2", "teddy 3")
    assert outcome["ignored"] == {
        addresses.url(1): f"since 2026-01-01 nothing of the address {addresses.url(1)} may be used"
        " (asked)"
    }
    assert (outcome["found"], outcome["new"]) == (2, 1)
    assert addresses.search("teddy 2", "teddy 3")["new"] == 0
    assert addresses.search("teddy 3")["gone"] == 0
    assert addresses.row(2) == row


# search engines


def web(source: str = "web", **settings: Any) -> Config:
    tables = {
        "classes": {label: [f"{label} bear"] for label in LABELS},
        "search": {"source": source, "per_class": 3, **settings},
        "split": {"least": 3},
    }
    return build(tables, where="test")


def answer(query: str, page: int) -> list[Hit]:
    return [Hit(f"https://photos.example/{query[0]}{page}-{n}.jpg") for n in range(3)]


def test_a_search_brings_all_that_is_told_and_remembered(tmp_path: Path) -> None:
    with Catalog(tmp_path) as catalog:
        assert search(catalog, web(), [Engine("alpha", answer, 0, 5)]) == {
            "found": 6,
            "new": 12,
            "gone": 0,
            "ignored": {},
            "per_class": {"grizzly": 3, "teddy": 3},
            "shared": 0,
            "requests": 4,
            "warnings": [],
            "spare": 6,
        }
        assert {(s.kind, s.stamp) for s in catalog.sources()} == {
            ("web", "licence=any size=any region=us-en")
        }
        assert search(catalog, web(), [forbidden])["requests"] == 0


@pytest.mark.parametrize(
    ("codes", "per_class", "after"),
    [
        ([PENDING, PENDING, PENDING], 2, [PENDING, PENDING, SPARE]),
        ([PENDING, SPARE, SPARE], 2, [PENDING, PENDING, SPARE]),
        ([SPARE, SPARE], 5, [PENDING, PENDING]),
        ([OK, "HTTP_404", PENDING, SPARE], 3, [OK, "HTTP_404", PENDING, PENDING]),
        ([OK, OK, OK, PENDING], 2, [OK, OK, OK, SPARE]),
        ([CONFLICT, TAKEN_DOWN, SPARE, PENDING], 1, [CONFLICT, TAKEN_DOWN, PENDING, SPARE]),
        ([], 3, []),
    ],
)
def test_the_first_of_a_class_are_taken_and_the_others_wait(
    codes: list[str], per_class: int, after: list[str]
) -> None:
    rows = [Source(str(n), "grizzly", "web", code=code) for n, code in enumerate(codes)]
    changed = {row.origin: row for row in shared_out(rows, per_class)}
    assert [changed.get(row.origin, row).code for row in rows] == after
    assert all(row not in rows for row in changed.values())


def test_what_waits_is_taken_without_asking_when_more_is_wanted(tmp_path: Path) -> None:
    with Catalog(tmp_path) as catalog:
        first = search(catalog, web(per_class=3), [Engine("alpha", answer, 0, 5)])
        assert (first["found"], first["spare"]) == (6, 6)
        assert len(catalog.sources(PENDING)) == 6
        more = search(catalog, web(per_class=4), [forbidden])
        assert (more["found"], more["spare"], more["requests"]) == (8, 4, 0)
        assert len(catalog.sources(PENDING)) == 8


def test_filters_mark_what_they_found(tmp_path: Path) -> None:
    with Catalog(tmp_path) as catalog:
        for settings in ({"licence": "public"}, {"size": "large"}, {"region": "de-de"}):
            search(catalog, web(**settings), [Engine("alpha", answer, 0, 5)])
        search(catalog, web("openverse"), [Engine("beta", answer, 0, 5)])
        asked = [(row.engine, row.options) for row in catalog.search_pages()]
    assert list(dict.fromkeys(asked)) == [
        ("alpha", "licence=public size=any region=us-en"),
        ("alpha", "licence=any size=large region=us-en"),
        ("alpha", "licence=any size=any region=de-de"),
        ("beta", "licence=any size=any"),
    ]


def test_the_least_that_can_be_learned_from_decides_what_is_an_error(tmp_path: Path) -> None:
    def once(query: str, page: int) -> list[Hit]:
        if (query, page) == ("teddy bear", 2):
            raise NoAnswer("unreachable", "no connection")
        return answer(query, page)

    engine = Engine("alpha", once, 0, 5)
    with Catalog(tmp_path / "a") as catalog:
        assert len(search(catalog, web(per_class=4), [engine])["warnings"]) == 2
    with Catalog(tmp_path / "b") as catalog, pytest.raises(DataError, match="^SEARCH_UNREACHABLE"):
        search(catalog, replace(web(per_class=4), split=replace(web().split, least=4)), [engine])


def test_a_search_takes_nothing_of_a_site_that_was_taken_down(tmp_path: Path) -> None:
    def ask(query: str, page: int) -> list[Hit]:
        bad = [
            Hit("https://www.bad.example/x"),
            Hit(f"https://cdn.example/{query}", "http://bad.example"),
        ]
        return [*bad, *answer(query, page)]

    with Catalog(tmp_path) as catalog:
        with catalog.transaction():
            catalog.put_take_down(TakeDown("domain", "bad.example", "2026-01-01", "me", ""))
        assert search(catalog, web(), [Engine("alpha", ask, 0, 5)])["found"] == 6
        assert not any("cdn" in s.origin or "bad" in s.origin for s in catalog.sources())


def test_what_was_downloaded_before_it_was_disputed_takes_a_place() -> None:
    rows = [
        Source("1", "teddy", "web", code=CONFLICT, sha256="0" * 64),
        Source("2", "teddy", "web"),
        Source("3", "teddy", "web", code=SPARE),
    ]
    assert shared_out(rows, 2) == []


# words and names of classes, from search to search


class Web:
    """An engine that knows ten pictures for any words, and who asked."""

    def __init__(self, name: str = "one", safe: bool = True) -> None:
        self.asked: list[str] = []
        self.engine = Engine(name, self.ask, 0.0, 1, safe=safe)

    def ask(self, query: str, page: int) -> list[Hit]:
        self.asked.append(query)
        return [Hit(f"https://photos.example/{query.replace(' ', '-')}/{n}") for n in range(10)]


def sought(
    catalog: Catalog, web: Web, classes: dict[str, list[str]], **more: Any
) -> dict[str, Any]:
    tables = {"classes": classes, "search": {"source": "web", "per_class": 6, **more}}
    return search(catalog, build(tables, where="test"), [web.engine])


def codes(catalog: Catalog, label: str) -> Counter[str]:
    return Counter(source.code for source in catalog.sources() if source.label == label)


def downloaded(catalog: Catalog, make: Any) -> None:
    """All that waits became photos."""
    with catalog.transaction():
        for number, row in enumerate(catalog.sources(PENDING)):
            photo = make(number, label=row.label, origin=row.origin)
            catalog.add_photos([photo])
            catalog.put_sources([dataclasses.replace(row, code=OK, sha256=photo.sha256)])


def test_other_words_for_a_class_are_asked_anew(tmp_path: Path, make: Any) -> None:
    """However many photos there are of its former ones, which stay."""
    web = Web()
    with Catalog(tmp_path) as catalog:
        sought(catalog, web, {"grizzly": ["bear"], "teddy": ["toy"]})
        downloaded(catalog, make)
        assert sought(catalog, web, {"grizzly": ["bear"], "teddy": ["toy"]})["requests"] == 0
        outcome = sought(catalog, web, {"grizzly": ["brown bear"], "teddy": ["toy"]})
        assert web.asked == ["bear", "toy", "brown bear"]
        assert (outcome["per_class"], outcome["new"]) == ({"grizzly": 6, "teddy": 6}, 10)
        assert codes(catalog, "grizzly") == {OK: 6, PENDING: 6, SPARE: 8}
        assert outcome["warnings"] == []


def test_a_class_with_another_name_keeps_what_its_words_found(tmp_path: Path, make: Any) -> None:
    web = Web()
    with Catalog(tmp_path) as catalog:
        sought(catalog, web, {"grizzly": ["bear"], "teddy": ["toy"]})
        downloaded(catalog, make)
        outcome = sought(catalog, web, {"brown": ["bear"], "teddy": ["toy"]})
        assert web.asked == ["bear", "toy"]
        assert outcome["per_class"] == {"brown": 6, "teddy": 6}
        assert outcome["warnings"] == [
            "class 'grizzly' is called 'brown' now: 10 candidates found by the same words follow it"
        ]
        assert codes(catalog, "brown") == {OK: 6, SPARE: 4}
        assert Counter(photo.label for photo in catalog.photos()) == {"brown": 6, "teddy": 6}
        assert sought(catalog, web, {"brown": ["bear"], "teddy": ["toy"]})["warnings"] == []


def test_one_class_alone_is_searched_for(tmp_path: Path) -> None:
    """The others keep what they have, are not asked for, and still own their words."""
    web, classes = Web(), {"grizzly": ["bear"], "teddy": ["toy"]}
    with Catalog(tmp_path) as catalog:
        outcome = sought(catalog, web, classes, only_class="teddy")
        assert (web.asked, outcome["per_class"]) == (["toy"], {"teddy": 6})
        assert {source.label for source in catalog.sources()} == {"teddy"}
        sought(catalog, web, classes)
        before = codes(catalog, "grizzly")
        more = sought(catalog, web, classes, only_class="teddy", per_class=8)
        assert (more["per_class"], more["warnings"]) == ({"teddy": 8}, [])
        assert codes(catalog, "grizzly") == before
        assert codes(catalog, "teddy") == {PENDING: 8, SPARE: 2}
        with pytest.raises(DataError, match="SAME_QUERY"):
            sought(catalog, web, {"grizzly": ["toy"], "teddy": ["toy"]}, only_class="teddy")
        renamed = sought(catalog, web, {"brown": ["bear"], "teddy": ["toy"]}, only_class="teddy")
        assert "class 'grizzly' is called 'brown' now" in renamed["warnings"][0]
        assert codes(catalog, "brown") == before


def test_the_one_class_is_one_of_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["search", "--source", "web", "--only-class"]
    config = named_project(parse([*words, "teddy", "--project", "starter"])).config
    assert config.search.only_class == "teddy"
    with pytest.raises(ConfigError, match="'tedy' is not a class; did you mean 'teddy'"):
        named_project(parse([*words, "tedy", "--project", "starter"]))


def test_photos_without_a_label_are_sought_by_the_words_of_one_class(tmp_path: Path) -> None:
    web = Web()
    classes = {"grizzly": ["bear"], "teddy": ["toy"]}
    with Catalog(tmp_path) as catalog:
        found = sought(catalog, web, classes, source="unlabelled:web", only_class="teddy")
    assert (web.asked, found["per_class"]) == (["toy"], {"": 6})


def test_an_engine_that_ignores_safe_search_is_said(tmp_path: Path) -> None:
    for web, said in ((Web("careless", safe=False), 1), (Web("careful"), 0)):
        with Catalog(tmp_path / web.engine.name) as catalog:
            outcome = sought(catalog, web, {"grizzly": ["bear"], "teddy": ["toy"]})
        words = "careless does not keep to safe search: look through what it found"
        assert outcome["warnings"] == [words] * said
        lines = stage_lines.stage_text("search", {**outcome, "outcome": "done", "seconds": 1.0})
        assert lines.count(f"warning: {words}") == said


def test_per_class_is_an_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["search", "--source", "starter", "--set", "search.per_class=60", "--json"]
    for given, found in (([], 60), (["--per-class", "40"], 40)):
        assert named_project(parse([*words, *given])).config.search.per_class == found
    done = within.bears(*words, "--per-class", "0", cwd=tmp_path)
    assert done.returncode == 2
    assert "search.per_class = 0 must be" in done.stderr

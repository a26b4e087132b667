"""One picture from three addresses of a site is none of theirs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bear_classifier.collect.download import download
from bear_classifier.collect.placeholders import placeholders
from bear_classifier.collect.screen import screen
from bear_classifier.config.project_file import build
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.decisions import decide
from bear_classifier.dataset.schema import Decision, Photo, Source

Make = Callable[..., Photo]
CONFIG = build({"classes": {"grizzly": ["g"], "teddy": ["t"]}}, where="test")
OTHER = "0" * 60 + "f" * 40  # a hash that is far from the usual one


def shown(photo: Photo, *origins: str, kind: str = "web", **facts: str) -> list[Source]:
    return [Source(o, photo.label, kind, code="OK", sha256=photo.sha256, **facts) for o in origins]


A, B, C = (
    f"https://{host}/{n}.jpg" for n, host in enumerate(("a.host.com", "b.host.com", "host.com"))
)


@pytest.mark.parametrize(
    ("origins", "is_one"),
    [
        ([A, B, C], True),  # one site, whatever host
        ([A, B], False),
        ([A, A, B], False),  # three addresses, not three rows
        ([A, B, "https://other.com/1.jpg"], False),
        (["https://x.co.uk/1", "https://y.co.uk/1", "https://z.co.uk/1"], False),
        (["https://192.0.2.7/1", "https://192.0.2.7/2", "https://192.0.2.7/3"], True),
    ],
)
def test_three_addresses_of_one_site(make: Make, origins: list[str], is_one: bool) -> None:
    photo = make(1, label="grizzly")
    found = placeholders([photo], shown(photo, *origins), same=8)
    assert bool(found) == is_one
    if is_one:
        (why,) = found.values()
        assert why.startswith("3 addresses of ")
        assert why.endswith(" show this picture, as in place of photos that are gone")


def test_addresses_that_lead_to_one_site_count_there(make: Make) -> None:
    photo = make(1, label="grizzly")
    rows = shown(
        photo, "https://one.com/1", "https://two.com/1", "https://six.com/1",
        final_url="https://gone.net/no.png",
    )  # fmt: skip
    assert placeholders([photo], rows, same=8)


def test_encodings_of_one_picture_are_one(make: Make) -> None:
    photos = [make(n, label="grizzly") for n in range(3)] + [make(9, dhash=OTHER, label="grizzly")]
    rows = [row for p, o in zip(photos, (A, B, C, f"{C}?4"), strict=True) for row in shown(p, o)]
    assert set(placeholders(photos, rows, same=8)) == {p.sha256 for p in photos[:3]}
    small = [replace(row, via="thumbnail", final_url="https://mm.bing.net/t") for row in rows]
    assert placeholders(photos, small, same=8) == {}  # what other sites show, too


def test_the_users_own_files_are_none(make: Make) -> None:
    photo = make(1, label="grizzly")
    local = shown(photo, "/a/1.jpg", "/a/2.jpg", "/a/3.jpg", kind="folder")
    assert placeholders([photo], local, same=8) == {}
    assert placeholders([photo], [*local, *shown(photo, A, B, C)], same=8) == {}


def codes(catalog: Catalog) -> list[str]:
    return [source.code for source in catalog.sources()]


def test_none_is_kept_and_another_run_changes_nothing(tmp_path: Path, make: Make) -> None:
    """Also where the third address comes with a later run."""
    one, good = make(1, label="grizzly"), make(2, label="teddy", dhash=OTHER)
    with Catalog(tmp_path) as catalog:
        with catalog.transaction():
            catalog.put_photos([one, good])
            catalog.put_sources([*shown(one, A, B), *shown(good, "https://host.com/good.jpg")])
        download(catalog, CONFIG)
        assert codes(catalog) == ["OK", "DUPLICATE", "OK"]
        with catalog.transaction():
            catalog.put_sources(shown(one, C))
        for _ in range(2):
            outcome = download(catalog, CONFIG)
            screen(catalog, CONFIG)
            assert codes(catalog) == ["PLACEHOLDER", "PLACEHOLDER", "OK", "PLACEHOLDER"]
            assert [photo.sha256 for photo in catalog.photos("ok")] == [good.sha256]
        assert outcome["failed"] == {"PLACEHOLDER": 3}
        (reason,) = {photo.reason for photo in catalog.photos("unusable")}
        assert reason == (
            "PLACEHOLDER: 3 addresses of host.com show this picture, as in place of photos that are"
            " gone"
        )
        assert {s.sentence for s in catalog.sources("PLACEHOLDER")} == {reason.partition(": ")[2]}


def test_what_somebody_decided_to_keep_stays(tmp_path: Path, make: Make) -> None:
    one = make(1, label="grizzly")
    with Catalog(tmp_path) as catalog:
        with catalog.transaction():
            catalog.put_photos([one])
            catalog.put_sources(shown(one, A, B, C))
        download(catalog, CONFIG)
        assert catalog.photos("ok") == []
        decide(catalog, CONFIG.labels, [Decision(one.sha256, "keep")], "ann", "one")
        download(catalog, CONFIG)
        assert [photo.sha256 for photo in catalog.photos("ok")] == [one.sha256]
        assert codes(catalog) == ["OK", "DUPLICATE", "DUPLICATE"]

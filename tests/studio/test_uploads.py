"""Uploads: stored whole or refused with a reason, taken in once, and never elsewhere."""

from __future__ import annotations

import asyncio
import hashlib
import io
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pillow_heif
import pytest
from corpus import drawn, saved
from waiting import STUCK

from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import Source
from bear_classifier.errors import BearsError
from bear_classifier.images import decoder
from bear_classifier.studio import uploads
from bear_classifier.studio.projects import Place, make_project
from bear_classifier.studio.uploads import Uploads

PHOTO = saved(drawn(seed=1), "JPEG")
NAME = f"{hashlib.sha256(PHOTO).hexdigest()}.jpeg"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return make_project(tmp_path, "mine", {"a": ["a"], "b": ["b"]})


async def parts(data: bytes, size: int = 1000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def sent(place: Place, *photos: tuple[str, bytes]) -> list[Any]:
    """What becomes of each: the outcome, or the code of the refusal."""

    async def all_of_them() -> list[Any]:
        answers: list[Any] = []
        async with Uploads() as taken:
            for label, data in photos:
                try:
                    answers.append((await taken.photo(place, label, parts(data)))["outcome"])
                except BearsError as exc:
                    answers.append(exc.code)
        return answers

    return asyncio.run(all_of_them())


def files(place: Place) -> list[str]:
    root = place.own / "uploads"
    return sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file())


def test_a_photo_is_stored_once_in_one_class_under_a_name_of_its_content(place: Place) -> None:
    answers = sent(place, ("a", PHOTO), ("a", PHOTO), ("b", PHOTO), ("", PHOTO))
    assert answers == ["stored", "known", "OTHER_CLASS", "stored"]
    assert files(place) == [f"photos/a/{NAME}", f"unlabelled/{NAME}"]
    assert (place.own / "uploads" / "photos" / "a" / NAME).read_bytes() == PHOTO


def test_what_is_no_photo_is_refused_with_its_reason_and_leaves_nothing(place: Place) -> None:
    answers = sent(
        place, ("a", b""), ("a", b"<html>"), ("a", PHOTO[:-200]), ("c", PHOTO), ("../a", PHOTO)
    )
    assert answers == ["EMPTY_FILE", "NOT_AN_IMAGE", "TRUNCATED", "NO_CLASS", "NO_CLASS"]
    assert files(place) == []


def test_a_photo_of_an_iphone_is_taken(place: Place) -> None:
    """Which the web and visitors of a page may not send."""
    made = pillow_heif.from_pillow(drawn(seed=2))
    file = io.BytesIO()
    made.save(file)
    assert sent(place, ("a", file.getvalue())) == ["stored"]
    assert files(place)[0].endswith(".heic")


def test_reading_ends_at_the_limit(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder, "MAX_BYTES", 2000)
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 1000
            yield b"x" * 1000

    async def send() -> str:
        async with Uploads() as taken:
            with pytest.raises(BearsError) as caught:
                await taken.photo(place, "a", endless())
        return caught.value.code

    assert asyncio.run(send()) == "TOO_LARGE"
    assert read == 3000


def archive(names: list[str]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for name in names:
            made.writestr(name, PHOTO)
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "code"), [(archive(["a/1.jpg"]), ""), (b"no zip", "NOT_A_ZIP"), (b"", "NOT_A_ZIP")]
)
def test_a_zip_is_stored_whole_or_not_at_all(place: Place, data: bytes, code: str) -> None:
    async def send() -> str:
        async with Uploads() as taken:
            return await taken.zip(place, parts(data))

    if code:
        with pytest.raises(BearsError, match=f"^{code}"):
            asyncio.run(send())
        assert files(place) == []
    else:
        name = asyncio.run(send())
        assert files(place) == [f"zips/{name}"]
        assert uploads.waiting(place, None) == {"take-in-zip": [name]}
        assert uploads.choices_of("take-in-zip", [name]) == [{"file": name}]


@pytest.mark.parametrize("limit", ["MAX_ZIP", "_SPARE"])
def test_a_zip_ends_at_the_limit_and_leaves_room_on_the_disk(
    place: Place, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(uploads, limit, 10 if limit == "MAX_ZIP" else 2**60)

    async def send() -> str:
        async with Uploads() as taken:
            return await taken.zip(place, parts(archive(["a/1.jpg"])))

    with pytest.raises(BearsError, match="^(TOO_LARGE|DISK_FULL)"):
        asyncio.run(send())
    assert files(place) == []


def test_what_the_catalog_has_read_waits_no_more(place: Place) -> None:
    sent(place, ("a", PHOTO), ("", PHOTO))
    assert uploads.waiting(place, None) == {
        "take-in": [f"a/{NAME}"], "take-in-unlabelled": [NAME]
    }  # fmt: skip
    origin = str(place.own / "uploads" / "photos" / "a" / NAME)
    unlabelled = {"take-in-unlabelled": [NAME]}
    with Catalog(place.data) as catalog:
        for code, left in (("PENDING", 1), ("OK", 0), ("NOT_AN_IMAGE", 0), ("GONE", 1)):
            read(catalog, Source(origin, "a", "folder", code=code))
            assert uploads.waiting(place, catalog) == unlabelled | (
                {"take-in": [f"a/{NAME}"]} if left else {}
            )
        origin = str(place.own / "uploads" / "unlabelled" / NAME)
        read(catalog, Source(origin, "", "unlabelled", code="DUPLICATE"))
        assert uploads.waiting(place, catalog) == {"take-in": [f"a/{NAME}"]}


def read(catalog: Catalog, *sources: Source) -> None:
    with catalog.transaction():
        catalog.put_sources(sources)


def test_a_photo_that_was_read_in_another_class_waits(place: Place) -> None:
    """Of a class that was misspelt and taken out, or without a class."""
    stored = place.own / "uploads" / "photos" / "a" / NAME
    stored.parent.mkdir(parents=True)
    stored.touch()
    with Catalog(place.data) as catalog:
        for kind, label in (("folder", "aa"), ("unlabelled", "")):
            read(catalog, Source(f"/{kind}/{label}/{NAME}", label, kind, code="OK"))
            assert uploads.waiting(place, catalog) == {"take-in": [f"a/{NAME}"]}


@pytest.mark.parametrize(
    ("code", "label", "left"), [("OK", "b", 0), ("PENDING", "b", 1), ("PENDING", "c", 0)]
)
def test_an_archive_waits_until_all_of_it_is_read(
    place: Place, code: str, label: str, left: int
) -> None:
    """Of classes that the project has."""

    async def send() -> str:
        async with Uploads() as taken:
            return await taken.zip(place, parts(archive(["a/1.jpg"])))

    name = asyncio.run(send())
    within = str(place.own / "uploads" / "zips" / name)
    with Catalog(place.data) as catalog:
        assert uploads.waiting(place, catalog) == {"take-in-zip": [name]}
        read(catalog, Source(f"{within}/a/1.jpg", "a", "zip", code="OK", listed_in=within))
        read(catalog, Source(f"{within}/b/1.jpg", label, "zip", code=code, listed_in=within))
        assert uploads.waiting(place, catalog) == ({"take-in-zip": [name]} if left else {})


def test_uploads_of_which_nothing_comes_give_their_turn_back(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "_SILENT", 0.01)

    async def stalled() -> AsyncIterator[bytes]:
        yield PHOTO[:100]
        await asyncio.Event().wait()

    async def send() -> list[Any]:
        async with Uploads() as taken:
            stalls = [taken.photo(place, "a", stalled()) for _ in range(uploads._AT_ONCE)]
            stalls.append(taken.zip(place, stalled()))
            found = await asyncio.gather(*stalls, return_exceptions=True)
            monkeypatch.setattr(uploads, "_SILENT", STUCK)
            return [*found, await taken.photo(place, "a", parts(PHOTO))]

    *stalls, last = asyncio.run(asyncio.wait_for(send(), STUCK))
    assert [exc.code for exc in stalls] == ["TOO_SLOW"] * (uploads._AT_ONCE + 1)
    assert last["outcome"] == "stored"
    assert files(place) == [f"photos/a/{NAME}"]


def test_half_files_of_a_killed_studio_are_never_taken_in(place: Place) -> None:
    folder = place.own / "uploads" / "photos" / "a"
    folder.mkdir(parents=True)
    (folder / f".{NAME}.7-7.partial").write_bytes(PHOTO[:100])
    assert uploads.waiting(place, None) == {}

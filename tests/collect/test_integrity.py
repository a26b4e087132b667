"""Stored photos that were cut, changed or lost: named, set aside, and fetched again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bear_classifier.collect import integrity
from bear_classifier.collect.download import download
from bear_classifier.collect.integrity import set_aside
from bear_classifier.collect.search import search
from bear_classifier.config.project_file import build
from bear_classifier.config.settings import Config
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import OK, PENDING, STORED, Photo
from bear_classifier.errors import DataError, PhotoError
from bear_classifier.images.preprocessing import Preprocessing
from bear_classifier.learn import data as loaders

Fill = Callable[[Path, dict[str, Any]], None]
N = 30


@pytest.fixture
def config(tmp_path: Path) -> Config:
    source = f"folder:{tmp_path / 'photos'}"
    classes = {"grizzly": ["grizzly"], "teddy": ["teddy"]}
    return build({"name": "a", "classes": classes, "search": {"source": source}}, where="test")


@pytest.fixture
def catalog(tmp_path: Path, fill: Fill, config: Config) -> Iterator[Catalog]:
    names = {f"{('grizzly', 'teddy')[n % 2]}/{n}.png": n for n in range(N)}
    fill(tmp_path / "photos", names)
    with Catalog(tmp_path / "data") as made:
        search(made, config)
        download(made, config)
        assert set_aside(made) == []
        yield made


def one(catalog: Catalog) -> tuple[Photo, Path]:
    photo = catalog.photos("ok")[3]
    return photo, catalog.file(photo)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:50])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def noise(path: Path) -> None:
    path.write_bytes(os.urandom(path.stat().st_size))


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def link(path: Path) -> None:
    other = next(p for p in path.parent.parent.glob("*/*.png") if p != path)
    path.unlink()
    path.symlink_to(other)


DAMAGES = {cut: "was cut", emptied: "was cut", noise: "was changed", folder: "is no file any more",
           link: "is no file any more", Path.unlink: "is gone"}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_what_was_damaged_is_named_and_brought_back(
    catalog: Catalog, config: Config, damage: Callable[[Path], None]
) -> None:
    photo, path = one(catalog)
    before = catalog.photos()
    damage(path)
    (line,) = set_aside(catalog)
    assert line == f"stored photo {path.relative_to(catalog.root).as_posix()} {DAMAGES[damage]};" \
        " it is set aside"  # fmt: skip
    aside = catalog.photo(photo.sha256)
    assert aside and (aside.status, aside.reason.split(":")[0]) == ("unusable", STORED)
    (source,) = catalog.sources(PENDING)
    assert source.origin == photo.origin
    download(catalog, config)
    assert catalog.photos() == before
    assert path.is_file() and not path.is_symlink()
    assert set_aside(catalog, everything=True) == []


def test_where_the_original_is_gone_too_it_stays_aside_until_it_comes_back(
    catalog: Catalog, config: Config
) -> None:
    photo, path = one(catalog)
    original = Path(photo.origin)
    data = original.read_bytes()
    path.unlink()
    original.unlink()
    assert len(set_aside(catalog)) == 1
    download(catalog, config)
    assert set_aside(catalog) == []
    aside = catalog.photo(photo.sha256)
    assert aside and aside.status == "unusable"
    assert len(catalog.photos("ok")) == N - 1
    original.write_bytes(data)
    set_aside(catalog, everything=True)
    download(catalog, config)
    assert len(catalog.photos("ok")) == N


def test_another_picture_of_the_same_size_is_seen_by_its_time_or_where_it_is_read(
    catalog: Catalog,
) -> None:
    _, path = one(catalog)
    facts = path.stat()
    noise(path)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))  # the other time cannot be set back
    with pytest.raises(PhotoError, match="DAMAGED: .* is not the picture that was stored"):
        loaders.stored(path)
    with pytest.raises(DataError, match=f"STORED_DAMAGED: .*{path.name} cannot be used any more"):
        list(loaders.batches([path], Preprocessing(32), 4))
    (line,) = set_aside(catalog)
    assert "was changed" in line
    kept = catalog.root / "damaged" / path.name
    assert kept.is_file() and not path.exists()


def test_what_nobody_touched_is_not_hashed_again(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(integrity, "_SLACK", -(10**12))  # as if all of it were long ago
    set_aside(catalog)
    hashed: list[Path] = []
    monkeypatch.setattr(integrity, "hash_of", lambda path: hashed.append(path) or path.stem)
    assert set_aside(catalog) == [] and hashed == []
    assert set_aside(catalog, everything=True) == [] and len(hashed) == N


def test_a_disk_that_is_missing_sets_nothing_aside(catalog: Catalog) -> None:
    (catalog.root / "photos").rename(catalog.root / "elsewhere")
    with pytest.raises(DataError, match=rf"STORED_GONE: {N} of {N} stored photos are gone or"):
        set_aside(catalog)
    assert len(catalog.photos("ok")) == N
    (catalog.root / "elsewhere").rename(catalog.root / "photos")
    assert set_aside(catalog) == []


def test_of_many_a_few_are_named(catalog: Catalog) -> None:
    for photo in catalog.photos("ok")[:12]:
        catalog.file(photo).unlink()
    lines = set_aside(catalog)
    assert len(lines) == 9 and lines[-1] == "... and 4 more"
    assert len(catalog.sources(OK)) == N - 12

"""Export, then import into a new project: hashes, labels, splits, licences and decisions are the
same, and a second export is the first one."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from exporting import ODD, exported, odd_dataset

from bear_classifier.collect.download import download
from bear_classifier.collect.screen import screen
from bear_classifier.collect.search import search
from bear_classifier.collect.split import split
from bear_classifier.config.settings import Config, ScreenConfig, SearchConfig, SplitConfig
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.decisions import decided, history, undo
from bear_classifier.dataset.formats.metadata import METADATA, MetadataRow, read_rows
from bear_classifier.dataset.formats.past_decisions import past_decisions

WAYS = [
    ("folders", "imagefolder", "valid"),
    ("folders", "folder", "val"),
    ("imagefolder", "imagefolder", "val"),
    ("folders", "zip", "valid"),
    ("parquet", "parquet", "valid"),
    ("webdataset", "webdataset", "val"),
]


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with odd_dataset(tmp_path / "data" / "odd") as made:
        yield made


def config(source: str) -> Config:
    return Config(
        name="back",
        classes={label: [label] for label in ODD},
        search=SearchConfig(source=source),
        screen=ScreenConfig(smallest=16, near=0, same=0),
        split=SplitConfig(least=3),
    )


def imported(place: Path, source: str) -> Catalog:
    catalog, settings = Catalog(place), config(source)
    for stage in (search, download, screen, split):
        stage(catalog, settings)  # type: ignore[operator]
    return catalog


def facts(row: MetadataRow, by_file: bool) -> tuple[Any, ...]:
    """What has to be the same, by the hash of the written file or of the stored photo."""
    said = (row.title, row.author, row.licence, row.licence_url, row.page, row.source)
    return (row.file_sha256 if by_file else row.sha256, row.label, row.split, *said, row.decisions)


@pytest.mark.parametrize(("format", "kind", "valid"), WAYS)
@pytest.mark.parametrize("keep_metadata", [False, True])
def test_what_was_exported_comes_back(
    catalog: Catalog, tmp_path: Path, format: str, kind: str, valid: str, keep_metadata: bool
) -> None:
    if format == "parquet":
        pytest.importorskip("pyarrow", reason="Parquet: the extra [parquet]")
    out = tmp_path / "out"
    exported(catalog, out, format, valid=valid, keep_metadata=keep_metadata)
    rows = list(read_rows(out / METADATA))
    place = shutil.make_archive(str(out), "zip", out) if kind == "zip" else out
    with imported(tmp_path / "back", f"{kind}:{place}") as back:
        photos = {photo.sha256: photo for photo in back.photos()}
        assert photos.keys() == {row.file_sha256 for row in rows}
        if keep_metadata:
            assert photos.keys() == {photo.sha256 for photo in catalog.photos("ok")}
        for row in rows:
            photo = photos[row.file_sha256]
            assert (photo.label, photo.split, photo.status) == (row.label, row.split, "ok")
            data = back.file(photo).read_bytes()
            assert hashlib.sha256(data).hexdigest() == row.file_sha256
        if kind == "folder":  # which reads no table
            return
        again = tmp_path / "again"
        exported(back, again, format, valid=valid, keep_metadata=keep_metadata)
        assert sorted(facts(row, True) for row in read_rows(again / METADATA)) == sorted(
            facts(row, True) for row in rows
        )
        past = past_decisions(back)
        assert past == {row.file_sha256: row.decisions for row in rows if row.decisions}
        assert len(decided(back)) == len(decided(catalog)) > 0
        before = len(history(back))
        search(back, config(f"{kind}:{place}"))  # a second import changes nothing
        download(back, config(f"{kind}:{place}"))
        assert len(history(back)) == before
        undo(back, "ann")


def test_an_edited_photo_is_noticed(catalog: Catalog, tmp_path: Path) -> None:
    """Its hash is another one, so what the table says of decisions is not of this photo."""
    out = tmp_path / "out"
    exported(catalog, out)
    row = next(row for row in read_rows(out / METADATA) if row.decisions)
    (out / row.file_name).write_bytes((out / row.file_name).read_bytes() + b"\0")
    with imported(tmp_path / "back", f"imagefolder:{out}") as back:
        photos = {photo.sha256: photo for photo in back.photos()}
        assert row.file_sha256 not in photos
        edited = hashlib.sha256((out / row.file_name).read_bytes()).hexdigest()
        assert photos[edited].label == row.label
        assert edited not in past_decisions(back)

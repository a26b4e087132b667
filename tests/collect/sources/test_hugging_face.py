"""hf:NAME: a dataset of Hugging Face's library, from a folder or its cache; nobody is asked."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from corpus import drawn, saved

from bear_classifier.collect.download import download
from bear_classifier.collect.search import search
from bear_classifier.collect.sources import hugging_face
from bear_classifier.collect.sources.hugging_face import list_hugging_face, photo_of_dataset
from bear_classifier.config.project_file import build
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.errors import ConfigError, DataError

LABELS = ["red", "green"]


def test_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ConfigError, match=r"NOT_INSTALLED: .*pip install .bear-classifier.hf"):
        list_hugging_face(tmp_path, LABELS)


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The library, with a cache of its own and without a network."""
    found = pytest.importorskip("datasets", reason='needs pip install "bear-classifier[hf]"')
    monkeypatch.setattr(found.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(found.config, "HF_HUB_OFFLINE", True)
    for cache in (hugging_face._splits, hugging_face._photos):
        cache.cache_clear()
    yield found
    for cache in (hugging_face._splits, hugging_face._photos):
        cache.cache_clear()


def photo(number: int) -> bytes:
    return saved(drawn(seed=number), "PNG")


def made(library: Any, numbers: range) -> Any:
    """Rows of red and green photos in turn, and one without a class."""
    features = library.Features(
        {"image": library.Image(), "label": library.ClassLabel(names=["green", "red"]),
         "author": library.Value("string")}
    )  # fmt: skip
    rows = {
        "image": [{"bytes": photo(n), "path": f"{n}.png"} for n in numbers],
        "label": [*(n % 2 for n in numbers[:-1]), -1],
        "author": ["Ann"] * len(numbers),
    }
    info = library.DatasetInfo(features=features, license="CC0")
    return library.Dataset.from_dict(rows, features=features, info=info)


def take_in(root: Path, source: str) -> Catalog:
    catalog = Catalog(root)
    names = {"name": "t", "classes": {label: [label] for label in LABELS}}
    settings = build({**names, "search": {"source": source}}, "test")
    search(catalog, settings)
    assert download(catalog, settings)["failed"] == {}
    return catalog


def test_a_dataset_saved_to_a_folder(library: Any, tmp_path: Path) -> None:
    splits = {"train": made(library, range(7)), "validation": made(library, range(10, 13))}
    library.DatasetDict(splits).save_to_disk(str(tmp_path / "saved"))
    listing = list_hugging_face(tmp_path / "saved", LABELS)
    ends = [(c.origin.removeprefix(f"{tmp_path}/"), c.label, c.split) for c in listing.candidates]
    assert ends[:2] + ends[-1:] == [
        ("saved/train/0/0.png", "green", "train"),
        ("saved/train/1/1.png", "red", "train"),
        ("saved/validation/1/11.png", "red", "valid"),
    ]
    assert len(listing.ignored) == 2
    assert {(c.author, c.licence) for c in listing.candidates} == {("Ann", "CC0")}
    with take_in(tmp_path / "data", f"hf:{tmp_path / 'saved'}") as catalog:
        stored = {catalog.file(one).read_bytes() for one in catalog.photos()}
        assert stored == {photo(n) for n in (*range(6), 10, 11)}


def test_a_folder_of_parquet_files(library: Any, tmp_path: Path) -> None:
    made(library, range(5)).to_parquet(str(tmp_path / "ds" / "train-0.parquet"))
    listing = list_hugging_face(tmp_path / "ds", LABELS)
    assert [c.split for c in listing.candidates] == ["train"] * 4


def test_a_dataset_in_the_cache(library: Any, tmp_path: Path) -> None:
    """As it lies there after `load_dataset("bears/wild")`, found by its name without a network."""
    files = {}
    for split, numbers in (("train", range(5)), ("test", range(20, 23))):
        made(library, numbers).to_parquet(str(tmp_path / "of" / f"{split}.parquet"))
        files[split] = [str(tmp_path / "of" / f"{split}.parquet")]
    module = importlib.import_module("datasets.packaged_modules.parquet.parquet")
    builder = module.Parquet(
        cache_dir=str(tmp_path / "of"), dataset_name="wild", config_name="large", hash="abc",
        data_files=files,
    )  # fmt: skip
    builder.download_and_prepare()
    place = tmp_path / "cache" / "bears___wild" / "large" / "0.0.0" / "abc"
    place.parent.mkdir(parents=True)
    Path(builder.cache_dir).rename(place)
    with take_in(tmp_path / "data", "hf:bears/wild:large") as catalog:
        origins = [source.origin for source in catalog.sources()]
        assert origins[0] == "hf:bears/wild:large/train/0/0.png"
        assert {source.listed_in for source in catalog.sources()} == {"hf:bears/wild:large"}
        assert {source.split for source in catalog.sources()} == {"train", "test"}
        assert len(catalog.photos()) == 6
        assert photo_of_dataset(catalog.sources()[0]) == photo(0)


def test_a_name_that_cannot_be_loaded(library: Any) -> None:
    with pytest.raises(DataError, match=r"NO_DATASET: .*cannot load 'nobody/nothing': .*parquet:"):
        list_hugging_face(Path("nobody/nothing"), LABELS)

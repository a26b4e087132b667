"""Splits that photos were published in: kept, cut where one is missing, and leaks between them."""

from __future__ import annotations

import dataclasses
import io
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from corpus import drawn, saved
from PIL import Image

from bear_classifier.collect.download import download
from bear_classifier.collect.screen import screen
from bear_classifier.collect.search import search
from bear_classifier.collect.split import placed, split
from bear_classifier.config.project_file import build
from bear_classifier.config.settings import Config, SplitConfig
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import Photo, Split
from bear_classifier.errors import DataError
from bear_classifier.report.stage_lines import stage_text

LABELS = ["black", "grizzly"]
Fill = Callable[..., None]


def config(root: Path, **tables: Any) -> Config:
    names = {"name": "t", "classes": {label: [label] for label in LABELS}}
    return build({**names, "search": {"source": f"folder:{root}"}, **tables}, "test")


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog(tmp_path / "data") as made:
        yield made


def collect(catalog: Catalog, root: Path, **tables: Any) -> dict[str, Any]:
    """The outcome of the split stage."""
    for stage in (search, download, screen):
        stage(catalog, config(root, **tables))
    return split(catalog, config(root, **tables))


def layout(fill: Fill, root: Path, **sizes: int) -> None:
    """sizes: photos of each class in a folder of this name."""
    start = 0
    for name, n in sizes.items():
        for label in LABELS:
            fill(root, {f"{name}/{label}/{start + i}.png": start + i for i in range(n)})
            start += n


def sizes(catalog: Catalog) -> dict[str | None, int]:
    return dict(Counter(photo.split for photo in catalog.photos("ok")))


def folder_of(photo: Photo) -> str:
    return Path(photo.origin).parts[-3]


def test_published_splits_are_kept(catalog: Catalog, tmp_path: Path, fill: Fill) -> None:
    layout(fill, tmp_path / "in", train=10, val=4, test=3)
    out = collect(catalog, tmp_path / "in")
    assert sizes(catalog) == {"train": 20, "valid": 8, "test": 6}
    wanted = {"train": "train", "val": "valid", "test": "test"}
    assert all(photo.split == wanted[folder_of(photo)] for photo in catalog.photos())
    assert out["given"] == {"photos": 34, "elsewhere": 0, "cut": [], "leaks": []}
    assert "34 photos came with a split and keep it" in stage_text(
        "split", {**out, "outcome": "done", "seconds": 0}
    )
    assert collect(catalog, tmp_path / "in")["given"] == out["given"]


@pytest.mark.parametrize(
    ("given", "cut"),
    [
        ({"train": 20, "test": 4}, {"valid": (4, 8), "test": (8, 8)}),
        ({"train": 20, "val": 4}, {"valid": (8, 8), "test": (4, 8)}),
        ({"train": 20}, {"valid": (4, 8), "test": (4, 8)}),
    ],
)
def test_a_missing_split_is_cut_from_train(
    catalog: Catalog,
    tmp_path: Path,
    fill: Fill,
    given: dict[str, int],
    cut: dict[str, tuple[int, int]],
) -> None:
    """What was published as test or valid stays whole, and gets nothing more."""
    layout(fill, tmp_path / "in", **given)
    out = collect(catalog, tmp_path / "in")
    counts = sizes(catalog)
    assert sum(counts.values()) == 2 * sum(given.values())
    for name, (least, most) in cut.items():
        assert least <= counts[name] <= most, counts
    for photo in catalog.photos():
        if folder_of(photo) == "test":
            assert photo.split == "test"
        if folder_of(photo) == "val":
            assert photo.split == "valid"
    assert out["given"]["photos"] == sum(counts.values())
    line = stage_text("split", {**out, "outcome": "done", "seconds": 0})
    assert "was missing and was cut from train" in line
    before = {photo.sha256: photo.split for photo in catalog.photos()}
    fill(tmp_path / "in", {f"train/{label}/{900 + i}.png": 900 + i for i, label in
                           enumerate(LABELS * 3)})  # fmt: skip
    collect(catalog, tmp_path / "in")
    assert {p.sha256: p.split for p in catalog.photos() if p.sha256 in before} == before


def test_copies_in_several_splits_stay_in_the_one_that_judges(
    catalog: Catalog, tmp_path: Path, fill: Fill
) -> None:
    root = tmp_path / "in"
    layout(fill, root, train=12, val=4, test=4)
    shutil.copy(root / "test/black/32.png", root / "train/black/same.png")
    shutil.copy(root / "val/black/24.png", root / "train/black/also.png")
    photo = Image.open(root / "test/grizzly/36.png").convert("RGB")
    buffer = io.BytesIO()
    photo.resize((photo.width * 2, photo.height * 2)).save(buffer, "JPEG", quality=92)
    fill(root, {"train/grizzly/near.jpg": buffer.getvalue()})
    out = collect(catalog, root)
    assert out["given"]["leaks"] == [
        {"split": "train", "also": "valid", "same_file": 1, "near_copies": 0},
        {"split": "train", "also": "test", "same_file": 1, "near_copies": 1},
    ]
    assert sizes(catalog) == {"train": 24, "valid": 8, "test": 8}
    lines = stage_text("split", {**out, "outcome": "done", "seconds": 0})
    assert "2 photos of train also in test, and used there only (the same file: 1, a near-" in lines
    aside = [photo for photo in catalog.photos() if photo.status == "duplicate"]
    assert [Path(photo.origin).name for photo in aside] == ["near.jpg"]


def test_a_near_copy_under_another_class_is_set_aside(
    catalog: Catalog, tmp_path: Path, fill: Fill
) -> None:
    """Whatever its label: the picture in test stays, the one in train goes."""
    root = tmp_path / "in"
    layout(fill, root, train=12, val=4, test=4)
    data = saved(drawn(seed=32).convert("RGB"), "JPEG")
    fill(root, {"train/grizzly/near.jpg": data})
    out = collect(catalog, root)
    assert out["given"]["leaks"] == [
        {"split": "train", "also": "test", "same_file": 0, "near_copies": 1}
    ]
    (aside,) = (photo for photo in catalog.photos() if photo.status == "duplicate")
    assert aside.reason.startswith("ACROSS_SPLITS")


def test_photos_that_have_a_split_keep_it(catalog: Catalog, tmp_path: Path, fill: Fill) -> None:
    layout(fill, tmp_path / "in", train=12, val=4, test=4)
    collect(catalog, tmp_path / "in")
    root = tmp_path / "in"
    moved = root / "test/black/32.png"
    moved.rename(root / "train/black/32.png")
    out = collect(catalog, root)
    assert (out["given"]["photos"], out["given"]["elsewhere"]) == (39, 1)
    assert sizes(catalog) == {"train": 24, "valid": 8, "test": 8}
    assert "which they keep" in stage_text("split", {**out, "outcome": "done", "seconds": 0})


def test_photos_without_a_given_split_join_those_with_one(
    catalog: Catalog, tmp_path: Path, fill: Fill
) -> None:
    layout(fill, tmp_path / "in", train=12, val=4, test=4)
    collect(catalog, tmp_path / "in")
    fill(tmp_path / "more", {f"{label}/{800 + i}.png": 800 + i for i, label in
                             enumerate(LABELS * 10)})  # fmt: skip
    out = collect(catalog, tmp_path / "more")
    assert out["given"]["photos"] == 40
    assert sum(sizes(catalog).values()) == 60


def test_a_file_that_was_read_before_gets_its_split(
    catalog: Catalog, tmp_path: Path, fill: Fill
) -> None:
    """The folder of one split is taken in, and only then the folder of all."""
    layout(fill, tmp_path / "in", train=12, val=4, test=4)
    search(catalog, config(tmp_path / "in" / "train"))
    download(catalog, config(tmp_path / "in" / "train"))
    assert catalog.given_splits() == []
    assert search(catalog, config(tmp_path / "in"))["new"] == 16
    download(catalog, config(tmp_path / "in"))
    assert Counter(split for _, split in catalog.given_splits()) == {
        "train": 24,
        "valid": 8,
        "test": 8,
    }


def test_splits_without_train_leave_nothing_to_learn_from(
    catalog: Catalog, tmp_path: Path, fill: Fill
) -> None:
    layout(fill, tmp_path / "in", valid=10, test=10)
    with pytest.raises(DataError, match="NO_TRAIN_PHOTOS"):
        collect(catalog, tmp_path / "in")


def test_a_split_that_lacks_a_class_is_told(catalog: Catalog, tmp_path: Path, fill: Fill) -> None:
    layout(fill, tmp_path / "in", train=12, val=4, test=4)
    shutil.rmtree(tmp_path / "in/test/black")
    (tmp_path / "in/test/black").mkdir()
    out = collect(catalog, tmp_path / "in")
    assert out["photos"]["test"] == {"black": 0, "grizzly": 4}
    assert any('"black" has no photo in test' in text for text in out["warnings"])


def test_splits_by_source_leave_given_ones_alone(
    catalog: Catalog, tmp_path: Path, fill: Fill
) -> None:
    layout(fill, tmp_path / "in", train=10, val=4, test=3)
    collect(catalog, tmp_path / "in", split={"by": "source"})
    assert sizes(catalog) == {"train": 20, "valid": 8, "test": 6}


def test_groups_are_placed_as_a_whole(make: Callable[..., Photo]) -> None:
    """Frames of one scene among the train photos that valid is cut from."""
    photos = [make(n, group=f"g{n // 5}") for n in range(100)]
    given: dict[str, Split] = dict.fromkeys((p.sha256 for p in photos), "train")
    given[make(1000).sha256] = "test"
    done = placed([*photos, make(1000)], given, SplitConfig())
    splits: dict[str | None, set[str | None]] = {}
    for photo in done:
        splits.setdefault(photo.group, set()).add(photo.split)
    assert all(len(names) == 1 for names in splits.values())
    assert Counter(photo.split for photo in done)["test"] == 1
    assert 10 <= Counter(photo.split for photo in done)["valid"] <= 25
    assert [dataclasses.replace(p, split=None) for p in done] == [*photos, make(1000)]

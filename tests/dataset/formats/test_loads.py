"""Other libraries load what is exported, with all classes, splits and labels as they are.

Those that are no dependencies are tried where they are installed: pip install datasets webdataset
ultralytics."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from exporting import ODD, ODD_LABELS, exported, odd_dataset

SPLITS = ("train", "valid", "test")
HUB = {"train": "train", "valid": "validation", "test": "test"}
ROWS = {split: {label: ODD[label][split] for label in ODD} for split in SPLITS}


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """format -> its export, in a folder whose name has words for splits in it."""
    root = tmp_path_factory.mktemp("loads")
    with odd_dataset(root / "data") as catalog:
        for format in ("folders", "imagefolder", "webdataset", "parquet"):
            if format == "parquet":
                pytest.importorskip("pyarrow", reason="Parquet: the extra [parquet]")
            exported(catalog, root / f"test {format} train", format)
    return {p.name.split()[1]: p for p in root.glob("test *")}


def counts(labels: Any) -> dict[str, int]:
    found = Counter(labels)
    assert found.keys() <= ODD.keys()
    return {label: found[label] for label in ODD}


@pytest.mark.parametrize("split", SPLITS)
def test_torchvision(places: Mapping[str, Path], split: str) -> None:
    from torchvision.datasets import ImageFolder

    place = places["folders"] / split
    loaded = ImageFolder(str(place), allow_empty=True)
    assert loaded.classes == sorted(ODD)  # the same numbers in each split
    assert counts(loaded.classes[target] for target in loaded.targets) == ROWS[split]
    assert loaded[0][0].size == (96, 64) or loaded[0][0].size == (64, 96)
    if not all(ROWS[split].values()):  # it says so, and does not number the classes anew
        with pytest.raises(FileNotFoundError, match="polar"):
            ImageFolder(str(place))


def test_fastai(places: Mapping[str, Path]) -> None:
    from fastai.data.external import Path as FastaiPath
    from fastai.vision.augment import Resize
    from fastai.vision.data import ImageDataLoaders

    loaded = ImageDataLoaders.from_folder(
        FastaiPath(places["folders"]), valid="valid", item_tfms=Resize(32), bs=2, num_workers=0
    )
    assert list(loaded.vocab) == sorted(ODD)
    for number, split in enumerate(("train", "valid")):
        found = (Path(path).parent.name for path in loaded.loaders[number].dataset.items)
        assert counts(found) == ROWS[split]
    pixels, targets = loaded.train.one_batch()
    assert tuple(pixels.shape) == (2, 3, 32, 32)
    assert len(targets) == 2


HUGGING_FACE = "the Hugging Face library: pip install datasets"


def hub(place: Path | str, cache: Path, **more: Any) -> Any:
    datasets = pytest.importorskip("datasets", reason=HUGGING_FACE)
    datasets.disable_progress_bars()
    return datasets.load_dataset(str(place), cache_dir=str(cache), **more)


@pytest.mark.parametrize("by_type", [False, True])
def test_hugging_face_imagefolder(
    places: Mapping[str, Path], tmp_path: Path, by_type: bool
) -> None:
    place = places["imagefolder"]
    loaded = hub("imagefolder", tmp_path, data_dir=str(place)) if by_type else hub(place, tmp_path)
    assert {name: loaded[name].num_rows for name in loaded} == {
        HUB[split]: sum(row.values()) for split, row in ROWS.items()
    }
    for split in SPLITS:
        rows = loaded[HUB[split]]
        assert counts(rows["label"]) == ROWS[split]
        assert set(rows["split"]) == {split}
        assert sorted(rows[0]["image"].size) == [64, 96]
    authors = {author for split in loaded for author in loaded[split]["author"]}
    assert "" in authors and "=Ann 1" in authors


def test_hugging_face_one_split_of_imagefolder(places: Mapping[str, Path], tmp_path: Path) -> None:
    """Folders called "train" and "test station" in it would be all that is loaded."""
    loaded = hub("imagefolder", tmp_path, data_dir=str(places["imagefolder"] / "valid"))
    assert list(loaded) == ["train"]
    assert counts(loaded["train"]["label"]) == ROWS["valid"]


def test_hugging_face_folders(places: Mapping[str, Path], tmp_path: Path) -> None:
    """By the page of the export: without it a class that is called train would be a split."""
    loaded = hub(places["folders"], tmp_path)
    names = loaded["train"].features["label"].names
    assert names == sorted(ODD)
    for split in SPLITS:
        assert counts(names[n] for n in loaded[HUB[split]]["label"]) == ROWS[split]


def test_hugging_face_parquet(places: Mapping[str, Path], tmp_path: Path) -> None:
    loaded = hub(places["parquet"], tmp_path)
    assert loaded["train"].features["label"].names == ODD_LABELS
    for split in SPLITS:
        rows = loaded[HUB[split]]
        assert counts(ODD_LABELS[n] for n in rows["label"]) == ROWS[split]
        assert sorted(rows[0]["image"].size) == [64, 96]
        assert all(isinstance(size, int) for size in rows["file_bytes"])


def test_hugging_face_webdataset(places: Mapping[str, Path], tmp_path: Path) -> None:
    loaded = hub(places["webdataset"], tmp_path)
    for split in SPLITS:
        rows = loaded[HUB[split]]
        assert counts(row["label"] for row in rows["json"]) == ROWS[split]
        assert counts(ODD_LABELS[int(number)] for number in rows["cls"]) == ROWS[split]
        assert sorted(rows[0]["jpg"].size) == [64, 96]


def test_webdataset(places: Mapping[str, Path]) -> None:
    webdataset = pytest.importorskip("webdataset", reason="tar shards: pip install webdataset")
    for split in SPLITS:
        (shard,) = places["webdataset"].glob(f"{split}-*.tar")
        loaded = list(webdataset.WebDataset(str(shard), shardshuffle=False).decode("pil"))
        assert counts(row["json"]["label"] for row in loaded) == ROWS[split]
        assert counts(ODD_LABELS[row["cls"]] for row in loaded) == ROWS[split]
        assert sorted(loaded[0]["jpg"].size) == [64, 96]


def test_ultralytics(places: Mapping[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YOLO_OFFLINE", "true")
    pytest.importorskip("ultralytics", reason="Ultralytics: pip install ultralytics")
    from ultralytics.cfg import get_cfg
    from ultralytics.data.dataset import ClassificationDataset
    from ultralytics.data.utils import check_cls_dataset

    about = check_cls_dataset(str(places["folders"]))
    assert list(about["names"].values()) == sorted(ODD)
    assert about["nc"] == len(ODD)
    for split, key in (("train", "train"), ("valid", "val"), ("test", "test")):
        assert about[key] == places["folders"] / split
        loaded = ClassificationDataset(str(about[key]), get_cfg(), prefix=key)
        assert counts(sorted(ODD)[row[1]] for row in loaded.samples) == ROWS[split]


def test_json_of_the_first_member_is_its_row(places: Mapping[str, Path]) -> None:
    import tarfile

    for shard in places["webdataset"].glob("*.tar"):
        with tarfile.open(shard) as tar:
            members = tar.getmembers()
            assert [m.name.split(".")[1] for m in members] == ["jpg", "cls", "json"] * (
                len(members) // 3
            )
            row = json.load(tar.extractfile(members[2]))  # type: ignore[arg-type]
            assert row["file_name"] == f"{shard.name}/{row['file_name'].split('/')[1]}"
            assert {(m.uid, m.mtime, m.mode) for m in members} == {(0, 0, 0o644)}

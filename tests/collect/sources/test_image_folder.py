"""imagefolder:PATH: photos beside a metadata table, and decisions that come with them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bear_classifier.collect.download import download
from bear_classifier.collect.search import search
from bear_classifier.collect.sources.image_folder import list_image_folder
from bear_classifier.collect.sources.local_files import list_folder
from bear_classifier.config.project_file import build
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.formats.metadata import (
    MetadataRow,
    PastDecision,
    write_rows,
)
from bear_classifier.dataset.formats.past_decisions import past_decisions
from bear_classifier.dataset.schema import TakeDown
from bear_classifier.errors import DataError
from bear_classifier.report.stage_lines import stage_text

LABELS = ["red", "green"]
Fill = Callable[[Path, dict[str, int | bytes]], None]


def found(root: Path) -> list[tuple[str, str, str]]:
    listed = list_image_folder(root, LABELS).candidates
    return [(str(Path(c.origin).relative_to(root)), c.label, c.split) for c in listed]


def touch(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def test_a_table_at_the_top_counts_for_all(tmp_path: Path) -> None:
    """Its file names are paths; folders called as other classes or splits say nothing."""
    touch(tmp_path, {"train/(red)/0.jpg": "0", "test/x/0.jpg": "1", "train/metadata.jsonl": "{}"})
    text = "file_name,label,split\ntrain/(red)/0.jpg,red,train\ntest/x/0.jpg,green,test\n"
    touch(tmp_path, {"metadata.csv": text})
    assert found(tmp_path) == [
        ("test/x/0.jpg", "green", "test"),
        ("train/(red)/0.jpg", "red", "train"),
    ]


def test_a_table_for_each_split(tmp_path: Path) -> None:
    for split, label in (("train", "red"), ("validation", "green")):
        line = json.dumps({"file_name": "0.jpg", "label": label})
        touch(tmp_path, {f"{split}/0.jpg": split, f"{split}/metadata.jsonl": line})
    touch(tmp_path, {"test/1.jpg": ""})
    assert found(tmp_path) == [
        ("train/0.jpg", "red", "train"),
        ("validation/0.jpg", "green", "valid"),
    ]
    ignored = list_image_folder(tmp_path, LABELS).ignored
    assert ignored[str(tmp_path / "test")] == "no split with a metadata.csv in it"


def test_class_folders_without_a_table(tmp_path: Path) -> None:
    touch(tmp_path, {"train/red/0.jpg": "", "test/green/1.jpg": ""})
    assert found(tmp_path) == [
        ("train/red/0.jpg", "red", "train"),
        ("test/green/1.jpg", "green", "test"),
    ]


def test_a_folder_of_classes_says_that_its_table_is_not_read(tmp_path: Path) -> None:
    touch(tmp_path, {"red/0.jpg": "", "metadata.csv": "", "note.txt": ""})
    assert list_folder(tmp_path, LABELS).ignored == {
        str(tmp_path / "metadata.csv"): "read with --source imagefolder:PATH only",
        str(tmp_path / "note.txt"): "not in a class folder",
    }


def test_a_table_without_classes_beside_class_folders(tmp_path: Path) -> None:
    """Such as captions; without class folders it is refused."""
    touch(tmp_path, {"red/0.jpg": "", "metadata.csv": "file_name,text\nred/0.jpg,a bear\n"})
    assert found(tmp_path) == [("red/0.jpg", "red", "")]
    (tmp_path / "red").rename(tmp_path / "all")
    touch(tmp_path, {"metadata.csv": "file_name,text\nall/0.jpg,a bear\n"})
    with pytest.raises(DataError, match="NO_CLASS_COLUMN"):
        found(tmp_path)


def test_what_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="NO_FOLDER"):
        list_image_folder(tmp_path / "none", LABELS)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="NO_CLASS_FOLDERS"):
        list_image_folder(tmp_path / "empty", LABELS)


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog(tmp_path / "data") as made:
        yield made


def take_in(catalog: Catalog, root: Path) -> dict[str, Any]:
    names = {"name": "t", "classes": {label: [label] for label in LABELS}}
    settings = build({**names, "search": {"source": f"imagefolder:{root}"}}, "test")
    search(catalog, settings)
    return download(catalog, settings)


def exported(root: Path, fill: Fill, **facts: Any) -> str:
    """A photo and its row, as an export writes them; its SHA-256."""
    fill(root, {"train/red/0.png": 1})
    digest = hashlib.sha256((root / "train/red/0.png").read_bytes()).hexdigest()
    usual = {"file_name": "train/red/0.png", "label": "red", "split": "train"}
    row = MetadataRow(**{**usual, "file_sha256": digest, **facts})
    with (root / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
        write_rows(file, [row])
    return digest


PAST = (
    PastDecision("relabel", "green", "red", "ann", "2026-01-01T10:00:00+00:00", "a red one"),
    PastDecision("keep", "red", "red", "bob", "2026-01-02T10:00:00+00:00"),
)


def test_what_an_export_says_comes_back(catalog: Catalog, tmp_path: Path, fill: Fill) -> None:
    digest = exported(
        tmp_path / "in", fill, author="Ann", licence="CC BY 4.0", licence_url="https://cc.example",
        page="https://example.org/page", source="https://example.org/0.png", title="A bear",
        decisions=PAST,
    )  # fmt: skip
    out = take_in(catalog, tmp_path / "in")
    assert out["altered"] == 0
    (source,) = catalog.sources()
    assert (source.author, source.licence, source.split) == ("Ann", "CC BY 4.0", "train")
    assert (source.page, source.title) == ("https://example.org/page", "A bear")
    assert source.final_url == "https://example.org/0.png"
    assert past_decisions(catalog) == {digest: PAST}
    take_in(catalog, tmp_path / "in")
    assert past_decisions(catalog) == {digest: PAST}


def test_what_was_taken_down_does_not_come_back(
    catalog: Catalog, tmp_path: Path, fill: Fill
) -> None:
    exported(tmp_path / "in", fill, page="https://www.bears.example/page")
    with catalog.transaction():
        catalog.put_take_down(TakeDown("domain", "bears.example", "2026", "ann", "asked by mail"))
    take_in(catalog, tmp_path / "in")
    assert (catalog.photos(), catalog.sources()) == ([], [])


def test_a_photo_that_was_changed_has_no_decisions(
    catalog: Catalog, tmp_path: Path, fill: Fill
) -> None:
    exported(tmp_path / "in", fill, decisions=PAST)
    fill(tmp_path / "in", {"train/red/0.png": 2})
    out = take_in(catalog, tmp_path / "in")
    assert (out["altered"], past_decisions(catalog)) == (1, {})
    assert "1 file changed since the export" in stage_text(
        "download", {**out, "outcome": "done", "seconds": 0}
    )


def test_what_was_decided_here_stays(catalog: Catalog, tmp_path: Path, fill: Fill) -> None:
    """A photo that is here already under another label gets no decisions from elsewhere."""
    exported(tmp_path / "in", fill, decisions=PAST)
    fill(tmp_path / "own", {"green/0.png": 1})
    names = {"name": "t", "classes": {label: [label] for label in LABELS}}
    settings = build({**names, "search": {"source": f"folder:{tmp_path / 'own'}"}}, "test")
    search(catalog, settings)
    download(catalog, settings)
    take_in(catalog, tmp_path / "in")
    assert past_decisions(catalog) == {}
    (photo,) = catalog.photos()
    assert (photo.label, photo.reason.partition(":")[0]) == ("green", "LABEL_CONFLICT")

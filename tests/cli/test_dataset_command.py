"""bears dataset export, from the command line and from Python."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from exporting import ODD, ODD_LABELS, odd_dataset
from within import bears

import bear_classifier as bc
from bear_classifier.dataset.formats import export as module
from bear_classifier.dataset.formats.metadata import read_rows

TOTAL = sum(sum(row.values()) for row in ODD.values())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("dataset")
    classes = "".join(f"{json.dumps(label)} = ['x']\n" for label in ODD_LABELS)
    text = f'name = "odd"\n[classes]\n{classes}'
    (root / "bears.toml").write_text(text, encoding="utf-8")
    odd_dataset(root / "data" / "odd").close()
    return root


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "here")
    return tmp_path / "here"


def test_what_is_printed(place: Path) -> None:
    done = bears("dataset", "export", "out", cwd=place)
    assert (done.returncode, done.stderr) == (0, "")
    size = sum(row.file_bytes for row in read_rows(place / "out" / "metadata.csv")) / 1e6
    assert done.stdout.splitlines() == [
        f"wrote out: {TOTAL} photos, {size:.1f} MB, format folders",
        "  Bär & Co      train 3, valid 2, test 1",
        "  polar         train 2, valid 0, test 1",
        "  test station  train 2, valid 1, test 1",
        "  train         train 2, valid 2, test 2",
        "without their EXIF and other metadata: 6 photos",
        "not in use, and not exported: 1 dropped, 1 duplicate, 1 unlabelled",
        "warning: 'zebra' has no photo, and no folder",
        "warning: valid has no photo of 'polar'; its folder is empty, so that classes keep their"
        " numbers (ImageFolder: allow_empty=True)",
    ]


def test_as_json_with_all_options(place: Path) -> None:
    words = ["--format", "imagefolder", "--split-names", "val", "--licence", "share", "--json"]
    done = bears("dataset", "export", "out", *words, "--keep-metadata", "--link", cwd=place)
    row = json.loads(done.stdout)
    assert (row["path"], row["format"], row["stripped"]) == ("out", "imagefolder", 0)
    assert (row["files"], row["unknown_licence"], row["other_licence"]) == (TOTAL - 5, 5, 0)
    assert (place / "out" / "val" / "metadata.jsonl").is_file()
    shown = bears("dataset", "export", "out", "--licence", "public", cwd=place).stdout
    assert "left out by --licence: 14 photos (5 without a known licence, 9 with another)" in shown


def test_the_licence_of_the_search_is_another_thing(place: Path) -> None:
    """A project that searches for public pictures exports all that it has."""
    text = (place / "bears.toml").read_text(encoding="utf-8")
    public = text + '[search]\nlicence = "public"\n'
    (place / "bears.toml").write_text(public, encoding="utf-8")
    done = bears("dataset", "export", "out", "--json", cwd=place)
    assert json.loads(done.stdout)["files"] == TOTAL


def test_links_that_cannot_be_are_told(place: Path) -> None:
    done = bears("dataset", "export", "out", "--format", "webdataset", "--link", cwd=place)
    assert "note: no photo could be a hard link: shards hold copies" in done.stdout


def test_refusals(place: Path) -> None:
    (place / "mine").mkdir()
    (place / "mine" / "notes.txt").write_bytes(b"mine")
    done = bears("dataset", "export", "mine", cwd=place)
    assert done.returncode == 2
    assert "FOREIGN_FOLDER" in done.stderr and "'notes.txt'" in done.stderr
    assert bears("dataset", "export", "out", "--format", "zip", cwd=place).returncode == 2
    assert bears("dataset", "import", "out", cwd=place).returncode == 2
    assert bears("dataset", "export", cwd=place).returncode == 2


def test_ctrl_c_names_the_same_command(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "run_part", stopped)
    done = bears("dataset", "export", "out", "--format", "webdataset", cwd=place)
    assert done.returncode == 130
    assert "Continue with: bears dataset export out --format webdataset" in done.stderr


def test_from_python(place: Path) -> None:
    project = bc.open_project(place / "bears.toml", data=place / "data")
    done = project.export_dataset(place / "out", "imagefolder", licence="commercial")
    assert repr(done).startswith(f"Exported({done.files} photos as imagefolder in ")
    assert 0 < done.files < TOTAL
    with pytest.raises(bc.ConfigError, match=r"BAD_SETTING.*'zip' is none of folders"):
        project.export_dataset(place / "out", "zip")  # type: ignore[arg-type]
    with pytest.raises(bc.ConfigError, match="'free' is none of any, share"):
        project.export_dataset(place / "out", licence="free")  # type: ignore[arg-type]

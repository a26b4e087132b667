"""`bears watch` answers what comes, and notes it in a table; `bears predict` reads a pipe."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import within
from corpus import drawn, saved

from bear_classifier.ship import new_files


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which all lies at once; then somebody presses Ctrl-C."""
    folder = tmp_path / "trap"
    folder.mkdir()
    for n in range(2):
        (folder / f"{n}.png").write_bytes(saved(drawn(90, 80, seed=n), "PNG"))
    (folder / "notes.txt").write_text("no photo", encoding="utf-8")

    def once(place: Path, *_: object) -> Iterator[Path]:
        yield from sorted(place.iterdir())
        raise KeyboardInterrupt

    monkeypatch.setattr(new_files, "new_files", once)
    return folder


def rows(table: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(table.read_text(encoding="utf-8-sig"))))


def test_each_photo_gets_a_line_and_a_row_once(trap: Path, model_dir: Path, tmp_path: Path) -> None:
    words = ("watch", trap, "--model", model_dir, "--csv", "seen.csv", "--json")
    done = within.bears(*words, cwd=tmp_path)
    assert done.returncode == 130
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [Path(line["path"]).name for line in lines] == ["0.png", "1.png", "notes.txt"]
    assert lines[2]["error"]["code"] == "NOT_AN_IMAGE"
    table = rows(tmp_path / "seen.csv")
    assert [row["label"] for row in table[:2]] == [line["label"] for line in lines[:2]]
    assert table[2]["error"] == "NOT_AN_IMAGE"

    (trap / "2.png").write_bytes(saved(drawn(90, 80, seed=2), "PNG"))
    again = within.bears(*words, cwd=tmp_path)
    assert [Path(json.loads(line)["path"]).name for line in again.stdout.splitlines()] == ["2.png"]
    assert "seen.csv has 3 photos already" in again.stderr
    assert len(rows(tmp_path / "seen.csv")) == 4


def test_a_folder_that_is_none_is_named(model_dir: Path, tmp_path: Path) -> None:
    done = within.bears("watch", "nowhere", "--model", model_dir, cwd=tmp_path)
    assert done.returncode == 2
    assert "NO_FOLDER: nowhere is not a folder" in done.stderr
    done = within.bears("watch", ".", "--every", "0", cwd=tmp_path)
    assert done.returncode == 2 and "0.1 to 3600" in done.stderr


def test_a_photo_comes_through_a_pipe(
    model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And is answered as the same file is."""
    photo = saved(drawn(90, 80, seed=3), "PNG")
    (tmp_path / "a.png").write_bytes(photo)
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(photo)))
    done = within.bears("predict", "--model", model_dir, "--json", "a.png", "-", cwd=tmp_path)
    file, pipe = map(json.loads, done.stdout.splitlines())
    assert pipe["path"] == "-"
    assert file["probabilities"] == pytest.approx(pipe["probabilities"], abs=1e-5)
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"")))
    done = within.bears("predict", "--model", model_dir, "-", cwd=tmp_path)
    assert done.returncode == 1 and "-: EMPTY_FILE" in done.stdout

"""Storage in the service of S3, as a server on loopback plays it. It needs packages that are no
dependencies: pip install "moto[server]" s3fs"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from corpus import drawn, saved
from s3_server import at_server, s3_server

from bear_classifier.cli.main import main
from bear_classifier.config.settings import EngineConfig
from bear_classifier.engine.stored_table import StoredTable
from bear_classifier.errors import ConfigError
from bear_classifier.ship import bundle, prediction_tasks
from bear_classifier.ship.predict import answers
from bear_classifier.ship.prediction_tasks import Kept, answers_on_engine, forget

BUCKET = "s3://bears"


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with s3_server(monkeypatch, "bears") as made:
        yield made


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(12):
        (folder / f"{number:02}.png").write_bytes(saved(drawn(64, 48, seed=number), "PNG"))
    (folder / "03.png").write_bytes(b"no picture")
    return folder


def test_tables_of_parts(bucket: Any, model_dir: Path, photos: Path, tmp_path: Path) -> None:
    words = ["predict", "--quiet", "--model", str(model_dir), str(photos)]
    for number in (1, 2):
        for place in (str(tmp_path), f"{BUCKET}/out"):
            main([*words, "--csv", f"{place}/t.csv", "--shard", f"{number}/2"])
    parts = [f"t-0000{number}-of-00002.csv" for number in (1, 2)]
    assert sorted(bucket.ls("bears/out", detail=False)) == [f"bears/out/{name}" for name in parts]
    for name in parts:
        assert bucket.cat_file(f"bears/out/{name}") == (tmp_path / name).read_bytes()


def test_a_table_that_was_stopped(bucket: Any) -> None:
    words = f"{BUCKET}/out", "t.csv", ["path", "error"], "abc"
    for begun in (0, 2):
        table = StoredTable(*words)
        assert len(table.done) == begun
        with pytest.raises(KeyboardInterrupt), table:
            for number in range(begun, begun + 2):
                table.add([f"{number}.jpg", ""])
            raise KeyboardInterrupt
    with StoredTable(*words) as table:
        assert len(table.done) == 4
        table.add(["4.jpg", ""])
    assert bucket.cat_file("bears/out/t.csv").count(b"\r\n") == 6
    assert bucket.find("bears") == ["bears/out/t.csv"]


def test_workers_that_see_no_photo(
    bucket: Any, model_dir: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction_tasks, "_PHOTOS", 5)
    loaded, kept = bundle.load(model_dir), Kept(f"{BUCKET}/out", "t.csv.answers")
    files = sorted(photos.iterdir())
    engine = EngineConfig(storage=f"{BUCKET}/work")
    found = [(p, str(a)) for p, a in answers_on_engine(loaded, files, engine, kept=kept)]
    assert found == [(path, str(answer)) for path, answer in answers(loaded, files)]
    assert len(bucket.ls("bears/out/t.csv.answers")) == 3
    forget(kept)
    assert {name.split("/")[2].partition("-")[0] for name in bucket.find("bears")} == {"bundle"}


def test_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("s3fs", reason="S3: pip install s3fs")
    at_server(monkeypatch, "http://127.0.0.1:9")
    with pytest.raises(ConfigError, match="NO_STORAGE"):
        StoredTable("s3://bears/out", "t.csv", ["path"], "abc")

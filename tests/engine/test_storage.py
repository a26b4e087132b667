"""Storage of workers that share no folder. Of S3 only the address differs: fsspec does the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from bear_classifier.engine.storage import Storage
from bear_classifier.errors import ConfigError


def test_files_are_sent_once_and_fetched_whole(tmp_path: Path) -> None:
    head, worker, there = (tmp_path / name for name in ("head", "worker", "there"))
    names = ["photos/ab/one.jpeg", "photos/cd/two.jpeg", "features/x/list.txt"]
    for name in names:
        (head / name).parent.mkdir(parents=True, exist_ok=True)
        (head / name).write_bytes(name.encode())
    storage = Storage(there.as_uri())
    assert storage.send(head, names[:2]) == 2
    assert storage.send(head, names) == 1
    (there / names[0]).write_bytes(b"cut")
    assert storage.send(head, names) == 1, "a file that was cut off stayed"
    storage.fetch(worker, names)
    assert {name: (worker / name).read_bytes() for name in names} == {
        name: name.encode() for name in names
    }
    with pytest.raises(FileNotFoundError):
        storage.fetch(worker, ["photos/ef/three.jpeg"])
    assert sorted(p.name for p in worker.rglob("*") if p.is_file()) == sorted(
        Path(name).name for name in names
    )


def test_a_result_has_its_name_when_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shard.npy").write_bytes(b"rows")
    storage = Storage((tmp_path / "there").as_uri())
    seen = []
    put = storage._fs.put

    def watched(paths: list[str], places: list[str]) -> None:
        put(paths, places)
        seen.append(storage.has("shard.npy"))

    monkeypatch.setattr(storage._fs, "put", watched)
    storage.publish(tmp_path / "shard.npy", "shard.npy")
    assert (seen, storage.has("shard.npy")) == ([False], True)
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["shard.npy"]


def test_an_address_that_cannot_be_used() -> None:
    with pytest.raises(ConfigError, match="NO_STORAGE.*engine.storage = 'nosuch://bucket/x'"):
        Storage("nosuch://bucket/x")

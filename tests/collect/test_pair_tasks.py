"""Near-copies as tasks of an engine: the pairs of one process, whoever dies meanwhile."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clusters import environment, remove_machine, two_machines
from corpus import ROOT, seeded
from engine_tasks import Mishaps, marked, with_mishaps
from numpy.typing import NDArray
from waiting import STUCK, until

from bear_classifier.collect import pair_tasks
from bear_classifier.collect.screen import screen
from bear_classifier.config.project_file import build
from bear_classifier.config.settings import EngineConfig
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import Photo
from bear_classifier.engine import choice
from bear_classifier.errors import DataError
from bear_classifier.stats import near_pairs

NEAR = 45
RAY = EngineConfig("ray")
PLACE = "bear_classifier.collect.pair_tasks:write_pairs"
DRIVER = """
import sys
from functools import partial
from pathlib import Path
import numpy as np
from bear_classifier.collect import pair_tasks
from bear_classifier.config.settings import EngineConfig
from bear_classifier.stats import near_pairs
from engine_tasks import Mishaps, with_mishaps
root, marks, place, address, *gated = sys.argv[1:]
near_pairs._EXACT = pair_tasks._LEAST = 10
mishaps = Mishaps(marks, gated=frozenset(map(int, gated)))
pair_tasks.write_pairs = partial(with_mishaps, place, mishaps)
hashes = np.load(Path(root) / "input.npy")
with pair_tasks.pairs_by(Path(root), EngineConfig("ray", address)) as run:
    blocks, whole = near_pairs.near_blocks(hashes, 45, run)
    np.savez(Path(root) / "output.npz", *[part for block in blocks for part in block], [whole])
"""
Found = tuple[list[list[int]], list[int], bool]


@pytest.fixture(autouse=True)
def by_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_pairs, "_EXACT", 10)
    monkeypatch.setattr(pair_tasks, "_LEAST", 10)


@pytest.fixture(scope="module")
def hashes() -> NDArray[np.uint8]:
    """Of 4,000 pictures two versions each, more than are compared each with each; of one 300."""
    rng = np.random.default_rng(seeded(1))
    originals = rng.integers(0, 256, (4_000, 50), dtype=np.uint8)
    often = originals[:1].repeat(300, axis=0)
    copies = np.concatenate([originals, often])
    flipped = np.packbits(rng.random((len(copies), 400)) < 0.04, axis=1)
    return np.concatenate([originals, copies ^ flipped])


@pytest.fixture
def ends_backwards(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """An engine that ends its tasks in another order than they began in. Numbers of tasks."""
    numbers: list[int] = []

    def each(function: Callable[[Any], Any], tasks: Any, engine: EngineConfig) -> Iterator[Any]:
        for task in reversed(list(tasks)):
            numbers.append(task.number)
            yield task, function(task)

    monkeypatch.setattr(choice, "each", each)
    return numbers


def found(hashes: NDArray[np.uint8], run: near_pairs.ShardRun) -> Found:
    blocks, whole = near_pairs.near_blocks(hashes, NEAR, run)
    held = list(blocks)
    pairs = np.concatenate([pairs for pairs, _ in held])
    return pairs.tolist(), np.concatenate([bits for _, bits in held]).tolist(), whole


def on_engine(hashes: NDArray[np.uint8], root: Path, engine: EngineConfig = RAY) -> Found:
    with pair_tasks.pairs_by(root, engine) as run:
        return found(hashes, run)


@pytest.mark.long
def test_files_of_tasks_hold_what_threads_find(
    hashes: NDArray[np.uint8], tmp_path: Path, ends_backwards: list[int]
) -> None:
    expected = found(hashes, near_pairs.on_threads)
    assert len(expected[0]) > 40_000
    assert on_engine(hashes, tmp_path) == expected
    first, rest = near_pairs.pair_shards(NEAR)
    assert ends_backwards == [*reversed(first), *reversed(rest)]
    assert list(tmp_path.iterdir()) == [], "files stayed behind"


@pytest.mark.long
def test_what_is_finished_is_not_done_again(
    hashes: NDArray[np.uint8],
    tmp_path: Path,
    ends_backwards: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also after a shard was damaged, and in a dataset that changed meanwhile."""
    done: list[int] = []
    real = pair_tasks.pair_shard

    def counted(words: Any, limit: int, number: int, alike: Any) -> near_pairs.NearPairs:
        if len(done) == 20:
            raise DataError("DISK_FULL", "no space left")
        done.append(number)
        return real(words, limit, number, alike)

    monkeypatch.setattr(pair_tasks, "pair_shard", counted)
    with pytest.raises(DataError, match="DISK_FULL"):
        on_engine(hashes, tmp_path)
    (folder,) = (tmp_path / "near_copies").iterdir()
    files = sorted(folder.glob("*.npz"))
    assert len(files) == 20
    files[0].write_bytes(files[0].read_bytes()[:-30])
    monkeypatch.setattr(pair_tasks, "pair_shard", real)
    other = hashes[: len(hashes) - 100]
    with pair_tasks.pairs_by(tmp_path, RAY) as run:
        assert found(other, run) == found(other, near_pairs.on_threads)
        assert len(list((tmp_path / "near_copies").iterdir())) == 2
        done.clear()
        ends_backwards.clear()

        def again(words: Any, limit: int, number: int, alike: Any) -> near_pairs.NearPairs:
            done.append(number)
            return real(words, limit, number, alike)

        monkeypatch.setattr(pair_tasks, "pair_shard", again)
        assert found(hashes, run) == found(hashes, near_pairs.on_threads)
    first, rest = near_pairs.pair_shards(NEAR)
    assert len(done) == len(first + rest) - 19
    assert sorted([*ends_backwards, int(files[0].stem)]) == sorted(done)


def test_few_hashes_are_compared_here(
    hashes: NDArray[np.uint8],
    tmp_path: Path,
    ends_backwards: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And those of workers that see no folder of the head; the local engine writes nothing."""
    some = hashes[-500:]
    expected = found(some, near_pairs.on_threads)
    for engine in (EngineConfig(), EngineConfig("ray", storage="memory://x")):
        assert on_engine(some, tmp_path, engine) == expected
    monkeypatch.setattr(pair_tasks, "_LEAST", 501)
    assert on_engine(some, tmp_path) == expected
    assert ends_backwards == []


# -- Ray -------------------------------------------------------------------------------------------


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    with two_machines() as made:
        yield made


@pytest.mark.long
@pytest.mark.ray
def test_twenty_killed_workers_and_a_removed_machine(
    hashes: NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cluster: Any
) -> None:
    """Nothing is lost or double: the photos of a dataset are judged as by one process."""
    marks = tmp_path / "marks"
    marks.mkdir()
    first, rest = near_pairs.pair_shards(NEAR)
    kills, gated = frozenset(rest[:20]), frozenset(rest[40:])
    mishaps = Mishaps(str(marks), kills, gated)
    monkeypatch.setattr(pair_tasks, "write_pairs", partial(with_mishaps, PLACE, mishaps))
    expected = judged(tmp_path / "local", hashes, "local")

    def remove_one() -> None:
        until(lambda: len(gated & marked(marks, "begun").keys()) == 2, "a machine has no work")
        remove_machine(cluster)
        (marks / "gate").touch()

    with ThreadPoolExecutor(1) as pool:
        gone = pool.submit(remove_one)
        assert judged(tmp_path / "ray", hashes, "ray", cluster.address) == expected
        gone.result()
    ended = marked(marks, "ended")
    assert ended == dict.fromkeys([*first, *rest], 1), "a shard was lost, or done twice"
    again = {number for number, times in marked(marks, "begun").items() if times > 1}
    assert kills <= again and len(again - kills) <= 1, "more than the machine had in hand"
    assert not (tmp_path / "ray" / "near_copies").exists()


def judged(root: Path, hashes: NDArray[np.uint8], name: str, address: str = "") -> Any:
    """What screening says, and the photos afterwards."""
    table = {
        "name": "t",
        "classes": {"a": ["a"], "b": ["b"]},
        "engine": {"name": name, "address": address},
    }
    with Catalog(root) as catalog:
        with catalog.transaction():
            catalog.put_photos(map(photo, range(len(hashes)), hashes))
        return screen(catalog, build(table, "test")), catalog.photos()


def photo(number: int, code: NDArray[np.uint8]) -> Photo:
    return Photo(f"{number:064x}", f"{number}.jpg", "a", "jpeg", 800, 600, 9, code.tobytes().hex(),
                 50.0)  # fmt: skip


@pytest.mark.long
@pytest.mark.ray
def test_a_killed_driver_costs_at_most_one_shard_of_each_worker(
    hashes: NDArray[np.uint8], tmp_path: Path, cluster: Any
) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    np.save(tmp_path / "input.npy", hashes)
    _, rest = near_pairs.pair_shards(NEAR)
    gated = rest[20:]
    words = [sys.executable, "-c", DRIVER, str(tmp_path), str(marks), PLACE, cluster.address]
    words += map(str, gated)
    facts: dict[str, Any] = {"cwd": ROOT / "tests", "env": environment()}
    driver = subprocess.Popen(words, **facts)
    try:
        until(lambda: len(set(gated) & marked(marks, "begun").keys()) == 2, "no shard waits",
              lambda: driver.poll() is None)  # fmt: skip
    finally:
        driver.kill()
        driver.wait()
    (marks / "gate").touch()
    again = subprocess.run(words, timeout=STUCK, capture_output=True, **facts)
    assert again.returncode == 0, again.stderr.decode()
    twice = {number for number, times in marked(marks, "begun").items() if times > 1}
    assert len(twice) <= 2 and twice <= set(gated), "finished shards were done again"
    with np.load(tmp_path / "output.npz") as made:
        *parts, whole = (made[name] for name in made.files)
    pairs, bits = np.concatenate(parts[::2]).tolist(), np.concatenate(parts[1::2]).tolist()
    assert (pairs, bits, bool(whole[0])) == found(hashes, near_pairs.on_threads)

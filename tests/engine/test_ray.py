"""Ray as the engine: the same files as from the local one, and nothing lost or done twice where
workers, machines and drivers die."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clusters import SMALL, environment, remove_machine, two_machines
from corpus import ROOT
from engine_tasks import (
    ShardTask,
    contents,
    fail_on_two,
    mark,
    marked,
    shard_of,
    surroundings,
    visible_gpus,
    write_shard,
)
from waiting import STUCK, until

from bear_classifier.config.settings import EngineConfig
from bear_classifier.engine import choice
from bear_classifier.errors import ConfigError, DataError

pytestmark = pytest.mark.ray
DRIVER = """
import sys
from bear_classifier.config.settings import EngineConfig
from bear_classifier.engine import choice
from engine_tasks import ShardTask, write_shard
folder, gate, address = sys.argv[1:]
tasks = [ShardTask(folder, n, gate=gate if n >= 6 else "") for n in range(20)]
for task, _ in choice.each(write_shard, tasks, EngineConfig("ray", address)):
    print(task.number, flush=True)
choice.close_engine()
"""


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers inherit this; the tasks of the tests are not installed as the package is."""
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])


@pytest.fixture
def cluster() -> Iterator[Any]:
    with two_machines() as made:
        yield made


def engine(cluster: Any) -> EngineConfig:
    return EngineConfig("ray", cluster.address)


def by_local(tmp_path: Path, numbers: range) -> dict[str, bytes]:
    folder = tmp_path / "local"
    folder.mkdir()
    tasks = [ShardTask(str(folder), number) for number in numbers]
    list(choice.each(write_shard, tasks, EngineConfig()))
    return contents(folder)


def folder_of(tmp_path: Path, name: str = "ray") -> Path:
    folder = tmp_path / name
    folder.mkdir()
    return folder


def begun(folder: Path) -> Counter[int]:
    return marked(folder, "begun")


@pytest.mark.long
def test_ray_on_this_computer_does_what_the_local_engine_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One start of Ray for all that needs no second machine: it takes some seconds."""
    choice.prepare_ray()
    folder, here = folder_of(tmp_path), EngineConfig("ray")
    import ray

    try:
        assert list(choice.each(write_shard, [], here)) == []
        assert not ray.is_initialized(), "Ray was started for nothing"
        tasks = [ShardTask(str(folder), number, kills=number == 2) for number in range(6)]
        done = list(choice.each(write_shard, tasks, here))
        assert sorted(done, key=lambda pair: pair[1]) == [(task, task.number) for task in tasks]
        assert contents(folder) == by_local(tmp_path, range(6))
        assert begun(folder) == {0: 1, 1: 1, 2: 2, 3: 1, 4: 1, 5: 1}

        again = [number for _, number in choice.each(write_shard, tasks, here)]
        assert sorted(again) == list(range(6))
        assert begun(folder).total() == 7, "what is there was done again"

        facts = {result for _, result in choice.each(surroundings, range(4), here)}
        assert {fact[1:] for fact in facts} == {(1, "1", "token")}
        assert os.getpid() not in {fact[0] for fact in facts}

        with pytest.raises(DataError) as caught:
            list(choice.each(fail_on_two, range(4), here))
        assert (caught.value.code, caught.value.rows) == ("TOO_FEW", ("a row",))

        hopeless = [ShardTask(str(folder), 90, kills=99)]
        with pytest.raises(DataError, match="WORKERS_DIED.*number=90.*begun 4 times"):
            list(choice.each(write_shard, hopeless, here))
        assert begun(folder)[90] == 4

        with monkeypatch.context() as other:
            other.setattr("bear_classifier.engine.ray.code_digest", lambda: "of another version")
            with pytest.raises(ConfigError, match="OTHER_VERSION: the worker on .+ has another"):
                list(choice.each(fail_on_two, [0], here))

        (tmp_path / "only_here.py").write_text("def work(n): return n\n", encoding="utf-8")
        monkeypatch.syspath_prepend(tmp_path)
        unknown = importlib.import_module("only_here").work
        with pytest.raises(ConfigError, match="OTHER_VERSION: a worker does not know .+only_here"):
            list(choice.each(unknown, [1], here))

        with pytest.raises(ConfigError, match="NO_WORKERS.*engine.gpus = 4"):
            list(choice.each(write_shard, tasks, EngineConfig("ray", gpus=4)))
    finally:
        choice.close_engine()
    assert not ray.is_initialized()


@pytest.mark.long
def test_a_cluster_that_is_not_there(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, str(tmp_path), "", "127.0.0.1:9"],
        cwd=ROOT / "tests", env=environment(), capture_output=True, encoding="utf-8", timeout=STUCK,
    )  # fmt: skip
    assert "NO_CLUSTER: engine.address = '127.0.0.1:9'" in done.stderr


@pytest.mark.long
def test_a_task_sees_the_gpus_that_it_asked_for() -> None:
    """Of a machine that says it has one; nothing computes on it."""
    choice.prepare_ray()
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "num_gpus": 1, **SMALL})
    try:
        for gpus, seen in ((1.0, "0"), (0.5, "0"), (0.0, "")):
            settings = EngineConfig("ray", made.address, gpus=gpus)
            found = {gpu for _, gpu in choice.each(visible_gpus, range(3), settings)}
            assert found == {seen}
    finally:
        choice.close_engine()
        made.shutdown()


@pytest.mark.long
def test_twenty_killed_workers_lose_and_double_nothing(tmp_path: Path, cluster: Any) -> None:
    folder = folder_of(tmp_path)
    tasks = [ShardTask(str(folder), number, kills=number % 2) for number in range(40)]
    results = [number for _, number in choice.each(write_shard, tasks, engine(cluster))]
    assert sorted(results) == list(range(40))
    assert begun(folder) == {number: 1 + number % 2 for number in range(40)}
    assert len(list(folder.glob("written-*"))) == 40
    assert contents(folder) == by_local(tmp_path, range(40))
    assert not list(folder.glob("*.partial"))


@pytest.mark.long
def test_a_removed_machine_loses_nothing(tmp_path: Path, cluster: Any) -> None:
    """Its tasks wait behind a gate, so that some are under way on it when it goes."""
    folder, gate = folder_of(tmp_path), tmp_path / "gate"
    tasks = [
        ShardTask(str(folder), number, gate=str(gate) if number >= 4 else "")
        for number in range(12)
    ]
    results = choice.each(write_shard, tasks, engine(cluster))
    numbers = [next(results)[1] for _ in range(4)]
    until(lambda: len(begun(folder)) == 6, "not both machines were at work")
    remove_machine(cluster)
    gate.touch()
    numbers += [number for _, number in results]
    assert sorted(numbers) == list(range(12))
    assert contents(folder) == by_local(tmp_path, range(12))
    assert begun(folder).total() <= 13, "more was begun again than the machine had under way"


@pytest.mark.long
def test_a_killed_driver_costs_at_most_one_shard_of_each_worker(
    tmp_path: Path, cluster: Any
) -> None:
    folder, gate = folder_of(tmp_path), tmp_path / "gate"
    words = [sys.executable, "-c", DRIVER, str(folder), str(gate), cluster.address]
    facts: dict[str, Any] = {"cwd": ROOT / "tests", "env": environment(), "encoding": "utf-8"}
    driver = subprocess.Popen(words, stdout=subprocess.PIPE, **facts)
    try:
        until(lambda: len(begun(folder)) == 8, "no shard waits", lambda: driver.poll() is None)
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.communicate()
    kept = contents(folder)
    assert len(kept) == 6
    mark(tmp_path, "gate")
    again = subprocess.run(words, capture_output=True, timeout=STUCK, **facts)
    assert sorted(map(int, again.stdout.split())) == list(range(20)), again.stderr
    assert contents(folder) == by_local(tmp_path, range(20))
    assert {number: n for number, n in begun(folder).items() if n > 1} in (
        {}, {6: 2}, {7: 2}, {6: 2, 7: 2},
    )  # fmt: skip
    assert shard_of(folder, 0).read_bytes() == kept["0000.bin"]

"""Trainings that are broken off, as processes of their own and within one; and damaged states.

KILLS=50 pytest tests/test_checkpoints.py   is the size that was promised; the suite does less."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bundles import tiny_config
from corpus import ROOT
from safetensors.torch import load_file
from training import changed, fresh, probed, same, weights
from waiting import until
from watching import watched

from bear_classifier.config.settings import Config
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.errors import DataError
from bear_classifier.learn import checkpoints
from bear_classifier.learn.checkpoints import State
from bear_classifier.learn.fit import Plan, fit
from bear_classifier.learn.train import start, train

KILLS = int(os.environ.get("KILLS", "6"))
EPOCHS = 4

# Trains on what a line names; in a new process each, made by forking before anything was computed,
# so that many of them need one import of torch. It is waited for when a second line asks for that:
# until then its number belongs to it, so that a signal reaches nobody else and never nobody.
# A child that is to die does so by itself, at its n-th file that is opened, renamed or removed.
NURSERY = """
import json, os, signal, sys
from pathlib import Path
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.config.project_file import build
from bear_classifier.learn.train import train

class Moments:
    seen = 0
    def __call__(self, event, words):
        if event in ("open", "os.rename", "os.remove"):
            self.seen += 1
            if self.seen == last:
                os.kill(os.getpid(), signal.SIGKILL)

for line in sys.stdin:
    root, settings, last = json.loads(line)
    child = os.fork()
    if not child:
        try:
            with Catalog(Path(root)) as catalog, catalog.lock("train"):
                moments = Moments()
                sys.addaudithook(moments)
                train(catalog, build(settings, where="test"))
            Path(root, "moments").write_text(str(moments.seen))
            os._exit(0)
        except KeyboardInterrupt:
            os._exit(130)
        finally:
            os._exit(1)
    print(child, flush=True)
    sys.stdin.readline()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C right after an epoch."""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Catalog, Config]:
    config = tiny_config(train={"epochs": EPOCHS, "batch_size": 4, "lr": 0.003})
    catalog = probed(tmp_path_factory.mktemp("checkpoints"), config)
    return catalog, config


@pytest.fixture(scope="module")
def calm(prepared: tuple[Catalog, Config]) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Record and weights of a training that nothing disturbed."""
    catalog, config = prepared
    record = train(catalog, config)
    assert not folder_of(catalog).exists()
    return record, weights(catalog)


def folder_of(catalog: Catalog) -> Path:
    return catalog.root / "train" / "checkpoints"


def names(folder: Path) -> list[str]:
    return sorted(path.name.split(".")[0] for path in folder.iterdir())


def broken_off(
    catalog: Catalog, config: Config, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training that ends right after it kept the state of an epoch."""
    honest = checkpoints.write_checkpoint

    def write(folder: Path, made_from: str, state: State) -> None:
        honest(folder, made_from, state)
        if state.epoch == after:
            raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "write_checkpoint", write)
        with pytest.raises(Interrupted):
            train(catalog, config)


def flip(path: Path, at: float) -> None:
    data = bytearray(path.read_bytes())
    data[int(at * len(data))] ^= 4
    path.write_bytes(data)


def newest_file(folder: Path) -> Path:
    return max(folder.iterdir(), key=lambda path: path.name)


@pytest.mark.series
@pytest.mark.parametrize("after", [1, EPOCHS - 1, EPOCHS])
def test_a_resumed_training_equals_an_undisturbed_one_bit_for_bit(
    prepared: tuple[Catalog, Config],
    calm: Any,
    after: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    catalog, config = prepared
    broken_off(catalog, config, after, monkeypatch)
    assert names(folder_of(catalog)) == [
        f"epoch-{e:02d}" for e in range(max(1, after - 1), after + 1)
    ]
    random.seed(after)  # other dice than at the beginning
    with watched(tmp_path / "progress.jsonl", monkeypatch) as lines:
        record = train(catalog, config)
    epochs = [line["epoch"] for line in lines() if line["kind"] == "epoch"]
    assert epochs == list(range(1, EPOCHS + 1))  # those before it was stopped, too
    place = "at the end" if after == EPOCHS else f"at epoch {after + 1}"
    words = f"Resuming {place} of {EPOCHS}"
    assert record["notes"][-1] == words
    assert words in capsys.readouterr().err
    assert record["history"] == calm[0]["history"]
    assert record["kept_epoch"] == calm[0]["kept_epoch"]
    assert same(weights(catalog), calm[1])
    assert not folder_of(catalog).exists()


@pytest.mark.long
@pytest.mark.parametrize(
    "settings",
    [
        {"frozen": 1, "cycles": 2, "head": "new"},
        {"frozen": 2, "balance": "oversample"},
        {"cycles": 2, "balance": "weighted-loss", "resize": "presize"},
        {"layers": "last-stage", "balance": "oversample"},
    ],
    ids=["phases", "oversample", "weighted", "last-stage"],
)
def test_every_recipe_goes_on_bit_for_bit(
    prepared: tuple[Catalog, Config], settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken off within the frozen phase or at its end, within a cycle, and between two."""
    catalog, config = prepared
    config = changed(config, **settings)
    calm = train(catalog, config)
    expected = weights(catalog)
    for after in (1, 2, 3):
        broken_off(catalog, config, after, monkeypatch)
        random.seed(after)
        torch.manual_seed(after)
        np.random.seed(after)
        record = train(catalog, config)
        assert record["notes"] == [f"Resuming at epoch {after + 1} of {EPOCHS}"]
        assert record["history"] == calm["history"]
        assert same(weights(catalog), expected)


@pytest.mark.parametrize("part", [3])
def test_little_memory_in_a_later_phase_goes_on_in_it(
    prepared: tuple[Catalog, Config], part: int
) -> None:
    """Memory runs out in the first free epoch: layers are free, and epochs counted, as before."""
    catalog, config = prepared
    dls, model = fresh(catalog, config)
    states: list[State] = []

    def full(module: torch.nn.Module, inputs: Any) -> None:
        if module.training and len(states) >= 1 and len(inputs[0]) > part:
            raise RuntimeError("CUDA out of memory")

    model.register_forward_pre_hook(full)
    end, notes = fit(dls, model, Plan(3, 1e-3, 1.0, frozen=1, cycles=2), keep=states.append)
    assert notes == ["Not enough memory for 4; using 2 x 2"]
    assert [row["epoch"] for row in end.facts["history"]] == [1, 2, 3]
    body = [k for k in states[0].part("model.") if k.startswith("body.")]
    first, second = (state.part("model.") for state in states[:2])
    assert any(not torch.equal(first[k], second[k]) for k in body)


def test_every_bit_of_a_state_survives_the_disk_and_a_new_learner(
    prepared: tuple[Catalog, Config], tmp_path: Path
) -> None:
    """Weights, optimizer and dice at every later border; and no rate is sought again."""
    catalog, config = prepared
    dls, model = fresh(catalog, config)
    states: list[State] = []
    fit(dls, model, Plan(3, 1e-3, 2.0), keep=states.append)
    checkpoints.write_checkpoint(tmp_path, "x", states[0])
    read, _ = checkpoints.newest(tmp_path, "x")
    assert read is not None
    again: list[State] = []
    random.seed(1)
    other_dls, other = fresh(catalog, changed(config, seed=5))
    fit(other_dls, other, Plan(3, "find", 2.0), read, again.append)
    assert len(again) == 2
    for one, two in zip(states[1:], again, strict=True):
        assert same(one.tensors, two.tensors)
        assert json.dumps(one.facts) == json.dumps(two.facts)


@pytest.mark.long
def test_another_setting_or_the_wish_to_begin_anew_begins_anew(
    prepared: tuple[Catalog, Config], calm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog, config = prepared
    broken_off(catalog, config, 2, monkeypatch)
    assert train(catalog, changed(config, resume=False))["notes"] == []
    assert same(weights(catalog), calm[1])
    broken_off(catalog, config, 2, monkeypatch)
    record = train(catalog, changed(config, lr=0.002, epochs=1))
    assert record["notes"] == []
    assert len(record["history"]) == 1
    assert not folder_of(catalog).exists()


def test_another_photo_begins_anew(
    prepared: tuple[Catalog, Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog, config = prepared
    config = changed(config, epochs=1)
    broken_off(catalog, config, 1, monkeypatch)
    photo = next(p for p in catalog.photos("ok") if p.split == "test")
    with catalog.transaction():
        catalog.put_photos([dataclasses.replace(photo, split="valid")])
    try:
        assert train(catalog, config)["notes"] == []
    finally:
        with catalog.transaction():
            catalog.put_photos([photo])


@pytest.mark.parametrize("at", [0.0001, 0.5, 0.9999])
def test_a_flipped_bit_falls_back_to_the_state_before(tmp_path: Path, at: float) -> None:
    for epoch in (3, 4):
        checkpoints.write_checkpoint(tmp_path, "x", small_state(epoch))
    flip(newest_file(tmp_path), at)
    state, notes = checkpoints.newest(tmp_path, "x")
    assert state is not None
    assert state.epoch == 3
    assert notes == ["Checkpoint 4 is damaged; continuing from 3"]
    flip(newest_file(tmp_path), at)
    assert checkpoints.newest(tmp_path, "x") == (None, ["Checkpoint 3 is damaged; beginning anew"])


@pytest.mark.parametrize("kept", [0, 1, 7, 0.5, 0.99])
def test_a_torn_state_falls_back_to_the_one_before(tmp_path: Path, kept: float) -> None:
    for epoch in (3, 4):
        checkpoints.write_checkpoint(tmp_path, "x", small_state(epoch))
    newest = newest_file(tmp_path)
    data = newest.read_bytes()
    newest.write_bytes(data[: int(kept * len(data)) if kept < 1 else int(kept)])
    state, notes = checkpoints.newest(tmp_path, "x")
    assert state is not None
    assert state.epoch == 3
    assert notes == ["Checkpoint 4 is damaged; continuing from 3"]


@pytest.mark.long
def test_a_damaged_state_still_leads_to_the_same_model(
    prepared: tuple[Catalog, Config], calm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog, config = prepared
    broken_off(catalog, config, 3, monkeypatch)
    flip(newest_file(folder_of(catalog)), 0.7)
    record = train(catalog, config)
    assert record["notes"] == [
        "Checkpoint 3 is damaged; continuing from 2",
        "Resuming at epoch 3 of 4",
    ]
    assert same(weights(catalog), calm[1])


def test_what_a_kill_left_half_written_is_no_state(tmp_path: Path) -> None:
    checkpoints.write_checkpoint(tmp_path, "x", small_state(3))
    half = tmp_path / ".epoch-04.ab.safetensors.1-2.partial"
    half.write_bytes(b"half")
    state, notes = checkpoints.newest(tmp_path, "x")
    assert state is not None
    assert (state.epoch, notes) == (3, [])
    assert not half.exists()
    assert checkpoints.newest(tmp_path / "nowhere", "x") == (None, [])


def test_two_states_are_kept_and_those_of_another_training_removed(tmp_path: Path) -> None:
    for epoch in range(1, 12):
        checkpoints.write_checkpoint(tmp_path, "x", small_state(epoch))
    assert names(tmp_path) == ["epoch-10", "epoch-11"]
    assert checkpoints.newest(tmp_path, "y") == (None, [])
    assert not tmp_path.exists()


def small_state(epoch: int) -> State:
    history = [{"epoch": n + 1, "error": 0.1, "valid_loss": 0.2} for n in range(epoch)]
    return State({"history": history}, {"model.a": torch.arange(300.0)})


Usage = namedtuple("Usage", ("total", "used", "free"))


def test_a_disk_without_room_is_refused_before_training(
    prepared: tuple[Catalog, Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog, config = prepared
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 10**9, 12_000_000))
    size = sum(t.nbytes for t in start(catalog, config).state_dict().values())
    sentence = f"DISK_FULL: training needs {12 * size / 1e6:.0f} MB, 12 MB free in"
    with pytest.raises(DataError, match=sentence):
        train(catalog, config)
    assert not folder_of(catalog).exists()


def test_the_room_that_was_asked_for_is_what_is_written(prepared: tuple[Catalog, Config]) -> None:
    catalog, config = prepared
    dls, model = fresh(catalog, config)
    states: list[State] = []
    fit(dls, model, Plan(1, 1e-3, 1.0), keep=states.append)
    state = states[0]
    best = {f"best.{k}": t.clone() for k, t in state.best().items()}  # an earlier epoch was better
    whole = State(state.facts, {**state.tensors, **best})
    checkpoints.write_checkpoint(catalog.root / "size", "x", whole)
    (path,) = (catalog.root / "size").iterdir()
    size = sum(t.nbytes for t in model.state_dict().values())
    assert 0.9 * 4 * size < path.stat().st_size < 1.02 * 4 * size + 50_000


@pytest.fixture
def quota() -> Iterator[Any]:
    """quota(n): from now on no file may grow beyond n bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda most: resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    ("most", "states"), [(1_000, True), (5_000_000, True), (1_000, False), (1_000_000, False)]
)
def test_a_disk_that_fills_up_leaves_the_old_model_and_no_halves(
    prepared: tuple[Catalog, Config],
    calm: Any,
    most: int,
    states: bool,
    quota: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At the first state; without states at the history, the predictions or the weights."""
    catalog, config = prepared
    if not states:
        monkeypatch.setattr(checkpoints, "write_checkpoint", lambda *words: None)
    folder = catalog.root / "train"
    (folder / "weights.safetensors").write_bytes(b"the old one")
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    quota(most)
    with pytest.raises(DataError, match="DISK_FULL: no space left to write"):
        train(catalog, changed(config, epochs=1))
    after = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert after == before
    assert list(folder.rglob(".*.partial")) == []


class Nursery:
    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", NURSERY], cwd=ROOT, env=os.environ | {"TQDM_DISABLE": "1"},
            encoding="utf-8",
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def begin(self, root: Path, config: Config, last: int = 0) -> int:
        """Its number. last: the moment at which it kills itself; 0: never."""
        assert self.process.stdin
        assert self.process.stdout
        settings = {"name": "tiny", "classes": config.classes}
        settings |= {t: dataclasses.asdict(getattr(config, t)) for t in ("learn", "train")}
        print(json.dumps([str(root), settings, last]), file=self.process.stdin, flush=True)
        return int(self.process.stdout.readline())

    def end(self) -> int:
        assert self.process.stdin
        assert self.process.stdout
        print(file=self.process.stdin, flush=True)
        return int(self.process.stdout.readline())

    def run(self, root: Path, config: Config, last: int = 0) -> int:
        self.begin(root, config, last)
        return self.end()


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    made = Nursery()
    yield made
    made.process.kill()
    made.process.communicate()


@pytest.fixture(scope="module")
def expected(
    prepared: tuple[Catalog, Config], nursery: Nursery, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """What a training in the nursery leaves that nobody disturbs."""
    catalog, config = prepared
    root = tmp_path_factory.mktemp("nursery") / "calm"
    shutil.copytree(catalog.root, root)
    assert nursery.run(root, changed(config, resume=False)) == 0
    return root


def copied(catalog: Catalog, root: Path) -> Path:
    shutil.copytree(catalog.root, root)
    (root / "train" / "weights.safetensors").unlink(missing_ok=True)
    return root


def ends_as(root: Path, expected: Path) -> None:
    one, two = (load_file(r / "train" / "weights.safetensors") for r in (root, expected))
    assert same(one, two)
    assert history_of(root) == history_of(expected)
    assert not (root / "train" / "checkpoints").exists()


def history_of(root: Path) -> Any:
    return json.loads((root / "train" / "history.json").read_text(encoding="utf-8"))["history"]


@pytest.mark.long
def test_kill_9_at_any_moment_loses_no_whole_epoch(
    prepared: tuple[Catalog, Config],
    nursery: Nursery,
    expected: Path,
    tmp_path: Path,
) -> None:
    """Killed three times in a run, at random moments; what comes out is that of a calm run."""
    catalog, config = prepared
    dice = random.Random(7)
    moments = int((expected / "moments").read_text(encoding="utf-8"))
    for number in range(-(-KILLS // 3)):
        root = copied(catalog, tmp_path / str(number))
        for turn in range(3):
            before = reached(root)
            code = nursery.run(root, config, last=dice.randint(1, moments))
            assert code == -signal.SIGKILL or (turn and code == 0)  # the first one has all to do
            done = (root / "train" / "weights.safetensors").exists()
            assert done or reached(root) >= before
        assert nursery.run(root, config) == 0
        ends_as(root, expected)


@pytest.mark.long
def test_kill_9_by_the_clock_loses_no_whole_epoch(
    prepared: tuple[Catalog, Config], nursery: Nursery, expected: Path, tmp_path: Path
) -> None:
    """In the middle of a step or of writing, too; whoever has ended before is as good."""
    catalog, config = prepared
    dice = random.Random(7)
    began = time.monotonic()
    assert nursery.run(copied(catalog, tmp_path / "calm"), config) == 0
    seconds = time.monotonic() - began
    for number in range(5 * KILLS):
        root = copied(catalog, tmp_path / str(number))
        for _ in range(3):
            before = reached(root)
            child = nursery.begin(root, config)
            time.sleep(dice.random() * seconds)
            os.kill(child, signal.SIGKILL)
            assert nursery.end() in (-signal.SIGKILL, 0)
            done = (root / "train" / "weights.safetensors").exists()
            assert done or reached(root) >= before
        assert nursery.run(root, config) == 0
        ends_as(root, expected)
        shutil.rmtree(root)


@pytest.mark.long
def test_ctrl_c_ends_it_and_keeps_the_whole_epochs(
    prepared: tuple[Catalog, Config], nursery: Nursery, tmp_path: Path
) -> None:
    catalog, config = prepared
    root = copied(catalog, tmp_path / "data")
    child = nursery.begin(root, changed(config, epochs=2_000))
    until(lambda: reached(root) >= 2)
    os.kill(child, signal.SIGINT)
    assert nursery.end() == 130
    assert 2 <= reached(root) < 2_000
    assert not (root / "train" / "weights.safetensors").exists()


def reached(root: Path) -> int:
    """Whole epochs on the disk."""
    folder = root / "train" / "checkpoints"
    kept = folder.glob("epoch-*.safetensors") if folder.is_dir() else ()
    return max((int(path.name.split(".")[0].removeprefix("epoch-")) for path in kept), default=0)

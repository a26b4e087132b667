"""Several processes train one network as one process does: the same losses, and one end for all."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from bundles import LABELS, tiny_config
from corpus import drawn, saved, seeded
from fastai.torch_core import set_seed
from together import begun, done, environment, free_port, history
from training import loaders_of, probed
from waiting import until

from bear_classifier.cli.main import main
from bear_classifier.config.project_file import build
from bear_classifier.config.settings import TrainConfig
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.errors import ConfigError, TrainError
from bear_classifier.learn import devices, mixed_precision, ranks
from bear_classifier.learn.fit import adjusted_settings
from bear_classifier.learn.input_pipeline import own_places
from bear_classifier.learn.rank_callbacks import BatchDraws
from bear_classifier.learn.train import train
from bear_classifier.runtime.launcher import Launch, is_other_rank, launch_of

LAUNCHED = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
CLOSE = 1e-4  # between losses of one process and of two


def settings(**changes: Any) -> dict[str, Any]:
    train = {"seed": seeded(42), "epochs": 2, "batch_size": 6, "lr": 1e-5} | changes
    arch = train.pop("arch", "squeezenet1_1")
    learn = {"arch": arch, "weights": "none", "size": 64, "device": "cpu"}
    return {"name": "tiny", "classes": {x: [x] for x in LABELS}, "learn": learn, "train": train}


# the launcher


def test_a_process_alone_is_no_rank() -> None:
    assert launch_of({}) == Launch()
    assert launch_of({"WORLD_SIZE": "2", "RANK": "0"}) == Launch()  # nothing to meet the others by
    assert not is_other_rank({}) and is_other_rank(LAUNCHED)
    assert not is_other_rank({**LAUNCHED, "RANK": "0"})
    assert ranks.world() == 1 and ranks.own() == 0 and ranks.local() == (0, 1)


def test_what_the_launcher_says() -> None:
    local = {"LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "TORCHELASTIC_RESTART_COUNT": "3"}
    assert launch_of({**LAUNCHED, **local}) == Launch(1, 2, 1, 2, 3)


@pytest.mark.parametrize(
    "wrong",
    [{"RANK": "2"}, {"RANK": "-1"}, {"WORLD_SIZE": "two"}, {"ACCELERATE_USE_FSDP": "true"}],
)
def test_a_launch_that_makes_no_sense(wrong: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="BAD_LAUNCH.*accelerate launch"):
        launch_of({**LAUNCHED, **wrong})


@pytest.mark.parametrize("command", ["run", "predict", "compare"])
def test_only_training_takes_more_than_one_process(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {**LAUNCHED, "RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    words = {"predict": ["photo.jpg"], "compare": ["balance"]}.get(command, [])
    assert main([command, *words]) == 2
    said = capsys.readouterr().err
    assert said.startswith("bears: ONE_PROCESS: 2 processes were started, and only bears train")
    monkeypatch.setenv("RANK", "1")
    assert main([command, *words]) == 2
    assert capsys.readouterr() == ("", "")  # the first process says it


# the same batches


@pytest.mark.parametrize("world", [1, 2, 3])
def test_processes_divide_each_batch(world: int) -> None:
    n, whole = 40, 12
    places = [own_places(n, whole // world, True, rank, world) for rank in range(world)]
    for first in range(0, (n // whole) * whole if world > 1 else n, whole):
        number, own = first // whole, whole // world
        parts = [list(some)[number * own : (number + 1) * own] for some in places]
        assert sum(parts, []) == list(range(first, min(first + whole, n)))[: whole if world > 1
                                                                           else own]  # fmt: skip
    valid = [list(own_places(n, 5, False, rank, world)) for rank in range(world)]
    assert sum(valid, []) == list(range(n))


def test_the_parts_of_processes_make_the_batches_of_one(tmp_path: Path) -> None:
    config = tiny_config(train={"batch_size": 4})
    catalog = probed(tmp_path / "data", config)

    def batches(rank: int, world: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        set_seed(seeded(1), reproducible=True)
        dls = loaders_of(catalog)
        if world > 1:
            for loader in dls.loaders:
                loader.divide(rank, world)
            BatchDraws(dls, rank, world)
        set_seed(seeded(2), reproducible=True)
        made = list(dls.train)
        assert len(made) == len(dls.train) == 3
        return [(x.as_subclass(torch.Tensor), y) for x, y in made]

    whole, first, second = batches(0, 1), batches(0, 2), batches(1, 2)
    for (x, y), one, two in zip(whole, first, second, strict=True):
        assert torch.equal(y, torch.cat([one[1], two[1]]))
        # a warp of part of a batch may round otherwise
        assert torch.allclose(x, torch.cat([one[0], two[0]]), atol=1e-4)


def test_a_batch_that_cannot_be_divided_is_made_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = TrainConfig(batch_size=32)
    assert adjusted_settings(plain, 100) == (plain, [])
    monkeypatch.setattr(ranks, "world", lambda: 3)
    smaller, notes = adjusted_settings(plain, 100)
    assert smaller.batch_size == 30
    assert notes == ["Batch size lowered to 30: 10 photos for each of 3 processes"]
    with pytest.raises(TrainError, match="NO_BATCH: 3 processes cannot divide a batch of 2"):
        adjusted_settings(TrainConfig(batch_size=2), 100)


def test_each_process_has_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "world", lambda: 2)
    monkeypatch.setattr(ranks, "local", lambda: (1, 2))
    here = ["cuda", "cuda:0", "cuda:1", "cpu"]
    monkeypatch.setattr(devices, "available_devices", lambda: here)
    assert devices.pick_device("auto") == devices.pick_device("cuda") == torch.device("cuda", 1)
    assert devices.pick_device("cpu") == torch.device("cpu")
    with pytest.raises(ConfigError, match='NO_DEVICE.*leave it at "auto"'):
        devices.pick_device("cuda:0")
    here[:] = ["cuda", "cuda:0", "cpu"]
    with pytest.raises(ConfigError, match="NO_DEVICE: 2 processes .* which has 1 GPU;"):
        devices.pick_device("auto")
    here[:] = ["cpu"]
    assert devices.pick_device("auto") == torch.device("cpu")


# the same losses


def one_process(root: Path, given: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixed_precision, "has_bfloat16", lambda: False)
    with Catalog(root) as catalog:
        train(catalog, build(given, where="test"))


def apart(one: Path, two: Path) -> float:
    """The largest difference of a loss or an error in the histories of two trainings."""
    pairs = list(zip(history(one), history(two), strict=True))
    assert pairs
    names = ("train_loss", "valid_loss", "error")
    return max(abs(a[name] - b[name]) for a, b in pairs for name in names)


def compared(place: Path, given: dict[str, Any]) -> tuple[Path, Path]:
    """Two copies of a dataset with a probe, whose classes are unequal."""
    catalog = probed(place / "one", build(given, where="test"))
    learned = [photo for photo in catalog.photos("ok") if photo.split == "train"]
    some = [photo for photo in learned if photo.label == LABELS[0]][:3]
    with catalog.transaction():
        catalog.put_photos(dataclasses.replace(photo, label=LABELS[1]) for photo in some)
    catalog.close()
    shutil.copytree(place / "one", place / "two")
    return place / "one", place / "two"


def as_one(kind: str, given: dict[str, Any], place: Path, monkeypatch: Any) -> None:
    one, two = compared(place / kind, given)
    first, second = done(begun([{"root": None}, {"root": str(two), "settings": given}]))
    for said in (first[0], second[0]):
        assert said["apart"] < 1e-12  # BatchNorm of two halves, in double precision
    assert second[1] == {}
    one_process(one, given, monkeypatch)
    assert apart(one, two) < CLOSE
    left, right = (sorted(path.name for path in (root / "train").iterdir()) for root in (one, two))
    assert left == right


@pytest.mark.long
def test_two_processes_learn_what_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From feature maps, with BatchNorms and a weighted loss."""
    given = settings(arch="resnet18", layers="last-stage", lr=3e-4, balance="weighted-loss")
    as_one("maps", given, tmp_path, monkeypatch)


@pytest.mark.long
def test_two_processes_learn_from_photos_what_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With random crops and transforms, and photos that are drawn with replacement."""
    given = settings(arch="resnet18", layers="all", balance="oversample")
    as_one("all", given, tmp_path, monkeypatch)


# whatever happens to one of them


@pytest.mark.long
def test_what_happens_to_one_process_all_agree_on(tmp_path: Path) -> None:
    given = settings(layers="all")
    one, two = compared(tmp_path, given)
    shutil.copytree(one, three := tmp_path / "three")
    jobs = [
        {"root": str(root), "settings": given, "fault": fault}
        for root, fault in ((one, "memory"), (two, "loss"), (three, "photos"))
    ]
    (memory, loss, photos), others = done(begun(jobs))
    assert memory["record"]["notes"] == ["Not enough memory for 3; using 1 x 3"]
    assert [row["epoch"] for row in memory["record"]["history"]] == [1, 2]
    assert "Training diverged in epoch 2" in loss["record"]["notes"][0]
    assert loss["record"]["kept_epoch"] == 1
    code, sentence = photos["error"]
    assert code == "TOO_MANY_BAD_PHOTOS" and "cannot be read any more" in sentence
    assert others == [{}, {}, {"exit": 2}]


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_process_that_hangs_ends_all(tmp_path: Path) -> None:
    given = settings(layers="all", epochs=3)
    one, _ = compared(tmp_path, given)
    processes = begun([{"root": str(one), "settings": given, "fault": "stop"}])
    try:
        out, err = processes[0].communicate(timeout=200)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    # its main thread may wait in the collective for ever: then the watch says it
    assert "RANK_LOST" in out + err and (out + err).count("has not answered for 30 s") == 1
    assert f"process 1 of 2 (pid {processes[1].pid} on" in out + err


# the command, by a launcher


def ready_project(place: Path) -> list[str]:
    """Everything before the training is done. Returns the options of the project."""
    for number in range(60):
        path = place / "photos" / LABELS[number % 3] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(saved(drawn(seed=seeded(number)), "PNG"))
    lines = ['name = "tiny"', "[classes]", *[f'{label} = ["{label}"]' for label in LABELS]]
    (place / "tiny.toml").write_text("\n".join(lines), encoding="utf-8")
    words = ["--project", str(place / "tiny.toml"), "--data", str(place / "data")]
    for name in ("learn.arch=squeezenet1_1", "learn.weights=none", "learn.size=64",
                 "train.epochs=12", "train.lr=0.00001", "train.batch_size=12",
                 "train.layers=all", "split.least=5"):  # fmt: skip
        words += ["--set", name]
    assert main(["run", "--until", "clean", "--source", f"folder:{place / 'photos'}", *words]) == 0
    return words


def launcher(kind: str, port: int) -> list[str]:
    if kind == "torchrun":
        return ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-addr",
                "127.0.0.1", "--master-port", str(port)]  # fmt: skip
    return ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2",
            "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no",
            "--main_process_ip", "127.0.0.1", "--main_process_port", str(port)]  # fmt: skip


def ranks_of(launcher_pid: int) -> list[int]:
    """Process numbers of the launcher's children, rank 0 first."""
    path = Path(f"/proc/{launcher_pid}/task/{launcher_pid}/children")
    found = []
    for pid in map(int, path.read_text("ascii").split()):
        words = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        rank = [word[5:] for word in words if word.startswith(b"RANK=")]
        found += [(int(rank[0]), pid)] if rank else []
    return [pid for _, pid in sorted(found)]


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="/proc says which process is which rank")
@pytest.mark.parametrize("kind", ["torchrun", "accelerate"])
def test_a_launched_process_dies_and_training_goes_on(kind: str, tmp_path: Path) -> None:
    if kind == "accelerate" and find_spec("accelerate") is None:
        pytest.skip('needs the launcher: pip install -e ".[gpus]"')
    words = ready_project(tmp_path)
    command = [sys.executable, *launcher(kind, free_port()), "-m", "bear_classifier", "train",
               "--json", *words]  # fmt: skip
    began = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             encoding="utf-8", env=environment(), cwd=tmp_path)  # fmt: skip
    checkpoints = tmp_path / "data" / "tiny" / "train" / "checkpoints"
    until(
        lambda: len(list(checkpoints.glob("epoch-*"))) == 2,
        "no checkpoint",
        lambda: began.poll() is None,
    )
    os.kill(ranks_of(began.pid)[1], signal.SIGKILL)
    out, err = began.communicate(timeout=60)
    assert began.returncode != 0
    assert err.count("bears: RANK_LOST: ") == 1 and "it goes on" in err
    assert json.loads(out)["error"]["code"] == "RANK_LOST"
    command[command.index("--master-port" if kind == "torchrun" else "--main_process_port") + 1] = (
        str(free_port())
    )
    after = subprocess.run(command, capture_output=True, encoding="utf-8", env=environment(),
                           cwd=tmp_path, timeout=250)  # fmt: skip
    assert after.returncode == 0, after.stderr
    assert after.stderr.count("Resuming at epoch") == 1
    outcome = json.loads(after.stdout)  # one line: one process printed
    assert [row["epoch"] for row in outcome["history"]] == list(range(1, 13))

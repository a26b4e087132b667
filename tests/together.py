"""Processes that train one network together, on loopback: started as a launcher starts them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from corpus import ROOT

# Each does one job after the other: they need one import of torch. Each job has a port of its own,
# and a fault is that of process 1 alone.
PROCESS = """
import json, os, signal, sys
from pathlib import Path
import torch
import torch.distributed as dist
from bear_classifier.config.project_file import build
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.errors import BearsError, PhotoError
from bear_classifier.images import decoder
from bear_classifier.learn import backbone, data, mixed_precision, rank_work, ranks
from bear_classifier.learn.synced_batchnorm import SyncedBatchNorm
from bear_classifier.learn.train import train
from bear_classifier.runtime.launcher import Launch

mixed_precision.has_bfloat16 = lambda: False  # half precision rounds too much to be compared
rank, world, jobs = int(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
forward, stored = backbone.Classifier.forward, data.stored
passes = 0

def no_room(model, x):
    if torch.is_grad_enabled() and len(x) > 1:
        raise RuntimeError("CUDA out of memory. Tried to allocate")
    return forward(model, x)

def not_finite(model, x):
    global passes
    passes += torch.is_grad_enabled()
    return forward(model, x) * (float("nan") if passes > 2 else 1.0)

def no_photo(path):
    raise PhotoError("DAMAGED", "not there")

def stops(model, x):
    global passes
    passes += torch.is_grad_enabled()
    if passes > 2:
        os.kill(os.getpid(), signal.SIGSTOP)
    return forward(model, x)

def normed():
    torch.manual_seed(0)
    whole, weights = torch.randn(6, 4, 3, 3).double(), torch.randn(6, 4, 3, 3).double()
    norm = torch.nn.BatchNorm2d(4).double()
    torch.nn.init.normal_(norm.weight)
    def slope(x, weights):
        x = x.clone().requires_grad_()
        y = norm(x)
        (y.sigmoid() * weights).sum().backward()
        return [y.detach(), x.grad, norm.running_mean.clone(), norm.running_var.clone()]
    expected = slope(whole, weights)
    norm.reset_running_stats()
    mine = slice(rank * 3, rank * 3 + 3)
    with SyncedBatchNorm():
        found = slope(whole[mine], weights[mine])
    expected[:2] = [part[mine] for part in expected[:2]]
    return max(float((a - b).abs().max()) for a, b in zip(expected, found))

for job in jobs:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(job["port"])}
    fault = job.get("fault") if rank == 1 else None
    backbone.Classifier.forward, data.stored, passes = forward, stored, 0
    if fault == "memory": backbone.Classifier.forward = no_room
    if fault == "loss": backbone.Classifier.forward = not_finite
    if fault == "stop": backbone.Classifier.forward = stops
    if fault == "photos": data.stored = no_photo
    said = {}
    try:
        with ranks.together(Launch(rank, world, rank, world)):
            if job["root"] is None:
                said["apart"] = normed()
            elif rank == 0:
                config = build(job["settings"], where="test")
                with Catalog(Path(job["root"])) as catalog, catalog.lock("train"):
                    said["record"] = train(catalog, config)
            else:
                rank_work.train_along(build(job["settings"], where="test"))
    except BearsError as exc:
        said["error"] = [exc.code, exc.sentence]
    except SystemExit as exc:
        said["exit"] = exc.code
    print("SAID " + json.dumps(said), flush=True)
"""


def free_port() -> int:
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        port: int = place.getsockname()[1]
    return port


def environment(**more: str) -> dict[str, str]:
    """Of a process that is no part of any launch yet."""
    kept = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
    quiet = {"TORCH_CPP_LOG_LEVEL": "ERROR", "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1"}
    return kept | quiet | {"PYTHONPATH": str(ROOT)} | more


def begun(jobs: Sequence[dict[str, Any]], world: int = 2) -> list[subprocess.Popen[str]]:
    """jobs: root (of a dataset with a probe; None: only a BatchNorm), settings, fault."""
    given = json.dumps([job | {"port": free_port()} for job in jobs])
    return [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(rank), str(world), given],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", env=environment(),
        )
        for rank in range(world)
    ]  # fmt: skip


def done(processes: Sequence[subprocess.Popen[str]]) -> list[list[dict[str, Any]]]:
    """What each of them said of each job."""
    said = []
    try:
        for process in processes:
            out, err = process.communicate(timeout=280)
            lines = [line[5:] for line in out.splitlines() if line.startswith("SAID ")]
            assert process.returncode == 0, err
            said.append([json.loads(line) for line in lines])
    finally:
        for process in processes:
            process.kill()
    return said


def history(root: Path) -> list[dict[str, float]]:
    rows: list[dict[str, float]] = json.loads((root / "train" / "history.json").read_text("utf-8"))[
        "history"
    ]
    return rows

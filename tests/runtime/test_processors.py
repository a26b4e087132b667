"""How many processors may be used: of the host, by affinity and by the limits of cgroups."""

from __future__ import annotations

import ast
import math
import os
from pathlib import Path

import pytest
import torch
from corpus import ROOT

from bear_classifier.learn import devices
from bear_classifier.runtime import processors as module
from bear_classifier.runtime.processors import cgroup_folders, processors, quota


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("200000 100000\n", 2.0),
        ("50000 100000", 0.5),
        ("max 100000\n", math.inf),
        ("-1 100000", math.inf),  # of v1
        ("0 100000", math.inf),
        ("100000 0", math.inf),
        ("", math.inf),
        (" ", math.inf),
        ("100000", math.inf),
        ("nonsense here", math.inf),
    ],
)
def test_a_quota_is_read(text: str, found: float) -> None:
    assert quota(text) == found


def test_limits_are_sought_from_the_own_group_to_the_root() -> None:
    assert cgroup_folders("0::/\n") == [()]
    assert cgroup_folders("0::/user.slice/a b.scope\n") == [
        ("user.slice", "a b.scope"), ("user.slice",), ()
    ]  # fmt: skip
    assert cgroup_folders("0::/../../x\n") == [("x",), ()]  # above the root that a namespace shows
    v1 = cgroup_folders("5:memory:/m\n4:cpu,cpuacct:/docker/77\n3:cpuset:/set\n")
    assert sorted(v1) == sorted(
        (mount, *path)
        for mount in ("cpu,cpuacct", "cpu")
        for path in (("docker", "77"), ("docker",), ())
    )
    assert cgroup_folders("") == cgroup_folders("nonsense\n") == []


@pytest.fixture
def eight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


def laid(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def v2(**limits: str) -> dict[str, str]:
    """limits: of the process's own group (own), of the pod around it (pod), of all (root)."""
    folders = {"own": "pod/box/", "pod": "pod/", "root": ""}
    files = {f"sys/fs/cgroup/{folders[name]}cpu.max": text for name, text in limits.items()}
    return {"proc/self/cgroup": "0::/pod/box\n", **files}


def v1(folder: str, quota: int, period: int) -> dict[str, str]:
    place = f"sys/fs/cgroup/{folder}/cpu.cfs"
    limits = {f"{place}_quota_us": f"{quota}\n", f"{place}_period_us": f"{period}\n"}
    return {"proc/self/cgroup": "2:cpu,cpuacct:/docker/77\n", **limits}


CASES: list[tuple[dict[str, str], int]] = [
    ({}, 8),
    ({"sys/fs/cgroup/cpu.max": "300000 100000"}, 3),
    (v2(own="150000 100000\n"), 2),
    (v2(pod="200000 100000\n"), 2),  # of all that the pod runs
    (v2(own="max 100000\n", pod="50000 100000\n"), 1),
    (v2(root="4000000 100000\n"), 8),  # more than there are
    (v2(own="\xff"), 8),
    (v1("cpu/docker/77", 250000, 100000), 3),
    # The host's path is not there within a container, whose own group lies at the root.
    (v1("cpu,cpuacct", 100000, 50000), 2),
    (v1("cpu", -1, 100000), 8),
]


@pytest.mark.parametrize(("files", "found"), CASES)
@pytest.mark.usefixtures("eight")
def test_the_least_of_all_limits_holds(tmp_path: Path, files: dict[str, str], found: int) -> None:
    assert processors(laid(tmp_path, **files)) == found


def test_affinity_holds_and_where_there_is_none_the_host_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3}, raising=False)
    assert processors(tmp_path) == 1
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert processors(tmp_path) == 6
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert processors(tmp_path) == 1


def test_nobody_else_counts_processors() -> None:
    counting = [
        path.name
        for path in sorted((ROOT / "bear_classifier").rglob("*.py"))
        if any(
            getattr(node, "attr", getattr(node, "id", "")) in ("cpu_count", "sched_getaffinity")
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        )
    ]
    assert counting == [Path(module.__file__).name]


def test_torch_computes_with_no_more_threads_than_may_be_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of itself it takes one for each processor of its set, and knows nothing of a quota."""
    asked: list[int] = []
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    monkeypatch.setattr(devices, "processors", lambda: 2)
    assert devices.pick_device("cpu") == torch.device("cpu")
    assert asked == [2]
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)  # fewer by the user's own wish
    devices.pick_device("cpu")
    assert asked == [2]

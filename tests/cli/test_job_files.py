"""The example jobs of deploy/ for Slurm and Kubernetes: together they carry out every part once."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from bear_classifier.cli.options import parse

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
SLURM = (DEPLOY / "slurm.sh").read_text(encoding="utf-8")
JOB = yaml.safe_load((DEPLOY / "kubernetes.yaml").read_text(encoding="utf-8"))["spec"]
pytestmark = pytest.mark.skipif(os.name == "nt", reason="the jobs are shell scripts")


def words_of(tmp_path, command, code=0, **environment):
    """The words of the `bears` command that a script calls, and the script's exit code."""
    bears = tmp_path / "bears"
    bears.write_text(f'#!/bin/sh\nfor w; do echo "$w" >&2; done\nexit {code}\n', encoding="utf-8")
    bears.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command, env={"PATH": path, **environment}, capture_output=True, encoding="utf-8"
    )
    return done.stderr.splitlines(), done.returncode


def slurm(tmp_path, *words, number=3, code=0):
    (last,) = re.findall(r"^#SBATCH --array=1-(\d+)$", SLURM, re.MULTILINE)
    names = {"ARRAY_TASK_ID": str(number), "ARRAY_TASK_COUNT": last, "CPUS_PER_TASK": "4"}
    command = ["bash", str(DEPLOY / "slurm.sh"), *words]
    environment = {f"SLURM_{name}": value for name, value in names.items()}
    return words_of(tmp_path, command, code, **environment)


def test_a_slurm_array_holds_every_part(tmp_path):
    for number in (1, 64):
        words, code = slurm(tmp_path, "features", number=number)
        assert parse(words).shard == (number, 64) and code == 0
    words, code = slurm(tmp_path, "predict", "/photos", "/a b.csv")
    options = parse(words)
    assert (options.shard, options.csv) == ((3, 64), Path("/a b.csv")) and code == 0
    assert options.paths == [Path("/photos")]


@pytest.mark.parametrize(("code", "after"), [(1, 0), (2, 1), (130, 1)])
def test_photos_that_cannot_be_read_fail_no_job(code, after, tmp_path):
    assert slurm(tmp_path, "predict", "p", "t.csv", code=code)[1] == after
    assert slurm(tmp_path, "features", code=code)[1] == code


def test_a_kubernetes_job_holds_every_part(tmp_path):
    (box,) = JOB["template"]["spec"]["containers"]
    assert JOB["completionMode"] == "Indexed"
    last = JOB["completions"] - 1
    for index in (0, last):  # Kubernetes counts from 0
        command = [*box["command"], *box["args"]]
        words, code = words_of(tmp_path, command, JOB_COMPLETION_INDEX=str(index))
        assert parse(words).shard == (index + 1, last + 1) and code == 0

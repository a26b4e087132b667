"""Libraries that compute with threads of their own do not fight for the same processors."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bear_classifier.runtime.npz import products
from bear_classifier.ship.bundle import load
from bear_classifier.ship.predict import Model

# Nanoseconds that the threads beside this one ran while something was done 20 times; what they
# still did from before has ended by then.
OTHERS = """
import threading, time
from pathlib import Path
import numpy as np

def others():
    own = str(threading.get_native_id())
    tasks = [path for path in Path("/proc/self/task").iterdir() if path.name != own]
    return sum(int((path / "schedstat").read_text().split()[0]) for path in tasks)

def beside(act):
    act()
    last, now = -1, others()
    while last != now:
        time.sleep(0.3)
        last, now = now, others()
    for _ in range(20):
        act()
    return others() - now

row, known = np.ones((1, 512), np.float32), np.ones((4000, 512), np.float32)
print(beside(lambda: row @ known.T))
"""
MODEL = """
import sys
from bear_classifier.stats import ood
rng = np.random.default_rng(0)
layer = rng.normal(size=(1000, 512)), np.zeros(1000)
reference = ood.make_reference(rng.random((2000, 512)), np.arange(2000), layer, 0)
print(beside(lambda: reference.score(row)))
"""
PICTURES = """
from bear_classifier.ship.nearest_photos import SimilarPhotos
shown = SimilarPhotos(known, [None] * len(known))
print(beside(lambda: shown.nearest(row[0], 4)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("program", [MODEL, PICTURES], ids=["score", "similar"])
def test_one_photo_wakes_no_thread_of_blas(program: str) -> None:
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "4", "OMP_NUM_THREADS": "4"}
    done = subprocess.run(
        [sys.executable, "-c", OTHERS + program],
        env=environment,
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    blas, ours = map(int, done.stdout.split())
    if not blas:
        pytest.skip("BLAS has no thread beside the first one here")
    assert ours == 0


@pytest.mark.parametrize("rows", [1, 4, 5, 40])
def test_products_are_the_same_with_blas_and_without(rows: int) -> None:
    rng = np.random.default_rng(rows)
    asked, known = (rng.normal(size=(n, 33)).astype(np.float32) for n in (rows, 70))
    wanted = asked.astype(np.float64) @ known.astype(np.float64).T
    found = products(asked, known)
    assert found.dtype == np.float32
    assert found == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize("threads", [None, 1, 2])
def test_the_networks_threads_wait_asleep(model_dir: Path, threads: int | None) -> None:
    """Those of onnxruntime would else turn between two photos, while the next one is decoded."""
    options = Model(load(model_dir), threads)._session.get_session_options()
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"

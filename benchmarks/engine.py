"""Features of 5,000 photos on Ray against the same shards in one process, both from nothing.

Each turn is a new process that imports torch, builds the network and computes every shard anew;
that of Ray also starts a cluster of two machines of one processor each, as Ray plays them on this
computer. Told apart is the time once the cluster is there, as others keep theirs running; by then
both sides have imported torch, and Ray's workers have not. The photos are the JPEGs of --photos, as
often as it takes, each copy with a number behind its end. What both wrote is compared byte by byte.

    .venv/bin/python benchmarks/engine.py [--photos FOLDER] [--n 5000] [--rounds 3] [--json FILE]
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from versus import (
    PHOTOS,
    WEIGHTS,
    Goal,
    Told,
    alternated,
    apart,
    at_least,
    measured,
    options,
    ratio,
    require,
    spread,
)

ARCH, LIMIT = "mobilenet_v2", 0.9
STORE = 80 * 2**20  # bytes of Ray's object store; it takes no less
# Seconds of the whole, of the shards alone, and the digest of every file that was written.
Turn = tuple[float, float, dict[str, str]]


def stored(photos: Path, root: Path, n: int) -> list[str]:
    """Names of n photos of a dataset in `root`."""
    from bear_classifier.collect.http.ingest import examine
    from bear_classifier.errors import PhotoError

    def usable(path: Path) -> bool:
        try:
            return examine(path.read_bytes()).format == "jpeg"
        except PhotoError:
            return False

    paths = sorted(path for path in photos.rglob("*") if path.is_file())
    with ThreadPoolExecutor() as pool:
        files = [path for path, good in zip(paths, pool.map(usable, paths), strict=True) if good]
    names = []
    for number in range(n):
        data = files[number % len(files)].read_bytes() + str(number).encode()
        name = f"{hashlib.sha256(data).hexdigest()}.jpeg"
        place = root / "photos" / name[:2] / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
        names.append(name)
    return names


@contextmanager
def started(engine: str) -> Iterator[Any]:
    """The settings of an engine that is there until the end of the block."""
    from bear_classifier.config.settings import EngineConfig
    from bear_classifier.engine.choice import close_engine, prepare_ray

    if engine == "local":
        yield EngineConfig()
        return
    prepare_ray()
    from ray.cluster_utils import Cluster

    facts = {"num_cpus": 1, "object_store_memory": STORE, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args=facts)
    try:
        made.add_node(num_cpus=1, object_store_memory=STORE)
        yield EngineConfig(engine, made.address)
    finally:
        close_engine()
        made.shutdown()


def computed(root: str, names: list[str], weights: str, engine: str) -> Turn:
    """Every shard, computed anew."""
    began = time.perf_counter()
    from bear_classifier.config.settings import LearnConfig
    from bear_classifier.engine.choice import each
    from bear_classifier.learn import backbone
    from bear_classifier.learn.features import FeatureTask, feature_shard, features_name
    from bear_classifier.runtime import shards

    learn = LearnConfig(arch=ARCH, weights=weights, device="cpu")
    folder = Path(root) / "features" / features_name(learn, backbone.build_body(learn, 42))
    lists = [path.relative_to(root).as_posix() for path in shards.plan(folder, names)]
    tasks = [FeatureTask(root, place, learn, 42) for place in lists]
    with started(engine) as settings:
        there = time.perf_counter()
        done = sum(shard.computed for _, shard in each(feature_shard, tasks, settings))
        alone = time.perf_counter() - there
    seconds = time.perf_counter() - began
    assert done == len(names)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    digests = {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
    shutil.rmtree(folder)
    return seconds, alone, digests


def work(photos: Path, weights: Path, n: int, rounds: int) -> Told:
    with tempfile.TemporaryDirectory() as folder:
        names = stored(photos, Path(folder), n)

        def side(engine: str) -> Turn:
            return apart(computed, folder, names, str(weights), engine)  # type: ignore[no-any-return]

        turns = {engine: lambda engine=engine: side(engine) for engine in ("local", "ray")}
        found = alternated(turns, rounds, f"{n} photos")
    told = Told(["engine", "s", "photos/s"])
    told.goals = []
    for at, part in enumerate(("with its start", "once it is there")):
        seconds = {engine: [row[at] for row in rows] for engine, rows in found.items()}
        for engine, took in seconds.items():
            told.rows.append([f"{engine}, {part}", spread(took), spread([n / one for one in took])])
        found_ratio = ratio(seconds["local"], seconds["ray"])
        told.goals.append(at_least(f"throughput, ray / local, {part}", found_ratio, LIMIT))
    written = [row[-1] for rows in found.values() for row in rows]
    same = all(digests == written[0] for digests in written)
    goal = Goal("files of both engines", "the same bytes", "the same" if same else "others", same)
    told.goals.append(goal)
    return told


def main() -> int:
    made = options(__doc__)
    made.add_argument("--photos", type=Path, default=PHOTOS)
    made.add_argument("--weights", type=Path, default=WEIGHTS)
    made.add_argument("--n", type=int, default=5_000)
    made.add_argument("--rounds", type=int, default=3)
    words = made.parse_args()
    require(words.photos, words.weights)
    n, rounds = (96, 1) if words.quick else (words.n, words.rounds)
    return measured(words, "engine", __doc__, lambda: work(words.photos, words.weights, n, rounds))


if __name__ == "__main__":
    sys.exit(main())

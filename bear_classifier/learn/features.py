"""Pooled features of frozen bodies, computed once and kept in shards, see `runtime/shards.py`.

A dataset keeps those of each body, size and precision in a folder of their own. What a shard holds
follows from its photos and the settings alone: it is computed in batches of 32 from its first photo
on, wherever and in whatever order.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bear_classifier.config.settings import Config, EngineConfig, LearnConfig
from bear_classifier.dataset import stage_fingerprint
from bear_classifier.dataset.catalog import Catalog, now
from bear_classifier.engine.choice import each
from bear_classifier.engine.storage import Storage
from bear_classifier.errors import DataError, TrainError
from bear_classifier.learn import backbone, devices
from bear_classifier.learn.data import PhotoList, batches
from bear_classifier.learn.frozen_forward import WORTH, Pass, frozen, onnx_pass
from bear_classifier.learn.picture_facts import filled, mean_grey, sharpness
from bear_classifier.learn.weights import announce, preprocessing
from bear_classifier.runtime import shards
from bear_classifier.runtime.files import write_atomic
from bear_classifier.runtime.shards import Column, StoredRows, Writer
from bear_classifier.runtime.terminal import note_above_bars, progress_bar
from bear_classifier.stats.arrays import Floats32

BATCH = 32
INT8 = "-int8-"  # in the name of a folder of features that a network in integers made
_NETWORK = "network.onnx"  # in such a folder
FEATURES_RUN = "features.json"  # in the dataset: when some were last computed, and how fast
_FACTS = ("light", "sharpness", "filled")


@dataclass(frozen=True)
class FeatureTask:
    """A shard of features to compute. root: the dataset; shard: its list of photos, from there;
    learn, seed: how, as in the settings."""

    root: str
    shard: str
    learn: LearnConfig
    seed: int


@dataclass(frozen=True)
class FeatureShard:
    """A finished shard. photos: in it; computed: of them by this call."""

    shard: str
    photos: int
    computed: int


def cached_features(
    catalog: Catalog, config: Config, photos: PhotoList, body: nn.Module
) -> Floats32:
    """Pooled features (n, f) of photos, computed once per photo, weights, size and precision."""
    return np.asarray(feature_cache(catalog, config, photos, body)[1])


def feature_cache(
    catalog: Catalog, config: Config, photos: PhotoList, body: nn.Module
) -> tuple[Path, Column]:
    """The folder of the dataset that keeps the features, and those (n, f) of the photos, which stay
    in their files until they are asked for."""
    folder, tasks = feature_tasks(catalog, config, photos, body)
    compute_features(config, tasks, body)
    stored = StoredRows(folder)
    return folder, Column(stored, "features", stored.find([photo.sha256 for photo in photos]))


def compute_features(
    config: Config, tasks: Sequence[FeatureTask], body: nn.Module | None = None
) -> int:
    """Do these shards with the engine of the settings. body: that of the settings, if it is there
    already. Returns how many photos were computed. Raises as `feature_shard`."""
    total = sum(len(shards.listed_names(Path(task.root) / task.shard)) for task in tasks)
    computed, started, began = 0, now(), time.monotonic()
    with progress_bar(total=total, desc="features", unit="photo", hidden=not tasks) as bar:
        if config.engine.name == "local":
            for task in tasks:
                computed += feature_shard(task, bar.update, body).computed
        else:
            for done in _by_workers(config.engine, tasks):
                computed += done.computed
                bar.update(done.photos)
    _prepared.cache_clear()
    if computed:
        run = {"at": started, "photos": computed, "seconds": round(time.monotonic() - began, 2)}
        write_atomic(Path(tasks[0].root) / FEATURES_RUN, json.dumps(run).encode())
    return computed


@dataclass(frozen=True)
class StoredTask:
    """A shard for a worker that does not see the dataset. storage: where its files are."""

    storage: str
    task: FeatureTask


def _by_workers(engine: EngineConfig, tasks: Sequence[FeatureTask]) -> Iterator[FeatureShard]:
    if not engine.storage or not tasks:
        yield from (done for _, done in each(feature_shard, tasks, engine))
        return
    storage, root = Storage(engine.storage), Path(tasks[0].root)
    storage.send(root, [name for task in tasks for name in _read_by(root, task)])
    stored = [StoredTask(engine.storage, task) for task in tasks]
    for one, done in each(stored_feature_shard, stored, engine):
        storage.fetch(root, [_made_by(one.task)])
        yield done


def stored_feature_shard(stored: StoredTask) -> FeatureShard:
    """As `feature_shard`, in a folder of its own: photos are fetched, the shard is sent."""
    storage, task = Storage(stored.storage), stored.task
    with TemporaryDirectory() as folder:
        root = Path(folder)
        storage.fetch(root, [task.shard])
        names = shards.listed_names(root / task.shard)
        if storage.has(_made_by(task)):
            return FeatureShard(task.shard, len(names), 0)
        network = Path(task.shard).parent.parent / _NETWORK
        more = [network.as_posix()] if storage.has(network.as_posix()) else []
        storage.fetch(root, [*_places(names), *more])
        done = feature_shard(dataclasses.replace(task, root=folder))
        storage.publish(root / _made_by(task), _made_by(task))
    return done


def _made_by(task: FeatureTask) -> str:
    return Path(task.shard).with_suffix(".npy").as_posix()


def _places(names: Sequence[str]) -> list[str]:
    """Of listed photos in the dataset, as `catalog.photo_file` has them."""
    return [f"photos/{name[:2]}/{name}" for name in names]


def _read_by(root: Path, task: FeatureTask) -> list[str]:
    network = Path(task.shard).parent.parent / _NETWORK
    more = [network.as_posix()] if (root / network).is_file() else []
    return [task.shard, *_places(shards.listed_names(root / task.shard)), *more]


def feature_tasks(
    catalog: Catalog, config: Config, photos: PhotoList, body: nn.Module
) -> tuple[Path, list[FeatureTask]]:
    """The folder of the features, and the shards that are still to compute: for `feature_shard`, in
    any order, at the same time, on any machine that sees the dataset."""
    full = catalog.root / "features" / features_name(config.learn, body)
    folder = _precision(catalog, config, photos, body, full)
    _take_over(folder)
    stage_fingerprint.drop_damaged_rows(folder, catalog.root)
    lists = shards.plan(folder, (f"{photo.sha256}.{photo.format}" for photo in photos))
    return folder, _tasks(catalog.root, config, lists)


def _tasks(root: Path, config: Config, lists: Sequence[Path]) -> list[FeatureTask]:
    whole, seed = str(root.resolve()), config.train.seed
    learn = config.for_workers().learn
    places = [path.relative_to(root).as_posix() for path in lists]
    return [FeatureTask(whole, place, learn, seed) for place in places]


def plan_features(catalog: Catalog, config: Config) -> list[FeatureTask]:
    """The shards that are to compute for the first model, and no others: for `shard_of`, in other
    programs and on other machines. Raises DataError (NO_PHOTOS)."""
    photos = catalog.photos("ok")
    if not photos:
        raise DataError("NO_PHOTOS", "there are no usable photos; run: bears run --until screen")
    announce(config.learn)
    body = backbone.build_body(config.learn, config.train.seed)
    folder, tasks = feature_tasks(catalog, config, photos, body)
    shards.drop_others(folder, [catalog.root / task.shard for task in tasks])
    return tasks


def planned_features(root: Path, config: Config, number: int, of: int) -> list[FeatureTask]:
    """The shards of part `number` (from 1) of a plan that are still to compute. Reads no catalog,
    which SQLite does not share between machines. Raises DataError (NO_PLAN)."""
    body = backbone.build_body(config.learn, config.train.seed)
    name = features_name(config.learn, body)
    folders = [root / "features" / name, *sorted((root / "features").glob(f"{name}{INT8}*"))]
    if not any(next(shards.files(folder), None) for folder in folders):
        words = f"no features are planned in {root} with these settings"
        raise DataError("NO_PLAN", f"{words}; run: bears features --plan")
    lists = [list_ for folder in folders for list_ in shards.pending(folder)]
    return _tasks(root, config, [one for one in lists if shards.number_of(one) % of == number - 1])


def feature_shard(
    task: FeatureTask,
    advance: Callable[[int], object] = lambda photos: None,
    body: nn.Module | None = None,
) -> FeatureShard:
    """Compute a shard unless it is there. Interrupted, it goes on after the last whole batch.

    advance: gets the number of photos that were done since its last call; body: the one of the
    settings, if it is there already. Raises DataError (STORED_DAMAGED, DISK_FULL, CANNOT_WRITE) and
    TrainError (OTHER_WEIGHTS)."""
    root, list_ = Path(task.root), Path(task.root) / task.shard
    names = shards.listed_names(list_)
    if shards.is_made(list_):
        return FeatureShard(task.shard, len(names), 0)
    made = _prepared(list_.parent.parent, task.learn, task.seed, len(names) >= WORTH, body)
    files = [root / place for place in _places(names)]
    shape = preprocessing(task.learn)
    row = shards.row_type(features=made.width, light=0, sharpness=0, filled=0)
    with Writer(list_, row, BATCH) as writer, torch.inference_mode():
        before = writer.done
        advance(before)
        for batch in batches(files[before:], shape, BATCH):
            pooled = made.run(batch)[0].mean((2, 3)).numpy()
            facts = (mean_grey(batch, shape), sharpness(batch, shape), filled(batch, shape))
            writer.add(features=pooled, **dict(zip(_FACTS, facts, strict=True)))
            advance(len(batch))
    return FeatureShard(task.shard, len(names), len(names) - before)


@dataclass(frozen=True)
class _Network:
    """run: from a batch to maps (n, f, h, w); width: f."""

    run: Pass
    width: int


@lru_cache(maxsize=2)
def _prepared(
    folder: Path, learn: LearnConfig, seed: int, many: bool, body: nn.Module | None
) -> _Network:
    """The network of a folder of features, once a process. many: photos, so that it is worth
    preparing."""
    device, size = devices.pick_device(learn.device), preprocessing(learn).size
    example = torch.zeros(1, 3, size, size, device=device)
    if INT8 in folder.name:
        run = onnx_pass((folder / _NETWORK).read_bytes())
    else:
        body = (body or backbone.build_body(learn, seed)).to(device).eval()
        if features_name(learn, body) != folder.name:
            raise TrainError(
                "OTHER_WEIGHTS",
                f"the weights here are not those of {folder}; use the same ones everywhere",
            )
        run = frozen(body, example, ["map"], WORTH if many else 1)
    with torch.inference_mode():
        return _Network(run, run(example.cpu())[0].shape[1])


def features_name(learn: LearnConfig, body: nn.Module) -> str:
    """Of the folder of features of a body in full precision."""
    shape = preprocessing(learn)
    digest = hashlib.sha256(repr(astuple(shape)).encode()).hexdigest()[:8]
    other = "" if shape.is_usual else f"-{digest}"
    return f"{learn.arch.replace(':', '-')}-{backbone.weights_digest(body)}-{shape.size}{other}"


def _precision(
    catalog: Catalog, config: Config, photos: PhotoList, body: nn.Module, full: Path
) -> Path:
    """The folder of these features: of the network that computes them in 8-bit integers, which is
    in it, or `full`. What was begun in one precision goes on in it."""
    device = devices.pick_device(config.learn.device)
    if config.probe.precision != "auto" or device.type != "cpu":
        return full
    if full.is_dir() or _earlier_file(full).is_file():
        return full
    from bear_classifier.learn import int8_features  # only now: onnx and its quantiser are heavy

    wanted = [photo.sha256 for photo in photos]
    begun = {path.name.removesuffix(".npz") for path in full.parent.glob(f"{full.name}{INT8}*")}
    for name in sorted(begun):
        folder, digest = full.with_name(name), name.rpartition("-")[2]
        own = (folder / _NETWORK).read_bytes() if (folder / _NETWORK).is_file() else b""
        if int8_features.network_digest(own) == digest or _holds(folder, wanted):
            return folder
        if network := int8_features.kept_network(full.name, digest):
            write_atomic(folder / _NETWORK, network)
            return folder
    choice = int8_features.choose(catalog, config, photos, body.to(device).eval(), full.name)
    note_above_bars(choice.words)
    if choice.network is None:
        return full
    folder = full.with_name(f"{full.name}{INT8}{int8_features.network_digest(choice.network)}")
    write_atomic(folder / _NETWORK, choice.network)
    return folder


def _holds(folder: Path, names: Sequence[str]) -> bool:
    """Whether the features of all these photos are there, in shards or in an earlier file."""
    try:
        return bool((StoredRows(folder).find(names) >= 0).all())
    except (OSError, ValueError):
        return set(names) <= set(_earlier_rows(folder).get("sha256", np.array([])).tolist())


# -- version 0.2: one .npz file of all features ----------------------------------------------------


def _earlier_file(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.npz")


def _earlier_rows(folder: Path) -> dict[str, NDArray[Any]]:
    """Its arrays; none where it is missing, damaged, or of before there were all of them."""
    try:
        with np.load(_earlier_file(folder), allow_pickle=False) as file:
            rows = {name: file[name] for name in ("sha256", "features", *_FACTS)}
        return rows if len({len(values) for values in rows.values()}) == 1 else {}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return {}


def _take_over(folder: Path) -> None:
    """Write the features of an earlier version as shards, once, and remove its file."""
    if not _earlier_file(folder).is_file():
        return
    if rows := _earlier_rows(folder):
        place = {name: number for number, name in enumerate(rows.pop("sha256").tolist())}
        row = shards.row_type(features=rows["features"].shape[1], light=0, sharpness=0, filled=0)
        for list_ in shards.plan(folder, place):
            at = [place[name.partition(".")[0]] for name in shards.listed_names(list_)]
            with Writer(list_, row, 1) as writer:
                writer.add(**{name: values[at[writer.done :]] for name, values in rows.items()})
    _earlier_file(folder).unlink()

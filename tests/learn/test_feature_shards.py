"""The features of a dataset: shards that are computed once, wherever and however often begun."""

import dataclasses
import io
import json
import shutil
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from s3_server import s3_server
from training import tiny_config

from bear_classifier.config.settings import EngineConfig
from bear_classifier.dataset import stage_fingerprint
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.errors import TrainError
from bear_classifier.images.preprocessing import Preprocessing
from bear_classifier.judge.predictions import stored_rows
from bear_classifier.learn import backbone, features
from bear_classifier.learn.data import batches
from bear_classifier.learn.features import (
    cached_features,
    feature_cache,
    feature_shard,
    feature_tasks,
)
from bear_classifier.learn.picture_facts import filled, mean_grey, sharpness
from bear_classifier.runtime import shards
from bear_classifier.runtime.shards import StoredRows

SHAPE = Preprocessing(64)
CONFIG = tiny_config()


@pytest.fixture
def catalog(drawn_dataset, tmp_path):
    """24 drawn photos, in tmp_path."""
    shutil.copytree(drawn_dataset, tmp_path, dirs_exist_ok=True)
    with Catalog(tmp_path) as opened:
        yield opened


def body_of(config=CONFIG):
    return backbone.build_body(config.learn, config.train.seed)


def features_of(catalog, config=CONFIG, photos=None):
    photos = catalog.photos("ok") if photos is None else photos
    return cached_features(catalog, config, photos, body_of(config))


def tasks_of(catalog, photos=None):
    photos = catalog.photos("ok") if photos is None else photos
    return feature_tasks(catalog, CONFIG, photos, body_of())[1]


def contents(root):
    """Relative path -> bytes of every file of features."""
    files = (path for path in (root / "features").rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def rows_files(root):
    return sorted(name for name in contents(root) if name.endswith(".npy"))


@pytest.fixture
def small(monkeypatch):
    """Shards of six photos or fewer, in batches of two."""
    monkeypatch.setattr(shards, "SHARD_ROWS", 6)
    monkeypatch.setattr(features, "BATCH", 2)


def test_features_are_computed_once(catalog, tmp_path, monkeypatch):
    photos = catalog.photos("ok")
    some = features_of(catalog, photos=photos[:10])
    before = contents(tmp_path)
    seen = []
    honest = features.batches
    monkeypatch.setattr(
        features, "batches", lambda files, *rest: seen.extend(files) or honest(files, *rest)
    )
    every = features_of(catalog)
    assert seen == [catalog.file(photo) for photo in photos[10:]]
    assert np.array_equal(every[:10], some) and len(every) == len(photos)
    assert contents(tmp_path).items() >= before.items()  # no file changes
    assert np.array_equal(features_of(catalog, photos=photos[::-3]), every[::-3])
    assert len(seen) == len(photos) - 10


def test_rows_and_facts_are_those_of_the_photos(catalog):
    photos = catalog.photos("ok")
    folder, _ = feature_cache(catalog, CONFIG, photos, body_of())
    stored, pictures = (
        StoredRows(folder),
        next(iter(batches(list(map(catalog.file, photos)), SHAPE, 32))),
    )
    at = stored.find([photo.sha256 for photo in photos])
    facts = {"light": mean_grey, "sharpness": sharpness, "filled": filled}
    for name, fact in facts.items():
        assert np.allclose(stored.take(name, at), fact(pictures, SHAPE))
    direct = body_of().eval()(pictures).mean((2, 3)).detach().numpy()
    assert np.allclose(stored.take("features", at), direct, atol=1e-5)


def test_shards_in_any_order_and_interrupted_anywhere_are_the_same(catalog, tmp_path, small):
    """The whole promise of a shard: what it holds follows from its photos and the settings."""
    for task in tasks_of(catalog):
        feature_shard(task)
    whole = contents(tmp_path)
    assert len(rows_files(tmp_path)) > 4
    shutil.rmtree(tmp_path / "features")

    class Stop(Exception):
        pass

    def stop(photos, left):
        left.append(photos)
        if sum(left) >= 3:
            raise Stop

    for task in reversed(tasks_of(catalog)):
        with suppress(Stop):
            feature_shard(task, partial(stop, left=[]))
    assert any(name.endswith(".begun") for name in contents(tmp_path))
    for task in tasks_of(catalog):  # planned again, as after Ctrl-C
        done = feature_shard(task)
        assert done.computed < done.photos or done.photos < 3
    assert contents(tmp_path) == whole
    assert tasks_of(catalog) == []


def test_ctrl_c_loses_less_than_a_batch(catalog, tmp_path, small, monkeypatch):
    """Photos that are decoded again after a stop are those of the batch that was being made."""
    monkeypatch.setattr(shards, "SHARD_ROWS", 64)
    (task,) = tasks_of(catalog)
    seen = []

    def stop(photos):
        seen.append(photos)
        if sum(seen) == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        feature_shard(task, stop)
    assert feature_shard(task).computed == 24 - 8


def test_what_was_begun_goes_on_after_its_last_right_row(catalog, tmp_path, small, monkeypatch):
    monkeypatch.setattr(shards, "SHARD_ROWS", 64)
    (task,) = tasks_of(catalog)
    feature_shard(task)
    (name,) = rows_files(tmp_path)
    path = tmp_path / name
    whole = path.read_bytes()
    size = StoredRows(path.parent.parent).row.itemsize
    broken = bytearray(whole)
    broken[-5 * size] ^= 1  # in the sixth row from the end, of 24
    for data, left in ((whole[: -5 * size - 1], 6), (bytes(broken), 6), (b"", 24), (b"noise", 24)):
        path.unlink()
        path.with_suffix(".begun").write_bytes(data)
        assert feature_shard(task).computed == left
        assert path.read_bytes() == whole


def test_a_damaged_shard_is_made_again(catalog, tmp_path):
    before, whole = features_of(catalog), contents(tmp_path)
    (name,) = rows_files(tmp_path)
    path = tmp_path / name
    flipped = bytearray(whole[name])
    flipped[-7] ^= 1
    for data in (b"", b"noise", whole[name][:3000], bytes(flipped)):
        path.write_bytes(data)
        assert np.array_equal(features_of(catalog), before)
        assert contents(tmp_path) == whole


def test_a_photo_that_went_changes_no_other_shard(catalog, tmp_path, small):
    """An interrupted pass goes on with other photos: what is whole is not done again."""
    photos = catalog.photos("ok")
    tasks = tasks_of(catalog)
    for task in tasks[:2]:
        feature_shard(task)
    left = [
        p for p in photos[1:] if p.sha256 not in shards.listed_names(tmp_path / tasks[-1].shard)[0]
    ]
    again = {task.shard for task in tasks_of(catalog, left)}
    assert {task.shard for task in tasks[2:-1]} < again
    assert not again & {task.shard for task in tasks[:2]} and tasks[-1].shard not in again
    for task in tasks_of(catalog, left):
        feature_shard(task)
    assert np.array_equal(
        features_of(catalog, photos=left), features_of(catalog)[[p in left for p in photos]]
    )


def test_other_weights_are_refused(catalog, tmp_path):
    """A worker elsewhere whose weights file is another one."""
    (task,) = tasks_of(catalog)
    with pytest.raises(TrainError, match="OTHER_WEIGHTS"):
        feature_shard(dataclasses.replace(task, seed=7))
    assert rows_files(tmp_path) == []


def test_other_weights_and_other_sizes_have_other_caches(catalog, tmp_path):
    photos = catalog.photos("ok")[:2]
    for learn in ({}, {"size": 96}, {"arch": "squeezenet1_0"}):
        features_of(catalog, tiny_config(learn=learn), photos)
    features_of(catalog, tiny_config(train={"seed": 7}), photos)
    assert len(list((tmp_path / "features").iterdir())) == 4


# -- version 0.2: one file -------------------------------------------------------------------------


def as_earlier(root, **changes):
    """What version 0.2 left: the rows of the shards in one .npz file."""
    (folder,) = (root / "features").iterdir()
    stored = StoredRows(folder)
    rows = np.arange(len(stored))
    columns = {name: stored.take(name, rows) for name in ("features", *features._FACTS)}
    arrays = {"sha256": np.array(stored.names()), **columns} | changes
    buffer = io.BytesIO()
    np.savez(buffer, **{name: value for name, value in arrays.items() if value is not None})
    shutil.rmtree(folder)
    folder.with_name(f"{folder.name}.npz").write_bytes(buffer.getvalue())
    return folder


def test_features_of_an_earlier_version_are_taken_over(catalog, tmp_path, small, monkeypatch):
    photos = catalog.photos("ok")
    features_of(catalog, photos=photos)
    marks = np.arange(24 * 512, dtype=np.float32).reshape(24, 512)
    folder = as_earlier(tmp_path, features=marks)
    earlier = stored_rows(tmp_path, f"{folder.name}.npz")
    assert np.array_equal(earlier.take("features", np.arange(24)), marks)
    monkeypatch.setattr(features, "batches", lambda *_: pytest.fail("computed again"))
    assert np.array_equal(features_of(catalog), marks)
    assert [path.name for path in (tmp_path / "features").iterdir()] == [folder.name]
    later = stored_rows(tmp_path, f"{folder.name}.npz")  # as a first model of before names it
    assert np.array_equal(later.take("features", later.find([p.sha256 for p in photos])), marks)


@pytest.mark.parametrize("missing", ["light", "sharpness", "filled", "features", "sha256"])
def test_a_file_of_before_there_was_light_is_made_anew(catalog, tmp_path, missing):
    before, whole = features_of(catalog), contents(tmp_path)
    as_earlier(tmp_path, **{missing: None})
    assert np.array_equal(features_of(catalog), before)
    assert contents(tmp_path) == whole


def test_damaged_shards_make_the_first_model_run_again(catalog, tmp_path):
    """Each byte counts, and a file is read again only if it changed."""
    folder, _ = feature_cache(catalog, CONFIG, catalog.photos("ok"), body_of())
    assert stage_fingerprint.features_whole(folder, tmp_path)
    known = json.loads((tmp_path / "hashes.json").read_text("utf-8"))
    (name,) = rows_files(tmp_path)
    assert known[str((tmp_path / name).resolve())][2] == "whole"
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert not stage_fingerprint.features_whole(folder, tmp_path)
    (tmp_path / name).unlink()
    assert not stage_fingerprint.features_whole(folder, tmp_path)


@pytest.fixture(params=["file", "s3"])
def storage(request, tmp_path_factory, monkeypatch):
    """An address, and what gives the names of the files there."""
    if request.param == "s3":
        with s3_server(monkeypatch, "bears") as bucket:
            yield "s3://bears/work", lambda: [Path(name).name for name in bucket.find("bears")]
        return
    folder = tmp_path_factory.mktemp("storage")
    yield folder.as_uri(), lambda: [path.name for path in folder.rglob("*") if path.is_file()]


def test_workers_that_see_no_dataset_compute_the_same_shards(catalog, tmp_path_factory, storage):
    """Through a storage: the photos are sent there once, shards come back."""
    tasks, (address, names) = tasks_of(catalog), storage
    engine = EngineConfig(storage=address)
    far = [dataclasses.replace(task, root=str(tmp_path_factory.mktemp("far"))) for task in tasks]
    found = list(features._by_workers(engine, tasks))
    assert sum(shard.computed for shard in found) == 24
    there = contents(catalog.root)
    stored = [features.StoredTask(address, task) for task in far]
    again = [features.stored_feature_shard(one) for one in stored]
    assert [shard.computed for shard in again] == [0] * len(tasks), "a shard was computed twice"
    for path in (catalog.root / "features").rglob("*.npy"):
        path.unlink()
    for task in tasks:
        feature_shard(task)
    assert contents(catalog.root) == there
    assert sorted(name for name in names() if "-of-" not in name) == sorted(
        catalog.file(photo).name for photo in catalog.photos("ok")
    )

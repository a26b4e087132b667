"""Photos that nobody confirmed enter no stage and no figure: a dataset with some of them and its
twin without give the same, byte by byte."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from corpus import drawn, saved
from judging import suspects
from poison import config_of, differing, prepare, trained

from bear_classifier import pipeline
from bear_classifier.cli.classes import photos_by_class
from bear_classifier.collect.rights.attribution import attribution
from bear_classifier.config.settings import Config
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import Photo, Source
from bear_classifier.dataset.stage_fingerprint import fingerprint
from bear_classifier.experiments.compare.study import compare_recipes
from bear_classifier.experiments.curve import runs
from bear_classifier.images.dhash import dhash
from bear_classifier.judge.clean import clean
from bear_classifier.judge.evaluate import evaluate
from bear_classifier.judge.label import make_pool
from bear_classifier.learn import source_holdout
from bear_classifier.learn.train import train
from bear_classifier.report.facts import report_facts
from bear_classifier.ship import bundle
from bear_classifier.ship.export import export
from bear_classifier.stages import NAMES, STAGES

Twins = tuple[Path, Path]


@pytest.fixture(autouse=True)
def one_way_to_compute(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(source_holdout, "_LEAST", 1)
    monkeypatch.setattr(runs, "LEAST_TRAIN_PHOTOS", 2)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def add_unconfirmed(root: Path) -> None:
    """Nine photos without a label: usable ones, one that is dropped, one too small, and one whose
    hash is that of a training photo."""
    with Catalog(root) as catalog, catalog.transaction():
        known = catalog.photos("ok")
        for n in range(9):
            picture = drawn(96, 64, seed=1000 + n)
            data = saved(picture, "PNG")
            sha, origin = hashlib.sha256(data).hexdigest(), f"/pool/{n}.png"
            photo = Photo(sha, origin, "", "png", 96, 64, len(data), dhash(picture), 40.0,
                          status="unlabelled")  # fmt: skip
            changes: dict[int, dict[str, Any]] = {
                0: {"status": "dropped", "reason": "a cat"},
                1: {"status": "unusable", "reason": "TOO_SMALL: 9 x 9 pixels", "width": 9},
                2: {"dhash": known[0].dhash},
                3: {"split": "train", "group": known[0].group},  # confirmed once, and taken back
            }
            photo = dataclasses.replace(photo, **changes.get(n, {}))
            catalog.file(photo).parent.mkdir(parents=True, exist_ok=True)
            catalog.file(photo).write_bytes(data)
            catalog.put_photos([photo])
            catalog.put_sources([Source(origin, "", "unlabelled", code="OK", sha256=sha)])


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Twins:
    folder = tmp_path_factory.mktemp("unconfirmed")
    prepare(folder / "without")
    with Catalog(folder / "without" / "data") as catalog, catalog.transaction():
        catalog.put_sources(
            Source(photo.origin, photo.label, "folder", code="OK", sha256=photo.sha256)
            for photo in catalog.photos()
        )
    shutil.copytree(folder / "without", folder / "with")
    add_unconfirmed(folder / "with" / "data")
    return folder / "without", folder / "with"


def timeless(value: Any) -> Any:
    """Without times, paths, and what holds either."""
    gone = {"seconds", "at", "created", "checksum", "files", "fit_seconds", "figure", "trainings",
            "hours", "ms", "page", "table", "csv", "html", "made"}  # fmt: skip
    if isinstance(value, dict):
        return {k: timeless(v) for k, v in value.items() if k not in gone}
    return [timeless(one) for one in value] if isinstance(value, (list, tuple)) else value


def everything(root: Path, config: Config) -> dict[str, Any]:
    """What every stage, study and count says and leaves."""
    model = root / "tiny"
    project = pipeline.Project(config, root / "data", model)
    with Catalog(root / "data") as catalog:
        probe = pipeline._step(project, catalog, STAGES[NAMES.index("probe")])
        if any(photo.status == "unlabelled" for photo in catalog.photos()):
            make_pool(catalog, config)  # their features lie beside those of the others
        found: dict[str, Any] = {
            "probe": timeless(probe),
            "clean": clean(catalog, config),
            "suspects": suspects(catalog, config),
        }
        train(catalog, config)
        found["evaluate"] = timeless(json.loads(json.dumps(evaluate(catalog, config))))
        found["export"] = timeless(export(catalog, config, model)) | {"model": "tiny"}
        found |= trained(catalog, "none")
        found["report"] = timeless(json.loads(json.dumps(
            report_facts(catalog, config, bundle.load(model).about))))  # fmt: skip
        data, learned = runs.probe_data(catalog, config)  # all that a curve is made of
        found["curve"] = [data.features.tobytes(), data.labels.tolist(), learned]
        found["digests"] = [fingerprint(config, catalog, STAGES[: n + 1]) for n in range(9)]
        found["attribution"] = timeless(attribution(catalog, config))
    found["compare"] = timeless(
        compare_recipes(project, ["train.dropout=0", "train.dropout=0.5"], 2, 1)
    )
    found["status"] = pipeline.status(project)["photos"]
    found["classes"] = photos_by_class(project)
    found["weights of the bundle"] = (model / "model.onnx").read_bytes()
    return found


def test_no_stage_and_no_figure_knows_of_them(twins: Twins, tmp_path: Path) -> None:
    config, found = config_of(twins[0], export={"parity": 1}), []
    for root in twins:
        shutil.copytree(root, tmp_path / root.name)
        found.append(everything(tmp_path / root.name, config))
    assert differing(*found) == set()


def test_the_status_counts_them_apart(twins: Twins) -> None:
    project = pipeline.Project(config_of(twins[1]), twins[1] / "data", twins[1] / "tiny")
    assert pipeline.status(project)["unlabelled"] == 7

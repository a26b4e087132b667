"""What a stage reads is in its digest, by content; what it left is there and whole, or it is made
again; what version 0.1.0 made is known again."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from bundles import tiny_config

from bear_classifier import pipeline
from bear_classifier.config.settings import TrainConfig
from bear_classifier.dataset import stage_fingerprint
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import Source, StageRun
from bear_classifier.pipeline import NAMES, STAGES, Project
from bear_classifier.runtime.npz import as_npz

COSTLY = [stage for stage in STAGES if stage.leaves]
AT = "2026-01-01T00:00:00+00:00"


def changed(project: Project, **tables: dict[str, object]) -> Project:
    config = dataclasses.replace(
        project.config,
        **{t: dataclasses.replace(getattr(project.config, t), **v) for t, v in tables.items()},
    )
    return dataclasses.replace(project, config=config)


@pytest.fixture
def project(tmp_path, make, fill):
    """A dataset of a few rows, and no file."""
    config = tiny_config(train={"seed": TrainConfig.seed})  # 0.1.0's digests are of this one
    with Catalog(tmp_path / "data") as catalog, catalog.transaction():
        photos = [make(n, label=label, split="train", origin=f"/photos/{label}/{n}.png")
                  for n, label in enumerate(config.labels * 3)]  # fmt: skip
        catalog.put_photos(photos)
        catalog.put_sources(Source(p.origin, p.label, "folder", code="OK", sha256=p.sha256)
                            for p in photos)  # fmt: skip
    return Project(config, tmp_path / "data", tmp_path / "model")


def made_anew(before: Project, after: Project) -> list[str]:
    """Stages whose digest differs."""
    with Catalog(before.data) as catalog:
        was = {s.name: pipeline.stage_digest(before, catalog, s) for s in COSTLY}
    with Catalog(after.data) as catalog:
        now = {s.name: pipeline.stage_digest(after, catalog, s) for s in COSTLY}
    return [name for name in was if was[name] != now[name]]


ALL = ["probe", "clean", "train", "evaluate", "export"]


def test_sources_that_are_set_or_edited_later_count(project, tmp_path):
    """The probe's strength, the rehearsal and the evaluation depend on where photos come from."""
    table = tmp_path / "sources.csv"
    table.write_text("path,source\n/photos/black/0.png,zoo\n", encoding="utf-8")
    named = changed(project, split={"sources": str(table)})
    assert made_anew(project, named) == ALL
    with Catalog(project.data) as catalog:
        was = pipeline.stage_digest(named, catalog, COSTLY[0])
        table.write_text("path,source\n/photos/black/0.png,alps\n", encoding="utf-8")
        assert pipeline.stage_digest(named, catalog, COSTLY[0]) != was
        table.write_text(
            "path,source\n/photos/black/0.png,zoo\nnowhere/else.png,alps\n", encoding="utf-8"
        )
        assert pipeline.stage_digest(named, catalog, COSTLY[0]) == was  # about none of these photos


def test_a_table_that_is_gone_is_for_the_stage_to_say(project):
    gone = changed(project, split={"sources": "nowhere.csv"})
    assert made_anew(project, gone) == ALL


def test_pages_of_photos_count_as_sources(project):
    with Catalog(project.data) as catalog:
        was = pipeline.stage_digest(project, catalog, COSTLY[0])
        with catalog.transaction():
            catalog.put_sources(dataclasses.replace(s, page="https://zoo.example/bears")
                                for s in catalog.sources()[:1])  # fmt: skip
        assert pipeline.stage_digest(project, catalog, COSTLY[0]) != was


def test_sides_by_source_spare_the_rehearsal(project):
    by = changed(project, split={"by": "source"})
    assert made_anew(project, by) == ["train", "evaluate", "export"]


@pytest.mark.parametrize(("setting", "table"), [("weights", "learn"), ("note", "export")])
def test_files_count_by_content(project, tmp_path, setting, table):
    """Not by time or name: a copied project is the same project."""
    one, other = tmp_path / "a.pth", tmp_path / "elsewhere" / "b.pth"
    other.parent.mkdir()
    one.write_bytes(b"weights")
    os.utime(one, (1, 1))
    other.write_bytes(b"weights")
    first = changed(project, **{table: {setting: str(one)}})
    moved = changed(project, **{table: {setting: str(other)}})
    assert made_anew(first, moved) == []
    with Catalog(project.data) as catalog:
        was = pipeline.stage_digest(first, catalog, STAGES[-1])
        one.write_bytes(b"another")
        assert pipeline.stage_digest(first, catalog, STAGES[-1]) != was


def test_a_bundle_to_start_from_counts_by_its_list(project, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "bundle.json").write_text('{"checksum": 1}', encoding="utf-8")
    one = changed(project, learn={"weights": str(tmp_path / "one")})
    two = changed(project, learn={"weights": str(tmp_path / "two")})
    assert made_anew(one, two) == []
    (tmp_path / "two" / "bundle.json").write_text('{"checksum": 2}', encoding="utf-8")
    assert made_anew(one, two) == ALL


def test_settings_that_came_later_count_only_where_they_are_set(project):
    """What was made before there was such a setting stays up to date."""
    with Catalog(project.data) as catalog:
        found = stage_fingerprint.settings(project.config, COSTLY, catalog.root)
    assert not stage_fingerprint.LATER.keys() & found.keys()
    assert made_anew(project, changed(project, probe={"precision": "auto"})) == ALL


def test_a_large_file_is_read_once(project, tmp_path, monkeypatch):
    file = tmp_path / "weights.pth"
    file.write_bytes(b"weights")
    read: list[Path] = []
    hashed = stage_fingerprint.hash_of
    monkeypatch.setattr(
        stage_fingerprint, "hash_of", lambda path: read.append(path) or hashed(path)
    )
    for _ in range(3):
        assert len(stage_fingerprint.content(file, project.data)) == 64
    assert read == [file]
    file.write_bytes(b"others!")
    os.utime(file, (1, 1))
    stage_fingerprint.content(file, project.data)
    assert len(read) == 2
    (project.data / stage_fingerprint.HASH_CACHE).write_text(
        '{"x": 3, "y": [1]}', encoding="utf-8"
    )  # of whoever wrote there
    assert stage_fingerprint.content(file, project.data)
    (project.data / stage_fingerprint.HASH_CACHE).unlink()
    (project.data / stage_fingerprint.HASH_CACHE).mkdir()  # nothing can be remembered
    assert stage_fingerprint.content(file, project.data)
    assert stage_fingerprint.content(tmp_path / "none", project.data) == ""


@pytest.mark.parametrize("name", sorted(stage_fingerprint.WITHOUT_EFFECT))
def test_settings_without_effect_do_not_count(project, name):
    table, _, key = name.partition(".")
    value = {"engine.name": "ray", "learn.device": "cuda", "train.resume": False}[name]
    assert made_anew(project, changed(project, **{table: {key: value}})) == []


def test_what_was_no_setting_once_makes_nothing_anew(project, tmp_path):
    """All of a photo's square, bilinear: what was done before one could choose. Where only the
    library knows what its weights want, what it says counts as another setting."""
    whole = {"crop": 1.0, "interpolation": "bilinear"}
    assert made_anew(project, changed(project, learn=whole)) == []  # of no weights
    names = stage_fingerprint.settings(project.config, COSTLY, project.data)
    assert {name for name in names if name.startswith("learn.")} == {
        *("learn.arch", "learn.weights", "learn.size")
    }
    for other in ({"crop": 0.9}, {"interpolation": "bicubic"}):
        assert made_anew(project, changed(project, learn=other)) == ALL
    imagenet = changed(project, learn={"weights": "imagenet"})
    assert made_anew(imagenet, changed(imagenet, learn=whole)) == ALL
    shape = {"size": 64, "mean": [0.5] * 3, "std": [0.5] * 3}
    (tmp_path / "bundle.json").write_text(json.dumps({"preprocessing": shape}), encoding="utf-8")
    bundle = changed(project, learn={"weights": str(tmp_path), "size": 0})
    assert made_anew(bundle, changed(bundle, learn={"size": 64, **whole})) == []
    assert made_anew(bundle, changed(bundle, learn={"size": 96})) == ALL


# -- what version 0.1.0 wrote --------------------------------------------------------------------

FIRST = {  # the digests that 0.1.0 wrote for the dataset of `project`
    "probe": "f6926a6e4d730dce64e596aae1b93febba7fa14eb8a1c699fbf085c805a04093",
    "clean": "bfd71ce1dc8bd80b1f95bcd9592bfad66b7ea975c7138c4fb6d50893ef694dcc",
    "train": "e5b7c81ab88b8fd05d9029c1e3682400d6bc049fb97345aabf8ecabb8b8d4f06",
    "evaluate": "19068f80c6148238eb08583b24aa62aacf7d15029ec92e832a17dc3d96dae2d5",
    "export": "aa6e725efc8f0a14de6bc3230564176a625d3c6b99c86b53abc53c7c2e3ec6c4",
}


@pytest.fixture
def as_first(monkeypatch):
    """The stages as they were then; what is renewed since is to be made anew."""
    stages = tuple(dataclasses.replace(s, renewed=int(s.name == "evaluate")) for s in STAGES)
    monkeypatch.setattr(pipeline, "STAGES", stages)
    return [stage for stage in stages if stage.leaves]


def ran(project: Project, inputs: dict[str, str]) -> None:
    with Catalog(project.data) as catalog:
        for name, digest in inputs.items():
            catalog.add_run(StageRun(name, AT, 1.0, digest, {"from": "0.1.0"}))


@pytest.fixture
def everything_whole(monkeypatch):
    monkeypatch.setattr(stage_fingerprint, "is_complete", lambda *_: True)


def current(project: Project) -> list[str]:
    with Catalog(project.data) as catalog:
        stages = [s for s in pipeline.STAGES if s.leaves]
        return [s.name for s in stages if pipeline.is_current(project, catalog, s)]


def test_what_the_first_version_made_is_up_to_date(project, everything_whole, as_first):
    ran(project, FIRST)
    assert current(project) == ALL
    assert current(changed(project, learn={"size": 96})) == []
    assert current(changed(project, train={"epochs": 9})) == ["probe", "clean"]


def test_what_it_did_not_look_at_makes_nothing_up_to_date(
    project, everything_whole, as_first, tmp_path
):
    ran(project, FIRST)
    table = tmp_path / "sources.csv"
    table.write_text("path,source\n/photos/black/0.png,zoo\n", encoding="utf-8")
    assert current(changed(project, split={"sources": str(table)})) == []


def test_it_is_remembered_in_the_new_form(project, everything_whole, as_first):
    """So that a copy of the project, whose files have other times, is known again as well."""
    ran(project, FIRST)
    stage = as_first[0]
    with Catalog(project.data) as catalog:
        assert pipeline._step(project, catalog, stage)["outcome"] == "up to date"
        last = catalog.last_run("probe")
        assert last == StageRun(
            "probe", AT, 1.0, pipeline.stage_digest(project, catalog, stage), last.outcome
        )
        assert last.outcome == {"from": "0.1.0"}


def test_what_is_made_anew_of_an_earlier_version_is_said_first(project, everything_whole):
    ran(project, {"probe": "f" * 64, "train": "f" * 64})
    with Catalog(project.data) as catalog:
        assert pipeline._of_earlier_version(project, catalog, "export") == ["probe", "train"]
        assert pipeline._of_earlier_version(project, catalog, "clean") == ["probe"]
        new = pipeline.stage_digest(project, catalog, STAGES[NAMES.index("probe")])
    ran(project, {"probe": new, "train": "3:" + "f" * 64})
    with Catalog(project.data) as catalog:
        assert pipeline._of_earlier_version(project, catalog, "export") == []


# -- what a stage left -------------------------------------------------------------------------


@pytest.fixture
def left(tmp_path, model_dir):
    """A dataset in which every stage has run, as far as the files tell."""
    numbers = as_npz(numbers=np.zeros((9, 900)))
    first = as_npz(features=np.array("f.npz"), probabilities=np.zeros((9, 3)))
    files = {
        "features/f.npz": numbers,
        "probe/head.npz": numbers,
        "probe/probabilities.npz": first,
        "clean/summary.json": b'{"photos": 3}',
        "train/weights.safetensors": (model_dir / "weights.safetensors").read_bytes(),
        "train/predictions.npz": numbers,
        "train/history.json": b"{}",
        "evaluate/report.json": b'{"n": 3}',
        "evaluate/reference.npz": numbers,
    }
    for name, data in files.items():
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_bytes(data)
    shutil.copytree(model_dir, tmp_path / "model")
    return Project(tiny_config(), tmp_path / "data", tmp_path / "model")


def whole(project: Project, known: dict[str, dict[str, str]]) -> list[str]:
    return [
        s.name
        for s in COSTLY
        if stage_fingerprint.is_complete(project.place(s), s, known.get(s.name, {}), project.data)
    ]


def damaged(path: Path) -> None:
    """One byte in the middle, where no header stands."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    os.utime(path, (1, 1))


@pytest.mark.series
@pytest.mark.parametrize("way", ["gone", "cut", "empty", "a folder", "other bytes"])
@pytest.mark.parametrize(
    ("file", "stage"),
    [
        ("data/features/f.npz", "probe"),
        ("data/probe/head.npz", "probe"),
        ("data/probe/probabilities.npz", "probe"),
        ("data/clean/summary.json", "clean"),
        ("data/train/weights.safetensors", "train"),
        ("data/train/predictions.npz", "train"),
        ("data/train/history.json", "train"),
        ("data/evaluate/report.json", "evaluate"),
        ("data/evaluate/reference.npz", "evaluate"),
        ("model/bundle.json", "export"),
        ("model/model.onnx", "export"),
        ("model/README.md", "export"),
    ],
)
def test_what_is_gone_or_damaged_is_made_again(file, stage, way, left, tmp_path):
    known = {s.name: stage_fingerprint.hashes(left.place(s), s, left.data) for s in COSTLY}
    assert whole(left, known) == ALL
    path = tmp_path / file
    data = path.read_bytes()
    path.unlink()
    if way == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif way == "empty":
        path.touch()
    elif way == "a folder":
        path.mkdir()
    elif way == "other bytes":
        path.write_bytes(data)
        damaged(path)
        if path.suffix == ".json" and path.name != "bundle.json":
            path.write_bytes(b"{" + data)  # a changed letter in a text is no damage
    assert whole(left, known) == [name for name in ALL if name != stage]


def test_without_hashes_weights_are_held_to_their_header(left, tmp_path):
    """As those that version 0.1.0 left."""
    assert whole(left, {}) == ALL
    path = tmp_path / "data" / "train" / "weights.safetensors"
    data = path.read_bytes()
    for wrong in (data[:-1], data + b"x", b"", data[:4], b"\xff" * 50, b"\x02" + bytes(7) + b"{}"):
        path.write_bytes(wrong)
        assert "train" not in whole(left, {})


def test_again_forces_a_stage_and_those_after_it(project, everything_whole, monkeypatch):
    done: list[str] = []

    def step(project, catalog, stage, forced, until):
        done.append(stage.name) if forced else None
        return {"outcome": "done", "seconds": 0}

    monkeypatch.setattr(pipeline, "_step", step)
    monkeypatch.setattr(pipeline, "_preflight", lambda *_: None)
    pipeline.run(project, again="clean")
    assert done == ["clean", "train", "evaluate", "export"]
    done.clear()
    pipeline.run(project, "train", again="train")
    assert done == ["train"]
    done.clear()
    pipeline.run(project)
    assert done == []


def test_a_forced_stage_runs_although_it_is_up_to_date(project, everything_whole):
    stage = STAGES[NAMES.index("clean")]
    with Catalog(project.data) as catalog:
        inputs = pipeline.stage_digest(project, catalog, stage)
        catalog.add_run(StageRun("clean", AT, 1.0, inputs, {}))
        assert pipeline._step(project, catalog, stage)["outcome"] == "up to date"
        with pytest.raises(Exception, match="NOT_PROBED"):
            pipeline._step(project, catalog, stage, forced=True)


def test_all_digests_read_the_catalog_once(project, monkeypatch):
    """100,000 photos were read 18 times for one `bears status`: a minute."""
    reads, real = [], Catalog.stream

    def stream(self, columns, rest, values=()):
        reads.append(rest)
        return real(self, columns, rest, values)

    monkeypatch.setattr(Catalog, "stream", stream)
    with Catalog(project.data) as catalog:
        one = [pipeline.stage_digest(project, catalog, stage) for stage in STAGES]
        assert [pipeline.stage_digest(project, catalog, stage) for stage in STAGES] == one
    assert sum("photo " in rest for rest in reads) == 2  # hashes; where they come from
    assert sum("source" in rest for rest in reads) == 1


def test_what_was_read_once_is_read_again_after_a_change(project, make):
    """By this program, by another, or of the table that split.sources names."""
    stage = STAGES[NAMES.index("train")]
    row = make(50, label="teddy", split="train", origin="https://www.example.com/1.png")
    with Catalog(project.data) as catalog, Catalog(project.data) as other:
        seen = [pipeline.stage_digest(project, catalog, stage)]
        for writer, photo in ((catalog, row), (other, dataclasses.replace(row, split="valid"))):
            with writer.transaction():
                writer.put_photos([photo])
            seen.append(pipeline.stage_digest(project, catalog, stage))
        with other.transaction():
            other.put_sources([Source(row.origin, "teddy", "web", page="https://b.org/")])
        seen.append(pipeline.stage_digest(project, catalog, stage))
        with Catalog(project.data) as fresh:
            assert pipeline.stage_digest(project, fresh, stage) == seen[-1]
        assert len(set(seen)) == 4
        catalog.freeze()
        with other.transaction():
            other.put_photos([dataclasses.replace(row, split="test")])
        assert pipeline.stage_digest(project, catalog, stage) == seen[-1]

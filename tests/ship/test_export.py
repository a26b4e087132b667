import dataclasses
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from bundles import LABELS, tiny_config, trained_dataset
from safetensors.torch import load_file
from waiting import until

from bear_classifier.dataset import lock
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.decisions import decide, drop
from bear_classifier.dataset.lock import publishing
from bear_classifier.dataset.schema import Decision
from bear_classifier.errors import ConfigError, DataError, ModelError
from bear_classifier.judge.membership_inference import card_sentence
from bear_classifier.learn import backbone
from bear_classifier.report import stage_lines
from bear_classifier.report.facts import belongs
from bear_classifier.ship import bundle
from bear_classifier.ship.export import _trained, export
from bear_classifier.ship.model_card import card
from bear_classifier.ship.parity import compare_probabilities, prove
from bear_classifier.ship.predict import Model


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    root = tmp_path_factory.mktemp("export")
    config = tiny_config()
    catalog = trained_dataset(root / "data", config)
    outcome = export(catalog, config, root / "models" / "tiny")
    return root, config, catalog, outcome


def test_the_bundle_holds_what_it_says(published):
    root, config, _, outcome = published
    made = bundle.load(root / "models" / "tiny")
    assert made.labels == LABELS
    assert made.size == 64
    assert made.temperature == 1.5
    assert made.about["version"] == outcome["version"] == 1
    assert made.about["architecture"] == config.learn.arch
    assert made.about["metrics"]["test"]["n"] == 3
    assert made.about["parity"]["n"] == 40
    assert made.about["parity"]["photos"] == 24
    words = (made.path / "README.md").read_text(encoding="utf-8")
    assert "grizzly" in words
    assert "40 pictures" in words
    assert "revision 0 of its dataset" in words


def test_three_outputs_and_any_batch(published):
    made = bundle.load(published[0] / "models" / "tiny")
    session = ort.InferenceSession(made.onnx)
    logits, pooled, map_ = session.run(None, {"image": np.zeros((2, 3, 64, 64), np.float32)})
    assert logits.shape == (2, 3)
    assert pooled.shape == map_.shape[:2] == (2, 512)
    assert np.allclose(map_.mean(axis=(2, 3)), pooled, atol=1e-5)


def test_the_self_test_passes_and_its_pictures_are_32(published):
    model = Model(bundle.load(published[0] / "models" / "tiny"))
    pictures, expected = model.bundle.golden()
    assert len(pictures) == len(expected["probabilities"]) == 32
    model.self_test()
    assert len({p.suffix for p in pictures}) >= 4
    assert expected["probabilities"].argmax(1).min() != expected["probabilities"].argmax(1).max()


def test_nothing_is_left_beside_the_bundle(published):
    assert [p.name for p in (published[0] / "models").iterdir()] == ["tiny"]


def test_a_bundle_is_remembered_with_the_side_of_every_photo(published):
    root, _, catalog, _ = published
    about = bundle.load(root / "models" / "tiny").about
    first = catalog.published()[0]
    assert (first.model, first.version) == (str((root / "models" / "tiny").resolve()), 1)
    assert first.at == about["created"]
    assert first.photos == {p.sha256: p.split for p in catalog.photos("ok")}
    assert len(first.photos) == 24


def test_a_bundle_is_remembered_before_it_is_out(tmp_path):
    """What stands in the way of publishing comes to light after the row is written."""
    config = tiny_config(export={"parity": 1})
    catalog = trained_dataset(tmp_path / "data", config)
    dropped, unsplit = catalog.photos()[:2]
    with catalog.transaction():
        drop(catalog, dropped, "ann", "why")
        catalog.put_photos([dataclasses.replace(unsplit, split=None)])  # so no model saw it
    place = tmp_path / "models" / "tiny"
    place.mkdir(parents=True)
    (place / "old").write_text("old", encoding="utf-8")
    (tmp_path / "models" / ".tiny.previous").write_text("in the way", encoding="utf-8")
    with pytest.raises(DataError, match="CANNOT_WRITE"):
        export(catalog, config, place)
    assert (place / "old").exists()
    (row,) = catalog.published()
    assert row.photos == {p.sha256: p.split for p in catalog.photos("ok") if p.split}
    assert len(row.photos) == 22


def test_what_is_decided_while_a_model_is_made_is_for_the_next_one(tmp_path):
    config = tiny_config(export={"parity": 1})
    catalog = trained_dataset(tmp_path / "data", config)
    catalog.freeze()
    with Catalog(tmp_path / "data") as other:
        wanted = [Decision(photo.sha256, "drop") for photo in other.photos()[:2]]
        decide(other, LABELS, wanted, "ann", "meanwhile")
    outcome = export(catalog, config, tmp_path / "models" / "tiny")
    made = bundle.load(tmp_path / "models" / "tiny")
    assert len(catalog.published()[0].photos) == sum(made.about["data"]["photos"].values()) == 24
    assert (outcome["revision"], outcome["latest_revision"]) == (0, 2)
    assert (made.about["data"]["revision"], made.about["data"]["latest_revision"]) == (0, 2)
    assert "revision 0 of 2 of its dataset" in (made.path / "README.md").read_text(encoding="utf-8")
    with Catalog(tmp_path / "data") as fresh:
        assert len(fresh.photos("ok")) == 22
    assert "2 decisions made meanwhile are not in it" in stage_lines.stage_text(
        "export", outcome | {"outcome": "done", "seconds": 1.0}
    )


def test_decisions_on_the_test_side_stand_in_the_card(published):
    root, _, _, _ = published
    about = bundle.load(root / "models" / "tiny").about
    words = "relabelled or left out by hand"
    assert words not in card(about)
    about["data"]["test_decisions"] = 7
    assert f"{words} before this was measured: 7." in card(about)
    assert "judged on its test photos" not in card(about)
    about["data"]["test_looks"] = 4
    assert "judged on its test photos, this one included: 4. The best of many" in card(about)


def test_the_card_says_what_the_bundle_gives_away(published, tmp_path):
    root, config, _, _ = published
    known = "whoever has one of these very photos can tell by them that it was used"
    bare = "No photo is in it, and no path or position of any."
    text = (root / "models" / "tiny" / "README.md").read_text(encoding="utf-8")
    assert known in text and bare in text
    assert "guessing by the model's loss" not in text  # as nothing was measured
    with trained_dataset(tmp_path / "data", config) as catalog:
        path = tmp_path / "data" / "evaluate" / "report.json"
        found = {"auc": 0.61, "interval": [0.52, 0.7], "members": 9, "others": 8}
        path.write_text(
            json.dumps({**json.loads(path.read_bytes()), "membership": found}), encoding="utf-8"
        )
        export(catalog, tiny_config(export={"parity": 1}), tmp_path / "tiny")
    about = bundle.load(tmp_path / "tiny").about
    assert about["membership"] == card_sentence(found)
    assert f"\n\n{card_sentence(found)}\n\n" in (tmp_path / "tiny" / "README.md").read_text(
        encoding="utf-8"
    )
    shown = card({**about, "data": {**about["data"], "pictures": 5}})
    assert known in shown and bare not in shown
    assert "small copies of 5 training photos, which a page may show. Other than these no" in shown


def test_a_bundle_of_before_membership_was_measured_has_a_card(published):
    about = dict(bundle.load(published[0] / "models" / "tiny").about)
    before = card(about)
    del about["membership"]
    assert card(about) == before


def test_no_photo_of_the_dataset_is_in_the_bundle(published):
    root, _, catalog, _ = published
    theirs = {catalog.file(p).read_bytes() for p in catalog.photos()}
    ours = {p.read_bytes() for p in (root / "models" / "tiny").rglob("*") if p.is_file()}
    assert not theirs & ours


def test_compare_refuses_a_difference_and_a_changed_answer():
    a = np.array([[0.6, 0.4], [0.5, 0.5]])
    assert compare_probabilities(a, a)["largest_difference"] == 0.0
    with pytest.raises(ModelError, match="differs from the trained one by up to 0.001"):
        compare_probabilities(a, a + np.array([[0.001, -0.001], [0, 0]]))
    near = np.array([[0.6, 0.4], [0.50002, 0.49998]])
    assert (
        compare_probabilities(near, near[:, :] + np.array([[0, 0], [-4e-5, 4e-5]]))["ties_excused"]
        == 1
    )
    with pytest.raises(ModelError, match="PARITY"):
        compare_probabilities(a, np.full_like(a, np.nan))


def test_answers_are_compared_before_the_temperature(published):
    """Rounding was called another model where a low temperature made four times as much of it."""
    root, config, catalog, _ = published
    model, *_ = _trained(catalog, config)
    proved = bundle.load(root / "models" / "tiny")
    cold = Model(dataclasses.replace(proved, about={**proved.about, "temperature": 1e-5}))
    found = prove(catalog, config, model, cold)
    assert found["largest_difference"] < 1e-4


def test_a_network_that_is_not_exported_exactly_has_a_way_on():
    a = np.array([[0.6, 0.4]])
    with pytest.raises(ModelError, match=r"PARITY: .*run: bears run --set learn.arch="):
        compare_probabilities(a, a + np.array([[0.001, -0.001]]))


def test_weights_that_differ_from_the_onnx_are_not_published(published, tmp_path, monkeypatch):
    """A network whose export computes something else must not get out."""
    from bear_classifier.ship import export as module

    config = tiny_config()
    catalog = trained_dataset(tmp_path / "data", config)
    place = tmp_path / "models" / "tiny"
    shutil.copytree(published[0] / "models" / "tiny", place)
    before = (place / "bundle.json").read_bytes()
    honest = module.to_onnx

    def other_head(model, size):
        model.head[-1].bias.data[0] += 0.01
        data = honest(model, size)
        model.head[-1].bias.data[0] -= 0.01
        return data

    monkeypatch.setattr(module, "to_onnx", other_head)
    with pytest.raises(ModelError) as caught:
        export(catalog, config, place)
    assert caught.value.code in ("PARITY", "MODEL_SELF_TEST_FAILED")
    assert "is kept as it was" in caught.value.sentence
    assert (place / "bundle.json").read_bytes() == before


def test_nothing_trained_yet(tmp_path):
    config = tiny_config()
    with pytest.raises(DataError, match="nothing to export yet"):
        export(trained_dataset(tmp_path, config).__class__(tmp_path / "other"), config, tmp_path)


# Publishes for ever, each time that a line comes; in a new process each, made by forking, so that
# many of them need one import.
_PUBLISH_FOR_EVER = """
import itertools, json, os, sys
from pathlib import Path
from bear_classifier.ship import bundle

place = Path(sys.argv[1])
partial = place.with_name(".tiny.1.partial")

def publish():
    bundle.clear_leftovers(place)
    about = json.loads((place / "bundle.json").read_text())
    files = {name: (place / name).read_bytes() for name in about["files"]}
    for name in ("schema", "files", "checksum"):
        del about[name]
    print(os.getpid(), flush=True)
    for about["version"] in itertools.count(about["version"] + 1):
        bundle.clear_leftovers(place)
        bundle.write_bundle(partial, {**files, "bundle.json": bundle.describe(files, about)})
        bundle.publish(partial, place)

for line in sys.stdin:
    child = os.fork()
    if not child:
        try:
            publish()
        finally:
            os._exit(1)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def contents(place: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}


def test_a_full_disk_keeps_the_old_bundle(published, tmp_path):
    root = published[0]
    place = tmp_path / "tiny"
    shutil.copytree(root / "models" / "tiny", place)
    before = contents(place)
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in (20_000, max(map(len, before.values())) // 2):
        with Catalog(root / "data") as catalog, pytest.raises(DataError, match="^DISK_FULL: "):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, usual[1]))
            try:
                export(catalog, tiny_config(export={"parity": 1}), place)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert contents(place) == before
    assert [p.name for p in tmp_path.iterdir()] == ["tiny"]


def inode(place):
    """0 between the two renames of publishing."""
    try:
        return place.stat().st_ino
    except FileNotFoundError:
        return 0


@pytest.mark.long
@pytest.mark.parametrize("kills", [12, pytest.param(100, marks=pytest.mark.long)])
def test_kill_9_at_any_moment_leaves_a_bundle_that_loads(published, tmp_path, kills):
    place = tmp_path / "tiny"
    shutil.copytree(published[0] / "models" / "tiny", place)
    rng = np.random.default_rng(3)
    versions = []
    with subprocess.Popen(
        [sys.executable, "-c", _PUBLISH_FOR_EVER, place], encoding="utf-8",
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        for number in range(kills):
            print("begin", file=process.stdin, flush=True)
            child = int(process.stdout.readline())
            if number % 2:  # in every second life it publishes at least once
                before = inode(place)
                until(lambda before=before: inode(place) not in (0, before))
            time.sleep(rng.uniform(0.0, 0.3))
            os.kill(child, signal.SIGKILL)
            assert int(process.stdout.readline()) == -signal.SIGKILL
            versions.append(bundle.load(place).about["version"])
    assert versions == sorted(versions)
    assert versions[-1] > 5  # it was really publishing
    bundle.clear_leftovers(place)
    assert [p.name for p in tmp_path.iterdir()] == ["tiny"]


@pytest.mark.long
def test_two_publishers_from_two_datasets_lose_and_mix_nothing(tmp_path, monkeypatch):
    """They meet at the rename: the second begins only when the first is out."""
    config, place = tiny_config(export={"parity": 1}), tmp_path / "models" / "tiny"
    catalogs = [trained_dataset(tmp_path / f"data{n}", config, seed=n) for n in range(2)]
    clear, publish, begun, met = bundle.clear_leftovers, bundle.publish, [], threading.Event()

    def clear_leftovers(path):
        begun.append(path)
        if len(begun) == 2:
            met.set()
        clear(path)

    def meet(partial, path):
        met.wait(0.5)
        publish(partial, path)

    def work(root):
        with Catalog(root) as catalog:
            return export(catalog, config, place)["version"]

    monkeypatch.setattr(bundle, "clear_leftovers", clear_leftovers)
    monkeypatch.setattr(bundle, "publish", meet)
    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(work, [catalog.root for catalog in catalogs])) == [1, 2]
    made = bundle.load(place)
    rows = {row.version: row for catalog in catalogs for row in catalog.published()}
    assert made.about["version"] == 2
    assert made.about["created"] == rows[2].at
    assert set(rows) == {1, 2}
    assert [p.name for p in place.parent.iterdir()] == ["tiny"]


def test_whoever_publishes_for_too_long_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "_PATIENCE", 0.05)
    with publishing(tmp_path / "tiny"), ThreadPoolExecutor(1) as pool:
        other = pool.submit(lambda: publishing(tmp_path / "tiny").__enter__())
        with pytest.raises(DataError, match="^LOCKED: another program has been publishing to"):
            other.result()
    assert list(tmp_path.iterdir()) == []


def test_a_reader_between_the_two_renames_leaves_the_new_bundle_alone(
    model_dir, tmp_path, monkeypatch
):
    """It reads the old one where that stands: who only reads renames nothing."""
    place, partial = tmp_path / "tiny", tmp_path / ".tiny.1.partial"
    shutil.copytree(model_dir, place)
    shutil.copytree(model_dir, partial)
    about = json.loads((place / "bundle.json").read_text(encoding="utf-8"))
    files = {name: (place / name).read_bytes() for name in about["files"]}
    for name in ("schema", "files", "checksum"):
        del about[name]
    new = about["version"] + 1
    (partial / "bundle.json").write_bytes(bundle.describe(files, {**about, "version": new}))
    rename, seen = Path.replace, []

    def replace(self, target):
        if self == partial:
            seen.append(bundle.load(place).about["version"])
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    bundle.publish(partial, place)
    assert seen == [new - 1]
    assert bundle.load(place).about["version"] == new
    assert [p.name for p in tmp_path.iterdir()] == ["tiny"]


def test_a_bundle_that_is_replaced_while_it_is_read_is_read_again(model_dir, tmp_path, monkeypatch):
    place = tmp_path / "tiny"
    shutil.copytree(model_dir, place)
    read, tries = bundle._read, []

    def torn(path):
        tries.append(path)
        if len(tries) < 3:  # another takes its place meanwhile
            shutil.copytree(place, tmp_path / f"n{len(tries)}")
            place.rename(tmp_path / f"o{len(tries)}")
            (tmp_path / f"n{len(tries)}").rename(place)
            raise ModelError("MODEL_CORRUPT", "half of either")
        return read(path)

    monkeypatch.setattr(bundle, "_read", torn)
    assert bundle.load(place).labels == LABELS
    assert len(tries) == 3
    (place / "README.md").write_text("other", encoding="utf-8")
    with pytest.raises(ModelError, match="MODEL_CORRUPT"):
        bundle.load(place)
    assert len(tries) == 4


def test_a_new_bundle_that_cannot_take_its_place_leaves_the_old_one_there(
    model_dir, tmp_path, monkeypatch
):
    place, partial = tmp_path / "tiny", tmp_path / ".tiny.1.partial"
    shutil.copytree(model_dir, place)
    shutil.copytree(model_dir, partial)
    rename = Path.replace

    def replace(self, target):
        if self == partial:
            raise PermissionError(13, "in use")
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(DataError, match="CANNOT_WRITE"):
        bundle.publish(partial, place)
    assert bundle.load(place).path == place


def test_cut_off_between_the_two_renames_the_old_bundle_comes_back(published, tmp_path):
    _, config, catalog, _ = published
    place = tmp_path / "tiny"
    shutil.copytree(published[0] / "models" / "tiny", tmp_path / ".tiny.previous")
    assert bundle.load(place).about["version"] == 1
    assert [p.name for p in tmp_path.iterdir()] == [".tiny.previous"]  # reading moves nothing
    assert export(catalog, config, place)["version"] == 2
    assert [p.name for p in tmp_path.iterdir()] == ["tiny"]


def test_a_bundle_is_a_start_for_training(published):
    from bear_classifier.learn import backbone

    root, config, _, _ = published
    place = root / "models" / "tiny"
    settings = config.learn.__class__(config.learn.arch, str(place), 64, "cpu")
    body = backbone.build_body(settings, seed=99)
    other = backbone.bare_body(config.learn.arch)
    assert backbone.weights_digest(body) == backbone.weights_digest(
        other
    )  # leave_training starts from bare_body


def test_another_training_gives_another_bundle_with_the_same_pictures(published, tmp_path):
    root, config, _, _ = published
    catalog = trained_dataset(tmp_path / "data", config, seed=1)
    export(catalog, config, tmp_path / "tiny")
    one, two = (
        bundle.load(p).about["files"] for p in (root / "models" / "tiny", tmp_path / "tiny")
    )
    assert one["model.onnx"] != two["model.onnx"]
    assert one["golden/00.jpeg"] == two["golden/00.jpeg"]


def test_weights_in_half_precision_are_half_and_the_head_is_exact(tmp_path):
    """A training goes on from them, and the report knows the model all the same."""
    config = tiny_config(export={"parity": 1, "weights": "fp16"})
    catalog = trained_dataset(tmp_path / "data", config)
    export(catalog, config, tmp_path / "tiny")
    trained = load_file(tmp_path / "data" / "train" / "weights.safetensors")
    halved = load_file(tmp_path / "tiny" / "weights.safetensors")
    assert trained.keys() == halved.keys()
    for name, tensor in trained.items():
        if name.startswith("head."):
            assert torch.equal(tensor, halved[name])
        elif tensor.is_floating_point():
            assert halved[name].dtype == torch.float16
            assert torch.allclose(tensor, halved[name].float(), rtol=1e-3, atol=1e-6)
    made = bundle.load(tmp_path / "tiny")
    assert belongs(catalog, made.about)["weights"]
    settings = dataclasses.replace(config.learn, weights=str(tmp_path / "tiny"))
    body = backbone.build_body(settings, 0)
    assert all(parameter.dtype == torch.float32 for parameter in body.parameters())


def test_a_card_quotes_the_note_and_a_note_that_is_not_there_is_said(tmp_path):
    note = tmp_path / "note.md"
    note.write_text("## What it is not for\n\nFor nothing that matters.\n", encoding="utf-8")
    config = tiny_config(export={"parity": 1, "note": str(note)})
    catalog = trained_dataset(tmp_path / "data", config)
    export(catalog, config, tmp_path / "tiny")
    text = (tmp_path / "tiny" / "README.md").read_text(encoding="utf-8")
    assert "\n\n## What it is not for\n\nFor nothing that matters.\n\n## When it gives" in text
    gone = tiny_config(export={"parity": 1, "note": str(tmp_path / "gone.md")})
    with pytest.raises(ConfigError, match="NO_NOTE: export.note = .*gone.md' cannot be read"):
        export(catalog, gone, tmp_path / "tiny")

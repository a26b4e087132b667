"""The second look of cleaning: larger pictures, the same weights, no leak, and both looks' mean."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bundles import LABELS, tiny_config
from judging import judged
from safetensors.torch import save_file
from training import probed

from bear_classifier import pipeline
from bear_classifier.config.settings import Config
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.decisions import decide, decided
from bear_classifier.dataset.photo_columns import Hashes
from bear_classifier.dataset.schema import Decision
from bear_classifier.errors import ConfigError, DataError
from bear_classifier.images.preprocessing import Preprocessing
from bear_classifier.judge import clean as clean_module
from bear_classifier.judge import second_look as second_look_module
from bear_classifier.judge.clean import open_suspects
from bear_classifier.judge.predictions import load_evidence
from bear_classifier.judge.second_look import (
    LOOK_FILE,
    SecondLook,
    can_look_again,
    larger_size,
    look_again,
    second_look,
)
from bear_classifier.learn import backbone, probe
from bear_classifier.learn.architectures import any_size, architecture
from bear_classifier.learn.data import batches
from bear_classifier.report.stage_lines import stage_text
from bear_classifier.runtime import shards
from bear_classifier.runtime.npz import as_npz
from bear_classifier.stats import arrays, linear_probe
from bear_classifier.stats.fault_model import principal_components, within_class

SIZE = 96  # pixels, of the second look


def config_of(root: Path, **tables: dict[str, Any]) -> Config:
    """A network whose weights are a file, as those of a trained one would be."""
    learn = {"weights": str(root / "weights.safetensors")} | tables.pop("learn", {})
    return tiny_config(
        learn=learn, clean={"size": SIZE} | tables.pop("clean", {}), probe={"folds": 2}, **tables
    )


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 drawn photos with a first model."""
    from torchvision.models import squeezenet1_1

    root = tmp_path_factory.mktemp("looked")
    torch.manual_seed(3)
    save_file(squeezenet1_1(weights=None).state_dict(), root / "weights.safetensors")
    probed(root / "data", config_of(root)).close()
    return root


@pytest.fixture
def root(prepared: Path, tmp_path: Path) -> Path:
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture
def catalog(root: Path) -> Iterator[Catalog]:
    with Catalog(root / "data") as opened:
        yield opened


@pytest.fixture(scope="module")
def after_it(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same dataset, looked at a second time."""
    folder = tmp_path_factory.mktemp("twice")
    shutil.copytree(prepared, folder, dirs_exist_ok=True)
    with Catalog(folder / "data") as catalog:
        assert look_again(catalog, config_of(folder))
    return folder


@pytest.fixture
def looked(after_it: Path, root: Path) -> Iterator[Catalog]:
    shutil.copytree(after_it / "data", root / "looked")
    with Catalog(root / "looked") as opened:
        yield opened


def names_of(catalog: Catalog) -> list[str]:
    return load_evidence(catalog.root).sha256


def look_of(catalog: Catalog, names: list[str] | None = None) -> SecondLook | None:
    hashes = Hashes.of(names or names_of(catalog))
    return second_look(catalog.root, hashes, np.ones(len(hashes), dtype=bool))


def of_second(catalog: Catalog) -> np.ndarray:
    found = look_of(catalog)
    assert found is not None
    return found.probabilities


@pytest.mark.parametrize(
    ("size", "larger"), [(64, 96), (128, 160), (160, 192), (224, 288), (260, 320), (1000, 1248)]
)
def test_a_quarter_more_and_at_least_one_step(size: int, larger: int) -> None:
    assert larger_size(size) == larger


def test_the_same_weights_see_whole_photos_in_larger_squares(catalog: Catalog, root: Path) -> None:
    config = config_of(root)
    names = names_of(catalog)
    assert look_of(catalog, names) is None
    assert look_again(catalog, config)
    found = look_of(catalog, names)
    assert found is not None
    learn = dataclasses.replace(config.learn, size=SIZE, crop=1.0)
    body = backbone.build_body(learn, config.train.seed).eval()
    photos = {photo.sha256: photo for photo in catalog.photos("ok")}
    files = [catalog.file(photos[name]) for name in names]
    shape = Preprocessing(SIZE, interpolation=backbone.weights.preprocessing(learn).interpolation)
    with torch.inference_mode():
        wanted = torch.cat([body(batch).mean((2, 3)) for batch in batches(files, shape, 8)])
    np.testing.assert_allclose(found.features[:], wanted.numpy(), atol=1e-4)
    np.testing.assert_allclose(found.probabilities.sum(1), 1, atol=1e-6)
    assert not np.allclose(found.probabilities, load_evidence(catalog.root).probabilities)


def test_both_looks_count_alike_and_the_order_learns_from_the_larger(
    catalog: Catalog, looked: Catalog, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(root)
    one = judged(catalog, config, {})
    catalog = looked
    assert not look_again(catalog, config)  # once is enough
    both = judged(catalog, config, {})
    found = look_of(catalog, both.hashes.some(np.arange(len(both))))
    assert found is not None
    np.testing.assert_allclose(both.probabilities, (one.probabilities + found.probabilities) / 2)
    rows, targets = np.arange(len(both)), both.evidence.before
    doubt = 1 - found.probabilities[rows, targets]
    np.testing.assert_allclose(both.scores[:, 0], np.sqrt(one.scores[:, 0] * doubt))
    known = both.evidence.known
    components = principal_components(found.features[:], known)
    alone = clean_module.outlier(
        found.features[:], components, targets, both.evidence.families, known, None
    )
    assert np.abs(alone - one.scores[:, 1]).max() > 0.01
    monkeypatch.setattr(clean_module, "outlier", lambda features, *rest: features[:].sum(1))
    both = judged(catalog, config, {})
    first = load_evidence(catalog.root)
    order = np.argsort(np.array(first.sha256))
    sums = first.features[:].sum(1)[order], found.features[:].sum(1)
    np.testing.assert_allclose(both.scores[:, 1], np.sqrt(sums[0] * sums[1]), rtol=1e-5)
    np.testing.assert_allclose(
        both.evidence.features, within_class(components, targets, known), atol=1e-5
    )


def test_test_photos_teach_it_nothing(root: Path) -> None:
    """Their labels are other ones when the photos are looked at; a first model is kept."""
    found = []
    for turn in (False, True):
        folder = root / f"twin {turn}"
        shutil.copytree(root / "data", folder)
        with Catalog(folder) as catalog:
            evidence = load_evidence(folder)
            split = {photo.sha256: photo.split for photo in catalog.photos("ok")}
            of_test = np.array([split[name] == "test" for name in evidence.sha256])
            labels = np.array(evidence.labels)
            labels[of_test] = LABELS[0] if turn else labels[of_test]
            path = folder / "probe" / "probabilities.npz"
            with np.load(path) as file:
                arrays = dict(file) | {"labels": labels}
            path.write_bytes(as_npz(**arrays))
            look_again(catalog, config_of(root))
            found.append(of_second(catalog))
    assert of_test.any() and not of_test.all()
    np.testing.assert_array_equal(*found)


def test_another_first_model_is_not_mixed_with_it(looked: Catalog, root: Path) -> None:
    catalog, config = looked, config_of(root)
    path = catalog.root / "probe" / "probabilities.npz"
    with np.load(path) as file:
        arrays = dict(file)
    arrays["second"] = arrays["second"][:, ::-1]
    path.write_bytes(as_npz(**arrays))
    assert look_of(catalog) is None
    once = judged(catalog, config, {})
    (catalog.root / LOOK_FILE).unlink()
    np.testing.assert_array_equal(once.scores, judged(catalog, config, {}).scores)


@pytest.mark.parametrize("damage", [b"", b"PK", "cut"])
def test_a_damaged_file_is_as_none(looked: Catalog, damage: bytes | str) -> None:
    path = looked.root / LOOK_FILE
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if isinstance(damage, str) else damage)
    assert look_of(looked) is None


def test_a_file_that_is_gone_is_made_anew_as_it_was(looked: Catalog, root: Path) -> None:
    path = looked.root / LOOK_FILE
    whole = path.read_bytes()
    path.unlink()
    assert look_again(looked, config_of(root))
    assert path.read_bytes() == whole


def test_the_list_is_renewed_when_photos_were_looked_at(catalog: Catalog, root: Path) -> None:
    config = config_of(root)
    assert clean_module.clean(catalog, config)["looks"] == 1
    before = open_suspects(catalog, config).every(catalog)
    look_again(catalog, config)
    after = open_suspects(catalog, config).every(catalog)
    assert clean_module.clean(catalog, config)["looks"] == 2
    assert open_suspects(catalog, config).judged.looks == 2
    assert {s.sha256: s.probabilities for s in before} != {s.sha256: s.probabilities for s in after}


def test_photos_that_were_dropped_are_looked_at_as_well(catalog: Catalog, root: Path) -> None:
    """They teach the order, dropped before the look or after it."""
    config = config_of(root)
    name = names_of(catalog)[0]
    decide(catalog, LABELS, [Decision(name, "drop", score=0.9)], "ann", "1")
    look_again(catalog, config)
    found = judged(catalog, config, decided(catalog))
    assert found.hashes.row(name) is not None
    assert look_of(catalog, found.hashes.some(np.arange(len(found)))) is not None


NO_MORE = {
    "never trained": {"learn": {"weights": "none"}},
    "no larger": {"clean": {"size": 64}},
}


@pytest.mark.parametrize("why", NO_MORE)
def test_where_it_would_show_nothing_more(catalog: Catalog, root: Path, why: str) -> None:
    config = config_of(root, **NO_MORE[why])
    assert not look_again(catalog, config)
    assert not (catalog.root / LOOK_FILE).exists()
    assert not clean_module.clean(catalog, config)["can_look_again"]


def test_weights_for_one_size_only(
    catalog: Catalog, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("vit_tiny_patch16_224", "tf_efficientnet_lite2", "resnet34")
    assert [any_size(architecture(name)) for name in names] == [False, True, True]
    monkeypatch.setattr("bear_classifier.learn.architectures.any_size", lambda made: False)
    assert not look_again(catalog, config_of(root))
    assert not can_look_again(config_of(root), 24)


def test_without_the_weights_one_look_has_to_do(
    catalog: Catalog, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = config_of(root)
    (root / "weights.safetensors").unlink()
    assert not look_again(catalog, config)
    assert "No second look: " in capsys.readouterr().err
    summary = clean_module.clean(catalog, config)
    assert (summary["looks"], summary["can_look_again"]) == (1, True)  # they may come back


def test_without_the_bundle_it_is_not_offered(catalog: Catalog, root: Path) -> None:
    (root / "emptied").mkdir()
    config = config_of(root, learn={"weights": str(root / "emptied"), "size": 0})
    assert config.learn.is_bundle
    assert not clean_module.clean(catalog, config)["can_look_again"]


def test_very_many_photos_only_if_a_size_was_given(
    catalog: Catalog, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(second_look_module, "_MOST", 10)
    none = config_of(root, clean={"size": 0})
    assert not look_again(catalog, none) and not can_look_again(none, 24)
    assert look_again(catalog, config_of(root, clean={"size": SIZE}))


def test_it_is_taken_where_cleaning_is_what_was_asked_for(
    catalog: Catalog, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = list[str]()
    monkeypatch.setattr(second_look_module, "look_again", lambda *_: bool(looked.append("look")))
    for stage in pipeline.STAGES:
        for until in pipeline.NAMES:
            pipeline._looked_again(
                pipeline.Project(config_of(root), root, root), catalog, stage, until
            )
    assert looked == ["look"]


def test_a_step_that_is_the_last_looks_again_and_judges_anew(catalog: Catalog, root: Path) -> None:
    project = pipeline.Project(config_of(root), catalog.root, root / "model")
    stage = pipeline.STAGES[pipeline.NAMES.index("clean")]
    once = pipeline._step(project, catalog, stage, False, "train")
    twice = pipeline._step(project, catalog, stage, False, "clean")
    again = pipeline._step(project, catalog, stage, False, "clean")
    assert [once["looks"], twice["looks"], again["outcome"]] == [1, 2, "up to date"]
    assert [once["can_look_again"], twice["can_look_again"]] == [True, False]
    assert "after a second look" in stage_text("clean", twice)
    assert "after a second look" not in stage_text("clean", once)
    assert "run: bears clean" in stage_text("clean", once)
    assert "run: bears clean" not in stage_text("clean", twice)


# what happens meanwhile


def test_stopped_between_looking_and_judging_it_is_judged_next(
    catalog: Catalog, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = pipeline.Project(config_of(root), catalog.root, root / "model")
    stage = pipeline.STAGES[pipeline.NAMES.index("clean")]
    pipeline._step(project, catalog, stage, False, "train")

    def stop(*_: Any) -> None:
        raise DataError("DISK_FULL", "no space left")

    with monkeypatch.context() as stopped:
        stopped.setattr(clean_module, "clean", stop)
        with pytest.raises(DataError):
            pipeline._step(project, catalog, stage, False, "clean")
    assert (catalog.root / LOOK_FILE).exists()
    assert pipeline._step(project, catalog, stage, False, "train")["outcome"] == "up to date"
    assert pipeline._step(project, catalog, stage, False, "clean")["looks"] == 2
    assert pipeline._step(project, catalog, stage, False, "clean")["outcome"] == "up to date"


def test_another_size_is_another_look(looked: Catalog, root: Path) -> None:
    before = of_second(looked)
    assert look_again(looked, config_of(root, clean={"size": 128}))
    assert not np.array_equal(of_second(looked), before)
    assert not look_again(looked, config_of(root, clean={"size": 128}))
    assert look_again(looked, config_of(root, clean={"size": 64}))  # one look is enough
    assert not (looked.root / LOOK_FILE).exists()
    assert not look_again(looked, config_of(root, clean={"size": 64}))


@pytest.mark.parametrize("cut", [True, False])
def test_damaged_features_are_made_anew(
    catalog: Catalog, root: Path, monkeypatch: pytest.MonkeyPatch, cut: bool
) -> None:
    monkeypatch.setattr(shards, "SHARD_ROWS", 8)
    looked, _ = catalog, look_again(catalog, config_of(root))
    before, found = of_second(looked), look_of(looked)
    assert found is not None
    *_, file = shards.files(looked.root / "features" / found.file)
    data = file.read_bytes()
    file.write_bytes(data[:-9] if cut else data[:-900] + bytes(900))
    assert (look_of(looked) is None) == cut
    assert judged(looked, config_of(root), {}).looks == (1 if cut else 2)
    assert look_again(looked, config_of(root))
    assert file.read_bytes() == data
    np.testing.assert_array_equal(of_second(looked), before)


def test_a_dropped_photo_without_its_file_is_left_out(catalog: Catalog, root: Path) -> None:
    config, name = config_of(root), names_of(catalog)[0]
    decide(catalog, LABELS, [Decision(name, "drop", score=0.9)], "ann", "1")
    (photo,) = catalog.photos_of([name])
    catalog.file(photo).unlink()
    assert look_again(catalog, config)
    found = judged(catalog, config, decided(catalog))
    assert (found.looks, len(found), found.hashes.row(name)) == (2, 23, None)


def test_photos_that_it_does_not_have(looked: Catalog, root: Path) -> None:
    """Of a dropped one nothing is said; without one in use there was no second look."""
    config, name = config_of(root), names_of(looked)[3]
    path = looked.root / LOOK_FILE
    with np.load(path) as file:
        arrays = dict(file)
    others = arrays["sha256"] != name
    path.write_bytes(as_npz(**arrays | {k: arrays[k][others] for k in ("sha256", "probabilities")}))
    assert judged(looked, config, {}).looks == 1
    decide(looked, LABELS, [Decision(name, "drop", score=0.9)], "ann", "1")
    found = judged(looked, config, decided(looked))
    assert (found.looks, len(found), found.hashes.row(name)) == (2, 23, None)
    assert look_again(looked, config)  # of the dropped one as well
    assert judged(looked, config, decided(looked)).hashes.row(name) is not None


def test_a_network_that_refuses_the_size(
    catalog: Catalog,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refuse(code: str) -> None:
        def build(*_: Any) -> None:
            raise ConfigError(code, "learn.size = 96 does not fit; set another learn.size")

        monkeypatch.setattr(backbone, "build_body", build)

    refuse("BAD_SETTING")
    assert not look_again(catalog, config_of(root))
    said = capsys.readouterr().err
    assert "No second look: BAD_SETTING: learn.size = 96 does not fit" in said
    assert "set another" not in said  # that would be for the first look
    refuse("NO_DEVICE")
    with pytest.raises(ConfigError, match="NO_DEVICE"):
        look_again(catalog, config_of(root))


def test_of_very_many_photos_it_learns_from_a_sample(
    catalog: Catalog, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned = list[int]()

    def two_rounds(strength: float, features: Any, labels: Any, groups: Any, known: Any, n: int):
        learned.append(int(known.sum()))
        return real(strength, features, labels, groups, known, n)

    real = linear_probe.two_rounds
    monkeypatch.setattr(linear_probe, "two_rounds", two_rounds)
    monkeypatch.setattr(probe, "LEARNED", 12)
    monkeypatch.setattr(arrays, "IN_MEMORY", 5)
    assert look_again(catalog, config_of(root))
    assert learned == [12]

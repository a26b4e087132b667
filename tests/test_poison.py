"""The test split takes no part in what makes or chooses a model, and what is learned from takes
none of validation: other labels and noise for pixels there change not one byte."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from judging import suspects
from poison import Fits, config_of, differing, digest, judged, of_others, poisoned, prepare, trained

from bear_classifier.config.settings import Config
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.images import decoder
from bear_classifier.judge import leave_source_out, out_of_sample
from bear_classifier.judge.evaluate import evaluate
from bear_classifier.learn import checkpoints, data, int8, source_holdout
from bear_classifier.learn import probe as probe_module
from bear_classifier.learn.probe import probe
from bear_classifier.learn.train import train
from bear_classifier.runtime.npz import as_npz
from bear_classifier.ship import acceptance
from bear_classifier.ship.bundle import load
from bear_classifier.ship.export import export
from bear_classifier.ship.predict import Model

Sides = tuple[Path, Path]  # a dataset, and the same with its test split poisoned


@pytest.fixture(autouse=True)
def one_way_to_compute(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One thread; so few photos are enough for a rehearsal and for shortcuts; noise in place of
    what was stored is learned from."""
    monkeypatch.setattr(data, "stored", decoder.read_file)
    monkeypatch.setattr(source_holdout, "_LEAST", 1)
    monkeypatch.setattr(acceptance, "LEAST_PHOTOS", 2)
    monkeypatch.setattr(int8, "milliseconds", lambda networks, image: [2.0, 1.0])
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Sides:
    folder = tmp_path_factory.mktemp("poison")
    prepare(folder / "clean")
    poisoned(folder / "clean", folder / "poisoned", "test")
    return folder / "clean", folder / "poisoned"


def made(root: Path, config: Config, fits: Fits) -> dict[str, Any]:
    """Run the stages that make and choose a model; what they decided."""
    with Catalog(root / "data") as catalog:
        found = probe(catalog, config)
        record = train(catalog, config)
        assert "unseen" in record["mixtures"]
        queue = [s for s in suspects(catalog, config) if s.split != "test"]
        outcome = evaluate(catalog, config)
        return {
            "probe": found,
            "learned from": fits.taken(),
            "queue": queue,
            **trained(catalog, "test"),
            **judged(catalog, outcome),
        }


WAYS = ["last-stage", pytest.param("all", marks=pytest.mark.long)]


@pytest.mark.parametrize("layers", WAYS)
def test_the_test_side_decides_nothing(
    sides: Sides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layers: str
) -> None:
    """Probe, training, rehearsals, mixture, cleaning and evaluation: all that they leave, but for
    what is said of the photos of the test split."""
    fits, config, found = Fits(monkeypatch), config_of(sides[0], train={"layers": layers}), []
    for root in sides:
        shutil.copytree(root, tmp_path / root.name)
        found.append(made(tmp_path / root.name, config, fits))
    assert differing(*found) == set()
    left = [tmp_path / root.name / "data" / "train" / "predictions.npz" for root in sides]
    with Catalog(tmp_path / "clean" / "data") as catalog:  # what was planted did arrive
        assert differing(*(of_others(catalog, "train", path) for path in left))


@pytest.mark.long
@pytest.mark.parametrize("layers", ["all", "last-stage"])
def test_a_bundle_is_the_same_whatever_the_test_side_shows(
    sides: Sides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layers: str
) -> None:
    """Byte by byte; only bundle.json, its card and the notes in complete.onnx state what was found
    on the test split."""
    config, bundles = config_of(sides[0], train={"layers": layers}, export={"parity": 30}), []
    for root in sides:
        shutil.copytree(root, tmp_path / root.name)
        with Catalog(tmp_path / root.name / "data") as catalog:
            for stage in (probe, train, evaluate):
                stage(catalog, config)
            export(catalog, config, tmp_path / root.name / "tiny")
        bundles.append(load(tmp_path / root.name / "tiny"))
    files = [{f.relative_to(b.path): f.read_bytes() for f in b.path.rglob("*") if f.is_file()}
             for b in bundles]  # fmt: skip
    graphs = [onnx.load_from_string(found.pop(Path("complete.onnx"))) for found in files]
    assert graphs[0].graph == graphs[1].graph
    assert {str(name) for name in differing(*files)} == {"README.md", "bundle.json"}
    stated = {"membership", "created", "checksum", "files", "parity"}
    about = [{k: v for k, v in bundle.about.items() if k not in stated} for bundle in bundles]
    for one in about:
        del one["metrics"]["test"], one["rejection"]["test"], one["data"]["fingerprint"]
        del one["complete"]["bytes"]  # with its notes
    assert differing(*about) == set()


def predictions(catalog: Catalog, config: Config, of_test: int, chosen: str) -> None:
    """What a training may leave: answers of which temperature, rule and reference are numbers
    between their bounds. of_test: seed of what is said of photos of the test split."""
    photos = catalog.photos("ok")
    dice, other = np.random.default_rng(1), np.random.default_rng(of_test)
    logits, pooled = np.zeros((len(photos), 3)), dice.normal(size=(len(photos), 8))
    checked = 0
    for row, photo in enumerate(photos):
        answer = config.labels.index(photo.label)
        if photo.split == "test":
            pooled[row], answer = other.normal(size=8), int(other.integers(3))
        elif photo.split == "valid":
            checked += 1
            answer = (answer + (checked > 4)) % 3  # two of six are wrong
        logits[row, answer] = other.uniform(0, 9) if photo.split == "test" else 3
    (catalog.root / "train").mkdir(exist_ok=True)
    (catalog.root / "train" / "predictions.npz").write_bytes(
        as_npz(
            sha256=np.array([p.sha256 for p in photos]),
            logits=logits.astype(np.float32),
            pooled=pooled.astype(np.float32),
            chosen=np.array(chosen),
        )
    )


@pytest.mark.parametrize(("chosen", "basis"), [("tuned", "valid"), ("probe", "sources")])
def test_evaluation_chooses_nothing_by_the_test_side(
    sides: Sides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chosen: str, basis: str
) -> None:
    monkeypatch.setattr(out_of_sample, "LEAST_GROUPS", 5)
    monkeypatch.setattr(leave_source_out, "_LEAST", 1)  # each source is a part of its own
    config, found, of_test = config_of(sides[0]), [], []
    for number, root in enumerate(sides):
        shutil.copytree(root, tmp_path / root.name)
        with Catalog(tmp_path / root.name / "data") as catalog:
            probe(catalog, config)
            predictions(catalog, config, number, chosen)
            outcome = evaluate(catalog, config)
            found.append(judged(catalog, outcome))
            of_test.append(outcome["test"])
    assert differing(*found) == set()
    assert of_test[0] != of_test[1]
    assert found[0]["rejection"]["basis"] == found[0]["temperature_fit"]["basis"] == basis
    assert found[0]["rejection"]["least"] is not None
    assert found[0]["elsewhere"] is not None
    if chosen == "probe":
        assert found[0]["rejection"]["elsewhere"] is not None
        return
    assert found[0]["temperature"] == pytest.approx(3 / np.log(4), rel=1e-3)  # by hand: 2/3 right
    assert found[0]["rejection"]["close"] == pytest.approx(0.5, rel=1e-3)  # 2/3 against 1/6


def test_integers_and_decoding_are_not_chosen_by_the_test_side(
    sides: Sides, model_dir: Path
) -> None:
    proved, config = Model(load(model_dir)), config_of(sides[0])
    taken = []
    for root in sides:
        with Catalog(root / "data") as catalog:
            taken.append(dataclasses.asdict(acceptance.take(catalog, config, proved)))
    assert differing(*taken) == set()
    assert taken[0]["precision"]["photos"] == 6  # of validation: both were tried
    assert taken[0]["decoding"]["photos"] > 0


@pytest.mark.parametrize("layers", ["all", pytest.param("last-stage", marks=pytest.mark.long)])
def test_nothing_is_learned_from_validation(
    sides: Sides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layers: str
) -> None:
    """Validation chooses the epoch, the mixture, the temperature, the rule and the form of export,
    and takes part in out-of-fold answers for cleaning. The first head and its penalty, the weights
    after each epoch, moments of the optimizer and random numbers included, of the training and of
    both rehearsals, are the same whatever its labels and pixels are."""
    poisoned(sides[0], tmp_path / "poisoned", "valid")
    shutil.copytree(sides[0], tmp_path / "clean")
    config, fits, found = config_of(sides[0], train={"layers": layers}), Fits(monkeypatch), []
    real_strength, states, strengths = probe_module.strength_of, dict[Any, Any](), list[Any]()

    def strength(*args: Any) -> float:
        strengths.append([digest(part) for part in args if isinstance(part, np.ndarray)])
        return real_strength(*args)

    def keep(folder: Path, made_from: str, state: checkpoints.State) -> None:
        of_training = {
            k: t for k, t in state.tensors.items() if not k.startswith(("best.", "valid."))
        }
        states[folder.name, state.epoch] = {k: digest(t.numpy()) for k, t in of_training.items()}

    monkeypatch.setattr(probe_module, "strength_of", strength)
    monkeypatch.setattr(checkpoints, "write_checkpoint", keep)
    for root in (tmp_path / "clean", tmp_path / "poisoned"):
        with Catalog(root / "data") as catalog:
            first = probe(catalog, config)
            fits.taken()
            record = train(catalog, config)
            head = (catalog.root / "probe" / "head.npz").read_bytes()
        found.append(
            {"head": head, "strength": first["strength"], "rehearsals": fits.taken()}
            | {"strengths": strengths[:], "lr": record["lr"], "states": dict(states)}
            | {"train loss": [row["train_loss"] for row in record["history"]]}
        )
        found[-1]["of validation"] = [row["valid_loss"] for row in record["history"]]
        states.clear(), strengths.clear()
    assert differing(*found) == {"of validation"}
    told = [one.pop("of validation") for one in found]
    assert all(a != b for a, b in zip(*told, strict=True))  # epochs are compared by its loss
    assert len(found[0]["states"]) == 6  # two epochs of one training and two rehearsals

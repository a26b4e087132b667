"""The rehearsal: what it learns from shares no source with what it is asked for."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bundles import LABELS, tiny_config
from corpus import ROOT
from engine_tasks import train_small_half
from training import changed, dataset, same, weights

from bear_classifier.config.settings import Config, EngineConfig
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.decisions import relabel
from bear_classifier.dataset.schema import Photo
from bear_classifier.dataset.sources import sites
from bear_classifier.engine.choice import close_engine
from bear_classifier.judge.predictions import load_predictions
from bear_classifier.learn import finetune, fit, source_holdout, weight_interpolation
from bear_classifier.learn.data import Unreadable
from bear_classifier.learn.features import cached_features
from bear_classifier.learn.probe import probe
from bear_classifier.learn.train import start, train
from bear_classifier.learn.trainable_part import Whole

Prepared = tuple[Catalog, Config]


def config_of(folder: Path) -> Config:
    return tiny_config(
        train={"batch_size": 4, "epochs": 1, "lr": 0.01},
        split={"sources": str(folder / "sources.tsv")},
        probe={"folds": 2},
    )


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """18 photos to learn and to validate with, in three sources, all classes in each."""
    folder = tmp_path_factory.mktemp("original")
    config = config_of(folder)
    with dataset(folder / "data", config) as catalog:
        seen: dict[tuple[str, str | None], int] = {}
        lines = ["path\tsource"]
        for photo in sorted(catalog.photos("ok"), key=lambda p: p.sha256):
            kind = photo.label, photo.split
            seen[kind] = seen.get(kind, -1) + 1
            lines.append(f"{photo.origin}\tsource {seen[kind] % 3}")
        (folder / "sources.tsv").write_text("\n".join(lines), encoding="utf-8")
        probe(catalog, config)
    return folder


@pytest.fixture
def prepared(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Prepared]:
    """A copy for the test."""
    monkeypatch.setattr(source_holdout, "_LEAST", 1)
    shutil.copytree(original, tmp_path, dirs_exist_ok=True)
    with Catalog(tmp_path / "data") as catalog:
        yield catalog, config_of(tmp_path)


def source_of(catalog: Catalog, config: Config) -> dict[str, str]:
    photos = catalog.photos("ok")
    found = sites(catalog, photos, config.split.sources)
    return {photo.sha256: source for photo, source in zip(photos, found, strict=True)}


def test_no_source_and_no_copy_stands_in_both_halves(prepared: Prepared) -> None:
    catalog, config = prepared
    actors = source_holdout.held_out_sources(catalog, config)
    assert actors is not None
    assert actors.sources == 3
    assert {p.split for p in actors.photos} == {"train", "valid"}
    of, sides = source_of(catalog, config), [set[str](), set[str]()]
    for photo, half in zip(actors.photos, actors.half, strict=True):
        sides[half].add(of[photo.sha256])
    assert sides[0] and sides[1]
    assert not sides[0] & sides[1]
    one, two = (next(p for p, h in zip(actors.photos, actors.half, strict=True) if h == half)
                for half in (0, 1))  # fmt: skip
    with catalog.transaction():
        catalog.put_photos([dataclasses.replace(one, group=two.group)])
    tied = source_holdout.held_out_sources(catalog, config)
    if tied is not None:
        half = {p.sha256: h for p, h in zip(tied.photos, tied.half, strict=True)}
        assert half[one.sha256] == half[two.sha256]


@pytest.mark.parametrize(("scenes", "possible"), [(12, True), (2, True), (1, False)])
def test_no_half_learns_a_class_of_one_group_of_near_copies(
    tmp_path: Path, make: Any, scenes: int, possible: bool
) -> None:
    """12 photos of each class and source to learn from; those of one class in one source are of so
    many scenes. Its penalty could not be chosen, and the whole training would end."""
    rows = []
    for i in range(12 * 3 * 2):
        one, rest = divmod(i, 6)
        scene = one % scenes if rest == 0 else one
        rows.append(
            make(i, label=LABELS[rest // 2], split="train", origin=f"/p/{i}.png",
                 group=f"{rest}-{scene}")
        )  # fmt: skip
    rows += [make(72 + i, label=LABELS[i % 3], split="valid", origin=f"/p/{72 + i}.png")
             for i in range(12)]  # fmt: skip
    lines = "".join(f"{row.origin}\tsource {n % 2}\n" for n, row in enumerate(rows))
    (tmp_path / "sources.tsv").write_text(f"path\tsource\n{lines}", encoding="utf-8")
    with Catalog(tmp_path / "data") as catalog:
        with catalog.transaction():
            catalog.put_photos(rows)
        found = source_holdout.held_out_sources(catalog, config_of(tmp_path))
        assert (found is not None) == possible
        assert len(source_holdout.why_not_validated(catalog, config_of(tmp_path))) == 1


@pytest.mark.parametrize("seed", range(5))
def test_labels_of_validation_cut_no_halves(
    tmp_path: Path, make: Any, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """What is learned from in which half would follow from them."""
    monkeypatch.setattr(source_holdout, "_LEAST", 1)
    dice = np.random.default_rng(seed)
    rows = [
        make(i, label=LABELS[i % 3], split=("train", "valid")[i % 5 > 2], origin=f"/p/{i}.png")
        for i in range(90)
    ]
    table = tmp_path / "sources.tsv"
    table.write_text(
        "path\tsource\n" + "\n".join(f"/p/{i}.png\t{i % 11}" for i in range(90)), encoding="utf-8"
    )
    config = tiny_config(split={"sources": str(table)})
    found = []
    with Catalog(tmp_path / "data") as catalog:
        for labels in ([p.label for p in rows], dice.choice(LABELS, 90)):
            with catalog.transaction():
                catalog.put_photos(
                    dataclasses.replace(p, label=p.label if p.split == "train" else str(label))
                    for p, label in zip(rows, labels, strict=True)
                )
            actors = source_holdout.held_out_sources(catalog, config)
            assert actors is not None
            found.append(actors.half.tolist())
    assert found[0] == found[1]


def test_there_is_none_where_no_source_is_unseen(prepared: Prepared, tmp_path: Path) -> None:
    catalog, config = prepared
    assert (
        source_holdout.held_out_sources(catalog, changed(config, source_validation=False)) is None
    )
    by_source = dataclasses.replace(config.split, by="source")
    assert (
        source_holdout.held_out_sources(catalog, dataclasses.replace(config, split=by_source))
        is None
    )
    nowhere = dataclasses.replace(config.split, sources="")
    assert (
        source_holdout.held_out_sources(catalog, dataclasses.replace(config, split=nowhere)) is None
    )
    table = tmp_path / "sources.tsv"
    table.write_text(
        table.read_text(encoding="utf-8").replace("source 1", "source 0").replace("2", "0"),
        encoding="utf-8",
    )
    assert source_holdout.held_out_sources(catalog, config) is None


def test_that_there_is_none_although_sources_are_named_is_said(
    prepared: Prepared, tmp_path: Path
) -> None:
    catalog, config = prepared
    said = "how the model does on photos of unseen sources cannot be measured: "
    assert source_holdout.why_not_validated(catalog, changed(config, source_validation=False)) == []
    for settings in ({"by": "source"}, {"sources": ""}):
        other = dataclasses.replace(config, split=dataclasses.replace(config.split, **settings))
        assert source_holdout.why_not_validated(catalog, other) == []
    table, told = tmp_path / "sources.tsv", source_holdout.why_not_validated
    assert told(catalog, config) == [f"{said}half of the sources have too few photos of a class"]
    table.write_text(
        table.read_text(encoding="utf-8").replace("source 1", "source 0").replace("2", "0"),
        encoding="utf-8",
    )
    assert told(catalog, config) == [f"{said}all photos whose source is known come from one"]
    table.write_text("path\tsource\nno/photo.png\there\n", encoding="utf-8")
    (note,) = told(catalog, config)
    assert note == f"{said}{table} names the source of none of these photos"


def test_there_is_none_where_a_half_would_lack_a_class(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog, config = prepared
    monkeypatch.setattr(source_holdout, "_LEAST", 10)
    assert source_holdout.held_out_sources(catalog, config) is None


def test_nothing_of_the_asked_sources_is_learned(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog, config = prepared
    actors = source_holdout.held_out_sources(catalog, config)
    assert actors is not None
    network = start(catalog, config)
    features = cached_features(catalog, config, actors.photos, network.body)
    of, seen = source_of(catalog, config), list[tuple[set[str], set[str], int]]()
    real = source_holdout.interpolated_logits

    def spied(*args: Any) -> Any:
        learned = spied_on.pop()
        seen.append(
            ({of[p.sha256] for p in learned}, {of[p.sha256] for p in args[3]}, len(args[3]))
        )
        return real(*args)

    spied_on: list[list[Photo]] = []

    def tuned(*args: Any) -> Any:
        spied_on.append([*args[3], *args[4]])
        return finetune.tune(*args)

    monkeypatch.setattr(source_holdout, "interpolated_logits", spied)
    monkeypatch.setattr(source_holdout, "tune", tuned)
    part = Whole(catalog, network, Unreadable(100))
    found, _ = source_holdout.cross_source_validation(catalog, config, actors, part, features, 0.01)
    assert len(seen) == 2
    assert all(learned and asked and not learned & asked for learned, asked, _ in seen)
    assert found["n"] == len(actors.photos) == sum(n for *_, n in seen)
    assert len(found["calibrated"]) == len(weight_interpolation.ALPHAS)


def test_a_rehearsal_takes_the_rate_of_the_training_in_earnest(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would else seek one of its own, and another training would be asked."""
    catalog, config = prepared
    actors = source_holdout.held_out_sources(catalog, config)
    assert actors is not None
    network, rates = start(catalog, config), list[Any]()

    def tuned(_: Any, config: Config, *rest: Any) -> Any:
        rates.append(config.train.lr)
        raise KeyboardInterrupt

    monkeypatch.setattr(source_holdout, "tune", tuned)
    features = cached_features(catalog, config, actors.photos, network.body)
    part = Whole(catalog, network, Unreadable(100))
    with pytest.raises(KeyboardInterrupt):
        seeking = changed(config, lr="find")
        source_holdout.cross_source_validation(catalog, seeking, actors, part, features, 0.0123)
    assert rates == [0.0123]


def test_the_untuned_share_is_the_probe_of_the_half(prepared: Prepared) -> None:
    catalog, config = prepared
    actors = source_holdout.held_out_sources(catalog, config)
    assert actors is not None
    network = start(catalog, config)
    features = cached_features(catalog, config, actors.photos, network.body)
    part = Whole(catalog, network, Unreadable(100))
    found, _ = source_holdout.cross_source_validation(catalog, config, actors, part, features, 0.01)
    losses = []
    for half in (0, 1):
        mine = actors.half == half
        train_ = np.array([p.split == "train" for p in actors.photos])
        learned = [p for p, m in zip(actors.photos, mine & train_, strict=True) if m]
        network = source_holdout.start_of(catalog, config, learned, features[mine & train_])
        with torch.inference_mode():
            said = network.head[2:](torch.from_numpy(features[~mine])).numpy()
        there = [p for p, m in zip(actors.photos, ~mine, strict=True) if m]
        targets = np.array([config.labels.index(p.label) for p in there])
        losses.append((weight_interpolation.loss(said, targets), len(there)))
    mean = sum(loss * n for loss, n in losses) / sum(n for _, n in losses)
    assert found["loss"][0] == pytest.approx(mean, rel=1e-4)


def test_the_kept_weights_are_the_best_mixture_of_both_questions(prepared: Prepared) -> None:
    catalog, config = prepared
    record = train(catalog, changed(config, epochs=2))
    found = record["mixtures"]
    number = weight_interpolation.best([found["valid"], found["unseen"]])
    assert record["share"] == weight_interpolation.ALPHAS[number]
    assert record["chosen"] == ("tuned" if record["share"] else "probe")
    assert record["valid_wrong"]["kept"] == found["valid"]["wrong"][number]
    left = [path.name for path in (catalog.root / "train").rglob("*.safetensors")]
    assert left == ["weights.safetensors"]


def test_outputs_of_the_halves_are_those_of_the_kept_weights(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of photos of the other half, and of those that were learned from; none where the probe is
    kept."""
    catalog, config = prepared
    halves: list[source_holdout.HalfTraining] = []
    real = source_holdout.cross_source_validation

    def kept(*args: Any) -> Any:
        figures, made = real(*args)
        halves.extend(made)
        return figures, made

    monkeypatch.setattr(source_holdout, "cross_source_validation", kept)
    monkeypatch.setattr(weight_interpolation, "best", lambda figures: 2)
    train(catalog, config)
    found = load_predictions(catalog.root).halves
    assert found is not None
    alpha = weight_interpolation.ALPHAS[2]
    for number, half in enumerate(halves):
        mine = found.network == number
        names = np.array(found.sha256)[mine]
        assert set(names[found.learned[mine]]) == {p.sha256 for p in half.learned}
        assert set(names[~found.learned[mine]]) == {p.sha256 for p in half.unseen}
        state = weight_interpolation.interpolated_state(half.first, half.last, alpha)
        half.part.model.load_state_dict(state)
        photos = [*half.learned, *half.unseen]
        rows, logits, _ = half.part.outputs(photos, config)
        assert [photos[row].sha256 for row in rows] == names.tolist()
        assert found.logits[mine] == pytest.approx(logits, abs=1e-5)
    monkeypatch.setattr(weight_interpolation, "best", lambda figures: 0)
    train(catalog, config)
    assert load_predictions(catalog.root).halves is None


@pytest.mark.long
@pytest.mark.parametrize("number", [1, 3])
def test_a_mixture_that_is_kept_is_what_is_saved(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    catalog, config = prepared
    ends = {}
    for forced in (0, len(weight_interpolation.ALPHAS) - 1, number):
        monkeypatch.setattr(weight_interpolation, "best", lambda asked, forced=forced: forced)
        record = train(catalog, config)
        ends[forced] = weights(catalog)
        assert record["share"] == weight_interpolation.ALPHAS[forced]
    first, last = ends[0], ends[len(weight_interpolation.ALPHAS) - 1]
    assert same(
        ends[number],
        weight_interpolation.interpolated_state(first, last, weight_interpolation.ALPHAS[number]),
    )
    assert not same(first, last)


@pytest.mark.long
def test_broken_off_in_the_rehearsal_nothing_is_trained_twice(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog, config = prepared
    train(catalog, config)
    undisturbed, real = weights(catalog), fit.make_learner
    (catalog.root / "train" / "weights.safetensors").unlink()
    begun = 0

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal begun
        begun += 1
        if begun == 3:  # in earnest, first half, second half
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    trained = 0

    def fitted(self: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal trained
        trained += 1
        return fit_one_cycle(self, *args, **kwargs)

    from fastai.learner import Learner

    fit_one_cycle = Learner.fit_one_cycle
    monkeypatch.setattr(fit, "make_learner", counted)
    monkeypatch.setattr(Learner, "fit_one_cycle", fitted)
    with pytest.raises(KeyboardInterrupt):
        train(catalog, config)
    assert trained == 2
    train(catalog, config)
    assert trained == 3
    assert same(weights(catalog), undisturbed)


@pytest.mark.long
@pytest.mark.ray
def test_workers_of_ray_train_both_halves_as_this_process(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All layers; what somebody decides meanwhile changes nothing."""
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{ROOT / 'tests'}")
    monkeypatch.setattr(source_holdout, "train_half", train_small_half)
    catalog, config = prepared
    config = changed(config, layers="all")
    found: list[Any] = []
    catalog.freeze()
    with Catalog(catalog.root) as other, other.transaction():
        relabel(other, other.photos("ok")[0], "another", "somebody", "")
    for name in ("local", "ray"):
        settings = dataclasses.replace(config, engine=EngineConfig(name))
        record = train(catalog, settings)
        with np.load(catalog.root / "train" / "predictions.npz") as file:
            found.append((record["mixtures"], record["history"], dict(file)))
    close_engine()
    assert found[0][:2] == found[1][:2]
    assert "unseen" in found[0][0]
    for key, values in found[0][2].items():
        assert np.array_equal(values, found[1][2][key]), key
    assert not list((catalog.root / "train").glob("source-half-*"))

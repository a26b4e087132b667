"""Pixel values as the weights want them, in features, training, export and serving."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torchvision
from bundles import tiny_config, trained_dataset
from torchvision.models import GoogLeNet, Inception3

from bear_classifier.config import settings
from bear_classifier.config.settings import Config, LearnConfig
from bear_classifier.dataset import stage_fingerprint
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.images import decoder
from bear_classifier.learn import backbone, data, trainable_part
from bear_classifier.learn.data import (
    CENTRED,
    IMAGENET,
    Augment,
    Unreadable,
    batches,
    dataloaders,
    normalisation,
    normalise,
)
from bear_classifier.learn.probe import cached_features, mean_grey, probe_network, sharpness
from bear_classifier.ship import golden
from bear_classifier.ship.bundle import load
from bear_classifier.ship.export import export
from bear_classifier.ship.predict import Model
from bear_classifier.stages import STAGES

NAMES = torchvision.models.list_models(module=torchvision.models)
PIXELS = np.random.default_rng(0).integers(0, 256, size=(2, 8, 8, 3), dtype=np.uint8)
MOVED = {"googlenet": GoogLeNet, "inception_v3": Inception3}  # within their forward
Prepared = tuple[Catalog, Config, Path]


@pytest.mark.parametrize("arch", NAMES)
def test_values_are_those_that_the_weights_were_trained_with(arch: str) -> None:
    wanted = torchvision.models.get_model_weights(arch).DEFAULT.transforms()
    x = normalise(PIXELS, (tuple(wanted.mean), tuple(wanted.std)))
    if arch in MOVED:  # a body that begins after `transform_input`
        x = MOVED[arch]._transform_input(SimpleNamespace(transform_input=True), x)  # type: ignore[arg-type]
    assert torch.allclose(normalise(PIXELS, normalisation(LearnConfig(arch))), x, atol=1e-5)


def test_networks_that_move_their_input_are_known() -> None:
    """Whatever of torchvision has such a method has a place above."""
    files = {torchvision.models.get_model_builder(name).__module__ for name in NAMES}
    moving = {
        name
        for file in files
        for name, kind in vars(importlib.import_module(file)).items()
        if isinstance(kind, type) and hasattr(kind, "_transform_input")
    }
    assert moving == {kind.__name__ for kind in MOVED.values()}


def test_an_earlier_model_says_itself_what_it_wants(tmp_path: Path) -> None:
    """Bundles of 0.1.0 were made of these networks, too, with the usual values."""
    shape = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    (tmp_path / "bundle.json").write_text(json.dumps({"preprocessing": shape}), encoding="utf-8")
    assert normalisation(LearnConfig("googlenet", str(tmp_path))) == IMAGENET
    shape["mean"] = [0.1, 0.2, 0.3]
    (tmp_path / "bundle.json").write_text(json.dumps({"preprocessing": shape}), encoding="utf-8")
    assert normalisation(LearnConfig("resnet18", str(tmp_path)))[0] == (0.1, 0.2, 0.3)
    assert normalisation(LearnConfig("googlenet", str(tmp_path / "none.pth"))) == CENTRED


# -- the same everywhere: a small network that is said to want other values ----------------------


@pytest.fixture
def centred(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Prepared]:
    monkeypatch.setattr(settings, "_CENTRED", ("squeezenet1_1",))
    config = tiny_config(train={"batch_size": 4, "layers": "last-stage"})
    assert config.learn.centred
    with trained_dataset(tmp_path / "data", config) as catalog:
        yield catalog, config, tmp_path


def test_features_training_and_predictions_see_the_same_values(
    centred: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog, config, _ = centred
    rows = [p for p in catalog.photos("ok") if p.split != "test"]
    files = [catalog.file(photo) for photo in rows]
    x = torch.cat(list(batches(files, 64, 32, norm=CENTRED)))
    net = probe_network(config, None)
    with torch.no_grad():
        logits, pooled, _ = (part.numpy() for part in net.outputs(x))
    assert np.allclose(cached_features(catalog, config, rows, net.body), pooled, atol=1e-4)
    _, said, _ = trainable_part.Whole(catalog, net, Unreadable(100)).outputs(rows, config)
    assert np.allclose(said, logits, atol=1e-3)
    part, _ = trainable_part.part_of(catalog, config, net, rows, Unreadable(100))
    assert isinstance(part, trainable_part.LastStage)
    order = part.outputs(rows, config)
    assert np.allclose(order[1], logits[order[0]], atol=1e-3)
    fit = data.Fit(64)
    fit.split_idx = 0
    monkeypatch.setattr(data, "_augmented", lambda *_: (fit, []))
    augment = Augment(config, torch.device("cpu"))
    views = augment.batch([augment.crop(decoder.decode(file)) for file in files])
    assert torch.allclose(views, x, atol=1e-5)
    pairs = [(file, photo.label) for file, photo in zip(files, rows, strict=True)]
    dls = dataloaders(pairs, pairs, config, torch.device("cpu"))
    valid = torch.cat([batch.as_subclass(torch.Tensor) for batch, _ in dls.valid])
    assert torch.allclose(valid, x, atol=1e-5)


def test_features_of_other_values_are_kept_apart(
    centred: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what was made of them counts as of other settings."""
    catalog, config, _ = centred
    body = backbone.bare_body("squeezenet1_1")
    one = cached_features(catalog, config, catalog.photos("ok"), body)
    now = stage_fingerprint.fingerprint(config, catalog, STAGES)
    first = stage_fingerprint.earlier(config, catalog, STAGES)
    monkeypatch.setattr(settings, "_CENTRED", ())
    other = cached_features(catalog, config, catalog.photos("ok"), body)
    assert not np.allclose(one, other, atol=1e-3)
    assert len(list((catalog.root / "features").glob("*.npz"))) == 2
    assert stage_fingerprint.fingerprint(config, catalog, STAGES) != now
    assert stage_fingerprint.earlier(config, catalog, STAGES) != first


def test_a_bundle_says_what_it_wants_and_answers_as_the_network(centred: Prepared) -> None:
    catalog, config, root = centred
    found = export(catalog, config, root / "tiny")
    about = json.loads((root / "tiny" / "bundle.json").read_bytes())
    assert about["preprocessing"]["mean"] == about["preprocessing"]["std"] == [0.5, 0.5, 0.5]
    assert found["parity"]["n"] == 40
    made = load(root / "tiny")
    Model(made).self_test()
    pixels = np.asarray(decoder.fit_square(decoder.decode(golden.draw_picture(3)[1]), 64)).copy()
    theirs = normalise(pixels[None], CENTRED)[0].numpy()
    assert np.allclose(made.normalise(pixels), theirs, atol=1e-6)


def test_light_and_sharpness_do_not_depend_on_the_values() -> None:
    for kind in (mean_grey, sharpness):
        one, other = (kind(normalise(PIXELS, norm), norm) for norm in (IMAGENET, CENTRED))
        assert np.allclose(one, other, atol=1e-3)

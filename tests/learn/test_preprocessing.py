"""What a photo becomes for the weights: the same in features, training, export and serving."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from bundles import tiny_config, trained_dataset
from PIL import Image
from torchvision.models import GoogLeNet, Inception3

from bear_classifier.config.settings import Config, LearnConfig
from bear_classifier.dataset import stage_fingerprint
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.errors import TrainError
from bear_classifier.images import decoder
from bear_classifier.images.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from bear_classifier.learn import architectures, backbone, data, trainable_part
from bear_classifier.learn.data import Augment, Unreadable, batches, dataloaders, normalise
from bear_classifier.learn.features import cached_features
from bear_classifier.learn.picture_facts import mean_grey, sharpness
from bear_classifier.learn.probe import probe_network
from bear_classifier.learn.weights import preprocessing
from bear_classifier.ship import golden
from bear_classifier.ship.bundle import load
from bear_classifier.ship.export import export
from bear_classifier.ship.predict import Model
from bear_classifier.stages import STAGES

NAMES = torchvision.models.list_models(module=torchvision.models)
PIXELS = np.random.default_rng(0).integers(0, 256, size=(2, 8, 8, 3), dtype=np.uint8)
MOVED = {"googlenet": GoogLeNet, "inception_v3": Inception3}  # within their forward
HALF = (0.5, 0.5, 0.5)
OWN = Preprocessing(64, HALF, HALF, 0.8, "bicubic")  # of the small network below
USUAL = Preprocessing(64)
Prepared = tuple[Catalog, Config, Path]


@pytest.mark.parametrize("arch", NAMES)
def test_values_are_those_that_the_weights_were_trained_with(arch: str) -> None:
    wanted = torchvision.models.get_model_weights(arch).DEFAULT.transforms()
    x = normalise(PIXELS, Preprocessing(8, tuple(wanted.mean), tuple(wanted.std)))
    if arch in MOVED:  # a body that begins after `transform_input`
        x = MOVED[arch]._transform_input(SimpleNamespace(transform_input=True), x)  # type: ignore[arg-type]
    shape = preprocessing(LearnConfig(arch))
    assert torch.allclose(normalise(PIXELS, shape), x, atol=1e-5)
    assert [shape.size] == wanted.crop_size
    assert shape.interpolation == wanted.interpolation.value
    assert shape.size / shape.crop == pytest.approx(wanted.resize_size[0])


def test_a_square_shows_what_the_weights_transforms_show() -> None:
    """Their resize and then a crop, ours in one step: the same but for rounding."""
    ramp = np.linspace(0, 255, 640, dtype=np.uint8)
    image = Image.fromarray(np.stack([np.tile(ramp, (480, 1))] * 3, axis=-1))
    wanted = torchvision.models.get_model_weights("resnet34").DEFAULT.transforms()
    theirs = wanted(image).permute(1, 2, 0).numpy() * IMAGENET_STD + IMAGENET_MEAN
    ours = np.asarray(preprocessing(LearnConfig("resnet34")).square(image)) / 255
    assert np.abs(theirs - ours).max() < 0.01


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


def written(folder: Path, **shape: Any) -> str:
    """The name of a bundle that says so."""
    usual = {"size": 96, "mean": IMAGENET_MEAN, "std": IMAGENET_STD}
    text = json.dumps({"architecture": "x", "preprocessing": {**usual, **shape}})
    (folder / "bundle.json").write_text(text, encoding="utf-8")
    return str(folder)


def test_an_earlier_model_says_itself_what_it_wants(tmp_path: Path) -> None:
    """Bundles of 0.1.0 were made of these networks, too, with the usual values; and none of them
    said how much of a photo it sees: all of the square."""
    place = written(tmp_path)
    assert preprocessing(LearnConfig("googlenet", place)) == Preprocessing(96)
    assert preprocessing(LearnConfig("googlenet", place, size=64, crop=0.5)) == Preprocessing(
        64, crop=0.5
    )
    place = written(tmp_path, mean=[0.1, 0.2, 0.3], crop=0.9, interpolation="bicubic")
    found = preprocessing(LearnConfig("resnet18", place))
    assert (found.mean, found.crop, found.interpolation) == ((0.1, 0.2, 0.3), 0.9, "bicubic")
    (tmp_path / "bundle.json").write_text("{}", encoding="utf-8")
    with pytest.raises(TrainError, match="no bundle"):
        preprocessing(LearnConfig("resnet18", place))


def test_a_file_of_weights_is_seen_as_those_of_the_library(tmp_path: Path) -> None:
    file = str(tmp_path / "none.pth")
    for arch in ("googlenet", "resnet34", "efficientnet_v2_s"):
        assert preprocessing(LearnConfig(arch, file)) == preprocessing(LearnConfig(arch))


def test_settings_come_before_what_the_weights_say() -> None:
    own = preprocessing(LearnConfig("resnet34"))
    assert own == Preprocessing(224, crop=0.875)
    asked = LearnConfig("resnet34", size=96, crop=1.0, interpolation="bicubic")
    assert preprocessing(asked) == Preprocessing(96, interpolation="bicubic")
    assert preprocessing(LearnConfig("resnet34", "none")) == Preprocessing(224)


# -- the same everywhere: a small network that is said to want other values ----------------------


@pytest.fixture
def other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Prepared]:
    of_library = Preprocessing(224, HALF, HALF)
    monkeypatch.setattr(architectures, "own_preprocessing", lambda _: of_library)
    learn = {"crop": OWN.crop, "interpolation": OWN.interpolation}
    config = tiny_config(train={"batch_size": 4, "layers": "last-stage"}, learn=learn)
    assert preprocessing(config.learn) == OWN
    with trained_dataset(tmp_path / "data", config) as catalog:
        yield catalog, config, tmp_path


def test_features_training_and_predictions_see_the_same_values(
    other: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog, config, _ = other
    rows = [p for p in catalog.photos("ok") if p.split != "test"]
    files = [catalog.file(photo) for photo in rows]
    x = torch.cat(list(batches(files, OWN, 32)))
    assert not torch.allclose(x, torch.cat(list(batches(files, USUAL, 32))), atol=0.1)
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
    fit = data.Fit(OWN)
    fit.split_idx = 0
    monkeypatch.setattr(data, "_augmented", lambda *_: (fit, []))
    augment = Augment(config, torch.device("cpu"))
    views = augment.batch([augment.crop(decoder.decode(file)) for file in files])
    assert torch.allclose(views, x, atol=1e-5)
    pairs = [(file, photo.label) for file, photo in zip(files, rows, strict=True)]
    dls = dataloaders(pairs, pairs, config, torch.device("cpu"))
    valid = torch.cat([batch.as_subclass(torch.Tensor) for batch, _ in dls.valid])
    assert torch.allclose(valid, x, atol=1e-5)


def test_features_of_other_values_are_kept_apart(other: Prepared) -> None:
    """And what was made of them counts as of other settings."""
    catalog, config, _ = other
    body, photos = backbone.bare_body("squeezenet1_1"), catalog.photos("ok")
    one = cached_features(catalog, config, photos, body)
    plain = tiny_config(learn={"crop": 1.0})
    two = cached_features(catalog, plain, photos, body)
    assert not np.allclose(one, two, atol=1e-3)
    assert len(list((catalog.root / "features").iterdir())) == 2
    now, then = (stage_fingerprint.fingerprint(c, catalog, STAGES) for c in (config, plain))
    assert now != then


def test_a_bundle_says_what_it_wants_and_answers_as_the_network(other: Prepared) -> None:
    catalog, config, root = other
    found = export(catalog, config, root / "tiny")
    shape = json.loads((root / "tiny" / "bundle.json").read_bytes())["preprocessing"]
    assert shape["mean"] == shape["std"] == [0.5, 0.5, 0.5]
    assert (shape["crop"], shape["interpolation"]) == (0.8, "bicubic")
    assert found["parity"]["n"] == 40
    made = load(root / "tiny")
    assert made.preprocessing == OWN
    Model(made).self_test()
    picture = golden.draw_picture(3)[1]
    pixels = np.asarray(OWN.square(decoder.decode(picture))).copy()
    assert np.array_equal(Model(made).square(picture), pixels)
    assert np.allclose(made.normalise(pixels), normalise(pixels[None], OWN)[0], atol=1e-6)
    assert preprocessing(LearnConfig("squeezenet1_1", str(root / "tiny"))) == OWN


def test_light_and_sharpness_do_not_depend_on_the_values() -> None:
    for kind in (mean_grey, sharpness):
        one, two = (kind(normalise(PIXELS, shape), shape) for shape in (OWN, USUAL))
        assert np.allclose(one, two, atol=1e-3)

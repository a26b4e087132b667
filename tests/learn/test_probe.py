import dataclasses
import io
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from bundles import LABELS, tiny_config
from PIL import Image, ImageDraw, ImageFilter
from safetensors.torch import save_file

from bear_classifier.config.settings import LearnConfig
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.errors import DataError, TrainError
from bear_classifier.images.preprocessing import Preprocessing
from bear_classifier.learn import backbone
from bear_classifier.learn import probe as probe_module
from bear_classifier.learn.data import batches
from bear_classifier.learn.features import cached_features
from bear_classifier.learn.picture_facts import filled, mean_grey, sharpness
from bear_classifier.learn.probe import head_of, probe, strength_of
from bear_classifier.learn.train import start
from bear_classifier.report import stage_lines
from bear_classifier.stats import arrays
from bear_classifier.stats.linear_probe import model, out_of_fold, trusted

SHAPE = Preprocessing(64)


@pytest.fixture
def points():
    """Three noisy clouds in 6 dimensions."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 80)
    centres = rng.normal(0, 1.0, size=(3, 6))
    return (centres[labels] + rng.normal(0, 1.0, size=(240, 6))).astype(np.float32), labels


@pytest.fixture
def catalog(drawn_dataset, tmp_path):
    """24 drawn photos, in tmp_path."""
    shutil.copytree(drawn_dataset, tmp_path, dirs_exist_ok=True)
    with Catalog(tmp_path) as opened:
        yield opened


def features_of(catalog, config, photos):
    return cached_features(
        catalog, config, photos, backbone.build_body(config.learn, config.train.seed)
    )


def test_the_numbers_of_the_head_are_the_model(points):
    features, labels = points
    fitted = model(0.1).fit(features, labels)
    head = head_of(fitted)
    logits = (features - head.mean) / np.sqrt(head.var) @ head.weight.T + head.bias
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert np.allclose(p, fitted.predict_proba(features), atol=1e-5)


def test_two_classes_become_two_rows(points):
    features, labels = points
    two = labels < 2
    fitted = model(0.1).fit(features[two], labels[two])
    head = head_of(fitted)
    assert head.weight.shape == (2, 6)
    logits = (features[two] - head.mean) / np.sqrt(head.var) @ head.weight.T + head.bias
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert np.allclose(p, fitted.predict_proba(features[two]), atol=1e-5)


def deal(catalog):
    """Labels by side would be a puzzle without an answer: give each side some of all."""
    photos = catalog.photos("ok")
    sides = ["train"] * 12 + ["valid"] * 6 + ["test"] * 6
    by_label = sorted(photos, key=lambda p: (LABELS.index(p.label), p.sha256))
    dealt = [by_label[i % 3 * 8 + i // 3] for i in range(24)]
    with catalog.transaction():
        catalog.put_photos(
            dataclasses.replace(p, split=s) for p, s in zip(dealt, sides, strict=True)
        )


def test_the_stage_leaves_probabilities_for_all_and_a_head_for_training(catalog, tmp_path):
    config = tiny_config()
    deal(catalog)
    photos = catalog.photos("ok")
    outcome = probe(catalog, config)
    assert (outcome["photos"], outcome["valid"], outcome["out_of_fold"]) == (24, 6, 18)
    with np.load(tmp_path / "probe" / "probabilities.npz") as file:
        assert file["sha256"].tolist() == [p.sha256 for p in photos]
        assert np.allclose(file["probabilities"].sum(1), 1)
        assert np.allclose(file["second"].sum(1), 1)
        assert (tmp_path / "features" / str(file["features"])).is_dir()
    assert not (tmp_path / "probe" / "pretrained.npz").exists()
    network = start(catalog, config)
    features = torch.from_numpy(features_of(catalog, config, photos)).double()
    with np.load(tmp_path / "probe" / "head.npz") as head, torch.no_grad():
        scaled = (features - torch.from_numpy(head["mean"])) / (
            torch.from_numpy(head["var"]) + 1e-5
        ).sqrt()
        expected = (
            scaled @ torch.from_numpy(head["weight"]).double().T
            + torch.from_numpy(head["bias"]).double()
        )
        got = network.head[2:](features.float())
    assert torch.allclose(got, expected.float(), atol=1e-2)
    assert (got.argmax(1) == expected.argmax(1)).all()


def test_no_sides_yet(tmp_path):
    with pytest.raises(DataError, match="run: bears split"):
        probe(Catalog(tmp_path), tiny_config())


def test_the_second_round_does_not_learn_from_what_the_first_doubts(catalog, tmp_path, monkeypatch):
    config = tiny_config(probe={"folds": 2})
    deal(catalog)
    photos = catalog.photos("ok")
    rng = np.random.default_rng(0)
    labels = np.array([LABELS.index(p.label) for p in photos])
    side = np.array([p.split for p in photos])
    clouds = (5 * np.eye(8)[labels] + rng.normal(size=(24, 8))).astype(np.float32)
    wrong = next(i for i in range(24) if labels[i] == 0 and side[i] == "train")
    clouds[wrong] = 20 * np.eye(8)[2]  # a third class under this label, and far from the others
    monkeypatch.setattr(
        "bear_classifier.learn.probe.feature_cache", lambda *_: (Path("x.npz"), clouds)
    )
    monkeypatch.setattr("bear_classifier.learn.probe.choose_strength", lambda *_: 1.0)
    outcome = probe(catalog, config)
    with np.load(tmp_path / "probe" / "probabilities.npz") as file:
        first, second = file["probabilities"], file["second"]
    assert first[wrong].argmax() == second[wrong].argmax() == 2
    known, asked = side != "test", side == "test"
    groups = np.array([p.group for p in photos])[known]
    learned = trusted(first[known], labels[known])
    assert not learned[np.flatnonzero(known).tolist().index(wrong)]
    strength = outcome["strength"]
    by_hand = out_of_fold(clouds[known], labels[known], groups, 2, strength, learned)
    assert np.allclose(second[known], by_hand)
    fitted = model(strength).fit(clouds[known][learned], labels[known][learned])
    assert np.allclose(second[asked], fitted.predict_proba(clouds[asked]))
    fitted = model(strength).fit(clouds[known], labels[known])
    assert np.allclose(first[asked], fitted.predict_proba(clouds[asked]))


# -- light and edges -------------------------------------------------------------------------------


def batch_of(tmp_path, *pictures):
    for i, picture in enumerate(pictures):
        picture.save(tmp_path / f"{i}.png")
    return next(iter(batches([tmp_path / f"{i}.png" for i in range(len(pictures))], SHAPE, 32)))


def test_light_is_the_mean_grey_level(tmp_path):
    grey = [Image.new("RGB", (64, 64), (level,) * 3) for level in (0, 90, 255)]
    red, green, blue = (Image.new("RGB", (64, 64), c) for c in ("#f00", "#0f0", "#00f"))
    found = mean_grey(batch_of(tmp_path, *grey, red, green, blue), SHAPE)
    assert found.dtype == np.float32
    assert found == pytest.approx([0, 90, 255, 255 * 0.299, 255 * 0.587, 255 * 0.114], abs=0.05)


def test_sharpness_is_what_edges_there_are(tmp_path):
    y, x = np.mgrid[:64, :64]
    chequer = Image.fromarray(((x + y) % 2 * 255).astype(np.uint8)).convert("RGB")
    ramp = Image.fromarray((x * 4).astype(np.uint8)).convert("RGB")
    blocks = Image.fromarray(((x // 8 + y // 8) % 2 * 255).astype(np.uint8)).convert("RGB")
    blurred = [blocks.filter(ImageFilter.GaussianBlur(radius)) for radius in (1, 3)]
    black, white = Image.new("RGB", (64, 64)), Image.new("RGB", (64, 64), "white")
    found = sharpness(batch_of(tmp_path, black, white, chequer, ramp, blocks, *blurred), SHAPE)
    assert found[:4] == pytest.approx([0, 0, 4 * 255, 0], abs=0.05)  # a slope is no edge
    assert found[4] > 2 * found[5] > 4 * found[6] > 0


def scene(seed, size=(96, 96)):
    """Soft spots of all colours: something everywhere, as in a photo."""
    spots = np.random.default_rng(seed).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    return Image.fromarray(spots).resize(size)


def below(picture, colour, share):
    """The picture as its transfer left it: one colour from there on."""
    cut = picture.copy()
    cut.paste(colour, (0, round(cut.height * (1 - share)), *cut.size))
    buffer = io.BytesIO()
    cut.save(buffer, "JPEG", quality=90)
    return Image.open(buffer)


@pytest.mark.parametrize("colour", ["#808080", "#008700", "#000", "#fff", "#a01010"])
def test_pictures_whose_transfer_broke_off(tmp_path, colour):
    shares = [3 / 6, 2 / 6, 5 / 6]  # of blocks of 16 pixels
    broken = [below(scene(n), colour, share) for n, share in enumerate(shares)]
    found = filled(batch_of(tmp_path, *broken, scene(9)), SHAPE)
    assert found.dtype == np.float32
    assert found == pytest.approx([*shares, 0], abs=0.04)


def test_plain_grounds_bars_and_drawings_did_not_break_off(tmp_path):
    ground = Image.new("RGB", (96, 96), "white")
    product = ground.copy()
    product.paste(scene(1, (40, 50)), (28, 20))
    film = Image.new("RGB", (96, 96))
    film.paste(scene(3, (96, 60)), (0, 18))
    sky = Image.new("RGB", (96, 96), "#77aaff")
    sky.paste(scene(4, (96, 40)), (0, 56))
    drawing = Image.new("RGB", (96, 96), "white")
    ImageDraw.Draw(drawing).ellipse((8, 8, 88, 50), fill="#553311", outline="black", width=3)
    slope = Image.fromarray(np.linspace(0, 255, 96)[:, None].repeat(96, 1).astype(np.uint8))
    plain = [ground, product, film, sky, drawing, slope.convert("RGB")]
    found = filled(batch_of(tmp_path, *plain), SHAPE)
    assert found[:-1].tolist() == [0] * 5
    assert found[-1] < 0.1  # a slope ends in nearly one colour


# -- what the weights themselves tell apart --------------------------------------------------------


@pytest.mark.parametrize(
    ("arch", "layer", "width"),
    [("mobilenet_v2", "classifier.1", 1280), ("shufflenet_v2_x0_5", "fc", 1024)],
)
def test_one_linear_layer_is_the_weights_own_classifier(tmp_path, arch, layer, width):
    state = {f"{layer}.weight": torch.randn(7, width), f"{layer}.bias": torch.randn(7)}
    save_file(state, tmp_path / "w.safetensors")
    settings = LearnConfig(arch, str(tmp_path / "w.safetensors"))
    weight, bias = backbone.weights_classifier(settings)
    with torch.device("meta"):  # no random numbers for layers that are not looked at
        assert torchvision.models.get_model(arch).get_parameter(f"{layer}.weight").shape[1] == width
    assert np.array_equal(weight, state[f"{layer}.weight"].numpy())
    assert np.array_equal(bias, state[f"{layer}.bias"].numpy())
    for part in ("weight", "bias"):  # a body that was saved without its head
        rest = {name: value for name, value in state.items() if name != f"{layer}.{part}"}
        save_file(rest, tmp_path / "w.safetensors")
        assert backbone.weights_classifier(settings) is None


def test_the_layer_of_a_residual_network_is_read_from_a_file(tmp_path):
    state = {"fc.weight": torch.randn(4, 512).half(), "fc.bias": torch.randn(4).half()}
    torch.save(state, tmp_path / "w.pth")
    weight, bias = backbone.weights_classifier(LearnConfig("resnet18", str(tmp_path / "w.pth")))
    assert np.array_equal(weight, state["fc.weight"].float().numpy())
    assert (weight.dtype, bias.dtype) == (np.float32, np.float32)


@pytest.mark.parametrize("arch", ["squeezenet1_0", "vgg11", "mobilenet_v3_small", "convnext_tiny"])
def test_other_heads_are_no_linear_layer(tmp_path, arch):
    # one linear layer is tried; of the others 500 MB of random numbers are spared
    with torch.device("cpu" if arch == "convnext_tiny" else "meta"):
        assert backbone.weights_classifier(LearnConfig(arch, str(tmp_path / "not read"))) is None


def test_weights_without_classes_of_their_own(tmp_path):
    assert backbone.weights_classifier(LearnConfig("mobilenet_v2", "none")) is None
    (tmp_path / "bundle.json").write_text('{"architecture": "mobilenet_v2"}', encoding="utf-8")
    assert backbone.weights_classifier(LearnConfig("mobilenet_v2", str(tmp_path))) is None
    with pytest.raises(TrainError, match="WEIGHTS_UNAVAILABLE"):
        backbone.weights_classifier(LearnConfig("mobilenet_v2", str(tmp_path / "missing.pth")))


def test_the_layer_is_kept_beside_the_probe_while_the_weights_have_one(
    catalog, tmp_path, monkeypatch
):
    config = tiny_config(learn={"arch": "shufflenet_v2_x0_5"}, probe={"folds": 2})
    clouds = np.random.default_rng(0).normal(size=(24, 4)).astype(np.float32)
    monkeypatch.setattr(
        "bear_classifier.learn.probe.feature_cache", lambda *_: (Path("x.npz"), clouds)
    )
    deal(catalog)
    state = torchvision.models.shufflenet_v2_x0_5(num_classes=5).state_dict()
    save_file(state, tmp_path / "w.safetensors")
    learn = {"arch": "shufflenet_v2_x0_5", "weights": str(tmp_path / "w.safetensors")}
    probe(catalog, tiny_config(learn=learn, probe={"folds": 2}))
    kept = tmp_path / "probe" / "pretrained.npz"
    with np.load(kept) as file:
        assert np.array_equal(file["weight"], state["fc.weight"].numpy())
        assert np.array_equal(file["bias"], state["fc.bias"].numpy())
    probe(catalog, config)
    assert not kept.exists()


def test_the_strength_is_for_unseen_sources(catalog, tmp_path):
    """Features that tell the classes in a way of each source's own, and some that always do."""
    dice, photos = np.random.default_rng(2), catalog.photos("ok")
    rows = [photos[i % len(photos)] for i in range(600)]
    rows = [dataclasses.replace(p, sha256=f"{i:064x}", group=f"g{i}", origin=f"photos/{i}.jpg")
            for i, p in enumerate(rows)]  # fmt: skip
    labels, home = np.arange(600) % 3, np.arange(600) // 3 % 6
    own = dice.normal(size=(6, 3, 20))  # of source and class
    common = dice.normal(size=(3, 4))
    features = np.hstack([2 * own[home, labels], common[labels]]) + dice.normal(size=(600, 24))
    table = tmp_path / "sources.tsv"
    table.write_text(
        "path\tsource\n" + "\n".join(f"{i}.jpg\ts{home[i]}" for i in range(600)), encoding="utf-8"
    )
    config = tiny_config(split={"sources": str(table)})
    known = strength_of(catalog, tiny_config(), rows, features.astype(np.float32), labels)
    unseen = strength_of(catalog, config, rows, features.astype(np.float32), labels)
    assert unseen <= known / 10
    table.write_text(
        "path\tsource\n" + "\n".join(f"{i}.jpg\tone" for i in range(600)), encoding="utf-8"
    )
    assert strength_of(catalog, config, rows, features.astype(np.float32), labels) == known


@pytest.mark.parametrize(("groups", "n"), [([], "0 groups"), (["pan"] * 6, "1 group")])
def test_a_class_of_one_scene_is_refused_by_name(tmp_path, make, groups, n):
    """Also in a catalog that version 0.1.0 dealt, where such a class stood on the test split."""
    first, *rest = LABELS
    photos = [make(k, label=label, split="train") for k, label in enumerate(rest * 4)]
    photos += [make(100 + k, label=first, group=g, split="train") for k, g in enumerate(groups)]
    photos += [make(200 + k, label=first, group="other", split="test") for k in range(4)]
    with Catalog(tmp_path) as catalog:
        with catalog.transaction():
            catalog.put_photos(photos)
        with pytest.raises(DataError) as caught:
            probe(catalog, tiny_config())
    assert str(caught.value) == (
        f'TOO_FEW_PHOTOS: class "{first}" has {n} of near-copies in train, and two are needed to'
        " learn it; add photos of other scenes and run again"
    )


# -- more photos than it learns from ---------------------------------------------------------------


def test_the_probe_of_features_in_files_is_the_same(catalog, tmp_path, monkeypatch):
    deal(catalog)
    one = probe(catalog, tiny_config())
    with np.load(tmp_path / "probe" / "probabilities.npz") as file:
        before = file["second"]
    monkeypatch.setattr(arrays, "IN_MEMORY", 0)
    monkeypatch.setattr(arrays, "BLOCK_ROWS", 5)
    assert probe(catalog, tiny_config()) == one and "sampled" not in one
    with np.load(tmp_path / "probe" / "probabilities.npz") as file:
        assert np.allclose(file["second"], before, atol=1e-5)


def test_of_many_photos_a_sample_is_learned_from(catalog, tmp_path, monkeypatch):
    """And the others are judged by a model that saw neither them nor their near-copies."""
    deal(catalog)
    monkeypatch.setattr(probe_module, "LEARNED", 14)
    learned, honest = [], probe_module.fit_linear

    def seen(strength, features, labels):
        learned.append(len(labels))
        return honest(strength, features, labels)

    monkeypatch.setattr(probe_module, "fit_linear", seen)
    outcome = probe(catalog, tiny_config())
    assert outcome["sampled"] == outcome["out_of_fold"] <= 14 < 18
    assert max(learned) <= 14 and outcome["valid"] == 6
    said = stage_lines.stage_text("probe", outcome | {"outcome": "done", "seconds": 1.0})
    (line,) = said.splitlines()[1:]
    assert line.endswith(f"it learned from a sample of {outcome['sampled']} photos")
    with np.load(tmp_path / "probe" / "probabilities.npz") as file:
        assert np.allclose(file["second"].sum(1), 1) and len(file["second"]) == 24

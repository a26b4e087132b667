"""The last stage learns from what the rest of the network makes of photos, as from the photos."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from bundles import LABELS, tiny_config
from fastai.torch_core import set_seed
from PIL import Image
from torchvision.ops import Permute
from training import changed, dataset, same, weights

from bear_classifier.config.settings import Config
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import Photo
from bear_classifier.errors import ConfigError
from bear_classifier.images import decoder
from bear_classifier.images.preprocessing import Preprocessing
from bear_classifier.learn import backbone, data, trainable_part, weight_interpolation
from bear_classifier.learn.data import Augment, Unreadable, batches
from bear_classifier.learn.frozen_forward import frozen
from bear_classifier.learn.probe import probe, probe_network
from bear_classifier.learn.train import start, train
from bear_classifier.learn.trainable_part import (
    LastStage,
    TrainablePart,
    Whole,
    last_stage,
    part_of,
)
from bear_classifier.ship import golden

Prepared = tuple[Catalog, Config]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepared]:
    config = tiny_config(
        train={"epochs": 3, "batch_size": 4, "lr": 0.01, "layers": "last-stage"}, probe={"folds": 2}
    )
    with dataset(tmp_path_factory.mktemp("parts"), config) as catalog:
        probe(catalog, config)
        yield catalog, config


def seen(catalog: Catalog) -> list[Photo]:
    return [p for p in catalog.photos("ok") if p.split != "test"]


def part(prepared: Prepared, config: Config | None = None, seed: int = 1) -> LastStage:
    catalog, settings = prepared
    set_seed(seed, reproducible=True)
    found, notes = part_of(
        catalog, config or settings, start(catalog, settings), seen(catalog), Unreadable(100)
    )
    assert isinstance(found, LastStage)
    assert notes == []
    return found


# One small network of each of torchvision's families of classifiers; the first module that learns,
# and the sides of the maps before and after it, of pictures of 64 pixels (inception_v3: 96).
FAMILIES = {
    "alexnet": ("alexnet", "6", 3, 3),
    "convnext": ("convnext_tiny", "6_1", 4, 2),
    "densenet": ("densenet121", "0_denseblock4", 2, 2),
    "efficientnet": ("efficientnet_b0", "6_0", 4, 2),
    "googlenet": ("googlenet", "14", 2, 2),
    "inception": ("inception_v3", "15", 4, 1),
    "maxvit": ("maxvit_t", "", 0, 0),  # refused by `cut`, as is the next
    "vision_transformer": ("vit_b_16", "", 0, 0),
    "mnasnet": ("mnasnet0_5", "12_0", 4, 2),
    "mobilenetv2": ("mobilenet_v2", "14", 4, 2),
    "mobilenetv3": ("mobilenet_v3_small", "9", 4, 2),
    "regnet": ("regnet_x_400mf", "1_block4_block4-0", 4, 2),
    "resnet": ("resnet18", "7_0", 4, 2),
    "shufflenetv2": ("shufflenet_v2_x0_5", "4_0", 4, 2),
    "squeezenet": ("squeezenet1_1", "9", 3, 3),
    "swin_transformer": ("swin_t", "0_6", 4, 2),
    "vgg": ("vgg11", "16", 4, 4),  # after its last stage a pool halves the map once more
}


def test_all_families_are_known() -> None:
    """A network of a family that came with a new torchvision needs a line above."""
    names = torchvision.models.list_models(module=torchvision.models)
    builders = map(torchvision.models.get_model_builder, names)
    assert {builder.__module__.rpartition(".")[2] for builder in builders} == set(FAMILIES)


@pytest.mark.series
@pytest.mark.parametrize(("arch", "first", "before", "after"), FAMILIES.values())
def test_the_last_stage_of_every_family_learns(
    arch: str, first: str, before: int, after: int
) -> None:
    """It has parameters of the body, which a step changes, and leaves the rest as it was."""
    if not first:
        with pytest.raises(ConfigError, match="BAD_ARCH"):
            backbone.bare_body(arch)
        return
    size = 96 if arch == "inception_v3" else 64
    network = backbone.Classifier(backbone.bare_body(arch), 3, 0.0)
    cut = last_stage(network.body, size)
    assert list(trainable_part.pieces(network.body))[cut] == first
    end = trainable_part.end_of(network, cut)
    x = torch.rand(2, 3, size, size, generator=torch.manual_seed(1))
    with torch.no_grad():
        maps = trainable_part.first_of(network.eval(), cut)(x)
        assert torch.equal(end.eval()(maps), network(x))
    assert maps.shape[2] == before  # in whichever order the channels stand
    assert next(iter(end.body.children()))(maps).shape[2] == after
    own = {id(parameter) for parameter in end.body.parameters()}
    share = sum(p.numel() for p in end.body.parameters()) / sum(
        p.numel() for p in network.body.parameters()
    )
    assert 0.2 < share < 0.9
    old = {name: p.detach().clone() for name, p in network.body.named_parameters()}
    step = torch.optim.SGD(network.parameters(), lr=0.1)
    loss = torch.nn.functional.cross_entropy(end(maps), torch.tensor([0, 2]))
    loss.backward()  # type: ignore[no-untyped-call]
    step.step()
    moved = {id(p) for name, p in network.body.named_parameters() if not torch.equal(old[name], p)}
    assert moved
    assert moved <= own


def conv(stride: int = 1) -> torch.nn.Module:
    return torch.nn.Conv2d(3, 3, 3, stride, 1)


@pytest.mark.parametrize(
    ("layers", "cut"),
    [
        ([conv(2), conv(2), conv()], 1),
        ([conv(2), torch.nn.MaxPool2d(2), torch.nn.ReLU(), conv()], 3),
        ([conv(2), conv(2), torch.nn.MaxPool2d(2)], 1),
        ([conv(2), torch.nn.Sequential(conv(2), torch.nn.Sequential(conv(2)))], 2),
        ([conv(2), torch.nn.MaxPool2d(2)], 0),  # one stage alone: nothing comes before it
        ([torch.nn.MaxPool2d(2), conv()], 0),  # nor is a pool worth keeping photos for
        ([torch.nn.MaxPool2d(2), torch.nn.ReLU()], 0),  # and here nothing would learn
        ([conv()], 0),
        ([conv(2), Permute([0, 2, 3, 1]), torch.nn.Linear(3, 9), torch.nn.Linear(9, 3)], 0),
        ([conv(2), torch.nn.Flatten(2), torch.nn.ReLU()], 0),  # no map any more
    ],
)
def test_where_the_last_stage_begins(layers: list[torch.nn.Module], cut: int) -> None:
    assert last_stage(torch.nn.Sequential(*layers), 64) == cut


def test_a_body_of_another_kind_has_none() -> None:
    assert last_stage(conv(), 64) == 0


def test_it_says_what_the_whole_network_says(prepared: Prepared) -> None:
    """But for maps that are kept in half precision."""
    catalog, config = prepared
    rows, logits, pooled = part(prepared).outputs(seen(catalog), config)
    network = start(catalog, config)
    whole = Whole(catalog, network, Unreadable(100)).outputs(seen(catalog), config)
    assert rows == whole[0]
    assert logits == pytest.approx(whole[1], abs=5e-3 * float(np.abs(whole[1]).max()))
    assert pooled == pytest.approx(whole[2], abs=5e-3 * float(np.abs(whole[2]).max()))


def test_views_are_random_of_training_photos_alone_and_follow_from_the_seed(
    prepared: Prepared,
) -> None:
    catalog, config = prepared
    found = part(prepared)
    assert len(found.views) == config.train.epochs
    learned = [photo for photo in seen(catalog) if photo.split == "train"]
    assert {found.row[photo.sha256] for photo in learned} == set(range(len(learned)))
    assert all(len(view) == len(learned) < len(found.plain) for view in found.views)
    for photo in learned:
        plain, *views = (maps[found.row[photo.sha256]] for maps in (found.plain, *found.views))
        assert all(view.any() and not np.array_equal(view, plain) for view in views)
        assert not np.array_equal(views[0], views[1])
    again, other = part(prepared), part(prepared, seed=2)
    assert np.array_equal(again.views[1], found.views[1])
    assert not np.array_equal(other.views[1], found.views[1])
    assert np.array_equal(other.plain, found.plain)


def test_batches_are_views_in_training_and_plain_for_checking(prepared: Prepared) -> None:
    catalog, config = prepared
    found = part(prepared)
    learned, checked = ([p for p in seen(catalog) if p.split == s] for s in ("train", "valid"))
    dls = found.loaders(learned, checked, config)
    kept = {
        map_.astype(np.float32).tobytes(): row
        for view in (*found.views, found.plain)
        for row, map_ in enumerate(view)
    }
    rows = []
    for x, y in dls.train:
        for map_, label in zip(x, y, strict=True):
            row = kept[map_.numpy().tobytes()]
            photo = next(p for p in learned if found.row[p.sha256] == row)
            assert config.labels[label] == photo.label
            rows.append(row)
    assert sorted(rows) == sorted(found.row[p.sha256] for p in learned)
    valid = torch.cat([x for x, _ in dls.valid]).numpy()
    assert np.array_equal(valid, found.plain[[found.row[p.sha256] for p in checked]])


def test_early_layers_stay_and_the_last_stage_learns(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in what is saved, and in what is said to have come of it."""
    catalog, config = prepared
    monkeypatch.setattr(
        weight_interpolation, "best", lambda asked: len(weight_interpolation.ALPHAS) - 1
    )
    before = start(catalog, config).state_dict()
    record = train(catalog, config)
    assert record["layers"] == "last-stage"
    after = weights(catalog)
    early = [name for name in before if name.startswith("body.") and int(name.split(".")[1]) < 8]
    late = [name for name in before if name.startswith("body.") and name not in early]
    assert all(torch.equal(before[name], after[name]) for name in early)
    assert any(not torch.equal(before[name], after[name]) for name in late)
    with np.load(catalog.root / "train" / "predictions.npz") as file:
        said = dict(zip(file["sha256"].tolist(), file["logits"], strict=True))
    model = probe_network(config, None)
    model.load_state_dict(after)
    judged = catalog.photos("ok")
    with torch.inference_mode():
        (batch,) = batches([catalog.file(p) for p in judged], Preprocessing(64), 32)
        exact = model.eval()(batch).numpy()
    assert np.allclose(exact, [said[p.sha256] for p in judged], atol=1e-4)


def test_what_is_learned_from_is_fitted(prepared: Prepared) -> None:
    """Small steps down the slope of what the loaders give lessen the loss of what it then says: the
    pictures and the labels belong together, and the slope reaches what is asked."""
    catalog, config = prepared
    found = dataclasses.replace(part(prepared), views=[])
    learned, checked = (
        [p for p in catalog.photos("ok") if p.split == s] for s in ("train", "valid")
    )
    targets = torch.tensor([LABELS.index(p.label) for p in learned])

    def loss() -> float:
        _, logits, _ = found.outputs(learned, config)
        return float(torch.nn.functional.cross_entropy(torch.from_numpy(logits), targets))

    before = loss()
    whole = changed(config, batch_size=len(learned))
    x, y = found.loaders(learned, checked, whole).train.one_batch()
    step = torch.optim.SGD(found.model.eval().parameters(), lr=1e-3)
    for _ in range(5):
        step.zero_grad()
        slope = torch.nn.functional.cross_entropy(found.model(x), y)
        slope.backward()  # type: ignore[no-untyped-call]
        step.step()
    assert loss() < before


def test_the_same_seed_gives_the_same_weights(prepared: Prepared) -> None:
    catalog, config = prepared
    train(catalog, config)
    one = weights(catalog)
    random.seed(99)
    torch.manual_seed(99)
    train(catalog, config)
    assert same(one, weights(catalog))


def test_another_network_has_a_last_stage_of_its_own(prepared: Prepared) -> None:
    catalog, config = prepared
    found = part(prepared)
    other = found.begun(start(catalog, config))
    before = backbone.copied(found.model)
    with torch.no_grad():
        for parameter in other.model.parameters():
            parameter.add_(1)
    assert same(before, found.model.state_dict())
    assert other.plain is found.plain


def test_a_photo_that_broke_is_left_out(prepared: Prepared, tmp_path: Path) -> None:
    _, config = prepared
    with dataset(tmp_path, config) as catalog:
        probe(catalog, config)
        for side in ("train", "valid"):
            gone = next(p for p in seen(catalog) if p.split == side)
            catalog.file(gone).write_bytes(b"no picture")
        bad = Unreadable(100)
        found, _ = part_of(catalog, config, start(catalog, config), seen(catalog), bad)
        assert isinstance(found, LastStage)
        assert (len(found.row), len(bad.found)) == (len(seen(catalog)) - 2, 2)
        learned, checked = ([p for p in seen(catalog) if p.split == s] for s in ("train", "valid"))
        dls = found.loaders(learned, checked, config)
        assert (dls.train.n, dls.valid.n) == (len(learned) - 1, len(checked) - 1)
        rows, logits, _ = found.outputs(seen(catalog), config)
        assert len(rows) == len(logits) == len(seen(catalog)) - 2


def kind(prepared: Prepared, config: Config) -> tuple[type[TrainablePart], list[str]]:
    catalog, settings = prepared
    found, notes = part_of(
        catalog, config, start(catalog, settings), seen(catalog), Unreadable(100)
    )
    return type(found), notes


def test_which_layers_learn(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a rule the last stage of what was trained before, and all of a recipe of fastai's."""
    _, config = prepared
    auto, pretrained = changed(config, layers="auto"), tiny_config(learn={"weights": "a.pth"})
    assert kind(prepared, auto) == (Whole, [])
    assert kind(prepared, changed(config, layers="all")) == (Whole, [])
    assert kind(prepared, pretrained) == (LastStage, [])
    assert kind(prepared, changed(pretrained, head="new", frozen=1)) == (Whole, [])
    monkeypatch.setattr(trainable_part, "last_stage", lambda body, size: 0)
    assert kind(prepared, pretrained) == (Whole, [])
    said = "squeezenet1_1 has no last stage of its own: all layers learn"
    assert kind(prepared, config) == (Whole, [said])


def test_many_photos_have_fewer_views_or_none(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog, config = prepared
    each = part(prepared).views[0][0].nbytes
    monkeypatch.setattr(trainable_part, "ROOM", each * (2 * 18 + 2 * 12))
    assert len(part(prepared).views) == 2
    monkeypatch.setattr(trainable_part, "ROOM", each * (2 * 18 + 11))
    assert len(seen(catalog)) == 18
    words = "18 photos are too many to keep before the last stage: all layers learn, which takes"
    assert kind(prepared, config) == (Whole, [f"{words} longer"])


def test_all_of_a_view_is_made_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """On Apple's the mean and the deviation stayed on the processor: "Expected all tensors to be on
    the same device". The meta device, which is on every computer, refuses it as well."""
    config = tiny_config()
    fit = data.Fit(Preprocessing(config.learn.size))
    fit.split_idx = 0
    monkeypatch.setattr(data, "_augmented", lambda *_: (fit, []))  # random warps ask for values
    augment = Augment(config, torch.device("meta"))
    made = augment.batch([augment.crop(golden_picture())])
    assert made.device.type == "meta"
    assert made.dtype == torch.float32  # Apple's has no other


def golden_picture() -> Image.Image:
    return decoder.decode(golden.draw_picture(3)[1])


def test_what_a_pass_gives_lies_on_the_processor_and_what_it_gets_on_the_device() -> None:
    body = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU()).to("meta")
    seen_: list[torch.device] = []
    body.register_forward_pre_hook(lambda _, x: seen_.append(x[0].device))
    with pytest.raises(NotImplementedError, match="meta"):  # its numbers cannot be fetched
        frozen(body, torch.zeros(1, 3, 8, 8, device="meta"), ["map"], 50)(torch.zeros(2, 3, 8, 8))
    assert [device.type for device in seen_] == ["meta"]


def test_views_without_chance_are_the_pixels_of_serving(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog, config = prepared
    fit = data.Fit(Preprocessing(config.learn.size))
    fit.split_idx = 0
    monkeypatch.setattr(data, "_augmented", lambda *_: (fit, []))
    files = [catalog.file(photo) for photo in seen(catalog)]
    augment = Augment(config, CPU)
    made = augment.batch([augment.crop(decoder.decode(file)) for file in files])
    (plain,) = batches(files, Preprocessing(config.learn.size), 32)
    assert made.shape == plain.shape
    assert torch.allclose(made, plain, atol=1e-5)

"""The last stage learns from what the rest of the network makes of photos, as from the photos."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from bundles import tiny_config
from fastai.torch_core import set_seed
from training import changed, dataset, same, weights

from bear_classifier import photos
from bear_classifier.catalog import Catalog
from bear_classifier.learn import backbone, blend, loaders, parts
from bear_classifier.learn.loaders import Augment, Unreadable, batches
from bear_classifier.learn.outputs import outputs
from bear_classifier.learn.parts import LastStage, Part, Whole, last_stage, part_of
from bear_classifier.learn.probe import network, probe
from bear_classifier.learn.train import start, train
from bear_classifier.schema import Photo
from bear_classifier.settings import Config

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


@pytest.mark.parametrize(
    ("arch", "cut", "channels"),
    [
        ("resnet34", 7, 256),
        ("mobilenet_v2", 14, 96),
        ("squeezenet1_1", 8, 256),
        ("densenet121", 0, 0),
    ],
)
def test_where_the_last_stage_begins(arch: str, cut: int, channels: int) -> None:
    """After it the picture has 7 x 7 places, before it 14 x 14."""
    body = backbone.bare_body(arch).eval()
    assert last_stage(body, 224) == cut
    if cut:
        assert isinstance(body, torch.nn.Sequential)
        with torch.inference_mode():
            before = body[:cut](torch.zeros(1, 3, 224, 224))
            after = body[cut:](before)
        assert before.shape[1] == channels
        assert before.shape[2] > after.shape[2]


def test_it_says_what_the_whole_network_says(prepared: Prepared) -> None:
    """But for maps that are kept in half precision."""
    catalog, config = prepared
    rows, logits, pooled = part(prepared).outputs(seen(catalog), config)
    whole = outputs(catalog, start(catalog, config), seen(catalog), config, Unreadable(100))
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
    monkeypatch.setattr(blend, "best", lambda asked: len(blend.SHARES) - 1)
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
    model = network(config, None)
    model.load_state_dict(after)
    judged = catalog.photos("ok")
    with torch.inference_mode():
        (batch,) = batches([catalog.file(p) for p in judged], 64, 32)
        exact = model.eval()(batch).numpy()
    assert np.allclose(exact, [said[p.sha256] for p in judged], atol=1e-4)


def test_what_is_learned_from_is_fitted(prepared: Prepared) -> None:
    catalog, config = prepared
    history = train(catalog, changed(config, epochs=6, lr=0.003))["history"]
    assert history[-1]["train_loss"] < 0.8 * history[0]["train_loss"]


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


def kind(prepared: Prepared, config: Config) -> tuple[type[Part], list[str]]:
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
    monkeypatch.setattr(parts, "last_stage", lambda body, size: 0)
    assert kind(prepared, pretrained) == (Whole, [])
    said = "squeezenet1_1 has no last stage of its own: all layers learn"
    assert kind(prepared, config) == (Whole, [said])


def test_many_photos_have_fewer_views_or_none(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog, config = prepared
    each = part(prepared).views[0][0].nbytes
    monkeypatch.setattr(parts, "ROOM", each * (2 * 18 + 2 * 12))
    assert len(part(prepared).views) == 2
    monkeypatch.setattr(parts, "ROOM", each * (2 * 18 + 11))
    assert len(seen(catalog)) == 18
    words = "18 photos are too many to keep before the last stage: all layers learn, which takes"
    assert kind(prepared, config) == (Whole, [f"{words} longer"])


def test_views_without_chance_are_the_pixels_of_serving(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog, config = prepared
    fit = loaders.Fit(config.learn.size)
    fit.split_idx = 0
    monkeypatch.setattr(loaders, "_augmented", lambda *_: (fit, []))
    files = [catalog.file(photo) for photo in seen(catalog)]
    made = Augment(config, CPU)([photos.decode(file) for file in files])
    (plain,) = batches(files, config.learn.size, 32)
    assert made.shape == plain.shape
    assert torch.allclose(made, plain, atol=1e-5)

"""Batches made by threads: the same for any number of threads, in order, and not too far ahead;
random crops with a random state of their own; photos that stay decoded."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bundles import LABELS, tiny_config
from fastai.torch_core import set_seed
from PIL import Image
from training import changed, pairs_of, probed, same
from waiting import STUCK

from bear_classifier.config.settings import Config
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.errors import ConfigError
from bear_classifier.images import decoder
from bear_classifier.learn import devices, kept_photos, trainable_part
from bear_classifier.learn.checkpoints import State
from bear_classifier.learn.data import (
    Unreadable,
    dataloaders,
    opened_to_crop,
    portable_dataloaders,
)
from bear_classifier.learn.devices import LoadingWorkers, loading_workers, pick_device
from bear_classifier.learn.fit import Plan, fit
from bear_classifier.learn.input_pipeline import batches_ahead
from bear_classifier.learn.kept_photos import KeptPhotos, room_for_photos
from bear_classifier.learn.random_crops import (
    crop_box,
    item_random,
    pixels_for_crops,
    random_state_of,
    shrunk,
)
from bear_classifier.learn.train import start
from bear_classifier.learn.trainable_part import Whole, part_of

CPU = torch.device("cpu")
ALONE, TOGETHER, AHEAD = LoadingWorkers(1, 0), LoadingWorkers(3, 0), LoadingWorkers(2, 2)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Catalog, Config]:
    config = tiny_config(train={"epochs": 2, "batch_size": 4, "lr": 0.003, "layers": "all"})
    catalog = probed(tmp_path_factory.mktemp("pipeline"), config)
    return catalog, config


def loaders(prepared: tuple[Catalog, Config], workers: LoadingWorkers, **options: Any) -> Any:
    """From the same seed."""
    catalog, config = prepared
    set_seed(3, reproducible=True)
    sides = [pairs_of(catalog, side) for side in ("train", "valid")]
    return dataloaders(*sides, config, CPU, workers=workers, **options)


def passes(dls: Any, n: int = 2) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Pictures and labels of n passes over the training photos and one over the others."""
    return [
        (x.as_subclass(torch.Tensor), y.as_subclass(torch.Tensor))
        for loader in [dls.train] * n + [dls.valid]
        for x, y in loader
    ]


def alike(one: Sequence[torch.Tensor], other: Sequence[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"balance": "oversample"},
        {"resize": "pad"},
        pytest.param({"resize": "presize"}, marks=pytest.mark.long),
    ],
    ids=["random-crop", "oversample", "pad", "presize"],
)
def test_the_same_batches_for_any_number_of_threads(
    prepared: tuple[Catalog, Config], settings: dict[str, Any]
) -> None:
    catalog, config = prepared[0], changed(prepared[1], **settings)
    one, *others = (passes(loaders((catalog, config), w)) for w in (ALONE, TOGETHER, AHEAD))
    for other in others:
        assert len(one) == len(other)
        assert all(map(alike, one, other))


def test_every_pass_has_other_crops(prepared: tuple[Catalog, Config]) -> None:
    train = loaders(prepared, TOGETHER).train
    train.after_batch.fs.clear()
    train.shuffle = False
    one, two = (torch.cat([x for x, _ in train]) for _ in range(2))
    assert sum(map(torch.equal, one, two)) < len(one) / 2  # of a narrow photo only one crop fits


@pytest.mark.long
def test_worker_processes_of_fastai_s_give_the_same_crops(
    prepared: tuple[Catalog, Config],
) -> None:
    catalog, config = prepared
    sides = [pairs_of(catalog, side) for side in ("train", "valid")]
    found = []
    for processes in (0, 2):
        set_seed(3, reproducible=True)
        dls = portable_dataloaders(*sides, config, CPU)
        dls.train.after_batch.fs.clear()  # its warps are drawn where the batches are used
        train = dls.train.new(num_workers=processes)
        train.rng = random.Random(5)
        found.append([x.as_subclass(torch.Tensor) for x, _ in train])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize(
    "broken", [pytest.param(ALONE, marks=pytest.mark.long), AHEAD], ids=["alone", "ahead"]
)
def test_a_training_goes_on_bit_for_bit_with_another_number_of_threads(
    prepared: tuple[Catalog, Config], broken: LoadingWorkers
) -> None:
    catalog, config = prepared
    other = AHEAD if broken == ALONE else TOGETHER
    calm: list[State] = []
    fit(loaders(prepared, TOGETHER), start(catalog, config), Plan(2, 1e-3, 1.0), keep=calm.append)
    begun: list[State] = []
    fit(loaders(prepared, broken), start(catalog, config), Plan(2, 1e-3, 1.0), keep=begun.append)
    dls, model = loaders(prepared, other, kept=KeptPhotos(10**8)), start(catalog, config)
    random.seed(99)
    torch.manual_seed(99)
    end, _ = fit(dls, model, Plan(2, 1e-3, 1.0), begun[0])
    assert same(end.tensors, calm[1].tensors)
    assert end.facts["history"] == calm[1].facts["history"]


def test_threads_leave_the_global_random_state_alone(prepared: tuple[Catalog, Config]) -> None:
    dls = loaders(prepared, AHEAD)
    dls.train.after_batch.fs.clear()
    before = random.getstate(), str(np.random.get_state())
    for _ in dls.train:  # torch draws a seed for worker processes once in each pass
        pass
    assert before == (random.getstate(), str(np.random.get_state()))


def test_a_loader_of_fastai_s_stays_one(prepared: tuple[Catalog, Config]) -> None:
    """Its own ways to get at a batch or a prediction go on working, in the thread of the caller."""
    dls = loaders(prepared, AHEAD)
    x, y = dls.one_batch()
    assert (x.shape, y.shape) == ((4, 3, 64, 64), (4,))
    assert dls.train.new(bs=2).workers == AHEAD
    pictures, labels, _ = dls.train.show_batch(max_n=2, show=False, unique=True)
    assert torch.equal(labels[0], labels[1])
    assert pictures.shape[1:] == (3, 64, 64)
    plain, direct = dls.valid.new(), dls.valid
    for one, two in zip(plain, direct, strict=True):
        assert alike(one, two)
        assert [type(part) for part in one] == [type(part) for part in two]


def test_a_photo_that_cannot_be_read_is_left_out_of_its_batch(
    prepared: tuple[Catalog, Config],
) -> None:
    catalog, _ = prepared
    valid = pairs_of(catalog, "valid")
    bad = Unreadable(100)
    bad.found[valid[1][0]] = "UNREADABLE"
    for workers in (ALONE, TOGETHER):
        labels = [LABELS[i] for _, y in loaders(prepared, workers, unreadable=bad).valid for i in y]
        assert labels == [label for path, label in valid if path != valid[1][0]]


# batches ahead


def groups(n: int) -> list[list[int]]:
    return [[2 * i, 2 * i + 1] for i in range(n)]


@pytest.mark.parametrize("workers", [ALONE, TOGETHER, AHEAD])
def test_batches_come_in_order_without_empty_ones(workers: LoadingWorkers) -> None:
    def summed(items: Sequence[int]) -> int | None:
        return None if items[0] == 64 else sum(items)

    found = batches_ahead(groups(5), lambda i: i * i, summed, workers)
    assert list(found) == [1, 13, 41, 85]
    assert list(batches_ahead([], lambda i: i, summed, workers)) == []


@pytest.mark.parametrize(("workers", "taken"), [(ALONE, 1), (TOGETHER, 1), (AHEAD, 3)])
def test_while_a_batch_is_used_no_more_are_made_than_were_asked_for(
    workers: LoadingWorkers, taken: int
) -> None:
    seen = []

    def asked() -> Iterator[list[int]]:
        for group in groups(9):
            seen.append(group)
            yield group

    made = batches_ahead(asked(), lambda i: i, sum, workers)
    next(made)
    assert len(seen) == taken
    next(made)
    assert len(seen) == taken + 1
    made.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("workers", [TOGETHER, AHEAD])
def test_the_items_of_a_batch_are_made_at_the_same_time(workers: LoadingWorkers) -> None:
    both = threading.Barrier(2, timeout=STUCK)
    assert len(list(batches_ahead(groups(2), lambda _: both.wait(), sum, workers))) == 2


@pytest.mark.parametrize("workers", [ALONE, TOGETHER, AHEAD])
def test_an_error_comes_at_the_turn_of_its_batch_and_ends_all(workers: LoadingWorkers) -> None:
    begun = []

    def refuses(item: int) -> int:
        begun.append(item)
        if item == 2:
            raise ValueError("two")
        return item

    made = batches_ahead(groups(50), refuses, sum, workers)
    assert next(made) == 1
    with pytest.raises(ValueError, match="two"):
        next(made)
    assert len(begun) < 50
    assert list(made) == []


# random crops


@pytest.mark.parametrize("size", [(400, 300), (300, 400), (64, 64), (17, 16), (800, 16), (16, 800)])
def test_a_crop_lies_in_the_picture_and_follows_from_its_random_state(
    size: tuple[int, int],
) -> None:
    width, height = size
    boxes = []
    for seed in range(50):
        box = crop_box(width, height, 0.5, random.Random(seed))
        left, top, right, bottom = box
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        assert box == crop_box(width, height, 0.5, random.Random(seed))
        boxes.append(box)
        if max(size) <= 1.34 * min(size):
            across, down = right - left, bottom - top
            assert 0.65 < across / down < 1.5
            assert across * down >= 0.4 * width * height
    assert len(set(boxes)) == 1 if max(size) == 800 else len(set(boxes)) > 5


def test_each_item_has_a_random_state_of_its_own() -> None:
    def drawn(key: int, number: int) -> float:
        with random_state_of(key, number):
            return float(item_random().random())

    assert drawn(1, 2) == drawn(1, 2)
    assert len({drawn(1, 2), drawn(1, 3), drawn(2, 2), drawn(1, 22), drawn(12, 2)}) == 5
    assert item_random() is random
    with random_state_of(1, 1):
        outer = item_random()
        with random_state_of(1, 2):
            assert item_random() is not outer
        assert item_random() is outer


def test_only_much_larger_pictures_are_shrunk_and_none_below_what_crops_need() -> None:
    assert pixels_for_crops(224, 0.5) == 317
    assert pixels_for_crops(224, 1.0) == 224
    for shorter, longer, expected in ((149, 300, (149, 300)), (150, 300, (100, 200))):
        assert shrunk(Image.new("RGB", (shorter, longer)), 100).size == expected
        assert shrunk(Image.new("RGB", (longer, shorter)), 100).size == expected[::-1]


def test_a_large_photo_is_opened_small_and_shows_the_same(tmp_path: Path) -> None:
    pixels = np.linspace(0, 255, 1200 * 900 * 3).reshape(900, 1200, 3).astype(np.uint8)
    (tmp_path / "a.jpg").write_bytes(decoder.encode(Image.fromarray(pixels)))
    config = tiny_config()
    opened = opened_to_crop(tmp_path / "a.jpg", config.learn.size, config.train)
    least = pixels_for_crops(config.learn.size, config.train.crop)
    assert least <= min(opened.size) < 1.5 * least
    assert opened.width / opened.height == pytest.approx(4 / 3, rel=0.02)
    small = np.asarray(opened.resize((8, 6), Image.Resampling.BOX), dtype=float)
    whole = np.asarray(decoder.decode(tmp_path / "a.jpg").resize((8, 6), Image.Resampling.BOX))
    assert np.abs(small - whole).max() < 3


# photos that stay decoded


def test_kept_photos_give_the_same_batches_and_are_decoded_once(
    prepared: tuple[Catalog, Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = passes(loaders(prepared, TOGETHER))
    opened = []
    real = decoder.read_file
    monkeypatch.setattr(decoder, "read_file", lambda path: opened.append(path) or real(path))
    kept = KeptPhotos(10**8)
    found = passes(loaders(prepared, TOGETHER, kept=kept))
    assert all(map(alike, fresh, found))
    assert len(kept) == len(set(opened)) == 18
    already = len(opened)
    passes(loaders(prepared, TOGETHER, kept=kept))
    assert len(opened) == already


def test_no_more_is_kept_than_there_is_room_for() -> None:
    kept = KeptPhotos(1000)
    pictures = [Image.new("RGB", (10, 10)) for _ in range(4)]
    for number, picture in enumerate(pictures):
        assert kept.picture(number, lambda picture=picture: picture) is picture
    assert len(kept) == 2
    assert kept.picture(1, lambda: pictures[3]) is pictures[1]
    assert kept.picture(3, lambda: pictures[0]) is pictures[0]
    assert len(KeptPhotos(0)) == 0


def test_a_small_memory_keeps_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for usable, room in ((10**9, 0), (4 * 10**9, 0), (10 * 10**9, 3 * 10**9)):
        monkeypatch.setattr(kept_photos, "usable_memory", lambda usable=usable: usable)
        assert room_for_photos() == room


def test_training_all_layers_keeps_photos_also_for_its_halves(
    prepared: tuple[Catalog, Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog, config = prepared
    monkeypatch.setattr(trainable_part, "room_for_photos", lambda: 10**8)
    photos = [p for p in catalog.photos("ok") if p.split != "test"]
    part, _ = part_of(catalog, config, start(catalog, config), photos, Unreadable(100))
    assert isinstance(part, Whole)
    sides = [[p for p in photos if p.split == side] for side in ("train", "valid")]
    for _ in part.loaders(*sides, config).train:
        pass
    half = part.begun(start(catalog, config))
    assert half.kept is part.kept
    assert part.kept is not None
    assert len(part.kept) == len(sides[0])


# devices


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


def test_a_gpu_by_its_number(two_gpus: None) -> None:
    assert pick_device("cuda:1") == torch.device("cuda", 1)
    assert pick_device("auto") == torch.device("cuda")
    assert pick_device("cpu") == CPU
    there = "it has cuda, cuda:0, cuda:1, cpu"
    for name in ("cuda:9", "cuda:2", "mps", "cuda:-1", "cuda:", "gpu"):
        with pytest.raises(ConfigError, match=f"NO_DEVICE: learn.device = '{name}' .*{there}"):
            pick_device(name)


def test_apple_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert pick_device("auto") == pick_device("mps") == torch.device("mps")
    with pytest.raises(ConfigError, match="it has mps, cpu"):
        pick_device("cuda")


def test_threads_work_beside_a_gpu_and_in_turn_with_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    for cores in (1, 2, 12):
        monkeypatch.setattr(devices, "processors", lambda cores=cores: cores)
        assert loading_workers(CPU) == LoadingWorkers(cores, 0)
        assert loading_workers(torch.device("cuda", 1)).threads == cores
        assert loading_workers(torch.device("mps")).ahead > 0
    monkeypatch.setattr(devices, "processors", lambda: 200)
    assert loading_workers(torch.device("cuda")).threads < 64


def test_the_random_state_is_that_of_the_gpu_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    states = {0: torch.zeros(4), 1: torch.ones(4)}
    second = torch.device("cuda", 1)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: states[device.index])
    monkeypatch.setattr(
        torch.cuda, "set_rng_state", lambda state, device: states.update({device.index: state})
    )
    kept = {name: state.clone() for name, state in devices.random_state(second).items()}
    states[1] = torch.full((4,), 9.0)
    devices.set_random_state(second, kept)
    assert states[1].tolist() == [1] * 4
    assert states[0].tolist() == [0] * 4
    assert devices.random_state(CPU) == {}
    devices.set_random_state(CPU, kept)  # begun on a GPU, goes on here
    devices.set_random_state(torch.device("cuda", 0), {"mps": torch.full((4,), 5.0)})
    assert states[0].tolist() == [0] * 4

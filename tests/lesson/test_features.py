"""What the network sees: kernels by hand, units and their photos, and maps that point somewhere."""

from __future__ import annotations

import dataclasses
import sys
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from bundles import tiny_config
from timm.layers import Conv2dSame
from torch import Tensor, nn
from training import dataset

from bear_classifier.images.preprocessing import Preprocessing
from bear_classifier.learn.probe import probe
from bear_classifier.learn.train import train
from bear_classifier.lesson import contents
from bear_classifier.lesson.page import Page, Sheet
from bear_classifier.lesson.photos import activations, features, saliency
from bear_classifier.lesson.trained_model import Subject, evaluation_network
from bear_classifier.stats.intervals import bootstrap_mean

# kernels


def test_a_convolution_by_hand() -> None:
    picture = np.array([[1.0, 2, 3], [4, 5, 6]])
    kernel = np.array([[1.0, 0], [0, 10]])  # no mirror: as networks do it
    assert activations.convolve(picture, kernel).tolist() == [[51, 62]]


def test_a_convolution_is_torchs() -> None:
    rng = np.random.default_rng(0)
    pictures, weights = rng.normal(size=(3, 9, 8)), rng.normal(size=(3, 3, 3))
    theirs = nn.functional.conv2d(
        torch.from_numpy(pictures)[None], torch.from_numpy(weights)[None], padding=1, stride=2
    )
    ours = activations.convolve_all(pictures, weights, padding=1, stride=2)
    assert np.allclose(ours, theirs[0, 0].numpy())


@pytest.mark.parametrize("n", [8, 9])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (5, 2), (3, 1), (2, 2)])
def test_a_convolution_is_that_of_networks_from_tensorflow(
    n: int, kernel: int, stride: int
) -> None:
    """EfficientNet-Lite's first layer pads as "same" does: more on the right and below."""
    layer = Conv2dSame(1, 1, kernel, stride=stride, bias=False)
    rng = np.random.default_rng(0)
    photo, weight = rng.normal(size=(1, n, n)), rng.normal(size=(1, kernel, kernel))
    with torch.no_grad():
        layer.weight[0] = torch.from_numpy(weight)
        theirs = layer(torch.from_numpy(photo)[None].float())[0, 0].numpy()
    wide = activations.padded(photo, kernel, stride, theirs.shape[-1])
    ours = activations.convolve_all(wide, weight, padding=0, stride=stride)
    assert ours.shape == theirs.shape and np.allclose(ours, theirs, atol=1e-5)


def body() -> nn.Sequential:
    """Pictures of 8 pixels: two units with 4 x 4 places, whose middles are taken as they are."""
    first = nn.Conv2d(3, 2, 1, stride=2, bias=False)
    with torch.no_grad():
        first.weight.zero_()
        first.weight[0, 0] = 1.0  # red
        first.weight[1, 2] = -1.0  # not blue
    return nn.Sequential(first, nn.Sequential(nn.Identity(), nn.MaxPool2d(2)))


def test_layers_are_the_last_step_of_each_resolution() -> None:
    found = activations.layers(body(), 8)
    assert [(f.end, f.units, f.side, f.stride) for f in found] == [(2, 2, 4, 2), (3, 2, 2, 4)]


def test_the_first_of_many_layers_is_left_out() -> None:
    halves = nn.Sequential(*(nn.MaxPool2d(2) for _ in range(4)))
    assert [found.side for found in activations.layers(halves, 32)] == [8, 4, 2]


def test_what_a_relu_cuts_off_is_read_before_it() -> None:
    """Else all photos above 6 would be equally strong."""
    capped = nn.Sequential(*body(), nn.Sequential(nn.ReLU6(inplace=True)))
    found = activations.layers(capped, 8)
    assert [layer.end for layer in found] == [2, 3]
    x = torch.zeros(1, 3, 8, 8)
    x[0, 0, 2, 6] = 50.0
    assert activations.Peek(capped, found)(x)[2].tolist() == [[50.0, 0.0]]


def test_peaks_are_the_largest_and_its_place() -> None:
    x = torch.zeros(1, 3, 8, 8)
    x[0, 0, 2, 6] = 5.0  # red in the second row and the last column of 4 x 4 places
    x[0, 2] = 1.0
    x[0, 2, 6, 0] = -2.0
    layers = activations.layers(body(), 8)
    most, place, wide, wide_place = activations.Peek(body(), layers)(x)
    assert (most.tolist(), place.tolist()) == ([[5.0, 2.0]], [[7, 12]])
    assert (wide.tolist(), wide_place.tolist()) == ([[5.0, 2.0]], [[1, 2]])


def test_a_group_of_near_copies_counts_once(make: Any) -> None:
    photos = [make(1, group="a"), make(2, group="b"), make(3, group="a"), make(4, group=None)]
    assert [int(photo.sha256, 16) for photo in activations.one_per_group(photos)] == [1, 2, 4]


MOST = np.float32([[9, 0], [7, 1], [8, 2], [1, 3], [0, 9], [2, 8]])  # 6 photos, 2 units
LABELS = np.array([0, 0, 0, 1, 1, 0])


def test_top_and_purity_by_hand() -> None:
    rows = activations.top(MOST, 3)
    assert rows.tolist() == [[0, 2, 1], [4, 5, 3]]
    assert activations.purity(LABELS[rows]) == pytest.approx([1.0, 2 / 3])


def test_chance_keeps_the_classes_and_their_sizes() -> None:
    """Two photos of one class of two, of four: 1 where they agree, else a half."""
    found = activations.shuffled_purity(np.array([0, 0, 1, 1]), np.array([[0, 1]]), seed=0)
    assert set(found.tolist()) == {0.5, 1.0}
    assert found.mean() == pytest.approx(1 / 3 * 1.0 + 2 / 3 * 0.5, abs=0.03)


def test_the_readable_are_those_that_agree_each_class_in_turn() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1])
    most = np.float32([
        [9, 1, 9, 9], [8, 2, 8, 1], [7, 3, 1, 8], [1, 9, 7, 7], [2, 8, 2, 2], [3, 7, 3, 3],
    ])  # fmt: skip
    # of three photos: unit 0 has three of class 0, unit 1 of class 1, 2 and 3 have two of class 0
    assert activations.readable(most, labels, 3, 3).tolist() == [0, 1, 2]


def test_a_crop_lies_around_its_place_and_inside_the_picture() -> None:
    picture = np.arange(64 * 64 * 3, dtype=np.uint32).astype(np.uint8).reshape(64, 64, 3)
    layer = activations.Layer(end=1, units=1, side=16, stride=4)
    middle = activations.crop(picture, layer, 8 * 16 + 5)  # at row 34, column 22
    assert np.array_equal(middle, picture[22:46, 10:34])
    corner = activations.crop(picture, layer, 0)
    assert np.array_equal(corner, picture[:24, :24])
    assert activations.crop(picture, dataclasses.replace(layer, stride=16), 0).shape == (64, 64, 3)


# places


def test_squares_lie_around_places_and_overlap() -> None:
    found = saliency.windows(8, 4)
    assert found.shape == (16, 8, 8)
    rows, columns = (found[6].any(axis=axis) for axis in (1, 0))  # row 1, column 2
    assert np.flatnonzero(rows).tolist() == [1, 2, 3, 4]
    assert np.flatnonzero(columns).tolist() == [3, 4, 5, 6]
    assert found.any(axis=0).all()


def test_what_is_covered_has_the_mean_colour() -> None:
    x = torch.arange(12.0).reshape(3, 2, 2)
    mask = np.array([[[True, False], [False, False]]])
    found = saliency.covered(x, mask)
    assert found[0, :, 0, 0].tolist() == [1.5, 5.5, 9.5]
    assert torch.equal(found[0, :, 1], x[:, 1])


def red(x: Tensor) -> Tensor:
    """Logits (n, 2): the red of the upper left quarter, and nothing."""
    return torch.stack([x[:, 0, :4, :4].sum(dim=(1, 2)), torch.zeros(len(x))], dim=1)


def test_falls_where_it_matters() -> None:
    x = torch.zeros(3, 8, 8)
    x[0, 1, 1] = 64.0  # its mean colour is 1
    found = saliency.logit_drops(red, x, 0, saliency.windows(8, 4)).reshape(4, 4)
    assert found[0, 0] == 64 - 9.0  # nine pixels of 1 in place of 64 and noughts
    assert found[3, 3] == 0
    assert (saliency.logit_drops(red, x, 1, saliency.windows(8, 4)) == 0).all()


def test_the_highest_quarter_and_the_same_shape_elsewhere() -> None:
    map_ = np.arange(16.0).reshape(4, 4)
    best = saliency.highest(map_)
    assert np.flatnonzero(best).tolist() == [12, 13, 14, 15]
    rng = np.random.default_rng(0)
    for _ in range(50):
        other = saliency.shifted_mask(map_ == 5, rng)
        assert other.sum() == 1
        assert not other[1, 1]
    grown = saliency.grown(best, 8)
    assert grown[6:].all()
    assert not grown[:6].any()


def test_rank_correlation_by_hand() -> None:
    a = np.array([[1.0, 2], [3, 4]])
    assert saliency.rank_correlation(a, a**3) == pytest.approx(1)
    assert saliency.rank_correlation(a, -a) == pytest.approx(-1)
    assert saliency.rank_correlation(a, np.array([[2.0, 1], [4, 3]])) == pytest.approx(0.6)


def test_intervals_hold_the_mean_and_know_doubt() -> None:
    mean, low, high = bootstrap_mean(np.array([1.0, 1, 1]), 7)
    assert (mean, low, high) == (1, 1, 1)
    mean, low, high = bootstrap_mean(np.array([-1.0, 1] * 20), 7)
    assert low < mean == 0 < high


def test_partners_have_the_same_answer() -> None:
    assert saliency.partners(np.array([0, 1, 0, 0, 2])) == [2, 2, 3, 0, 0]


# the page


def shrink(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(contents.TITLES, "features", "What the network sees")
    patch.setattr(features, "COVERED", 6)
    patch.setattr(features, "TOP", 3)
    patch.setattr(features, "SHOWN", 1)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    shrink(monkeypatch)


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subject]:
    config = tiny_config(train={"epochs": 1, "batch_size": 4, "lr": 0.01}, probe={"folds": 2})
    with dataset(tmp_path_factory.mktemp("features"), config) as catalog:
        probe(catalog, config)
        train(catalog, config)
        yield Subject(catalog, config, catalog.root / "model")


@pytest.fixture(scope="module")
def made(subject: Subject) -> Page:
    with pytest.MonkeyPatch.context() as patch:
        shrink(patch)
        return features.page(subject)


def holds(page: Page | Sheet, words: str) -> bool:
    """Of the one claim that has these words."""
    claims = page.claims if isinstance(page, Page) else page.page().claims
    (found,) = (claim for claim in claims if words in claim.said)
    return found.holds


FLAT, MEAN, LOOP = "on a flat picture", "keeps the mean", "our loop"
EXACT, AGREE, OWN = "is the logit", "agree on which places", "not about photos in general"
QUARTER, COMPLETE = "covering the quarter", "it is complete"
LOT, CHOSEN = "random units of the last layer agree more", "no accident"


def test_the_page_shows_and_checks_everything(made: Page) -> None:
    for words in (FLAT, MEAN, LOOP, EXACT):  # true of any network
        assert holds(made, words)
    for words in (AGREE, OWN, QUARTER, LOT, CHOSEN):  # of one that has learned
        assert isinstance(holds(made, words), bool)
    names = set(made.files)
    assert {"features-kernels.png", "features-filters.png", "features-places.png"} <= names
    assert sum(name.startswith("features-units-") for name in names) >= 2
    assert "they learned from" not in made.body
    assert "since there are too few others" in made.body


def test_photos_that_it_did_not_learn_from_where_there_are_enough(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = features.photo_set(subject)
    assert (len(every.photos), every.unseen) == (24, False)
    monkeypatch.setattr(features, "PHOTOS_PER_CLASS", 4)
    others = features.photo_set(subject)
    assert others.unseen
    assert {photo.split for photo in others.photos} == {"valid", "test"}
    names = subject.config.labels
    assert [names[label] for label in others.labels] == [photo.label for photo in others.photos]
    assert others.pixels(0).shape == (64, 64, 3)
    monkeypatch.setattr(activations, "one_per_group", lambda photos: photos[:9])
    monkeypatch.setattr(features, "PHOTOS_PER_CLASS", 99)
    assert len(features.photo_set(subject).photos) == 9  # the near-copies are out on all paths


@pytest.mark.series
@pytest.mark.parametrize(("name", "words"), [("edges", FLAT), ("sharpen", FLAT), ("blur", MEAN)])
def test_a_kernel_of_another_sum_is_noticed(
    made: Page, monkeypatch: pytest.MonkeyPatch, name: str, words: str
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    right, wrong = Sheet("features"), Sheet("features")
    features._kernels(right, pixels)
    monkeypatch.setitem(features.KERNELS, name, features.KERNELS[name] * 1.01 + 0.01)
    features._kernels(wrong, pixels)
    assert (holds(right, words), holds(wrong, words)) == (True, False)


def test_a_wrong_loop_is_noticed(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mirrored kernel, as mathematics has it."""
    model, pixels = evaluation_network(subject), features.photo_set(subject).pixels(0)
    right = activations.convolve
    monkeypatch.setattr(activations, "convolve", lambda p, k: right(p, k[::-1, ::-1]))
    sheet = Sheet("features")
    features._filters(sheet, model, pixels, Preprocessing(224))
    assert not holds(sheet, LOOP)


def peaks(informed: float, n: int = 120, units: int = 60, seed: int = 0) -> activations.Peaks:
    """Of photos of two classes in turn; a share of the units answers to one of them, others to
    nothing."""
    rng = np.random.default_rng(seed)
    most = rng.normal(size=(n, units)).astype(np.float32)
    told = rng.random(units) < informed
    same = np.arange(n)[:, None] % 2 == np.arange(units) % 2
    most += 3.0 * (told & same).astype(np.float32)
    return activations.Peaks(most, np.zeros((n, units), np.int64))


def said_of(late: activations.Peaks, early: activations.Peaks) -> Sheet:
    labels, sheet = np.arange(120) % 2, Sheet("features")
    sides = ((activations.Layer(1, 60, 8, 4), early), (activations.Layer(2, 60, 4, 8), late))
    rows = [features._agreement(*side, labels, 60) for side in sides]
    features._purities(sheet, rows, ["black", "teddy"])
    return sheet


def test_units_that_know_classes_are_told_from_those_that_do_not() -> None:
    learned = said_of(peaks(0.5), peaks(0.0, seed=1))
    assert [holds(learned, words) for words in (LOT, CHOSEN)] == [True] * 2
    assert "Of these photos: yes." in learned.page().body
    knows_nothing = said_of(peaks(0.0), peaks(0.0, seed=1))
    assert [holds(knows_nothing, words) for words in (LOT, CHOSEN)] == [False] * 2
    assert "Of these photos: not significantly." in knows_nothing.page().body
    upside_down = said_of(peaks(0.0), peaks(0.5, seed=1))
    assert "Of these photos: no, it lowers it." in upside_down.page().body


def test_units_that_are_chosen_by_the_photos_that_judge_them_would_look_readable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Why there are halves: among units that know nothing some agree by chance."""
    monkeypatch.setattr(features, "UNITS", 12)  # of 60
    labels, layer, noise = np.arange(120) % 2, activations.Layer(1, 60, 8, 4), peaks(0.0)
    honest = features._agreement(layer, noise, labels, 60)
    by_shown = activations.readable(noise.most[60:], labels[60:], 3, features.UNITS)
    monkeypatch.setattr(activations, "readable", lambda *_: by_shown)
    cheated = features._agreement(layer, noise, labels, 60)
    assert cheated.mean(cheated.chosen) > honest.mean(honest.chosen) + 0.1


@pytest.fixture(scope="module")
def asked(subject: Subject) -> tuple[Any, Tensor]:
    model, watched = evaluation_network(subject), features.photo_set(subject)
    pixels = np.stack([watched.pixels(row) for row in range(8)])
    return model, features.normalise(pixels, Preprocessing(224))


def exact(asked: tuple[Any, Tensor]) -> bool:
    sheet = Sheet("features")
    saliency._exact(sheet, asked[0], saliency.predict(*asked))
    return holds(sheet, EXACT)


def test_evidence_that_forgets_something_is_noticed(
    asked: tuple[Any, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert exact(asked)
    whole = saliency.network_head(asked[0])
    for part in ("mean", "scale", "bias"):
        wrong = dataclasses.replace(whole, **{part: getattr(whole, part) * 1.1 + 0.01})
        monkeypatch.setattr(saliency, "network_head", lambda _, wrong=wrong: wrong)
        assert not exact(asked)


def checked(maps: Any, falls: Any, best: Any, lot: Any) -> Sheet:
    n, sheet = len(maps), Sheet("features")
    said = saliency.Predicted(np.zeros(n, np.int64), np.zeros((n, 1)), maps[:, None])
    saliency._checked(sheet, ["black"], said, saliency.Occluded(falls, best, lot))
    return sheet


@pytest.mark.long
def test_maps_that_point_elsewhere_are_noticed() -> None:
    rng = np.random.default_rng(0)
    maps, noise = rng.normal(size=(2, 30, 5, 5))
    drop = rng.normal(size=30)
    good = checked(maps, maps + noise, drop + 1, drop)
    assert [holds(good, words) for words in (AGREE, OWN, QUARTER)] == [True] * 3
    apart = checked(maps, noise, drop, drop)
    assert [holds(apart, words) for words in (AGREE, OWN, QUARTER)] == [False] * 3
    middle = np.broadcast_to(maps[:1], maps.shape)  # the same for every photo: a habit
    habit = checked(middle + 0.1 * noise, middle + 0.1 * rng.normal(size=maps.shape), drop, drop)
    assert (holds(habit, AGREE), holds(habit, OWN)) == (True, False)


def test_covering_finds_what_a_network_looks_at() -> None:
    """The red of the upper left quarter; a map that says so, and one that says the opposite."""
    x = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    x[:, 0, :4, :4] += 3
    map_ = np.zeros((6, 1, 4, 4))
    map_[:, :, :2, :2] = 1
    targets = np.zeros(6, np.int64)
    for sign in (1, -1):
        said = saliency.Predicted(targets, red(x).numpy(), sign * map_)
        found = saliency.occlude(red, x, said)
        assert found.drops.shape == (6, 4, 4)
        assert (found.drops[:, 0, 0] > 5).all()
        assert np.abs(found.drops[:, 3, 3]).max() < 1e-5
        assert (found.best > found.random).all() == (sign == 1)


class Midpoints:
    """What Captum does, for tests without it."""

    lost = 1.0  # share of what it adds up

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def attribute(
        self, x: Tensor, baselines: Tensor, target: Tensor, n_steps: int, internal_batch_size: int
    ) -> Tensor:
        total = torch.zeros_like(x)
        for k in range(n_steps):
            at = (baselines + (k + 0.5) / n_steps * (x - baselines)).requires_grad_()
            said = self.model(at).gather(1, target[:, None]).sum()
            total += torch.autograd.grad(said, at)[0]
        return (x - baselines) * total / n_steps * self.lost


class Square(nn.Module):
    """Logits that are squares: their slope is straight, so that midpoints add it up exactly. They
    rise by far more than 1, which a share of them is compared with."""

    def forward(self, x: Tensor) -> Tensor:
        total = 1 + x.square().sum(dim=(1, 2, 3))
        return torch.stack([total, -total, 2 * total], dim=1)


@pytest.mark.parametrize(("lost", "complete"), [(1.0, True), (0.94, False), (1.06, False)])
def test_integrated_gradients_are_shown_where_captum_is(
    monkeypatch: pytest.MonkeyPatch, lost: float, complete: bool
) -> None:
    attr: Any = types.ModuleType("captum.attr")
    attr.IntegratedGradients = Midpoints
    monkeypatch.setattr(Midpoints, "lost", lost)
    monkeypatch.setattr(saliency, "STEPS", 50)
    monkeypatch.setitem(sys.modules, "captum.attr", attr)
    monkeypatch.setattr(saliency.importlib.util, "find_spec", lambda name: name)
    x = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    photos = [np.zeros((64, 64, 3), np.uint8)] * len(x)
    model: Any = Square()
    said = saliency.Predicted(np.array([0, 1, 2, 0]), model(x).numpy(), np.zeros((4, 3, 2, 2)))
    sheet = Sheet("features")
    saliency._gradients(sheet, model, said, x, photos)
    assert holds(sheet, COMPLETE) is complete


def test_without_captum_the_page_says_how_to_get_it(
    asked: tuple[Any, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saliency.importlib.util, "find_spec", lambda name: None)
    model, x = asked
    photos = [np.zeros((64, 64, 3), np.uint8)] * len(x)
    sheet = Sheet("features")
    saliency._gradients(sheet, model, saliency.predict(model, x), x, photos)
    assert "pip install captum" in sheet.page().body
    assert sheet.page().claims == ()

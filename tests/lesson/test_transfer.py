"""Transfer in stages: the arithmetic by hand, and claims that fall when that is broken."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bundles import tiny_config
from corpus import seeded
from PIL import Image
from torch import nn
from training import dataset

from bear_classifier.errors import ConfigError, DataError
from bear_classifier.learn.backbone import Classifier
from bear_classifier.lesson.page import Page
from bear_classifier.lesson.photos import staged_training
from bear_classifier.lesson.photos import transfer as stages
from bear_classifier.lesson.photos.staged_training import Photos, adam, descent
from bear_classifier.lesson.photos.transfer import TransferRun
from bear_classifier.lesson.trained_model import LabelledFeatures, Subject
from bear_classifier.stats.paired import Difference

SHAPES = torch.from_numpy(np.random.default_rng(seeded(0)).normal(size=(3, 3, 6, 6))).float()
SUBJECT: Any = type("Any", (), {"config": tiny_config()})()


def seen(seed: int, n: int, dark: bool) -> LabelledFeatures:
    """Maps of three classes in much noise; at night they are fainter, and all have a lamp."""
    dice = torch.Generator().manual_seed(seeded(seed))
    y = torch.arange(n) % 3
    x = SHAPES[y] + 2 * torch.randn(n, 3, 6, 6, generator=dice)
    x = 0.8 * x + 0.1 if dark else x
    return LabelledFeatures(x, y, np.array([f"g{number}" for number in range(n)]))


def network() -> Classifier:
    torch.manual_seed(seeded(1))
    body = nn.Sequential(nn.Conv2d(3, 24, 3, padding=1), nn.ReLU(), nn.Conv2d(24, 32, 3), nn.ReLU())
    return Classifier(body, 3, 0.0).eval()


THERE = Photos(network(), seen(1, 240, False), seen(2, 60, True), seen(3, 150, True),
               seen(3, 150, False), b"\x89PNG")  # fmt: skip


def run(share: float, shifts: list[float]) -> TransferRun:
    """Of three draws: so many wrong of 150 photos, others in each."""
    one = np.random.default_rng(0).permutation(150) < share * 150
    wrongs = np.stack([np.roll(one, 50 * draw) for draw in range(3)])
    return TransferRun(wrongs.astype(float), wrongs.astype(float), np.array(shifts))


RUNS = {
    stages.HEAD: run(0.5, [0.0, 0.0, 0.0]),
    stages.ONCE: run(0.75, [0.8, 0.7, 0.9]),
    stages.FIRST: run(0.5, [0.1, 0.2, 0.1]),
}


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The methods by hand, the stages by real trainings."""
    monkeypatch.setattr(staged_training, "photos_of", lambda subject, each: THERE)
    monkeypatch.setattr(stages, "_run", lambda there, classes, method: RUNS[method])
    monkeypatch.setattr(stages, "MANY", (3e-3, 3e-3))
    monkeypatch.setattr(stages, "PHOTO_DRAWS", 3)
    return monkeypatch


def fallen(page: Page) -> list[str]:
    return [claim.said for claim in page.claims if not claim.holds]


def test_every_claim_holds_and_dice_are_left_alone(made: pytest.MonkeyPatch) -> None:
    before = random.getstate(), torch.get_rng_state().tolist()
    page = stages.page(SUBJECT)
    assert (random.getstate(), torch.get_rng_state().tolist()) == before
    assert fallen(page) == [], [claim.found for claim in page.claims]
    assert len(page.claims) == 4
    assert "[[l" not in page.body


@pytest.mark.series
@pytest.mark.parametrize(
    ("where", "name", "instead", "words"),
    [
        (
            stages,
            "train_in_stages",
            staged_training.with_new_head,
            "with a related stage in between",
        ),
        (stages, "trained_further", lambda *_: THERE.model, "with a related stage in between"),
        (
            staged_training,
            "with_shuffled_labels",
            lambda many, seed: many,
            "it is what the many show that helps",
        ),
    ],
)
def test_a_claim_on_stages_falls_with_what_it_claims(
    made: pytest.MonkeyPatch, where: Any, name: str, instead: Any, words: str
) -> None:
    made.setattr(where, name, instead)
    assert any(words in said for said in fallen(stages.page(SUBJECT)))


@pytest.mark.series
@pytest.mark.parametrize(
    ("method", "instead", "words"),
    [
        (stages.FIRST, run(0.5, [0.1, 0.75, 0.1]), "drags the features away"),  # in one draw
        (stages.ONCE, run(0.5, [0.8, 0.7, 0.9]), "it shows in the answers"),
        (stages.FIRST, RUNS[stages.ONCE], "it shows in the answers"),
        (stages.HEAD, run(0.02, [0.0] * 3), "than by the best direct way"),  # the best counts
    ],
)
def test_a_claim_on_methods_falls_with_what_it_claims(
    made: pytest.MonkeyPatch, method: str, instead: TransferRun, words: str
) -> None:
    made.setattr(stages, "_run", lambda t, c, m: instead if m == method else RUNS[m])
    assert any(words in said for said in fallen(stages.page(SUBJECT)))


def test_real_runs_of_the_three_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "FEW", (3e-3, 3e-3))
    monkeypatch.setattr(stages, "PHOTO_DRAWS", 2)
    head, once, first = (stages._run(THERE, 3, method) for method in stages.METHODS)
    assert head.wrongs.shape == once.by_day.shape == (2, 150)
    assert (head.shifts < 1e-5).all()  # its body never learns
    assert (once.shifts > 0).all() and (first.shifts > 0).all()
    assert not np.array_equal(head.wrongs, first.wrongs)
    monkeypatch.setattr(stages, "EPOCHS", 0)  # of what comes after the head: it had its turn first
    assert np.array_equal(stages._run(THERE, 3, stages.FIRST).wrongs, head.wrongs)
    assert not np.array_equal(stages._run(THERE, 3, stages.ONCE).wrongs, head.wrongs)


# learning


def test_a_new_head_sees_features_of_mean_0_and_variance_1() -> None:
    own = staged_training.few(THERE.at_night, 10, 0)
    model = staged_training.with_new_head(THERE.model, own, 3, 0)
    normal = model.head[2](staged_training.features(model, own.x))
    assert torch.allclose(normal.mean(0), torch.zeros(model.n_features), atol=1e-3)
    spread = staged_training.features(model, own.x).var(0)
    assert torch.allclose(normal.var(0), spread / (spread + 1e-5), atol=1e-3)
    other = staged_training.with_new_head(THERE.model, own, 3, 1)
    assert not torch.equal(model.head[-1].weight, other.head[-1].weight)


@pytest.mark.parametrize("by", [adam, descent])
@pytest.mark.parametrize("body", [True, False])
def test_only_what_is_to_learn_learns_and_the_start_stays(body: bool, by: Any) -> None:
    own = staged_training.few(THERE.at_night, 10, 0)
    start = staged_training.with_new_head(THERE.model, own, 3, 0)
    before = {name: value.clone() for name, value in start.state_dict().items()}
    one, two = (staged_training.trained(start, own, 3, (1e-2, 1e-2), 5, by, body) for _ in range(2))
    after = one.state_dict()
    assert all(torch.equal(before[name], value) for name, value in start.state_dict().items())
    assert all(torch.equal(after[name], value) for name, value in two.state_dict().items())
    moved = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert moved == ({"body", "head"} if body else {"head"})
    assert torch.equal(before["head.2.running_mean"], after["head.2.running_mean"])


def test_how_far_features_moved_by_hand() -> None:
    before = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    assert staged_training.feature_shift(
        before, before + torch.tensor([0.0, 0.5])
    ) == pytest.approx(0.5)
    assert staged_training.feature_shift(before, before) == 0


def test_a_few_of_each_class_by_lot() -> None:
    few, again, others = (staged_training.few(THERE.by_day, 10, seed) for seed in (0, 0, 1))
    assert few.y.bincount().tolist() == [10, 10, 10]
    assert few.groups.tolist() == again.groups.tolist() != others.groups.tolist()
    assert staged_training.few(few, 99, 0).y.bincount().tolist() == [10, 10, 10]


def test_labels_by_lot_are_those_of_the_others() -> None:
    lot = staged_training.with_shuffled_labels(THERE.by_day, 0)
    assert lot.y.bincount().tolist() == THERE.by_day.y.bincount().tolist()
    assert 0.2 < float((lot.y == THERE.by_day.y).double().mean()) < 0.5
    assert lot.x is THERE.by_day.x


# photos


def test_night_is_grey_dark_at_the_edges_and_the_same_again() -> None:
    photo = Image.new("RGB", (90, 60), (250, 180, 60))
    night = np.asarray(staged_training.at_night(photo, 1))
    assert night.shape == (60, 90, 3)
    assert (night.max(-1) == night.min(-1)).all()
    assert night[:8, :8].mean() < 0.4 * night[26:34, 41:49].mean() < 0.9 * 190
    assert (night == np.asarray(staged_training.at_night(photo, 1))).all()
    assert (night != np.asarray(staged_training.at_night(photo, 2))).any()


def test_photos_of_a_dataset_lie_on_one_side_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config()
    with dataset(tmp_path, config) as catalog:
        subject = Subject(catalog, config, tmp_path / "none")
        there = staged_training.photos_of(subject, 1)
        parts = (there.by_day, there.at_night, there.held_out)
        assert [len(part.y) for part in parts] == [6, 6, 12]
        groups = [set(part.groups) for part in parts]
        assert not (groups[0] & groups[1] or groups[0] & groups[2] or groups[1] & groups[2])
        assert there.held_out.groups.tolist() == there.held_out_by_day.groups.tolist()
        assert not torch.allclose(there.held_out.x, there.held_out_by_day.x, atol=0.1)
        assert there.picture.startswith(b"\x89PNG")
        with torch.inference_mode():  # maps go on where the early layers end
            assert there.model(there.held_out.x).shape == (12, 3)
        with pytest.raises(DataError, match="TOO_FEW.*0 photos by day, 4 at night and 4 held"):
            staged_training.photos_of(subject, 3)
        monkeypatch.setattr(staged_training, "last_stage", lambda *_: 0)
        with pytest.raises(ConfigError, match="no last stage of its own"):
            staged_training.photos_of(subject, 1)


def test_near_copies_stay_together(tmp_path: Path) -> None:
    with dataset(tmp_path, tiny_config()) as catalog:
        photos = catalog.photos("ok")
    copies = [type(p)(**{**vars(p), "group": f"g{n // 4}"}) for n, p in enumerate(photos)]
    own, others = staged_training.parted(copies, 3)
    assert len(own) + len(others) == len(photos)
    assert not {p.group for p in own} & {p.group for p in others}


def test_an_interval_in_words_and_whether_it_lies_below() -> None:
    found = Difference(-0.1, 0.01, 0.02, 100, 1000)
    assert found.span("error") == "-10.0 points (-14.4 to -5.6)"
    assert found.span("loss") == "-0.100 (-0.144 to -0.056)"
    assert found.below() and found.below(-0.05) and not found.below(-0.06)
    single = Difference(-0.1, float("nan"), 0.02, 1, 1000)  # one seed tells nothing
    assert not single.below()
    assert single.span("loss") == "-0.100 (+nan to +nan)"

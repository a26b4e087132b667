"""What the settings of training do: phases, head, balance, resize; and what is said of them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bundles import LABELS, tiny_config
from fastai.torch_core import set_seed
from training import changed, fresh, pairs_of, probed, same

from bear_classifier.config.project_file import build
from bear_classifier.config.settings import Config, TrainConfig
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.errors import ConfigError
from bear_classifier.learn import mixed_precision
from bear_classifier.learn.checkpoints import State
from bear_classifier.learn.data import dataloaders
from bear_classifier.learn.fit import (
    Phase,
    Plan,
    class_weights,
    fit,
    make_learner,
    phases,
    plan_of,
    unbalanced,
)
from bear_classifier.learn.train import start, train

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Catalog, Config]:
    config = tiny_config(train={"epochs": 2, "batch_size": 4, "lr": 0.003})
    catalog = probed(tmp_path_factory.mktemp("recipe"), config)
    return catalog, config


# phases


def test_one_cycle_over_all_layers_is_the_default() -> None:
    config = tiny_config(train={"epochs": 3, "lr": 0.1, "lr_ratio": 2.0})
    assert phases(plan_of(config, LABELS), 0.1) == [Phase(0, 3, slice(0.05, 0.1), 5.0, 0.3)]


def test_the_frozen_epochs_come_first_and_the_others_are_divided() -> None:
    found = phases(Plan(6, 0.1, 2.0, frozen=1, cycles=2), 0.1)
    assert found == [
        Phase(0, 1, slice(0.1), 25.0, 0.99, frozen=True),
        Phase(1, 3, slice(0.025, 0.05), 5.0, 0.3),
        Phase(4, 2, slice(0.025, 0.05), 5.0, 0.3),
    ]
    assert [p.epochs for p in phases(Plan(5, 0.1, 2.0, cycles=3), 0.1)] == [2, 2, 1]
    assert [p.frozen for p in phases(Plan(3, 0.1, 2.0, frozen=3), 0.1)] == [True]


def test_what_does_not_fit_into_the_epochs_is_refused() -> None:
    for settings, words in (
        ({"epochs": 2, "frozen": 3}, "train.frozen = 3 is more than the 2 epochs"),
        ({"epochs": 3, "frozen": 1, "cycles": 3}, "train.cycles = 3, but only 2 epochs are not"),
    ):
        with pytest.raises(ConfigError, match=f"BAD_SETTING: test: {words}"):
            build({"classes": {"a": ["a"], "b": ["b"]}, "train": settings}, where="test")
    build({"classes": {"a": ["a"], "b": ["b"]}, "train": {"epochs": 2, "frozen": 2}}, where="test")


def test_a_frozen_epoch_moves_the_head_only(prepared: tuple[Catalog, Config]) -> None:
    catalog, config = prepared
    dls, model = fresh(catalog, config)
    before = {k: t.clone() for k, t in model.state_dict().items()}
    states: list[State] = []
    fit(dls, model, Plan(3, 1e-3, 1.0, frozen=1), keep=states.append)
    first, second = (state.part("model.") for state in states[:2])
    moved = {k for k in before if not torch.equal(before[k], first[k])}
    assert {"head.3.weight", "head.2.weight"} <= moved
    assert not [name for name in moved if name.startswith("body.")]
    assert [k for k in before if k.startswith("body.") and not torch.equal(first[k], second[k])]
    assert [row["epoch"] for row in states[2].facts["history"]] == [1, 2, 3]
    assert all(p.requires_grad for p in model.parameters())


def test_a_new_head_and_one_frozen_epoch_is_fine_tune(
    prepared: tuple[Catalog, Config], tmp_path: Path
) -> None:
    """Weight for weight what fastai's own method comes to."""
    catalog, config = prepared
    dls, model = fresh(catalog, config)
    model.new_head(1)
    states: list[State] = []
    fit(dls, model, Plan(3, 3e-3, 2.0, frozen=1), keep=states.append)
    dls, theirs = fresh(catalog, config)
    theirs.new_head(1)
    learn = make_learner(dls, theirs, tmp_path, Plan(3, 3e-3, 2.0))
    learn.create_opt()
    with mixed_precision.fast_precision(theirs), learn.no_logging():
        learn.fine_tune(2, 3e-3, freeze_epochs=1, lr_mult=2.0)
    assert same(states[-1].part("model."), theirs.state_dict())


def test_each_cycle_begins_anew(prepared: tuple[Catalog, Config]) -> None:
    """Two of one epoch each are two fits of one epoch, the optimizer's moments kept."""
    catalog, config = prepared
    weights = []
    for cycles in (1, 2):
        dls, model = fresh(catalog, config)
        states: list[State] = []
        fit(dls, model, Plan(2, 1e-3, 1.0, cycles=cycles), keep=states.append)
        weights.append(states[-1].part("model."))
        steps = states[-1].facts["steps"]
    assert not same(*weights)
    assert max(steps) == 2 * len(dls.train)


def test_a_loss_that_is_no_number_ends_all_phases(prepared: tuple[Catalog, Config]) -> None:
    catalog, config = prepared
    dls, model = fresh(catalog, config)
    seen: list[int] = []

    def poisoned(logits: torch.Tensor, targets: torch.Tensor) -> Any:
        seen.append(1)
        factor = torch.nan if len(seen) > 6 and model.training else 1.0
        return Plan.loss(logits, targets) * factor

    end, (note,) = fit(dls, model, Plan(4, 1e-3, 1.0, poisoned, frozen=1, cycles=3))
    assert [row["epoch"] for row in end.facts["history"]] == [1]
    assert "diverged in epoch 2" in note
    assert "The model of epoch 1 was kept" in note
    assert len(seen) == 7


# the head


def test_a_new_head_knows_nothing_and_follows_from_its_seed(
    prepared: tuple[Catalog, Config],
) -> None:
    model = start(*prepared)
    old = model.head[-1].weight.clone()
    drawn = []
    for dice, seed in ((1, 5), (2, 5), (1, 6)):
        torch.manual_seed(dice)
        model.new_head(seed)
        drawn.append(model.head[-1].weight.clone())
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0], old)
    assert float(drawn[0].std()) == pytest.approx((2 / model.n_features) ** 0.5, rel=0.1)
    norm = model.head[2]
    for values, level in ((norm.running_mean, 0), (norm.running_var, 1), (norm.weight, 1)):
        assert torch.equal(values, torch.full_like(values, level))
    assert not model.head[-1].bias.any()


def test_training_from_a_new_head_is_compared_with_the_probe(
    prepared: tuple[Catalog, Config],
) -> None:
    catalog, config = prepared
    plain = train(catalog, changed(config, epochs=1, lr=1e-9))
    other = train(catalog, changed(config, epochs=1, lr=1e-9, head="new"))
    assert other["valid_loss"]["probe"] == plain["valid_loss"]["probe"]
    assert abs(other["valid_loss"]["tuned"] - plain["valid_loss"]["tuned"]) > 0.005


# balance


def test_weights_of_classes_by_hand() -> None:
    labels = ["black"] * 6 + ["teddy"] * 2 + ["grizzly"]
    assert class_weights(labels, LABELS) == pytest.approx((0.5, 3.0, 1.5))  # 9 / (3 * n)
    assert class_weights(["black", "teddy"], LABELS) == pytest.approx((2 / 3, 2 / 3, 2 / 3))
    weighted = tiny_config(train={"balance": "weighted-loss"})
    assert plan_of(weighted, labels).weights == class_weights(labels, LABELS)
    for other in ("none", "oversample"):
        assert plan_of(tiny_config(train={"balance": other}), labels).weights == ()


def test_weights_count_in_training_and_never_on_validation(
    prepared: tuple[Catalog, Config],
) -> None:
    """The class that weighs most is the one that the model hardly ever names."""
    catalog, config = prepared
    rows = []
    for weights in ((), (9.0, 0.1, 0.1)):
        dls, model = fresh(catalog, config, batch=12)  # all photos: each class is in the batch
        with torch.no_grad():
            model.head[-1].bias[0] -= 8
        end, _ = fit(dls, model, Plan(1, 1e-9, 1.0, weights=weights))
        rows.append(end.facts["history"][0])
    assert rows[0]["valid_loss"] == pytest.approx(rows[1]["valid_loss"], rel=1e-4)
    assert rows[1]["train_loss"] > 1.5 * rows[0]["train_loss"]


@pytest.mark.long
def test_a_class_that_weighs_more_is_named_more(prepared: tuple[Catalog, Config]) -> None:
    catalog, config = prepared
    shares = np.empty((2, 5))  # one training of twelve photos is chance
    for row, weight in enumerate((0.01, 100.0)):
        for seed in range(5):
            dls, model = fresh(catalog, changed(config, seed=seed))
            fit(dls, model, Plan(2, 3e-3, 1.0, weights=(weight, 1.0, 1.0)))
            with torch.no_grad():
                said = torch.cat([model.eval()(x).softmax(1) for x, _ in dls.valid])
            shares[row, seed] = said[:, 0].mean()
    assert shares[1].mean() > shares[0].mean() + 0.1


def unequal(catalog: Catalog) -> list[tuple[Path, str]]:
    """27 of black, 3 of grizzly, as paths of a few photos again and again."""
    pairs = pairs_of(catalog, "train")
    paths = [next(p for p, label in pairs if label == name) for name in LABELS[:2]]
    return [(paths[0], LABELS[0])] * 27 + [(paths[1], LABELS[1])] * 3


def drawn(catalog: Catalog, balance: str, seed: int, epochs: int) -> tuple[Any, Counter[int]]:
    set_seed(seed, reproducible=True)
    config = tiny_config(train={"batch_size": 4, "balance": balance})
    dls = dataloaders(unequal(catalog), pairs_of(catalog, "valid"), config, CPU)
    batches = [y.tolist() for _ in range(epochs) for _, y in dls.train]
    return batches, Counter(label for batch in batches for label in batch)


def test_oversampling_draws_all_classes_alike_in_full_batches(
    prepared: tuple[Catalog, Config],
) -> None:
    catalog, _ = prepared
    batches, counts = drawn(catalog, "oversample", 3, 12)
    assert {len(batch) for batch in batches} == {4}
    assert len(batches) == 12 * (30 // 4)  # an epoch is as long as ever
    share = counts[0] / sum(counts.values())
    assert abs(share - 0.5) < 4 * 0.5 / (336**0.5)
    assert drawn(catalog, "oversample", 3, 1)[0] == batches[:7]
    assert drawn(catalog, "oversample", 4, 1)[0] != batches[:7]
    _, plain = drawn(catalog, "none", 3, 2)
    assert plain[0] / sum(plain.values()) > 0.8


def test_validation_is_never_oversampled(prepared: tuple[Catalog, Config]) -> None:
    catalog, _ = prepared
    config = tiny_config(train={"batch_size": 4, "balance": "oversample"})
    valid = pairs_of(catalog, "valid")
    dls = dataloaders(unequal(catalog), valid, config, CPU)
    for _ in range(2):
        asked = [LABELS[label] for _, y in dls.valid for label in y.tolist()]
        assert asked == [label for _, label in valid]


def test_unequal_classes_are_noted_where_nothing_is_done() -> None:
    labels = ["black"] * 30 + ["teddy"] * 3 + ["grizzly"] * 5
    (note,) = unbalanced(labels, TrainConfig())
    assert note.startswith('30 training photos of "black" and 3 of "teddy": ')
    assert note.endswith("bears compare balance")
    assert unbalanced(labels[1:], TrainConfig()) == []
    assert unbalanced(labels, TrainConfig(balance="oversample")) == []


# resize


def batches_of(catalog: Catalog, **settings: Any) -> tuple[np.ndarray, np.ndarray]:
    """The first batch of training and all of validation."""
    set_seed(0, reproducible=True)
    config = tiny_config(train={"batch_size": 4, **settings})
    dls = dataloaders(pairs_of(catalog, "train"), pairs_of(catalog, "valid"), config, CPU)
    learned = next(iter(dls.train))[0]
    return learned.numpy(), torch.cat([x for x, _ in dls.valid]).numpy()


@pytest.mark.parametrize("resize", ["crop", "squish", "pad", "presize"])
def test_every_resize_changes_training_and_leaves_validation(
    prepared: tuple[Catalog, Config], resize: str
) -> None:
    catalog, _ = prepared
    plain, asked = batches_of(catalog)
    for crop in (0.3, 1.0):
        learned, valid = batches_of(catalog, resize=resize, crop=crop)
        assert learned.shape == plain.shape == (4, 3, 64, 64)
        assert not np.allclose(learned, plain)
        assert np.array_equal(valid, asked)


def test_presizing_crops_as_much_as_was_set(prepared: tuple[Catalog, Config]) -> None:
    catalog, _ = prepared
    little, much = (batches_of(catalog, resize="presize", crop=crop)[0] for crop in (0.05, 0.9))
    assert not np.allclose(little, much)

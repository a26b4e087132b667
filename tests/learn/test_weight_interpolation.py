"""Mixtures of two models, and which of them is kept."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from bear_classifier.learn import weight_interpolation

A = {"w": torch.tensor([0.0, 2.0]), "n": torch.tensor(3)}
B = {"w": torch.tensor([4.0, -2.0]), "n": torch.tensor(7)}


def asked(*losses: float, apart: float = 0.0) -> dict[str, list[float]]:
    return {"calibrated": list(losses), "apart": [apart] * len(losses)}


def calibrated(logits: NDArray[np.float32], targets: NDArray[np.int64]) -> float:
    return float(weight_interpolation.calibrated_losses(logits, targets).mean())


def test_a_mixture_lies_between_and_its_ends_are_the_models_themselves() -> None:
    assert weight_interpolation.interpolated_state(A, B, 0.25)["w"].tolist() == [1.0, 1.0]
    for share, end in ((0.0, A), (1.0, B)):
        found = weight_interpolation.interpolated_state(A, B, share)
        assert all(torch.equal(found[name], end[name]) for name in end)


def test_statistics_of_normalisation_lie_between_too() -> None:
    """The weights of a mixture meet features that lie between; only batches cannot be divided."""
    start, end = torch.nn.BatchNorm1d(2), torch.nn.BatchNorm1d(2)
    end.running_mean.fill_(4.0)  # 0 at the start
    end.running_var.fill_(3.0)  # 1
    end.num_batches_tracked.fill_(9)
    found = weight_interpolation.interpolated_state(start.state_dict(), end.state_dict(), 0.25)
    assert found["running_mean"].tolist() == [1.0, 1.0]
    assert found["running_var"].tolist() == [1.5, 1.5]
    assert int(found["num_batches_tracked"]) == 9


def test_nothing_of_a_model_that_is_no_number_reaches_the_probe() -> None:
    broken = {"w": torch.tensor([torch.nan, torch.inf]), "n": torch.tensor(7)}
    assert torch.equal(weight_interpolation.interpolated_state(A, broken, 0.0)["w"], A["w"])


def test_the_harder_question_decides() -> None:
    valid, unseen = asked(0.10, 0.05, 0.02), asked(0.30, 0.20, 0.40)
    assert weight_interpolation.best([valid]) == 2
    assert weight_interpolation.best([valid, unseen]) == 1
    assert weight_interpolation.best([unseen, valid]) == 1


def test_what_the_harder_question_cannot_tell_apart_the_other_decides() -> None:
    valid, unseen = asked(0.10, 0.05, 0.02), asked(0.30, 0.32, 0.40, apart=0.03)
    assert (
        weight_interpolation.best([valid, unseen]) == 1
    )  # the third loses three standard errors more
    assert weight_interpolation.best([unseen]) == 0  # nobody else to ask


def test_how_far_mixtures_are_apart_is_paired() -> None:
    dice = np.random.default_rng(0)
    targets = dice.integers(0, 3, 500)
    logits = dice.normal(size=(500, 3)).astype(np.float32)
    logits[np.arange(500), targets] += 2
    alike = logits + dice.normal(scale=0.01, size=logits.shape).astype(np.float32)
    other = dice.permutation(logits, axis=1)
    found = weight_interpolation.interpolation_figures(
        [logits, alike, other], targets, np.arange(500).astype(str)
    )
    spread = weight_interpolation.calibrated_losses(logits, targets).std() / 500**0.5
    assert found["apart"][0] == 0
    assert found["apart"][1] < 0.05 * spread < spread < found["apart"][2]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_no_loss_that_is_none_chooses(bad: float) -> None:
    """Python's and numpy's least of numbers of which one is none is anything."""
    broken, fine = asked(0.10, bad, 0.02), asked(0.30, 0.20, 0.40)
    assert weight_interpolation.best([broken]) == 2
    assert weight_interpolation.best([broken, asked(bad, bad, bad)]) == 2
    assert weight_interpolation.best([asked(bad, bad, bad), broken]) == 2
    assert weight_interpolation.best([asked(bad, bad, bad)]) == 0
    assert weight_interpolation.best([broken, fine]) == 0  # of those that both could be asked about
    assert weight_interpolation.best([fine, broken]) == 0
    assert weight_interpolation.best([asked(0.2, 0.1, 0.1), asked(0.3, 0.2, 0.2, apart=bad)]) == 1


def test_one_photo_tells_no_mixtures_apart() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        logits = [np.float32([[2, 0]]), np.float32([[0, 2]])]
        found = weight_interpolation.interpolation_figures(logits, np.array([0]), np.array(["a"]))
    assert all(np.isfinite(found["apart"]))
    assert weight_interpolation.best([asked(0.1, 0.05), found]) == 1


def test_of_equals_the_one_with_less_tuning_is_kept() -> None:
    assert weight_interpolation.best([asked(0.2, 0.2, 0.2)]) == 0


def test_being_too_sure_of_oneself_costs_nothing() -> None:
    dice = np.random.default_rng(0)
    targets = dice.integers(0, 3, 400)
    logits = dice.normal(size=(400, 3)).astype(np.float32)
    logits[np.arange(400), targets] += 1.5
    assert weight_interpolation.loss(4 * logits, targets) > 1.3 * calibrated(logits, targets)
    assert calibrated(4 * logits, targets) == pytest.approx(calibrated(logits, targets), rel=1e-3)
    assert calibrated(logits, targets) <= weight_interpolation.loss(logits, targets)


def test_figures_are_of_each_mixture() -> None:
    right, wrong = np.eye(3, dtype=np.float32) * 5, np.eye(3, dtype=np.float32)[[1, 2, 0]] * 5
    found = weight_interpolation.interpolation_figures(
        [right, wrong], np.arange(3), np.array(list("abc"))
    )
    assert (found["n"], found["wrong"]) == (3, [0, 3])
    assert found["loss"][0] < found["calibrated"][1] < found["loss"][1]

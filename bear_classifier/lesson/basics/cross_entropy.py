"""Softmax and cross-entropy, and why accuracy is no loss."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bear_classifier.lesson.page import Page, Sheet
from bear_classifier.plots.charts import BLUE, GREY, INK, ORANGE, figure_png, panels, set_title

VOCAB = ("black", "grizzly", "teddy")
CENTRES = ((-1.4, -0.6), (1.2, -0.9), (0.1, 1.5))
EACH, SEED = 60, 7
RATE, STEPS = 0.5, 200
NUDGE, TRIES = 1e-4, 300


def class_points(seed: int = SEED) -> tuple[Tensor, Tensor]:
    """X (n, 3), whose last column is 1, and the number of each point's class (n,)."""
    rng = torch.Generator().manual_seed(seed)
    targets = torch.arange(len(VOCAB)).repeat_interleave(EACH)
    at = torch.tensor(CENTRES)[targets] + 0.6 * torch.randn(len(targets), 2, generator=rng)
    return torch.cat([at, torch.ones(len(at), 1)], dim=1), targets


def softmax(logits: Tensor) -> Tensor:
    """Probabilities: positive, of sum 1 in each row. The largest is taken off first, which changes
    nothing but keeps exp from overflowing. logits: (n, classes)."""
    powers = torch.exp(logits - logits.max(dim=1, keepdim=True).values)
    return powers / powers.sum(dim=1, keepdim=True)


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean of −log of the probability that each example's own class was given. targets: (n,)."""
    given = softmax(logits)[torch.arange(len(targets)), targets]
    return -given.log().mean()


def accuracy(logits: Tensor, targets: Tensor) -> float:
    return float((logits.argmax(dim=1) == targets).float().mean())


@dataclass(frozen=True)
class TrainedLinear:
    """W: (3, classes); losses, accuracies: (steps + 1,)."""

    W: Tensor
    losses: list[float]
    accuracies: list[float]


def train_linear(
    X: Tensor, targets: Tensor, classes: int = len(VOCAB), steps: int = STEPS
) -> TrainedLinear:
    """Gradient descent on the cross-entropy from W = 0, where all classes are equally likely."""
    W = torch.zeros(X.shape[1], classes, requires_grad=True)
    losses, accuracies = [], []
    for number in range(steps + 1):
        loss = cross_entropy(X @ W, targets)
        losses.append(float(loss.detach()))
        accuracies.append(accuracy(X @ W, targets))
        if number < steps:
            loss.backward()  # type: ignore[no-untyped-call]
            with torch.no_grad():
                assert W.grad is not None
                W -= RATE * W.grad
                W.grad.zero_()
    return TrainedLinear(W.detach(), losses, accuracies)


def nudged(X: Tensor, targets: Tensor, W: Tensor) -> tuple[float, float]:
    """Of many tiny random nudges of W the share that changes the loss, and the accuracy."""
    rng = torch.Generator().manual_seed(SEED)
    X, W = X.double(), W.double()
    loss, right = cross_entropy(X @ W, targets), accuracy(X @ W, targets)
    changed = [0, 0]
    for _ in range(TRIES):
        other = W + NUDGE * torch.randn(W.shape, generator=rng, dtype=torch.float64)
        changed[0] += bool(cross_entropy(X @ other, targets) != loss)
        changed[1] += accuracy(X @ other, targets) != right
    return changed[0] / TRIES, changed[1] / TRIES


def page() -> Page:
    sheet = Sheet("classes", vocab=VOCAB, steps=STEPS, tries=TRIES)
    X, targets = class_points()
    sheet.say("intro")
    sheet.code(softmax, cross_entropy, accuracy)
    sheet.say("formula")
    _softmax(sheet, X)
    trained = train_linear(X, targets)
    _training(sheet, X, targets, trained)
    _order(sheet, X, targets, trained)
    _metric(sheet, X, targets, trained)
    return sheet.page()


def _softmax(sheet: Sheet, X: Tensor) -> None:
    wild = torch.tensor([[1000.0, 1001.0, 999.0], [-3.0, 0.0, 3.0]])
    sums = softmax(wild).sum(dim=1)
    rounded = [[round(p, 3) for p in row] for row in softmax(wild).tolist()]
    sheet.say("softmax_table", rows=zip(wild.tolist(), rounded, strict=True))
    sheet.claim("sums_to_one", torch.allclose(sums, torch.ones(2)), sums=sums.tolist())
    start = float(cross_entropy(torch.zeros(9, 3), torch.zeros(9, dtype=torch.long)))
    sheet.claim("knows_nothing", abs(start - math.log(3)) < 1e-6, start=start, log_3=math.log(3))


def _training(sheet: Sheet, X: Tensor, targets: Tensor, trained: TrainedLinear) -> None:
    sheet.say("descent")
    sheet.code(train_linear)
    sheet.picture("regions", _regions(X, targets, trained))
    logits = X @ trained.W
    by_torch = float(torch.nn.functional.cross_entropy(logits, targets))
    same = abs(by_torch - trained.losses[-1]) < 1e-5
    sheet.claim("same_as_torch", same, trained=trained, by_torch=by_torch)
    falls = (np.diff(trained.losses) < 0).all() and trained.accuracies[-1] > 0.9
    sheet.claim("loss_falls", falls, trained=trained)


def _order(sheet: Sheet, X: Tensor, targets: Tensor, trained: TrainedLinear) -> None:
    sheet.say("class_order")
    order = torch.tensor([2, 0, 1])  # new number of each class
    other = train_linear(X, order[targets])
    worst = float((other.W[:, order] - trained.W).abs().max())
    lost = accuracy(X @ trained.W, order[targets])
    sheet.claim("exchanged_columns", worst < 1e-4, worst=worst)
    sheet.claim("wrong_order", lost < 1 / len(VOCAB), lost=lost, trained=trained)


def _metric(sheet: Sheet, X: Tensor, targets: Tensor, trained: TrainedLinear) -> None:
    sheet.say("why_not_accuracy")
    sheet.code(nudged)
    loss_moves, accuracy_moves = nudged(X, targets, trained.W)
    still = loss_moves > 0.99 and accuracy_moves < 0.05
    sheet.claim("nudges", still, loss_moves=loss_moves, accuracy_moves=accuracy_moves)
    same = [a for a, b in zip(trained.accuracies, trained.accuracies[1:], strict=False) if a == b]
    sheet.claim("accuracy_stands_still", len(same) > STEPS / 2, same=same)


def _regions(X: Tensor, targets: Tensor, trained: TrainedLinear) -> bytes:
    figure, (left, right) = panels(3.6, 2)
    across, up = np.meshgrid(np.linspace(-3.4, 3.2, 160), np.linspace(-3.0, 3.4, 160))
    flat = np.column_stack([across.ravel(), up.ravel(), np.ones(across.size)])
    predicted = (flat @ trained.W.double().numpy()).argmax(1).reshape(across.shape)
    colours: tuple[str, ...] = (GREY, ORANGE, BLUE)
    left.contourf(across, up, predicted, levels=[-0.5, 0.5, 1.5, 2.5], colors=colours, alpha=0.18)
    for number, name in enumerate(VOCAB):
        mine: NDArray[np.float32] = X[targets == number].numpy()
        left.scatter(mine[:, 0], mine[:, 1], s=12, color=colours[number], label=name)
    left.legend(frameon=False, fontsize=9)
    set_title(left, "What is said where")
    right.plot(trained.losses, color=INK, lw=1.8, label="cross-entropy")
    right.plot([1 - a for a in trained.accuracies], color=ORANGE, lw=1.8, label="share of errors")
    right.set_xscale("symlog", linthresh=1)
    right.set_xlabel("step")
    right.legend(frameon=False, fontsize=9)
    set_title(right, "The loss falls smoothly, errors by jumps")
    return figure_png(figure)

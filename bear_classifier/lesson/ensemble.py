"""Teams of models: averaging what they say helps, averaging what they are does not."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bear_classifier.judge.charts import BLUE, GREY, ORANGE, panels, png, title
from bear_classifier.lesson import smallnet
from bear_classifier.lesson.pages import TITLES
from bear_classifier.lesson.sheet import Page, Sheet
from bear_classifier.lesson.subject import Subject

TEAM = 5
EPOCHS, APART = 12, 4  # of a training; of those after a common beginning
SEED = 1
Probabilities = NDArray[np.float64]


@dataclass(frozen=True)
class Set:
    """x: (n, 3, s, s); y: (n,); groups: (n,) numbers of near-copies."""

    x: Tensor
    y: Tensor
    groups: NDArray[np.int64]

    def of(self, rows: NDArray[np.bool_]) -> Set:
        at = torch.from_numpy(rows)
        return Set(self.x[at], self.y[at], self.groups[rows])


def log_loss(said: Probabilities, y: NDArray[np.int64]) -> float:
    """Mean of −log of the probability of the true class. said: (n, classes); y: (n,)."""
    given = np.maximum(said[np.arange(len(y)), y], 1e-12)
    return float(-np.log(given).mean())


def error(said: Probabilities, y: NDArray[np.int64]) -> float:
    return float((said.argmax(1) != y).mean())


def folds(groups: NDArray[np.int64], k: int, seed: int) -> NDArray[np.int64]:
    """A number of 0 to k - 1 for each photo, the same for near-copies. groups: (n,)."""
    names, at = np.unique(groups, return_inverse=True)
    number = np.random.default_rng(seed).permutation(len(names)) % k
    return np.asarray(number[at])


def separate(learned: Set, classes: int) -> list[nn.Module]:
    """Models that begin from different random weights and learn from the same photos."""
    return [
        smallnet.trained(smallnet.network(classes, seed), learned.x, learned.y, EPOCHS, seed)
        for seed in range(TEAM)
    ]


def by_folds(learned: Set, classes: int) -> list[nn.Module]:
    """Each leaves another fifth of the photos out."""
    out = folds(learned.groups, TEAM, SEED)
    found = []
    for number in range(TEAM):
        some = learned.of(out != number)
        start = smallnet.network(classes, 100 + number)
        found.append(smallnet.trained(start, some.x, some.y, EPOCHS, 100 + number))
    return found


def together(learned: Set, classes: int) -> list[nn.Module]:
    """Models that learned as one, and only in the last epochs each by itself, in another order."""
    common = smallnet.trained(
        smallnet.network(classes, 50), learned.x, learned.y, EPOCHS - APART, 50
    )
    return [
        smallnet.trained(common, learned.x, learned.y, APART, 60 + number) for number in range(TEAM)
    ]


def page(subject: Subject) -> Page:
    sheet = Sheet("ensemble", TITLES["ensemble"])
    learned, asked = _sides(subject)
    classes, y = len(subject.config.labels), asked.y.numpy()
    sheet.say(
        f"{TEAM} small networks learn from {len(learned.y)} photos, each from other random weights,"
        f" and are asked for {len(y)} photos that none of them has seen. Then they are made one in"
        " two ways: by the mean of what they <em>say</em>, and by the mean of what they"
        " <em>are</em>, their [[parameters]]."
    )
    sheet.code(smallnet.trained, smallnet.averaged, separate, by_folds, together)
    began = time.monotonic()
    alone = separate(learned, classes)
    seconds = time.monotonic() - began
    teams = {"separate": alone, "folds": by_folds(learned, classes),
             "together": together(learned, classes)}  # fmt: skip
    said = {k: [smallnet.probabilities(m, asked.x) for m in team] for k, team in teams.items()}
    means = {k: np.mean(each, axis=0) for k, each in said.items()}
    weights = {
        k: smallnet.probabilities(smallnet.averaged(teams[k], learned.x), asked.x)
        for k in ("separate", "together")
    }
    _table(sheet, said, means, weights, y)
    sheet.picture(
        "errors", _bars(said, means, weights, y), "Errors of each alone and of both means"
    )
    _claims(sheet, said, means, weights, y)
    sheet.say(
        f"The price: {TEAM} trainings in place of one ({seconds:.0f} s in place of"
        f" {seconds / TEAM:.0f} s here), {TEAM} passes for each photo, {TEAM} files to keep. And"
        f" whoever averages answers has {TEAM} models to explain."
    )
    return sheet.page()


def _sides(subject: Subject) -> tuple[Set, Set]:
    photos = [photo for photo in subject.catalog.photos("ok") if photo.split]
    labels = subject.config.labels
    every = Set(
        smallnet.pictures(subject.catalog, photos),
        torch.tensor([labels.index(photo.label) for photo in photos]),
        np.unique([photo.group or photo.sha256 for photo in photos], return_inverse=True)[1],
    )
    train = np.array([photo.split == "train" for photo in photos])
    return every.of(train), every.of(~train)


_NAMES = {"separate": "from other random weights", "folds": "each without another fifth",
          "together": "from a common beginning"}  # fmt: skip
Each = dict[str, list[Probabilities]]
One = dict[str, Probabilities]


def _table(
    sheet: Sheet, said: Each, means: One, weights: One, y: NDArray[np.int64]
) -> None:  # fmt: skip
    rows = []
    for team, each in said.items():
        alone = f"{np.mean([error(s, y) for s in each]):.1%}"
        by_weights = f"{error(weights[team], y):.1%}" if team in weights else "-"
        losses = f"{np.mean([log_loss(s, y) for s in each]):.3f}, {log_loss(means[team], y):.3f}"
        rows.append([_NAMES[team], alone, f"{error(means[team], y):.1%}", by_weights, losses])
    head = ["team", "alone, on average", "mean of answers", "mean of weights", "loss alone, mean"]
    sheet.table(head, rows)


def _claims(
    sheet: Sheet, said: Each, means: One, weights: One, y: NDArray[np.int64]
) -> None:  # fmt: skip
    losses = {k: (np.mean([log_loss(s, y) for s in each]), log_loss(means[k], y))
              for k, each in said.items()}  # fmt: skip
    sheet.claim(
        "the mean of answers has no higher [[loss]] than its members have on average: −log is"
        " convex (Jensen)",
        all(team <= alone + 1e-9 for alone, team in losses.values()),
        "; ".join(f"{_NAMES[k]}: {b:.3f} against {a:.3f}" for k, (a, b) in losses.items()),
    )
    single = float(np.mean([log_loss(s, y) for s in said["separate"]]))
    sheet.claim(
        "models of folds, though each learned from less, do better together than one that learned"
        " from everything",
        log_loss(means["folds"], y) < single,
        f"loss {log_loss(means['folds'], y):.3f} against {single:.3f}; errors"
        f" {error(means['folds'], y):.1%} against"
        f" {np.mean([error(s, y) for s in said['separate']]):.1%}",
    )
    worst = max(error(s, y) for s in said["separate"])
    sheet.claim(
        "the mean of the weights of models that were trained separately is worse than the worst of"
        " them: the same thing is in other places",
        error(weights["separate"], y) > 1.5 * worst,
        f"errors {error(weights['separate'], y):.1%} against {worst:.1%} of the worst",
    )
    common = float(np.mean([error(s, y) for s in said["together"]]))
    sheet.claim(
        "after a common beginning it does no harm (arXiv 2203.05482): they are still neighbours",
        error(weights["together"], y) < common + 0.03,
        f"errors {error(weights['together'], y):.1%} against {common:.1%} on average",
    )


def _bars(said: Each, means: One, weights: One, y: NDArray[np.int64]) -> bytes:
    figure, (axes,) = panels(3.4, 1)
    for number, team in enumerate(said):
        alone = [error(s, y) for s in said[team]]
        axes.plot([number - 0.2] * len(alone), alone, "o", color=GREY, ms=6)
        axes.bar(number, error(means[team], y), 0.16, color=BLUE)
        if team in weights:
            axes.bar(number + 0.2, error(weights[team], y), 0.16, color=ORANGE)
    axes.plot([], [], "o", color=GREY, label="each alone")
    axes.bar(0, 0, color=BLUE, label="mean of answers")
    axes.bar(0, 0, color=ORANGE, label="mean of weights")
    axes.set_xticks(range(len(said)), [_NAMES[team] for team in said])
    axes.legend(frameon=False, fontsize=9)
    title(axes, "Share of wrong answers")
    return png(figure)

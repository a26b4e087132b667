"""Ensembles: averaging predictions helps, averaging weights does not."""

from __future__ import annotations

import time
import timeit
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import nn

from bear_classifier.errors import DataError
from bear_classifier.experiments.compare.analysis import losses_and_errors
from bear_classifier.lesson.page import Page, Sheet
from bear_classifier.lesson.photos import small_networks
from bear_classifier.lesson.photos.privacy import probed_photos
from bear_classifier.lesson.photos.small_networks import (
    TEAM,
    mean_answer,
    mean_weights,
    probabilities,
)
from bear_classifier.lesson.trained_model import LabelledFeatures, Subject
from bear_classifier.plots.charts import BLUE, GREY, INK, ORANGE, figure_png, panels, set_title
from bear_classifier.stats.arrays import Floats
from bear_classifier.stats.paired import Difference, Measure, difference

REPEATS = 4  # of everything, from other random weights
ORDERS = 5  # of the hidden units of one network
HARM = 0.02  # share of wrong answers: a larger one is reported
TRAINED = {
    "separate": ("other random weights", small_networks.separate),
    "folds": ("each without another fifth", small_networks.by_folds),
    "together": ("a common beginning", small_networks.train_together),
}
Team = Sequence[nn.Sequential]


@dataclass(frozen=True)
class Figures:
    """Losses and wrongs (repeats, photos) of one of a team by itself, on average over its members;
    of the mean of their answers; and of the mean of their weights. worst: share of wrong answers
    (repeats,) of the worst of a team."""

    alone: tuple[Floats, Floats]
    answers: tuple[Floats, Floats]
    weights: tuple[Floats, Floats]
    worst: Floats


def page(subject: Subject) -> Page:
    sheet = Sheet("ensemble", team=TEAM, repeats=REPEATS, orders=ORDERS, trained=TRAINED)
    learned, held_out = train_and_held_out(subject)
    size = {"deep": small_networks.DEEP, "wide": small_networks.WIDE}
    sheet.say("intro", learned=learned, held_out=held_out, **size)
    trainings = (small_networks.separate, small_networks.by_folds, small_networks.train_together)
    sheet.code(small_networks.train_copy, *trainings)
    sheet.code(small_networks.mean_answer, small_networks.mean_weights)
    figures, first, seconds = measure_ensembles(learned, held_out, len(subject.config.labels))
    sheet.say("teams_table", teams=figures)
    sheet.picture("errors", _bars(figures))
    _answers(sheet, figures, held_out)
    _weights(sheet, figures, held_out, first)
    _price(sheet, first, held_out, seconds)
    return sheet.page()


def train_and_held_out(subject: Subject) -> tuple[LabelledFeatures, LabelledFeatures]:
    """Photos to learn from and photos to ask. Raises DataError (NOT_PROBED, TOO_FEW)."""
    probed = probed_photos(subject)
    train = np.array([photo.split == "train" for photo in probed.photos], dtype=bool)
    held_out = np.array([photo.split in ("valid", "test") for photo in probed.photos], dtype=bool)
    for number, label in enumerate(subject.config.labels):
        groups = len(np.unique(probed.groups[train & (probed.targets == number)]))
        if groups < TEAM or not held_out.any():
            raise DataError(
                "TOO_FEW",
                f"{label} has {groups} different photos on the training split, and"
                f" {held_out.sum()} are held back; {TEAM} and more are needed: add photos, then"
                " run: bears split",
            )
    mean, spread = probed.features[train].mean(0), probed.features[train].std(0) + 1e-6
    x = torch.from_numpy((probed.features - mean) / spread).float()
    every = LabelledFeatures(x, torch.from_numpy(probed.targets), probed.groups)
    return every.of(np.flatnonzero(train)), every.of(np.flatnonzero(held_out))


def measure_ensembles(
    learned: LabelledFeatures, held_out: LabelledFeatures, classes: int
) -> tuple[dict[str, Figures], dict[str, Team], float]:
    """Figures of each kind of team, the teams of the first repeat, and seconds that it took to
    train one team."""
    rows: dict[str, list[Figures]] = {kind: [] for kind in TRAINED}
    first: dict[str, Team] = {}
    took = 0.0
    for repeat in range(REPEATS):
        for kind, (_, train) in TRAINED.items():
            began = time.monotonic()
            team = train(learned, classes, 1000 * repeat)
            took += time.monotonic() - began
            first.setdefault(kind, team)
            rows[kind].append(ensemble_figures(team, held_out))
    stacked = {kind: _stacked(each) for kind, each in rows.items()}
    return stacked, first, took / (REPEATS * len(TRAINED))


def ensemble_figures(team: Team, held_out: LabelledFeatures) -> Figures:
    """Of one team: each array (photos,)."""
    each = [score_answers(probabilities(model, held_out.x), held_out) for model in team]
    losses, wrongs = (np.mean(part, axis=0) for part in zip(*each, strict=True))
    return Figures(
        (losses, wrongs),
        score_answers(mean_answer(team, held_out.x), held_out),
        score_answers(probabilities(mean_weights(team), held_out.x), held_out),
        np.array(max(wrong.mean() for _, wrong in each)),
    )


def score_answers(answers: Floats, photos: LabelledFeatures) -> tuple[Floats, Floats]:
    """Losses and wrongs (n,) of probabilities (n, classes)."""
    losses, wrong = losses_and_errors(np.log(np.maximum(answers, 1e-300)), photos.y.numpy())
    return losses, wrong.astype(np.float64)


def _stacked(rows: Sequence[Figures]) -> Figures:
    def of(name: str) -> tuple[Floats, Floats]:
        losses, wrongs = zip(*(getattr(row, name) for row in rows), strict=True)
        return np.stack(losses), np.stack(wrongs)

    worst = np.stack([row.worst for row in rows])
    return Figures(of("alone"), of("answers"), of("weights"), worst)


# -- the claims ------------------------------------------------------------------------------------


def _apart(one: Floats, other: Floats, held_out: LabelledFeatures, measure: Measure) -> Difference:
    return difference(one, other, held_out.y.numpy(), held_out.groups, measure)


def _answers(sheet: Sheet, figures: Mapping[str, Figures], held_out: LabelledFeatures) -> None:
    sheet.say("mean_of_answers")
    one, team = figures["separate"], figures["folds"]
    gain = {k: _apart(f.alone[0], f.answers[0], held_out, "loss") for k, f in figures.items()}
    sheet.claim("lower_loss", gain["separate"].below() and gain["folds"].below(), gain=gain)
    k_fold = _apart(one.alone[0], team.answers[0], held_out, "loss")
    errors = _apart(one.alone[1], team.answers[1], held_out, "error")
    sheet.claim("folds_beat_one", k_fold.below(), k_fold=k_fold, errors=errors)
    sheet.claim("common_wins_less", gain["together"].mean > gain["folds"].mean, gain=gain)


def _weights(
    sheet: Sheet,
    figures: Mapping[str, Figures],
    held_out: LabelledFeatures,
    first: Mapping[str, Team],
) -> None:
    sheet.say("mean_of_weights")
    sheet.code(small_networks.reordered)
    model = first["separate"][0]
    orders = [small_networks.reordered(model, seed) for seed in range(ORDERS)]
    same = probabilities(model, held_out.x)
    apart_by = max(float(np.abs(probabilities(o, held_out.x) - same).max()) for o in orders)
    one = score_answers(same, held_out)[1].mean()
    averaged = [probabilities(mean_weights([model, o]), held_out.x) for o in orders]
    mean = np.mean([score_answers(p, held_out)[1] for p in averaged])
    other = apart_by < 1e-5 and mean > one + HARM
    sheet.claim("reordered", other, apart_by=apart_by, one=one, mean=mean)
    worst, apart = figures["separate"].worst, figures["separate"].weights[1].mean(1)
    sheet.claim("worse_than_worst", (apart > worst + HARM).all(), apart=apart, worst=worst)
    near = _apart(figures["together"].alone[1], figures["together"].weights[1], held_out, "error")
    sheet.claim("common_beginning", near.below(HARM), near=near)
    ways = {
        "other random weights": first["separate"][:2],
        "itself, reordered": [model, orders[0]],
        "a common beginning": first["together"][:2],
    }
    sheet.picture("between", _between(ways, held_out))


def _price(
    sheet: Sheet, first: Mapping[str, Team], held_out: LabelledFeatures, seconds: float
) -> None:
    team = first["folds"]
    alone, together = (
        min(timeit.repeat(partial(mean_answer, some, held_out.x), number=1, repeat=5))
        for some in (team[:1], team)
    )
    many = sum(p.numel() for p in team[0].parameters())
    sheet.say("price", seconds=seconds, many=many, ratio=together / alone)


def _bars(figures: Mapping[str, Figures]) -> bytes:
    figure, (axes,) = panels(3.2, 1)
    kinds = (("alone", GREY, "one alone, on average"), ("answers", BLUE, "mean of answers"),
             ("weights", ORANGE, "mean of weights"))  # fmt: skip
    for place, (name, colour, words) in enumerate(kinds):
        for number, row in enumerate(figures.values()):
            wrong = getattr(row, name)[1].mean(1)
            at = number + 0.22 * (place - 1)
            axes.bar(at, wrong.mean(), 0.2, color=colour, label="" if number else words)
            axes.plot([at] * len(wrong), wrong, "o", color=INK, ms=2.5)
    axes.set_xticks(range(len(figures)), [TRAINED[kind][0] for kind in figures])
    axes.yaxis.set_major_formatter(lambda y, _: f"{y:.0%}")
    axes.legend(frameon=False, fontsize=9)
    set_title(axes, "Share of wrong answers; dots: each repeat")
    return figure_png(figure)


def _between(ways: Mapping[str, Team], held_out: LabelledFeatures) -> bytes:
    figure, (axes,) = panels(3.0, 1)
    shares = np.linspace(0, 1, 21)
    for (words, pair), colour in zip(ways.items(), (ORANGE, GREY, BLUE), strict=True):
        at = [probabilities(mean_weights(pair, [1 - s, s]), held_out.x) for s in shares.tolist()]
        wrong = [score_answers(answers, held_out)[1].mean() for answers in at]
        axes.plot(shares, wrong, "o-", color=colour, ms=3, lw=1.8, label=words)
    axes.yaxis.set_major_formatter(lambda y, _: f"{y:.0%}")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("share of the second network in the mean of weights")
    axes.legend(frameon=False, fontsize=9)
    set_title(axes, "Wrong answers between two networks")
    return figure_png(figure)

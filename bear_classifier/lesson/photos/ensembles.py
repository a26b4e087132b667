"""Ensembles: averaging predictions helps, averaging weights does not."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from bear_classifier.errors import DataError
from bear_classifier.experiments.compare.analysis import losses_and_errors
from bear_classifier.lesson.page import Page, Sheet
from bear_classifier.lesson.photos import ensemble_runs
from bear_classifier.lesson.photos.ensemble_runs import (
    TEAM,
    Set,
    mean_answer,
    mean_weights,
    probabilities,
)
from bear_classifier.lesson.photos.privacy import probed_photos
from bear_classifier.lesson.trained_model import Subject
from bear_classifier.plots.charts import BLUE, GREY, INK, ORANGE, figure_png, panels, set_title
from bear_classifier.stats.arrays import Floats
from bear_classifier.stats.paired import Difference, Measure, difference

REPEATS = 4  # of everything, from other random weights
ORDERS = 5  # of the hidden units of one network
HARM = 0.02  # share of wrong answers: a larger one is reported
TRAINED = {
    "separate": ("other random weights", ensemble_runs.separate),
    "folds": ("each without another fifth", ensemble_runs.by_folds),
    "together": ("a common beginning", ensemble_runs.train_together),
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
    learned, asked = sides(subject)
    size = {"deep": ensemble_runs.DEEP, "wide": ensemble_runs.WIDE}
    sheet.say("intro", learned=learned, asked=asked, **size)
    trainings = (ensemble_runs.separate, ensemble_runs.by_folds, ensemble_runs.train_together)
    sheet.code(ensemble_runs.train_copy, *trainings)
    sheet.code(ensemble_runs.mean_answer, ensemble_runs.mean_weights)
    found, first, seconds = measure_ensembles(learned, asked, len(subject.config.labels))
    sheet.say("teams_table", teams=found)
    sheet.picture("errors", _bars(found))
    _answers(sheet, found, asked)
    _weights(sheet, found, asked, first)
    _price(sheet, first, asked, seconds)
    return sheet.page()


def sides(subject: Subject) -> tuple[Set, Set]:
    """Photos to learn from and photos to ask. Raises DataError (NOT_PROBED, TOO_FEW)."""
    it = probed_photos(subject)
    train = np.array([photo.split == "train" for photo in it.photos], dtype=bool)
    asked = np.array([photo.split in ("valid", "test") for photo in it.photos], dtype=bool)
    for number, label in enumerate(subject.config.labels):
        some = len(np.unique(it.groups[train & (it.targets == number)]))
        if some < TEAM or not asked.any():
            raise DataError(
                "TOO_FEW",
                f"{label} has {some} different photos on the training split, and {asked.sum()} are"
                f" held back; {TEAM} and more are needed: add photos, then run: bears split",
            )
    mean, spread = it.features[train].mean(0), it.features[train].std(0) + 1e-6
    every = Set(
        torch.from_numpy((it.features - mean) / spread).float(),
        torch.from_numpy(it.targets),
        it.groups,
    )
    return every.of(np.flatnonzero(train)), every.of(np.flatnonzero(asked))


def measure_ensembles(
    learned: Set, asked: Set, classes: int
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
            rows[kind].append(ensemble_figures(team, asked))
    stacked = {kind: _stacked(each) for kind, each in rows.items()}
    return stacked, first, took / (REPEATS * len(TRAINED))


def ensemble_figures(team: Team, asked: Set) -> Figures:
    """Of one team: each array (photos,)."""
    each = [score_answers(probabilities(model, asked.x), asked) for model in team]
    losses, wrongs = (np.mean(part, axis=0) for part in zip(*each, strict=True))
    return Figures(
        (losses, wrongs),
        score_answers(mean_answer(team, asked.x), asked),
        score_answers(probabilities(mean_weights(team), asked.x), asked),
        np.array(max(wrong.mean() for _, wrong in each)),
    )


def score_answers(said: Floats, asked: Set) -> tuple[Floats, Floats]:
    """Losses and wrongs (n,) of probabilities (n, classes)."""
    losses, wrong = losses_and_errors(np.log(np.maximum(said, 1e-300)), asked.y.numpy())
    return losses, wrong.astype(np.float64)


def _stacked(rows: Sequence[Figures]) -> Figures:
    def of(name: str) -> tuple[Floats, Floats]:
        losses, wrongs = zip(*(getattr(row, name) for row in rows), strict=True)
        return np.stack(losses), np.stack(wrongs)

    worst = np.stack([row.worst for row in rows])
    return Figures(of("alone"), of("answers"), of("weights"), worst)


# -- what comes of it ------------------------------------------------------------------------------


def _apart(one: Floats, other: Floats, asked: Set, measure: Measure) -> Difference:
    return difference(one, other, asked.y.numpy(), asked.groups, measure)


def _answers(sheet: Sheet, found: Mapping[str, Figures], asked: Set) -> None:
    sheet.say("mean_of_answers")
    one, team = found["separate"], found["folds"]
    gain = {k: _apart(f.alone[0], f.answers[0], asked, "loss") for k, f in found.items()}
    sheet.claim("lower_loss", gain["separate"].below() and gain["folds"].below(), gain=gain)
    k_fold = _apart(one.alone[0], team.answers[0], asked, "loss")
    errors = _apart(one.alone[1], team.answers[1], asked, "error")
    sheet.claim("folds_beat_one", k_fold.below(), k_fold=k_fold, errors=errors)
    sheet.claim("common_wins_less", gain["together"].mean > gain["folds"].mean, gain=gain)


def _weights(
    sheet: Sheet, found: Mapping[str, Figures], asked: Set, first: Mapping[str, Team]
) -> None:
    sheet.say("mean_of_weights")
    sheet.code(ensemble_runs.reordered)
    model = first["separate"][0]
    orders = [ensemble_runs.reordered(model, seed) for seed in range(ORDERS)]
    same = probabilities(model, asked.x)
    apart_by = max(float(np.abs(probabilities(o, asked.x) - same).max()) for o in orders)
    one = score_answers(same, asked)[1].mean()
    averaged = [probabilities(mean_weights([model, o]), asked.x) for o in orders]
    mean = np.mean([score_answers(p, asked)[1] for p in averaged])
    other = apart_by < 1e-5 and mean > one + HARM
    sheet.claim("reordered", other, apart_by=apart_by, one=one, mean=mean)
    worst, apart = found["separate"].worst, found["separate"].weights[1].mean(1)
    sheet.claim("worse_than_worst", (apart > worst + HARM).all(), apart=apart, worst=worst)
    near = _apart(found["together"].alone[1], found["together"].weights[1], asked, "error")
    sheet.claim("common_beginning", near.below(HARM), near=near)
    ways = {
        "other random weights": first["separate"][:2],
        "itself, reordered": [model, orders[0]],
        "a common beginning": first["together"][:2],
    }
    sheet.picture("between", _between(ways, asked))


def _price(sheet: Sheet, first: Mapping[str, Team], asked: Set, seconds: float) -> None:
    team = first["folds"]
    alone, together = (_timed(some, asked) for some in (team[:1], team))
    many = sum(p.numel() for p in team[0].parameters())
    sheet.say("price", seconds=seconds, many=many, ratio=together / alone)


def _timed(team: Team, asked: Set) -> float:
    """Seconds for the answers of all photos, the best of five."""
    took = []
    for _ in range(5):
        began = time.perf_counter()
        mean_answer(team, asked.x)
        took.append(time.perf_counter() - began)
    return min(took)


def _bars(found: Mapping[str, Figures]) -> bytes:
    figure, (axes,) = panels(3.2, 1)
    kinds = (("alone", GREY, "one alone, on average"), ("answers", BLUE, "mean of answers"),
             ("weights", ORANGE, "mean of weights"))  # fmt: skip
    for place, (name, colour, words) in enumerate(kinds):
        for number, figures_ in enumerate(found.values()):
            wrong = getattr(figures_, name)[1].mean(1)
            at = number + 0.22 * (place - 1)
            axes.bar(at, wrong.mean(), 0.2, color=colour, label="" if number else words)
            axes.plot([at] * len(wrong), wrong, "o", color=INK, ms=2.5)
    axes.set_xticks(range(len(found)), [TRAINED[kind][0] for kind in found])
    axes.yaxis.set_major_formatter(lambda y, _: f"{y:.0%}")
    axes.legend(frameon=False, fontsize=9)
    set_title(axes, "Share of wrong answers; dots: each repeat")
    return figure_png(figure)


def _between(ways: Mapping[str, Team], asked: Set) -> bytes:
    figure, (axes,) = panels(3.0, 1)
    shares = np.linspace(0, 1, 21)
    for (words, pair), colour in zip(ways.items(), (ORANGE, GREY, BLUE), strict=True):
        at = [probabilities(mean_weights(pair, [1 - s, s]), asked.x) for s in shares.tolist()]
        wrong = [score_answers(said, asked)[1].mean() for said in at]
        axes.plot(shares, wrong, "o-", color=colour, ms=3, lw=1.8, label=words)
    axes.yaxis.set_major_formatter(lambda y, _: f"{y:.0%}")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("share of the second network in the mean of weights")
    axes.legend(frameon=False, fontsize=9)
    set_title(axes, "Wrong answers between two networks")
    return figure_png(figure)

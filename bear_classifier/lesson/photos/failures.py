"""Four failures of training, made on purpose, and how their histories show them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.ticker import FuncFormatter, MaxNLocator

from bear_classifier.experiments.lr.runs import no_random
from bear_classifier.learn.diagnose import diagnose
from bear_classifier.lesson.page import Page, Sheet
from bear_classifier.lesson.photos.short_trainings import (
    EPOCHS,
    RATE,
    WORSE,
    FailureRun,
    Recipe,
    Setup,
    crawls,
    explodes,
    is_overfitting,
    train_new_head,
    training_setup,
    unfinished,
)
from bear_classifier.lesson.trained_model import Subject
from bear_classifier.plots.charts import BLUE, GREY, ORANGE, figure_png, panels, set_title

FAR = 1000  # times too high, times too low
SHORT, LONG = 1, 24  # epochs too few and too many
FEW, WRONG_LABELS = 36, 12  # photos of a small set, and those of them with a wrong label
DROPOUT = 0.5
RIGHT = "right"
RECIPES = {
    RIGHT: Recipe(),
    "rate too high": Recipe(rate=RATE * FAR, epochs=3),
    "rate too low": Recipe(rate=RATE / FAR, epochs=3),
    "too few epochs": Recipe(epochs=SHORT),
    "too many epochs": Recipe(4 * RATE, LONG, FEW, WRONG_LABELS),
}
NAMED = {
    RIGHT: "fine",
    "rate too high": "rate_too_high",
    "rate too low": "rate_too_low",
    "too few epochs": "under_trained",
    "too many epochs": "over_trained",
}  # what `diagnose` calls them


def page(subject: Subject) -> Page:
    sheet = Sheet("wrong")
    with no_random():
        setup = training_setup(subject)
        runs = {name: train_new_head(setup, recipe) for name, recipe in RECIPES.items()}
        sheet.say("intro", setup=setup, few=FEW, wrong_labels=WRONG_LABELS)
        _histories(sheet, runs)
        _symptoms(sheet, runs)
        _below(sheet, runs[RIGHT])
        _made_harder(sheet, setup, runs)
    _diagnosed(sheet, runs)
    return sheet.page()


def _histories(sheet: Sheet, runs: Mapping[str, FailureRun]) -> None:
    sheet.say("histories_table", runs=runs)
    rates = _panels(runs, ("rate too low", RIGHT, "rate too high"), log=True)
    epochs = _panels(runs, ("too few epochs", RIGHT, "too many epochs"), log=False)
    sheet.picture("rate", rates)
    sheet.picture("epochs", epochs)


def _symptoms(sheet: Sheet, runs: Mapping[str, FailureRun]) -> None:
    sheet.say("symptoms")
    sheet.code(explodes, crawls, unfinished, is_overfitting)
    right, high, low, few, many = (runs[name] for name in RECIPES)
    worst = max((row["valid_loss"] for row in high.rows), default=math.nan)
    sheet.claim("rate_too_high", explodes(high), high=high, worst=worst)
    sheet.claim("rate_too_low", crawls(low), low=low, right=right)
    sheet.claim("too_few_epochs", unfinished(few), few=few)
    sheet.claim("too_many_epochs", is_overfitting(many), many=many, best=many.best)
    shown = [f.__name__ for f in (explodes, crawls, unfinished, is_overfitting) if f(right)]
    sheet.claim("right_shows_none", not shown, right=right, shown=shown)


def _below(sheet: Sheet, right: FailureRun) -> None:
    sheet.say("no_symptom")
    best, last = right.best["error"], right.last
    below = right.plain < 0.5 * last["valid_loss"] and last["error"] <= best + WORSE
    sheet.claim("train_below_valid", below, right=right, best=best)


def _made_harder(sheet: Sheet, setup: Setup, runs: Mapping[str, FailureRun]) -> None:
    sheet.say("made_harder")
    bare, easy = (train_new_head(setup, Recipe(epochs=n, crops=False)) for n in (SHORT, EPOCHS))
    hard = train_new_head(setup, Recipe(dropout=DROPOUT))
    harder = {
        (SHORT, "neither"): bare,
        (SHORT, "crops"): runs["too few epochs"],
        (EPOCHS, "neither"): easy,
        (EPOCHS, "crops"): runs[RIGHT],
        (EPOCHS, "crops and dropout"): hard,
    }
    sheet.say("harder_table", runs=harder)
    sheet.claim("few_epochs_to_blame", unfinished(bare), bare=bare)
    raised = hard.last["train_loss"] > max(easy.last["train_loss"], 1.5 * hard.plain)
    sheet.claim("harder_to_blame", raised, hard=hard, easy=easy)
    sheet.say("so_what")


def _diagnosed(sheet: Sheet, runs: Mapping[str, FailureRun]) -> None:
    sheet.say("diagnoses")
    diagnoses = {
        name: diagnose(run.rows, run.recipe.rate, run.start, run.recipe.photos, run.diverged)
        for name, run in runs.items()
    }
    sheet.say("diagnoses_table", diagnoses=diagnoses)
    low = "rate too low"
    named = all(diagnoses[name].code == code for name, code in NAMED.items() if name != low)
    sheet.claim("diagnosis_names", named, diagnoses=diagnoses)
    if diagnoses[low].code == NAMED[low]:
        sheet.say("low_rate_named")
    else:
        sheet.say("low_rate_missed", diagnosis=diagnoses[low])


def _panels(runs: Mapping[str, FailureRun], names: Sequence[str], log: bool) -> bytes:
    figure, cells = panels(3.2, len(names))
    for axes, name in zip(cells, names, strict=True):
        run = runs[name]
        epochs = [row["epoch"] for row in run.rows]
        for key, colour, words in (
            ("train_loss", BLUE, "training loss"), ("valid_loss", ORANGE, "validation loss"),
        ):  # fmt: skip
            axes.plot(epochs, [row[key] for row in run.rows], "o-", color=colour, ms=3, lw=1.8,
                      label=words)  # fmt: skip
        axes.axhline(run.start, color=GREY, lw=1, ls=(0, (4, 3)), label="validation, at the start")
        if log and explodes(run):
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
        else:
            axes.set_ylim(bottom=0)
        if not log:
            axes.plot(epochs, [row["error"] for row in run.rows], "s:", color=GREY, ms=3, lw=1.2,
                      label="share of wrong answers")  # fmt: skip
        axes.set_xlim(0.5, max(len(run.rows), 1) + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.set_xlabel("epoch")
        set_title(axes, name)
    handles, labels = cells[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=4, frameon=False, fontsize=9)
    return figure_png(figure)

"""Four failures of training, made on purpose, and how their histories show them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.ticker import FuncFormatter, MaxNLocator

from bear_classifier.experiments.lr.runs import no_random
from bear_classifier.learn.diagnose import diagnose
from bear_classifier.lesson.contents import TITLES
from bear_classifier.lesson.page import Page, Sheet
from bear_classifier.lesson.photos.failure_runs import (
    EPOCHS,
    RATE,
    WORSE,
    FailureRun,
    Recipe,
    Shop,
    crawls,
    explodes,
    is_overfitting,
    shop,
    train_new_head,
    unfinished,
)
from bear_classifier.lesson.trained_model import Subject
from bear_classifier.plots.charts import BLUE, GREY, ORANGE, figure_png, panels, set_title

FAR = 1000  # times too high, times too low
SHORT, LONG = 1, 24  # epochs too few and too many
FEW, ASTRAY = 36, 12  # photos of a small set, and those of them with a wrong label
DROPOUT = 0.5
RIGHT = "right"
RECIPES = {
    RIGHT: Recipe(),
    "rate too high": Recipe(rate=RATE * FAR, epochs=3),
    "rate too low": Recipe(rate=RATE / FAR, epochs=3),
    "too few epochs": Recipe(epochs=SHORT),
    "too many epochs": Recipe(4 * RATE, LONG, FEW, ASTRAY),
}
NAMED = {
    RIGHT: "fine",
    "rate too high": "rate_too_high",
    "rate too low": "rate_too_low",
    "too few epochs": "under_trained",
    "too many epochs": "over_trained",
}  # what `diagnose` calls them


def page(subject: Subject) -> Page:
    sheet = Sheet("wrong", TITLES["wrong"])
    with no_random():
        made = shop(subject)
        runs = {name: train_new_head(made, recipe) for name, recipe in RECIPES.items()}
        sheet.say(
            "There are two dials, the [[learning rate]] and the number of [[epoch|epochs]], and"
            " each can be turned too far either way. The history of a training, its two losses and"
            " its [[metric]] after each epoch, says which it was. Here is each of the four, done on"
            f" purpose: on {len(made.learned)} of your photos, checked on {len(made.checked)} of"
            " the [[validation set]], none of which cleaning suspects, each from the same new head."
            f" The small set has {FEW} photos, {ASTRAY} of them with a wrong label, as sets have"
            " that nobody cleaned, and four times the rate, so that its many epochs take less time."
        )
        _histories(sheet, runs)
        _symptoms(sheet, runs)
        _below(sheet, runs[RIGHT])
        _made_harder(sheet, made, runs)
    _diagnosed(sheet, runs)
    return sheet.page()


def _histories(sheet: Sheet, runs: Mapping[str, FailureRun]) -> None:
    sheet.table(
        ["training", "rate", "photos", "epochs", "training loss", "validation loss",
         "best", "wrong on validation", "best"],
        [_cells(name, run) for name, run in runs.items()],
    )  # fmt: skip
    rates = _panels(runs, ("rate too low", RIGHT, "rate too high"), log=True)
    epochs = _panels(runs, ("too few epochs", RIGHT, "too many epochs"), log=False)
    sheet.picture("rate", rates, "A rate too low, right and too high: losses of each epoch")
    sheet.picture("epochs", epochs, "Too few epochs, enough and too many: losses and errors")


def _cells(name: str, run: FailureRun) -> list[str]:
    recipe, rows = run.recipe, run.rows
    head = [name, f"{recipe.rate:.1g}", str(recipe.photos), str(recipe.epochs)]
    if not rows:
        return [*head, "no number", "no number", "", "", ""]
    return [
        *head,
        f"{run.first['train_loss']:.3g} to {run.last['train_loss']:.3g}",
        f"{run.start:.3g} to {run.last['valid_loss']:.3g}",
        f"{min(row['valid_loss'] for row in rows):.3g}",
        f"{run.last['error']:.1%}",
        f"{min(row['error'] for row in rows):.1%}",
    ]


def _symptoms(sheet: Sheet, runs: Mapping[str, FailureRun]) -> None:
    sheet.head("What to look for")
    sheet.code(explodes, crawls, unfinished, is_overfitting)
    high, low, few, many = (runs[name] for name in list(RECIPES)[1:])
    worst = max((row["valid_loss"] for row in high.rows), default=math.nan)
    sheet.claim(
        "rate too high: the validation loss goes far above where it began, or is not a number",
        explodes(high),
        f"it began at {high.start:.2f} and rose to {worst:.3g}"
        + "; then a number was none" * high.diverged,
    )
    sheet.claim(
        "rate too low: the training loss hardly falls",
        crawls(low),
        f"{low.first['train_loss']:.3f} to {low.last['train_loss']:.3f} in {len(low.rows)} epochs,"
        f" where the right rate reaches {runs[RIGHT].last['train_loss']:.3f}",
    )
    sheet.claim(
        "too few epochs ([[underfitting]]): the training loss is higher than that of validation,"
        " and that is still falling",
        unfinished(few),
        f"training {few.last['train_loss']:.3f}, validation {few.start:.3f} to"
        f" {few.last['valid_loss']:.3f} in {len(few.rows)} epoch",
    )
    best = many.best
    sheet.claim(
        f"too many epochs on {many.recipe.photos} photos, {many.recipe.astray} with a wrong label"
        " ([[overfitting]]): the validation metric gets worse while the training loss falls"
        " towards 0",
        is_overfitting(many),
        f"after epoch {best['epoch']:.0f} {best['error']:.1%} wrong and training loss"
        f" {best['train_loss']:.3f}; after {len(many.rows)} {many.last['error']:.1%} and"
        f" {many.last['train_loss']:.4f}",
    )
    right = runs[RIGHT]
    shown = [f.__name__ for f in (explodes, crawls, unfinished, is_overfitting) if f(right)]
    sheet.claim(
        "the right one shows none of the four",
        not shown,
        f"training loss {_way(right, 'train_loss')}, validation {_way(right, 'valid_loss')}"
        + (f"; it {', '.join(shown)}" if shown else ""),
    )


def _way(run: FailureRun, key: str) -> str:
    return " to ".join(f"{row[key]:.3f}" for row in (run.first, run.last))


def _below(sheet: Sheet, right: FailureRun) -> None:
    sheet.head("What is no symptom")
    sheet.say(
        "That the training loss lies <em>below</em> that of validation is not [[overfitting]]. It"
        " is what learning looks like: of course a model knows best what it has seen. What counts"
        " is whether the validation metric gets worse."
    )
    best, last = right.best["error"], right.last
    sheet.claim(
        "the right one, asked in the same way for both, ends with a training loss far below that of"
        " validation, and with as few errors as it ever had, but for a photo or two",
        right.plain < 0.5 * last["valid_loss"] and last["error"] <= best + WORSE,
        f"loss {right.plain:.3f} on the photos that it learned from, {last['valid_loss']:.3f} on"
        f" validation; {last['error']:.1%} wrong, {best:.1%} at best",
    )


def _made_harder(sheet: Sheet, made: Shop, runs: Mapping[str, FailureRun]) -> None:
    sheet.head("Dropout and crops: a training loss that is higher by design")
    sheet.say(
        "A training loss above that of validation has more causes than too few epochs. The one is"
        " that a history gives it as the mean over an epoch in which the model was still worse,"
        " while validation is asked at the end. The other is that learning is made harder than"
        " answering: random crops hide parts of a photo, dropout hides parts of its features, and"
        " validation has neither. So the same with and without them:"
    )
    found = {}
    for epochs, name in ((SHORT, "too few epochs"), (EPOCHS, RIGHT)):
        found[epochs, "neither"] = train_new_head(made, Recipe(epochs=epochs, crops=False))
        found[epochs, "crops"] = runs[name]
    found[EPOCHS, "crops and dropout"] = train_new_head(made, Recipe(dropout=DROPOUT))
    sheet.table(
        ["epochs", "made harder by", "training loss", "same photos, asked plainly at the end",
         "validation loss"],
        [[str(epochs), kind, f"{run.last['train_loss']:.3f}", f"{run.plain:.3f}",
          f"{run.last['valid_loss']:.3f}"] for (epochs, kind), run in found.items()],
    )  # fmt: skip
    bare, hard = found[SHORT, "neither"], found[EPOCHS, "crops and dropout"]
    sheet.claim(
        "with too few epochs the training loss is higher than that of validation without any of"
        " them too: the epochs are to blame",
        unfinished(bare),
        f"training {bare.last['train_loss']:.3f}, validation {bare.last['valid_loss']:.3f}",
    )
    easy = found[EPOCHS, "neither"]
    sheet.claim(
        "with enough epochs, crops and dropout alone raise the training loss; asked without them,"
        " the same photos have a far lower one",
        hard.last["train_loss"] > max(easy.last["train_loss"], 1.5 * hard.plain),
        f"{hard.last['train_loss']:.3f} with both, {easy.last['train_loss']:.3f} with neither;"
        f" asked plainly {hard.plain:.3f}",
    )
    sheet.say(
        "So a training loss above that of validation is a sign of too few epochs only where it is"
        " still falling, or where neither crops nor dropout explain it."
    )


def _diagnosed(sheet: Sheet, runs: Mapping[str, FailureRun]) -> None:
    sheet.head("What bears train says")
    said = {
        name: diagnose(run.rows, run.recipe.rate, run.start, run.recipe.photos, run.diverged)
        for name, run in runs.items()
    }
    sheet.table(["training", "diagnosis"], [[n, found.sentence] for n, found in said.items()])
    low = "rate too low"
    sheet.claim(
        "the diagnosis that follows every training names the rate that is too high, the epochs that"
        " are too few and too many, and finds the right one fine",
        all(said[name].code == code for name, code in NAMED.items() if name != low),
        ", ".join(f"{name}: {found.code}" for name, found in said.items() if name != low),
    )
    if said[low].code == NAMED[low]:
        sheet.say("It names the rate that is too low as well.")
        return
    sheet.say(
        f"The rate that is too low it calls <code>{said[low].code}</code> here. Of so few photos"
        " the training loss of an epoch differs from the next by a tenth by chance, and the"
        " averages that a new head keeps of its features move the validation loss although hardly"
        " a weight moves. So where a training loss is high still, doubt the rate first."
    )


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

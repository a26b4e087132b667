"""Transfer learning in stages, and why the head is trained first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bear_classifier.experiments.lr.runs import no_random
from bear_classifier.learn.backbone import Classifier
from bear_classifier.lesson.contents import TITLES
from bear_classifier.lesson.page import Page, Sheet
from bear_classifier.lesson.photos import transfer_runs
from bear_classifier.lesson.photos.transfer_runs import (
    EarlyFeatures,
    Photos,
    adam,
    begun,
    descent,
    feature_shift,
    features,
    learned,
    wrong,
)
from bear_classifier.lesson.trained_model import Subject
from bear_classifier.plots.charts import BLUE, GREY, ORANGE, figure_png, panels, set_title
from bear_classifier.stats.arrays import Floats
from bear_classifier.stats.paired import Difference, difference

EACH = 10  # photos of a class, of the task
PHOTO_DRAWS = 4  # of these photos
HEAD_EPOCHS, EPOCHS = 30, 8  # of the task
MANY_HEAD_EPOCHS, MANY_EPOCHS = 10, 5  # of the stage in between
FEW_HEAD, FEW = (1e-2, 0.0), (3e-4, 3e-4)  # rates of descent: of the head, of the body
MANY, ON = (3e-3, 3e-4), (3e-4, 3e-5)  # of Adam
HEAD, ONCE, FIRST = METHODS = ("head only", "all at once", "head, then all")


@dataclass(frozen=True)
class TransferRun:
    """wrongs, by_day: (draws, photos) at night and by day; shifts: how far the features of the held
    back photos moved at night, (draws,)."""

    wrongs: Floats
    by_day: Floats
    shifts: Floats


def task(start: Classifier, own: EarlyFeatures, classes: int, method: str, seed: int) -> Classifier:
    """The task by one of the methods, from a body and with a new head."""
    model = begun(start, own, classes, seed)
    if method != ONCE:
        model = learned(model, own, HEAD_EPOCHS, FEW_HEAD, seed, descent, body=False)
    return model if method == HEAD else learned(model, own, EPOCHS, FEW, seed, descent)


def train_in_stages(start: Classifier, many: EarlyFeatures, classes: int, seed: int) -> Classifier:
    """One that learned from the many: the head, then all."""
    model = begun(start, many, classes, seed)
    model = learned(model, many, MANY_HEAD_EPOCHS, MANY, seed, adam, body=False)
    return learned(model, many, MANY_EPOCHS, MANY, seed, adam)


def gone_on(staged: Classifier, own: EarlyFeatures, seed: int) -> Classifier:
    """From the many to the few, with the head that it has, at a tenth of the rates."""
    return learned(staged, own, EPOCHS, ON, seed, adam)


def page(subject: Subject) -> Page:
    sheet = Sheet("stages", TITLES["stages"])
    classes = len(subject.config.labels)
    with no_random():
        there = transfer_runs.photos_of(subject, EACH)
        sheet.say(
            f"You have {len(there.by_day.y)} photos as a search finds them. But the camera that the"
            " model is for hangs in the forest, and of what it takes at night there are only"
            f" {EACH} of each class. (Here they are made of other photos of yours: grey,"
            f" grainy, lit by a lamp.) Every figure is of {len(there.asked.y)} photos of validation"
            f" and test that nothing learned from, at night, with {PHOTO_DRAWS} draws of the few."
            " The last stage of the network and the head learn; what comes before is as it was."
        )
        sheet.picture("night", there.picture, "Some of the held back photos, by day and at night")
        sheet.code(transfer_runs.at_night)
        runs = {method: _run(there, classes, method) for method in METHODS}
        _methods(sheet, there, runs)
        _stages(sheet, there, classes, runs)
    return sheet.page()


def _run(there: Photos, classes: int, method: str) -> TransferRun:
    before = features(there.model, there.asked.x)
    rows = []
    for seed, own in enumerate(_draws(there)):
        model = task(there.model, own, classes, method, seed)
        shift = feature_shift(before, features(model, there.asked.x))
        rows.append((wrong(model, there.asked), wrong(model, there.asked_by_day), np.array(shift)))
    return TransferRun(*(np.stack(part) for part in zip(*rows, strict=True)))


def _draws(there: Photos) -> list[EarlyFeatures]:
    return [transfer_runs.few(there.at_night, EACH, seed) for seed in range(PHOTO_DRAWS)]


# -- the head first --------------------------------------------------------------------------------


def _methods(sheet: Sheet, there: Photos, runs: Mapping[str, TransferRun]) -> None:
    sheet.head("Why the head learns first")
    sheet.code(
        transfer_runs.begun,
        transfer_runs.descent,
        transfer_runs.learned,
        task,
        transfer_runs.feature_shift,
    )
    sheet.table(
        ["method", "wrong at night", "wrong by day", "how far the features moved"],
        [
            [name, f"{run.wrongs.mean():.1%}", f"{run.by_day.mean():.1%}",
             f"{run.shifts.mean():.2f}"] for name, run in runs.items()
        ],
    )  # fmt: skip
    sheet.picture("methods", _dots(runs), "Each draw: wrong answers, and how far features moved")
    once, first = runs[ONCE].shifts, runs[FIRST].shifts
    sheet.claim(
        "a head that knows nothing drags the features away: all at once moves them further than"
        " after the head has learned (Kumar et al., arXiv 2202.10054), in each draw",
        bool((once > first).all()),
        f"by {once.mean():.2f} ({once.min():.2f} to {once.max():.2f}) of the distance between"
        f" photos, and by {first.mean():.2f} ({first.min():.2f} to {first.max():.2f})",
    )
    apart = _apart(runs[ONCE].wrongs, runs[FIRST].wrongs, there)
    sheet.claim(
        "and it shows in the answers: after the head, fewer are wrong than all at once",
        apart.below(),
        f"{apart.span('error')}, 95 % over draws and photos",
    )
    alone = _apart(runs[HEAD].wrongs, runs[FIRST].wrongs, there)
    day = _apart(runs[ONCE].by_day, runs[FIRST].by_day, there)
    sheet.say(
        "The gradient of a head that was begun at random says nothing about photos, and the body"
        " follows it all the same until the head has learned; what it knew goes lost meanwhile."
        " After the head has learned, the loss is low, and so is the gradient. By day, of which"
        f" nothing was learned, head, then all against all at once: {day.span('error')} wrong"
        f" answers. Against the head only, at night: {alone.span('error')}. Of so few photos"
        " a body learns little that is worth learning; where an interval reaches over 0, this page"
        " cannot tell."
    )


# -- a stage in between ----------------------------------------------------------------------------


def _stages(sheet: Sheet, there: Photos, classes: int, runs: Mapping[str, TransferRun]) -> None:
    sheet.head("A stage in between")
    sheet.say(
        "The many photos by day are not what the camera takes, but they are related. So: from the"
        " weights that training begins with to the many, and from there to the few, carefully,"
        " since there is something to lose now. To see whether it is what the many show that helps,"
        " and not just more training, the same once more with each other's labels by day."
    )
    sheet.code(transfer_runs.adam, train_in_stages, gone_on, transfer_runs.with_shuffled_labels)
    best = min(runs, key=lambda method: float(runs[method].wrongs.mean()))
    by_day = train_in_stages(there.model, there.by_day, classes, 0)
    by_lot = train_in_stages(
        there.model, transfer_runs.with_shuffled_labels(there.by_day, 0), classes, 0
    )
    staged, control = (
        np.stack([wrong(gone_on(body, own, s), there.asked) for s, own in enumerate(_draws(there))])
        for body in (by_day, by_lot)
    )
    direct, alone = runs[best].wrongs, wrong(by_day, there.asked)
    ways = {f"direct, {best}": direct, "in stages": staged, "in stages, random labels": control}
    sheet.table(
        ["way to the task", "wrong at night"],
        [
            *([name, f"{wrongs.mean():.1%}"] for name, wrongs in ways.items()),
            ["the many by day only, none of the few", f"{alone.mean():.1%}"],
        ],
    )
    sheet.picture("stages", _ways(ways, float(alone.mean())), "Each draw: wrong answers at night")
    apart = _apart(direct, staged, there)
    sheet.claim(
        "with a related stage in between, fewer answers are wrong than by the best direct way",
        apart.below(),
        f"{apart.span('error')}, 95 % over draws and photos",
    )
    by_labels = _apart(control, staged, there)
    sheet.claim(
        "it is what the many show that helps: with random labels, more are wrong",
        by_labels.below(),
        f"{by_labels.span('error')} against random labels",
    )
    few = _apart(np.broadcast_to(alone, staged.shape), staged, there)
    sheet.say(
        f"What the few add to the many: {few.span('error')} wrong answers. Where that interval"
        " reaches over 0, look at the many alone before anything is learned from so few."
    )


def _apart(one: Floats, other: Floats, there: Photos) -> Difference:
    return difference(one, other, there.asked.y.numpy(), there.asked.groups, "error")


# -- pictures --------------------------------------------------------------------------------------


def _dots(runs: Mapping[str, TransferRun]) -> bytes:
    figure, (left, right) = panels(3.0, 2)
    for number, run in enumerate(runs.values()):
        colour = (GREY, ORANGE, BLUE)[number]
        for axes, values in ((left, run.wrongs.mean(1)), (right, run.shifts)):
            axes.plot([number] * len(values), values, "o", color=colour, ms=5)
            axes.plot(number, values.mean(), "_", color=colour, ms=34, mew=3)
    for axes, words in ((left, "Wrong answers at night"), (right, "How far the features moved")):
        axes.set_xticks(range(len(runs)), list(runs))
        axes.set_xlim(-0.5, len(runs) - 0.5)
        axes.set_ylim(bottom=0)
        set_title(axes, words)
    left.yaxis.set_major_formatter(lambda y, _: f"{y:.0%}")
    return figure_png(figure)


def _ways(ways: Mapping[str, Floats], alone: float) -> bytes:
    figure, (axes,) = panels(3.0, 1)
    for number, wrongs in enumerate(ways.values()):
        colour, values = (GREY, BLUE, ORANGE)[number], wrongs.mean(1)
        axes.plot([number] * len(values), values, "o", color=colour, ms=5)
        axes.plot(number, values.mean(), "_", color=colour, ms=60, mew=3)
    axes.axhline(alone, color=GREY, lw=1, ls=(0, (4, 3)), label="the many by day only")
    axes.set_xticks(range(len(ways)), list(ways))
    axes.set_xlim(-0.5, len(ways) - 0.5)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(lambda y, _: f"{y:.0%}")
    axes.legend(frameon=False, fontsize=9)
    set_title(axes, "Wrong answers at night, each draw")
    return figure_png(figure)

"""Transfer learning in stages, and why the head is trained first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from bear_classifier.experiments.lr.runs import no_random
from bear_classifier.learn.backbone import Classifier
from bear_classifier.lesson.page import Page, Sheet
from bear_classifier.lesson.photos import staged_training
from bear_classifier.lesson.photos.staged_training import (
    Photos,
    adam,
    descent,
    feature_shift,
    features,
    trained,
    with_new_head,
    wrong,
)
from bear_classifier.lesson.trained_model import LabelledFeatures, Subject
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


def task(
    start: Classifier, own: LabelledFeatures, classes: int, method: str, seed: int
) -> Classifier:
    """The task by one of the methods, from a body and with a new head."""
    model = with_new_head(start, own, classes, seed)
    if method != ONCE:
        model = trained(model, own, HEAD_EPOCHS, FEW_HEAD, seed, descent, body=False)
    return model if method == HEAD else trained(model, own, EPOCHS, FEW, seed, descent)


def train_in_stages(
    start: Classifier, many: LabelledFeatures, classes: int, seed: int
) -> Classifier:
    """One that learned from the many: the head, then all."""
    model = with_new_head(start, many, classes, seed)
    model = trained(model, many, MANY_HEAD_EPOCHS, MANY, seed, adam, body=False)
    return trained(model, many, MANY_EPOCHS, MANY, seed, adam)


def trained_further(staged: Classifier, own: LabelledFeatures, seed: int) -> Classifier:
    """From the many to the few, with the head that it has, at a tenth of the rates."""
    return trained(staged, own, EPOCHS, ON, seed, adam)


def page(subject: Subject) -> Page:
    sheet = Sheet("stages")
    classes = len(subject.config.labels)
    with no_random():
        photos = staged_training.photos_of(subject, EACH)
        sheet.say("intro", photos=photos, each=EACH, photo_draws=PHOTO_DRAWS)
        sheet.picture("night", photos.picture)
        sheet.code(staged_training.at_night)
        runs = {method: _run(photos, classes, method) for method in METHODS}
        _methods(sheet, photos, runs)
        _stages(sheet, photos, classes, runs)
    return sheet.page()


def _run(photos: Photos, classes: int, method: str) -> TransferRun:
    before = features(photos.model, photos.held_out.x)
    rows = []
    for seed, own in enumerate(_draws(photos)):
        model = task(photos.model, own, classes, method, seed)
        shift = feature_shift(before, features(model, photos.held_out.x))
        wrongs = [wrong(model, part) for part in (photos.held_out, photos.held_out_by_day)]
        rows.append((*wrongs, np.array(shift)))
    return TransferRun(*(np.stack(part) for part in zip(*rows, strict=True)))


def _draws(photos: Photos) -> list[LabelledFeatures]:
    return [staged_training.few(photos.at_night, EACH, seed) for seed in range(PHOTO_DRAWS)]


# -- the head first --------------------------------------------------------------------------------


def _methods(sheet: Sheet, photos: Photos, runs: Mapping[str, TransferRun]) -> None:
    sheet.say("head_first")
    sheet.code(with_new_head, descent, trained, task, feature_shift)
    sheet.say("methods_table", runs=runs)
    sheet.picture("methods", _methods_figure(runs))
    once, first = runs[ONCE].shifts, runs[FIRST].shifts
    sheet.claim("dragged_away", (once > first).all(), once=once, first=first)
    apart = _apart(runs[ONCE].wrongs, runs[FIRST].wrongs, photos)
    sheet.claim("shows_in_answers", apart.below(), apart=apart)
    alone = _apart(runs[HEAD].wrongs, runs[FIRST].wrongs, photos)
    day = _apart(runs[ONCE].by_day, runs[FIRST].by_day, photos)
    sheet.say("head_first_why", day=day, alone=alone)


# -- a stage in between ----------------------------------------------------------------------------


def _stages(sheet: Sheet, photos: Photos, classes: int, runs: Mapping[str, TransferRun]) -> None:
    sheet.say("in_between")
    sheet.code(adam, train_in_stages, trained_further, staged_training.with_shuffled_labels)
    best = min(runs, key=lambda method: float(runs[method].wrongs.mean()))
    by_day = train_in_stages(photos.model, photos.by_day, classes, 0)
    shuffled = staged_training.with_shuffled_labels(photos.by_day, 0)
    by_shuffled = train_in_stages(photos.model, shuffled, classes, 0)

    def wrongs_after(body: Classifier) -> Floats:
        models = [trained_further(body, own, seed) for seed, own in enumerate(_draws(photos))]
        return np.stack([wrong(model, photos.held_out) for model in models])

    staged, control = wrongs_after(by_day), wrongs_after(by_shuffled)
    direct, alone = runs[best].wrongs, wrong(by_day, photos.held_out)
    ways = {f"direct, {best}": direct, "in stages": staged, "in stages, random labels": control}
    sheet.say("ways_table", ways=ways, alone=alone)
    sheet.picture("stages", _ways_figure(ways, float(alone.mean())))
    apart = _apart(direct, staged, photos)
    sheet.claim("stage_helps", apart.below(), apart=apart)
    by_labels = _apart(control, staged, photos)
    sheet.claim("labels_help", by_labels.below(), by_labels=by_labels)
    few = _apart(np.broadcast_to(alone, staged.shape), staged, photos)
    sheet.say("few_add", few=few)


def _apart(one: Floats, other: Floats, photos: Photos) -> Difference:
    return difference(one, other, photos.held_out.y.numpy(), photos.held_out.groups, "error")


# -- pictures --------------------------------------------------------------------------------------


def _methods_figure(runs: Mapping[str, TransferRun]) -> bytes:
    figure, (left, right) = panels(3.0, 2)
    colours = (GREY, ORANGE, BLUE)
    wrongs = {name: run.wrongs.mean(1) for name, run in runs.items()}
    _dots(left, wrongs, colours, 34)
    _dots(right, {name: run.shifts for name, run in runs.items()}, colours, 34)
    left.yaxis.set_major_formatter(lambda y, _: f"{y:.0%}")
    set_title(left, "Wrong answers at night")
    set_title(right, "How far the features moved")
    return figure_png(figure)


def _ways_figure(ways: Mapping[str, Floats], alone: float) -> bytes:
    figure, (axes,) = panels(3.0, 1)
    wrongs = {name: each.mean(1) for name, each in ways.items()}
    _dots(axes, wrongs, (GREY, BLUE, ORANGE), 60)
    axes.axhline(alone, color=GREY, lw=1, ls=(0, (4, 3)), label="the many by day only")
    axes.yaxis.set_major_formatter(lambda y, _: f"{y:.0%}")
    axes.legend(frameon=False, fontsize=9)
    set_title(axes, "Wrong answers at night, each draw")
    return figure_png(figure)


def _dots(axes: Axes, groups: Mapping[str, Floats], colours: Sequence[str], width: int) -> None:
    """Each value a dot, each mean a stroke. width: of the stroke, points."""
    for number, (values, colour) in enumerate(zip(groups.values(), colours, strict=True)):
        axes.plot([number] * len(values), values, "o", color=colour, ms=5)
        axes.plot(number, values.mean(), "_", color=colour, ms=width, mew=3)
    axes.set_xticks(range(len(groups)), list(groups))
    axes.set_xlim(-0.5, len(groups) - 0.5)
    axes.set_ylim(bottom=0)

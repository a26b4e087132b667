"""What to do next, in sentences with their figures, from the facts of a project.

Every figure is one that a stage has measured, or an interval of `stats.intervals`; the limits from
which something is said are those that the stages have, or have their reason beside them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Literal, TypedDict

from bear_classifier.experiments.curve import text as curve_text
from bear_classifier.report.words import FEW_TEST_PHOTOS, cannot_judge, percent, photos
from bear_classifier.runtime.terminal import count
from bear_classifier.stats.intervals import wilson
from bear_classifier.stats.metrics import IMBALANCE
from bear_classifier.studio.facts import JudgedModel, ProjectFacts

Step = Literal["photos", "learn", "clean", "publish"]

_MUCH_ALIKE = 2.0  # design effect: from here on photos count as half as many, or fewer (Kish, 1965)
_WIDE = 0.1  # share; an error that may be this high though no answer was wrong says hardly anything
_MOSTLY_REFUSED = 0.5  # share of what came in
# Share of photos: below it hardly anybody would collect for a gain (`experiments.curve.power_law`),
# so nobody need look for so few faults.
_FEW_FAULTS = 0.005
_RAREST = 100  # photos of which one is wrong; rarer than that is said so
_SHOWN = 3  # reasons that are named
_COPY, _NOT_FETCHED = "already there", "that could not be fetched"
_REFUSALS = {
    **dict.fromkeys(("DUPLICATE", "NEAR_COPY", "BETWEEN_GROUPS", "ACROSS_SPLITS"), _COPY),
    **dict.fromkeys(("EMPTY_FILE", "NOT_AN_IMAGE", "UNSUPPORTED_FORMAT"), "no picture we can read"),
    **dict.fromkeys(("TRUNCATED", "DAMAGED", "UNREADABLE", "STORED_FILE"), "damaged"),
    **dict.fromkeys(("TOO_LARGE", "TOO_MANY_PIXELS", "TOO_COMPLEX"), "too large"),
    **dict.fromkeys(("TIMEOUT_DECODE",), "that took too long to read"),
    **dict.fromkeys(("TOO_SMALL", "ODD_SHAPE"), "too small or too narrow"),
    "BLANK": "empty",
    "PLACEHOLDER": "shown by a site in place of others",
    "LABEL_CONFLICT": "in two classes at once",
}
_NO_REFUSAL = ("CLASS_REMOVED", "TAKEN_DOWN", "GONE", "SPARE")


class NextAction(TypedDict, total=False):
    """What a button does. words: on it; step: that it opens; label: the class that is meant; job:
    the kind of job that it starts."""

    words: str
    step: Step
    label: str
    job: str


class Advice(TypedDict):
    step: Step
    level: Literal["info", "warn"]
    sentence: str
    action: NextAction | None


def advice(facts: ProjectFacts) -> list[Advice]:
    """What to say at each step, the most important first."""
    return [
        *_drawn(facts),
        *_too_few(facts),
        *_too_alike(facts),
        *_one_source(facts),
        *_unequal(facts),
        *_few_to_judge(facts),
        *_refused(facts),
        *_unlabelled(facts),
        *_learn(facts),
        *_clean(facts),
        *_publish(facts),
    ]


def _warn(step: Step, sentence: str, action: NextAction | None = None) -> Advice:
    return {"step": step, "level": "warn", "sentence": sentence, "action": action}


def _info(step: Step, sentence: str, action: NextAction | None = None) -> Advice:
    return {"step": step, "level": "info", "sentence": sentence, "action": action}


def _add(label: str, n: int) -> NextAction:
    return {"words": f"Add {n} of {label}", "step": "photos", "label": label}


# -- photos --------------------------------------------------------------------------------------


def _drawn(facts: ProjectFacts) -> Iterator[Advice]:
    if facts.drawn:
        yield _info(
            "photos",
            "These are drawings that code made, to try every step with. The model learns drawings,"
            " so its answers and figures hold for drawings only. Begin another project for"
            " photos, as the two do not mix.",
        )


def _too_few(facts: ProjectFacts) -> Iterator[Advice]:
    for label, row in facts.classes.items():
        if row.usable < facts.least:
            has = f"has {photos(row.usable)}" if row.usable else "has no photo yet"
            more = facts.least - row.usable
            yield _warn(
                "photos",
                f"{label} {has}; {facts.least} are needed before anything can be learned: add"
                f" {more}{' more' if row.usable else ''}.",
                _add(label, more),
            )


def _too_alike(facts: ProjectFacts) -> Iterator[Advice]:
    """Near-copies, and one burst."""
    for label, row in facts.classes.items():
        if row.usable < facts.least or row.effect < _MUCH_ALIKE:
            continue
        different = max(1, round(row.usable / row.effect))
        where = f"show {count(row.groups, 'scene')}"
        if 2 * row.largest > row.usable:
            where = f"are mostly one scene ({photos(row.largest)})"
        yield _warn(
            "photos",
            f"The {photos(row.usable)} of {label} {where}: near-copies count as about {different}."
            " Add photos of other scenes.",
            {"words": f"Add other scenes of {label}", "step": "photos", "label": label},
        )


def _one_source(facts: ProjectFacts) -> Iterator[Advice]:
    """So few photos are of other sources that they would not make a class of their own."""
    for label, row in facts.classes.items():
        known = sum(row.sources.values())
        if row.usable < facts.least or 2 * known <= row.usable:
            continue
        most = max(row.sources, key=lambda name: (row.sources[name], name))
        others = row.usable - row.sources[most]
        if others >= facts.least:
            continue
        which = "All" if not others else f"{row.sources[most]} of"
        yield _warn(
            "photos",
            f"{which} {photos(row.usable)} of {label} come from {most}: the model may learn what is"
            " common to that source instead, and whether it knows other photos cannot be measured."
            f" Add {facts.least - others} of other sources.",
            {"words": f"Add other sources of {label}", "step": "photos", "label": label},
        )


def _unequal(facts: ProjectFacts) -> Iterator[Advice]:
    rows = {label: row.usable for label, row in facts.classes.items() if row.usable >= facts.least}
    if len(rows) < 2:
        return
    large, small = max(rows, key=lambda k: rows[k]), min(rows, key=lambda k: rows[k])
    if rows[large] >= IMBALANCE * rows[small]:
        times = rows[large] // rows[small]
        yield _warn(
            "photos",
            f"{large} has {photos(rows[large])}, {small} {rows[small]}: {times} times as many. More"
            f" photos of {small} would help most.",
            {"words": f"Add photos of {small}", "step": "photos", "label": small},
        )


def _few_to_judge(facts: ProjectFacts) -> Iterator[Advice]:
    """Too few photos for the test split to say anything."""
    usable = sum(row.usable for row in facts.classes.values())
    if any(row.usable < facts.least for row in facts.classes.values()) or not usable:
        return
    n = round(usable * facts.test_share) if facts.test is None else facts.test
    if n >= FEW_TEST_PHOTOS:
        return
    high, fine = ((wilson(0, most) or (0.0, 1.0))[1] for most in (n, FEW_TEST_PHOTOS))
    more = math.ceil(FEW_TEST_PHOTOS / facts.test_share)
    say = _warn if high > _WIDE else _info
    yield say(
        "photos",
        f"{photos(n)} of {usable} {'is' if n == 1 else 'are'} set aside to judge the model: even"
        f" without a mistake its error could be {percent(high)}. With {more} photos it could be"
        f" {percent(fine)}.",
    )


def _refused(facts: ProjectFacts) -> Iterator[Advice]:
    words: Counter[str] = Counter()
    for code, k in facts.refused.items():
        if code not in _NO_REFUSAL:
            words[_REFUSALS.get(code, _NOT_FETCHED)] += k
    n = words.total()
    if not n:
        return
    bad = n - words[_COPY]
    usable = sum(row.usable for row in facts.classes.values()) + facts.unlabelled
    most = sorted(words.items(), key=lambda item: (-item[1], item[0]))
    why = ", ".join(f"{k} {reason}" for reason, k in most[:_SHOWN])
    rest = ", ..." if len(most) > _SHOWN else ""
    say = _warn if bad > _MOSTLY_REFUSED * (bad + usable) else _info
    yield say("photos", f"{count(n, 'file')} {'was' if n == 1 else 'were'} left out: {why}{rest}.")


def _unlabelled(facts: ProjectFacts) -> Iterator[Advice]:
    if facts.unlabelled:
        yield _info(
            "photos",
            f"{photos(facts.unlabelled)} without a class wait; confirm a class of each in the step"
            " Clean once there is a first model.",
        )


# -- what the models say ---------------------------------------------------------------------------


def _learn(facts: ProjectFacts) -> Iterator[Advice]:
    if any(row.usable < facts.least for row in facts.classes.values()):
        return
    judged = facts.shown
    if judged is None:
        usable = sum(row.usable for row in facts.classes.values())
        each = min((row.usable for row in facts.classes.values()), default=0)
        yield _info(
            "learn",
            f"{photos(usable)}, {each} or more of each class: enough for a first model.",
            {"words": "Learn", "job": "learn"},
        )
        return
    yield _info("learn", meaning(judged, facts))
    yield next_step(facts)


def meaning(judged: JudgedModel, facts: ProjectFacts) -> str:
    """What an error and its interval mean, in one sentence."""
    name = "The fine-tuned model" if facts.is_tuned else "The first model"
    seen = "photos, each judged by a model that had not seen it"
    if judged is facts.model:
        seen = "test photos"
    low, high = judged.interval
    if judged.error == 0:
        return (
            f"{name} made no mistake on {judged.n} {seen}; its true error may still be as high as"
            f" {percent(high)}, {_about(high)}."
        )
    return (
        f"{name} gets {_about(judged.error)} wrong: {percent(judged.error, (low, high))},"
        f" measured on {judged.n} {seen}."
    )


def _about(share: float) -> str:
    """A share as people say it. share: above 0."""
    if share > 0.4:
        return f"about {round(10 * share)} photos in 10"
    if share * _RAREST < 1:
        return f"fewer than 1 photo in {_RAREST}"
    return f"about 1 photo in {max(2, round(1 / share))}"


def next_step(facts: ProjectFacts) -> Advice:
    """The one thing to do next: look at faults, more photos of a class, or it is enough."""
    usable = sum(row.usable for row in facts.classes.values())
    if facts.likely and facts.likely >= _FEW_FAULTS * usable:
        return _info(
            "learn",
            f"Next, clean: {facts.likely} of {photos(usable)} are more likely than not to have a"
            " wrong label or to show something else.",
            {"words": f"Clean {photos(facts.likely)}", "step": "clean"},
        )
    if facts.changed:
        what = "with the photos that came or left since"
        if facts.decisions:
            what = f"with {count(facts.decisions, 'decision')} made since"
        return _info(
            "learn",
            f"Next, train again {what}: the figures here are of the model before.",
            {"words": "Train again", "job": "train"},
        )
    if facts.curve is None:
        return _info("learn", _not_known(facts), {"words": "Measure it", "job": "curve"})
    whole, label = facts.curve["all"], facts.curve["most"]
    row = facts.curve["classes"][label] if label else whole
    gain = f"{curve_text.in_points(row['gain'])} points"
    if whole["worth"] == "helps":
        of = f" of {label}" if label else ""
        return _info(
            "learn",
            f"Next, {row['more']} more photos{of}: they would take about {gain} off the error.",
            {"words": f"Add {row['more']} photos{of}", "step": "photos", "label": label or ""},
        )
    if whole["worth"] == "hardly":
        most = curve_text.in_points(whole["gain_interval"][1])
        return _info(
            "learn",
            f"This is enough: {whole['more']} more photos would take at most {most} points off the"
            " error.",
            {"words": "Publish", "step": "publish"},
        )
    return _info("learn", f"Next: {curve_text.answer(facts.curve)}")


def _not_known(facts: ProjectFacts) -> str:
    """Without a learning curve: the most frequent confusion, and what would tell more."""
    end = "How much more photos would help has not been measured yet."
    if not facts.confused:
        return end
    pair = facts.confused[0]
    return (
        f"Most mistakes: {pair.n} of {photos(pair.of)} of {pair.true} taken for {pair.said}. {end}"
    )


def _clean(facts: ProjectFacts) -> Iterator[Advice]:
    if facts.likely is None:
        return
    if not facts.likely:
        yield _info("clean", "No photo is more likely to be a fault than not.")
        return
    about = round(facts.expected or 0)
    yield _info(
        "clean",
        f"{photos(facts.likely)} {'is' if facts.likely == 1 else 'are'} more likely to be a fault"
        f" than not; when the model learned, about {about} faults were expected in all.",
        {"words": f"Look at {photos(facts.likely)}", "step": "clean"},
    )
    if facts.can_look_again:
        yield _info(
            "clean",
            "The photos were looked at once. A second look, at larger pictures, brings more of the"
            " faults to the front; it takes about as long as the first model did.",
            {"words": "Look a second time", "job": "look"},
        )
    if facts.decisions:
        yield _info(
            "clean",
            f"{count(facts.decisions, 'decision')} made since the last training.",
            {"words": f"Train again with {count(facts.decisions, 'decision')}", "job": "train"},
        )


def _publish(facts: ProjectFacts) -> Iterator[Advice]:
    if facts.model is None:
        return
    if facts.changed:
        yield _warn(
            "publish",
            "The published model was not made from the photos, labels and settings of now.",
            {"words": "Train again", "job": "train"},
        )
    if facts.model.n < FEW_TEST_PHOTOS:
        yield _warn("publish", cannot_judge(facts.model.n, facts.model.interval))

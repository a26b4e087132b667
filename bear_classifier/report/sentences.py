"""The sentences of the report, for page and text alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bear_classifier.judge import membership_inference, refusals_in_words
from bear_classifier.judge.leave_source_out import SourceHoldout
from bear_classifier.judge.rejection import Elsewhere, FalseAccepts
from bear_classifier.report import schema
from bear_classifier.report.words import FEW_TEST_PHOTOS, cannot_judge
from bear_classifier.report.words import percent as percent
from bear_classifier.report.words import photos as photos

_SURE = 0.05  # chance of a difference where there is none
_LOOK = {
    "brightness": "brightness alone",
    "border colour": "the mean colour of the outer tenth alone",
    "shape": "width to height alone",
    "size": "the number of pixels alone",
}


def verdict(facts: schema.Measured) -> str:
    """How good the model is, in one sentence."""
    test = facts["test"]
    if not test["n"]:
        return "There was no photo to judge the model with, so its error is unknown."
    error = percent(test["error"], test["error_interval"])
    wrong = test["wrong"] or "none"
    return (
        f"Of {photos(test['n'])} that it had never seen, the model got {wrong} wrong: an error of"
        f" {error}; {calibration(test)}; {refuses(facts['rejection'])}."
    )


def calibration(test: schema.TestFigures) -> str:
    ece, limit = test["ece"], test["chance_gap"]
    off = f"the certainty that it states is off by {ece:.1%} on average"
    if ece is None or limit is None:
        return off
    if ece <= limit:
        return f"{off}, as it may be by chance{' with so few photos' if limit > 0.05 else ''}"
    return f"{off}, more than chance explains (up to {limit:.1%})"


def refuses(rule: schema.RejectionFigures) -> str:
    """What gets no answer."""
    test = rule["test"]
    answered = percent(test["accepted_share"], test["accepted_interval"])
    others = "refuses pictures unlike its training photos"
    if rule["least"] is None:
        others = "names a class even for pictures of something else"
    return f"it answers {answered} of them and {others}"


def report_warnings(facts: schema.Measured) -> list[str]:
    """What a reader must know before believing the rest, the gravest first."""
    test, lines = facts["test"], list[str]()
    if not facts["belongs"]["weights"]:
        lines.append(
            "This bundle is not the last training of this dataset: the figures below are those of"
            " the training, not of the bundle, and no activation maps are shown. Name the bundle"
            " that belongs to it with --model, or make a new one; run: bears run"
        )
    if not facts["belongs"]["photos"]:
        lines.append(
            "The model and the dataset do not belong together: the bundle was made from other"
            " photos, labels or splits than the dataset holds now. To make a new one, run:"
            " bears run"
        )
    if test["now"] != test["n"]:
        lines.append(
            f"The test split has {photos(test['now'], 'usable')} now and had {test['n']} when the"
            " model was judged; to judge again, run: bears run"
        )
    if (interval := test["error_interval"]) and test["n"] < FEW_TEST_PHOTOS:
        lines.append(f"{cannot_judge(test['n'], interval)} Do not compare models by it.")
    if empty := [label for label, row in test["per_class"].items() if not row["n"]]:
        lines.append(
            f"The test split has no photo of {', '.join(empty)}: how well the model knows it is"
            " unknown."
        )
    if other := facts["elsewhere"]:
        harder = (other["left_out"]["error"] or 0.0) > (other["random"]["error"] or 0.0)
        if harder and other["paired"]["p"] < _SURE:
            lines.append(unseen_sources(other))
    lines += calibration_warnings(test, facts["rejection"].get("elsewhere"))
    if n := facts["test_decisions"]:
        lines.append(
            f"{photos(n)} of the test split got another label or {'was' if n == 1 else 'were'} left"
            " out by hand before this was measured."
        )
    if facts["test_looks"] > 1:
        lines.append(
            f"{facts['test_looks']} models of this dataset were judged on its test photos, this one"
            " included. Whoever keeps the best of them finds it better than it is."
        )
    if clear := [row for row in facts["shortcuts"] if row["clear"]]:
        lines.append(shortcut_warning(clear))
    return lines


def calibration_warnings(test: schema.TestFigures, other: Elsewhere | None) -> list[str]:
    """Where stated certainty is off by more than chance explains. other: on held-out sources."""
    places = [("the test photos", test["ece"], test["chance_gap"])]
    if other:
        places.append(("photos of sources that it never saw", other["ece"], other["chance_gap"]))
    return [
        f"On {where} the certainty that it states is off by {off:.1%} on average, more than chance"
        f" explains (up to {limit:.1%}): do not take it at its word."
        for where, off, limit in places
        if off is not None and limit is not None and off > limit
    ]


def shortcut_warning(clear: Sequence[schema.Shortcut]) -> str:
    """What a network could have learned instead of what the photos show."""
    ways = ", ".join(
        f"{_LOOK[r['look']]} in {percent(r['accuracy'], r['interval'])}" for r in clear
    )
    return (
        f"The classes can partly be separated without seeing the subject: by {ways}; guessing"
        f" would be right in {clear[0]['chance']:.1%}. The network may have learned that instead:"
        " see the activation maps, and add photos that differ in it."
    )


def shortcut(row: schema.Shortcut) -> str:
    """Whether one look alone predicts the class."""
    if row["clear"] is None:
        return "too few to say"
    return "better than guessing" if row["clear"] else "not clearly better than guessing"


def kept_model(training: Mapping[str, Any]) -> str:
    """Which model was kept and why, without calling luck a gain."""
    if "share" not in training:
        return "It is not recorded which model was kept."
    if not training.get("epochs", 1):
        return "The first model (a linear probe) was kept as it is."
    share = training["share"]
    kept = f"What was kept lies {share:.0%} of the way from the first model to the fine-tuned one"
    if share in (0, 1):
        name = "fine-tuned network" if share else "first model (a linear probe)"
        kept = f"The {name} was kept"
    tried = training.get("mixtures") or {}
    judged = tried.get("unseen") or tried.get("valid")
    if not judged:
        return f"{kept}."
    number = tried["shares"].index(share)
    first, last, own = (judged["wrong"][place] for place in (0, -1, number))
    of = "sources that it never saw" if tried.get("unseen") else "the validation split"
    sentence = (
        f"{kept}: of {photos(judged['n'])} of {of} the first model was wrong on {first}, the"
        f" fine-tuned one on {last}" + (f", what was kept on {own}" if 0 < share < 1 else "")
    )
    p = [row[number] for row in judged["p"]] if "p" in judged else [1.0]
    worst = max(chance for chance, other in ((p[0], 0.0), (p[-1], 1.0)) if share != other)
    if worst >= _SURE:
        return f"{sentence}; such differences may be chance."
    return f"{sentence} (paired tests: p = {worst:.2g} or less)."


def interpolation_sentence(training: Mapping[str, Any]) -> str:
    """How the interpolated weights were chosen."""
    rule = "the least log loss, calibrated, on validation"
    if training["mixtures"].get("unseen"):
        rule = (
            "of those whose log loss, calibrated, is within one standard error of the least on the"
            " harder question, the best on the other"
        )
    return f"{training['share']:.0%} were taken: {rule}. Bars are 95 % intervals."


def sentences(left: Any) -> list[str]:
    """What another stage left: a sentence, several, or findings that hold one each."""
    items = left if isinstance(left, list) else [left]
    texts = [item.get("sentence") if isinstance(item, dict) else item for item in items]
    return [text for text in texts if isinstance(text, str) and text]


def unseen_sources(measured: SourceHoldout | None, why: str = "they are not known") -> str:
    """How the error differs on sources that the model never saw. why: it was not measured."""
    if not measured:
        return f"Whether it holds for photos of other sources was not measured: {why}."
    far, near, p = measured["left_out"], measured["random"], measured["paired"]["p"]
    end = "more than chance explains" if p < _SURE else "a difference that may be chance"
    return (
        "On photos of sources that it never saw, the first model was wrong on"
        f" {percent(far['error'], far['interval'])}; where sources are mixed, as in the test split,"
        f" on {percent(near['error'], near['interval'])}: {end} (paired test: p = {p:.2g})."
    )


def why(facts: schema.Measured, figure: str) -> dict[str, str]:
    """The reason why a figure is missing, where evaluation gave one."""
    reason = facts["missing"].get(figure)
    return {"why": reason} if reason else {}


def leak_sentence(leak: Mapping[str, Any] | None, why: str = "") -> str:
    """Whether the loss separates training photos from others. why: it was not measured."""
    if leak:
        return membership_inference.card_sentence(leak)
    reason = f": {why}" if why else ""
    return f"Whether it gives away which photos it was trained on was not measured{reason}."


def mistakes_sentence(facts: schema.Measured) -> str:
    test, shown = facts["test"], len(facts["mistakes"])
    if not (interval := test["error_interval"]):
        return "There was no photo to judge with."
    if not test["wrong"]:
        return (
            f"No mistake on {photos(test['n'], 'test')}. The true error may still be as high as"
            f" {interval[1]:.1%}."
        )
    some = f"the {shown} that it was surest of"
    here = f"here {'is' if shown == 1 else 'are'} {some}"
    if shown == test["wrong"]:
        here = "here it is" if shown == 1 else "here are all of them"
    return f"{test['wrong']} of {photos(test['n'], 'test')} got a wrong answer; {here}."


def _were(n: int) -> str:
    return "was" if n == 1 else "were"


def refusal_sentences(rule: schema.RejectionFigures) -> list[str]:
    """What the rule does to photos of the known classes."""
    test = rule["test"]
    unlike = test["unlike_training"]
    lines = [
        f"Of {photos(test['n'], 'test')} it answers {test['accepted']}:"
        f" {percent(test['accepted_share'], test['accepted_interval'])}."
        f" {unlike} {_were(unlike)} refused as unlike the training photos and"
        f" {test['too_close']} as too close to call; {test['wrongly_refused']} of the"
        f" refused answers would have been right. Of the answers {test['answered_wrong']}"
        f" {_were(test['answered_wrong'])} wrong."
    ]
    if rule["least"] is None:
        lines.append(
            "Validation photos were too few to set a limit: a picture that shows none of the"
            " classes is named after one of them all the same."
        )
    lines += filter(None, (refusals_in_words.refused(rule), refusals_in_words.set_on(rule)))
    if measured := rule.get("measured"):
        lines.append(ood_sentence(measured))
    return lines


def ood_sentence(measured: schema.OodFigures) -> str:
    """How many pictures of none of the classes got an answer, in all and by folder."""
    rows: dict[str, FalseAccepts] = {"": measured, **measured["kinds"]}
    each = [
        f"{row['let_through']} of {row['n']}{f' {name}' if name else ''}"
        f" ({percent(row['share'], row['interval'])})"
        for name, row in rows.items()
    ]
    more = f": {', '.join(each[1:])}" if measured["kinds"] else ""
    return f"Of pictures of none of the classes in {measured['folder']} it answers {each[0]}{more}."

"""A learning curve in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def verdict_sentences(result: Mapping[str, Any]) -> list[str]:
    """The answer for all photos, for the classes, and whether the law held in the check.
    result: of `growth`."""
    whole = result["all"]
    low, high = whole["error_interval"][-1]
    lines = [
        f"error now  {whole['error'][-1]:.1%} ({low:.1%} to {high:.1%}) from {result['photos']}"
        f" photos, measured on {result['asked']} of train and valid",
        f"all        {_sentence(whole, 'more photos')}",
        f"classes    {most(result)}",
        f"check      {check_sentence(result['check'])}",
    ]
    if whole["worth"] == "hardly":
        lines.append("next       what is left has other causes")
        lines.append("           to look at the labels, run: bears review")
    return lines


def answer(result: Mapping[str, Any]) -> str:
    """Both answers in one paragraph."""
    first = _sentence(result["all"], "more photos")
    return f"{first[0].upper()}{first[1:]}. By class: {most(result)}."


def headline(result: Mapping[str, Any]) -> str:
    """The answer in a few words, for a title."""
    return {
        "helps": "More photos would help",
        "hardly": "More photos would hardly help",
        "unknown": "Whether more photos would help cannot be said",
    }[result["all"]["worth"]]


def most(result: Mapping[str, Any]) -> str:
    """Of which class more photos would help most; other classes staying as they are."""
    classes = result["classes"]
    if label := result["most"]:
        return f"{_sentence(classes[label], f'more {label} photos')}; those of no class bring more"
    verdicts = {row["worth"] for row in classes.values()}
    if verdicts == {"helps"}:
        return "no class stands out: photos of all of them would help alike"
    if verdicts == {"hardly"}:
        top = max(row["gain_interval"][1] for row in classes.values())
        return f"more photos of one class would hardly help: {in_points(top)} points at most"
    label = max(classes, key=lambda name: classes[name]["gain"] / classes[name]["more"])
    row = classes[label]
    return (
        f"no single class is sure to bring a gain; the likeliest is {label}: {row['more']} more"
        f" would bring {_range(row['gain_interval'])} points"
    )


def class_gain(row: Mapping[str, Any]) -> str:
    """What a class alone would bring, for the small panels."""
    return f"+{row['more']}: {_range(row['gain_interval'])} points fewer errors in all"


def _sentence(row: Mapping[str, Any], things: str) -> str:
    range_ = _range(row["gain_interval"])
    bring = f"would bring about {in_points(row['gain'])} points ({range_})"
    if row["worth"] == "helps":
        return f"{row['more']} {things} {bring}"
    if row["worth"] == "hardly":
        return f"{things} would hardly help: {row['more']} {bring}"
    return f"whether {things} would help is uncertain: {row['more']} would bring {range_} points"


def _range(interval: Sequence[float]) -> str:
    return " to ".join(map(in_points, interval))


def in_points(share: float) -> str:
    """Percentage points: errors fewer in a hundred photos."""
    return f"{100 * share + 0.0:.1f}".replace("-0.0", "0.0")


def check_sentence(check: Mapping[str, Any]) -> str:
    """How the law did where the error is known."""
    low, high = check["predicted_interval"]
    verdict = (
        "the curve holds that far"
        if check["held"]
        else "the curve does not hold here, so do not rely on its predictions"
    )
    return (
        f"from at most {check['sizes'][-1]:.0f} photos, {check['predicted']:.1%} ({low:.1%} to"
        f" {high:.1%}) was predicted for {check['n']:.0f}; measured {check['measured']:.1%}, off by"
        f" {in_points(check['off'])} points ({_range(check['off_interval'])}): {verdict}"
    )

"""A learning curve in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def verdict_sentences(found: Mapping[str, Any]) -> list[str]:
    """The answer for all photos, for the classes, and whether the way of answering can be trusted.
    found: of `growth`."""
    error, interval = found["all"]["error"][-1], found["all"]["error_interval"][-1]
    lines = [
        (
            f"error now  {error:.1%} ({interval[0]:.1%} to {interval[1]:.1%}) from"
            f" {found['photos']} photos, measured on {found['asked']} of train and valid"
        ),
        f"all        {_sentence(found['all'], 'more photos')}",
    ]
    lines += [f"classes    {most(found)}", f"check      {check_sentence(found['check'])}"]
    if found["all"]["worth"] == "hardly":
        lines.append("next       what is left has other causes")
        lines.append("           to look at the labels, run: bears review")
    return lines


def answer(found: Mapping[str, Any]) -> str:
    """Both answers in one paragraph."""
    first = _sentence(found["all"], "more photos")
    return f"{first[0].upper()}{first[1:]}. By class: {most(found)}."


def headline(found: Mapping[str, Any]) -> str:
    """The answer in a few words, for a title."""
    return {
        "helps": "More photos would help",
        "hardly": "More photos would hardly help",
        "unknown": "Whether more photos would help cannot be said",
    }[found["all"]["worth"]]


def most(found: Mapping[str, Any]) -> str:
    """Of which class more photos would help most; other classes staying as they are."""
    classes = found["classes"]
    if label := found["most"]:
        return f"{_sentence(classes[label], f'more {label} photos')}; those of no class bring more"
    if all(row["worth"] == "helps" for row in classes.values()):
        return "no class stands out: photos of all of them would help alike"
    if all(row["worth"] == "hardly" for row in classes.values()):
        top = max(row["gain_interval"][1] for row in classes.values())
        return f"more photos of one class would hardly help: {in_points(top)} points at most"
    label = max(classes, key=lambda name: classes[name]["gain"] / classes[name]["more"])
    row = classes[label]
    low, high = row["gain_interval"]
    return (
        f"no single class is sure to bring a gain; the likeliest is {label}:"
        f" {row['more']} more would bring {in_points(low)} to {in_points(high)} points"
    )


def class_gain(row: Mapping[str, Any]) -> str:
    """What a class alone would bring, for the small panels."""
    low, high = row["gain_interval"]
    return f"+{row['more']}: {in_points(low)} to {in_points(high)} points fewer errors in all"


def _sentence(row: Mapping[str, Any], things: str) -> str:
    low, high = row["gain_interval"]
    bring = f"about {in_points(row['gain'])} points ({in_points(low)} to {in_points(high)})"
    if row["worth"] == "helps":
        return f"{row['more']} {things} would bring {bring}"
    if row["worth"] == "hardly":
        return f"{things} would hardly help: {row['more']} would bring {bring}"
    return (
        f"whether {things} would help is uncertain: {row['more']} would bring"
        f" {in_points(low)} to {in_points(high)} points"
    )


def in_points(share: float) -> str:
    """Percentage points: errors fewer in a hundred photos."""
    return f"{100 * share + 0.0:.1f}".replace("-0.0", "0.0")


def check_sentence(found: Mapping[str, Any]) -> str:
    """How the law did where the truth is known."""
    low, high = found["predicted_interval"]
    off_low, off_high = found["off_interval"]
    belief = (
        "the curve holds that far"
        if found["held"]
        else "the curve does not hold here, so do not rely on its predictions"
    )
    return (
        f"from at most {found['sizes'][-1]:.0f} photos, {found['predicted']:.1%} ({low:.1%} to"
        f" {high:.1%}) was predicted for {found['n']:.0f}; measured {found['measured']:.1%}, off by"
        f" {in_points(found['off'])} points ({in_points(off_low)} to {in_points(off_high)}):"
        f" {belief}"
    )

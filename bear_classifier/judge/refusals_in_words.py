"""What the rejection rule was set on, and what it refuses: sentences for report and card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_LEAST_PHOTOS = 20  # of a source that is named
_SET_ON = {
    "sources": "each answered by a model and a reference that lack all photos of its source",
    "folds": "each answered by a model and a reference that lack it and its near-copies",
    "valid": "those of the validation split, which the network did not learn from",
}


def set_on(rule: Mapping[str, Any]) -> str:
    """By which photos limits and temperature were set; "" where an earlier version did not say."""
    if not rule.get("set_on"):
        return ""
    basis, n = rule["basis"], rule["set_on"][rule["basis"]]
    if basis == "sources" and "valid" in rule["set_on"]:  # tuned weights: `rejection.set_limits`
        own = _photos(rule["set_on"]["valid"])
        return (
            f"Its temperature was set, and what it refuses of other sources was measured, on"
            f" {_photos(n)}, each answered by a network that was trained without its source. Its"
            f" limit for pictures unlike the training photos was set on {own} of the validation"
            " split and on the training photos among themselves."
        )
    return f"Its limits and its temperature were set on {_photos(n)}, {_SET_ON[basis]}."


def refused(rule: Mapping[str, Any]) -> str:
    """Shares of right answers that are not given, on the test photos and on photos of sources that
    had no part in setting the limits; "" where an earlier version did not measure them."""
    test, other = rule["test"], rule.get("elsewhere")
    if "refused_share" not in test:
        return ""
    here = _share(test["refused_share"], test["refused_interval"])
    text = f"Of the test photos that it would answer rightly it refuses {here}" if here else ""
    if not other or other["refused_share"] is None:
        more = "; how many of other sources was not measured, since too few sources are known"
        return f"{text}{more}." if text else ""
    there = _share(other["refused_share"], other["refused_interval"])
    start = f"{text}, and of" if text else "Of"
    text = f"{start} {_photos(other['right'])} of sources that had no part in setting its limits"
    text += f" {there}{'' if here else ' of those that it would answer rightly are refused'}"
    rates = {
        name: row["refused_share"]
        for name, row in other["by_source"].items()
        if row["right"] >= _LEAST_PHOTOS
    }
    worst = max(rates, key=lambda name: rates[name], default="")
    if worst and len(rates) > 1 and rates[worst] > 2 * other["refused_share"]:
        text += f" (most of one: {rates[worst]:.1%} of {worst})"
    off, chance = other["ece"], other["chance_gap"]
    found = "as it may be by chance" if off <= chance else "more than chance explains"
    return f"{text}. On these stated probabilities are off by {off:.1%} on average, {found}."


def _share(value: float | None, interval: Sequence[float] | None) -> str:
    if value is None or interval is None:
        return ""
    return f"{value:.1%} ({interval[0]:.1%} to {interval[1]:.1%})"


def _photos(n: int) -> str:
    return f"{n:,} photo{'' if n == 1 else 's'}"

"""Predictions in sentences, for the page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from bear_classifier.runtime.terminal import count
from bear_classifier.ship.manifest import number, whole_number
from bear_classifier.ship.predict import Prediction

CERTAIN, SURE, LIKELY = 0.99, 0.9, 0.6  # calibrated probability
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def answer_sentence(prediction: Prediction) -> str:
    """The sentence that the page shows for one prediction."""
    chances = prediction.probabilities
    if prediction.reason == "unlike_training":
        amount = len(chances)
        words = _NUMBERS[amount] if amount < len(_NUMBERS) else amount
        return f"This does not look like any of the {words}: {listed(chances)}."
    first, second, *_ = sorted(chances, key=lambda label: -chances[label])
    if prediction.reason == "too_close" or prediction.confidence < LIKELY:
        return f"Between {first} and {second}: too close to call."
    if prediction.confidence < SURE:
        return f"Probably {first}."
    sure = "almost certainly" if prediction.confidence >= CERTAIN else "quite sure"
    return f"{first[0].upper()}{first[1:]}, {sure}."


def whole_percent(p: float) -> str:
    """Whole percent; what is not certain is never 0 or 100. As `percent` of page_parts.js."""
    if 0 < p < 0.005:
        return "under 1 %"
    if 0.995 <= p < 1:
        return "over 99 %"
    return f"{math.floor(100 * p + 0.5)} %"


def listed(labels: Mapping[str, Any] | Sequence[str]) -> str:
    *most, last = labels
    return f"{', '.join(most)} or {last}"


def page_title(labels: Sequence[str]) -> str:
    question = f"{listed(labels)}?"
    return question[0].upper() + question[1:]


def test_figures(test: Mapping[str, Any]) -> str:
    """How often it is wrong. test: of `about["metrics"]` of a bundle, as it claims."""
    values: list[Any] = [test.get(name) for name in ("n", "error", "error_interval")]
    photos, error, interval = values
    if photos == 0 and not isinstance(photos, bool):
        return "This model was not tested."
    rates = [error, *interval] if isinstance(interval, list) else [error]
    if not whole_number(1, 10**12)(photos) or len(rates) != 3 or not all(map(number(0, 1), rates)):
        return "How often this model is wrong is not known: its bundle states no such figures."
    return (
        f"Wrong on {round(error * photos)} of {count(photos, 'test photo')}: {error:.1%} (95 %"
        f" interval {rates[1]:.1%} to {rates[2]:.1%})."
    )


def limits(rule: Mapping[str, Any]) -> str:
    """What it does with OOD images. rule: `about["rejection"]` of a bundle."""
    if rule["least"] is None:
        return "It always names one of its classes, whatever the picture shows."
    return "It gives no answer to pictures that are unlike the photos it learned from."

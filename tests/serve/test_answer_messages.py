"""Answers in words."""

from __future__ import annotations

import pytest

from bear_classifier.serve import messages
from bear_classifier.ship.predict import Prediction, Reason


def said(*shares: float, reason: Reason = "ok") -> str:
    chances = dict(zip(("black", "grizzly", "teddy"), shares, strict=True))
    label = max(chances, key=lambda name: chances[name])
    return messages.answer_sentence(
        Prediction(label, chances[label], chances, reason == "ok", reason)
    )


@pytest.mark.parametrize(
    "shares, sentence",
    [
        ((0.001, 0.995, 0.004), "Grizzly, almost certainly."),
        ((0.04, 0.95, 0.01), "Grizzly, quite sure."),
        ((0.2, 0.7, 0.1), "Probably grizzly."),
        ((0.35, 0.55, 0.1), "Between grizzly and black: too close to call."),
    ],
)
def test_words_claim_no_more_than_the_probability(shares: tuple[float, ...], sentence: str) -> None:
    assert said(*shares) == sentence


def test_a_refusal_names_no_class_as_the_answer() -> None:
    strange = said(0.0, 1.0, 0.0, reason="unlike_training")
    assert strange == "This does not look like any of the three: black, grizzly or teddy."
    assert said(0.1, 0.8, 0.1, reason="too_close").startswith("Between grizzly and ")


def test_a_model_says_how_good_it_is() -> None:
    test = {"n": 215, "error": 0.014, "error_interval": [0.005, 0.04]}
    assert messages.test_figures(test) == (
        "Wrong on 3 of 215 test photos: 1.4% (95 % interval 0.5% to 4.0%)."
    )
    assert messages.test_figures({"n": 0}) == "This model was not tested."
    assert "always names" in messages.limits({"least": None})
    assert "gives no answer" in messages.limits({"least": 0.3})
    assert messages.page_title(["black", "grizzly", "teddy"]) == "Black, grizzly or teddy?"

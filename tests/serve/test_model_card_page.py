"""The model card as a page."""

import json

import pytest

from bear_classifier.config.settings import SHIPPED
from bear_classifier.serve.routes import render_card
from bear_classifier.ship.model_card import card


def test_a_card_is_rendered_and_nothing_in_it_runs():
    card = (
        "# bears, version 3\n\n| class | photos |\n|---|---|\n| black | 3 |\n\n"
        "**1.4%** <script>alert(1)</script> [a](javascript:alert(1)) [b](https://example.org)\n"
    )
    made = render_card("<bears>", card)
    assert "<h1>bears, version 3</h1>" in made
    assert "<td>black</td>" in made and "<strong>1.4%</strong>" in made
    assert "<script" not in made and "&lt;script&gt;" in made
    assert 'href="javascript' not in made and 'href="https://example.org"' in made
    assert "<title>Model card: &lt;bears&gt;</title>" in made


@pytest.mark.parametrize(
    ("close", "least", "words"),
    [
        (0.2, 0.1, "(`unlike_training`), nor does one whose two likeliest classes differ by less"
         " than 20% (`too_close`)."),
        (0.004, 0.1, "differ by less than 0.4% (`too_close`)."),
        (0.0, 0.1, "A picture that is unlike the training photos gets no answer"
         " (`unlike_training`)."),
        (0.2, None, "shows none of them, unless the two likeliest differ by less than 20%"),
        (0.0, None, "also for a picture that shows none of them."),
    ],
)  # fmt: skip
def test_a_card_says_what_gets_no_answer(close, least, words):
    """A rule that refuses nothing as too close is not told as one."""
    about = json.loads((SHIPPED / "bundle.json").read_text(encoding="utf-8"))
    about["rejection"] |= {"close": close, "least": least}
    assert words in card(about)
    assert ("too_close" in card(about)) == (close > 0)

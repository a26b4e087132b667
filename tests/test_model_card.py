"""The model card as a page."""

from bear_classifier.apps.model_card import page


def test_a_card_is_rendered_and_nothing_in_it_runs():
    card = (
        "# bears, version 3\n\n| class | photos |\n|---|---|\n| black | 3 |\n\n"
        "**1.4%** <script>alert(1)</script> [a](javascript:alert(1)) [b](https://example.org)\n"
    )
    made = page("<bears>", card)
    assert "<h1>bears, version 3</h1>" in made
    assert "<td>black</td>" in made and "<strong>1.4%</strong>" in made
    assert "<script" not in made and "&lt;script&gt;" in made
    assert 'href="javascript' not in made and 'href="https://example.org"' in made
    assert "<title>Model card: &lt;bears&gt;</title>" in made

"""The model card as a page for people: its Markdown, rendered. HTML in it stays text."""

from __future__ import annotations

from markdown_it import MarkdownIt
from markupsafe import Markup

from bear_classifier.runtime.templates import template


def render_card(name: str, markdown: str) -> str:
    """A whole HTML page in the style of ours. The card quotes what its author wrote: tags are shown
    as they stand, and links lead to web pages and mail addresses only."""
    card = MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)
    return template(__file__, "model_card.html").render(name=name, card=Markup(card)) + "\n"

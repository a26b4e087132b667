"""The model card as a page for people: its Markdown, rendered. HTML in it stays text."""

from __future__ import annotations

from html import escape

from markdown_it import MarkdownIt


def render_card(name: str, markdown: str) -> str:
    """A whole HTML page in the style of ours. The card quotes what its author wrote: tags are shown
    as they stand, and links lead to web pages and mail addresses only."""
    inside = MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Model card: {escape(name)}</title>"
        f'<link rel="stylesheet" href="../../../../page.css"></head><body><main class="model-card">'
        f"{inside}</main>"
        "</body></html>\n"
    )

"""Sections of the report's page: classes, refusals, kinds of photos, the data, the training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from bear_classifier.report import sentences as words
from bear_classifier.report import svg
from bear_classifier.report.provenance import PLACES
from bear_classifier.report.sentences import percent

_MOST = 8  # sites that are named; the rest is counted
_DEEPEST = 0.5  # of a cell's colour, so that its number can be read by day and by night


def heat(table: Sequence[Sequence[int]], labels: Sequence[str]) -> str:
    """The confusion matrix; cells are coloured by their share of the row."""
    head = "".join(f"<th>{escape(label)}</th>" for label in labels)
    rows = []
    for i, (label, counts) in enumerate(zip(labels, table, strict=True)):
        cells = "".join(_cell(n, sum(counts), right=i == j) for j, n in enumerate(counts))
        rows.append(f"<tr><th>{escape(label)}</th>{cells}</tr>")
    corner = '<th class="soft">is / said</th>'
    body = "".join(rows)
    return (
        f'<table class="heat"><thead><tr>{corner}{head}</tr></thead><tbody>{body}</tbody></table>'
    )


def _cell(n: int, of: int, right: bool) -> str:
    if not n:
        return '<td><span class="none">0</span></td>'
    colour = "--a-rgb" if right else "--b-rgb"
    depth = _DEEPEST * max(n / of, 0.15)
    style = f"background: rgba(var({colour}), {depth:.2f})"
    return f'<td style="{style}">{n}<small>{n / of:.0%}</small></td>'


def class_table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    body = "".join(
        f'<tr><th>{escape(label)}</th><td class="n" data-of="photos">{row["n"]}</td>'
        + "".join(
            f'<td class="bar">{svg.span(row[what], row[f"{what}_interval"])}</td>'
            f'<td class="n share" data-of="{what}">'
            f"{_share(row[what], row[f'{what}_interval'])}</td>"
            for what in ("recall", "precision")
        )
        + "</tr>"
        for label, row in rows.items()
    )
    head = (
        '<th>class</th><th class="n">photos</th><th class="bar"></th><th class="n">recall</th>'
        '<th class="bar"></th><th class="n">precision</th>'
    )
    return f'<table class="stack"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _share(value: float | None, interval: Sequence[float] | None) -> str:
    if value is None or interval is None:
        return '<span class="none">-</span>'
    return f'{value:.1%}<br><span class="soft small">{interval[0]:.1%} to {interval[1]:.1%}</span>'


def confused_table(found: Sequence[Mapping[str, Any]]) -> str:
    rows = "".join(
        f"<tr><th>{escape(pair['true'])} taken for {escape(pair['said'])}</th>"
        f'<td class="n">{pair["n"]} of {pair["of"]}</td>'
        f'<td class="bar">{svg.span(pair["share"], pair["interval"])}</td>'
        f'<td class="share n">{_share(pair["share"], pair["interval"])}</td></tr>'
        for pair in found[:_MOST]
    )
    if not rows:
        return '<p class="soft">Nothing was taken for anything else.</p>'
    return f'<table class="stack"><tbody>{rows}</tbody></table>'


def bins(rows: Sequence[Mapping[str, Any]]) -> str:
    """The reliability diagram as a table."""
    body = "".join(
        f"<tr><th>{row['from']:.0%} to {row['to']:.0%}</th>"
        f'<td class="n" data-of="photos">{row["n"]}</td>'
        f'<td class="bar">{svg.span(row["right"], row["interval"])}</td>'
        f'<td class="n share" data-of="right">{_share(row["right"], row["interval"])}</td></tr>'
        for row in reversed(rows)
    )
    head = (
        '<th>stated certainty</th><th class="n">photos</th><th class="bar"></th>'
        '<th class="n">right</th>'
    )
    return f'<table class="stack"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def rejection(rule: Mapping[str, Any]) -> str:
    paragraphs = "".join(f"<p>{escape(text)}</p>" for text in words.refusal_sentences(rule))
    limit = "" if rule["least"] is None else f" Below {rule['least']:.2f} no answer is given."
    shape = rule["familiarity"]
    chart = ""
    if shape["edges"]:
        chart = (
            '<div class="card"><h3>How much the photos are like the training photos</h3>'
            f"{svg.histogram(shape, rule['least'])}"
            '<p class="soft small">Photos of the validation and test splits; 0 is as much as the'
            f" training photos are like each other, in standard deviations.{limit}</p></div>"
        )
    rows = "".join(
        f'<tr><th>{escape(label)}</th><td class="n">{row["let_through"]} of {row["n"]}</td>'
        f'<td class="bar">{svg.span(row["share"], row["interval"])}</td>'
        f'<td class="n share">{_share(row["share"], row["interval"])}</td></tr>'
        for label, row in rule["left_out"].items()
    )
    strangers = (
        '<div class="card"><h3>Each class once as an unknown one</h3><p class="soft small">How'
        " much of"
        " a class would be named after another, had the model never heard of it. A hard test:"
        " pictures of something else are mostly less alike.</p><table"
        ' class="stack"><thead><tr><th>class</th>'
        '<th class="n">let through</th><th class="bar"></th><th class="n">share</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )
    return f'{paragraphs}<div class="cards">{chart}{strangers if rows else ""}</div>'


def slices_section(found: Mapping[str, Any]) -> str:
    """Errors by brightness, size and site, and what could be learned without seeing anything."""
    error = found["test"]["error"]
    top = max((row["interval"][1] for row in found["slices"] if row["interval"]), default=1.0)
    rows = "".join(
        f"<tr><th>{escape(row['name'])}<br>"
        f'<span class="soft small kind">{escape(row["by"])}</span></th>'
        f'<td class="n">{row["wrong"]} of {row["n"]}</td>'
        f'<td class="bar">{svg.span(row["error"], row["interval"], top, error)}</td>'
        f'<td class="n share">{_share(row["error"], row["interval"])}</td>'
        f'<td class="{_class_of(row["word"])}">{row["word"]}</td></tr>'
        for row in found["slices"]
    )
    looks = "".join(
        f'<tr><th>{row["look"]}</th><td class="n" data-of="photos">{row["n"]}</td>'
        f'<td class="bar">{svg.span(row["accuracy"], row["interval"], mark=row["chance"])}</td>'
        f'<td class="n share">{_share(row["accuracy"], row["interval"])}</td>'
        f'<td class="{"word differs" if row["clear"] else "word soft"}">{words.shortcut(row)}</td>'
        "</tr>"
        for row in found["shortcuts"]
    )
    chance = found["shortcuts"][0]["chance"] if found["shortcuts"] else 0.0
    parts = []
    if rows:
        parts.append(
            '<div class="card wide"><h3>Test error by kind of photo</h3>'
            f'<p class="soft small">The stroke is the error of all: {percent(error)}.</p>'
            '<table class="stack">'
            '<thead><tr><th>photos</th><th class="n">wrong</th><th class="bar"></th>'
            '<th class="n">error</th>'
            "<th>against all other test photos</th></tr></thead>"
            f"<tbody>{rows}</tbody></table></div>"
        )
    parts.append(
        '<div class="card wide"><h3>Could the class be guessed without seeing what is shown?</h3>'
        '<p class="soft small">A small model that knows one thing of each photo only, each photo'
        " judged by one that saw neither it nor its copies. Guessing, the stroke, is right in"
        f" {chance:.1%}."
        '</p><table class="stack"><thead><tr><th>it knows</th><th class="n">photos</th>'
        '<th class="bar"></th><th class="n">right</th><th></th></tr></thead>'
        f"<tbody>{looks}</tbody></table></div>"
    )
    sentence = words.unseen_sources(found["elsewhere"], **words.why(found, "elsewhere"))
    lead = f"<p>{escape(sentence)}</p>"
    return f'{lead}<div class="cards">{"".join(parts)}</div>'


def _class_of(word: str) -> str:
    return "word differs" if "elsewhere" in word else "word soft"


def data(story: Mapping[str, Any]) -> str:
    """From the candidates to the sides; what was left out and why."""
    steps = [
        ("found", story["candidates"]),
        ("fetched", story["fetched"]),
        ("different photos", story["photos"]),
        ("usable", story["usable"]),
        *((f"{side} split", n) for side, n in story["sides"].items()),
    ]
    most = max(max(n for _, n in steps), 1)
    funnel = "".join(
        f'<span>{name}</span><i style="width: {100 * n / most:.1f}%"></i><b>{n}</b>'
        for name, n in steps
    )
    used = [p for p in PLACES if any(row[p] for row in story["classes"].values())]
    head = "".join(f'<th class="n">{place}</th>' for place in used)
    rows = "".join(
        f"<tr><th>{escape(label)}</th>"
        + "".join(f'<td class="n">{row[place] or _none()}</td>' for place in used)
        + "</tr>"
        for label, row in story["classes"].items()
    )
    sites = story["sites"]
    listed = "".join(
        f'<tr><th>{escape(site["site"])}</th><td class="n">{site["n"]}</td>'
        f'<td class="word soft">{escape(", ".join(site["classes"]))}</td></tr>'
        for site in sites[:_MOST]
    )
    if rest := sites[_MOST:]:
        n = sum(site["n"] for site in rest)
        listed += f'<tr><th>{len(rest)} more</th><td class="n">{n}</td><td></td></tr>'
    return (
        f'<div class="cards"><div class="card"><h3>From the search to the splits</h3>'
        f'<div class="funnel">{funnel}</div></div>'
        f'<div class="card"><h3>What was left out or changed</h3>{_left_out(story)}</div>'
        '<div class="card"><h3>Photos by class and split</h3><div'
        ' class="scroll"><table><thead><tr>'
        f"<th>class</th>{head}</tr></thead><tbody>{rows}</tbody></table></div></div>"
        '<div class="card"><h3>Where the usable ones come from</h3><table class="stack"><thead><tr>'
        f'<th>site or folder</th><th class="n">photos</th><th>classes</th></tr></thead>'
        f"<tbody>{listed}</tbody></table></div></div>"
    )


def _none() -> str:
    return '<span class="none">0</span>'


def _left_out(story: Mapping[str, Any]) -> str:
    made, near = story["decisions"], story["copies"]["near"]
    program = f" ({story['by_program']} of them by --auto)" if story["by_program"] else ""
    facts = {
        "not fetched": _counts(story["failed"]),
        "unusable": _counts(story["unusable"]),
        "copies set aside": _counts(
            {k: story["copies"][k] for k in ("same file", "same picture", "two classes")}
        ),
        "near-copies": f"{near} photos, each group in one split" if near else "none",
        "decided": (_counts(made) + program) if made else "nothing yet",
        "source": _counts(story["kinds"]),
    }
    rows = "".join(f"<dt>{name}</dt><dd>{escape(text)}</dd>" for name, text in facts.items())
    return f'<dl class="facts">{rows}</dl>'


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {name}" for name, n in counts.items() if n) or "none"

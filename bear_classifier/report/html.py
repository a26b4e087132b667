"""The report as one page that needs nothing else: no script, no font, no picture from elsewhere.

Every text comes from strangers at last (labels, file names, sites): all of it is escaped, and the
page's own policy would let nothing in that slipped through.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from bear_classifier.report import sentences as words
from bear_classifier.report import svg
from bear_classifier.report.html_sections import (
    bins,
    class_table,
    confused_table,
    data,
    heat,
    rejection,
    slices_section,
)
from bear_classifier.report.html_training import training_section

_STYLE = Path(__file__).parent / "static" / "report.css"
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'"
_NARROW = 4  # classes whose table fits beside another card
_REFUSED = {
    "ok": "Given as an answer.",
    "unlike_training": "Not given as an answer: unlike the training photos.",
    "too_close": "Not given as an answer: too close to call.",
}


@dataclass(frozen=True)
class Shown:
    """JPEG files of one mistake: the square that the model saw and, where the model is at hand,
    the maps for the class that was said and for the true one. strongest: logits of the deepest
    colour; cells: the side of the feature map."""

    photo: bytes
    said: bytes | None = None
    true: bytes | None = None
    strongest: float = 0.0
    cells: int = 0


def report_page(
    found: Mapping[str, Any], shown: Mapping[str, Shown], curve: bytes | None = None
) -> str:
    """HTML of what `report` found. shown: by sha256; curve: the learning curve's PNG."""
    sections = [
        ("mistakes", "Mistakes", _mistakes(found, shown)),
        ("classes", "Class by class", _classes(found)),
        ("certainty", "Does it know how sure it may be?", _certainty(found)),
        ("refusals", "When it gives no answer", rejection(found["rejection"])),
        (
            "weaknesses",
            "Where it fails, and what it may have learned instead",
            slices_section(found),
        ),
        ("data", "The photos", _data(found)),
        ("training", "The training", training_section(found["training"])),
    ]
    if found["curve"]:
        sections.append(("curve", "Would more photos help?", _curve(found["curve"], curve)))
    links = "".join(f'<a href="#{key}">{key.capitalize()}</a>' for key, *_ in sections)
    parts = [
        f'<section id="{key}"><h2>{title}</h2>{inside}</section>' for key, title, inside in sections
    ]
    name = escape(found["name"])
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="referrer" content="no-referrer">'
        f"<title>Report: {name}</title><style>{_STYLE.read_text(encoding='utf-8')}</style></head>"
        f"<body>{_top(found)}<main>{_tiles(found)}{_warnings(found['warnings'])}"
        f'<nav aria-label="sections">{links}</nav>{"".join(parts)}'
        f"{_settings(found)}</main>{_bottom(found, shown)}</body></html>\n"
    )


def _top(found: Mapping[str, Any]) -> str:
    model = found["model"]
    made = f"{model['created'][:10]}, {model['architecture']}"
    return (
        f'<header><div class="line"><h1>{escape(found["name"])}, version {model["version"]}</h1>'
        f'<span class="soft small">model of {escape(made)}; report of {found["made"][:10]}</span>'
        f'</div><p class="verdict">{escape(found["verdict"])}</p></header>'
    )


def _tiles(found: Mapping[str, Any]) -> str:
    test, rule = found["test"], found["rejection"]["test"]
    tiles = [
        _tile("error", test["error"], test["error_interval"], f"{test['wrong']} of {test['n']}"),
        _tile("certainty is off by", test["ece"], None, _chance(test["chance_gap"])),
        _tile(
            "photos answered",
            rule["accepted_share"],
            rule["accepted_interval"],
            f"{rule['accepted']} of {rule['n']}",
        ),
        _stranger_tile(found["rejection"]["left_out"]),
    ]
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _tile(name: str, value: float | None, interval: Sequence[float] | None, more: str) -> str:
    spread = f"{interval[0]:.1%} to {interval[1]:.1%}<br>" if interval else ""
    big = "-" if value is None else f"{value:.1%}"
    return (
        f'<div class="tile"><span class="name">{name}</span><b>{big}</b>'
        f'<span class="soft small">{spread}{escape(more)}</span></div>'
    )


def _chance(limit: float | None) -> str:
    return "" if limit is None else f"chance alone: up to {limit:.1%}"


def _stranger_tile(left_out: Mapping[str, Any]) -> str:
    rows = {label: row for label, row in left_out.items() if row["n"]}
    if not rows:
        return _tile("unknown class answered", None, None, "not measured")
    worst = max(rows, key=lambda label: rows[label]["share"])
    row = rows[worst]
    more = f"{worst}, had it never been seen: the hardest of {len(rows)}"
    return _tile("unknown class answered", row["share"], row["interval"], more)


def _warnings(texts: Sequence[str]) -> str:
    if not texts:
        return ""
    items = "".join(f"<li>{escape(text)}</li>" for text in texts)
    return f'<div class="warnings"><h3>Before you rely on it</h3><ul>{items}</ul></div>'


def _mistakes(found: Mapping[str, Any], shown: Mapping[str, Shown]) -> str:
    rows = [row for row in found["mistakes"] if row["sha256"] in shown]
    lead = f"<p>{escape(words.mistakes_sentence(found))}</p>"
    if any(shown[row["sha256"]].said for row in rows):
        lead += (
            '<p class="soft small">The maps show where the answer came from: '
            '<span class="key for"></span> speaks for the class, <span class="key against"></span>'
            " against it, both compared with the other classes. The evidence of all places adds up"
            " to what the network said; it is coarse, and it tells where the network looked, not"
            " why.</p>"
        )
    cards = "".join(_mistake(row, shown[row["sha256"]]) for row in rows)
    return f'{lead}<div class="mistakes">{cards}</div>'


def _mistake(row: Mapping[str, Any], shown: Shown) -> str:
    true, said = escape(row["true"]), escape(row["said"])
    figures = [_figure(shown.photo, f"labelled {row['true']}", "what the model saw")]
    scale = ""
    if shown.said and shown.true:
        figures.append(
            _figure(shown.said, f"evidence for {row['said']}", f"for {row['said']} (said)")
        )
        figures.append(
            _figure(shown.true, f"evidence for {row['true']}", f"for {row['true']} (true)")
        )
        scale = (
            f" Full colour is {shown.strongest:.2g} logits; {shown.cells} x {shown.cells} cells."
        )
    file = escape(Path(row["origin"]).name[-80:])
    return (
        f'<article class="card mistake"><h3><span class="true">{true}</span> taken for'
        f' <span class="said">{said}</span></h3><div class="trio">{"".join(figures)}</div>'
        f"<p>{row['sure']:.0%} sure of {said}, {row['of_true']:.0%} {true}."
        f" {_REFUSED[row['verdict']]}</p>"
        f'<p class="soft small">{escape(row["site"])} · {file} · {row["sha256"][:12]}.{scale}</p>'
        "</article>"
    )


def _figure(jpeg: bytes, about: str, caption: str) -> str:
    return (
        f'<figure><img alt="{escape(about)}" src="{_inline("jpeg", jpeg)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _inline(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _classes(found: Mapping[str, Any]) -> str:
    test = found["test"]
    wide = " wide" if len(test["labels"]) > _NARROW else ""
    return (
        "<p>Recall: of the photos of a class, how many are called by its name. Precision: of those"
        " that are called so, how many are. The bars are what the number of photos allows (95 %)."
        f'</p><div class="cards"><div class="card wide">{class_table(test["per_class"])}</div>'
        f'<div class="card{wide}"><h3>What is taken for what</h3><div class="scroll">'
        f"{heat(test['confusion'], test['labels'])}</div></div>"
        f'<div class="card{wide}"><h3>Most often confused</h3>'
        f"{confused_table(test['pairs'])}</div></div>"
    )


def _certainty(found: Mapping[str, Any]) -> str:
    test = found["test"]
    if not test["n"]:
        return "<p>There was no photo to judge with.</p>"
    sentence = words.calibration(test)
    return (
        f"<p>{escape(sentence[0].upper() + sentence[1:])}. The probabilities were adjusted on the"
        f" validation split (temperature {found['temperature']:.2f}).</p>"
        f'<div class="cards"><div class="card"><h3>Right answers by stated certainty</h3>'
        f'{svg.reliability(test["reliability"])}<p class="soft small">On the dashed line'
        " certainty and truth are equal; below it the model is too sure of itself. The numbers are"
        f' photos.</p></div><div class="card"><h3>The same in numbers</h3>'
        f"{bins(test['reliability'])}</div></div>"
    )


def _data(found: Mapping[str, Any]) -> str:
    leak = words.leak_sentence(found["membership"], **words.why(found, "membership"))
    return f"{data(found['data'])}<p>{escape(leak)}</p>"


def _curve(found: Mapping[str, Any], curve: bytes | None) -> str:
    picture = ""
    if curve:
        source = _inline("png", curve)
        picture = f'<img class="curve" alt="learning curve" src="{source}">'
    words = f"<p>{escape(found['verdict'])}</p>" if found["verdict"] else ""
    return f"{words}{picture}"


def _settings(found: Mapping[str, Any]) -> str:
    versions = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(str(version))}</dd>"
        for name, version in found["versions"].items()
    )
    values = "".join(
        f"<dt>{escape(table)}.{escape(name)}</dt><dd>{escape(json.dumps(value))}</dd>"
        for table, rows in found["settings"].items()
        if isinstance(rows, dict)
        for name, value in rows.items()
    )
    return (
        f'<section id="settings"><h2>Settings and versions</h2>'
        f'<details><summary>Settings</summary><dl class="facts">{values}</dl></details>'
        f'<details><summary>Versions</summary><dl class="facts">{versions}</dl></details></section>'
    )


def _bottom(found: Mapping[str, Any], shown: Mapping[str, Shown]) -> str:
    note = ""
    if shown:
        held = words.photos(len(shown), "small")
        note = f" It holds {held}: check the rights before you send it on."
    return (
        '<footer><p class="soft small">Ranges in brackets are 95 % intervals. The figures hold for'
        f" photos like those of this dataset.{note}</p></footer>"
    )

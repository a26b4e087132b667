"""The report as one page that needs nothing else: no script, no font, no picture from elsewhere.

Labels, file names and sites are written by anybody: the templates escape all of them, and the
page's own policy would let nothing in that slipped through.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from bear_classifier.report import sentences as words
from bear_classifier.report import svg
from bear_classifier.report.provenance import PLACES
from bear_classifier.report.svg import Series
from bear_classifier.runtime.templates import template
from bear_classifier.stats.intervals import Interval, wilson

_STYLE = Path(__file__).parent / "static" / "report.css"
_MOST = 8  # rows of a table; the rest is counted
_DEEPEST = 0.5  # of a cell's colour, so that its number can be read by day and by night


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
    facts: Mapping[str, Any], shown: Mapping[str, Shown], curve: bytes | None = None
) -> str:
    """HTML of the figures. shown: by sha256; curve: the learning curve's PNG."""
    page = template(__file__, "report.html").render(
        facts=facts,
        shown=shown,
        curve=curve,
        words=words,
        svg=svg,
        data_address=data_address,
        style=Markup(_STYLE.read_text(encoding="utf-8")),
        most=_MOST,
        deepest=_DEEPEST,
        hardest=_hardest_unknown(facts["rejection"]["left_out"]),
        worst_error=max((r["interval"][1] for r in facts["slices"] if r["interval"]), default=1.0),
        mistakes=[
            {**row, "shown": shown[row["sha256"]], "file": Path(row["origin"]).name[-80:]}
            for row in facts["mistakes"]
            if row["sha256"] in shown
        ],
        settings=[
            (f"{table}.{name}", json.dumps(value))
            for table, rows in facts["settings"].items()
            if isinstance(rows, dict)
            for name, value in rows.items()
        ],
        steps=_steps(facts["data"]),
        places=[p for p in PLACES if any(row[p] for row in facts["data"]["classes"].values())],
        left_out=_left_out(facts["data"]),
        training_sentences=[
            words.kept_model(facts["training"]),
            *words.sentences(facts["training"].get("diagnosis")),
            *words.sentences(facts["training"].get("notes")),
        ],
        training_charts=[
            *_interpolation(facts["training"]),
            *_history(facts["training"]),
            *_finder(facts["training"]),
        ],
    )
    return page + "\n"


def data_address(kind: str, content: bytes) -> str:
    """An image as its own address. kind: such as png."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _hardest_unknown(left_out: Mapping[str, Any]) -> dict[str, Any] | None:
    """The class that would be answered most often, had it never been seen."""
    rows = {label: row for label, row in left_out.items() if row["n"]}
    if not rows:
        return None
    worst = max(rows, key=lambda label: rows[label]["share"])
    return {**rows[worst], "label": worst, "classes": len(rows)}


def _steps(story: Mapping[str, Any]) -> list[tuple[str, int]]:
    """How many photos are left from the search to the splits."""
    return [
        ("found", story["candidates"]),
        ("fetched", story["fetched"]),
        ("different photos", story["photos"]),
        ("usable", story["usable"]),
        *((f"{split} split", n) for split, n in story["sides"].items()),
    ]


def _left_out(story: Mapping[str, Any]) -> dict[str, str]:
    decisions, copies = story["decisions"], story["copies"]
    program = f" ({story['by_program']} of them by --auto)" if story["by_program"] else ""
    aside = {kind: copies[kind] for kind in ("same file", "same picture", "two classes")}
    near = copies["near"]
    return {
        "not fetched": _counts(story["failed"]),
        "unusable": _counts(story["unusable"]),
        "copies set aside": _counts(aside),
        "near-copies": f"{near} photos, each group in one split" if near else "none",
        "decided": (_counts(decisions) + program) if decisions else "nothing yet",
        "source": _counts(story["kinds"]),
    }


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {name}" for name, n in counts.items() if n) or "none"


def _interpolation(history: Mapping[str, Any]) -> list[tuple[str, Markup, str]]:
    """Errors of what lies between the first model and the tuned one."""
    results = history.get("mixtures")
    if not results:
        return []
    names = {"valid": ("a", "validation"), "unseen": ("b", "sources never seen")}
    shares = [100 * share for share in results["shares"]]
    series = [
        Series(
            name,
            kind,
            [(x, n / one["n"]) for x, n in zip(shares, one["wrong"], strict=True)],
            one.get("intervals") or [wilson(n, one["n"]) or (0.0, 1.0) for n in one["wrong"]],
        )
        for (kind, name), one in ((names[key], results.get(key)) for key in names)
        if one
    ]
    chart = svg.line_chart(series, "tuned weights, %", "error", percent=True, at=shares)
    return [("From the first model to the tuned one", chart, words.interpolation_sentence(history))]


def _history(history: Mapping[str, Any]) -> list[tuple[str, Markup, str]]:
    rows = history.get("history") or []
    if not rows:
        return []
    n = int(history.get("valid") or 0)
    effect = history.get("valid_copies", 1.0)  # copies count once: who was wrong is not kept

    def interval(error: float) -> Interval:
        return wilson(error * n / effect, n / effect) or (0.0, 1.0)

    losses = [
        Series(name, kind, [(row["epoch"], row[key]) for row in rows])
        for name, kind, key in (("training", "b", "train_loss"), ("validation", "a", "valid_loss"))
    ]
    intervals = [interval(row["error"]) for row in rows] if n else ()
    errors = Series("", "a", [(row["epoch"], row["error"]) for row in rows], intervals)
    last = rows[-1]["error"]
    end = f"{words.photos(n, 'validation')}; at the end {words.percent(last, interval(last))}."
    chart = svg.line_chart([errors], "epoch", "error", percent=True)
    return [
        ("Loss while fine-tuning", svg.line_chart(losses, "epoch", "log loss"), ""),
        ("Error on validation while fine-tuning", chart, end),
    ]


def _finder(history: Mapping[str, Any]) -> list[tuple[str, Markup, str]]:
    """The LR finder's curve, and the rate that came of it."""
    if "lr" not in history:
        return []
    sentence = f"The learning rate was {history['lr']:.2g}: {history.get('lr_reason', '')}."
    curve = history.get("finder")
    if not curve or len(curve["rates"]) < 2:
        return [("The learning rate", Markup(), sentence)]
    chart = svg.rates(curve["rates"], curve["losses"], curve["smoothed"], history["lr"])
    more = " To see how far other seeds and other suggestions differ, run: bears lr"
    return [("How the learning rate was found", chart, sentence + more)]

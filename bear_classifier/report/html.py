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
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from bear_classifier.judge.rejection import FalseAccepts
from bear_classifier.plots import charts
from bear_classifier.plots.inline_svg import figure_svg
from bear_classifier.report import sentences as words
from bear_classifier.report.provenance import PLACES
from bear_classifier.report.schema import Facts, Provenance
from bear_classifier.runtime.templates import template

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STYLE = Path(__file__).parent / "static" / "report.css"
_MOST = 8  # rows of a table; the rest is counted
_DEEPEST = 0.5  # of a cell's colour, so that its number can be read by day and by night


@dataclass(frozen=True)
class Shown:
    """JPEG files of one mistake: the square that the model saw and, where the model is at hand,
    the maps for the predicted class and for the true one. strongest: logits of the deepest colour;
    cells: the side of the feature map."""

    photo: bytes
    predicted: bytes | None = None
    true: bytes | None = None
    strongest: float = 0.0
    cells: int = 0


def report_page(facts: Facts, shown: Mapping[str, Shown], curve: bytes | None = None) -> str:
    """HTML of the figures. shown: by sha256; curve: the learning curve's PNG."""
    page = template(__file__, "report.html").render(
        facts=facts,
        shown=shown,
        curve=curve,
        words=words,
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
        training_charts=_training_charts(facts["training"]),
        reliability=_svg(
            charts.certainty(facts["test"]["reliability"], narrow=True),
            "share of right answers by stated certainty",
        ),
        familiarity=_svg(
            charts.familiarity(facts["rejection"], narrow=True),
            "photos by how much they are like the training photos",
        ),
    )
    return page + "\n"


def data_address(kind: str, content: bytes) -> str:
    """An image as its own address. kind: such as png."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


class _Hardest(FalseAccepts):
    label: str
    classes: int


def _hardest_unknown(left_out: Mapping[str, FalseAccepts]) -> _Hardest | None:
    """The class that would be answered most often, had it never been seen."""
    rows = {label: row for label, row in left_out.items() if row["n"]}
    if not rows:
        return None
    label = max(rows, key=lambda label: rows[label]["share"] or 0.0)
    return {**rows[label], "label": label, "classes": len(rows)}


def _steps(story: Provenance) -> list[tuple[str, int]]:
    """How many photos are left from the search to the splits."""
    return [
        ("found", story["candidates"]),
        ("fetched", story["fetched"]),
        ("different photos", story["photos"]),
        ("usable", story["usable"]),
        *((f"{split} split", n) for split, n in story["sides"].items()),
    ]


def _left_out(story: Provenance) -> dict[str, str]:
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


def _training_charts(training: Mapping[str, Any]) -> list[tuple[str, Markup, str]]:
    """Title, chart and sentence of each."""
    charts_ = []
    if training.get("mixtures"):
        drawn = _svg(charts.alone(charts.interpolation_errors, training), "error by tuned weights")
        sentence = words.interpolation_sentence(training)
        charts_.append(("From the first model to the tuned one", drawn, sentence))
    if rows := training.get("history"):
        last = rows[-1]["error"]
        rate = words.percent(last, charts.epoch_interval(training, last))
        end = f"{words.photos(training.get('valid', 0), 'validation')}; at the end {rate}."
        losses = _svg(charts.alone(charts.loss_history, training), "log loss by epoch")
        errors = _svg(charts.alone(charts.error_history, training), "error by epoch")
        charts_ += [
            ("Loss while fine-tuning", losses, ""),
            ("Error on validation while fine-tuning", errors, end),
        ]
    if "lr" in training:
        reason = f"The learning rate was {training['lr']:.2g}: {training.get('lr_reason', '')}."
        if len((training.get("finder") or {}).get("rates", ())) > 1:
            drawn = _svg(charts.alone(charts.lr_finder, training), "log loss by learning rate")
            more = " To see how far other seeds and other suggestions differ, run: bears lr"
            charts_.append(("How the learning rate was found", drawn, reason + more))
        else:
            charts_.append(("The learning rate", Markup(), reason))
    return charts_


def _svg(figure: Figure, name: str) -> Markup:
    return Markup(figure_svg(figure, name))

"""The report as one page that needs nothing else: no script, no font, no picture from elsewhere.

Labels, file names and sites are written by anybody: the templates escape all of them, and the
page's own policy would let nothing in that slipped through.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
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
    story, training = facts["data"], facts["training"]
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
        steps=[
            ("found", story["candidates"]),
            ("fetched", story["fetched"]),
            ("different photos", story["photos"]),
            ("usable", story["usable"]),
            *((f"{split} split", n) for split, n in story["sides"].items()),
        ],
        places=[p for p in PLACES if any(row[p] for row in story["classes"].values())],
        left_out=_left_out(story),
        training_sentences=[
            words.kept_model(training),
            *words.sentences(training.get("diagnosis")),
            *words.sentences(training.get("notes")),
        ],
        training_charts=list(_training_charts(training)),
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


def _hardest_unknown(left_out: Mapping[str, FalseAccepts]) -> dict[str, Any] | None:
    """The class that would be answered most often, had it never been seen."""
    rows = {label: row for label, row in left_out.items() if row["n"]}
    label = max(rows, key=lambda label: rows[label]["share"] or 0.0, default="")
    return {**rows[label], "label": label, "classes": len(rows)} if rows else None


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


def _training_charts(training: Mapping[str, Any]) -> Iterator[tuple[str, Markup, str]]:
    """Title, chart and sentence of each."""

    def chart(draw: charts.Draw, name: str) -> Markup:
        return _svg(charts.narrow_chart(draw, training), name)

    if not training.get("epochs", 1):
        return
    if training.get("mixtures"):
        drawn = chart(charts.interpolation_errors, "error by tuned weights")
        yield "From the first model to the tuned one", drawn, words.interpolation_sentence(training)
    if rows := training.get("history"):
        last = rows[-1]["error"]
        rate = words.percent(last, charts.epoch_interval(training, last))
        end = f"{words.photos(training.get('valid', 0), 'validation')}; at the end {rate}."
        yield "Loss while fine-tuning", chart(charts.loss_history, "log loss by epoch"), ""
        errors = chart(charts.error_history, "error by epoch")
        yield "Error on validation while fine-tuning", errors, end
    if "lr" in training:
        reason = f"The learning rate was {training['lr']:.2g}: {training.get('lr_reason', '')}."
        if len((training.get("finder") or {}).get("rates", ())) < 2:
            yield "The learning rate", Markup(), reason
            return
        more = " To see how far other seeds and other suggestions differ, run: bears lr"
        drawn = chart(charts.lr_finder, "log loss by learning rate")
        yield "How the learning rate was found", drawn, reason + more


def _svg(figure: Figure, name: str) -> Markup:
    return Markup(figure_svg(figure, name))

"""The report's section on the training: what was kept and why, how it went, and at which rate."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from bear_classifier.report import sentences as words
from bear_classifier.report import svg
from bear_classifier.report.sentences import percent
from bear_classifier.report.svg import Series
from bear_classifier.stats.intervals import Interval, wilson


def training_section(history: Mapping[str, Any]) -> str:
    sentences = [words.kept_model(history), *words.sentences(history.get("diagnosis"))]
    sentences += words.sentences(history.get("notes"))
    lead = "".join(f"<p>{escape(text)}</p>" for text in sentences)
    cards = [*_mixtures(history), *_history(history), *_finder(history)]
    return lead + (f'<div class="cards">{"".join(cards)}</div>' if cards else "")


def _card(title: str, content: str, below: str = "") -> str:
    soft = f'<p class="soft small">{escape(below)}</p>' if below else ""
    return f'<div class="card"><h3>{escape(title)}</h3>{content}{soft}</div>'


def _mixtures(history: Mapping[str, Any]) -> list[str]:
    """Errors of what lies between the first model and the tuned one."""
    found = history.get("mixtures")
    if not found:
        return []
    names = {"valid": ("a", "validation"), "unseen": ("b", "sources never seen")}
    asked = [(*names[key], found[key]) for key in names if found.get(key)]
    shares = [100 * share for share in found["shares"]]
    series = [
        Series(
            name,
            kind,
            [(x, n / one["n"]) for x, n in zip(shares, one["wrong"], strict=True)],
            one.get("intervals") or [wilson(n, one["n"]) or (0.0, 1.0) for n in one["wrong"]],
        )
        for kind, name, one in asked
    ]
    plot = svg.line_chart(series, "tuned weights, %", "error", percent=True, at=shares)
    return [
        _card("From the first model to the tuned one", plot, words.interpolation_sentence(history))
    ]


def _history(history: Mapping[str, Any]) -> list[str]:
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
    error = Series(
        "",
        "a",
        [(row["epoch"], row["error"]) for row in rows],
        [interval(row["error"]) for row in rows] if n else (),
    )
    last = rows[-1]["error"]
    end = f"{words.photos(n, 'validation')}; at the end {percent(last, interval(last))}."
    return [
        _card("Loss while fine-tuning", svg.line_chart(losses, "epoch", "log loss")),
        _card(
            "Error on validation while fine-tuning",
            svg.line_chart([error], "epoch", "error", percent=True),
            end,
        ),
    ]


def _finder(history: Mapping[str, Any]) -> list[str]:
    """The LR finder's curve, and the rate that came of it."""
    if "lr" not in history:
        return []
    said = f"The learning rate was {history['lr']:.2g}: {history.get('lr_reason', '')}."
    found = history.get("finder")
    if not found or len(found["rates"]) < 2:
        return [_card("The learning rate", "", said)]
    plot = svg.rates(found["rates"], found["losses"], found["smoothed"], history["lr"])
    more = " To see how far other seeds and other suggestions differ, run: bears lr"
    return [_card("How the learning rate was found", plot, said + more)]

"""The report as Markdown, for a mail or a repository: the page without its pictures."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape

from bear_classifier.report import sentences as words
from bear_classifier.report.schema import Facts
from bear_classifier.report.sentences import percent

_MARKS = re.compile(r"([\\`*_{}\[\]#|~])")


def as_markdown(facts: Facts) -> str:
    """The report; names of unknown origin cannot become markup."""
    test, rule, classes = facts["test"], facts["rejection"], facts["data"]["classes"]
    per_class = (
        (
            label,
            row["n"],
            percent(row["recall"], row["recall_interval"]),
            percent(row["precision"], row["precision_interval"]),
        )
        for label, row in test["per_class"].items()
    )
    confusion = ((a, *row) for a, row in zip(test["labels"], test["confusion"], strict=True))
    mistakes = (
        f"{row['true']} taken for {row['said']}, {row['sure']:.0%} sure: {row['origin']}"
        for row in facts["mistakes"]
    )
    left_out = (
        (label, f"{row['let_through']} of {row['n']}", percent(row["share"], row["interval"]))
        for label, row in rule["left_out"].items()
    )
    slices = (
        (
            f"{row['by']}: {row['name']}",
            f"{row['wrong']} of {row['n']}",
            percent(row["error"], row["interval"]),
            row["word"],
        )
        for row in facts["slices"]
    )
    shortcuts = (
        (
            row["look"],
            percent(row["accuracy"], row["interval"]),
            percent(row["chance"]),
            words.shortcut(row),
        )
        for row in facts["shortcuts"]
    )
    curve = facts["curve"]["verdict"] if facts["curve"] else ""
    blocks = [
        f"# {_plain(facts['name'])}, version {facts['model']['version']}",
        _plain(facts["verdict"]),
        *(["## Before you rely on it", _list(facts["warnings"])] if facts["warnings"] else []),
        "## Class by class",
        _table(("class", "photos", "recall", "precision"), per_class),
        "## Confusion matrix",
        _table(("true / predicted", *test["labels"]), confusion),
        "## Mistakes",
        _plain(words.mistakes_sentence(facts)),
        _list(mistakes),
        "## When it gives no answer",
        *map(_plain, words.refusal_sentences(rule)),
        _table(("class, were it unknown", "let through", "share"), left_out),
        "## Where it fails",
        _plain(words.unseen_sources(facts["elsewhere"], **words.why(facts, "elsewhere"))),
        _table(("photos", "wrong", "error", "against all others"), slices),
        "## Could the class be guessed without seeing what is shown?",
        _table(("it knows", "right", "by chance", ""), shortcuts),
        "## The photos",
        _table(
            ("class", *next(iter(classes.values()))),
            ((label, *row.values()) for label, row in classes.items()),
        ),
        _plain(words.leak_sentence(facts["membership"], **words.why(facts, "membership"))),
        "## The training",
        _plain(words.kept_model(facts["training"])),
        *map(_plain, words.sentences(facts["training"].get("diagnosis"))),
        *(["## Would more photos help?", _plain(curve)] if curve else []),
    ]
    return "\n\n".join(filter(None, blocks)) + "\n"


def _list(items: Iterable[str]) -> str:
    return "\n".join(f"* {_plain(item)}" for item in items)


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [f"| {' | '.join(_plain(str(cell)) for cell in row)} |" for row in (head, *rows)]
    return "\n".join([lines[0], f"|{'---|' * len(head)}", *lines[1:]])


def _plain(words: str) -> str:
    """One line in which nothing is a mark."""
    return _MARKS.sub(r"\\\1", escape(" ".join(words.split()), quote=False))

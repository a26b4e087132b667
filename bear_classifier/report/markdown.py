"""The report as Markdown, for a mail or a repository: the page without its pictures."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from bear_classifier.report import sentences as words
from bear_classifier.report.sentences import percent

_MARKS = re.compile(r"([\\`*_{}\[\]#|~])")


def as_markdown(found: Mapping[str, Any]) -> str:
    """Markdown of what `report` found; names of unknown origin cannot become markup."""
    test, rule, story = found["test"], found["rejection"], found["data"]
    lines = [f"# {_plain(found['name'])}, version {found['model']['version']}", ""]
    lines += [_plain(found["verdict"]), ""]
    if found["warnings"]:
        lines += ["## Before you rely on it", ""]
        lines += [f"* {_plain(warning)}" for warning in found["warnings"]] + [""]
    lines += ["## Class by class", ""]
    lines += _table(
        ("class", "photos", "recall", "precision"),
        (
            (
                label,
                row["n"],
                percent(row["recall"], row["recall_interval"]),
                percent(row["precision"], row["precision_interval"]),
            )
            for label, row in test["per_class"].items()
        ),
    )
    lines += ["## What is taken for what", ""]
    lines += _table(
        ("is / said", *test["labels"]),
        ((label, *row) for label, row in zip(test["labels"], test["confusion"], strict=True)),
    )
    lines += ["## Mistakes", "", _plain(words.mistakes_sentence(found)), ""]
    lines += [
        f"* {_plain(row['true'])} taken for {_plain(row['said'])}, {row['sure']:.0%} sure:"
        f" {_plain(row['origin'])}"
        for row in found["mistakes"]
    ]
    lines += ["", "## When it gives no answer", ""]
    lines += [_plain(sentence) + "\n" for sentence in words.refusal_sentences(rule)]
    lines += _table(
        ("class, were it unknown", "let through", "share"),
        (
            (label, f"{row['let_through']} of {row['n']}", percent(row["share"], row["interval"]))
            for label, row in rule["left_out"].items()
        ),
    )
    lines += [
        "## Where it fails",
        "",
        _plain(words.unseen_sources(found["elsewhere"], **words.why(found, "elsewhere"))),
        "",
    ]
    lines += _table(
        ("photos", "wrong", "error", "against all others"),
        (
            (
                f"{row['by']}: {row['name']}",
                f"{row['wrong']} of {row['n']}",
                percent(row["error"], row["interval"]),
                row["word"],
            )
            for row in found["slices"]
        ),
    )
    lines += ["## Could the class be guessed without seeing what is shown?", ""]
    lines += _table(
        ("it knows", "right", "by chance", ""),
        (
            (
                row["look"],
                percent(row["accuracy"], row["interval"]),
                percent(row["chance"]),
                words.shortcut(row),
            )
            for row in found["shortcuts"]
        ),
    )
    lines += ["## The photos", ""]
    lines += _table(
        ("class", *next(iter(story["classes"].values()))),
        ((label, *row.values()) for label, row in story["classes"].items()),
    )
    lines += [
        _plain(words.leak_sentence(found["membership"], **words.why(found, "membership"))),
        "",
    ]
    sentences = [
        words.kept_model(found["training"]),
        *words.sentences(found["training"].get("diagnosis")),
    ]
    lines += ["## The training", "", *(_plain(sentence) + "\n" for sentence in sentences)]
    if found["curve"] and found["curve"]["verdict"]:
        lines += ["## Would more photos help?", "", _plain(found["curve"]["verdict"]), ""]
    return "\n".join(lines).rstrip() + "\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    cells = [[_plain(str(cell)) for cell in row] for row in (head, *rows)]
    lines = [f"| {' | '.join(row)} |" for row in cells]
    return [lines[0], f"|{'---|' * len(head)}", *lines[1:], ""]


def _plain(words: str) -> str:
    """One line in which nothing is a mark."""
    return _MARKS.sub(r"\\\1", escape(" ".join(words.split()), quote=False))

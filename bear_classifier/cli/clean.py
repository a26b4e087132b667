"""`bears clean`: find what is wrong with the photos, and decide on it from a table."""

from __future__ import annotations

import argparse
import dataclasses
import uuid
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from bear_classifier import pipeline
from bear_classifier.cli import project
from bear_classifier.cli.history import SHOWN, event_line
from bear_classifier.cli.output import print_json, print_outcome
from bear_classifier.dataset import decisions
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import Decision, Event
from bear_classifier.report import stage_lines
from bear_classifier.runtime.files import writable
from bear_classifier.runtime.heartbeat import heartbeat
from bear_classifier.runtime.terminal import command, count, one_line, tell


def add_options(parser: argparse.ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--list", action="store_true", help="list the suspects, most suspect first")
    what.add_argument("--apply", metavar="FILE", type=Path, help="carry out a table of decisions")
    what.add_argument(
        "--auto", action="store_true", help="drop what is beyond clean.precision; never test photos"
    )
    what.add_argument(
        "--gone", action="store_true", help="drop photos whose files were deleted or replaced"
    )
    what.add_argument(
        "--effect", action="store_true", help="compare before and after on untouched test photos"
    )
    parser.add_argument(
        "--csv", metavar="FILE", type=Path, help="with --list: write a table to fill in and apply"
    )


def run(options: argparse.Namespace) -> int:
    opened = project.named_project(options)
    if options.apply:
        return _apply(options, opened)
    if options.auto:
        return _auto(options, opened)
    if options.gone:
        return _gone(options, opened)
    if options.effect:
        return _effect(options, opened)
    if options.list or options.csv:
        return _list(options, opened)
    outcome = pipeline.run_one(opened, "clean")
    print_outcome(options, outcome, stage_lines.stage_text("clean", outcome))
    return 0


def _list(options: argparse.Namespace, opened: pipeline.Project) -> int:
    """One line for each usable photo that nobody decided on, most suspect first."""
    from bear_classifier.judge.clean import LIKELY, suspects
    from bear_classifier.judge.decision_table import write_suspects

    if options.csv:
        writable(options.csv)
    with heartbeat("clean"), pipeline.existing(opened) as catalog:
        closed = decisions.closed(catalog)
        found = [s for s in suspects(catalog, opened.config) if s.sha256 not in closed]
        if options.csv:
            write_suspects(options.csv, found, catalog.revision())
    if options.json:
        for suspect in found:
            row = dataclasses.asdict(suspect)
            wanted = ("origin", "sha256", "label", "suggested", "score", "reasons", "split")
            print_json({name: row[name] for name in (*wanted, "scores", "probabilities")})
        return 0
    likely = [suspect for suspect in found if suspect.score >= LIKELY]
    for suspect in likely[:SHOWN]:
        split = "  [test split]" if suspect.split == "test" else ""
        words = "; ".join(suspect.reasons)
        line = f"{suspect.score:4.0%}  {suspect.label}: {words}  {suspect.origin}{split}"
        tell(options, one_line(line))
    are = "is" if len(likely) == 1 else "are"
    tell(
        options,
        f"{len(likely)} of {count(len(found), 'photo')} {are} suspect; to look at them, run:"
        " bears review",
    )
    if options.csv:
        columns = "action (keep, drop, relabel, restore) and new_label"
        tell(options, one_line(f"wrote {options.csv}: fill in {columns},"))
        tell(options, f"then run: {command('clean', '--apply', str(options.csv))}")
    return 0


def _apply(options: argparse.Namespace, opened: pipeline.Project) -> int:
    from bear_classifier.judge.decision_table import read_decisions

    wanted = read_decisions(options.apply)
    with pipeline.existing(opened) as catalog, catalog.lock("clean"):
        named = [
            dataclasses.replace(d, sha256=decisions.full_sha256(catalog, d.sha256)) for d in wanted
        ]
        return _decide(options, catalog, opened, named)


def _auto(options: argparse.Namespace, opened: pipeline.Project) -> int:
    from bear_classifier.judge.clean import suspects
    from bear_classifier.judge.decision_table import automatic

    with pipeline.existing(opened) as catalog, catalog.lock("clean"):
        with heartbeat("clean"):
            found = suspects(catalog, opened.config)
        wanted = automatic(found, decisions.closed(catalog), opened.config.clean.precision)
        return _decide(options, catalog, opened, wanted, "auto")


def _gone(options: argparse.Namespace, opened: pipeline.Project) -> int:
    """Drop what stands in no file any more; a person asks for it, since a folder may be away."""
    from bear_classifier.collect.sources.folder_changes import without_file

    with pipeline.existing(opened) as catalog, catalog.lock("clean"):
        why = "its file was deleted or replaced"
        wanted = [
            Decision(photo.sha256, "drop", why=why)
            for photo in without_file(catalog.photos(), catalog.sources())
        ]
        return _decide(options, catalog, opened, wanted)


def _decide(
    options: argparse.Namespace,
    catalog: Catalog,
    opened: pipeline.Project,
    wanted: Sequence[Decision],
    who: str = "",
) -> int:
    events: Sequence[Event] = decisions.decide(
        catalog, opened.config.labels, wanted, who or decisions.user_name(), uuid.uuid4().hex
    )
    splits = {photo.sha256: photo.split for photo in catalog.photos()}
    counts = Counter(event.action for event in events)
    test = sum(splits.get(e.sha256) == "test" for e in events if e.action != "keep")
    outcome = {"decisions": dict(counts), "test_side": test, "events": [e.id for e in events]}
    lines = [event_line(event) for event in events[:SHOWN]]
    if len(events) > SHOWN:
        lines.append(f"... and {len(events) - SHOWN} more; to see all, run: bears history")
    words = ", ".join(f"{n} {action}" for action, n in counts.items()) or "nothing to do"
    lines.append(f"{words}; to take it all back, run: bears undo" if events else words)
    if test:
        change = "changes" if test == 1 else "change"
        lines.append(f"warning: {test} of them {change} the test split, which judges the model")
    print_outcome(options, outcome, "\n".join(lines))
    return 0


def _effect(options: argparse.Namespace, opened: pipeline.Project) -> int:
    from bear_classifier.judge.cleaning_effect import effect

    with heartbeat("clean"), pipeline.existing(opened) as catalog:
        found = effect(catalog, opened.config)
    verdict = {
        "no difference": "no difference can be claimed",
        "better": "the decisions helped",
        "worse": "the decisions did harm; to look at them, run: bears history",
    }[found["verdict"]]
    print_outcome(
        options,
        found,
        f"first model on {count(found['n'], 'untouched test photo')}: {found['wrong_before']}"
        " wrong before"
        f" the decisions, {found['wrong_after']} after ({found['put_right']} put right,"
        f" {found['newly_wrong']} newly wrong; paired test: p = {found['p']:.2g}): {verdict}",
    )
    return 0

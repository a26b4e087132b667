"""The commands of cleaning: clean, review, history, undo and restore, and what they say."""

from __future__ import annotations

import argparse
import dataclasses
import json
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bear_classifier import pipeline
from bear_classifier.dataset import backups, decisions
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.lock import hold
from bear_classifier.dataset.schema import Decision, Event
from bear_classifier.report import stage_lines
from bear_classifier.runtime.files import writable
from bear_classifier.runtime.heartbeat import heartbeat
from bear_classifier.runtime.terminal import command, count, minute, one_line, tell

_SHOWN = 20


def clean(options: argparse.Namespace, project: pipeline.Project) -> int:
    if options.apply:
        return _apply(options, project)
    if options.auto:
        return _auto(options, project)
    if options.gone:
        return _gone(options, project)
    if options.effect:
        return _effect(options, project)
    if options.list or options.csv:
        return _list(options, project)
    outcome = pipeline.run_one(project, "clean")
    _print(options, outcome, stage_lines.stage("clean", outcome))
    return 0


def _list(options: argparse.Namespace, project: pipeline.Project) -> int:
    """One line for each usable photo that nobody decided on, most suspect first."""
    from bear_classifier.judge.clean import LIKELY, suspects
    from bear_classifier.judge.decision_table import write_suspects

    if options.csv:
        writable(options.csv)
    with heartbeat("clean"), pipeline.existing(project) as catalog:
        closed = decisions.closed(catalog)
        found = [s for s in suspects(catalog, project.config) if s.sha256 not in closed]
        if options.csv:
            write_suspects(options.csv, found, decisions.revision(catalog))
    if options.json:
        for suspect in found:
            row = dataclasses.asdict(suspect)
            wanted = ("origin", "sha256", "label", "suggested", "score", "reasons", "split")
            print(json.dumps({name: row[name] for name in (*wanted, "scores", "probabilities")}))
        return 0
    likely = [suspect for suspect in found if suspect.score >= LIKELY]
    for suspect in likely[:_SHOWN]:
        side = "  [test split]" if suspect.split == "test" else ""
        words = "; ".join(suspect.reasons)
        line = f"{suspect.score:4.0%}  {suspect.label}: {words}  {suspect.origin}{side}"
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


def _apply(options: argparse.Namespace, project: pipeline.Project) -> int:
    from bear_classifier.judge.decision_table import read_decisions

    wanted = read_decisions(options.apply)
    with pipeline.existing(project) as catalog, catalog.lock("clean"):
        named = [
            dataclasses.replace(d, sha256=decisions.full_sha256(catalog, d.sha256)) for d in wanted
        ]
        events = decisions.decide(
            catalog, project.config.labels, named, decisions.user_name(), uuid.uuid4().hex
        )
        return _told(options, events, catalog)


def _auto(options: argparse.Namespace, project: pipeline.Project) -> int:
    from bear_classifier.judge.clean import suspects
    from bear_classifier.judge.decision_table import automatic

    with pipeline.existing(project) as catalog, catalog.lock("clean"):
        with heartbeat("clean"):
            found = suspects(catalog, project.config)
        wanted = automatic(found, decisions.closed(catalog), project.config.clean.precision)
        events = _decide(catalog, project, wanted, "auto")
        return _told(options, events, catalog)


def _gone(options: argparse.Namespace, project: pipeline.Project) -> int:
    """Drop what stands in no file any more; a person asks for it, since a folder may be away."""
    from bear_classifier.collect.sources.folder_changes import without_file

    with pipeline.existing(project) as catalog, catalog.lock("clean"):
        why = "its file was deleted or replaced"
        wanted = [
            Decision(photo.sha256, "drop", why=why)
            for photo in without_file(catalog.photos(), catalog.sources())
        ]
        events = decisions.decide(
            catalog, project.config.labels, wanted, decisions.user_name(), uuid.uuid4().hex
        )
        return _told(options, events, catalog)


def _decide(
    catalog: Catalog, project: pipeline.Project, wanted: Sequence[Decision], who: str = ""
) -> list[Event]:
    labels, request = project.config.labels, uuid.uuid4().hex
    return decisions.decide(catalog, labels, wanted, who or decisions.user_name(), request)


def _told(options: argparse.Namespace, events: Sequence[Event], catalog: Catalog) -> int:
    sides = {photo.sha256: photo.split for photo in catalog.photos()}
    counts = Counter(event.action for event in events)
    test = sum(sides.get(e.sha256) == "test" for e in events if e.action != "keep")
    outcome = {"decisions": dict(counts), "test_side": test, "events": [e.id for e in events]}
    lines = [_line(event) for event in events[:_SHOWN]]
    if len(events) > _SHOWN:
        lines.append(f"... and {len(events) - _SHOWN} more; to see all, run: bears history")
    words = ", ".join(f"{n} {action}" for action, n in counts.items()) or "nothing to do"
    lines.append(f"{words}; to take it all back, run: bears undo" if events else words)
    if test:
        change = "changes" if test == 1 else "change"
        lines.append(f"warning: {test} of them {change} the test split, which judges the model")
    _print(options, outcome, "\n".join(lines))
    return 0


def _effect(options: argparse.Namespace, project: pipeline.Project) -> int:
    from bear_classifier.judge.cleaning_effect import effect

    with heartbeat("clean"), pipeline.existing(project) as catalog:
        found = effect(catalog, project.config)
    verdict = {
        "no difference": "no difference can be claimed",
        "better": "the decisions helped",
        "worse": "the decisions did harm; to look at them, run: bears history",
    }[found["verdict"]]
    _print(
        options,
        found,
        f"first model on {count(found['n'], 'untouched test photo')}: {found['wrong_before']}"
        " wrong before"
        f" the decisions, {found['wrong_after']} after ({found['put_right']} put right,"
        f" {found['newly_wrong']} newly wrong; paired test: p = {found['p']:.2g}): {verdict}",
    )
    return 0


def review(options: argparse.Namespace, project: pipeline.Project) -> int:
    from bear_classifier.review.app import serve

    with pipeline.existing(project):
        pass
    serve(project.data, project.config, options.host, options.port)
    return 0


def history(options: argparse.Namespace, project: pipeline.Project) -> int:
    with pipeline.existing(project) as catalog:
        photo = decisions.full_sha256(catalog, options.photo) if options.photo else None
        events = decisions.history(catalog, photo)
    if options.json:
        for event in events:
            print(json.dumps(dataclasses.asdict(event)))
        return 0
    tell(options, "\n".join(map(_line, events)) or "nothing was decided yet")
    return 0


def undo(options: argparse.Namespace, project: pipeline.Project) -> int:
    with pipeline.existing(project) as catalog, catalog.lock("undo"):
        events = decisions.undo(catalog, decisions.user_name(), options.event)
    lines = "\n".join(map(_line, events[:_SHOWN]))
    _print(options, {"events": [event.id for event in events]}, lines)
    return 0


def restore(options: argparse.Namespace, project: pipeline.Project) -> int:
    if not backups.made(project.data):
        with pipeline.existing(project):  # says what is wrong, if something is
            pass
    with hold(project.data, "restore"):
        done = backups.restore(project.data, options.force)
    outcome = {
        "copy": str(done.copy),
        "at": backups.at(done.copy).isoformat(),
        "aside": str(done.aside) if done.aside else None,
        "missing": [dataclasses.asdict(event) for event in done.events],
        "missing_take_downs": [dataclasses.asdict(row) for row in done.take_downs],
        "complete": done.complete,
    }
    _print(options, outcome, "\n".join(_restored(done)))
    return 0


def _restored(done: backups.Restored) -> list[str]:
    lines = [f"put back the copy of {backups.told(done.copy)}"]
    if done.aside:
        lines.append(f"what stood there is kept: {done.aside}")
    lost = [_line(event) for event in done.events]
    for row in done.take_downs:
        what = f"take-down of {row.kind} {row.value}"
        lost.append(f"{'':5}  {minute(row.at)}  {row.who}  {what}  ({row.why})")
    if lost:
        lines += [f"missing are the decisions made after it ({len(lost)}):", *lost[:_SHOWN]]
    if len(lost) > _SHOWN:
        lines.append(f"... and {len(lost) - _SHOWN} more in the file that is kept")
    if not done.complete:
        lines.append(f"{'other ' if lost else ''}decisions after that time cannot be read")
    elif not lost:
        lines.append("no decision is missing")
    return lines


def _line(event: Event) -> str:
    change = f"{event.old} -> {event.new}" if event.old != event.new else event.old
    why = f"  ({event.why})" if event.why else ""
    deed = f"{event.action} {event.sha256[:12]}"
    return one_line(f"{event.id:5}  {minute(event.at)}  {event.who}  {deed}  {change}{why}")


def _print(options: argparse.Namespace, outcome: Mapping[str, Any], words: str) -> None:
    if options.json:
        print(json.dumps(outcome))
    elif not options.quiet:
        tell(options, words)


COMMANDS: dict[str, Callable[[argparse.Namespace, pipeline.Project], int]] = {
    "clean": clean,
    "review": review,
    "history": history,
    "undo": undo,
    "restore": restore,
}

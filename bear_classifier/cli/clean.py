"""`bears clean`: find what is wrong with the photos, and decide on it from a table."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from bear_classifier import pipeline
from bear_classifier.cli import project
from bear_classifier.cli.carry_out import Wanted, carry_out, tabled
from bear_classifier.cli.history import SHOWN
from bear_classifier.cli.options import add_flag, add_path, add_who
from bear_classifier.cli.output import print_json, print_outcome, tell_table
from bear_classifier.config.settings import Config
from bear_classifier.dataset import decisions
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import Decision
from bear_classifier.report import stage_lines
from bear_classifier.runtime.files import writable
from bear_classifier.runtime.heartbeat import heartbeat
from bear_classifier.runtime.terminal import command, count, one_line, tell

_SHOWN_OF_SUSPECT = (
    *("origin", "sha256", "label", "suggested", "score", "reasons", "split"),
    *("scores", "probabilities"),
)


def add_options(parser: argparse.ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group()
    add_flag(what, "--list", "list the suspects, most suspect first")
    add_path(what, "--apply", "FILE", "carry out a table of decisions")
    add_flag(what, "--auto", "drop what is beyond clean.precision; never test photos")
    add_path(what, "--export", "FILE", "write all decisions as a table for somebody else to apply")
    add_flag(what, "--gone", "drop photos whose files were deleted or replaced")
    add_flag(what, "--effect", "compare before and after on untouched test photos")
    add_path(parser, "--csv", "FILE", "with --list: write a table to fill in and apply")
    add_who(parser)


def run(options: argparse.Namespace) -> None:
    opened = project.named_project(options)
    if options.apply or options.auto or options.gone:
        _decide(options, opened)
    elif options.export:
        _export(options, opened)
    elif options.effect:
        _effect(options, opened)
    elif options.list or options.csv:
        _list(options, opened)
    else:
        outcome = pipeline.run_one(opened, "clean")
        print_outcome(options, outcome, stage_lines.stage_text("clean", outcome))


def _list(options: argparse.Namespace, opened: pipeline.Project) -> None:
    """One line for each usable photo that nobody decided on, most suspect first."""
    from bear_classifier.judge.clean import open_suspects
    from bear_classifier.judge.decision_table import write_suspects

    if options.csv:
        writable(options.csv)
    with heartbeat("clean"), pipeline.existing(opened) as catalog:
        found = open_suspects(catalog, opened.config)
        whole = bool(options.csv or options.json)
        listed = found.every(catalog) if whole else found.first(catalog, min(SHOWN, found.likely))
        if options.csv:
            write_suspects(options.csv, listed, catalog.revision())
    if options.json:
        for suspect in listed:
            print_json({name: getattr(suspect, name) for name in _SHOWN_OF_SUSPECT})
        return
    for suspect in listed[: min(SHOWN, found.likely)]:
        split = "  [test split]" if suspect.split == "test" else ""
        reasons = "; ".join(suspect.reasons)
        line = f"{suspect.score:4.0%}  {suspect.label}: {reasons}  {suspect.origin}{split}"
        tell(options, one_line(line))
    if found.likely > SHOWN:
        rest = f"... and {found.likely - SHOWN} more"
        table = command("clean", "--list", "--csv", "suspects.csv")
        where = "all are in the table below" if options.csv else f"for a table of all, run: {table}"
        tell(options, f"{rest}; {where}")
    are = "is" if found.likely == 1 else "are"
    of_all = f"{found.likely} of {count(len(found.rows), 'photo')} {are} suspect"
    tell(options, f"{of_all}; to look at them, run: bears review")
    if options.csv:
        columns = "action (keep, drop, relabel, restore) and new_label"
        tell_table(options, options.csv, columns)


def _decide(options: argparse.Namespace, opened: pipeline.Project) -> None:
    from bear_classifier.judge.decision_table import read_decisions

    table = read_decisions(options.apply) if options.apply else None
    who = decisions.AUTO if options.auto else decisions.user_name(options.who)

    def wanted(catalog: Catalog) -> Wanted:
        if table is None:
            return Wanted(_found_decisions(options, catalog, opened.config))
        return tabled(table, catalog, opened.config.labels, who)

    carry_out(options, opened, "clean", wanted, who)


def _export(options: argparse.Namespace, opened: pipeline.Project) -> None:
    from bear_classifier.judge.shared_decisions import write_decisions

    writable(options.export)
    with pipeline.existing(opened) as catalog:
        n = write_decisions(options.export, catalog)
    outcome = {"decisions": n, "table": str(options.export)}
    apply = command("clean", "--apply", str(options.export))
    wrote = one_line(f"wrote {count(n, 'decision')} to {options.export}")
    print_outcome(options, outcome, f"{wrote}; who has the same photos can run: {apply}")


def _found_decisions(
    options: argparse.Namespace, catalog: Catalog, config: Config
) -> Sequence[Decision]:
    """Drop what is beyond clean.precision, or photos without a file. A person asks for the latter,
    since a folder may be away."""
    if options.auto:
        from bear_classifier.judge.clean import open_suspects
        from bear_classifier.judge.decision_table import automatic

        with heartbeat("clean"):
            found = open_suspects(catalog, config).misplaced(catalog, config.clean.precision)
        return automatic(found, config.clean.precision)
    from bear_classifier.collect.sources.folder_changes import without_file

    gone = without_file(catalog.photos(), catalog.sources())
    return [Decision(p.sha256, "drop", why=decisions.GONE) for p in gone]


def _effect(options: argparse.Namespace, opened: pipeline.Project) -> None:
    from bear_classifier.judge.cleaning_effect import effect

    with heartbeat("clean"), pipeline.existing(opened) as catalog:
        result = effect(catalog, opened.config)
    verdict = {
        "no difference": "no difference can be claimed",
        "better": "the decisions helped",
        "worse": "the decisions did harm; to look at them, run: bears history",
    }[result["verdict"]]
    print_outcome(
        options,
        result,
        f"first model on {count(result['n'], 'untouched test photo')}: {result['wrong_before']}"
        f" wrong before the decisions, {result['wrong_after']} after ({result['put_right']} put"
        f" right, {result['newly_wrong']} newly wrong; paired test: p = {result['p']:.2g}):"
        f" {verdict}",
    )

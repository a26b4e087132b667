"""`bears label`: confirm classes of photos without a label, in the page or from a table."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from bear_classifier import pipeline
from bear_classifier.cli import project
from bear_classifier.cli.carry_out import Wanted, carry_out, tabled
from bear_classifier.cli.options import add_address_options, add_flag, add_number, add_path, add_who
from bear_classifier.cli.output import print_json, tell_table
from bear_classifier.dataset import decisions
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.queries import photo_counts
from bear_classifier.runtime.files import writable
from bear_classifier.runtime.heartbeat import heartbeat
from bear_classifier.runtime.terminal import count, one_line, tell

_BATCH = 10  # photos


def add_options(parser: argparse.ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group()
    add_flag(what, "--list", "list the next photos to label, with the classes that are proposed")
    add_path(what, "--apply", "FILE", "carry out a table of classes, as --csv writes it")
    add_path(parser, "--csv", "FILE", "with --list: write a table to fill in and apply")
    add_number(parser, "--batch", f"photos to list (default: {_BATCH})", _BATCH)
    add_who(parser)
    add_address_options(parser, 7861)


def run(options: argparse.Namespace) -> None:
    opened = project.named_project(options)
    if options.apply:
        _apply(options, opened)
    elif options.list or options.csv:
        _list(options, opened)
    else:
        _open(options, opened)


def _list(options: argparse.Namespace, opened: pipeline.Project) -> None:
    from bear_classifier.dataset.schema import Suspect
    from bear_classifier.judge import label
    from bear_classifier.judge.decision_table import write_suspects

    if options.csv:
        writable(options.csv)
    labels = opened.config.labels
    with pipeline.existing(opened) as catalog, catalog.lock("label"), heartbeat("label"):
        pool = label.make_pool(catalog, opened.config)
        revision = catalog.revision()
        asked = label.asked(catalog, labels)
        found = label.proposals(asked, labels, pool, max(1, options.batch))
        origins = {p.sha256: p.origin for p in catalog.photos_of([p.sha256 for p in found])}
        left = sum(n for (_, _, kind), n in photo_counts(catalog).items() if kind == "unlabelled")
    rows = [
        Suspect(
            *(p.sha256, origins[p.sha256], "", "", p.suggested, p.score, [p.why]),
            probabilities=p.probabilities,
        )
        for p in found
    ]
    if options.csv:
        write_suspects(options.csv, rows, revision)
    if options.json:
        wanted = ("origin", "sha256", "label", "suggested", "score", "reasons", "probabilities")
        for row in rows:
            facts = asdict(row)
            print_json({name: facts[name] for name in wanted} | {"revision": revision})
        return
    for row in rows:
        guess = f"{row.suggested}? {1 - row.score:4.0%}" if row.suggested else "no idea yet"
        tell(options, one_line(f"{guess}  {row.origin}"))
    tell(options, f"{count(left, 'photo')} without a label; to confirm classes, run: bears label")
    if options.csv:
        columns = "new_label, or action (keep: as suggested; drop)"
        tell_table(options, options.csv, columns)


def _apply(options: argparse.Namespace, opened: pipeline.Project) -> None:
    from bear_classifier.judge.decision_table import read_decisions

    table = read_decisions(options.apply, first=True)
    who = decisions.user_name(options.who)

    def wanted(catalog: Catalog) -> Wanted:
        return tabled(table, catalog, opened.config.labels, who)

    carry_out(options, opened, "label", wanted, who)


def _open(options: argparse.Namespace, opened: pipeline.Project) -> None:
    from bear_classifier.judge import label
    from bear_classifier.review.app import serve_review

    with pipeline.existing(opened) as catalog, catalog.lock("label"), heartbeat("label"):
        label.make_pool(catalog, opened.config)
    serve_review(opened, options.host, options.port, "label", options.who)

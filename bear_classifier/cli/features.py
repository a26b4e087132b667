"""`bears features`: compute what the first model learns from, here or on several machines."""

from __future__ import annotations

import argparse

from bear_classifier import pipeline
from bear_classifier.cli import project
from bear_classifier.cli.options import add_engine_option, add_flag, add_shard
from bear_classifier.cli.output import print_outcome
from bear_classifier.runtime.heartbeat import heartbeat
from bear_classifier.runtime.terminal import command, count


def add_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_mutually_exclusive_group()
    add_flag(group, "--plan", "only write down which photos belong to which shard")
    add_shard(group, "compute the planned shards of part K")
    add_engine_option(parser)


def run(options: argparse.Namespace) -> None:
    named = project.named_project(options)
    with heartbeat("features"):
        outcome = _part(options, named) if options.shard else _whole(options, named)
    print_outcome(options, outcome, _text(options, outcome))


def _part(options: argparse.Namespace, named: pipeline.Project) -> dict[str, int]:
    """Without the catalog and its lock: other parts are computed at the same time."""
    from bear_classifier.learn.features import compute_features, planned_features

    tasks = planned_features(named.data, named.config, *options.shard)
    return {"shards": len(tasks), "computed": compute_features(named.config, tasks)}


def _whole(options: argparse.Namespace, named: pipeline.Project) -> dict[str, int]:
    from bear_classifier.learn.features import compute_features, plan_features

    with pipeline.existing(named) as catalog, catalog.lock("features"):
        tasks = plan_features(catalog, named.config)
        if options.plan:
            return {"shards": len(tasks), "computed": 0}
        return {"shards": len(tasks), "computed": compute_features(named.config, tasks)}


def _text(options: argparse.Namespace, outcome: dict[str, int]) -> str:
    shards = count(outcome["shards"], "shard")
    if not options.plan:
        return f"{shards}, {count(outcome['computed'], 'photo')} computed"
    example = command("features", "--shard", f"1/{min(8, max(1, outcome['shards']))}")
    return f"{shards} to compute; for the first of several parts run: {example}"

"""Compare backbones: error of a linear probe on each, paired with that on the project's own.

Every photo is judged by a probe that has seen neither it nor its near-copies, and, where sources
are known, by one that has seen no photo of its source. All p are for all backbones together
(Bonferroni): of twenty backbones one is better by chance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bear_classifier.stats.arrays import Bools, Strings
from bear_classifier.stats.intervals import clustered, proportion
from bear_classifier.stats.paired import SURE, paired_comparison

ERROR_KINDS = ("out_of_fold", "unseen_sources")
_WORDS = {"out_of_fold": "out of fold", "unseen_sources": "on photos of unseen sources"}


@dataclass(frozen=True)
class Errors:
    """Which photos (n,) the probe on a backbone answers wrongly; groups: (n,) of near-copies."""

    wrong: Bools
    groups: Strings


def compare_errors(backbones: Sequence[Mapping[str, Errors]]) -> list[dict[str, Any]]:
    """For each backbone and kind: n, wrong, error, interval; for all but the first also the paired
    test with it. backbones: errors by kind, the first to be compared with; the photos of a kind are
    the same for all."""
    others = len(backbones) - 1
    rows = []
    for number, errors in enumerate(backbones):
        row: dict[str, Any] = {}
        for kind in ERROR_KINDS:
            row[kind] = None
            if (one := errors.get(kind)) is None:
                continue
            n, wrong = len(one.wrong), int(one.wrong.sum())
            interval = clustered(one.wrong, one.groups)
            row[kind] = {"n": n, "wrong": wrong, "error": proportion(wrong, n)}
            row[kind] |= {"interval": interval}
            if number:
                row[kind] |= _paired(backbones[0][kind], one, others)
        decides = row["unseen_sources"] or row["out_of_fold"]
        row["verdict"] = decides["verdict"] if number else "first"
        rows.append(row)
    return rows


def _paired(first: Errors, one: Errors, times: int) -> dict[str, Any]:
    found = paired_comparison(first.wrong, one.wrong, one.groups)
    p = min(1.0, times * found["p"])
    better = found["put_right"] > found["newly_wrong"]
    verdict = "no difference" if p > SURE else "better" if better else "worse"
    return {"put_right": found["put_right"], "newly_wrong": found["newly_wrong"], "p": p,
            "verdict": verdict}  # fmt: skip


def backbone_verdicts(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence on every backbone but the first. rows: of `compare_errors`, each with `name`."""
    return [_sentence(row, rows[0]) for row in rows[1:]]


def _sentence(row: Mapping[str, Any], first: Mapping[str, Any]) -> str:
    kind = "unseen_sources" if row["unseen_sources"] else "out_of_fold"
    one, other = row[kind], first[kind]
    numbers = f"{one['wrong']} instead of {other['wrong']}"
    if one["wrong"] == other["wrong"]:
        numbers = f"both {one['wrong']}"
    counts = f"{numbers} of {one['n']} wrong {_WORDS[kind]}"
    paired = f"{one['put_right']} put right, {one['newly_wrong']} newly wrong, p = {one['p']:.2g}"
    if one["verdict"] == "no difference":
        why = f"chance may explain the difference between {row['name']} and {first['name']}"
        return f"{why}: {counts} ({paired})"
    return f"{row['name']} does {one['verdict']} than {first['name']}: {counts} ({paired})"

"""Metrics of the report: histograms, confused pairs, errors of parts of the photos."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import fisher_exact

from bear_classifier.report.schema import ConfusedPair, ErrorSlice, ScoreHistogram
from bear_classifier.stats.arrays import Bools, Floats, Ints
from bear_classifier.stats.intervals import clustered, proportion

SMALL_SLICE = 20  # photos; below, the interval of an error spans more than forty points
_SURE = 0.05  # chance of a difference where there is none


def score_histogram(scores: Floats, right: Bools, bins: int = 24) -> ScoreHistogram:
    """Counts of scores (n,) by equal bins, of right and of wrong answers."""
    if not len(scores):
        return {"edges": [], "right": [], "wrong": []}
    edges = np.histogram_bin_edges(scores, bins)
    counts = [np.histogram(scores[rows], edges)[0].tolist() for rows in (right, ~right)]
    return {"edges": edges.tolist(), "right": counts[0], "wrong": counts[1]}


def confused_pairs(
    targets: Ints, predicted: Ints, groups: NDArray[Any], labels: Sequence[str]
) -> list[ConfusedPair]:
    """Confused classes, most often first. targets, predicted, groups: (n,) of the photos."""
    pairs: list[ConfusedPair] = []
    for i, j in set(zip(targets.tolist(), predicted.tolist(), strict=True)):
        if i == j:
            continue
        mine = targets == i
        taken = predicted[mine] == j
        pairs.append(
            {
                "true": labels[i],
                "said": labels[j],
                "n": int(taken.sum()),
                "of": len(taken),
                "share": float(taken.mean()),
                "interval": clustered(taken, groups[mine]) or (0.0, 1.0),
            }
        )
    return sorted(pairs, key=lambda pair: (-pair["n"], pair["true"], pair["said"]))


def thirds(values: Floats) -> NDArray[np.int64]:
    """0, 1 or 2 for the lowest, the middle and the highest third of values (n,); equal values stay
    together, so that a third may be larger than another or empty."""
    low, high = np.quantile(values, [1 / 3, 2 / 3]) if len(values) else (0.0, 0.0)
    return (values > low).astype(np.int64) + (values > high)


def errors_by(
    parts: Sequence[tuple[str, str, Bools]], wrong: Bools, groups: NDArray[Any]
) -> list[ErrorSlice]:
    """The error of each part of the photos, and whether it differs from that of all other photos.

    parts: what it is cut by, the part's name, and (n,) which photos belong to it; wrong, groups:
    (n,). By Fisher's exact test, in which a group of near-copies counts once, by the share of it
    that is wrong; of several parts each has to pass the harder (Holm, 1979)."""
    rows: list[ErrorSlice] = []
    chances: dict[int, float] = {}
    for number, (kind, name, inside) in enumerate(parts):
        n, bad = int(inside.sum()), int(wrong[inside].sum())
        enough = n >= SMALL_SLICE and len(inside) - n >= SMALL_SLICE
        rows.append(
            {
                "by": kind,
                "name": name,
                "n": n,
                "wrong": bad,
                "error": proportion(bad, n),
                "interval": clustered(wrong[inside], groups[inside]),
                "word": "no difference can be claimed" if enough else "too few to say",
            }
        )
        if enough:
            counts = [_once(wrong[some], groups[some]) for some in (inside, ~inside)]
            chances[number] = float(fisher_exact(counts)[1])
    for place, number in enumerate(sorted(chances, key=lambda k: chances[k])):
        if chances[number] * (len(chances) - place) >= _SURE:
            break
        inside = parts[number][2]
        more = wrong[inside].mean() > wrong[~inside].mean()
        rows[number]["word"] = "more mistakes than elsewhere" if more else "fewer than elsewhere"
    return rows


def _once(wrong: Bools, groups: NDArray[Any]) -> tuple[int, int]:
    """Groups (n,) of photos that are wrong, and that are right; of a mixed one parts of both."""
    number = np.unique(groups, return_inverse=True)[1]
    bad = round(float((np.bincount(number, wrong) / np.bincount(number)).sum()))
    return bad, int(number.max()) + 1 - bad

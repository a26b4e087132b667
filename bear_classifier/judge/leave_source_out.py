"""Leave-one-source-out validation of the probe.

A random split flatters: photos of one search, site or camera stand on both sides. Here every source
is left out once, with all near-copies of its photos, and judged by a model of the others.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from bear_classifier.config.settings import Config
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import Photo
from bear_classifier.dataset.sources import sites
from bear_classifier.judge.predictions import load_evidence
from bear_classifier.stats.arrays import Bools, Ints
from bear_classifier.stats.intervals import Interval, clustered, proportion
from bear_classifier.stats.linear_probe import choose_strength, model, n_folds, out_of_fold
from bear_classifier.stats.paired import paired_comparison

_LEAST = 20  # photos; smaller sources are left out together with others
_FOLDS = 10  # of the small ones


class NotMeasured(ValueError):
    """Why there is no such figure: a sentence that stands in the report in place of it."""


class ErrorRate(TypedDict):
    """Of n photos."""

    n: int
    wrong: int
    error: float | None
    interval: Interval | None


class SourceHoldout(TypedDict):
    """random: folds of mixed sources; left_out: folds of whole sources; paired: their paired test;
    sources: how many; without: classes of which fewer than two photos have a known source."""

    random: ErrorRate
    left_out: ErrorRate
    paired: dict[str, Any]
    sources: int
    by_source: dict[str, ErrorRate]
    without: list[str]


def leave_sources_out(catalog: Catalog, config: Config) -> SourceHoldout:
    """Of the first model, for photos of train and validation whose source is known. The test split
    stays out of it. Raises NotMeasured where no source can be judged by another; DataError
    (NOT_PROBED, BAD_TABLE)."""
    evidence = load_evidence(catalog.root)
    rows = {sha256: row for row, sha256 in enumerate(evidence.sha256)}
    photos = [
        p
        for p in catalog.photos("ok")
        if p.split in ("train", "valid") and p.sha256 in rows and p.label in config.labels
    ]
    site = sites(catalog, photos, config.split.sources)
    known, without = of_known_sources(photos, site, config.labels)
    names = [site[i] for i in known]
    features = evidence.features[[rows[photos[i].sha256] for i in known]]
    targets = np.array([config.labels.index(photos[i].label) for i in known])
    groups = np.unique([photos[i].family for i in known], return_inverse=True)[1]
    return compare_folds(features, targets, groups, names, config.probe.folds, without)


def of_known_sources(
    photos: Sequence[Photo], site: Sequence[str], labels: Sequence[str]
) -> tuple[list[int], list[str]]:
    """Rows of the photos that can be left out by source, and the labels that have fewer than two
    groups of such photos, which are left out of it. site: of each photo, "" where unknown. Raises
    NotMeasured."""
    known = [i for i in range(len(photos)) if site[i]]
    there = {(photos[i].label, photos[i].family) for i in known}
    many = Counter(label for label, _ in there)
    known = [i for i in known if many[photos[i].label] > 1]
    if len({site[i] for i in known}) < 2 or len({photos[i].label for i in known}) < 2:
        raise NotMeasured(
            "it needs photos of at least two classes from at least two known sources; name the"
            " sources in split.sources"
        )
    return known, [label for label in labels if many[label] < 2]


def compare_folds(
    features: NDArray[np.float32],
    targets: Ints,
    groups: Ints,
    names: Sequence[str],
    folds: int,
    without: Sequence[str] = (),
) -> SourceHoldout:
    """Random folds against folds of whole sources, the same photos. features: (n, f); targets,
    groups (near-copies), names (sources): (n,). Raises NotMeasured where no source can be judged by
    the others, and DataError (TOO_FEW_PHOTOS)."""
    targets = np.unique(targets, return_inverse=True)[1]  # some classes may have no known source
    texts = groups.astype(str)
    folds = n_folds(targets, texts, folds)
    strength = choose_strength(features, targets, texts, folds)
    wrong_at_random = out_of_fold(features, targets, texts, folds, strength).argmax(1) != targets
    parts = partition(names)
    wrong, judged = wrong_by_others(features, targets, groups, parts, strength)
    by_source = {
        part: _error_rate(wrong[rows], groups[rows])
        for part, _ in Counter(p for p, j in zip(parts, judged, strict=True) if j).most_common()
        for rows in [[p == part for p in parts]]
    }
    return {
        "random": _error_rate(wrong_at_random[judged], groups[judged]),
        "left_out": _error_rate(wrong[judged], groups[judged]),
        "paired": paired_comparison(wrong_at_random[judged], wrong[judged], groups[judged]),
        "sources": len(set(names)),
        "by_source": by_source,
        "without": list(without),
    }


def wrong_by_others(
    features: NDArray[np.float32],
    targets: Ints,
    groups: Ints,
    parts: Sequence[str],
    strength: float,
) -> tuple[Bools, Bools]:
    """Which photos (n,) a probe of the other sources answers wrongly, and which could be judged.
    parts: (n,) what is left out together. Raises NotMeasured where none could."""
    wrong = np.zeros(len(targets), dtype=bool)
    judged = np.zeros(len(targets), dtype=bool)
    for part in sorted(set(parts)):
        held_out = np.array([p == part for p in parts])
        learned = ~held_out & ~np.isin(groups, groups[held_out])
        classes = set(targets[learned].tolist())
        if len(classes) > 1 and set(targets[held_out].tolist()) <= classes:
            fitted = model(strength).fit(features[learned], targets[learned])
            wrong[held_out] = fitted.predict(features[held_out]) != targets[held_out]
            judged |= held_out
    if not judged.any():
        raise NotMeasured(
            "each source has photos of a class that no other source has, so none can be judged by"
            " the others"
        )
    return wrong, judged


def partition(names: Sequence[str]) -> list[str]:
    """Of each photo the part that is left out with it: its source, or for small sources one of ten
    parts of many, by a hash of the name."""
    sizes = Counter(names)
    parts = {}
    for name, n in sizes.items():
        number = int(hashlib.sha256(name.encode()).hexdigest(), 16) % _FOLDS
        parts[name] = name if n >= _LEAST else f"small sources, part {number + 1}"
    return [parts[name] for name in names]


def _error_rate(wrong: Bools, groups: Ints) -> ErrorRate:
    n, errors, interval = len(wrong), int(wrong.sum()), clustered(wrong, groups)
    return {"n": n, "wrong": errors, "error": proportion(errors, n), "interval": interval}

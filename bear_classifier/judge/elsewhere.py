"""Will it hold elsewhere? The first model on photos of sources that it never saw.

A random split flatters: photos of one search, site or camera stand on both sides. Here every source
is left out once, with all near-copies of its photos, and judged by a model of the others.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bear_classifier.catalog import Catalog
from bear_classifier.judge.clean import load
from bear_classifier.judge.effect import compared
from bear_classifier.judge.intervals import share, wilson
from bear_classifier.linear import choose_strength, model, n_folds, out_of_fold
from bear_classifier.settings import Config
from bear_classifier.sites import sites

_LEAST = 20  # photos; smaller sources are left out together with others
_FOLDS = 10  # of the small ones

Ints = NDArray[np.int64]


def elsewhere(catalog: Catalog, config: Config) -> dict[str, Any] | None:
    """Both figures of the first model for photos of train and validation whose source is known;
    None where no source can be judged by another. The test side stays out of it."""
    evidence = load(catalog.root)
    rows = {sha256: row for row, sha256 in enumerate(evidence.sha256)}
    photos = [
        p
        for p in catalog.photos("ok")
        if p.split in ("train", "valid") and p.sha256 in rows and p.label in config.labels
    ]
    found = sites(catalog, photos, config.split.sources)
    known = [i for i, site in enumerate(found) if site]
    if len({found[i] for i in known}) < 2:
        return None
    names = [found[i] for i in known]
    features = evidence.features[[rows[photos[i].sha256] for i in known]]
    targets = np.array([config.labels.index(photos[i].label) for i in known])
    groups = np.unique([photos[i].family for i in known], return_inverse=True)[1]
    return both(features, targets, groups, names, config.probe.folds)


def both(
    features: NDArray[np.float32], targets: Ints, groups: Ints, names: Sequence[str], folds: int
) -> dict[str, Any] | None:
    """Random folds against folds of whole sources, the same photos; None where no source can be
    judged by the others. features: (n, f); targets, groups (near-copies), names (sources): (n,)."""
    texts = groups.astype(str)
    folds = n_folds(targets, texts, folds)
    strength = choose_strength(features, targets, texts, folds)
    at_random = out_of_fold(features, targets, texts, folds, strength).argmax(1) != targets
    parts = partition(names)
    wrong = np.zeros(len(targets), dtype=bool)
    judged = np.zeros(len(targets), dtype=bool)
    for part in sorted(set(parts)):
        asked = np.array([p == part for p in parts])
        learned = ~asked & ~np.isin(groups, groups[asked])
        if set(targets[asked].tolist()) <= set(targets[learned].tolist()):
            fitted = model(strength).fit(features[learned], targets[learned])
            wrong[asked] = fitted.predict(features[asked]) != targets[asked]
            judged |= asked
    if not judged.any():
        return None
    by_source = {
        part: _figure(wrong[[p == part for p in parts]])
        for part, _ in Counter(p for p, j in zip(parts, judged, strict=True) if j).most_common()
    }
    return {
        "random": _figure(at_random[judged]),
        "left_out": _figure(wrong[judged]),
        "paired": compared(at_random[judged], wrong[judged]),
        "sources": len(set(names)),
        "by_source": by_source,
    }


def partition(names: Sequence[str]) -> list[str]:
    """Of each photo the part that is left out with it: its source, or for small sources one of ten
    parts of many, by a hash of the name."""
    sizes = Counter(names)
    parts = {}
    for name, n in sizes.items():
        number = int(hashlib.sha256(name.encode()).hexdigest(), 16) % _FOLDS
        parts[name] = name if n >= _LEAST else f"small sources, part {number + 1}"
    return [parts[name] for name in names]


def _figure(wrong: NDArray[np.bool_]) -> dict[str, Any]:
    n, errors = len(wrong), int(wrong.sum())
    return {"n": n, "wrong": errors, "error": share(errors, n), "interval": wilson(errors, n)}

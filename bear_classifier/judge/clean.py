"""Label errors and outliers: a suspicion for every photo, with reasons.

Four kinds of evidence, each a number from 0 to 1 for each photo:

label       the chance that its label is another one, from a first model that saw neither the photo
            nor its near-copies, nor the labels that a round before found hardest to believe
outlier     how much of it is nothing that its class usually shows
duplicate   a near-copy of it stands under another class
quality     dark, blurred or empty

They count as independent: the score is the chance that at least one is true. What a class shows,
and which photos are alike, comes from train and valid only: the test split judges the model, and
has no say in what it is made from.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import PCA

from bear_classifier.config.settings import Config
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import Photo, Suspect
from bear_classifier.judge.predictions import load_evidence, not_probed
from bear_classifier.runtime.files import write_atomic
from bear_classifier.stats.arrays import Bools, Floats, Ints
from bear_classifier.stats.metrics import softmax

KINDS = ("label", "outlier", "duplicate", "quality")
LIKELY = 0.5  # from here on a reason is shown in words
_RARE = 0.005  # share of a class; what fewer of its photos show is not typical of it
_NEIGHBOURS = 8
MOST_SHOWN = 2_000  # suspects with neighbours: those of all photos would take time n²
_BLOCK = 256  # photos whose neighbours are looked for at once: 100 MB for 100,000
_DARK = 12.0  # grey levels of 255
_BLURRED = 2.0  # grey levels; see docs/LOG.md
_COMPONENTS = 128


class CleanSummary(TypedDict):
    """suspects: photos; expected: how many photos are wrong; kinds: of evidence -> suspects."""

    photos: int
    suspects: int
    expected: float
    kinds: dict[str, int]


def clean(catalog: Catalog, config: Config) -> CleanSummary:
    """How much of the data looks wrong; nothing is changed."""
    judged = suspects(catalog, config)
    likely = [s for s in judged if s.score >= LIKELY]
    kinds = Counter(kind for s in likely for kind, score in s.scores.items() if score >= LIKELY)
    outcome: CleanSummary = {
        "photos": len(judged),
        "suspects": len(likely),
        "expected": round(sum(s.score for s in judged), 1),
        "kinds": {kind: kinds[kind] for kind in KINDS if kinds[kind]},
    }
    write_atomic(catalog.root / "clean" / "summary.json", json.dumps(outcome).encode())
    return outcome


def suspects(catalog: Catalog, config: Config) -> list[Suspect]:
    """Every photo that the first model knows, most suspect first; dropped ones stay among them.

    Photos of the test split are judged too, but by the others, and change nothing about those.

    Raises DataError (NOT_PROBED)."""
    evidence = load_evidence(catalog.root)
    rows = {sha256: row for row, sha256 in enumerate(evidence.sha256)}
    photos = [p for p in catalog.photos() if p.sha256 in rows and p.label in config.labels]
    known = np.array([photo.split != "test" for photo in photos])
    if not known.any() or evidence.probabilities.shape[1] != len(config.labels):
        raise not_probed()
    at = np.array([rows[photo.sha256] for photo in photos])
    targets = np.array([config.labels.index(photo.label) for photo in photos])
    groups = np.unique([p.family for p in photos], return_inverse=True)[1]
    features = evidence.features[at]
    probabilities = evidence.probabilities[at]
    scores = {
        "label": 1 - probabilities[np.arange(len(at)), targets],
        "outlier": outlier(features, targets, groups, known, evidence.classifier),
        "duplicate": conflict(targets, groups, np.array([p.status == "ok" for p in photos])),
        "quality": quality(evidence.light[at], evidence.sharpness[at]),
    }
    total = combined(list(scores.values()))
    order = np.argsort(-total, kind="stable")
    first = np.concatenate([order[rows][:MOST_SHOWN] for rows in (known[order], ~known[order])])
    near = dict(zip(first.tolist(), nearest(features, groups, first, known), strict=True))
    judged = []
    for i, photo in enumerate(photos):
        own = {kind: float(values[i]) for kind, values in scores.items()}
        bars = dict(zip(config.labels, probabilities[i].tolist(), strict=True))
        judged.append(
            Suspect(
                sha256=photo.sha256,
                origin=photo.origin,
                label=photo.label,
                split=photo.split or "",
                suggested=max(bars, key=bars.__getitem__),
                score=float(total[i]),
                reasons=_reasons(own, bars, photo, evidence.light[at[i]]),
                scores=own,
                probabilities=bars,
                neighbours=[photos[j].sha256 for j in near.get(i, [])],
            )
        )
    return sorted(judged, key=lambda s: (-s.score, s.sha256))


def combined(scores: Sequence[Floats]) -> Floats:
    """Chance that at least one of independent things is true. scores: (n,) each."""
    return np.asarray(1 - np.prod([1 - score for score in scores], axis=0))


def outlier(
    features: NDArray[np.float32],
    targets: Ints,
    groups: Ints,
    known: Bools,
    classifier: tuple[NDArray[np.float32], NDArray[np.float32]] | None,
) -> Floats:
    """How little a photo is like its class, 0 to 1. known: (n,) of which photos a class consists.

    With the weights' own classes: the cubed share of what they see in it that they hardly see in
    the other photos of its class. Without: by the order of Mahalanobis distances."""
    if classifier is None:
        order = _ranks(distance(features, targets, known), targets, known)
        return np.asarray(0.7 * np.exp(-order / 0.06))
    weight, bias = classifier
    return np.asarray(atypical(softmax(features @ weight.T + bias), targets, groups, known) ** 3)


def atypical(seen: Floats, targets: Ints, groups: Ints, known: Bools) -> Floats:
    """seen: (n, k), shares of a photo that are of k kinds. Returns (n,): how much of it is of
    kinds that less than about 0.5 % of the known photos of its class show, without itself and its
    near-copies; 0 where there are no others."""
    rare = np.empty(len(seen))
    for target in np.unique(targets):
        rows = np.flatnonzero(targets == target)
        mine, place = seen[rows], np.unique(groups[rows], return_inverse=True)[1]
        used = known[rows]
        of_group = np.zeros((place.max() + 1, seen.shape[1]))
        np.add.at(of_group, place[used], mine[used])
        others = (used.sum() - np.bincount(place[used], minlength=len(of_group)))[place]
        typical = np.maximum(0, mine[used].sum(0) - of_group[place])
        typical /= np.maximum(1, others)[:, None]
        common = (mine * typical / (typical + _RARE)).sum(1)
        rare[rows] = np.where(others > 0, 1 - common, 0)
    return np.clip(rare, 0, 1)


def distance(features: NDArray[np.float32], targets: Ints, known: Bools) -> Floats:
    """Mahalanobis distance (n,) to the known photos of the photo's class, covariance shrunk (Ledoit
    and Wolf, 2004); 0 where there are fewer than two."""
    base = features[known]
    plain = (features - base.mean(0)) / (base.std(0) + 1e-6)
    small = PCA(min(_COMPONENTS, *base.shape), random_state=0).fit(plain[known]).transform(plain)
    distances = np.zeros(len(features))
    for target in np.unique(targets):
        rows = targets == target
        if (rows & known).sum() > 1:
            distances[rows] = LedoitWolf().fit(small[rows & known]).mahalanobis(small[rows])
    return distances


def conflict(targets: Ints, groups: Ints, used: NDArray[np.bool_]) -> Floats:
    """Share of a photo's near-copies in use that stand under another class, itself counted."""
    table = np.zeros((groups.max() + 1, targets.max() + 1))
    np.add.at(table, (groups[used], targets[used]), 1)
    own, every = table[groups, targets], table[groups].sum(1)
    return np.asarray((every - own) / (every + ~used))


def quality(light: NDArray[np.float32], sharpness: NDArray[np.float32]) -> Floats:
    """0.9 for photos so dark or without edges that nobody could tell what they show, else 0."""
    return np.where((light < _DARK) | (sharpness < _BLURRED), 0.9, 0.0)


def nearest(
    features: NDArray[np.float32], groups: Ints, rows: Ints, known: Bools
) -> list[list[int]]:
    """For each of these rows the numbers of the eight known photos most like it by cosine,
    near-copies left out. features: (n, f); groups, known: (n,)."""
    there = np.flatnonzero(known)
    base = features[there]
    unit = (features - base.mean(0)) / (base.std(0) + 1e-6)
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-6)
    most = min(_NEIGHBOURS, len(there))
    neighbours: list[list[int]] = []
    for start in range(0, len(rows), _BLOCK):
        some_rows = rows[start : start + _BLOCK]
        likeness = unit[some_rows] @ unit[there].T
        likeness[groups[some_rows, None] == groups[None, there]] = -np.inf
        some = np.argpartition(-likeness, most - 1, axis=1)[:, :most]
        values = np.take_along_axis(likeness, some, axis=1)
        for numbers, alike in zip(there[some], values, strict=True):
            order = np.argsort(-alike, kind="stable")
            neighbours.append([int(numbers[j]) for j in order if np.isfinite(alike[j])])
    return neighbours


def _ranks(values: Floats, targets: Ints, known: Bools) -> Floats:
    """Which share of the known photos of its class has a larger value."""
    ranks = np.zeros(len(values))
    for target in np.unique(targets):
        rows = targets == target
        falling = np.sort(-values[rows & known])
        ranks[rows] = np.searchsorted(falling, -values[rows]) / max(1, len(falling))
    return ranks


def _reasons(
    scores: dict[str, float], bars: dict[str, float], photo: Photo, light: float
) -> list[str]:
    other = max(bars, key=lambda label: bars[label] if label != photo.label else -1.0)
    words = {
        "label": f"looks like {other} ({bars[other]:.0%})",
        "outlier": f"shows what photos of {photo.label} hardly ever show",
        "duplicate": "a near-copy of it stands under another class",
        "quality": "very dark" if light < _DARK else "blurred or empty",
    }
    order = sorted(KINDS, key=lambda kind: -scores[kind])
    likely = [words[kind] for kind in order if scores[kind] >= LIKELY]
    return likely or ([words[order[0]]] if scores[order[0]] >= LIKELY / 2 else [])
